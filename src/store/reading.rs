//! Reads a location of any kind without a lock.

use std::sync::Arc;

use crate::blocking::{Look, MayBlock};
use crate::environment::Environment;
use crate::error::Error;
use crate::fs::regular_file::RegularFile;
use crate::store::credential::{Outline, Snapshot, Stored};
use crate::store::earlier_login::EarlierLogin;
use crate::store::foreign;
use crate::store::given;
use crate::store::location::{Location, Place};
use crate::store::own;
use crate::store::sealed;
use crate::store::state_folder::adopted_paths;

/// Reads without a lock. A missing file or folder is [`Stored::Nothing`].
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
pub(crate) fn read(location: &Location, look: Look) -> Result<Stored, Error> {
    find(location, look).map(|(stored, _)| stored)
}

/// Reads a login with its file.
pub(super) fn find(
    location: &Location,
    look: Look,
) -> Result<(Stored, Option<RegularFile>), Error> {
    match &location.0 {
        Place::Own(place) => own::file::read(place, look),
        Place::Foreign(place) => {
            foreign::found::read(place, look).map(|found| (found.stored, found.file))
        }
        Place::Given(place) => given::lock::read(place.slot(), look).map(|stored| (stored, None)),
    }
}

/// Reads again what another program may be in the middle of writing.
pub(super) fn patiently<T>(
    location: &Location,
    may: MayBlock,
    read: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    match &location.0 {
        Place::Foreign(_) => foreign::file::patiently(may, read),
        Place::Own(_) | Place::Given(_) => read(),
    }
}

/// Fetches the secrets of a credential from the keychain.
///
/// # Errors
/// `STORE_IO` while the keychain cannot be asked, `LOGIN_REQUIRED` if it no longer has them, `INVALID_CONFIG` in a
/// build that knows none; and what reading may say.
pub(super) fn opened(
    location: &Location,
    sealed: Arc<Outline>,
    may: MayBlock,
) -> Result<Snapshot, Error> {
    match &location.0 {
        Place::Own(place) => own::file::opened(place, sealed, may),
        // Reading these gives none that is sealed.
        Place::Foreign(_) | Place::Given(_) => Err(sealed::gone(location)),
    }
}

/// Whether nobody has logged in there yet, or out.
pub(crate) fn is_nothing(location: &Location, look: Look) -> bool {
    matches!(read(location, look), Ok(Stored::Nothing))
}

/// A login that was written by hand, at one of these paths or where plugin authors keep it, but only while there is
/// neither credential nor tombstone in its new place.
///
/// # Errors
/// `STORE_IO` if there is a file that must not or cannot be read.
pub(crate) fn handwritten(
    location: &Location,
    adopt: &[String],
    environment: &dyn Environment,
    look: Look,
) -> Result<Option<EarlierLogin>, Error> {
    let mut paths = adopted_paths(adopt, environment)?;
    match &location.0 {
        Place::Own(place) => paths.extend(place.handwritten(environment)),
        Place::Given(_) => {}
        Place::Foreign(_) => return Ok(None),
    }
    if paths.is_empty() || !is_nothing(location, look) {
        return Ok(None);
    }
    own::handwritten::first(paths, look)
}

/// Whether a killed process may have left a login that the next holder of the lock brings in, though nothing is stored.
pub(crate) fn is_unfinished(location: &Location, may: MayBlock) -> bool {
    match &location.0 {
        Place::Foreign(place) => foreign::target::is_unfinished(place, may),
        // Here a journal counts only where what it replaces is stored.
        Place::Own(_) | Place::Given(_) => false,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorCode;
    use crate::store::location::tests::{FixedEnvironment, in_state_dir};

    #[test]
    fn reading_needs_neither_lock_nor_folder() {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(&folder.path().join("none"), "demo", "default");
        assert_eq!(read(&location, Look::SHORT).unwrap(), Stored::Nothing);
        assert!(!folder.path().join("none").exists());

        let location = in_state_dir(folder.path(), "demo", "default");
        std::fs::create_dir_all(location.own_folder().unwrap()).unwrap();
        std::fs::write(location.path(), r#"{"version":1,"loggedOutAt":1}"#).unwrap();
        assert_eq!(read(&location, Look::SHORT).unwrap(), Stored::LoggedOut);
        std::fs::write(location.path(), "").unwrap();
        assert_eq!(
            read(&location, Look::SHORT).unwrap_err().code(),
            ErrorCode::StoreCorrupt
        );
        std::fs::write(location.path(), vec![b' '; 5 << 20]).unwrap();
        assert_eq!(
            read(&location, Look::SHORT).unwrap_err().code(),
            ErrorCode::StoreCorrupt
        );
    }

    #[test]
    fn it_is_looked_for_only_where_nothing_is_stored() {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(folder.path(), "demo", "default");
        assert!(
            handwritten(&location, &[], &FixedEnvironment::default(), Look::LONG)
                .unwrap()
                .is_none()
        );
        let old = location
            .handwritten_path(&FixedEnvironment::default())
            .unwrap();
        std::fs::create_dir_all(old.parent().unwrap()).unwrap();
        std::fs::write(&old, r#"{"access":"a"}"#).unwrap();
        let found = handwritten(&location, &[], &FixedEnvironment::default(), Look::LONG)
            .unwrap()
            .unwrap();
        assert_eq!(found.path(), old);

        std::fs::create_dir_all(location.own_folder().unwrap()).unwrap();
        for stored in [
            r#"{"version":1,"loggedOutAt":1}"#,
            r#"{"version":1,"access":"b"}"#,
            "damaged",
        ] {
            std::fs::write(location.path(), stored).unwrap();
            assert!(
                handwritten(&location, &[], &FixedEnvironment::default(), Look::LONG)
                    .unwrap()
                    .is_none(),
                "{stored}"
            );
        }
        let work = in_state_dir(folder.path(), "demo", "work");
        assert!(
            handwritten(&work, &[], &FixedEnvironment::default(), Look::LONG)
                .unwrap()
                .is_none()
        );
    }
}
