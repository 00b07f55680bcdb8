//! Reads every source of this crate and checks how the files depend on each other.
//!
//! Files and code that only tests see do not count: everything below `#[cfg(test)]`.

#![expect(
    clippy::disallowed_methods,
    reason = "reads the sources, not the store"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::OnceLock;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The layers from the top down, with what each may import besides itself.
const LAYERS: [(&str, &[&str]); 13] = [
    (
        "bindings",
        &[
            "session",
            "store",
            "http",
            "blocking",
            "environment",
            "time",
            "secret",
            "error",
        ],
    ),
    (
        "session",
        &[
            "oauth",
            "store",
            "http",
            "blocking",
            "environment",
            "time",
            "secret",
            "error",
        ],
    ),
    ("oauth", &["http", "jwt", "time", "secret", "error"]),
    (
        "store",
        &[
            "fs",
            "keychain",
            "blocking",
            "environment",
            "jwt",
            "time",
            "secret",
            "error",
        ],
    ),
    ("http", &["environment", "time", "secret", "error"]),
    ("fs", &["blocking", "time", "secret", "error"]),
    ("keychain", &["blocking", "secret", "error"]),
    ("blocking", &["error"]),
    ("environment", &[]),
    ("jwt", &["secret"]),
    ("time", &[]),
    ("secret", &["error"]),
    ("error", &[]),
];

/// The parts of the store from the top down, with what each may import besides itself. A kind of store sees no other
/// kind, and no location: those that know every kind are above them.
const STORE: [(&str, &[&str], &[&str]); 7] = [
    (
        "every kind",
        &[
            "cache",
            "inspection",
            "locked",
            "moving",
            "order",
            "pending_login",
            "profiles",
            "reading",
            "registration",
        ],
        &["location", "own", "foreign", "given", "shared", "data"],
    ),
    (
        "location",
        &["location"],
        &["own", "foreign", "given", "shared", "data"],
    ),
    ("own", &["own"], &["shared", "data"]),
    ("foreign", &["foreign"], &["shared", "data"]),
    ("given", &["given"], &["shared", "data"]),
    (
        "shared",
        &[
            "given_file",
            "journal",
            "plugin_store",
            "sealed",
            "sidecar",
            "small_file",
            "state_folder",
        ],
        &["data"],
    ),
    // Pure: no file, no thread, no clock.
    (
        "data",
        &[
            "credential",
            "credentials_format",
            "earlier_login",
            "format",
            "json_text",
            "key",
            "marker",
            "members",
            "name",
            "outcome",
        ],
        &[],
    ),
];

#[test]
fn every_file_is_read() {
    let house = this_crate();
    assert!(
        house.not_reached.is_empty(),
        "no `mod` names these files: {:?}",
        house.not_reached
    );
    assert!(house.shipped.len() > 100, "the sources were not found");
}

#[test]
fn layers_import_only_downward() {
    let found = this_crate().upward_imports(&LAYERS);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_store_imports_only_downward() {
    let found = this_crate().wrong_imports_in(&STORE, "store");
    assert!(found.is_empty(), "{}", found.join("\n"));
    let of_data = |file: &str| {
        let part = part_of(&STORE, "store", file);
        part.is_some_and(|(name, ..)| *name == "data")
    };
    let found: Vec<_> = this_crate()
        .imports
        .iter()
        .filter(|import| of_data(&import.from))
        .filter(|import| {
            ["fs", "keychain", "blocking", "environment"].contains(&layer_of(&import.to))
        })
        .map(|import| format!("{}:{} imports {}", import.from, import.line, import.to))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Checks that nothing outside the store handles a difference between the kinds of store.
#[test]
fn nobody_outside_the_store_names_a_kind_of_store() {
    let is_kind = |file: &str| {
        ["store/own/", "store/foreign/", "store/given/"]
            .iter()
            .any(|kind| file.starts_with(kind))
    };
    let found: Vec<_> = this_crate()
        .imports
        .iter()
        .filter(|import| layer_of(&import.from) != "store" && is_kind(&import.to))
        .map(|import| format!("{}:{} imports {}", import.from, import.line, import.to))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The clocks of the machine, the environment of the process, and that a thread is one of JavaScript: only `bindings`
/// says so, and hands it down.
#[test]
fn what_is_injected_is_named_where_it_is_injected() {
    const INJECTED: [&str; 3] = ["SystemClock", "ProcessEnvironment", "of_javascript"];
    let found: Vec<_> = this_crate()
        .imports
        .iter()
        .filter(|import| layer_of(&import.from) != "bindings")
        .filter(|import| {
            INJECTED
                .iter()
                .any(|name| import.names.iter().any(|other| other == name))
        })
        .map(|import| {
            format!(
                "{}:{} names {}",
                import.from,
                import.line,
                import.names.join("::")
            )
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = this_crate().circles();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Published binaries are built with `-Zfmt-debug=none` (docs/evidence/size.md): `{:?}` prints nothing there.
#[test]
fn no_sentence_is_made_by_debug() {
    let found: Vec<String> = this_crate()
        .literals
        .iter()
        .filter(|literal| literal.text.contains("?}") && !literal.code.contains("f.write"))
        .map(|literal| format!("{}:{}: {}", literal.file, literal.line, literal.text))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

mod spellings {
    use super::*;

    fn house(sources: &[(&str, &str)]) -> House {
        let sources = sources
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
            .collect();
        House::of(&sources)
    }

    /// The sentences about a crate of the layers `top`, which has a file `deep`, and `low`.
    fn upward(low: &str) -> Vec<String> {
        house(&[
            ("lib.rs", "mod top; mod low;"),
            (
                "top/mod.rs",
                "pub(crate) mod deep;\npub(crate) use deep::Deep;",
            ),
            ("top/deep.rs", "pub(crate) struct Deep;"),
            ("low/mod.rs", low),
            ("low/inner.rs", ""),
        ])
        .upward_imports(&[("top", &["low"]), ("low", &[])])
    }

    #[test]
    fn an_upward_import_is_seen_in_every_spelling() {
        for spelling in [
            "use crate::top::deep::Deep;",
            "pub(crate) use crate::top::deep::Deep as Other;",
            "use crate::{low, top::deep::{self, Deep}};",
            "use {std::fmt, crate::{top::deep}};",
            "use super::top::deep::*;",
            "use super::{low, top::{deep::Deep}};",
            "use self::super::top::deep;",
            "fn f() { crate::top::deep::f(); }",
            "fn f(x: super::top::deep::Deep) {}",
            "fn f() -> Vec<crate::top::deep::Deep> { vec![] }",
            "fn f() { assert!(format!(\"{}\", crate::top::deep::F)); }",
            "mod own { fn f() { super::super::top::deep::f() } }",
            "use crate::top as above;\nfn f() { above::deep::f(); }",
            "fn f() { use crate::top; top::deep::f(); }",
            "fn f() { for x in 0..crate::top::deep::N {} }",
            "#[cfg(not(test))] use crate::top::deep::Deep;",
            "#[cfg(any(test, unix))] use crate::top::deep::Deep;",
            "#[cfg(test)] use a::b; use crate::top::deep::Deep;",
            "#[cfg(test)] const A: u8 = 1; fn f() { crate::top::deep::f() }",
            "#[cfg(test)] fn f<A, B>(a: A) -> [u8; 3] { } fn g() { crate::top::deep::f() }",
            "struct A { #[cfg(test)] a: u8, b: crate::top::deep::Deep }",
            "fn f() { match a { #[cfg(test)] A { b } => { c } D => crate::top::deep::f() } }",
            "/* crate::a */ // crate::b\nuse crate::top::deep::Deep;",
        ] {
            let found = upward(&format!("mod inner;\n{spelling}"));
            assert!(!found.is_empty(), "{spelling}");
            for sentence in found {
                assert!(sentence.starts_with("low/mod.rs:"), "{sentence}");
                assert!(sentence.contains(" imports top/"), "{sentence}");
                assert!(
                    sentence.ends_with(": `low` must not import `top`"),
                    "{sentence}"
                );
            }
        }
        assert_eq!(
            upward("mod inner;\n\nuse crate::{\n    top::Deep,\n};"),
            ["low/mod.rs:4 imports top/deep.rs: `low` must not import `top`"]
        );
    }

    #[test]
    fn what_only_tests_see_and_what_is_no_path_does_not_count() {
        for spelling in [
            "#[cfg(test)] use crate::top::deep::Deep;",
            "#[cfg(test)] pub(crate) use crate::{top::deep};",
            "#[cfg(any(test, fuzzing))] pub(crate) fn f() -> crate::top::deep::Deep {}",
            "#[cfg(all(test, unix))] mod tests { use super::super::top::deep; }",
            "#[test] #[cfg(test)] #[expect(x)] fn f() { crate::top::deep::f() }",
            "#![cfg(test)] use crate::top::deep;",
            "struct A { #[cfg(test)] a: crate::top::deep::Deep, b: u8 }",
            "fn f() { #[cfg(test)] let a = crate::top::deep::f(); }",
            "//! crate::top::deep\n/// crate::top::deep\nfn f() { \"crate::top::deep\"; }",
            "use std::top::deep;\nuse ::top::deep::Deep;",
            "fn f() { b::crate_top::top::deep::f(); }",
        ] {
            let found = upward(&format!("{spelling}\nmod inner;"));
            assert!(found.is_empty(), "{spelling}: {found:?}");
        }
    }

    #[test]
    fn a_file_is_a_test_by_the_mod_that_names_it() {
        let house = house(&[
            ("lib.rs", "mod a; #[cfg(test)] mod checks; mod b;"),
            ("a.rs", "#[cfg(any(test, fuzzing))] pub(crate) mod odd;"),
            ("a/odd.rs", "mod further;"),
            ("a/odd/further.rs", "const A: &str = \"{:?}\";"),
            (
                "b/mod.rs",
                "#[cfg(test)] mod tests { mod own; }\nconst B: &str = \"{b}\";",
            ),
            ("b/tests/own.rs", ""),
            ("checks/mod.rs", "use crate::a::odd;"),
            ("checks/nobody.rs", ""),
        ]);
        assert_eq!(
            Vec::from_iter(&house.shipped),
            ["a.rs", "b/mod.rs", "lib.rs"]
        );
        assert_eq!(house.not_reached, ["checks/nobody.rs"]);
        assert_eq!(house.literals.len(), 1);
        assert!(house.imports.is_empty());
    }

    #[test]
    fn a_part_that_imports_upward_or_a_file_of_no_part_is_seen() {
        let house = house(&[
            ("lib.rs", "mod x;"),
            ("x/mod.rs", "mod high;\nmod low;\nmod other;\nmod new;"),
            ("x/high.rs", "use super::low;"),
            ("x/low/mod.rs", "use super::high::High;"),
            ("x/other.rs", "\nuse crate::x::low;"),
            ("x/new.rs", ""),
        ]);
        let parts: [Part<'_>; 3] = [
            ("high", &["high"], &["low"]),
            ("low", &["low"], &[]),
            ("other", &["other"], &[]),
        ];
        assert_eq!(
            house.wrong_imports_in(&parts, "x"),
            [
                "x/new.rs belongs to no part of `x`",
                "x/low/mod.rs:1 imports x/high.rs: `low` must not import `high`",
                "x/other.rs:2 imports x/low/mod.rs: `other` must not import `low`",
            ]
        );
    }

    #[test]
    fn a_circle_is_named_with_its_files_and_lines() {
        let house = house(&[
            ("lib.rs", "mod x;"),
            ("x/mod.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
            ("x/a.rs", "use super::{b::B, d};"),
            ("x/b.rs", "\nfn f() { super::c::f(); }"),
            ("x/c.rs", "\n\nuse crate::x::a;"),
            ("x/d.rs", ""),
        ]);
        let circle =
            "a circle: x/a.rs:1 imports x/b.rs, x/b.rs:2 imports x/c.rs, x/c.rs:3 imports x/a.rs";
        assert_eq!(house.circles(), [circle]);
    }
}

fn this_crate() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let mut sources = BTreeMap::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        read(&folder, "", &mut sources);
        House::of(&sources)
    })
}

fn read(folder: &Path, prefix: &str, sources: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read(&entry.path(), &format!("{name}/"), sources);
        } else if name.rsplit_once('.').is_some_and(|(_, kind)| kind == "rs") {
            sources.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

type ModulePath = Vec<String>;

/// The references that sources make to each other.
#[derive(Default)]
struct House {
    /// The modules, with the file that each is in.
    modules: BTreeMap<ModulePath, String>,
    /// The files that are more than tests.
    shipped: BTreeSet<String>,
    imports: Vec<Import>,
    literals: Vec<Literal>,
    not_reached: Vec<String>,
}

/// A file names something of another.
struct Import {
    from: String,
    line: usize,
    /// The layer that the path names, which may only hand on what another has.
    layer: String,
    to: String,
    /// The path, from the root of the crate.
    names: Vec<String>,
}

struct Literal {
    file: String,
    line: usize,
    text: String,
    /// The line that it begins in.
    code: String,
}

/// A path as it is written.
struct Written {
    module: ModulePath,
    line: usize,
    segments: Vec<String>,
}

/// The result of one pass over the tokens.
#[derive(Default)]
struct Reading {
    /// `mod name;`, and whether only tests see it.
    files: Vec<(ModulePath, bool)>,
    /// `mod name { … }`
    inline: Vec<ModulePath>,
    paths: Vec<Written>,
    /// The names that `use` brings into a module.
    names: BTreeMap<(ModulePath, String), Vec<String>>,
    literals: Vec<(usize, String)>,
}

impl House {
    fn of(sources: &BTreeMap<String, String>) -> Self {
        let mut house = Self::default();
        let mut written = Vec::new();
        let mut names = BTreeMap::new();
        let mut reached = BTreeSet::new();
        let mut waiting = vec![(ModulePath::new(), false)];
        while let Some((module, only_tests)) = waiting.pop() {
            let below = module.join("/");
            let spellings = match below.as_str() {
                "" => vec!["lib.rs".to_owned()],
                _ => vec![format!("{below}.rs"), format!("{below}/mod.rs")],
            };
            let Some((file, text)) = spellings
                .iter()
                .find_map(|name| sources.get_key_value(name))
            else {
                panic!("there is no file of `{}`", module.join("::"));
            };
            let tokens: TokenStream = text.parse().unwrap_or_else(|_| panic!("{file}"));
            let mut reading = Reading::default();
            reading.walk(&tokens.into_iter().collect::<Vec<_>>(), &module, only_tests);
            waiting.append(&mut reading.files);
            reached.insert(file.clone());
            house.modules.insert(module, file.clone());
            for module in reading.inline {
                house.modules.insert(module, file.clone());
            }
            if !only_tests {
                house.shipped.insert(file.clone());
            }
            names.append(&mut reading.names);
            written.extend(reading.paths.into_iter().map(|path| (file.clone(), path)));
            let lines: Vec<&str> = text.lines().collect();
            for (line, text) in reading.literals {
                house.literals.push(Literal {
                    file: file.clone(),
                    line,
                    text,
                    code: lines[line - 1].to_owned(),
                });
            }
        }
        for (from, path) in written {
            let Some(absolute) = house.absolute(&path.module, &path.segments, &names) else {
                continue;
            };
            let Some(to) = house.file_of(&absolute, &names) else {
                continue;
            };
            if to != from {
                house.imports.push(Import {
                    from,
                    line: path.line,
                    layer: absolute.first().cloned().unwrap_or_default(),
                    to,
                    names: absolute,
                });
            }
        }
        house
            .imports
            .sort_by(|one, other| (&one.from, one.line).cmp(&(&other.from, other.line)));
        house.not_reached = sources
            .keys()
            .filter(|file| !reached.contains(*file))
            .cloned()
            .collect();
        house
    }

    /// The path from the root of the crate; none where it leads into another crate or names no module.
    fn absolute(
        &self,
        module: &[String],
        segments: &[String],
        names: &BTreeMap<(ModulePath, String), Vec<String>>,
    ) -> Option<Vec<String>> {
        let first = segments.first()?;
        let mut base = module.to_vec();
        let mut rest = segments;
        if first == "crate" {
            base.clear();
            rest = &rest[1..];
        } else if first == "self" || first == "super" {
            while let Some(word) = rest
                .first()
                .filter(|word| *word == "self" || *word == "super")
            {
                if word == "super" {
                    base.pop();
                }
                rest = &rest[1..];
            }
        } else if !self
            .modules
            .contains_key(&[module, &segments[..1]].concat())
        {
            let used = names.get(&(base.clone(), first.clone()))?;
            // `use x::x;` would lead to itself.
            if used.first() == Some(first) {
                return None;
            }
            base = self.absolute(module, used, names)?;
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The file that has what the path names, through the names that modules hand on.
    fn file_of(
        &self,
        absolute: &[String],
        names: &BTreeMap<(ModulePath, String), Vec<String>>,
    ) -> Option<String> {
        let mut path = absolute.to_vec();
        // Names are handed on a few times at most.
        for _ in 0..8 {
            let depth = (0..=path.len())
                .rev()
                .find(|depth| self.modules.contains_key(&path[..*depth]))?;
            let module = &path[..depth];
            let handed_on = path.get(depth).and_then(|name| {
                let from = names.get(&(module.to_vec(), name.clone()))?;
                self.absolute(module, from, names)
            });
            match handed_on {
                Some(mut other) if other != path[..=depth] => {
                    other.extend_from_slice(&path[depth + 1..]);
                    path = other;
                }
                _ => return self.modules.get(module).cloned(),
            }
        }
        None
    }

    fn wrong_imports_in(&self, parts: &[Part<'_>], layer: &str) -> Vec<String> {
        let mut found = Vec::new();
        for file in &self.shipped {
            if file.starts_with(&format!("{layer}/"))
                && *file != format!("{layer}/mod.rs")
                && part_of(parts, layer, file).is_none()
            {
                found.push(format!("{file} belongs to no part of `{layer}`"));
            }
        }
        for import in &self.imports {
            let Some((from, _, allowed)) = part_of(parts, layer, &import.from) else {
                continue;
            };
            if let Some((to, ..)) = part_of(parts, layer, &import.to)
                && to != from
                && !allowed.contains(to)
            {
                found.push(format!(
                    "{}:{} imports {}: `{from}` must not import `{to}`",
                    import.from, import.line, import.to
                ));
            }
        }
        found
    }

    fn upward_imports(&self, layers: &[(&str, &[&str])]) -> Vec<String> {
        let mut found = Vec::new();
        for import in &self.imports {
            let layer = layer_of(&import.from);
            let allowed = layers
                .iter()
                .find_map(|(name, allowed)| (*name == layer).then_some(*allowed));
            for imported in [import.layer.as_str(), layer_of(&import.to)] {
                let is_allowed =
                    imported == layer || allowed.is_some_and(|allowed| allowed.contains(&imported));
                if !is_allowed && layer != "lib" {
                    found.push(format!(
                        "{}:{} imports {}: `{layer}` must not import `{imported}`",
                        import.from, import.line, import.to
                    ));
                    break;
                }
            }
        }
        found
    }

    /// Each circle as its imports.
    fn circles(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut on_one = BTreeSet::new();
        for import in &self.imports {
            if on_one.contains(&import.from) {
                continue;
            }
            let Some(back) = self.way(&import.to, &import.from) else {
                continue;
            };
            let circle: Vec<&Import> = std::iter::once(import).chain(back).collect();
            on_one.extend(circle.iter().map(|import| import.from.clone()));
            found.push(format!(
                "a circle: {}",
                circle
                    .iter()
                    .map(|import| format!("{}:{} imports {}", import.from, import.line, import.to))
                    .collect::<Vec<_>>()
                    .join(", ")
            ));
        }
        found
    }

    /// The shortest way by imports.
    fn way(&self, from: &str, to: &str) -> Option<Vec<&Import>> {
        let mut ways = BTreeMap::from([(from, Vec::new())]);
        let mut waiting = VecDeque::from([from]);
        while let Some(file) = waiting.pop_front() {
            if file == to {
                return ways.remove(file);
            }
            for import in self.imports.iter().filter(|import| import.from == file) {
                if !ways.contains_key(import.to.as_str()) {
                    let mut way: Vec<&Import> = ways[file].clone();
                    way.push(import);
                    ways.insert(&import.to, way);
                    waiting.push_back(&import.to);
                }
            }
        }
        None
    }
}

type Part<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

/// The part of a layer that a file belongs to.
fn part_of<'a>(parts: &'a [Part<'a>], layer: &str, file: &str) -> Option<&'a Part<'a>> {
    let below = file.strip_prefix(layer)?.strip_prefix('/')?;
    let name = layer_of(below);
    parts.iter().find(|(_, files, _)| files.contains(&name))
}

fn layer_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

impl Reading {
    fn group(&mut self, group: &Group, module: &[String], only_tests: bool) {
        let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
        self.walk(&tokens, module, only_tests);
    }

    fn walk(&mut self, tokens: &[TokenTree], module: &[String], only_tests: bool) {
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            let is_start = at < 2
                || tokens[at - 2..at]
                    .iter()
                    .any(|token| as_punct(token) != ':');
            at += match rest {
                [
                    TokenTree::Punct(hash),
                    TokenTree::Group(attribute),
                    rest @ ..,
                ] if hash.as_char() == '#' && attribute.delimiter() == Delimiter::Bracket => {
                    if !only_tests && is_of_tests(attribute) {
                        let length = item_length(rest);
                        self.walk(&rest[..length], module, true);
                        2 + length
                    } else {
                        2
                    }
                }
                [
                    TokenTree::Punct(hash),
                    TokenTree::Punct(inner),
                    TokenTree::Group(attribute),
                    rest @ ..,
                ] if hash.as_char() == '#' && inner.as_char() == '!' => {
                    if !only_tests && is_of_tests(attribute) {
                        return self.walk(rest, module, true);
                    }
                    3
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), body, ..] if word == "mod" => {
                    let inner = [module, &[name.to_string()]].concat();
                    match body {
                        TokenTree::Group(body) => {
                            self.group(body, &inner, only_tests);
                            self.inline.push(inner);
                        }
                        _ => self.files.push((inner, only_tests)),
                    }
                    3
                }
                // `pub(in path)` makes nobody depend on anything.
                [TokenTree::Ident(word), TokenTree::Group(path), ..]
                    if word == "pub" && path.delimiter() == Delimiter::Parenthesis =>
                {
                    2
                }
                [TokenTree::Ident(word), rest @ ..] if word == "use" && is_start => {
                    let length = rest
                        .iter()
                        .position(|token| as_punct(token) == ';')
                        .unwrap_or(0);
                    if !only_tests {
                        self.use_tree(&rest[..length], &[], module);
                    }
                    1 + length
                }
                [TokenTree::Ident(first), ..] => {
                    let (segments, length) = path(rest);
                    if is_start && segments.len() > 1 && !only_tests {
                        self.paths.push(Written {
                            module: module.to_vec(),
                            line: first.span().start().line,
                            segments,
                        });
                    }
                    length
                }
                [TokenTree::Group(group), ..] => {
                    self.group(group, module, only_tests);
                    1
                }
                [TokenTree::Literal(literal), ..] => {
                    if !only_tests {
                        let line = literal.span().start().line;
                        self.literals.push((line, literal.to_string()));
                    }
                    1
                }
                _ => 1,
            };
        }
    }

    /// Reads the path after `use`, or one item of a group in it.
    fn use_tree(&mut self, tokens: &[TokenTree], before: &[String], module: &[String]) {
        let (mut segments, length) = path(tokens);
        // `use ::name` is another crate.
        let Some(line) = tokens.first().map(|token| token.span().start().line) else {
            return;
        };
        let rest = &tokens[length..];
        let whole = |segments: &[String]| [before, segments].concat();
        let is_open = rest.len() > 2 && as_punct(&rest[0]) == ':';
        match rest {
            [] => {}
            [TokenTree::Group(group)] if before.is_empty() && segments.is_empty() => {
                return self.use_group(group, &[], module);
            }
            [_, _, TokenTree::Group(group)] if is_open && !segments.is_empty() => {
                return self.use_group(group, &whole(&segments), module);
            }
            [TokenTree::Ident(word), TokenTree::Ident(name)] if word == "as" => {
                let from = whole(&segments);
                return self.used(module, line, from, name.to_string());
            }
            // `name::*`
            [_, _, _] if is_open && !segments.is_empty() => {
                return self.paths.push(Written {
                    module: module.to_vec(),
                    line,
                    segments: whole(&segments),
                });
            }
            _ => return,
        }
        if segments.last().is_some_and(|last| last == "self") && !before.is_empty() {
            segments.pop();
        }
        let from = whole(&segments);
        let name = from.last().cloned().unwrap_or_default();
        self.used(module, line, from, name);
    }

    fn use_group(&mut self, group: &Group, before: &[String], module: &[String]) {
        let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
        for item in tokens.split(|token| as_punct(token) == ',') {
            self.use_tree(item, before, module);
        }
    }

    fn used(&mut self, module: &[String], line: usize, segments: Vec<String>, name: String) {
        let of = (module.to_vec(), name);
        self.names.insert(of, segments.clone());
        self.paths.push(Written {
            module: module.to_vec(),
            line,
            segments,
        });
    }
}

/// The character of a punctuation mark.
fn as_punct(token: &TokenTree) -> char {
    match token {
        TokenTree::Punct(punct) => punct.as_char(),
        _ => ' ',
    }
}

/// The names at the start that `::` joins, and how many tokens they are.
fn path(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    let mut length = 0;
    while let Some(TokenTree::Ident(name)) = tokens.get(length) {
        segments.push(name.to_string());
        length += 1;
        match tokens.get(length..length + 3) {
            Some([one, two, TokenTree::Ident(_)])
                if as_punct(one) == ':' && as_punct(two) == ':' =>
            {
                length += 2;
            }
            _ => break,
        }
    }
    (segments, length)
}

/// Whether this attribute compiles its item for tests and fuzzing alone.
fn is_of_tests(attribute: &Group) -> bool {
    let tokens: Vec<TokenTree> = attribute.stream().into_iter().collect();
    match tokens.as_slice() {
        [TokenTree::Ident(cfg), TokenTree::Group(predicate)] if cfg == "cfg" => {
            let tokens: Vec<TokenTree> = predicate.stream().into_iter().collect();
            !can_hold(&tokens)
        }
        _ => false,
    }
}

/// Whether a `cfg` can hold in what is shipped.
fn can_hold(predicate: &[TokenTree]) -> bool {
    match predicate {
        [TokenTree::Ident(word)] => word != "test" && word != "fuzzing",
        [TokenTree::Ident(word), TokenTree::Group(group)] => {
            let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
            let mut each = tokens
                .split(|token| as_punct(token) == ',')
                .filter(|part| !part.is_empty());
            match word.to_string().as_str() {
                "all" => each.all(can_hold),
                "any" => each.any(can_hold),
                _ => true,
            }
        }
        _ => true,
    }
}

/// How many tokens the item, member, arm or statement has that begins here.
fn item_length(tokens: &[TokenTree]) -> usize {
    const UNTIL_SEMICOLON: [&str; 5] = ["use", "let", "static", "type", "const"];
    const ITEMS: [&str; 10] = [
        "fn", "mod", "impl", "struct", "enum", "trait", "unsafe", "async", "extern", "union",
    ];
    let mut words = tokens.iter().filter_map(|token| match token {
        TokenTree::Ident(word) if word != "pub" => Some(word.to_string()),
        _ => None,
    });
    let first = words.next().unwrap_or_default();
    let is_function = words.next().is_some_and(|second| second == "fn");
    let is_statement = UNTIL_SEMICOLON.contains(&first.as_str()) && !is_function;
    let is_item = ITEMS.contains(&first.as_str()) || is_function;
    for (at, token) in tokens.iter().enumerate() {
        let has_body =
            matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        let goes_on = tokens
            .get(at + 1)
            .is_some_and(|next| matches!(as_punct(next), '=' | ',' | ';' | '.' | '?'));
        match as_punct(token) {
            ';' => return at + 1,
            ',' if !is_statement && !is_item => return at + 1,
            _ if has_body && !is_statement && (is_item || !goes_on) => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}
