//! The file of a login that a plugin author's own code has made.

use std::path::PathBuf;

use crate::blocking::{Look, MayBlock};
use crate::error::Error;
use crate::fs::atomic_write;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::store::earlier_login::EarlierLogin;

/// Reads the first existing file of these paths.
///
/// # Errors
/// `STORE_IO` if none exists but a file that must not or cannot be read.
pub(in crate::store) fn first(
    paths: Vec<PathBuf>,
    look: Look,
) -> Result<Option<EarlierLogin>, Error> {
    let mut unreadable = None;
    for path in paths {
        let file =
            symlink::resolve(&path, look).and_then(|target| RegularFile::read(&target, look));
        match file {
            Ok(Some(file)) => {
                let login = file
                    .bytes()
                    .and_then(|bytes| EarlierLogin::parse(path, bytes));
                if login.is_some() {
                    return Ok(login);
                }
            }
            Ok(None) => {}
            Err(error) => unreadable = unreadable.or(Some(error)),
        }
    }
    unreadable.map_or(Ok(None), Err)
}

/// Takes the old file out of the way. Best effort: the credential that came from it, or its tombstone, stops
/// another adoption as well.
pub(in crate::store) fn retire(login: &EarlierLogin, may: MayBlock) {
    let path = login.path();
    if path.as_os_str().is_empty() {
        return;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".adopted");
    let mut retired = path.with_file_name(&name);
    let mut count = 1;
    while retired.symlink_metadata().is_ok() {
        count += 1;
        retired = path.with_file_name(format!("{}-{count}", name.to_string_lossy()));
    }
    drop(atomic_write::move_file(path, &retired, may));
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_retired_one_never_covers_another() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("credentials.json");
        for (text, name) in [
            (r#"{"access":"1"}"#, "credentials.json.adopted"),
            (r#"{"access":"2"}"#, "credentials.json.adopted-2"),
            (r#"{"access":"3"}"#, "credentials.json.adopted-3"),
        ] {
            std::fs::write(&path, text).unwrap();
            let login = EarlierLogin::parse(path.clone(), text.as_bytes()).unwrap();
            retire(&login, MayBlock::in_test());
            assert!(!path.exists());
            assert_eq!(
                std::fs::read_to_string(folder.path().join(name)).unwrap(),
                text
            );
        }
    }
}
