//! Reads a file that must be a regular file of this user: never a fifo that blocks, a device or another user's file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::blocking::Look;
use crate::error::Error;
use crate::fs::identity::Identity;
use crate::fs::io_failure::{self, Attempt};

/// No credential is larger.
pub(crate) const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// How often a file is read again because it changed while it was being read.
const READS: usize = 5;

/// An open file, its contents, and the identity that it had while they were read.
#[derive(Debug)]
pub(crate) struct RegularFile {
    /// Where Windows has no POSIX semantics, it does not replace an open file: no descriptor is kept there.
    #[cfg(unix)]
    file: File,
    identity: Identity,
    bytes: Option<Zeroizing<Vec<u8>>>,
}

impl RegularFile {
    /// Reads the file at a path without links; `None` if nothing is there.
    ///
    /// # Errors
    /// `STORE_IO` if it is not a regular file of this user, or cannot be read.
    pub(crate) fn read(path: &Path, _: Look) -> Result<Option<Self>, Error> {
        Self::load(path)
    }

    /// Reads the file of a lock. A lock may be released on any thread, so this asks for no proof.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, Error> {
        let Some(file) = open(path)? else {
            return Ok(None);
        };
        Self::read_steadily(file)
            .map(Some)
            .map_err(|error| io_failure::explain(&error, Attempt::Read, path))
    }

    #[cfg_attr(
        not(unix),
        expect(clippy::needless_pass_by_value, reason = "as on Unix")
    )]
    fn read_steadily(mut file: File) -> io::Result<Self> {
        let mut identity = Identity::of_file(&file)?;
        for _ in 1..READS {
            let bytes = read_whole(&file, identity.size())?;
            let after = Identity::of_file(&file)?;
            if after == identity {
                return Ok(Self {
                    #[cfg(unix)]
                    file,
                    identity,
                    bytes,
                });
            }
            // Another process writes in place: the contents read may be half old, half new.
            identity = after;
            file.rewind()?;
        }
        let bytes = read_whole(&file, identity.size())?;
        Ok(Self {
            #[cfg(unix)]
            file,
            identity,
            bytes,
        })
    }

    /// The contents; none if the file is larger than any credential.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_ref().map(|bytes| bytes.as_slice())
    }

    /// The identity of the file when it was read.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// The open file.
    #[cfg(unix)]
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The descriptor to hold; `None` where it would not show others' changes.
    #[cfg_attr(not(unix), expect(clippy::unused_self, reason = "as on Unix"))]
    pub(crate) fn into_held(self) -> Option<File> {
        #[cfg(unix)]
        return Some(self.file).filter(crate::fs::identity::is_local);
        #[cfg(not(unix))]
        None
    }

    /// Takes from others what they should never have had. Best effort: some file systems have no permissions.
    #[cfg(unix)]
    pub(crate) fn tighten(&self, path: &Path) {
        tighten(&self.file, path);
    }

    /// Takes from others what they should never have had. Best effort: some file systems have no permissions.
    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "as on Unix")]
    pub(crate) fn tighten(&self, path: &Path) {
        crate::fs::access_list::tighten_file(path);
    }
}

fn read_whole(file: &File, size: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    if size > MAX_BYTES {
        return Ok(None);
    }
    // Room to spare, so that no secret is left behind in a smaller buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(size).unwrap_or(0) + 1024,
    ));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}

#[cfg(unix)]
pub(super) use unix::{has_one_name, open_with, tighten};

#[cfg(unix)]
use crate::fs::folder::Refusal;

#[cfg(unix)]
fn open(path: &Path) -> Result<Option<File>, Error> {
    match open_with(path, rustix::fs::OFlags::RDONLY, Attempt::Read) {
        Ok(file) => Ok(Some(file)),
        Err(Refusal::Missing) => Ok(None),
        Err(Refusal::Failed(error)) => Err(error),
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{File, Permissions};
    use std::io;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
    use rustix::io::Errno;

    use crate::error::{Error, ErrorCode};
    use crate::fs::folder::{self, Folder, Refusal};
    use crate::fs::io_failure::{self, Attempt};
    use crate::fs::ownership;

    /// Opens a regular file of this user; links are not followed and nothing blocks. `CREATE` makes it 0600 under any
    /// umask.
    pub(in crate::fs) fn open_with(
        path: &Path,
        flags: OFlags,
        attempt: Attempt,
    ) -> Result<File, Refusal> {
        let (folder, name) = (Folder::of(path, attempt)?, folder::name(path));
        // Opening a device can do something by itself, so look first.
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => require_regular(&stat, path)?,
            Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {}
            Err(Errno::NOENT) => return Err(Refusal::Missing),
            Err(errno) => return Err(failure(errno, attempt, path).into()),
        }
        let guarded =
            flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::openat(&folder, name, guarded, Mode::RUSR | Mode::WUSR);
        let file = match opened {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::NOENT) if !flags.contains(OFlags::CREATE) => return Err(Refusal::Missing),
            Err(errno) => return Err(failure(errno, attempt, path).into()),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| failure(errno, attempt, path))?;
        require_regular(&stat, path)?;
        if flags.contains(OFlags::CREATE)
            && Mode::from_raw_mode(stat.st_mode) != owner_only()
            && has_one_name(&stat)
        {
            change_mode(&file);
        }
        Ok(file)
    }

    /// Takes from others what they should never have had.
    pub(in crate::fs) fn tighten(file: &File, _path: &Path) {
        let others = Mode::RWXG | Mode::RWXO;
        if rustix::fs::fstat(file).is_ok_and(|stat| {
            Mode::from_raw_mode(stat.st_mode).intersects(others) && has_one_name(&stat)
        }) {
            change_mode(file);
        }
    }

    /// Whether the file has one name only. A second name may belong to any file of this user: where hard links are
    /// unrestricted (macOS, or Linux with `fs.protected_hardlinks=0`), others can put it here.
    pub(in crate::fs) fn has_one_name(stat: &Stat) -> bool {
        stat.st_nlink <= 1
    }

    fn owner_only() -> Mode {
        Mode::RUSR | Mode::WUSR
    }

    fn change_mode(file: &File) {
        // A file system without permissions refuses this, and has none to tighten.
        drop(file.set_permissions(Permissions::from_mode(0o600)));
    }

    fn require_regular(stat: &Stat, path: &Path) -> Result<(), Error> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return ownership::require_ours(stat.st_uid, "file", path),
            FileType::Directory => "a folder",
            FileType::Symlink => "a symbolic link",
            FileType::Fifo => "a named pipe",
            FileType::Socket => "a socket",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            FileType::Unknown => "something else",
        };
        Err(Error::new(
            ErrorCode::StoreIo,
            format!(
                "{} should be a regular file and is {kind}. Move it away, or set stateDir or credentialsPath to another place.",
                path.display()
            ),
        ))
    }

    fn failure(errno: Errno, attempt: Attempt, path: &Path) -> Error {
        io_failure::explain(&io::Error::from(errno), attempt, path)
    }
}

#[cfg(not(unix))]
pub(super) fn tighten(_file: &File, path: &Path) {
    crate::fs::access_list::tighten_file(path);
}

#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "this is where files are opened")]
fn open(path: &Path) -> Result<Option<File>, Error> {
    use crate::error::ErrorCode;
    use crate::fs::folder::patiently;
    let fail = |error: io::Error| io_failure::explain(&error, Attempt::Read, path);
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            return Err(Error::new(
                ErrorCode::StoreIo,
                format!(
                    "{} should be a regular file. Move it away, or set stateDir or credentialsPath to another place.",
                    path.display()
                ),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    }
    // Shared with all others, so that nobody waits for us.
    match patiently(&[], || File::open(path)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
    }
}

#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn missing_file_and_missing_folder_are_nothing() {
        let folder = TempDir::new().unwrap();
        assert!(
            RegularFile::read(&folder.path().join("a"), Look::LONG)
                .unwrap()
                .is_none()
        );
        assert!(
            RegularFile::read(&folder.path().join("a/b/c"), Look::LONG)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn contents_come_whole_and_not_too_large() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello").unwrap();
        let file = RegularFile::read(&path, Look::LONG).unwrap().unwrap();
        assert_eq!(file.bytes(), Some(b"hello".as_slice()));

        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(
            RegularFile::read(&path, Look::LONG)
                .unwrap()
                .unwrap()
                .bytes(),
            None
        );
        File::create(&path).unwrap().set_len(MAX_BYTES).unwrap();
        assert!(
            RegularFile::read(&path, Look::LONG)
                .unwrap()
                .unwrap()
                .bytes()
                .is_some()
        );
    }

    #[test]
    fn folder_pipe_device_and_link_are_refused_without_blocking() {
        let folder = TempDir::new().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        for path in [
            folder.path(),
            pipe.as_path(),
            Path::new("/dev/null"),
            link.as_path(),
        ] {
            let error = RegularFile::read(path, Look::LONG).unwrap_err();
            assert_eq!(error.code(), ErrorCode::StoreIo);
            assert!(error.message().contains("regular file"), "{error}");
        }
    }

    #[test]
    fn another_users_file_is_refused_by_root_too() {
        if crate::fs::ownership::skipped_without_root() {
            return;
        }
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "{}").unwrap();
        std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
        let error = RegularFile::read(&path, Look::LONG).unwrap_err();
        assert!(error.message().contains("uid 4321"), "{error}");
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn reading_changes_no_permissions_and_tightening_does() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let file = RegularFile::read(&path, Look::LONG).unwrap().unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o644);
        file.tighten(&path);
        assert_eq!(mode(), 0o600);
    }
}
