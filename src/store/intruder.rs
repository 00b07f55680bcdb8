//! Another user of the machine who may write into the parent of this library's folder, and swaps files, folders and
//! links as fast as possible: thousands of operations, and not one is led astray.
//!
//! The other user is a process of another uid, so these tests need root; as another user they do nothing.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
use crate::store::credential::Stored;
use crate::store::credential::tests::sample;
use crate::store::location::Location;
use crate::store::location::tests::{at_path, in_state_dir};
use crate::store::locked::Locked;
use crate::store::reading;
use crate::store::registration::{Shelf, StoredClient};
use crate::time::UnixMillis;

/// Each round has four operations, in each of five tests.
const ROUNDS: usize = 3_000;

const INTRUDER: u32 = 65_534;

/// Runs a perl script in a loop, as the other user, until it is dropped. Every Debian has perl.
struct Intruder(Child);

impl Intruder {
    fn start(folder: &Path, script: &str) -> Self {
        let looped = format!(
            "use POSIX; my $n = 0; sub pause {{ select(undef, undef, undef, rand 0.001) }} \
             chdir $ARGV[0] or die; while (1) {{ {script} }}"
        );
        let child = Command::new("perl")
            .args(["-e", &looped])
            .arg(folder)
            .uid(INTRUDER)
            .gid(INTRUDER)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A folder that everybody may write to, and beside it the files that nobody may touch.
struct Shared {
    _root: TempDir,
    /// World-writable, without the sticky bit.
    open: PathBuf,
    /// This user's folder, with files of the names that this library uses.
    decoy: PathBuf,
    before: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

impl Shared {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() {
            TempDir::new_in(memory).unwrap()
        } else {
            TempDir::new().unwrap()
        };
        let open = root.path().join("state/credentials");
        let decoy = root.path().join("decoy");
        for folder in [&open, &decoy.join("clients")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        for folder in [root.path(), &root.path().join("state"), &decoy] {
            mode(folder, 0o755);
        }
        mode(&open, 0o777);
        for name in [
            "default.json",
            "default.json.lock",
            "clients/a.json",
            "clients/a.json.lock",
        ] {
            std::fs::write(decoy.join(name), "precious ".repeat(100)).unwrap();
            mode(&decoy.join(name), 0o644);
        }
        // The other user's links to the decoy, folders and files, to be swapped in.
        let evil = open.join("evil");
        std::fs::create_dir(&evil).unwrap();
        for name in ["default.json", "default.json.lock", "clients"] {
            symlink(decoy.join(name), evil.join(name)).unwrap();
        }
        symlink(&decoy, open.join("link")).unwrap();
        std::fs::write(
            open.join("foreign"),
            r#"{"version":1,"access":"planted","refresh":"planted"}"#,
        )
        .unwrap();
        symlink(decoy.join("default.json"), open.join("link.json")).unwrap();
        for name in ["evil", "link", "foreign", "link.json"] {
            give_away(&open.join(name));
        }
        for name in ["default.json", "default.json.lock", "clients"] {
            give_away(&evil.join(name));
        }
        let before = contents(&decoy);
        Self {
            _root: root,
            open,
            decoy,
            before,
        }
    }

    /// Nothing in the decoy was changed, created or opened up, and files that the other user captured are not readable
    /// for them.
    fn is_unharmed(&self) {
        let now = contents(&self.decoy);
        for (path, was) in &self.before {
            assert!(now.get(path) == Some(was), "{} changed", path.display());
        }
        assert!(now.keys().eq(self.before.keys()), "{:?}", now.keys());
        for path in files(&self.open) {
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_file() && metadata.uid() == 0 {
                assert_eq!(metadata.mode() & 0o077, 0, "{}", path.display());
            }
        }
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(INTRUDER), Some(INTRUDER)).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let deeper = paths
        .iter()
        .filter(|path| {
            path.symlink_metadata()
                .is_ok_and(|metadata| metadata.is_dir())
        })
        .flat_map(|path| files(path))
        .collect::<Vec<_>>();
    paths.into_iter().chain(deeper).collect()
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    files(folder)
        .into_iter()
        .map(|path| {
            let mode = path.metadata().unwrap().mode();
            let bytes = std::fs::read(&path).unwrap_or_default();
            (path, (mode, bytes))
        })
        .collect()
}

/// Everything that the store does, over and over. Says how much succeeded and how much was refused.
fn work(location: &Location) -> (usize, usize) {
    let (mut done, mut refused) = (0, 0);
    let mut note = |outcome: Result<(), Error>| match outcome {
        Ok(()) => done += 1,
        Err(error) => {
            assert_eq!(error.code(), ErrorCode::StoreIo, "{error}");
            refused += 1;
        }
    };
    for round in 0..ROUNDS {
        note(store(location, round));
        note(reading::read(location, crate::blocking::Look::LONG).map(|stored| is_ours(&stored)));
        note(store_client(location));
        note(
            Locked::try_acquire(location, crate::blocking::MayBlock::in_test()).and_then(
                |locked| match (round % 3, locked) {
                    (0, Some(mut locked)) => locked
                        .log_out(UnixMillis(1), crate::blocking::MayBlock::in_test())
                        .map(drop),
                    _ => Ok(()),
                },
            ),
        );
    }
    (done, refused)
}

fn store(location: &Location, round: usize) -> Result<(), Error> {
    let Some(mut locked) = Locked::try_acquire(location, crate::blocking::MayBlock::in_test())?
    else {
        return Ok(());
    };
    is_ours(locked.stored());
    let credential = sample("secret access", Some("secret refresh"));
    if round.is_multiple_of(2) {
        return locked.replace(&credential);
    }
    let reserved = locked.reserve(crate::blocking::MayBlock::in_test())?;
    match locked.save(reserved, &credential, crate::blocking::MayBlock::in_test()) {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.error),
    }
}

fn store_client(location: &Location) -> Result<(), Error> {
    let path = location.path().with_file_name("clients").join("a.json");
    Shelf::at(&path).save_with(&client(), crate::blocking::MayBlock::in_test())
}

fn client() -> StoredClient {
    StoredClient {
        client_id: "a".to_owned(),
        client_secret: Some(Secret::from("secret")),
        secret_expires_at: None,
        authentication: "client_secret_basic".to_owned(),
        redirect_uri: None,
        scopes: None,
        registration_client_uri: None,
        registration_access_token: None,
        created_at: UnixMillis(1),
    }
}

/// A file that another user has planted is never taken for a login.
fn is_ours(stored: &Stored) {
    if let Stored::Credential(snapshot) = stored {
        assert_eq!(snapshot.access().expose(), "secret access");
    }
}

fn astray(attack: &str, place: impl FnOnce(&Shared) -> Location) {
    if crate::fs::ownership::skipped_without_root() {
        return;
    }
    let shared = Shared::new();
    let location = place(&shared);
    drop(store(&location, 0));
    let intruder = Intruder::start(&shared.open, attack);
    // Until the other user has interfered and an operation has succeeded. How long that takes depends on the machine.
    let (mut done, mut refused) = (0, 0);
    for _ in 0..20 {
        let turn = work(&location);
        (done, refused) = (done + turn.0, refused + turn.1);
        if done > 100 && refused > 100 {
            break;
        }
    }
    drop(intruder);
    shared.is_unharmed();
    assert!(
        done > 100 && refused > 100,
        "{done} done, {refused} refused"
    );
}

fn in_plugins_folder(shared: &Shared) -> Location {
    in_state_dir(shared.open.parent().unwrap(), "my-memory", "default")
}

fn at_exact_path(shared: &Shared) -> Location {
    at_path(&shared.open.join("c.json"))
}

#[test]
fn our_folder_swapped_for_a_link_to_another_of_ours() {
    astray(
        "rename 'my-memory', 'gone' . $n++; symlink '../../decoy', 'my-memory'; pause(); unlink 'my-memory'; pause();",
        in_plugins_folder,
    );
}

#[test]
fn our_folder_swapped_for_his() {
    astray(
        "rename 'my-memory', 'gone' . $n++; rename 'evil', 'my-memory'; pause(); rename 'my-memory', 'evil'; pause();",
        in_plugins_folder,
    );
}

#[test]
fn our_file_swapped_for_a_link_and_for_his() {
    astray(
        "unlink 'c.json'; symlink '../../decoy/default.json', 'c.json'; pause(); unlink 'c.json'; pause(); \
         unlink 'c.json'; link 'foreign', 'c.json'; pause(); unlink 'c.json'; pause();",
        at_exact_path,
    );
}

#[test]
fn our_file_swapped_for_a_pipe_and_a_folder() {
    astray(
        "unlink 'c.json'; POSIX::mkfifo('c.json', 0666); pause(); unlink 'c.json'; pause(); \
         unlink 'c.json'; mkdir 'c.json'; pause(); rmdir 'c.json'; pause();",
        at_exact_path,
    );
}

#[test]
fn our_lock_and_temp_files_swapped_for_links() {
    astray(
        "unlink 'c.json.lock'; symlink '../../decoy/default.json.lock', 'c.json.lock'; pause(); unlink 'c.json.lock'; \
         for (glob '.c.json.*.tmp') { my $was = $_; unlink $was; symlink '../../decoy/default.json', $was; } pause();",
        at_exact_path,
    );
}

/// Lays something down at a path, which may lead to the decoy.
type Lay = fn(&Path, &Path);

/// The kinds of file that another user can create before this library does.
const LAID: [(&str, Lay); 5] = [
    ("a file", |path, _| std::fs::write(path, "{}").unwrap()),
    ("a folder", |path, _| std::fs::create_dir(path).unwrap()),
    ("a link", |path, decoy| symlink(decoy, path).unwrap()),
    ("a link to nothing", |path, decoy| {
        symlink(decoy.with_extension("new"), path).unwrap();
    }),
    ("a pipe", |path, _| {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    }),
];

#[test]
fn what_he_has_laid_down_before_is_refused_and_blocks_nobody() {
    if crate::fs::ownership::skipped_without_root() {
        return;
    }
    for (name, is_folder) in [
        ("my-memory", true),
        ("my-memory/clients", true),
        ("c.json", false),
        ("c.json.lock", false),
        ("c.json.clients", true),
    ] {
        for (what, lay) in LAID {
            let shared = Shared::new();
            let path = shared.open.join(name);
            if let Some(parent) = path.parent().filter(|parent| *parent != shared.open) {
                std::fs::create_dir(parent).unwrap();
            }
            let decoy = match (is_folder, name == "c.json.lock") {
                (true, _) => shared.decoy.clone(),
                (false, true) => shared.decoy.join("default.json.lock"),
                (false, false) => shared.decoy.join("default.json"),
            };
            lay(&path, &decoy);
            give_away(&path);
            let outcome = match name {
                "my-memory" => store(&in_plugins_folder(&shared), 0),
                "my-memory/clients" => store_client(&in_plugins_folder(&shared)),
                "c.json.clients" => Shelf::at(&path.join("a.json"))
                    .save_with(&client(), crate::blocking::MayBlock::in_test()),
                _ => store(&at_exact_path(&shared), 0),
            };
            let error = outcome.expect_err(&format!("{what} as {name} was accepted"));
            assert_eq!(error.code(), ErrorCode::StoreIo, "{what} as {name}");
            shared.is_unharmed();
        }
    }
}

#[test]
fn a_lock_in_a_shared_temp_folder_is_nobody_elses() {
    if crate::fs::ownership::skipped_without_root() {
        return;
    }
    // /tmp as it should be: sticky, so that he may add but not replace.
    let shared = Shared::new();
    mode(&shared.open, 0o1777);
    let location = at_exact_path(&shared);
    let intruder = Intruder::start(
        &shared.open,
        "unlink 'c.json'; rename 'c.json', 'his'; unlink 'c.json.lock'; symlink 'evil', 'c.json.lock'; \
         link 'c.json', 'second';",
    );
    for round in 0..ROUNDS {
        store(&location, round).unwrap();
    }
    drop(intruder);
    shared.is_unharmed();
}

#[test]
fn a_second_name_of_another_file_of_ours_is_not_written_to() {
    // Where hard links are unrestricted, another user can give any file of this user the name of the lock.
    let root = TempDir::new().unwrap();
    let precious = root.path().join("precious");
    let text = "process 1: what nobody else should read ".repeat(20);
    std::fs::write(&precious, &text).unwrap();
    mode(&precious, 0o755);
    let location = at_path(&root.path().join("c.json"));
    std::fs::hard_link(&precious, root.path().join("c.json.lock")).unwrap();
    store(&location, 0).unwrap();
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), text);
    assert_eq!(precious.metadata().unwrap().mode() & 0o777, 0o755);

    // It is not a login in the place of the credential either; it keeps its contents and its permissions.
    let second = at_path(&root.path().join("second.json"));
    std::fs::hard_link(&precious, second.path()).unwrap();
    assert_eq!(
        reading::read(&second, crate::blocking::Look::LONG)
            .unwrap_err()
            .code(),
        ErrorCode::StoreCorrupt
    );
    store(&second, 0).unwrap();
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), text);
    assert_eq!(precious.metadata().unwrap().mode() & 0o777, 0o755);
}

#[test]
fn a_file_in_the_place_of_a_lock_is_never_quoted() {
    let root = TempDir::new().unwrap();
    let location = at_path(&root.path().join("c.json"));
    let lock = root.path().join("c.json.lock");
    for (contents, quoted) in [
        ("-----BEGIN PRIVATE KEY-----".repeat(40), None),
        (
            format!("{:\0<512}", "process 7: a note"),
            Some("process 7: a note".to_owned()),
        ),
    ] {
        std::fs::write(&lock, contents).unwrap();
        assert_eq!(
            Locked::holder(&location, crate::blocking::MayBlock::in_test()),
            quoted
        );
    }
}
