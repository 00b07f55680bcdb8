//! The lock of npm's `proper-lockfile`, with which a host locks files of its own: a folder `<file>.lock` whose modification
//! time the holder renews. It is free when the folder is gone, or was not renewed for as long as the host waits.
//!
//! Two programs that find the same stale folder at once may both remove one and make one. The protocol cannot exclude that;
//! whoever then finds a time that is not his own has lost.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};
use crate::time::{BootInstant, Clock as _, SystemClock};

/// What clawdbot counts as abandoned.
const STALE: Duration = Duration::from_secs(30);

/// How often a held folder is renewed. The protocol asks for half of what is stale.
const RENEWAL: Duration = Duration::from_secs(5);

/// A held lock. Dropping it frees it.
#[derive(Debug)]
pub(crate) struct LockFolder {
    folder: PathBuf,
    held: Arc<Held>,
}

#[derive(Debug, Default)]
struct Held {
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

impl LockFolder {
    /// Takes the lock of the file at that path (links resolved), or none if another holds it. Its folder must exist.
    ///
    /// # Errors
    /// `STORE_IO` if the lock folder cannot be made.
    pub(crate) fn try_acquire(protected: &Path) -> Result<Option<Self>, Error> {
        let mut name = protected.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let folder = protected.with_file_name(name);
        Self::try_at(&folder, RENEWAL)
            .map_err(|error| io_failure::explain(&error, Attempt::Lock, &folder))
    }

    fn try_at(folder: &Path, renewal: Duration) -> io::Result<Option<Self>> {
        match make(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !is_abandoned(folder)? {
                    return Ok(None);
                }
                match std::fs::remove_dir(folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                match make(folder) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
                    made => made?,
                }
            }
            made => made?,
        }
        let lock = Self {
            folder: folder.to_owned(),
            held: Arc::default(),
        };
        if !lock.held.lock().renew(folder, true) {
            return Ok(None);
        }
        let (folder, held) = (lock.folder.clone(), Arc::clone(&lock.held));
        std::thread::Builder::new().spawn(move || held.keep_fresh(&folder, renewal))?;
        Ok(Some(lock))
    }

    /// Whether somebody took it for abandoned, because this process was stopped for too long.
    pub(crate) fn is_compromised(&self) -> bool {
        !self.held.lock().is_ours(&self.folder)
    }
}

impl Drop for LockFolder {
    fn drop(&mut self) {
        let mut state = self.held.lock();
        state.is_over = true;
        if state.is_ours(&self.folder) {
            drop(std::fs::remove_dir(&self.folder));
        }
        self.held.changed.notify_all();
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_fresh(&self, folder: &Path, renewal: Duration) {
        let mut state = self.lock();
        while !state.is_over {
            let waited = self.changed.wait_timeout(state, renewal);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !state.is_over && !state.renew(folder, false) {
                return;
            }
        }
    }
}

impl State {
    fn is_ours(&self, folder: &Path) -> bool {
        self.ours.is_some()
            && SystemClock.boot().since(self.renewed) < STALE
            && modified(folder).ok().flatten() == self.ours
    }

    /// Gives it a new time, unless another has given it one.
    fn renew(&mut self, folder: &Path, is_new: bool) -> bool {
        if is_new || self.is_ours(folder) {
            self.ours = touch(folder).ok();
            self.renewed = SystemClock.boot();
        } else {
            self.ours = None;
        }
        self.ours.is_some()
    }
}

/// Whether its holder has not renewed it for too long: by its time, or, since clocks are set, by how long we have seen it
/// unchanged.
fn is_abandoned(folder: &Path) -> io::Result<bool> {
    /// Held folders, with the time that they had when we first saw them so, and when that was.
    static SEEN: Mutex<Vec<(PathBuf, SystemTime, BootInstant)>> = Mutex::new(Vec::new());

    let Some(modified) = modified(folder)? else {
        return Ok(false);
    };
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let now = SystemClock.boot();
    let known = seen
        .iter()
        .position(|(known, then, _)| known == folder && *then == modified);
    let since = known
        .and_then(|at| seen.get(at))
        .map_or(now, |(_, _, since)| *since);
    seen.retain(|(known, ..)| known != folder);
    let is_abandoned = now.since(since) > STALE || wall_age(modified) > STALE;
    if !is_abandoned {
        seen.push((folder.to_owned(), modified, since));
    }
    Ok(is_abandoned)
}

fn wall_age(modified: SystemTime) -> Duration {
    let now = SystemTime::UNIX_EPOCH
        + Duration::from_millis(u64::try_from(SystemClock.now().0).unwrap_or(0));
    now.duration_since(modified).unwrap_or_default()
}

/// Its time; none if it is gone. What is no folder was not made by the protocol, and is nobody's to remove.
fn modified(folder: &Path) -> io::Result<Option<SystemTime>> {
    match std::fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Metadata::modified(&metadata).map(Some),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets it to now, in whole milliseconds as Node does, and says what the file system made of it.
fn touch(folder: &Path) -> io::Result<SystemTime> {
    let now = u64::try_from(SystemClock.now().0).unwrap_or(0);
    open(folder)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(now))?;
    modified(folder)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(unix)]
fn make(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().create(folder)
}

#[cfg(unix)]
fn open(folder: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::empty())?.into())
}

#[cfg(windows)]
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the folder is opened"
)]
fn open(folder: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt as _;
    /// Without it Windows opens no folder.
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(folder)
}

#[cfg(test)]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("auth-profiles.json")
        }

        fn folder(&self) -> PathBuf {
            self.0.path().join("auth-profiles.json.lock")
        }

        fn take(&self) -> Option<LockFolder> {
            LockFolder::try_acquire(&self.file()).unwrap()
        }

        /// As a holder that was killed so many seconds ago left it.
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
            open(&self.folder()).unwrap().set_modified(time).unwrap();
        }
    }

    #[test]
    fn one_holds_it_and_then_another() {
        let place = Place::new();
        let held = place.take().unwrap();
        assert!(place.folder().is_dir());
        assert!(place.take().is_none());
        assert!(!held.is_compromised());
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
        assert!(!held.is_compromised());
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
        let taken_at = modified(&place.folder()).unwrap().unwrap();
        place.age(31);
        // A time has whole milliseconds; who comes half a minute later has another.
        while SystemTime::now() < taken_at + Duration::from_millis(1) {
            std::thread::yield_now();
        }
        let second = place.take().unwrap();
        assert!(first.is_compromised());
        drop(first);
        assert!(place.folder().is_dir());
        assert!(!second.is_compromised());
        drop(second);
        assert!(!place.folder().exists());
    }

    #[test]
    fn it_is_renewed_while_it_is_held() {
        let place = Place::new();
        let held = LockFolder::try_at(&place.folder(), Duration::from_millis(5))
            .unwrap()
            .unwrap();
        let first = modified(&place.folder()).unwrap();
        while modified(&place.folder()).unwrap() == first {
            std::thread::yield_now();
        }
        assert!(!held.is_compromised());
    }

    #[test]
    fn what_is_no_folder_is_not_removed() {
        let place = Place::new();
        std::fs::write(place.folder(), "a file").unwrap();
        assert!(LockFolder::try_acquire(&place.file()).is_err());
        assert!(place.folder().is_file());
        std::fs::remove_file(place.folder()).unwrap();
        // Somebody keeps something in it: as good as held, whatever its age.
        place.leave(3600);
        std::fs::write(place.folder().join("x"), "").unwrap();
        place.age(3600);
        assert!(LockFolder::try_acquire(&place.file()).is_err());
    }
}
