//! Replacing a file so that a crash at any instant leaves the old or the new contents, whole.
//!
//! Order of a write: reserve (temp file, allocated) → write → truncate → fsync → rename → fsync of the folder. A
//! complete temp file outlives its writer, because it may be the only copy of its data. The next holder of the lock
//! decides about it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::folder::{self, Folder, Refusal};
use crate::fs::io_failure::{self, Attempt};
use crate::fs::regular_file::{self, RegularFile};
use crate::secret::{hex, random};

/// Hexadecimal digits in a temp name.
const RANDOM_DIGITS: usize = 16;

/// Proof that a file can be replaced by one of a certain size: a temp file beside it that already has its space.
#[derive(Debug)]
pub(crate) struct Reservation {
    file: File,
    temp: Box<Path>,
    target: Box<Path>,
    is_whole: bool,
}

/// A replacement that did not happen, and what is left to try it again with.
#[derive(Debug)]
pub(crate) struct Uncommitted {
    /// Why not.
    pub(crate) error: Error,
    /// The temp file, unless it is gone.
    pub(crate) reservation: Option<Reservation>,
}

impl Reservation {
    /// Reserves `size` bytes beside `target`.
    ///
    /// # Errors
    /// `STORE_IO` for anything that would make a later write or rename fail, as far as it can be known.
    pub(crate) fn new(target: &Path, size: u64, _: MayBlock) -> Result<Self, Error> {
        require_replaceable(target)?;
        let folder = Folder::of(target, Attempt::Write)
            .map_err(|refusal| refusal.explain(Attempt::Write, target))?;
        let (file, temp) = create_temp(&folder, target)?;
        let mut reservation = Self {
            file,
            temp: temp.into_boxed_path(),
            target: target.into(),
            is_whole: false,
        };
        match allocate(&mut reservation.file, size) {
            Ok(()) => Ok(reservation),
            Err(error) => Err(io_failure::explain(&error, Attempt::Write, target)),
        }
    }

    /// Writes the contents and waits until the disk has them. May be called again.
    ///
    /// # Errors
    /// `STORE_IO` if the disk refuses.
    pub(crate) fn write(&mut self, contents: &[u8], _: MayBlock) -> Result<(), Error> {
        self.is_whole = false;
        self.write_through(contents)
            .map_err(|error| io_failure::explain(&error, Attempt::Write, &self.target))
    }

    fn write_through(&mut self, contents: &[u8]) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(contents)?;
        self.file.set_len(contents.len() as u64)?;
        // The file is complete even if the disk cannot promise to keep it. If the process ends now, that is better
        // than nothing.
        self.is_whole = true;
        sync(&self.file)
    }

    /// Gives it the mode and, as far as this process may, the group of the file that it will replace.
    ///
    /// # Errors
    /// `STORE_IO` if it cannot have that mode.
    #[cfg(unix)]
    pub(crate) fn permit_as(&self, model: &RegularFile) -> Result<(), Error> {
        use rustix::fs::{Gid, Mode, fchmod, fchown, fstat};
        let fail = |errno: rustix::io::Errno| {
            io_failure::explain(&errno.into(), Attempt::Write, &self.target)
        };
        let (model, own) = (
            fstat(model.file()).map_err(fail)?,
            fstat(&self.file).map_err(fail)?,
        );
        if model.st_gid != own.st_gid {
            let group = Gid::from_raw(model.st_gid);
            if fchown(&self.file, None, Some(group)).is_err() {
                // Another group must not get what was that group's.
                let mode = Mode::from_raw_mode(model.st_mode & 0o707);
                return fchmod(&self.file, mode).map_err(fail);
            }
        }
        fchmod(&self.file, Mode::from_raw_mode(model.st_mode & 0o777)).map_err(fail)
    }

    /// Gives it the access list of the file that it will replace.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    pub(crate) fn permit_as(&self, _model: &RegularFile) -> Result<(), Error> {
        crate::fs::access_list::copy(&self.target, &self.temp);
        Ok(())
    }

    /// Puts the temp file in the target's place.
    ///
    /// # Errors
    /// `STORE_IO`, with the reservation for another try.
    pub(crate) fn commit(mut self, _: MayBlock) -> Result<(), Uncommitted> {
        let folder = match Folder::of(&self.temp, Attempt::Write) {
            Ok(folder) => folder,
            Err(refusal) => {
                let gone = matches!(refusal, Refusal::Missing);
                return Err(Uncommitted {
                    error: refusal.explain(Attempt::Write, &self.target),
                    reservation: (!gone).then_some(self),
                });
            }
        };
        match folder.rename(folder::name(&self.temp), folder::name(&self.target)) {
            Ok(()) => {
                // There is nothing left to remove.
                self.is_whole = true;
                sync_folder_of(&self.target);
                Ok(())
            }
            Err(error) => {
                let gone = error.kind() == io::ErrorKind::NotFound;
                Err(Uncommitted {
                    error: io_failure::explain(&error, Attempt::Write, &self.target),
                    reservation: (!gone).then_some(self),
                })
            }
        }
    }

    /// Removes the temp file even though it is complete: its contents are not wanted.
    pub(crate) fn discard(mut self) {
        self.is_whole = false;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // A whole one may be the only copy: the next holder of the lock finishes or removes it.
        if !self.is_whole {
            drop(folder::unlink(&self.temp));
        }
    }
}

/// The temp files of that target, and of no other, that a crash has left.
///
/// # Errors
/// `STORE_IO` if the folder cannot be listed.
pub(crate) fn leftovers(target: &Path, _: MayBlock) -> Result<Vec<PathBuf>, Error> {
    let folder = folder::path_of(target);
    let fail = |error: io::Error| io_failure::explain(&error, Attempt::List, folder);
    let Some(name) = target.file_name() else {
        return Ok(Vec::new());
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        if is_temp_name(&entry.file_name(), name) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Finishes what a crash interrupted between write and rename: the temp file's first `length` bytes become the target.
///
/// # Errors
/// `STORE_IO` if the disk refuses; both files are as before then.
pub(crate) fn finish(temp: &Path, length: u64, target: &Path, _: MayBlock) -> Result<(), Error> {
    let fail = |error: io::Error| io_failure::explain(&error, Attempt::Write, target);
    let file = open_temp(temp)?;
    file.set_len(length).map_err(fail)?;
    regular_file::tighten(&file, temp);
    sync(&file).map_err(fail)?;
    folder::rename(temp, target)?;
    sync_folder_of(target);
    Ok(())
}

/// Removes a file; it may be gone already.
///
/// # Errors
/// `STORE_IO` if it stays.
pub(crate) fn remove(path: &Path, _: MayBlock) -> Result<(), Error> {
    if folder::unlink(path)? {
        sync_folder_of(path);
    }
    Ok(())
}

/// Moves a file within its folder.
///
/// # Errors
/// `STORE_IO` if it stays where it was.
pub(crate) fn move_file(from: &Path, to: &Path, _: MayBlock) -> Result<(), Error> {
    folder::rename(from, to)?;
    sync_folder_of(to);
    Ok(())
}

/// `.<file>.<16 hex>.tmp`: the leading dot is never that of a profile, and the digits hold no dot, so no name can be
/// taken for that of another target.
fn temp_path(target: &Path, digits: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".");
    name.push(digits);
    name.push(".tmp");
    target.with_file_name(name)
}

fn is_temp_name(candidate: &OsStr, target: &OsStr) -> bool {
    candidate
        .as_encoded_bytes()
        .strip_prefix(b".")
        .and_then(|rest| rest.strip_prefix(target.as_encoded_bytes()))
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(b".tmp"))
        .is_some_and(|digits| {
            digits.len() == RANDOM_DIGITS
                && digits
                    .iter()
                    .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        })
}

fn create_temp(folder: &Folder, target: &Path) -> Result<(File, PathBuf), Error> {
    let mut tries_left = 8;
    loop {
        let temp = temp_path(target, &hex(&random::<{ RANDOM_DIGITS / 2 }>()?));
        match create_new(folder, &temp) {
            Ok(file) => return Ok((file, temp)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries_left > 0 => {
                tries_left -= 1;
            }
            Err(error) => return Err(io_failure::explain(&error, Attempt::Write, target)),
        }
    }
}

/// Takes real space, so that a full disk or quota shows now and not when there is a token to lose.
fn allocate(file: &mut File, size: u64) -> io::Result<()> {
    if allocate_at_once(file, size)? {
        return Ok(());
    }
    let zeros = [0; 4096];
    let mut left = size;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..step).unwrap_or(&zeros))?;
        left -= step as u64;
    }
    // Network file systems report a full disk only now.
    sync(file)
}

/// Some file systems have no fsync; where they have one, its failure counts as a failed write.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

fn sync_folder_of(path: &Path) {
    sync_folder(folder::path_of(path));
}

#[cfg(unix)]
pub(super) use unix::sync_folder;
#[cfg(unix)]
use unix::{allocate_at_once, create_new, open_temp, require_replaceable};

#[cfg(unix)]
mod unix {
    use std::fs::{File, Permissions};
    use std::io;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use rustix::fs::{Mode, OFlags};

    use crate::error::Error;
    use crate::fs::folder::{self, Folder};
    use crate::fs::io_failure::Attempt;
    use crate::fs::regular_file::open_with;

    pub(super) fn create_new(folder: &Folder, path: &Path) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(rustix::fs::openat(folder, folder::name(path), flags, mode)?);
        // A umask cannot widen 0600 but may narrow it, so that the next process could not read what this one saves.
        if Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != mode {
            drop(file.set_permissions(Permissions::from_mode(0o600)));
        }
        Ok(file)
    }

    pub(super) fn open_temp(path: &Path) -> Result<File, Error> {
        open_with(path, OFlags::RDWR, Attempt::Write)
            .map_err(|refusal| refusal.explain(Attempt::Write, path))
    }

    /// Whether the file system could; where it cannot, zeros have to be written.
    #[cfg(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_vendor = "apple"
    ))]
    pub(super) fn allocate_at_once(file: &File, size: u64) -> io::Result<bool> {
        use rustix::io::Errno;
        let allocated = rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size)
        });
        match allocated {
            Ok(()) => Ok(true),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO | Errno::ROFS) => {
                allocated.map(|()| true).map_err(io::Error::from)
            }
            // EOPNOTSUPP, ENOSYS, EINVAL, or what a sandbox says to a call it does not know.
            Err(_) => Ok(false),
        }
    }

    #[cfg(not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_vendor = "apple"
    )))]
    pub(super) fn allocate_at_once(_file: &File, _size: u64) -> io::Result<bool> {
        Ok(false)
    }

    /// Finds what would make the rename fail before there is something to lose. Not on Android,
    /// where a filter may kill an app for a system call that is new to it.
    #[cfg(target_os = "linux")]
    pub(super) fn require_replaceable(target: &Path) -> Result<(), Error> {
        use crate::fs::io_failure;
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
        // Comparing st_dev would miss bind mounts within one disk. Old kernels and sandboxes have no statx: there the
        // rename itself fails.
        let Ok(found) = rustix::fs::statx(
            CWD,
            target,
            AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS,
        ) else {
            return Ok(());
        };
        if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            return Err(io_failure::file_is_mounted(target));
        }
        if found
            .stx_attributes
            .intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND)
        {
            return Err(io_failure::explain(
                &io::ErrorKind::PermissionDenied.into(),
                Attempt::Write,
                target,
            ));
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "Linux can tell, and both have one signature"
    )]
    pub(super) fn require_replaceable(_target: &Path) -> Result<(), Error> {
        Ok(())
    }

    /// Best effort: the rename has happened, and not every file system can sync a folder.
    pub(in crate::fs) fn sync_folder(path: &Path) {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(folder) = rustix::fs::open(path, flags, Mode::empty()) {
            drop(File::from(folder).sync_all());
        }
    }
}

#[cfg(not(unix))]
pub(super) use windows::sync_folder;
#[cfg(not(unix))]
use windows::{allocate_at_once, create_new, open_temp, require_replaceable};

#[cfg(not(unix))]
mod windows {
    use crate::error::Error;
    use crate::fs::access_list;
    use crate::fs::folder::Folder;
    use crate::fs::io_failure::{self, Attempt};
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::path::Path;

    #[expect(clippy::disallowed_methods, reason = "this is where files are opened")]
    pub(super) fn create_new(_folder: &Folder, path: &Path) -> io::Result<File> {
        let is_there = access_list::create_file(path);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(!is_there)
            .open(path)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where files are opened")]
    pub(super) fn open_temp(path: &Path) -> Result<File, Error> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| io_failure::explain(&error, Attempt::Write, path))
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "other systems can fail, and all have one signature"
    )]
    pub(super) fn allocate_at_once(_file: &File, _size: u64) -> io::Result<bool> {
        Ok(false)
    }

    /// Finds what would make the rename fail before there is something to lose.
    pub(super) fn require_replaceable(target: &Path) -> Result<(), Error> {
        match std::fs::symlink_metadata(target) {
            Ok(found) if found.is_file() && found.permissions().readonly() => {
                Err(io_failure::file_is_read_only(target))
            }
            _ => Ok(()),
        }
    }

    pub(in crate::fs) fn sync_folder(_path: &Path) {}
}

#[cfg(test)]
#[cfg(windows)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod windows_tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_read_only_file_is_found_before_there_is_something_to_lose() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("a.json");
        std::fs::write(&target, "old").unwrap();
        let mut permissions = std::fs::metadata(&target).unwrap().permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&target, permissions).unwrap();
        let error = Reservation::new(&target, 10, MayBlock::in_test()).unwrap_err();
        assert!(error.message().contains("attrib -r"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use tempfile::TempDir;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_reservation_has_its_space_and_goes_when_dropped() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("a.json");
        let reservation = Reservation::new(&target, 20_000, MayBlock::in_test()).unwrap();
        let metadata = std::fs::metadata(&reservation.temp).unwrap();
        assert_eq!(metadata.len(), 20_000);
        assert!(metadata.blocks() * 512 >= 20_000, "not only a hole");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        drop(reservation);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_file_system_without_fallocate_gets_zeros() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        let mut file = File::create(&path).unwrap();
        // A pipe answers ESPIPE to fallocate, as some file systems answer EOPNOTSUPP.
        let (_reader, pipe) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        assert!(!allocate_at_once(&pipe, 10).unwrap());
        file.write_all(&[0; 10]).unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), [0; 10]);
    }

    #[test]
    fn a_commit_replaces_the_target_with_exactly_the_contents() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("a.json");
        std::fs::write(&target, "old").unwrap();
        let mut reservation = Reservation::new(&target, 100, MayBlock::in_test()).unwrap();
        reservation
            .write(b"first try, longer", MayBlock::in_test())
            .unwrap();
        reservation.write(b"new", MayBlock::in_test()).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        reservation.commit(MayBlock::in_test()).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a.json"]);
        assert_eq!(
            std::fs::metadata(&target).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn what_was_written_whole_outlives_its_writer_and_can_be_finished() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("a.json");
        let mut reservation = Reservation::new(&target, 100, MayBlock::in_test()).unwrap();
        reservation.write(b"whole", MayBlock::in_test()).unwrap();
        drop(reservation);
        let left = leftovers(&target, MayBlock::in_test()).unwrap();
        assert_eq!(left.len(), 1);
        finish(&left[0], 4, &target, MayBlock::in_test()).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"whol");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn what_is_not_wanted_can_be_discarded() {
        let folder = TempDir::new().unwrap();
        let mut reservation =
            Reservation::new(&folder.path().join("a.json"), 100, MayBlock::in_test()).unwrap();
        reservation.write(b"whole", MayBlock::in_test()).unwrap();
        reservation.discard();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_failed_rename_gives_the_reservation_back() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("a.json");
        let mut reservation = Reservation::new(&target, 100, MayBlock::in_test()).unwrap();
        reservation.write(b"new", MayBlock::in_test()).unwrap();
        std::fs::create_dir_all(target.join("in the way")).unwrap();
        let failed = reservation.commit(MayBlock::in_test()).unwrap_err();
        std::fs::remove_dir_all(&target).unwrap();
        failed
            .reservation
            .unwrap()
            .commit(MayBlock::in_test())
            .unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
    }

    #[test]
    fn a_vanished_temp_file_is_told() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("a.json");
        let reservation = Reservation::new(&target, 100, MayBlock::in_test()).unwrap();
        std::fs::remove_file(&reservation.temp).unwrap();
        assert!(
            reservation
                .commit(MayBlock::in_test())
                .unwrap_err()
                .reservation
                .is_none()
        );
    }

    #[test]
    fn names_of_temp_files_are_told_apart() {
        let digits = "0123456789abcdef";
        let temp = |target: &str| {
            temp_path(Path::new(target), digits)
                .file_name()
                .unwrap()
                .to_owned()
        };
        assert_eq!(temp("a.json"), ".a.json.0123456789abcdef.tmp");
        let targets = [
            "a",
            "a.json",
            "a.json.json",
            "json",
            "a.json.0123456789abcdef.tmp",
            "a.json.0123456789abcdef",
            "A.json",
            ".a.json",
            "a.json.lock",
        ];
        for one in targets {
            for other in targets {
                assert_eq!(
                    is_temp_name(&temp(one), OsStr::new(other)),
                    one == other,
                    "{one} {other}"
                );
            }
        }
        for wrong in [
            ".a.json.0123456789abcde.tmp",
            ".a.json.0123456789abcdeF.tmp",
            ".a.json.0123456789abcdeg.tmp",
            "a.json.0123456789abcdef.tmp",
            ".a.json.0123456789abcdef.tmp2",
            ".a.json..tmp",
        ] {
            assert!(
                !is_temp_name(OsStr::new(wrong), OsStr::new("a.json")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_missing_folder_is_told() {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("missing/a.json");
        let error = Reservation::new(&target, 100, MayBlock::in_test()).unwrap_err();
        assert!(error.message().contains("is not there"), "{error}");
        assert!(leftovers(&target, MayBlock::in_test()).unwrap().is_empty());
    }

    #[test]
    fn a_full_disk_is_found_before_anything_is_written() {
        let folder = TempDir::new().unwrap();
        let error = Reservation::new(&folder.path().join("a.json"), 1 << 50, MayBlock::in_test())
            .unwrap_err();
        assert_eq!(error.code(), crate::error::ErrorCode::StoreIo);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_mount_point_is_found_before_it_is_to_be_replaced() {
        // Bind-mounting needs root and a namespace; the root folder of the machine is a mount point everywhere.
        let error = require_replaceable(Path::new("/proc")).err();
        if cfg!(target_os = "linux") && Path::new("/proc/self").exists() {
            assert!(
                error
                    .unwrap()
                    .message()
                    .contains("mounted as a single file"),
                "the kernel tells mount points"
            );
        }
    }
}
