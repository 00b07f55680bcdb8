//! The locks of other programs, kept as those programs keep them: a folder, or a file that only one can make, which
//! its holder renews and which is free when it is gone or was not renewed for as long as its program waits; or a
//! kernel lock.
//!
//! Two programs that find the same abandoned mark at once may both remove one and make one. These protocols cannot
//! exclude that; the one that then finds a time that is not its own has lost.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fs4::TryLockError;

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};
use crate::fs::regular_file::RegularFile;
use crate::secret::{hex, random};
use crate::time::{BootInstant, SharedClock, UnixMillis};

/// How a program marks that it holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A folder, as npm's `proper-lockfile` makes it.
    Folder,
    /// A file that was not there (`O_EXCL`).
    File,
    /// A file that was not there and says `{ pid, nonce, at }`: it ends with that process.
    Lease,
    /// `flock` on a file that stays. It ends with its holder, and is never renewed.
    Kernel,
}

/// A lock protocol.
#[derive(Debug)]
pub(crate) struct Protocol {
    pub(crate) mark: Mark,
    /// How long a mark counts that is not renewed.
    pub(crate) stale: Duration,
    /// How often this library renews its lock: well within the time after which others take it for stale.
    pub(crate) renewal: Duration,
}

/// A held lock. Dropping it frees it.
#[derive(Debug)]
pub(crate) struct ProgramLock {
    path: PathBuf,
    held: Arc<Held>,
    kernel: Option<File>,
}

#[derive(Debug)]
struct Held {
    protocol: &'static Protocol,
    clock: SharedClock,
    nonce: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The modification time that we gave it; none once another has it.
    ours: Option<SystemTime>,
    renewed: BootInstant,
    is_over: bool,
}

impl ProgramLock {
    /// Takes the lock at that path, or none if another holds it. Its folder must exist.
    ///
    /// # Errors
    /// `STORE_IO` if it cannot be made.
    pub(crate) fn try_acquire(
        path: &Path,
        protocol: &'static Protocol,
        clock: &SharedClock,
        _: MayBlock,
    ) -> Result<Option<Self>, Error> {
        let nonce = hex(&random::<16>()?);
        Self::try_at(path, protocol, clock, nonce)
            .map_err(|error| io_failure::explain(&error, Attempt::Lock, path))
    }

    fn try_at(
        path: &Path,
        protocol: &'static Protocol,
        clock: &SharedClock,
        nonce: String,
    ) -> io::Result<Option<Self>> {
        let mut lock = Self {
            path: path.to_owned(),
            held: Arc::new(Held {
                protocol,
                clock: clock.clone(),
                nonce,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            kernel: None,
        };
        if protocol.mark == Mark::Kernel {
            let file = open(path, true)?;
            return match fs4::FileExt::try_lock(&file) {
                Ok(()) => {
                    lock.kernel = Some(file);
                    Ok(Some(lock))
                }
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            };
        }
        let is_made = match lock.held.make(path)? {
            true => true,
            false if is_abandoned(path, protocol, clock)? => {
                remove_abandoned(path, protocol.mark, &lock.held.nonce)?;
                lock.held.make(path)?
            }
            false => false,
        };
        if !is_made {
            return Ok(None);
        }
        if !lock.held.renew(&mut lock.held.lock(), path, true) {
            // A mark that cannot be renewed would be nobody's, and everybody would wait for it.
            drop(remove(path, protocol.mark));
            return Ok(None);
        }
        let (path, held) = (lock.path.clone(), Arc::clone(&lock.held));
        std::thread::Builder::new().spawn(move || held.keep_fresh(&path))?;
        Ok(Some(lock))
    }

    /// Whether another process removed the lock, or took it for abandoned because this process was stopped for too
    /// long.
    pub(crate) fn is_lost(&self) -> bool {
        self.kernel.is_none() && !self.held.is_ours(&self.held.lock(), &self.path)
    }
}

impl Drop for ProgramLock {
    fn drop(&mut self) {
        if self.kernel.is_some() {
            return;
        }
        let mut state = self.held.lock();
        state.is_over = true;
        if self.held.is_ours(&state, &self.path) {
            drop(remove(&self.path, self.held.protocol.mark));
        }
        self.held.changed.notify_all();
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_fresh(&self, path: &Path) {
        let mut state = self.lock();
        while !state.is_over {
            let waited = self.changed.wait_timeout(state, self.protocol.renewal);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !state.is_over && !self.renew(&mut state, path, false) {
                return;
            }
        }
    }

    /// Makes the mark; false if it is there.
    fn make(&self, path: &Path) -> io::Result<bool> {
        let made = match self.protocol.mark {
            Mark::Folder => make_folder(path),
            _ => create(path).and_then(|mut file| {
                let written = file.write_all(self.text().as_bytes());
                if written.is_err() {
                    // This lock is the library's own, and every other process would wait for it.
                    drop(remove(path, self.protocol.mark));
                }
                written
            }),
        };
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn text(&self) -> String {
        match self.protocol.mark {
            Mark::Lease => format!(
                r#"{{"pid":{},"nonce":"{}","at":{}}}"#,
                std::process::id(),
                self.nonce,
                self.clock.now().0
            ),
            _ => self.nonce.clone(),
        }
    }

    fn is_ours(&self, state: &State, path: &Path) -> bool {
        state.ours.is_some()
            && self.clock.boot().since(state.renewed) < self.protocol.stale
            && match self.protocol.mark {
                Mark::Folder => modified(path, Mark::Folder).ok().flatten() == state.ours,
                _ => read(path).is_some_and(|text| text.contains(&self.nonce)),
            }
    }

    /// Gives it a new time, unless another has given it one.
    fn renew(&self, state: &mut State, path: &Path, is_new: bool) -> bool {
        if is_new || self.is_ours(state, path) {
            state.ours = self.touch(path).ok();
            state.renewed = self.clock.boot();
        } else {
            state.ours = None;
        }
        state.ours.is_some()
    }

    /// Sets it to now, in whole milliseconds as Node does, and returns what the file system made of it.
    fn touch(&self, path: &Path) -> io::Result<SystemTime> {
        let mark = self.protocol.mark;
        let mut file = match mark {
            Mark::Folder => open_folder(path)?,
            _ => open(path, false)?,
        };
        if mark == Mark::Lease {
            // The same length as the text that it replaces.
            file.write_all(self.text().as_bytes())?;
        }
        let now = u64::try_from(self.clock.now().0).unwrap_or(0);
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(now))?;
        modified(path, mark)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Whether its holder is gone, or has not renewed it for too long: by its time, or, since clocks are set, by how long
/// we have seen it unchanged.
fn is_abandoned(path: &Path, protocol: &Protocol, clock: &SharedClock) -> io::Result<bool> {
    /// Marks of others, with the time that they had when we first saw them so, and when that was.
    static SEEN: Mutex<Vec<(PathBuf, SystemTime, BootInstant)>> = Mutex::new(Vec::new());

    let Some(modified) = modified(path, protocol.mark)? else {
        return Ok(false);
    };
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let now = clock.boot();
    let known = seen
        .iter()
        .position(|(known, then, _)| known == path && *then == modified);
    let since = known
        .and_then(|at| seen.get(at))
        .map_or(now, |(_, _, since)| *since);
    seen.retain(|(known, ..)| known != path);
    let is_abandoned = now.since(since) > protocol.stale
        || wall_age(modified, clock.now()) > protocol.stale
        || protocol.mark == Mark::Lease && has_ended(path);
    if !is_abandoned {
        seen.push((path.to_owned(), modified, since));
    }
    Ok(is_abandoned)
}

/// Whether the process of a lease is gone. Half a lease is one that is being written.
fn has_ended(path: &Path) -> bool {
    let lease = read(path).and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let pid = lease
        .and_then(|lease| lease.get("pid")?.as_i64())
        .and_then(|pid| i32::try_from(pid).ok());
    pid.is_some_and(is_gone)
}

fn read(path: &Path) -> Option<String> {
    let file = RegularFile::load(path).ok()??;
    Some(std::str::from_utf8(file.bytes()?).ok()?.to_owned())
}

#[cfg(unix)]
fn is_gone(pid: i32) -> bool {
    use rustix::process::{Pid, test_kill_process};
    Pid::from_raw(pid).is_none_or(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

/// There the time alone counts.
#[cfg(not(unix))]
fn is_gone(_: i32) -> bool {
    false
}

fn wall_age(modified: SystemTime, now: UnixMillis) -> Duration {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    now.duration_since(modified).unwrap_or_default()
}

/// The time of the mark; `None` if it is gone. A mark of another kind was not made by this protocol and must not be
/// removed.
fn modified(path: &Path, mark: Mark) -> io::Result<Option<SystemTime>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() == (mark == Mark::Folder) => {
            Metadata::modified(&metadata).map(Some)
        }
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Out of the way first: of several that find it abandoned, one moves it.
fn remove_abandoned(path: &Path, mark: Mark, nonce: &str) -> io::Result<()> {
    let removed = if mark == Mark::Folder {
        remove(path, mark)
    } else {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".stale.{nonce}"));
        let aside = PathBuf::from(name);
        rename(path, &aside).and_then(|()| remove(&aside, mark))
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the mark of a lock")]
fn rename(path: &Path, aside: &Path) -> io::Result<()> {
    std::fs::rename(path, aside)
}

#[expect(clippy::disallowed_methods, reason = "the mark of a lock")]
fn remove(path: &Path, mark: Mark) -> io::Result<()> {
    match mark {
        Mark::Folder => std::fs::remove_dir(path),
        _ => std::fs::remove_file(path),
    }
}

#[cfg(unix)]
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().create(path)
}

#[cfg(unix)]
fn open_folder(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(windows)]
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the folder is opened"
)]
fn open_folder(path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt as _;
    /// Without it Windows opens no folder.
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)
}

fn create(path: &Path) -> io::Result<File> {
    opened(
        path,
        std::fs::OpenOptions::new().write(true).create_new(true),
    )
}

/// Never through a link.
fn open(path: &Path, may_make: bool) -> io::Result<File> {
    opened(
        path,
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .truncate(false)
            .create(may_make),
    )
}

#[expect(clippy::disallowed_methods, reason = "this is where marks are opened")]
fn opened(path: &Path, options: &mut std::fs::OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
        options.mode(0o600).custom_flags(no_follow.cast_signed());
    }
    options.open(path)
}

#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const PROPER_LOCKFILE: Protocol = Protocol {
        mark: Mark::Folder,
        stale: Duration::from_secs(30),
        renewal: Duration::from_secs(5),
    };

    static HOST: Protocol = PROPER_LOCKFILE;

    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn folder(&self) -> PathBuf {
            self.0.path().join("auth-profiles.json.lock")
        }

        fn take(&self) -> Option<ProgramLock> {
            ProgramLock::try_acquire(
                &self.folder(),
                &HOST,
                &SharedClock::of_system(),
                MayBlock::in_test(),
            )
            .unwrap()
        }

        /// Leaves the lock as a holder does that was killed `seconds_ago`.
        fn leave(&self, seconds_ago: i64) {
            std::fs::create_dir(self.folder()).unwrap();
            self.age(seconds_ago);
        }

        fn age(&self, seconds_ago: i64) {
            let now = SystemTime::now();
            let shift = Duration::from_secs(seconds_ago.unsigned_abs());
            let time = if seconds_ago < 0 {
                now + shift
            } else {
                now - shift
            };
            open_folder(&self.folder())
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
    }

    #[test]
    fn one_holds_it_and_then_another() {
        let place = Place::new();
        let held = place.take().unwrap();
        assert!(place.folder().is_dir());
        assert!(place.take().is_none());
        assert!(!held.is_lost());
        drop(held);
        assert!(!place.folder().exists());
        assert!(place.take().is_some());
    }

    #[test]
    fn what_a_killed_holder_left_is_taken_over_after_half_a_minute() {
        let place = Place::new();
        place.leave(29);
        assert!(place.take().is_none());
        place.age(31);
        let held = place.take().unwrap();
        assert!(!held.is_lost());
        assert!(place.take().is_none());
    }

    #[test]
    fn a_time_from_the_future_is_held() {
        let place = Place::new();
        place.leave(-3600);
        assert!(place.take().is_none());
    }

    #[test]
    fn who_was_taken_for_abandoned_knows_it_and_leaves_the_other_alone() {
        let place = Place::new();
        let first = place.take().unwrap();
        let taken_at = modified(&place.folder(), Mark::Folder).unwrap().unwrap();
        place.age(31);
        // Times have whole milliseconds; a lock taken half a minute later must show a later one.
        while SystemTime::now() < taken_at + Duration::from_millis(1) {
            std::thread::yield_now();
        }
        let second = place.take().unwrap();
        assert!(first.is_lost());
        drop(first);
        assert!(place.folder().is_dir());
        assert!(!second.is_lost());
        drop(second);
        assert!(!place.folder().exists());
    }

    #[test]
    fn it_is_renewed_while_it_is_held() {
        static OFTEN: Protocol = Protocol {
            renewal: Duration::from_millis(5),
            ..PROPER_LOCKFILE
        };
        let place = Place::new();
        let held = ProgramLock::try_acquire(
            &place.folder(),
            &OFTEN,
            &SharedClock::of_system(),
            MayBlock::in_test(),
        )
        .unwrap()
        .unwrap();
        let first = modified(&place.folder(), Mark::Folder).unwrap();
        while modified(&place.folder(), Mark::Folder).unwrap() == first {
            std::thread::yield_now();
        }
        assert!(!held.is_lost());
    }

    #[test]
    fn what_is_no_folder_is_not_removed() {
        let place = Place::new();
        std::fs::write(place.folder(), "a file").unwrap();
        assert!(
            ProgramLock::try_acquire(
                &place.folder(),
                &HOST,
                &SharedClock::of_system(),
                MayBlock::in_test()
            )
            .is_err()
        );
        assert!(place.folder().is_file());
        std::fs::remove_file(place.folder()).unwrap();
        // A folder with contents counts as held at any age: something uses it.
        place.leave(3600);
        std::fs::write(place.folder().join("x"), "").unwrap();
        place.age(3600);
        assert!(
            ProgramLock::try_acquire(
                &place.folder(),
                &HOST,
                &SharedClock::of_system(),
                MayBlock::in_test()
            )
            .is_err()
        );
    }

    static LOCK_FILE: Protocol = Protocol {
        mark: Mark::File,
        stale: Duration::from_secs(35),
        renewal: Duration::from_secs(5),
    };
    static LEASE: Protocol = Protocol {
        mark: Mark::Lease,
        stale: Duration::from_secs(30),
        renewal: Duration::from_millis(5),
    };
    static KERNEL: Protocol = Protocol {
        mark: Mark::Kernel,
        ..PROPER_LOCKFILE
    };

    #[test]
    fn a_lock_file_is_taken_over_after_its_own_time_and_its_loss_is_noticed() {
        let place = Place::new();
        let path = place.folder();
        let take = || {
            ProgramLock::try_acquire(
                &path,
                &LOCK_FILE,
                &SharedClock::of_system(),
                MayBlock::in_test(),
            )
            .unwrap()
        };
        let age = |seconds| {
            let time = SystemTime::now() - Duration::from_secs(seconds);
            open(&path, false).unwrap().set_modified(time).unwrap();
        };
        std::fs::write(&path, "somebody else").unwrap();
        age(34);
        assert!(take().is_none());
        age(36);
        let held = take().unwrap();
        assert!(take().is_none());
        assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 1);
        // Qwen Code does this when it exits.
        std::fs::remove_file(&path).unwrap();
        assert!(held.is_lost());
        let other = take().unwrap();
        drop(held);
        assert!(!other.is_lost());
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn a_lease_ends_with_its_process_and_is_renewed() {
        let place = Place::new();
        let path = place.folder();
        let take = || {
            ProgramLock::try_acquire(
                &path,
                &LEASE,
                &SharedClock::of_system(),
                MayBlock::in_test(),
            )
            .unwrap()
        };
        let lease =
            |pid: u32| std::fs::write(&path, format!(r#"{{"pid":{pid},"nonce":"n","at":1}}"#));
        lease(std::process::id()).unwrap();
        assert!(take().is_none());
        std::fs::write(&path, "{").unwrap();
        assert!(take().is_none(), "half a lease is being written");
        // No process has it.
        lease(0x3fff_fff0).unwrap();
        let held = take().unwrap();
        let read = || -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap_or_default()
        };
        let first = read();
        assert_eq!(first["pid"], std::process::id());
        while read()["at"].as_i64() <= first["at"].as_i64() {
            std::thread::yield_now();
        }
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_kernel_lock_leaves_its_file_empty_and_in_place() {
        let place = Place::new();
        let take = || {
            ProgramLock::try_acquire(
                &place.folder(),
                &KERNEL,
                &SharedClock::of_system(),
                MayBlock::in_test(),
            )
            .unwrap()
        };
        let held = take().unwrap();
        assert!(take().is_none());
        assert!(!held.is_lost());
        drop(held);
        assert!(take().is_some());
        assert_eq!(std::fs::read(place.folder()).unwrap(), b"");
    }
}
