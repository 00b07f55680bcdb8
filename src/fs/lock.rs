//! One holder per credential, among threads, processes and copies of this program.
//!
//! A kernel lock on a sidecar file (flock; on Windows, exclusive write access). It excludes two descriptors within one
//! process as well as two processes, and the kernel frees it the instant its holder dies. The sidecar is never
//! deleted: otherwise two holders could lock two files of one name.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use fs4::TryLockError;
use ring::digest;

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};
use crate::fs::private_dir;
use crate::secret::hex;

/// Room in the lock file for who holds it, taken beforehand so that a note can be written on a full disk.
const NOTE_BYTES: usize = 512;

/// The start of every note.
const PROCESS: &str = "process ";

/// How often a lock file is opened again because it was deleted between opening and locking.
const OPENS: usize = 16;

/// A held lock. Dropping it frees it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    is_local_fallback: bool,
    /// The lock file, if it goes with the lock.
    passing_at: Option<PathBuf>,
}

/// The state of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) is_held: bool,
    pub(crate) is_local_fallback: bool,
}

type TryLock = fn(&File) -> Result<(), TryLockError>;

#[cfg(unix)]
const TRY_LOCK: TryLock = fs4::FileExt::try_lock;
/// A process that has it open holds it. `LockFileEx` would keep others from reading who the holder is.
#[cfg(not(unix))]
const TRY_LOCK: TryLock = |_| Ok(());

impl Lock {
    /// Takes the lock of the file at that path (links resolved), or none if another holds it. Its folder must exist.
    ///
    /// # Errors
    /// `STORE_IO` if the lock file cannot be made.
    pub(crate) fn try_acquire(protected: &Path, may: MayBlock) -> Result<Option<Self>, Error> {
        Self::try_acquire_by(protected, TRY_LOCK, may)
    }

    fn try_acquire_by(
        protected: &Path,
        try_lock: TryLock,
        may: MayBlock,
    ) -> Result<Option<Self>, Error> {
        let beside = sidecar(protected);
        match try_at(&beside, try_lock) {
            Ok(file) => Ok(file.map(|file| Self::held(file, false))),
            Err(Refusal::NoLocksThere) => {
                let local = local_path(protected, may)?;
                match try_at(&local, TRY_LOCK) {
                    Ok(file) => Ok(file.map(|file| Self::held(file, true))),
                    Err(Refusal::NoLocksThere) => Err(io_failure::explain(
                        &io::ErrorKind::Unsupported.into(),
                        Attempt::Lock,
                        &local,
                    )),
                    Err(Refusal::Failed(error)) => Err(error),
                }
            }
            Err(Refusal::Failed(error)) => Err(error),
        }
    }

    /// Whether the lock is held now, and whether it is a local one because the file system has no locks. Creates and
    /// changes nothing.
    ///
    /// # Errors
    /// `STORE_IO` if the lock file cannot be opened.
    pub(crate) fn probe(protected: &Path, _: MayBlock) -> Result<Probe, Error> {
        let mut is_local_fallback = false;
        for path in paths(protected) {
            if path.symlink_metadata().is_err() {
                break;
            }
            match try_at(&path, TRY_LOCK) {
                Ok(Some(file)) => {
                    #[cfg(unix)]
                    drop(fs4::FileExt::unlock(&file));
                    drop(file);
                    break;
                }
                Ok(None) => {
                    return Ok(Probe {
                        is_held: true,
                        is_local_fallback,
                    });
                }
                Err(Refusal::NoLocksThere) => is_local_fallback = true,
                Err(Refusal::Failed(error)) => return Err(error),
            }
        }
        Ok(Probe {
            is_held: false,
            is_local_fallback,
        })
    }

    fn held(file: File, is_local_fallback: bool) -> Self {
        let lock = Self {
            file,
            is_local_fallback,
            passing_at: None,
        };
        // Reserves the space and replaces the note of a killed holder. A waiting process can name its holder this way,
        // even a holder that is stopped.
        drop(lock.write_note(&this_process()));
        lock
    }

    /// Whether the file system of the credential has no locks, so that the lock excludes only this user on this
    /// machine.
    pub(crate) fn is_local_fallback(&self) -> bool {
        self.is_local_fallback
    }

    /// Publishes who holds the lock and why, for others that wait. Best effort.
    pub(crate) fn note(&self, text: &str, _: MayBlock) {
        drop(self.write_note(&format!("{}: {text}", this_process())));
    }

    /// Takes a lock that others may end: its file is deleted when it is dropped, or by [`Lock::withdraw`].
    ///
    /// # Errors
    /// `STORE_IO` if the lock file cannot be made.
    pub(crate) fn try_acquire_passing(
        protected: &Path,
        may: MayBlock,
    ) -> Result<Option<Self>, Error> {
        let lock = Self::try_acquire(protected, may)?;
        Ok(lock.map(|mut lock| {
            let [beside, local] = paths(protected);
            lock.passing_at = Some(if lock.is_local_fallback {
                local
            } else {
                beside
            });
            lock
        }))
    }

    /// Publishes a text of any length in place of a note, for [`Lock::published`]. Best effort.
    pub(crate) fn publish(&self, text: &[u8], _: MayBlock) {
        drop(self.write(text));
    }

    /// Reads the text that the present holder has published. Only meaningful while the lock is held.
    pub(crate) fn published(protected: &Path, may: MayBlock) -> Option<Vec<u8>> {
        paths(protected).into_iter().find_map(|path| {
            let file = crate::fs::regular_file::RegularFile::read(&path, may.into()).ok()??;
            let text = file.bytes()?.split(|byte| *byte == 0).next()?;
            (!text.is_empty()).then(|| text.to_vec())
        })
    }

    /// Whether [`Lock::withdraw`] was called.
    pub(crate) fn is_withdrawn(&self, _: MayBlock) -> bool {
        self.passing_at
            .as_ref()
            .is_some_and(|path| !is_still_at(&self.file, path))
    }

    /// Deletes the lock file of [`Lock::try_acquire_passing`]. The next process locks a new file at once, so the
    /// holder must check that its lock was not withdrawn before it acts.
    pub(crate) fn withdraw(protected: &Path, may: MayBlock) {
        for path in paths(protected) {
            #[cfg(not(unix))]
            let path = out_of_the_way(path);
            drop(crate::fs::atomic_write::remove(&path, may));
        }
    }

    /// Describes the present holder, with its note. Only meaningful while the lock is held.
    pub(crate) fn holder(protected: &Path, _: MayBlock) -> Option<String> {
        paths(protected).iter().find_map(|path| read_note(path))
    }

    fn write_note(&self, text: &str) -> io::Result<()> {
        let mut room = [0; NOTE_BYTES];
        let clean: String = text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let mut end = clean.len().min(NOTE_BYTES - 1);
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        for (place, byte) in room.iter_mut().zip(clean.bytes().take(end)) {
            *place = byte;
        }
        self.write(&room)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(unix)]
        if !crate::fs::regular_file::has_one_name(&rustix::fs::fstat(&self.file)?) {
            return Ok(());
        }
        let mut file = &self.file;
        file.rewind()?;
        file.write_all(bytes)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.write_note(""));
        if let Some(path) = &self.passing_at
            && is_still_at(&self.file, path)
        {
            drop(crate::fs::folder::unlink(path));
        }
        // Closing alone is not enough while a child process that was forked just now still has a copy.
        #[cfg(unix)]
        drop(fs4::FileExt::unlock(&self.file));
    }
}

/// Where Windows has no POSIX semantics, it keeps the name of a removed file until its last user closes it.
#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "this is where files are moved")]
fn out_of_the_way(path: PathBuf) -> PathBuf {
    let Ok(digits) = crate::secret::random::<8>() else {
        return path;
    };
    let aside = path.with_extension(format!("{}.gone", hex(&digits)));
    match std::fs::rename(&path, &aside) {
        Ok(()) => aside,
        Err(_) => path,
    }
}

fn this_process() -> String {
    format!("{PROCESS}{}", std::process::id())
}

enum Refusal {
    NoLocksThere,
    Failed(Error),
}

/// Where the lock file of a path may be: beside it, or in the local folder.
fn paths(protected: &Path) -> [PathBuf; 2] {
    [
        sidecar(protected),
        local_folder().join(local_name(protected)),
    ]
}

/// The lock file of a path: `<file>.lock` beside it.
fn sidecar(protected: &Path) -> PathBuf {
    let mut name: OsString = protected.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    protected.with_file_name(name)
}

fn try_at(path: &Path, try_lock: TryLock) -> Result<Option<File>, Refusal> {
    for _ in 0..OPENS {
        let Some(file) = open(path).map_err(Refusal::Failed)? else {
            return Ok(None);
        };
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {
                continue;
            }
            Err(TryLockError::Error(error)) if means_no_locks(&error) => {
                return Err(Refusal::NoLocksThere);
            }
            Err(TryLockError::Error(error)) => {
                return Err(Refusal::Failed(io_failure::explain(
                    &error,
                    Attempt::Lock,
                    path,
                )));
            }
        }
        if is_still_at(&file, path) {
            return Ok(Some(file));
        }
    }
    // Another process keeps deleting it: as good as held.
    Ok(None)
}

/// `None` if the open itself shows that another process holds it.
#[cfg(unix)]
fn open(path: &Path) -> Result<Option<File>, Error> {
    use rustix::fs::OFlags;
    crate::fs::regular_file::open_with(path, OFlags::RDWR | OFlags::CREATE, Attempt::Lock)
        .map(Some)
        .map_err(|refusal| refusal.explain(Attempt::Lock, path))
}

#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "this is where files are opened")]
fn open(path: &Path) -> Result<Option<File>, Error> {
    use std::os::windows::fs::OpenOptionsExt as _;
    /// Others may read the note, and withdraw the lock.
    const FILE_SHARE_READ_DELETE: u32 = 1 | 4;
    if path.symlink_metadata().is_err() {
        crate::fs::access_list::create_file(path);
    }
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .share_mode(FILE_SHARE_READ_DELETE)
        .open(path);
    match opened {
        Ok(file) => Ok(Some(file)),
        // ERROR_SHARING_VIOLATION, ERROR_DELETE_PENDING
        Err(error) if matches!(error.raw_os_error(), Some(32 | 303)) => Ok(None),
        Err(error) => Err(io_failure::explain(&error, Attempt::Lock, path)),
    }
}

/// Whether the opened file still has its name. If it was deleted, another process locks a new one.
fn is_still_at(file: &File, path: &Path) -> bool {
    use crate::fs::identity::Identity;
    match (Identity::of_file(file), Identity::of_path(path)) {
        (Ok(held), Ok(Some(named))) => held.is_same_file(&named),
        _ => false,
    }
}

#[cfg(unix)]
fn means_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error).is_some_and(|errno| {
        errno == Errno::NOLCK
            || errno == Errno::OPNOTSUPP
            || errno == Errno::NOTSUP
            || errno == Errno::NOSYS
    })
}

#[cfg(not(unix))]
fn means_no_locks(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

fn local_path(protected: &Path, may: MayBlock) -> Result<PathBuf, Error> {
    let folder = local_folder();
    private_dir::ensure_ours(&folder, may)?;
    Ok(folder.join(local_name(protected)))
}

/// The folder for locks, which does not depend on `TMPDIR`: it is one for all processes of the user.
fn local_folder() -> PathBuf {
    let shared = Path::new("/tmp");
    let root = if cfg!(unix) && shared.is_dir() {
        shared.to_path_buf()
    } else {
        std::env::temp_dir()
    };
    root.join(folder_name())
}

#[cfg(unix)]
fn folder_name() -> String {
    format!(
        "clawdbot-plugin-auth-{}",
        rustix::process::geteuid().as_raw()
    )
}

#[cfg(not(unix))]
fn folder_name() -> String {
    "clawdbot-plugin-auth".to_owned()
}

/// Keyed by the real path, so that all ways to the file lead to one lock.
fn local_name(protected: &Path) -> String {
    let folder = protected.parent().unwrap_or(Path::new("."));
    let real = std::fs::canonicalize(folder)
        .unwrap_or_else(|_| folder.to_path_buf())
        .join(protected.file_name().unwrap_or_default());
    let digest = digest::digest(&digest::SHA256, real.as_os_str().as_encoded_bytes());
    format!("{}.lock", hex(digest.as_ref()))
}

fn read_note(path: &Path) -> Option<String> {
    let lock_file = crate::fs::regular_file::RegularFile::load(path).ok()??;
    let room = lock_file.bytes()?;
    let text = room.get(..NOTE_BYTES)?.split(|byte| *byte == 0).next()?;
    let text = String::from_utf8_lossy(text).trim().to_owned();
    // A file of this user that is not a lock may be in this place. Its contents are never shown.
    text.starts_with(PROCESS).then_some(text)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use std::io::BufRead as _;
    #[cfg(unix)]
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[cfg(unix)]
    use rustix::io::Errno;
    use tempfile::TempDir;

    use super::*;

    fn take(path: &Path) -> Option<Lock> {
        Lock::try_acquire(path, MayBlock::in_test()).unwrap()
    }

    #[cfg(unix)]
    fn no_locks(_: &File) -> Result<(), TryLockError> {
        Err(TryLockError::Error(Errno::NOLCK.into()))
    }

    #[test]
    fn two_descriptors_in_one_process_exclude_each_other() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        let first = take(&path).unwrap();
        assert!(take(&path).is_none());
        assert!(take(&folder.path().join("b.json")).is_some());
        drop(first);
        assert!(take(&path).is_some());
    }

    #[test]
    fn the_lock_file_stays_private_and_has_its_room() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        drop(take(&path).unwrap());
        let metadata = std::fs::metadata(folder.path().join("a.json.lock")).unwrap();
        #[cfg(unix)]
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(metadata.len(), 512);
        assert!(!path.exists());
    }

    #[test]
    fn a_probe_sees_a_holder_and_neither_makes_nor_changes_a_file() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        assert!(!Lock::probe(&path, MayBlock::in_test()).unwrap().is_held);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let lock = take(&path).unwrap();
        lock.note("refreshing", MayBlock::in_test());
        assert!(Lock::probe(&path, MayBlock::in_test()).unwrap().is_held);
        assert!(
            Lock::holder(&path, MayBlock::in_test())
                .unwrap()
                .ends_with("refreshing")
        );
        drop(lock);
        assert!(!Lock::probe(&path, MayBlock::in_test()).unwrap().is_held);
        assert!(take(&path).is_some());
    }

    #[test]
    fn threads_take_turns() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        let inside = AtomicUsize::new(0);
        let rounds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut done = 0;
                    while done < 50 {
                        let Some(_lock) = take(&path) else {
                            std::thread::yield_now();
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        rounds.fetch_add(1, Ordering::SeqCst);
                        done += 1;
                    }
                });
            }
        });
        assert_eq!(rounds.load(Ordering::SeqCst), 400);
    }

    #[test]
    fn a_deleted_lock_file_does_not_let_a_second_holder_in_for_long() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        let file = open(&sidecar(&path)).unwrap().unwrap();
        Lock::withdraw(&path, MayBlock::in_test());
        // A process that opened the deleted file and locks it must notice.
        assert!(!is_still_at(&file, &sidecar(&path)));
        let lock = take(&path).unwrap();
        assert!(is_still_at(&lock.file, &sidecar(&path)));
        assert!(!is_still_at(&file, &sidecar(&path)));
    }

    #[test]
    fn a_note_is_read_while_held_and_gone_afterwards() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        assert_eq!(Lock::holder(&path, MayBlock::in_test()), None);
        let lock = take(&path).unwrap();
        assert_eq!(
            Lock::holder(&path, MayBlock::in_test()).unwrap(),
            this_process()
        );
        lock.note("cannot save:\n\u{1b}[31mno space left", MayBlock::in_test());
        assert_eq!(
            Lock::holder(&path, MayBlock::in_test()).unwrap(),
            format!(
                "process {}: cannot save:  [31mno space left",
                std::process::id()
            )
        );
        lock.note(&"ü".repeat(1000), MayBlock::in_test());
        assert!(
            Lock::holder(&path, MayBlock::in_test())
                .unwrap()
                .ends_with('ü')
        );
        drop(lock);
        assert_eq!(Lock::holder(&path, MayBlock::in_test()), None);
    }

    #[test]
    fn what_a_killed_holder_noted_goes_with_the_next() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(sidecar(&path), "process 1: dead").unwrap();
        let _lock = take(&path).unwrap();
        assert_eq!(
            Lock::holder(&path, MayBlock::in_test()).unwrap(),
            this_process()
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_link_in_place_of_the_lock_file_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        std::os::unix::fs::symlink("elsewhere", sidecar(&path)).unwrap();
        let error = Lock::try_acquire(&path, MayBlock::in_test()).unwrap_err();
        assert!(error.message().contains("symbolic link"), "{error}");
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    #[cfg(unix)]
    fn without_locks_there_the_temp_folder_serves() {
        let folder = TempDir::new().unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("same")).unwrap();
        let path = folder.path().join("a.json");
        let lock = Lock::try_acquire_by(&path, no_locks, MayBlock::in_test())
            .unwrap()
            .unwrap();
        assert!(lock.is_local_fallback());
        lock.note("refreshing", MayBlock::in_test());
        assert!(
            Lock::holder(&path, MayBlock::in_test())
                .unwrap()
                .ends_with("refreshing")
        );
        let other_way = folder.path().join("same/a.json");
        assert!(
            Lock::try_acquire_by(&other_way, no_locks, MayBlock::in_test())
                .unwrap()
                .is_none()
        );
        let mode = std::fs::metadata(local_folder()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
        drop(lock);
        assert!(
            Lock::try_acquire_by(&other_way, no_locks, MayBlock::in_test())
                .unwrap()
                .is_some()
        );
        std::fs::remove_file(local_folder().join(local_name(&path))).unwrap();
    }

    /// Runs in a child process of the test below: takes the lock in its working folder and waits to be killed.
    #[test]
    #[ignore = "only as a child process"]
    fn child_that_holds_the_lock() {
        let path = std::env::current_dir().unwrap().join("a.json");
        let lock = take(&path).unwrap();
        lock.note("held by a child", MayBlock::in_test());
        std::io::stderr().write_all(b"held\n").unwrap();
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_killed_process_frees_its_lock_at_once() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "fs::lock::tests::child_that_holds_the_lock",
                "--ignored",
                "--nocapture",
            ])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut errors = std::io::BufReader::new(child.stderr.take().unwrap());
        while !said.contains("held") {
            assert_ne!(errors.read_line(&mut said).unwrap(), 0, "{said}");
        }
        assert!(take(&path).is_none());
        assert_eq!(
            Lock::holder(&path, MayBlock::in_test()).unwrap(),
            format!("process {}: held by a child", child.id())
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(take(&path).is_some());
    }
}
