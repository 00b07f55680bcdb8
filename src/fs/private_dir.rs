//! Creates folders that no other user may enter. Only this program's own folders are ever tightened.

use std::io;
use std::path::Path;

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::atomic_write::sync_folder;
use crate::fs::io_failure::{self, Attempt};

/// Makes a folder of our own, 0700, with its missing parents, and tightens it if it became looser.
///
/// # Errors
/// `STORE_IO` if it cannot be made, belongs to another user or is no folder.
pub(crate) fn ensure_ours(path: &Path, may: MayBlock) -> Result<(), Error> {
    ensure_exists(path, may)?;
    #[cfg(unix)]
    unix::require_ours(path)?;
    #[cfg(not(unix))]
    crate::fs::access_list::tighten_folder(path);
    Ok(())
}

/// Makes the missing folders of a path, 0700 each, and leaves those alone that exist.
///
/// # Errors
/// `STORE_IO` if that fails.
pub(crate) fn ensure_exists(path: &Path, _: MayBlock) -> Result<(), Error> {
    make_all(path)
}

fn make_all(path: &Path) -> Result<(), Error> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    match make(path)? {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else {
                return Err(io_failure::explain(&error, Attempt::MakeFolder, path));
            };
            make_all(parent)?;
            match make(path)? {
                Err(error) if !is_there(&error, path) => {
                    return Err(io_failure::explain(&error, Attempt::MakeFolder, path));
                }
                _ => {}
            }
        }
        // Another process was faster.
        Err(error) if is_there(&error, path) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(io_failure::explain(
                &io::ErrorKind::NotADirectory.into(),
                Attempt::MakeFolder,
                path,
            ));
        }
        Err(error) => return Err(io_failure::explain(&error, Attempt::MakeFolder, path)),
    }
    // The new folder's name must survive a power failure as well as the credential in it.
    if let Some(parent) = path.parent() {
        sync_folder(parent);
    }
    Ok(())
}

fn is_there(error: &io::Error, path: &Path) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists && path.is_dir()
}

#[cfg(unix)]
use unix::make;

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::fs::{File, Permissions};
    use std::io;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use rustix::fs::{AtFlags, FileType, Mode, OFlags};
    use rustix::io::Errno;

    use crate::error::Error;
    use crate::fs::folder::{self, Folder, Refusal};
    use crate::fs::io_failure::{self, Attempt};
    use crate::fs::ownership;

    /// The error that is not to be explained yet is inside.
    pub(super) fn make(path: &Path) -> Result<io::Result<()>, Error> {
        let folder = match Folder::of(path, Attempt::MakeFolder) {
            Ok(folder) => folder,
            Err(Refusal::Missing) => return Ok(Err(io::ErrorKind::NotFound.into())),
            Err(Refusal::Failed(error)) => return Err(error),
        };
        Ok(make_in(&folder, folder::name(path)).map_err(io::Error::from))
    }

    fn make_in(folder: &Folder, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::mkdirat(folder, name, Mode::RWXU)?;
        // A umask may have taken even the owner's permissions; it cannot give any. Then the folder cannot be opened,
        // and only its name is left: at worst, a folder that another process puts there meanwhile becomes private.
        if let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            && !Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU)
            && FileType::from_raw_mode(stat.st_mode).is_dir()
        {
            rustix::fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
        }
        Ok(())
    }

    pub(super) fn require_ours(path: &Path) -> Result<(), Error> {
        let fail =
            |errno: Errno| io_failure::explain(&io::Error::from(errno), Attempt::Write, path);
        let folder = Folder::of(path, Attempt::Write)
            .map_err(|refusal| refusal.explain(Attempt::Write, path))?;
        let name = folder::name(path);
        let entry = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        if FileType::from_raw_mode(entry.st_mode).is_symlink() {
            ownership::require_ours(entry.st_uid, "symbolic link", path)?;
            let target = rustix::fs::statat(&folder, name, AtFlags::empty()).map_err(fail)?;
            // The folder behind a link was not created by this program: it keeps its permissions.
            return ownership::require_ours(target.st_uid, "folder", path);
        }
        ownership::require_ours(entry.st_uid, "folder", path)?;
        if Mode::from_raw_mode(entry.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            tighten(&folder, path);
        }
        Ok(())
    }

    /// Best effort: some file systems have no permissions.
    fn tighten(folder: &Folder, path: &Path) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder, folder::name(path), flags, Mode::empty());
        if let Ok(opened) = opened
            && rustix::fs::fstat(&opened)
                .is_ok_and(|stat| ownership::require_ours(stat.st_uid, "folder", path).is_ok())
        {
            drop(File::from(opened).set_permissions(Permissions::from_mode(0o700)));
        }
    }
}

#[cfg(not(unix))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "other systems can fail, and all have one signature"
)]
fn make(path: &Path) -> Result<io::Result<()>, Error> {
    if crate::fs::access_list::create_folder(path) {
        return Ok(Ok(()));
    }
    Ok(std::fs::create_dir(path))
}

#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorCode;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn loosen(path: &Path) {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn missing_parents_are_private_and_existing_ones_stay() {
        let folder = TempDir::new().unwrap();
        loosen(folder.path());
        ensure_ours(&folder.path().join("a/b/c"), MayBlock::in_test()).unwrap();
        assert_eq!(mode(folder.path()), 0o755);
        for made in ["a", "a/b", "a/b/c"] {
            assert_eq!(mode(&folder.path().join(made)), 0o700);
        }
    }

    #[test]
    fn ours_is_tightened_and_its_parent_is_not() {
        let folder = TempDir::new().unwrap();
        let ours = folder.path().join("a/b");
        ensure_ours(&ours, MayBlock::in_test()).unwrap();
        loosen(&ours);
        loosen(&folder.path().join("a"));
        ensure_exists(&ours, MayBlock::in_test()).unwrap();
        assert_eq!(mode(&ours), 0o755);
        ensure_ours(&ours, MayBlock::in_test()).unwrap();
        assert_eq!(mode(&ours), 0o700);
        assert_eq!(mode(&folder.path().join("a")), 0o755);
    }

    #[test]
    fn a_file_in_the_way_is_told() {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("a"), "").unwrap();
        for path in ["a", "a/b", "a/b/c"] {
            let error = ensure_ours(&folder.path().join(path), MayBlock::in_test()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::StoreIo);
            assert!(error.message().contains("not a folder"), "{error}");
        }
    }

    #[test]
    fn a_linked_folder_is_used_and_keeps_its_permissions() {
        let folder = TempDir::new().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        loosen(&real);
        std::os::unix::fs::symlink("real", &link).unwrap();
        ensure_ours(&link, MayBlock::in_test()).unwrap();
        assert_eq!(mode(&real), 0o755);
    }

    #[test]
    fn another_users_folder_is_refused() {
        if crate::fs::ownership::skipped_without_root() {
            return;
        }
        let folder = TempDir::new().unwrap();
        let theirs = folder.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(4321), None).unwrap();
        let error = ensure_ours(&theirs, MayBlock::in_test()).unwrap_err();
        assert!(error.message().contains("uid 4321"), "{error}");
        std::os::unix::fs::symlink("theirs", folder.path().join("link")).unwrap();
        assert!(ensure_ours(&folder.path().join("link"), MayBlock::in_test()).is_err());
    }

    #[test]
    fn many_at_once_all_succeed() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a/b/c/d");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| ensure_ours(&path, MayBlock::in_test()).unwrap());
            }
        });
        assert!(path.is_dir());
    }
}
