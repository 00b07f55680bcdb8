//! Access lists of Windows: new files and folders are for their user, SYSTEM and the administrators alone. Not on a
//! share: the machine that keeps it knows other users.

use std::path::{Component, Path, PathBuf, Prefix};

mod system;

/// Makes a folder that is private from the first moment, as is all that is made in it. False if nothing was done: there
/// is something of that name, or there are no access lists.
pub(super) fn create_folder(path: &Path) -> bool {
    make(path, FOLDER, system::create_folder)
}

/// Makes an empty file that is private from the first moment. False as for folders.
pub(super) fn create_file(path: &Path) -> bool {
    make(path, FILE, system::create_file)
}

/// Takes a folder from others, and from then on what is made in it. Best effort.
pub(super) fn tighten_folder(path: &Path) {
    tighten(path, FOLDER);
}

/// Takes a file from others. Best effort.
pub(super) fn tighten_file(path: &Path) {
    tighten(path, FILE);
}

/// Gives a file the access list of another. Best effort.
pub(super) fn copy(from: &Path, to: &Path) {
    if let (Some(from), Some(to)) = (local(from), local(to))
        && let Ok(list) = system::read(&from)
    {
        drop(system::write(&to, &list));
    }
}

/// The names of all others that may do something with what is there; none if that cannot be said.
pub(super) fn others(path: &Path) -> Option<String> {
    let found = system::read(&local(path)?).ok()?;
    let known = private(&system::user().ok()?, FILE);
    // The spelling of Windows itself; CO and S-1-3-4 mean the owner.
    let known = system::rewritten(&format!("{known}(A;;FA;;;CO)(A;;FA;;;S-1-3-4)"));
    Some(strangers(&found, &known.ok()?))
}

/// Flags of an entry that is for a folder and all in it.
const FOLDER: &str = "OICI";
const FILE: &str = "";

/// For the user, SYSTEM and the administrators alone; P: without inheriting from the folder above.
fn private(user: &str, flags: &str) -> String {
    format!("D:P(A;{flags};FA;;;{user})(A;{flags};FA;;;SY)(A;{flags};FA;;;BA)")
}

fn make(path: &Path, flags: &str, create: fn(&Path, &str) -> std::io::Result<()>) -> bool {
    let (Some(path), Ok(user)) = (local(path), system::user()) else {
        return false;
    };
    create(&path, &private(&user, flags)).is_ok()
}

fn tighten(path: &Path, flags: &str) {
    if others(path).is_some_and(|names| !names.is_empty())
        && let (Some(path), Ok(user)) = (local(path), system::user())
    {
        drop(system::write(&path, &private(&user, flags)));
    }
}

/// The path in the form that Windows accepts at any length, if it is on this machine.
fn local(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let folder = std::fs::canonicalize(path.parent()?).ok()?;
    if let Some(Component::Prefix(prefix)) = folder.components().next()
        && matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
    {
        return None;
    }
    Some(folder.join(path.file_name()?))
}

fn strangers(found: &str, known: &str) -> String {
    // Without a list everybody may do everything; with an empty one, nobody anything.
    if !found.contains("D:") || found.contains("NO_ACCESS_CONTROL") {
        return "Everyone".to_owned();
    }
    let known: Vec<&str> = allowed(known).collect();
    let mut names: Vec<&str> = Vec::new();
    for who in allowed(found).filter(|who| !known.contains(who)) {
        let name = match who {
            "WD" => "Everyone",
            "BU" => "Users",
            "AU" => "Authenticated Users",
            sid => sid,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// The trustees that the entries of a list allow something: `(type;flags;rights;object;inherited object;who)`, MS-DTYP
/// 2.5.1.1.
fn allowed(list: &str) -> impl Iterator<Item = &str> {
    list.split('(').skip(1).filter_map(|entry| {
        let mut fields = entry.split(';');
        let kind = fields.next()?;
        let who = fields.nth(4)?;
        let who = who.split(')').next().unwrap_or(who);
        matches!(kind, "A" | "OA" | "XA" | "ZA").then_some(who)
    })
}

/// For tests: gives others a file or folder, and all that is made in it.
#[cfg(test)]
pub(super) fn open_to_everyone(path: &Path) {
    system::write(&local(path).unwrap(), "D:(A;OICI;FA;;;WD)").unwrap();
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::blocking::{Look, MayBlock};
    use crate::fs::atomic_write::Reservation;
    use crate::fs::lock::Lock;
    use crate::fs::private_dir;
    use crate::fs::regular_file::RegularFile;

    const NOBODY: Option<&str> = Some("");

    /// A folder that everybody may enter, as is all that others make in it.
    fn open_folder() -> TempDir {
        let folder = TempDir::new().unwrap();
        open_to_everyone(folder.path());
        folder
    }

    fn others_of(path: &Path) -> Option<String> {
        let found = others(path);
        assert!(found.is_some(), "{}", path.display());
        found
    }

    #[test]
    fn what_we_make_in_an_open_folder_is_for_the_user_system_and_the_administrators_alone() {
        let folder = open_folder();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("control"), "").unwrap();
        assert_eq!(others_of(&at("control")).as_deref(), Some("Everyone"));

        private_dir::ensure_ours(&at("made/by us"), MayBlock::in_test()).unwrap();
        let reservation = Reservation::new(&at("saved"), 10, MayBlock::in_test()).unwrap();
        let temp = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|end| end == "tmp"));
        assert_eq!(others_of(&temp.unwrap()).as_deref(), NOBODY);
        reservation.commit(MayBlock::in_test()).unwrap();
        let lock = Lock::try_acquire(&at("saved"), MayBlock::in_test()).unwrap();
        for made in ["made", "made/by us", "saved", "saved.lock"] {
            assert_eq!(others_of(&at(made)).as_deref(), NOBODY, "{made}");
        }
        drop(lock);
        assert_eq!(others_of(folder.path()).as_deref(), Some("Everyone"));
    }

    #[test]
    fn what_became_open_is_taken_from_others_and_its_surroundings_stay() {
        let folder = open_folder();
        let ours = folder.path().join("ours");
        private_dir::ensure_ours(&ours, MayBlock::in_test()).unwrap();
        let file = ours.join("default.json");
        std::fs::write(&file, "{}").unwrap();
        for path in [&ours, &file] {
            open_to_everyone(path);
            assert_eq!(others_of(path).as_deref(), Some("Everyone"));
        }
        private_dir::ensure_exists(&ours, MayBlock::in_test()).unwrap();
        assert_eq!(others_of(&ours).as_deref(), Some("Everyone"));
        private_dir::ensure_ours(&ours, MayBlock::in_test()).unwrap();
        let read = RegularFile::read(&file, Look::LONG).unwrap().unwrap();
        read.tighten(&file);
        for path in [&ours, &file] {
            assert_eq!(others_of(path).as_deref(), NOBODY);
        }
        assert_eq!(others_of(folder.path()).as_deref(), Some("Everyone"));
    }

    #[test]
    fn a_file_of_another_program_keeps_its_access_list() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("auth.json");
        std::fs::write(&target, "old").unwrap();
        open_to_everyone(&target);
        let model = RegularFile::read(&target, Look::LONG).unwrap().unwrap();
        let mut reservation = Reservation::new(&target, 10, MayBlock::in_test()).unwrap();
        reservation.write(b"new", MayBlock::in_test()).unwrap();
        reservation.permit_as(&model).unwrap();
        reservation.commit(MayBlock::in_test()).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(others_of(&target).as_deref(), Some("Everyone"));
    }

    #[test]
    fn a_path_of_any_length_is_private_and_a_share_is_left_to_its_machine() {
        let folder = open_folder();
        let deep = folder.path().join(vec!["x".repeat(100); 3].join("/"));
        private_dir::ensure_ours(&deep, MayBlock::in_test()).unwrap();
        assert_eq!(others_of(&deep).as_deref(), NOBODY);
        assert_eq!(others(Path::new(r"\\server\share\credentials")), None);
    }

    #[test]
    fn others_are_named_once_and_denials_and_the_owner_are_none() {
        let known = "D:P(A;;FA;;;S-1-5-21-7)(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;CO)";
        for (found, names) in [
            (
                "D:PAI(A;OICI;FA;;;S-1-5-21-7)(A;ID;FA;;;SY)(A;;FA;;;BA)",
                "",
            ),
            ("D:(A;OICIIO;GA;;;CO)(D;;FA;;;WD)", ""),
            ("D:P", ""),
            (
                "D:(A;;FR;;;WD)(A;;FW;;;WD)(A;;0x1200a9;;;BU)",
                "Everyone, Users",
            ),
            (
                r#"D:(XA;;FX;;;S-1-5-21-8;(@User.Title=="PM" && (Member_of {SID(BA)})))(OA;;CR;;;AU)"#,
                "S-1-5-21-8, Authenticated Users",
            ),
            ("D:NO_ACCESS_CONTROL", "Everyone"),
            ("", "Everyone"),
        ] {
            assert_eq!(strangers(found, known), names, "{found}");
        }
    }
}
