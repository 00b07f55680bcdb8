//! The permissions of a file or folder.

use std::io;
use std::path::Path;

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};

/// The permissions of this user and of others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permissions {
    /// The permission bits; 0 on systems without them.
    pub(crate) mode: u32,
    /// Group or others have any permission.
    pub(crate) is_open_to_others: bool,
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
            mode,
            is_open_to_others: mode & 0o077 != 0,
            is_writable: rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok(),
        })
    }

    #[cfg(not(unix))]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "Unix can refuse, and both have one signature"
    )]
    fn read(_path: &Path, _what: &str, metadata: &std::fs::Metadata) -> Result<Self, Error> {
        Ok(Self {
            mode: 0,
            is_open_to_others: false,
            is_writable: !metadata.permissions().readonly(),
        })
    }
}
