//! The permissions of a file or folder.

use std::io;
use std::path::Path;

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};

/// Whether others have any permission.
#[derive(Clone, Debug)]
pub(crate) enum Others {
    /// No other user has access.
    Nobody,
    /// These have, or this shows that some have.
    These(String),
    /// The system cannot answer: on a share, or where it refuses.
    #[cfg(not(unix))]
    Unknown,
}

/// The permissions of this user and of others.
#[derive(Clone, Debug)]
pub(crate) struct Permissions {
    /// The other users that may do something.
    pub(crate) others: Others,
    /// This process may write.
    pub(crate) is_writable: bool,
}

impl Permissions {
    /// The permissions of the file at a path, links followed; `None` if nothing is there.
    ///
    /// # Errors
    /// `STORE_IO` if it belongs to another user or cannot be examined.
    pub(crate) fn of(path: &Path, what: &str, _: MayBlock) -> Result<Option<Self>, Error> {
        match std::fs::metadata(path) {
            Ok(metadata) => Self::read(path, what, &metadata).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_failure::explain(&error, Attempt::Read, path)),
        }
    }

    #[cfg(unix)]
    fn read(path: &Path, what: &str, metadata: &std::fs::Metadata) -> Result<Self, Error> {
        use std::os::unix::fs::MetadataExt as _;
        crate::fs::ownership::require_ours(metadata.uid(), what, path)?;
        let mode = metadata.mode() & 0o7777;
        Ok(Self {
            others: if mode & 0o077 != 0 {
                Others::These(format!("mode {mode:o}"))
            } else {
                Others::Nobody
            },
            is_writable: rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok(),
        })
    }

    #[cfg(not(unix))]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "Unix can refuse, and both have one signature"
    )]
    fn read(path: &Path, _what: &str, metadata: &std::fs::Metadata) -> Result<Self, Error> {
        Ok(Self {
            others: match crate::fs::access_list::others(path) {
                None => Others::Unknown,
                Some(names) if names.is_empty() => Others::Nobody,
                Some(names) => Others::These(names),
            },
            is_writable: !metadata.permissions().readonly(),
        })
    }
}

/// The nearest folder above that is there, if nothing can be made in it.
#[cfg(unix)]
pub(crate) fn closed_above(path: &Path, _: MayBlock) -> Option<&Path> {
    let above = path.ancestors().skip(1).find(|above| above.is_dir())?;
    let is_open = rustix::fs::access(above, rustix::fs::Access::WRITE_OK).is_ok();
    (!is_open).then_some(above)
}

#[cfg(not(unix))]
pub(crate) fn closed_above(_: &Path, _: MayBlock) -> Option<&Path> {
    None
}

/// For tests: gives others what is there.
#[cfg(all(test, not(unix)))]
pub(crate) fn open_to_everyone(path: &Path) {
    crate::fs::access_list::open_to_everyone(path);
}
