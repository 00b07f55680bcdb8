//! The folder that a file lies in, held open: what is done in it happens in that very folder, whatever its path leads to
//! by then.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

#[cfg(unix)]
pub(super) use unix::Folder;
#[cfg(not(unix))]
pub(super) use windows::Folder;

use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};

/// Why something cannot be used.
pub(super) enum Refusal {
    /// It is not there.
    #[cfg_attr(not(unix), expect(dead_code, reason = "Windows finds out later"))]
    Missing,
    /// It must not, or it failed.
    Failed(Error),
}

impl Refusal {
    /// The error, where it has to be there.
    pub(super) fn explain(self, attempt: Attempt, path: &Path) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::Missing => io_failure::explain(&io::ErrorKind::NotFound.into(), attempt, path),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Moves a file within its folder.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    Folder::of(from, Attempt::Write)
        .map_err(|refusal| refusal.explain(Attempt::Write, from))?
        .rename(name(from), name(to))
        .map_err(|error| io_failure::explain(&error, Attempt::Write, to))
}

/// Removes a file; false if there is none.
pub(super) fn unlink(path: &Path) -> Result<bool, Error> {
    let removed = match Folder::of(path, Attempt::Remove) {
        Ok(folder) => folder.unlink(name(path)),
        Err(Refusal::Missing) => return Ok(false),
        Err(Refusal::Failed(error)) => return Err(error),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_failure::explain(&error, Attempt::Remove, path)),
    }
}

/// The last component of a path; that of no file is no name of one either.
pub(super) fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// The path of the folder.
pub(super) fn path_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    use rustix::io::Errno;

    use super::{Refusal, path_of};
    use crate::fs::io_failure::{self, Attempt};
    use crate::fs::symlink;

    /// Linux can open a folder that may be searched but not listed.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const SEARCH: OFlags = OFlags::PATH;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const SEARCH: OFlags = OFlags::RDONLY;

    #[derive(Debug)]
    pub(in crate::fs) struct Folder(OwnedFd);

    impl Folder {
        /// Opens the folder of a file. A link in its place, or in that of the folder above, counts if it is ours or
        /// root's: who else made one might lead us to any place.
        pub(in crate::fs) fn of(file: &Path, attempt: Attempt) -> Result<Self, Refusal> {
            let fail = |errno: Errno| match errno {
                Errno::NOENT => Refusal::Missing,
                errno => io_failure::explain(&errno.into(), attempt, file).into(),
            };
            let folder = symlink::resolve_folder(path_of(file))?;
            let Some(name) = folder.file_name() else {
                return open(CWD, &folder, OFlags::empty()).map_err(fail);
            };
            let above = symlink::resolve_folder(path_of(&folder))?;
            let is_named = above.file_name().is_some();
            let no_link = if is_named {
                OFlags::NOFOLLOW
            } else {
                OFlags::empty()
            };
            let above = open(CWD, &above, no_link).map_err(fail)?;
            open(above.as_fd(), Path::new(name), OFlags::NOFOLLOW).map_err(fail)
        }

        pub(in crate::fs) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
            Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
        }

        pub(in crate::fs) fn link(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
            Ok(rustix::fs::linkat(
                &self.0,
                from,
                &self.0,
                to,
                AtFlags::empty(),
            )?)
        }

        pub(in crate::fs) fn unlink(&self, name: &OsStr) -> io::Result<()> {
            Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
        }
    }

    fn open(at: BorrowedFd<'_>, path: &Path, more: OFlags) -> Result<Folder, Errno> {
        let flags = SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
        rustix::fs::openat(at, path, flags, Mode::empty()).map(Folder)
    }

    impl AsFd for Folder {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(not(unix))]
mod windows {
    use std::ffi::OsStr;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::{Refusal, path_of};
    use crate::fs::io_failure::Attempt;

    /// Only a path: Windows lets nobody else into a user's profile, and links take a privilege there.
    #[derive(Debug)]
    pub(in crate::fs) struct Folder(PathBuf);

    impl Folder {
        #[expect(
            clippy::unnecessary_wraps,
            reason = "other systems can fail, and all have one signature"
        )]
        pub(in crate::fs) fn of(file: &Path, _attempt: Attempt) -> Result<Self, Refusal> {
            Ok(Self(path_of(file).to_path_buf()))
        }

        /// Virus scanners and indexers hold new files open for a moment.
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where files are moved, on a thread that may block"
        )]
        pub(in crate::fs) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
            let (from, to) = (self.0.join(from), self.0.join(to));
            let mut tries_left = 40;
            loop {
                match std::fs::rename(&from, &to) {
                    // ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION
                    Err(error)
                        if tries_left > 0 && matches!(error.raw_os_error(), Some(5 | 32 | 33)) =>
                    {
                        tries_left -= 1;
                        std::thread::sleep(Duration::from_millis(25));
                    }
                    outcome => return outcome,
                }
            }
        }

        pub(in crate::fs) fn link(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
            std::fs::hard_link(self.0.join(from), self.0.join(to))
        }

        #[expect(clippy::disallowed_methods, reason = "this is where files are removed")]
        pub(in crate::fs) fn unlink(&self, name: &OsStr) -> io::Result<()> {
            std::fs::remove_file(self.0.join(name))
        }
    }
}
