//! Resolves links. The link stays; the file that it leads to is read, locked and replaced.

use std::io;
use std::path::{Path, PathBuf};

use crate::blocking::Look;
use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};

/// The number of links that Linux follows.
const MAX_LINKS: usize = 40;

/// Follows the links of the last path component. The target need not exist yet.
///
/// # Errors
/// `STORE_IO` for a link of another user, a circle, or a folder that may not be searched.
pub(crate) fn resolve(path: &Path, _: Look) -> Result<PathBuf, Error> {
    follow(path, |_owner| false)
}

/// Resolves the links of the folder of a file, where root's links count too: `/var/run` is one.
#[cfg(unix)]
pub(super) fn resolve_folder(path: &Path) -> Result<PathBuf, Error> {
    follow(path, |owner| owner == 0)
}

fn follow(path: &Path, is_trusted: fn(u32) -> bool) -> Result<PathBuf, Error> {
    let mut current = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let link = match read_link(&current) {
            Ok(Some(link)) => link,
            Ok(None) => return Ok(current),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(current),
            Err(error) => return Err(io_failure::explain(&error, Attempt::Read, &current)),
        };
        if !is_trusted(link.owner) {
            #[cfg(unix)]
            crate::fs::ownership::require_ours(link.owner, "symbolic link", &current)?;
        }
        current = current.parent().unwrap_or(Path::new("")).join(link.to);
    }
    Err(io_failure::explain(&circle(), Attempt::Read, path))
}

struct Link {
    /// Nobody in particular on Windows, where making a link takes a privilege.
    owner: u32,
    to: PathBuf,
}

/// The owner and the target of a link, both of the same link even if another replaces it meanwhile; `None` if it is no
/// link.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn read_link(path: &Path) -> io::Result<Option<Link>> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    use rustix::fs::{CWD, FileType, Mode, OFlags};

    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&entry)?;
    if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Ok(None);
    }
    let to = rustix::fs::readlinkat(&entry, c"", Vec::new())?;
    Ok(Some(Link {
        owner: stat.st_uid,
        to: OsString::from_vec(to.into_bytes()).into(),
    }))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn read_link(path: &Path) -> io::Result<Option<Link>> {
    #[cfg(unix)]
    use std::os::unix::fs::MetadataExt as _;

    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.file_type().is_symlink() {
        return Ok(None);
    }
    Ok(Some(Link {
        #[cfg(unix)]
        owner: metadata.uid(),
        #[cfg(not(unix))]
        owner: 0,
        to: std::fs::read_link(path)?,
    }))
}

#[cfg(unix)]
fn circle() -> io::Error {
    rustix::io::Errno::LOOP.into()
}

#[cfg(not(unix))]
fn circle() -> io::Error {
    io::Error::other("its symbolic links lead in a circle")
}

#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn links_are_followed_to_the_end() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("deep")).unwrap();
        std::fs::write(at("deep/file"), "").unwrap();
        symlink("deep/file", at("second")).unwrap();
        symlink(at("second"), at("first")).unwrap();
        assert_eq!(resolve(&at("first"), Look::LONG).unwrap(), at("deep/file"));
        assert_eq!(
            resolve(&at("deep/file"), Look::LONG).unwrap(),
            at("deep/file")
        );
        assert_eq!(resolve(&at("missing"), Look::LONG).unwrap(), at("missing"));
    }

    #[test]
    fn a_link_to_nothing_yet_leads_there() {
        let folder = TempDir::new().unwrap();
        symlink("later/file", folder.path().join("link")).unwrap();
        assert_eq!(
            resolve(&folder.path().join("link"), Look::LONG).unwrap(),
            folder.path().join("later/file")
        );
    }

    #[test]
    fn a_circle_is_an_error() {
        let folder = TempDir::new().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        let error = resolve(&folder.path().join("a"), Look::LONG).unwrap_err();
        assert!(error.message().contains("circle"), "{error}");
    }

    #[test]
    fn a_link_of_another_user_is_refused() {
        if crate::fs::ownership::skipped_without_root() {
            return;
        }
        let folder = TempDir::new().unwrap();
        let link = folder.path().join("link");
        symlink("file", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        let error = resolve(&link, Look::LONG).unwrap_err();
        assert!(error.message().contains("uid 12345"), "{error}");
    }
}
