//! What lies at a location, whatever keeps it: read without a lock.

use std::sync::Arc;

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::store::credential::{Outline, Snapshot, Stored};
use crate::store::foreign::found;
use crate::store::format;
use crate::store::given::lock as given;
use crate::store::location::Location;
use crate::store::sealed;

/// A credential with its secrets from the keychain. Blocks for as long as that takes.
///
/// # Errors
/// `STORE_IO` while the keychain cannot be asked, `LOGIN_REQUIRED` if it no longer has them, `INVALID_CONFIG` in a build
/// that knows none; and what reading may say.
pub(super) fn opened(
    location: &Location,
    sealed: Arc<Outline>,
    may: MayBlock,
) -> Result<Snapshot, Error> {
    let mut sealed = sealed;
    loop {
        let path = symlink::resolve(location.path())?;
        if let Some((snapshot, _)) = sealed::open(&sealed, &path)? {
            return Ok(snapshot);
        }
        // Another may have replaced them just now: then the file names others.
        sealed = match read(location, Some(may))? {
            Stored::Credential(snapshot) => return Ok(snapshot),
            Stored::Sealed(now) if now.identity != sealed.identity => now,
            _ => return Err(sealed::gone(&path)),
        };
    }
}

/// Reads without a lock. A missing file or folder is [`Stored::Nothing`].
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
pub(crate) fn read(location: &Location, may: Option<MayBlock>) -> Result<Stored, Error> {
    find(location, may).map(|(stored, _)| stored)
}

/// The same, with the file that said so.
pub(super) fn find(
    location: &Location,
    may: Option<MayBlock>,
) -> Result<(Stored, Option<RegularFile>), Error> {
    if let Some(slot) = location.slot() {
        return Ok((given::read(slot, may)?, None));
    }
    if let Some(format) = location.foreign_format() {
        let found = found::read(location, format, may)?;
        return Ok((found.stored, found.file));
    }
    let target = symlink::resolve(location.path())?;
    let file = RegularFile::read(&target)?;
    let stored = match &file {
        Some(file) => format::parse_file(file, &target)?.0,
        None => Stored::Nothing,
    };
    Ok((stored, file))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorCode;
    use crate::store::location::tests::in_state_dir;

    #[test]
    fn reading_needs_neither_lock_nor_folder() {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(&folder.path().join("none"), "demo", "default");
        assert_eq!(read(&location, None).unwrap(), Stored::Nothing);
        assert!(!folder.path().join("none").exists());

        let location = in_state_dir(folder.path(), "demo", "default");
        std::fs::create_dir_all(location.own_folder().unwrap()).unwrap();
        std::fs::write(location.path(), r#"{"version":1,"loggedOutAt":1}"#).unwrap();
        assert_eq!(read(&location, None).unwrap(), Stored::LoggedOut);
        std::fs::write(location.path(), "").unwrap();
        assert_eq!(
            read(&location, None).unwrap_err().code(),
            ErrorCode::StoreCorrupt
        );
        std::fs::write(location.path(), vec![b' '; 5 << 20]).unwrap();
        assert_eq!(
            read(&location, None).unwrap_err().code(),
            ErrorCode::StoreCorrupt
        );
    }
}
