//! OAuth 2.0 device login for Clawdbot, Moltbot and `OpenClaw` plugins, as a Node native addon.
//!
//! Layers, each importing only downward (a test below enforces it):
//! [`bindings`] → `session` → {`oauth`, `store`} → {`http`, `fs`, `keychain`} → {`blocking`, `jwt`, `time`, `secret`, `error`}.

mod blocking;
mod error;
mod fs;
mod http;
mod jwt;
mod keychain;
mod oauth;
mod secret;
mod session;
mod store;
mod time;

// The fuzz targets need no JavaScript, and so no napi.
#[cfg(not(fuzzing))]
pub mod bindings;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "reads the sources, not the store"
    )]

    use std::path::Path;

    /// The layers from the top down, with what each may import besides itself.
    const LAYERS: [(&str, &[&str]); 12] = [
        (
            "bindings",
            &[
                "session", "store", "http", "blocking", "time", "secret", "error",
            ],
        ),
        (
            "session",
            &[
                "oauth", "store", "http", "blocking", "time", "secret", "error",
            ],
        ),
        ("oauth", &["http", "jwt", "time", "secret", "error"]),
        (
            "store",
            &[
                "fs", "keychain", "blocking", "jwt", "time", "secret", "error",
            ],
        ),
        ("http", &["time", "secret", "error"]),
        ("fs", &["time", "secret", "error"]),
        ("keychain", &["secret", "error"]),
        ("blocking", &["error"]),
        ("jwt", &["secret"]),
        ("time", &[]),
        ("secret", &["error"]),
        ("error", &[]),
    ];

    #[test]
    fn layers_import_only_downward() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut seen = 0;
        for (layer, allowed) in LAYERS {
            for (file, text) in files(&sources, layer) {
                seen += 1;
                for imported in imports(&text) {
                    assert!(
                        imported == layer || allowed.contains(&imported.as_str()),
                        "{file}: {layer} must not import {imported}"
                    );
                }
            }
        }
        assert!(seen > 20, "the sources were not found");
    }

    /// Published binaries are built with `-Zfmt-debug=none` (docs/size.md): `{:?}` prints nothing there.
    #[test]
    fn no_sentence_is_made_by_debug() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for (layer, _) in LAYERS {
            for (file, text) in files(&sources, layer) {
                let is_test = [
                    "tests",
                    "fuzzing",
                    "odd_servers",
                    "provider_shapes",
                    "intruder",
                    "scripted",
                ]
                .iter()
                .any(|name| file.contains(name));
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let found = code.lines().find(|line| {
                    line.contains(":?}")
                        && !line.contains("f.write")
                        && !line.trim().starts_with("//")
                });
                assert!(
                    is_test || found.is_none(),
                    "{file}: {}",
                    found.unwrap_or_default()
                );
            }
        }
    }

    #[test]
    fn an_upward_import_is_seen_in_every_spelling() {
        for (line, layer) in [
            ("use crate::session::Session;", "session"),
            ("    let x = crate::store::read(y);", "store"),
            ("use crate::{http, fs::lock};", "fs"),
        ] {
            assert!(imports(line).contains(&layer.to_owned()), "{line}");
        }
    }

    fn files(sources: &Path, layer: &str) -> Vec<(String, String)> {
        let mut paths = vec![sources.join(format!("{layer}.rs"))];
        if let Ok(folder) = std::fs::read_dir(sources.join(layer)) {
            paths.extend(folder.flatten().map(|entry| entry.path()));
        }
        paths
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .filter_map(|path| {
                Some((
                    path.display().to_string(),
                    std::fs::read_to_string(path).ok()?,
                ))
            })
            .collect()
    }

    /// The layers that a source names after `crate::`, comments aside.
    fn imports(text: &str) -> Vec<String> {
        let name = |text: &str| -> String {
            text.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        };
        text.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| line.split("crate::").skip(1))
            .flat_map(|rest| match rest.strip_prefix('{') {
                Some(group) => group.split(',').map(|item| name(item.trim())).collect(),
                None => vec![name(rest)],
            })
            .filter(|name| LAYERS.iter().any(|(layer, _)| layer == name))
            .collect()
    }
}
