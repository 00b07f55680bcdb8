//! Keeps files that cannot be read as credentials, for a person to look at.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::atomic_write;
use crate::fs::folder::{self, Folder};
use crate::fs::io_failure::Attempt;
use crate::time::UnixMillis;

/// Keeps the file as `<file>.corrupt-<time>`. Where the file system can, the name itself stays as well until it is
/// replaced, so that no crash leaves an empty place that looks like "never logged in".
///
/// # Errors
/// `STORE_IO` if it cannot be kept.
pub(crate) fn set_aside(path: &Path, now: UnixMillis, may: MayBlock) -> Result<PathBuf, Error> {
    let mut aside = numbered(path, now, 0);
    let folder = Folder::of(path, Attempt::Write)
        .map_err(|refusal| refusal.explain(Attempt::Write, path))?;
    for count in 1..100 {
        match folder.link(folder::name(path), folder::name(&aside)) {
            Ok(()) => return Ok(aside),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                aside = numbered(path, now, count);
            }
            // FAT and some network file systems have no links.
            Err(_) => break,
        }
    }
    atomic_write::move_file(path, &aside, may)?;
    Ok(aside)
}

fn numbered(path: &Path, now: UnixMillis, count: u32) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".corrupt-{}", now.0));
    if count > 0 {
        name.push(format!("-{count}"));
    }
    path.with_file_name(name)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn each_damaged_file_is_kept_under_a_name_of_its_own() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, "one").unwrap();
        let first = set_aside(&path, UnixMillis(7), MayBlock::in_test()).unwrap();
        assert_eq!(first, folder.path().join("a.json.corrupt-7"));
        assert!(path.exists(), "still there until it is replaced");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "two").unwrap();
        let second = set_aside(&path, UnixMillis(7), MayBlock::in_test()).unwrap();
        assert_eq!(second, folder.path().join("a.json.corrupt-7-1"));
        assert_eq!(std::fs::read(first).unwrap(), b"one");
        assert_eq!(std::fs::read(second).unwrap(), b"two");
    }
}
