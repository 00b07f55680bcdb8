//! A folder, held open. Operations on its files stay in that folder, even if its path leads elsewhere by then.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

#[cfg(unix)]
pub(super) use unix::Folder;
#[cfg(not(unix))]
pub(super) use windows::{Folder, patiently};

use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};

/// Why something cannot be used.
pub(super) enum Refusal {
    /// The folder does not exist.
    #[cfg_attr(not(unix), expect(dead_code, reason = "Windows finds out later"))]
    Missing,
    /// Access is refused, or opening failed.
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

/// Removes a file; false if it does not exist.
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
        /// Opens the folder of a file. A link in its place, or in that of the folder above, is followed only if this
        /// user or root owns it: a link of anybody else could lead to any place.
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

    /// `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`, `ERROR_DELETE_PENDING`
    const HELD: [i32; 3] = [32, 33, 303];
    /// The error with which Windows also refuses to replace or remove an open file.
    const ACCESS_DENIED: i32 = 5;

    /// Only a path: Windows lets no other user into a user's profile, and links need a privilege there.
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

        /// Over a file that others have open, too: std asks for it with `FILE_RENAME_FLAG_POSIX_SEMANTICS`.
        #[expect(clippy::disallowed_methods, reason = "this is where files are moved")]
        pub(in crate::fs) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
            let (from, to) = (self.0.join(from), self.0.join(to));
            patiently(&[ACCESS_DENIED], || std::fs::rename(&from, &to))
        }

        pub(in crate::fs) fn link(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
            std::fs::hard_link(self.0.join(from), self.0.join(to))
        }

        #[expect(clippy::disallowed_methods, reason = "this is where files are removed")]
        pub(in crate::fs) fn unlink(&self, name: &OsStr) -> io::Result<()> {
            let path = self.0.join(name);
            patiently(&[ACCESS_DENIED], || std::fs::remove_file(&path))
        }
    }

    /// Does it again, for a second in all: virus scanners and indexers hold new files for a moment without sharing
    /// them. `more` are further codes of that meaning.
    #[expect(
        clippy::disallowed_methods,
        reason = "on a thread that may block, but for a file that nobody may read now"
    )]
    pub(in crate::fs) fn patiently<T>(
        more: &[i32],
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let is_held = |error: &io::Error| {
            let code = error.raw_os_error().unwrap_or_default();
            HELD.contains(&code) || more.contains(&code)
        };
        let mut tries_left = 40;
        loop {
            match attempt() {
                Err(error) if tries_left > 0 && is_held(&error) => {
                    tries_left -= 1;
                    std::thread::sleep(Duration::from_millis(25));
                }
                outcome => return outcome,
            }
        }
    }
}

#[cfg(test)]
#[cfg(windows)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::windows::fs::OpenOptionsExt as _;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_that_a_scanner_holds_for_a_moment_is_read_moved_and_removed_all_the_same() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "a").unwrap();
        let hold = |name: &str| {
            let file = OpenOptions::new().read(true).share_mode(0).open(at(name));
            Some(file.unwrap())
        };
        let mut scanner = hold("a");
        assert_eq!(File::open(at("a")).unwrap_err().raw_os_error(), Some(32));
        let mut tries = 0;
        let opened = patiently(&[], || {
            tries += 1;
            if tries == 3 {
                scanner = None;
            }
            File::open(at("a"))
        });
        drop(opened.unwrap());
        assert_eq!(tries, 3);

        for attempt in [
            (|path, other| rename(path, other)) as fn(&Path, &Path) -> Result<(), Error>,
            |_, other| unlink(other).map(|was_there| assert!(was_there)),
        ] {
            let scanner = hold(if at("a").exists() { "a" } else { "b" });
            std::thread::scope(|scope| {
                let work = scope.spawn(|| attempt(&at("a"), &at("b")));
                drop(scanner);
                work.join().unwrap().unwrap();
            });
        }
        assert!(!at("a").exists() && !at("b").exists());
    }
}
