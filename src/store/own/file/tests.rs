//! The guarantees of the lock and the file in this library's own format.

use tempfile::TempDir;

use super::*;
use crate::store::credential::tests::sample;
use crate::store::location::Location;
#[cfg(unix)]
use crate::store::location::tests::at_path;
use crate::store::location::tests::{FixedEnvironment, in_state_dir};
use crate::store::reading;

const DIGITS: &str = "0123456789abcdef";

impl OwnFile {
    fn refresh_token(&self) -> Option<&Secret> {
        self.stored().credential().and_then(Snapshot::refresh)
    }
}

/// A state folder with a plugin `demo` in it.
struct State {
    folder: TempDir,
    location: Location,
}

impl State {
    fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(folder.path(), "demo", "default");
        Self { folder, location }
    }

    fn logged_in() -> Self {
        let state = Self::empty();
        state.lock().replace(&sample("a1", Some("r1"))).unwrap();
        state
    }

    fn lock(&self) -> OwnFile {
        OwnFile::try_acquire(self.location.own(), MayBlock::in_test())
            .unwrap()
            .unwrap()
    }

    fn stored(&self) -> String {
        told(&reading::read(&self.location, Look::LONG).unwrap())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.location.path()).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::create_dir_all(self.location.own_folder().unwrap()).unwrap();
        std::fs::write(self.location.path(), text).unwrap();
    }

    /// Leaves a temp file as a crash would.
    fn leave(&self, digits: &str, contents: &[u8]) -> PathBuf {
        let path = self
            .location
            .path()
            .with_file_name(format!(".default.json.{digits}.tmp"));
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Everything in the plugin's folder but the lock.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.location.own_folder().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "default.json.lock")
            .collect();
        names.sort();
        names
    }
}

fn told(stored: &Stored) -> String {
    match stored {
        Stored::Nothing => "nothing".to_owned(),
        Stored::LoggedOut => "logged out".to_owned(),
        Stored::Sealed(_) => "sealed".to_owned(),
        Stored::Credential(snapshot) => format!(
            "{} {}",
            snapshot.access().expose(),
            snapshot.refresh().map_or("-", Secret::expose)
        ),
    }
}

fn refresh(state: &State, access: &str, refresh: Option<&str>) -> Saved {
    let mut locked = state.lock();
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    locked
        .save(reserved, &sample(access, refresh), MayBlock::in_test())
        .unwrap()
}

/// The file that a refresh which replaces that token would write.
fn successor(replaces: &str, access: &str, refresh: &str, refreshed_at: i64) -> Vec<u8> {
    let mut credential = sample(access, Some(refresh));
    credential.refreshed_at = UnixMillis(refreshed_at);
    let replaces = Secret::from(replaces).fingerprint();
    Document::of_credential(Document::default(), &credential, None, Some(&replaces))
        .to_json()
        .to_vec()
}

#[test]
fn a_login_a_refresh_and_a_logout() {
    let state = State::empty();
    let mut locked = state.lock();
    assert_eq!(told(locked.stored()), "nothing");
    assert!(locked.refresh_token().is_none());
    locked.replace(&sample("a1", Some("r1"))).unwrap();
    assert_eq!(told(locked.stored()), "a1 r1");
    assert!(
        OwnFile::try_acquire(state.location.own(), MayBlock::in_test())
            .unwrap()
            .is_none()
    );
    drop(locked);
    assert_eq!(state.stored(), "a1 r1");

    let mut locked = state.lock();
    assert_eq!(locked.refresh_token().unwrap().expose(), "r1");
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    let saved = locked
        .save(reserved, &sample("a2", Some("r2")), MayBlock::in_test())
        .unwrap();
    assert_eq!(saved, Saved::Written);
    assert_eq!(told(locked.stored()), "a2 r2");
    assert_eq!(state.stored(), "a2 r2");
    assert!(
        state
            .text()
            .contains(Secret::from("r1").fingerprint().as_str())
    );

    let removed = locked
        .log_out(UnixMillis(9), MayBlock::in_test())
        .unwrap()
        .unwrap();
    assert_eq!(removed.access.expose(), "a2");
    assert_eq!(removed.refresh.unwrap().expose(), "r2");
    assert_eq!(removed.client_id.as_deref(), Some("client"));
    assert_eq!(state.stored(), "logged out");
    assert_eq!(
        state.text(),
        "{\n  \"version\": 1,\n  \"loggedOutAt\": 9\n}\n"
    );
    // A login that was begun in between has to find a later one.
    assert_eq!(locked.logged_out_at(), Some(UnixMillis(9)));
    let again = locked.log_out(UnixMillis(10), MayBlock::in_test());
    assert!(again.unwrap().is_none());
    assert_eq!(locked.logged_out_at(), Some(UnixMillis(10)));
    locked.replace(&sample("a3", None)).unwrap();
    assert_eq!(state.stored(), "a3 -");
    assert_eq!(state.files(), ["default.json"]);
}

#[test]
fn a_refresh_without_a_new_refresh_token_keeps_the_old_one() {
    let state = State::logged_in();
    assert_eq!(refresh(&state, "a2", None), Saved::Written);
    assert_eq!(state.stored(), "a2 r1");
    assert_eq!(refresh(&state, "a3", None), Saved::Written);
    assert_eq!(state.stored(), "a3 r1");
}

#[test]
fn unknown_members_survive_a_refresh_and_not_a_login() {
    let state = State::empty();
    state.write(r#"{"note":{"by":"the plugin"},"version":1,"access":"a1","refresh":"r1"}"#);
    refresh(&state, "a2", Some("r2"));
    assert!(state.text().starts_with("{\n  \"note\": {"));
    let mut locked = state.lock();
    let failure = LastRefresh {
        failed_at: UnixMillis(1),
        next_attempt_at: UnixMillis(2),
        code: ErrorCode::Network,
        message: String::new(),
        r#final: false,
        bound_to: Fingerprint::of(&["x"]),
        rejected: None,
    };
    locked
        .record_failure(&failure, MayBlock::in_test())
        .unwrap();
    assert!(state.text().contains("the plugin"));
    locked.replace(&sample("a3", None)).unwrap();
    assert!(!state.text().contains("the plugin"));
}

/// Windows keeps the name of a file that is still open, and what was forgotten is.
#[cfg(unix)]
#[test]
fn a_crash_after_reserving_leaves_the_old_credential() {
    let state = State::logged_in();
    let locked = state.lock();
    std::mem::forget(locked.reserve(MayBlock::in_test()).unwrap());
    drop(locked);
    assert_eq!(state.files().len(), 2);
    assert_eq!(told(state.lock().stored()), "a1 r1");
    assert_eq!(state.files(), ["default.json"]);
}

#[test]
fn a_crash_at_any_byte_of_the_write_leaves_the_old_or_the_new_credential() {
    let state = State::logged_in();
    let old = state.text();
    let new = successor("r1", "a2", "r2", 1_700_000_001_000);
    for written in 0..=new.len() {
        for room in [written, new.len() + 16 * 1024] {
            std::fs::write(state.location.path(), &old).unwrap();
            let mut contents = new[..written].to_vec();
            contents.resize(room, 0);
            state.leave(DIGITS, &contents);
            let is_whole = written + 1 >= new.len();
            let expected = if is_whole { "a2 r2" } else { "a1 r1" };
            assert_eq!(told(state.lock().stored()), expected, "{written} {room}");
            assert_eq!(state.stored(), expected);
            assert_eq!(state.files(), ["default.json"]);
            assert!(!state.text().contains('\0'));
        }
    }
}

#[test]
fn a_save_that_could_not_be_renamed_is_finished_by_the_next_holder() {
    let state = State::logged_in();
    let mut locked = state.lock();
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    let aside = state.folder.path().join("aside");
    std::fs::rename(state.location.path(), &aside).unwrap();
    std::fs::create_dir(state.location.path()).unwrap();
    let failure = locked
        .save(reserved, &sample("a2", Some("r2")), MayBlock::in_test())
        .unwrap_err();
    assert_eq!(failure.error.code(), ErrorCode::StoreIo);
    let reserved = failure.reserved.unwrap();
    std::fs::remove_dir(state.location.path()).unwrap();
    std::fs::rename(&aside, state.location.path()).unwrap();

    // This process gives up, or ends.
    drop(reserved);
    drop(locked);
    assert_eq!(state.stored(), "a1 r1");
    assert_eq!(told(state.lock().stored()), "a2 r2");
}

#[test]
fn a_failed_save_can_be_tried_again() {
    let state = State::logged_in();
    let mut locked = state.lock();
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    let aside = state.folder.path().join("aside");
    std::fs::rename(state.location.path(), &aside).unwrap();
    std::fs::create_dir(state.location.path()).unwrap();
    let new = sample("a2", Some("r2"));
    let reserved = locked
        .save(reserved, &new, MayBlock::in_test())
        .unwrap_err()
        .reserved
        .unwrap();
    std::fs::remove_dir(state.location.path()).unwrap();
    std::fs::rename(&aside, state.location.path()).unwrap();
    assert_eq!(
        locked.save(reserved, &new, MayBlock::in_test()).unwrap(),
        Saved::Written
    );
    assert_eq!(state.stored(), "a2 r2");
    assert_eq!(state.files(), ["default.json"]);
}

/// Windows keeps the name of a file that is still open.
#[cfg(unix)]
#[test]
fn a_temp_file_that_somebody_deleted_is_reserved_again() {
    let state = State::logged_in();
    let mut locked = state.lock();
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    for name in state.files() {
        if name != "default.json" {
            std::fs::remove_file(state.location.path().with_file_name(name)).unwrap();
        }
    }
    let new = sample("a2", Some("r2"));
    let failure = locked
        .save(reserved, &new, MayBlock::in_test())
        .unwrap_err();
    assert!(failure.reserved.is_none());
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    assert_eq!(
        locked.save(reserved, &new, MayBlock::in_test()).unwrap(),
        Saved::Written
    );
    assert_eq!(state.stored(), "a2 r2");
}

#[test]
fn a_leftover_of_another_token_is_deleted() {
    let state = State::logged_in();
    for contents in [
        successor("r0", "a9", "r9", i64::MAX),
        br#"{"version":1,"access":"a9","refresh":"r9"}"#.to_vec(),
        br#"{"version":1,"access":"a9","refresh":"r9","replaces":7}"#.to_vec(),
        format!(
            r#"{{"version":1,"access":7,"replaces":"{}"}}"#,
            Secret::from("r1").fingerprint().as_str()
        )
        .into_bytes(),
        b"not json".to_vec(),
        vec![b' '; 5 << 20],
    ] {
        state.leave(DIGITS, &contents);
        assert_eq!(told(state.lock().stored()), "a1 r1");
        assert_eq!(state.files(), ["default.json"]);
    }
}

#[test]
fn leftovers_of_other_profiles_and_foreign_files_stay() {
    let state = State::logged_in();
    let folder = state.location.own_folder().unwrap().to_path_buf();
    let new = successor("r1", "a2", "r2", i64::MAX);
    let mut names = [
        ".work.json.0123456789abcdef.tmp",
        ".default.0123456789abcdef.tmp",
        ".default.json.json.0123456789abcdef.tmp",
        ".default.json.0123456789abcdef.json.0123456789abcdef.tmp",
        "default.json.corrupt-1",
        "default.json",
    ];
    names.sort_unstable();
    for name in names {
        if name != "default.json" {
            std::fs::write(folder.join(name), &new).unwrap();
        }
    }
    std::fs::create_dir(folder.join(format!(".default.json.{DIGITS}.tmp"))).unwrap();
    let mut locked = state.lock();
    assert_eq!(told(locked.stored()), "a1 r1");
    locked.log_out(UnixMillis(1), MayBlock::in_test()).unwrap();
    std::fs::remove_dir(folder.join(format!(".default.json.{DIGITS}.tmp"))).unwrap();
    assert_eq!(state.files(), names);
}

#[test]
fn of_two_successors_the_newer_one_counts() {
    let state = State::logged_in();
    state.leave("0000000000000001", &successor("r1", "a2", "r2", 2));
    state.leave("0000000000000002", &successor("r1", "a3", "r3", 3));
    state.leave("0000000000000003", &successor("r1", "a4", "r4", 1));
    assert_eq!(told(state.lock().stored()), "a3 r3");
    assert_eq!(state.files(), ["default.json"]);
}

#[test]
fn without_rotation_an_older_leftover_does_not_bring_an_old_access_token_back() {
    let state = State::logged_in();
    refresh(&state, "a2", None);
    state.leave(DIGITS, &successor("r1", "a0", "r1", 5));
    assert_eq!(told(state.lock().stored()), "a2 r1");
    state.leave(DIGITS, &successor("r1", "a3", "r1", 1_800_000_000_000));
    assert_eq!(told(state.lock().stored()), "a3 r1");
    // A rotated token counts, even with an earlier time.
    state.leave(DIGITS, &successor("r1", "a4", "r4", 5));
    assert_eq!(told(state.lock().stored()), "a4 r4");
}

#[test]
fn a_successor_of_a_newer_version_stops_us_from_spending_its_predecessor() {
    let state = State::logged_in();
    let text = format!(
        r#"{{"version":2,"replaces":"{}"}}"#,
        Secret::from("r1").fingerprint().as_str()
    );
    let left = state.leave(DIGITS, text.as_bytes());
    let error = OwnFile::try_acquire(state.location.own(), MayBlock::in_test()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreVersion);
    assert_eq!(std::fs::read_to_string(left).unwrap(), text);
}

#[test]
fn a_login_or_logout_in_between_wins() {
    for (now, told_now) in [
        (r#"{"version":1,"access":"a7","refresh":"r7"}"#, "a7 r7"),
        (r#"{"version":1,"access":"a7"}"#, "a7 -"),
        (r#"{"version":1,"loggedOutAt":7}"#, "logged out"),
        ("", "nothing"),
        (r#"{"version":2}"#, "nothing"),
    ] {
        let state = State::logged_in();
        let mut locked = state.lock();
        let reserved = locked.reserve(MayBlock::in_test()).unwrap();
        // By a process that ignored the lock.
        if now.is_empty() {
            std::fs::remove_file(state.location.path()).unwrap();
        } else {
            state.write(now);
        }
        let saved = locked
            .save(reserved, &sample("a2", Some("r2")), MayBlock::in_test())
            .unwrap();
        assert_eq!(saved, Saved::Superseded, "{now}");
        assert_eq!(told(locked.stored()), told_now);
        assert!(!locked.seen.is_corrupt);
        if now.is_empty() {
            assert!(state.files().is_empty());
        } else {
            assert_eq!(state.text(), now);
            assert_eq!(state.files(), ["default.json"]);
        }
    }
}

#[test]
#[cfg(unix)]
fn a_folder_that_is_moved_and_linked_meanwhile_is_no_logout() {
    let state = State::logged_in();
    let mut locked = state.lock();
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    let folder = state.location.own_folder().unwrap().to_path_buf();
    let elsewhere = state.folder.path().join("elsewhere");
    std::fs::rename(&folder, &elsewhere).unwrap();
    let host = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        std::os::unix::fs::symlink(elsewhere, folder).unwrap();
    });
    let saved = locked
        .save(reserved, &sample("a2", Some("r2")), MayBlock::in_test())
        .unwrap();
    host.join().unwrap();
    assert_eq!(saved, Saved::Written);
    assert_eq!(
        told(&reading::read(&state.location, Look::LONG).unwrap()),
        "a2 r2"
    );
}

#[test]
fn what_another_finished_for_us_is_not_revoked() {
    let state = State::logged_in();
    let mut locked = state.lock();
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    let new = sample("a2", Some("r2"));
    let theirs = Document::of_credential(
        locked.seen.document.clone(),
        &new,
        None,
        Some(&Secret::from("r1").fingerprint()),
    );
    std::fs::write(state.location.path(), theirs.to_json()).unwrap();
    assert_eq!(
        locked.save(reserved, &new, MayBlock::in_test()).unwrap(),
        Saved::Written
    );
    assert_eq!(state.stored(), "a2 r2");
}

#[test]
fn damage_in_between_does_not_cost_the_new_token() {
    let state = State::logged_in();
    let mut locked = state.lock();
    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
    state.write("half a fi");
    let new = sample("a2", Some("r2"));
    assert_eq!(
        locked.save(reserved, &new, MayBlock::in_test()).unwrap(),
        Saved::Written
    );
    assert_eq!(state.stored(), "a2 r2");
    assert_eq!(
        state.files(),
        ["default.json", "default.json.corrupt-1700000000000"]
    );
}

#[test]
fn a_damaged_file_is_no_login_and_is_kept_aside_by_the_next_one() {
    for damaged in ["", "{", "\0\0", r#"{"version":1}"#, r#"{"access":"a"}"#] {
        let state = State::empty();
        state.write(damaged);
        let left = state.leave(DIGITS, &successor("r1", "a2", "r2", 1));
        let mut locked = state.lock();
        assert!(locked.seen.is_corrupt);
        assert_eq!(locked.stored(), &Stored::Nothing);
        assert!(left.exists(), "nobody knows what it belongs to");
        assert_eq!(state.text(), damaged);
        locked.replace(&sample("a3", None)).unwrap();
        assert!(!locked.seen.is_corrupt);
        assert_eq!(state.stored(), "a3 -");
        assert_eq!(
            state.files(),
            ["default.json", "default.json.corrupt-1700000000000"]
        );
        let aside = state
            .location
            .path()
            .with_file_name("default.json.corrupt-1700000000000");
        assert_eq!(std::fs::read_to_string(aside).unwrap(), damaged);
    }
}

#[test]
fn a_logout_from_a_damaged_file_keeps_it_aside() {
    let state = State::empty();
    state.write("damaged");
    assert!(
        state
            .lock()
            .log_out(UnixMillis(5), MayBlock::in_test())
            .unwrap()
            .is_none()
    );
    assert_eq!(state.stored(), "logged out");
    assert_eq!(state.files(), ["default.json", "default.json.corrupt-5"]);
}

#[test]
fn a_newer_version_is_left_alone() {
    let state = State::empty();
    let text = r#"{"version":2,"anything":"else"}"#;
    state.write(text);
    let error = OwnFile::try_acquire(state.location.own(), MayBlock::in_test()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreVersion);
    assert_eq!(state.text(), text);

    let state = State::logged_in();
    let mut locked = state.lock();
    state.write(text);
    for error in [
        locked.replace(&sample("a2", None)).unwrap_err(),
        locked
            .log_out(UnixMillis(1), MayBlock::in_test())
            .unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::StoreVersion);
    }
    assert_eq!(state.text(), text);
    assert_eq!(state.files(), ["default.json"]);
}

#[test]
fn what_a_failed_refresh_taught_is_shared_until_the_next_save() {
    let state = State::logged_in();
    refresh(&state, "a2", None);
    let failure = LastRefresh {
        failed_at: UnixMillis(1),
        next_attempt_at: UnixMillis(2),
        code: ErrorCode::LoginRequired,
        message: "the server refused".to_owned(),
        r#final: true,
        bound_to: Fingerprint::of(&["x"]),
        rejected: None,
    };
    let mut locked = state.lock();
    locked
        .record_failure(&failure, MayBlock::in_test())
        .unwrap();
    let Stored::Credential(snapshot) = reading::read(&state.location, Look::LONG).unwrap() else {
        panic!("no credential");
    };
    assert_eq!(snapshot.last_refresh(), Some(&failure));
    assert_eq!(told(locked.stored()), "a2 r1");

    // A crash between its write and its rename is nothing to finish.
    let text = state.text();
    assert!(!text.contains("replaces"));
    drop(locked);
    state.leave(DIGITS, text.replace("a2", "a9").as_bytes());
    assert_eq!(told(state.lock().stored()), "a2 r1");

    refresh(&state, "a3", None);
    assert!(!state.text().contains("lastRefresh"));
}

#[test]
fn a_failure_is_not_recorded_over_another_login() {
    let state = State::logged_in();
    let failure = LastRefresh {
        failed_at: UnixMillis(1),
        next_attempt_at: UnixMillis(2),
        code: ErrorCode::Network,
        message: String::new(),
        r#final: false,
        bound_to: Fingerprint::of(&["x"]),
        rejected: None,
    };
    let mut locked = state.lock();
    let theirs = r#"{"version":1,"access":"a7","refresh":"r7"}"#;
    state.write(theirs);
    locked
        .record_failure(&failure, MayBlock::in_test())
        .unwrap();
    assert_eq!(state.text(), theirs);
    assert_eq!(told(locked.stored()), "a7 r7");
    locked.log_out(UnixMillis(1), MayBlock::in_test()).unwrap();
    locked
        .record_failure(&failure, MayBlock::in_test())
        .unwrap();
    assert_eq!(state.stored(), "logged out");
    assert_eq!(state.files(), ["default.json"]);
}

/// Another limit, of the whole path, comes first on Windows.
#[cfg(unix)]
#[test]
fn a_logout_without_space_for_a_tombstone_still_removes_the_credential() {
    let folder = TempDir::new().unwrap();
    // The name of a temp file would be too long; that of the lock just fits.
    let location = at_path(&folder.path().join("n".repeat(250)));
    std::fs::write(
        location.path(),
        r#"{"version":1,"access":"a1","refresh":"r1"}"#,
    )
    .unwrap();
    let mut locked = OwnFile::try_acquire(location.own(), MayBlock::in_test())
        .unwrap()
        .unwrap();
    let error = locked.reserve(MayBlock::in_test()).unwrap_err();
    assert!(error.message().contains("too long"), "{error}");
    let removed = locked
        .log_out(UnixMillis(1), MayBlock::in_test())
        .unwrap()
        .unwrap();
    assert_eq!(removed.access.expose(), "a1");
    assert!(!location.path().exists());
    assert_eq!(locked.stored(), &Stored::Nothing);
}

#[test]
fn a_handwritten_login_is_adopted_once_and_never_comes_back() {
    let state = State::empty();
    let old = state
        .location
        .handwritten_path(&FixedEnvironment::default())
        .unwrap();
    std::fs::create_dir_all(old.parent().unwrap()).unwrap();
    let text = r#"{"access_token":"a0","refresh_token":"r0"}"#;
    std::fs::write(&old, text).unwrap();
    let mut locked = state.lock();
    let handwritten = reading::handwritten(
        &state.location,
        &[],
        &FixedEnvironment::default(),
        Look::LONG,
    )
    .unwrap()
    .unwrap();
    let credential = handwritten.credential(UnixMillis(5));
    locked
        .adopt(&handwritten, &credential, MayBlock::in_test())
        .unwrap();
    assert_eq!(told(locked.stored()), "a0 r0");
    assert_eq!(state.stored(), "a0 r0");
    assert!(state.text().contains("\"adopted\""));
    assert!(!old.exists());
    assert!(old.with_file_name("credentials.json.adopted").exists());

    // The old file is restored, and the login in it is adopted again.
    std::fs::write(&old, text).unwrap();
    assert!(
        reading::handwritten(
            &state.location,
            &[],
            &FixedEnvironment::default(),
            Look::LONG
        )
        .unwrap()
        .is_none()
    );
    locked.replace(&sample("a1", None)).unwrap();
    locked
        .adopt(&handwritten, &credential, MayBlock::in_test())
        .unwrap();
    assert_eq!(state.stored(), "a1 -");
    assert!(state.text().contains("\"adopted\""));
    locked.log_out(UnixMillis(6), MayBlock::in_test()).unwrap();
    assert!(state.text().contains("\"adopted\""));
    assert!(
        reading::handwritten(
            &state.location,
            &[],
            &FixedEnvironment::default(),
            Look::LONG
        )
        .unwrap()
        .is_none()
    );
    locked
        .adopt(&handwritten, &credential, MayBlock::in_test())
        .unwrap();
    assert_eq!(state.stored(), "logged out");
}

#[test]
fn a_logout_before_any_login_stops_adoption_too() {
    let state = State::empty();
    let old = state
        .location
        .handwritten_path(&FixedEnvironment::default())
        .unwrap();
    std::fs::create_dir_all(old.parent().unwrap()).unwrap();
    std::fs::write(&old, r#"{"access":"a0"}"#).unwrap();
    assert!(
        state
            .lock()
            .log_out(UnixMillis(1), MayBlock::in_test())
            .unwrap()
            .is_none()
    );
    assert!(
        reading::handwritten(
            &state.location,
            &[],
            &FixedEnvironment::default(),
            Look::LONG
        )
        .unwrap()
        .is_none()
    );
    assert!(old.exists());
}

#[test]
fn the_holder_is_told() {
    let state = State::logged_in();
    assert_eq!(
        OwnFile::holder(state.location.own(), MayBlock::in_test()),
        None
    );
    let locked = state.lock();
    locked.note("refreshing", MayBlock::in_test());
    assert!(!locked.is_local_fallback());
    let told = OwnFile::holder(state.location.own(), MayBlock::in_test()).unwrap();
    assert_eq!(told, format!("process {}: refreshing", std::process::id()));
}

#[test]
fn nothing_secret_is_printed() {
    let state = State::logged_in();
    let locked = state.lock();
    let shown = format!(
        "{locked:?} {:?} {:?} {:?}",
        locked.refresh_token(),
        locked.stored(),
        locked.reserve(MayBlock::in_test()).unwrap()
    );
    assert!(
        !shown.contains("\"r1\"") && !shown.contains("\"a1\""),
        "{shown}"
    );
}

#[test]
fn no_update_is_lost_among_threads() {
    let state = State::empty();
    state.lock().replace(&sample("0", Some("0"))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut done = 0;
                while done < 25 {
                    let Some(mut locked) =
                        OwnFile::try_acquire(state.location.own(), MayBlock::in_test()).unwrap()
                    else {
                        std::thread::yield_now();
                        continue;
                    };
                    let token = locked.refresh_token().unwrap().clone();
                    let next: u32 = token.expose().parse::<u32>().unwrap() + 1;
                    let reserved = locked.reserve(MayBlock::in_test()).unwrap();
                    let new = sample(&next.to_string(), Some(&next.to_string()));
                    assert_eq!(
                        locked.save(reserved, &new, MayBlock::in_test()).unwrap(),
                        Saved::Written
                    );
                    done += 1;
                }
            });
        }
    });
    assert_eq!(state.stored(), "100 100");
}

#[cfg(unix)]
mod unix {
    use std::fs::Permissions;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn loosen(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn child(test: &str, folder: &Path) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("store::own::file::tests::unix::{test}"),
                "--ignored",
                "--nocapture",
            ])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn here() -> Location {
        in_state_dir(&std::env::current_dir().unwrap(), "demo", "default")
    }

    #[test]
    fn looser_permissions_are_tightened_in_our_own_folder_only() {
        let state = State::logged_in();
        let folder = state.location.own_folder().unwrap();
        let credentials = folder.parent().unwrap();
        let lock_file = folder.join("default.json.lock");
        loosen(state.location.path(), 0o644);
        loosen(&lock_file, 0o666);
        loosen(folder, 0o755);
        loosen(credentials, 0o755);
        loosen(state.folder.path(), 0o755);
        assert_eq!(state.stored(), "a1 r1");
        assert_eq!(mode(state.location.path()), 0o644, "readers change nothing");
        drop(state.lock());
        assert_eq!(mode(state.location.path()), 0o600);
        assert_eq!(mode(&lock_file), 0o600);
        assert_eq!(mode(folder), 0o700);
        assert_eq!(mode(credentials), 0o755);
        assert_eq!(mode(state.folder.path()), 0o755);
    }

    #[test]
    fn the_folder_of_an_exact_path_is_made_private_or_left_alone() {
        let folder = TempDir::new().unwrap();
        loosen(folder.path(), 0o755);
        let location = at_path(&folder.path().join("new/deep/c.json"));
        let mut locked = OwnFile::try_acquire(location.own(), MayBlock::in_test())
            .unwrap()
            .unwrap();
        locked.replace(&sample("a1", None)).unwrap();
        drop(locked);
        assert_eq!(mode(location.path()), 0o600);
        assert_eq!(mode(&folder.path().join("new/deep")), 0o700);
        assert_eq!(mode(&folder.path().join("new")), 0o700);
        loosen(&folder.path().join("new/deep"), 0o755);
        drop(
            OwnFile::try_acquire(location.own(), MayBlock::in_test())
                .unwrap()
                .unwrap(),
        );
        assert_eq!(mode(&folder.path().join("new/deep")), 0o755);
        assert_eq!(mode(folder.path()), 0o755);
    }

    /// Runs in child processes of the test below, because a umask belongs to a whole process.
    #[test]
    #[ignore = "only as a child process"]
    fn child_with_other_umasks() {
        for umask in [0o000, 0o777] {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            let location = in_state_dir(
                &std::env::current_dir().unwrap(),
                &format!("umask{umask}"),
                "default",
            );
            let mut locked = OwnFile::try_acquire(location.own(), MayBlock::in_test())
                .unwrap()
                .unwrap();
            locked.replace(&sample("a1", Some("r1"))).unwrap();
            let reserved = locked.reserve(MayBlock::in_test()).unwrap();
            for entry in std::fs::read_dir(location.own_folder().unwrap()).unwrap() {
                assert_eq!(mode(&entry.unwrap().path()), 0o600);
            }
            locked
                .save(reserved, &sample("a2", Some("r2")), MayBlock::in_test())
                .unwrap();
        }
    }

    #[test]
    fn no_umask_widens_or_narrows() {
        let folder = TempDir::new().unwrap();
        let output = child("child_with_other_umasks", folder.path())
            .wait_with_output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let credentials = folder.path().join("credentials");
        assert_eq!(mode(&credentials), 0o700);
        for plugin in ["umask0", "umask511"] {
            assert_eq!(mode(&credentials.join(plugin)), 0o700);
            for name in ["default.json", "default.json.lock"] {
                assert_eq!(mode(&credentials.join(plugin).join(name)), 0o600);
            }
        }
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced_and_locked() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::fs::write(
            at("real/secret.json"),
            r#"{"version":1,"access":"a1","refresh":"r1"}"#,
        )
        .unwrap();
        symlink("real/secret.json", at("c.json")).unwrap();
        let location = at_path(&at("c.json"));
        let mut locked = OwnFile::try_acquire(location.own(), MayBlock::in_test())
            .unwrap()
            .unwrap();
        assert!(at("real/secret.json.lock").exists());
        assert!(!at("c.json.lock").exists());
        let real = at_path(&at("real/secret.json"));
        assert!(
            OwnFile::try_acquire(real.own(), MayBlock::in_test())
                .unwrap()
                .is_none()
        );
        let reserved = locked.reserve(MayBlock::in_test()).unwrap();
        locked
            .save(reserved, &sample("a2", Some("r2")), MayBlock::in_test())
            .unwrap();
        assert!(at("c.json").is_symlink());
        assert_eq!(told(&reading::read(&real, Look::LONG).unwrap()), "a2 r2");
        assert_eq!(
            told(&reading::read(&location, Look::LONG).unwrap()),
            "a2 r2"
        );
        locked.log_out(UnixMillis(1), MayBlock::in_test()).unwrap();
        assert!(at("c.json").is_symlink());
        assert_eq!(reading::read(&real, Look::LONG).unwrap(), Stored::LoggedOut);
    }

    #[test]
    fn a_link_to_nothing_yet_is_filled() {
        let folder = TempDir::new().unwrap();
        symlink("later/c.json", folder.path().join("c.json")).unwrap();
        let location = at_path(&folder.path().join("c.json"));
        let mut locked = OwnFile::try_acquire(location.own(), MayBlock::in_test())
            .unwrap()
            .unwrap();
        locked.replace(&sample("a1", None)).unwrap();
        assert!(folder.path().join("c.json").is_symlink());
        assert_eq!(mode(&folder.path().join("later")), 0o700);
        assert_eq!(told(&reading::read(&location, Look::LONG).unwrap()), "a1 -");
    }

    #[test]
    fn what_belongs_to_others_is_refused_and_left_alone() {
        if crate::fs::ownership::skipped_without_root() {
            return;
        }
        let state = State::logged_in();
        let text = state.text();
        chown(state.location.path(), Some(4321), None).unwrap();
        let link = at_path(&state.folder.path().join("link.json"));
        symlink(state.location.path(), link.path()).unwrap();
        for location in [&state.location, &link] {
            for error in [
                reading::read(location, Look::LONG).unwrap_err(),
                OwnFile::try_acquire(location.own(), MayBlock::in_test()).unwrap_err(),
            ] {
                assert_eq!(error.code(), ErrorCode::StoreIo);
                assert!(error.message().contains("uid 4321"), "{error}");
                assert!(
                    error
                        .message()
                        .contains(state.location.path().to_str().unwrap()),
                    "{error}"
                );
            }
        }
        assert_eq!(state.text(), text);

        // While it was held: a logout must not delete it either.
        let state = State::logged_in();
        let mut locked = state.lock();
        chown(state.location.path(), Some(4321), None).unwrap();
        locked
            .log_out(UnixMillis(1), MayBlock::in_test())
            .unwrap_err();
        assert_eq!(state.text(), text);

        let state = State::logged_in();
        chown(state.location.own_folder().unwrap(), Some(4321), None).unwrap();
        let error = OwnFile::try_acquire(state.location.own(), MayBlock::in_test()).unwrap_err();
        assert!(error.message().contains("The folder"), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let state = State::empty();
        std::fs::create_dir_all(state.location.path()).unwrap();
        let error = OwnFile::try_acquire(state.location.own(), MayBlock::in_test()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::StoreIo);
        std::fs::remove_dir(state.location.path()).unwrap();
        run("mkfifo", &[state.location.path().to_str().unwrap()]);
        for error in [
            OwnFile::try_acquire(state.location.own(), MayBlock::in_test()).unwrap_err(),
            reading::read(&state.location, Look::LONG).unwrap_err(),
        ] {
            assert!(error.message().contains("named pipe"), "{error}");
        }
    }

    fn run(program: &str, arguments: &[&str]) {
        let status = Command::new(program).args(arguments).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    }

    /// Runs in a child process of the test below, in a mount namespace of its own.
    #[test]
    #[ignore = "only as a child process"]
    fn child_with_mounts_of_its_own() {
        let folder = std::env::current_dir().unwrap();
        let disk = folder.join("disk");
        std::fs::create_dir(&disk).unwrap();
        let shown = disk.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=128k", "tmpfs", shown]);
        let location = in_state_dir(&disk, "demo", "default");
        let mut locked = OwnFile::try_acquire(location.own(), MayBlock::in_test())
            .unwrap()
            .unwrap();
        locked.replace(&sample("a1", Some("r1"))).unwrap();

        // A reserved result can be saved, and a note written, on a disk that is full by now.
        let reserved = locked.reserve(MayBlock::in_test()).unwrap();
        let mut ballast = std::fs::File::create(disk.join("ballast")).unwrap();
        while ballast.write_all(&[7; 4096]).is_ok() {}
        let error = locked.reserve(MayBlock::in_test()).unwrap_err();
        assert!(error.message().starts_with("No space left"), "{error}");
        locked
            .save(reserved, &sample("a2", Some("r2")), MayBlock::in_test())
            .unwrap();
        assert_eq!(
            told(&reading::read(&location, Look::LONG).unwrap()),
            "a2 r2"
        );
        locked.note("no space", MayBlock::in_test());
        assert!(
            OwnFile::holder(location.own(), MayBlock::in_test())
                .unwrap()
                .ends_with("no space")
        );
        while ballast.write_all(&[7; 4096]).is_ok() {}
        let error = locked.replace(&sample("a3", None)).unwrap_err();
        assert!(error.message().starts_with("No space left"), "{error}");
        assert_eq!(
            told(&reading::read(&location, Look::LONG).unwrap()),
            "a2 r2"
        );
        assert!(
            locked
                .log_out(UnixMillis(1), MayBlock::in_test())
                .unwrap()
                .is_some()
        );
        assert_eq!(
            reading::read(&location, Look::LONG).unwrap(),
            Stored::Nothing
        );
        drop(ballast);
        std::fs::remove_file(disk.join("ballast")).unwrap();
        locked.replace(&sample("a4", None)).unwrap();
        drop(locked);

        // Read-only: reading goes on.
        run("mount", &["-o", "remount,ro", shown]);
        let error = OwnFile::try_acquire(location.own(), MayBlock::in_test()).unwrap_err();
        assert!(error.message().contains("is read-only"), "{error}");
        assert_eq!(told(&reading::read(&location, Look::LONG).unwrap()), "a4 -");

        // A single file that is mounted from elsewhere, on the same disk.
        let source = folder.join("source.json");
        std::fs::write(&source, r#"{"version":1,"access":"a1","refresh":"r1"}"#).unwrap();
        let location = at_path(&folder.join("bound.json"));
        std::fs::write(location.path(), "").unwrap();
        let bound = location.path().to_str().unwrap();
        run("mount", &["--bind", source.to_str().unwrap(), bound]);
        let mut locked = OwnFile::try_acquire(location.own(), MayBlock::in_test())
            .unwrap()
            .unwrap();
        for error in [
            locked.reserve(MayBlock::in_test()).unwrap_err(),
            locked.replace(&sample("a2", None)).unwrap_err(),
        ] {
            assert!(error.message().contains("Mount its folder"), "{error}");
        }
        assert_eq!(
            told(&reading::read(&location, Look::LONG).unwrap()),
            "a1 r1"
        );
    }

    #[test]
    fn full_disks_read_only_disks_and_mounted_files_are_told() {
        let can_mount = Command::new("unshare")
            .args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !can_mount {
            return;
        }
        let folder = TempDir::new().unwrap();
        let output = Command::new("unshare")
            .arg("-m")
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::own::file::tests::unix::child_with_mounts_of_its_own",
                "--ignored",
                "--nocapture",
            ])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Runs in a child process of the test below: refreshes without end and reports each saved token.
    #[test]
    #[ignore = "only as a child process"]
    fn child_that_refreshes() {
        let location = here();
        loop {
            let Some(mut locked) =
                OwnFile::try_acquire(location.own(), MayBlock::in_test()).unwrap()
            else {
                continue;
            };
            let token = locked.refresh_token().unwrap().clone();
            let next = (token.expose().parse::<u32>().unwrap() + 1).to_string();
            let reserved = locked.reserve(MayBlock::in_test()).unwrap();
            let new = sample(&next, Some(&next));
            assert_eq!(
                locked.save(reserved, &new, MayBlock::in_test()).unwrap(),
                Saved::Written
            );
            drop(locked);
            std::io::stderr()
                .write_all(format!("{next}\n").as_bytes())
                .unwrap();
        }
    }

    #[test]
    fn killed_processes_never_lose_what_they_had_told() {
        let state = State::empty();
        state.lock().replace(&sample("0", Some("0"))).unwrap();
        let mut told_last = 0;
        for round in 0..12_u64 {
            let mut children = [(); 2].map(|()| child("child_that_refreshes", state.folder.path()));
            let readers = children.each_mut().map(|child| {
                let lines = BufReader::new(child.stderr.take().unwrap()).lines();
                std::thread::spawn(move || {
                    lines
                        .map_while(Result::ok)
                        .filter_map(|line| line.parse::<u32>().ok())
                        .max()
                })
            });
            std::thread::sleep(Duration::from_millis(60 + round * 7));
            for child in &mut children {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            for reader in readers {
                told_last = told_last.max(reader.join().unwrap().unwrap_or(0));
            }
            let locked = state.lock();
            let stored = told(locked.stored());
            let (access, refresh) = stored.split_once(' ').unwrap();
            assert_eq!(access, refresh, "whole");
            let number: u32 = access.parse().unwrap();
            assert!(number >= told_last, "{number} < {told_last}");
            assert_eq!(state.files(), ["default.json"]);
        }
        assert!(told_last > 0);
    }
}
