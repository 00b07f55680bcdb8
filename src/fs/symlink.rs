//! Where a file really is. The link stays; what it leads to is read, locked and replaced.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// Follows the links of the last path component. What they lead to need not exist yet.
///
/// # Errors
/// `STORE_IO` for a link of another user, a circle, or a folder that may not be searched.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let mut current = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let metadata = match std::fs::symlink_metadata(&current) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(current),
            Err(error) => return Err(io_failure::explain(&error, Attempt::Read, &current)),
        };
        if !metadata.file_type().is_symlink() {
            return Ok(current);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            crate::fs::ownership::require_ours(metadata.uid(), "symbolic link", &current)?;
        }
        let next = std::fs::read_link(&current)
            .map_err(|error| io_failure::explain(&error, Attempt::Read, &current))?;
        current = current.parent().unwrap_or(Path::new("")).join(next);
    }
    Err(io_failure::explain(&circle(), Attempt::Read, path))
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
        assert_eq!(resolve(&at("first")).unwrap(), at("deep/file"));
        assert_eq!(resolve(&at("deep/file")).unwrap(), at("deep/file"));
        assert_eq!(resolve(&at("missing")).unwrap(), at("missing"));
    }

    #[test]
    fn a_link_to_nothing_yet_leads_there() {
        let folder = TempDir::new().unwrap();
        symlink("later/file", folder.path().join("link")).unwrap();
        assert_eq!(
            resolve(&folder.path().join("link")).unwrap(),
            folder.path().join("later/file")
        );
    }

    #[test]
    fn a_circle_is_an_error() {
        let folder = TempDir::new().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        let error = resolve(&folder.path().join("a")).unwrap_err();
        assert!(error.message().contains("circle"), "{error}");
    }

    #[test]
    fn a_link_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = TempDir::new().unwrap();
        let link = folder.path().join("link");
        symlink("file", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        let error = resolve(&link).unwrap_err();
        assert!(error.message().contains("uid 12345"), "{error}");
    }
}
