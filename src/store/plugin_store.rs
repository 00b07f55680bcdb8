//! A store that the plugin gives instead of files: documents under keys, each with a version, and a lock for each.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::blocking::{Look, MayBlock};
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
use crate::store::format::Document;
use crate::time::{BootInstant, SharedClock, UnixMillis};

/// How long what was read is believed.
const RECENT: Duration = Duration::from_secs(1);

/// How often others may be faster before something must be wrong.
pub(super) const TRIES: usize = 20;

/// A value and the version that it has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Versioned {
    pub(crate) value: Secret,
    pub(crate) version: String,
}

/// The functions of the plugin's store. All of them may block.
pub(crate) trait Keeper: Send + Sync {
    /// Reads the value under that key.
    ///
    /// # Errors
    /// `STORE_IO`
    fn read(&self, key: &str, may: MayBlock) -> Result<Option<Versioned>, Error>;

    /// Writes a value if the key has that version, or no value yet. Returns its new version; `None` if another writer
    /// was faster.
    ///
    /// # Errors
    /// `STORE_IO`; the value may have been written anyway.
    fn write(
        &self,
        key: &str,
        value: &Secret,
        expected: Option<&str>,
        may: MayBlock,
    ) -> Result<Option<String>, Error>;

    /// Takes the lock of that key; none if another still holds it after a moment.
    ///
    /// # Errors
    /// `STORE_IO`
    fn try_lock(&self, key: &str, may: MayBlock) -> Result<Option<Box<dyn Held>>, Error>;

    /// The keys that begin so; none where the store cannot list them.
    ///
    /// # Errors
    /// `STORE_IO`
    fn list(&self, prefix: &str, may: MayBlock) -> Result<Option<Vec<String>>, Error>;
}

/// A held lock. Dropping it frees it.
pub(crate) trait Held: Send + Sync {
    /// Whether it ended by itself.
    fn is_lost(&self) -> bool;
}

/// A plugin's store, and what was read of it just now.
#[derive(Clone)]
pub(crate) struct PluginStore {
    id: u32,
    pub(super) keeper: Arc<dyn Keeper>,
    clock: SharedClock,
    /// The recent states of the few keys that a plugin has.
    recent: Arc<Mutex<Vec<Recent>>>,
    /// The store reports every change, on whichever machine.
    is_live: Arc<AtomicBool>,
}

/// The recent state of a key.
struct Recent {
    key: String,
    /// When it was read, and what was there; none: it has to be read.
    known: Option<(BootInstant, Option<Versioned>)>,
    /// Holds until the store reports a change: it reported them when this was read, and has not stopped since.
    until_told: bool,
    /// A change was reported since.
    is_stale: bool,
    /// How often we have begun to write it, or heard that others have written it.
    writes: u32,
    /// Held while the key is read: other callers use the result.
    reading: Arc<Mutex<()>>,
}

impl PluginStore {
    /// Creates the store with an id that distinguishes it from others.
    pub(crate) fn new(id: u32, keeper: Arc<dyn Keeper>, clock: SharedClock) -> Self {
        Self {
            id,
            keeper,
            clock,
            recent: Arc::default(),
            is_live: Arc::default(),
        }
    }

    /// The store has begun or stopped to report changes. Earlier changes are not reported later.
    pub(crate) fn set_live(&self, is_live: bool) {
        if !is_live {
            for recent in lock(&self.recent).iter_mut() {
                recent.until_told = false;
            }
        }
        self.is_live.store(is_live, Ordering::SeqCst);
    }

    /// The store reports that this key was written.
    pub(crate) fn heard_of(&self, key: &str) {
        let mut all = lock(&self.recent);
        if let Some(recent) = all.iter_mut().find(|recent| recent.key == key) {
            recent.until_told = false;
            recent.is_stale = true;
            // A read that began before may not be kept as the newest.
            recent.writes = recent.writes.wrapping_add(1);
        }
    }

    /// The present mark of that key; `None` where the store reports no changes.
    pub(super) fn mark(&self, key: &str) -> Option<Mark> {
        let writes = self.recent(key, |recent| recent.writes);
        self.is_live.load(Ordering::SeqCst).then(|| Mark {
            store: self.clone(),
            key: key.to_owned(),
            writes,
        })
    }

    /// The keys that begin so; none where the store cannot list them.
    pub(super) fn list(&self, prefix: &str, may: MayBlock) -> Result<Option<Vec<String>>, Error> {
        self.keeper.list(prefix, may)
    }

    /// The id of the store.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Reads the value under that key, as of a second ago or later; while the store fails, the last known one.
    pub(super) fn read_recent(&self, key: &str, look: Look) -> Result<Option<Versioned>, Error> {
        if let Some(kept) = self.known(key) {
            return Ok(kept);
        }
        let Some(may) = look.may_block() else {
            return Err(Error::new(
                ErrorCode::StoreIo,
                format!("{key} has to be read from the plugin's store first. Try again."),
            ));
        };
        let turn = self.recent(key, |recent| Arc::clone(&recent.reading));
        let _turn = lock(&turn);
        if let Some(kept) = self.known(key) {
            return Ok(kept);
        }
        self.read(key, may).or_else(|error| {
            // A database that cannot be reached says nothing against what it said last: a valid token stays one.
            self.recent(key, |recent| {
                let (read, kept) = recent.known.as_mut().ok_or(error)?;
                *read = self.clock.boot();
                recent.is_stale = false;
                recent.until_told = false;
                Ok(kept.clone())
            })
        })
    }

    #[expect(clippy::option_option, reason = "it may be known that nothing is kept")]
    fn known(&self, key: &str) -> Option<Option<Versioned>> {
        let now = self.clock.boot();
        let is_live = self.is_live.load(Ordering::SeqCst);
        self.recent(key, |recent| {
            let (read, kept) = recent.known.as_ref()?;
            let is_recent = !recent.is_stale && now.since(*read) < RECENT;
            (is_recent || is_live && recent.until_told).then(|| kept.clone())
        })
    }

    /// Reads the value under that key now.
    pub(super) fn read(&self, key: &str, may: MayBlock) -> Result<Option<Versioned>, Error> {
        let now = self.clock.boot();
        let is_live = self.is_live.load(Ordering::SeqCst);
        let writes = self.recent(key, |recent| recent.writes);
        let kept = self.keeper.read(key, may)?;
        self.recent(key, |recent| {
            // A write, or another read, since this one began is newer.
            let is_newest = recent.known.as_ref().is_none_or(|(read, _)| *read <= now);
            if recent.writes == writes && is_newest {
                recent.known = Some((now, kept.clone()));
                recent.until_told = is_live && self.is_live.load(Ordering::SeqCst);
                recent.is_stale = false;
            }
        });
        Ok(kept)
    }

    pub(super) fn write(
        &self,
        key: &str,
        document: &Document,
        expected: Option<&str>,
        may: MayBlock,
    ) -> Result<Option<Versioned>, Error> {
        self.put(key, as_value(document.to_json()), expected, may)
    }

    pub(super) fn put(
        &self,
        key: &str,
        value: Secret,
        expected: Option<&str>,
        may: MayBlock,
    ) -> Result<Option<Versioned>, Error> {
        // The earlier value need not hold any more, even if the write fails.
        self.recent(key, |recent| {
            recent.known = None;
            recent.until_told = false;
            recent.writes = recent.writes.wrapping_add(1);
        });
        let version = self.keeper.write(key, &value, expected, may)?;
        Ok(version.map(|version| {
            let kept = Versioned { value, version };
            let known = Some((self.clock.boot(), Some(kept.clone())));
            self.recent(key, |recent| {
                recent.known = known;
                // The value is read once more: another writer may have replaced it, and its report may have arrived
                // before this.
                recent.is_stale = false;
            });
            kept
        }))
    }

    /// Changes a small document, again if another was faster. `edit` says whether there is anything to write.
    pub(super) fn change(
        &self,
        key: &str,
        may: MayBlock,
        mut edit: impl FnMut(Option<&[u8]>) -> Result<Option<Secret>, Error>,
    ) -> Result<(), Error> {
        for _ in 0..TRIES {
            let kept = self.read(key, may)?;
            let (value, version) = match &kept {
                Some(kept) => (
                    Some(kept.value.expose().as_bytes()),
                    Some(kept.version.as_str()),
                ),
                None => (None, None),
            };
            let Some(new) = edit(value)? else {
                return Ok(());
            };
            if self.put(key, new, version, may)?.is_some() {
                return Ok(());
            }
        }
        Err(keeps_changing(key))
    }

    /// Keeps a damaged value under another key; one that is there already is the same, of a try before.
    pub(super) fn set_aside(
        &self,
        key: &str,
        value: &[u8],
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<(), Error> {
        let aside = format!("{key}.corrupt-{}", now.0);
        let value = Secret::new(String::from_utf8_lossy(value).into_owned());
        self.put(&aside, value, None, may).map(drop)
    }

    fn recent<T>(&self, key: &str, look: impl FnOnce(&mut Recent) -> T) -> T {
        let mut all = lock(&self.recent);
        if let Some(recent) = all.iter_mut().find(|recent| recent.key == key) {
            return look(recent);
        }
        let mut recent = Recent {
            key: key.to_owned(),
            known: None,
            until_told: false,
            is_stale: false,
            writes: 0,
            reading: Arc::default(),
        };
        let outcome = look(&mut recent);
        all.push(recent);
        outcome
    }
}

/// The known state of a key at a moment. Later reads may rely on it.
pub(super) struct Mark {
    store: PluginStore,
    key: String,
    writes: u32,
}

impl Mark {
    /// Whether nothing was written since, on any machine, and the store would have reported it.
    pub(super) fn holds(&self) -> bool {
        let is_same = |recent: &mut Recent| recent.until_told && recent.writes == self.writes;
        self.store.is_live.load(Ordering::SeqCst) && self.store.recent(&self.key, is_same)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for PluginStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginStore({})", self.id)
    }
}

impl PartialEq for PluginStore {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for PluginStore {}

impl Hash for PluginStore {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// A text in JSON, as it is kept.
pub(super) fn as_value(mut json: Zeroizing<Vec<u8>>) -> Secret {
    // Printed from strings, so it is UTF-8.
    Secret::new(String::from_utf8(std::mem::take(&mut *json)).unwrap_or_default())
}

pub(super) fn keeps_changing(key: &str) -> Error {
    Error::new(
        ErrorCode::StoreLocked,
        format!("{key} keeps changing in the plugin's store while it is written. Try again."),
    )
}

/// A value in a plugin's store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) store: PluginStore,
    pub(super) key: String,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::time::{Clock, TestClock};

    /// Answers a first read late, with what there was when it began.
    struct Slow {
        value: Mutex<Versioned>,
        began: Sender<()>,
        go_on: Mutex<Option<Receiver<()>>>,
    }

    fn slow(began: Sender<()>, go_on: Receiver<()>) -> PluginStore {
        let value = Versioned {
            value: Secret::from("old"),
            version: "1".to_owned(),
        };
        let keeper = Slow {
            value: Mutex::new(value),
            began,
            go_on: Mutex::new(Some(go_on)),
        };
        PluginStore::new(0, Arc::new(keeper), SharedClock::of_system())
    }

    impl Keeper for Slow {
        fn list(&self, _: &str, _: MayBlock) -> Result<Option<Vec<String>>, Error> {
            Ok(None)
        }

        fn read(&self, _key: &str, _: MayBlock) -> Result<Option<Versioned>, Error> {
            let kept = lock(&self.value).clone();
            let go_on = lock(&self.go_on).take();
            if let Some(go_on) = go_on {
                self.began.send(()).unwrap();
                go_on.recv().unwrap();
            }
            Ok(Some(kept))
        }

        fn write(
            &self,
            _key: &str,
            value: &Secret,
            _expected: Option<&str>,
            _: MayBlock,
        ) -> Result<Option<String>, Error> {
            let version = "2".to_owned();
            *lock(&self.value) = Versioned {
                value: value.clone(),
                version: version.clone(),
            };
            Ok(Some(version))
        }

        fn try_lock(&self, _key: &str, _: MayBlock) -> Result<Option<Box<dyn Held>>, Error> {
            Ok(None)
        }
    }

    /// Counts how often it is asked.
    struct Counting(AtomicU32);

    impl Keeper for Counting {
        fn list(&self, _: &str, _: MayBlock) -> Result<Option<Vec<String>>, Error> {
            Ok(None)
        }

        fn read(&self, _key: &str, _: MayBlock) -> Result<Option<Versioned>, Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(None)
        }

        fn write(
            &self,
            _key: &str,
            _value: &Secret,
            _expected: Option<&str>,
            _: MayBlock,
        ) -> Result<Option<String>, Error> {
            Ok(None)
        }

        fn try_lock(&self, _key: &str, _: MayBlock) -> Result<Option<Box<dyn Held>>, Error> {
            Ok(None)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_is_believed_for_a_second() {
        let keeper = Arc::new(Counting(AtomicU32::new(0)));
        let clock = Arc::new(TestClock::starting_at(UnixMillis(0))) as Arc<dyn Clock>;
        let store = PluginStore::new(0, Arc::clone(&keeper) as Arc<dyn Keeper>, clock.into());
        let asked = || keeper.0.load(Ordering::SeqCst);
        let recent = |look| store.read_recent("k", look);
        assert!(recent(Look::SHORT).is_err());
        assert_eq!((recent(Look::LONG), asked()), (Ok(None), 1));
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(
            (recent(Look::SHORT), recent(Look::LONG), asked()),
            (Ok(None), Ok(None), 1)
        );
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(recent(Look::SHORT).is_err());
        assert_eq!((recent(Look::LONG), asked()), (Ok(None), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_holds_until_a_change_is_reported_and_no_report_was_missed() {
        let keeper = Arc::new(Counting(AtomicU32::new(0)));
        let clock = Arc::new(TestClock::starting_at(UnixMillis(0))) as Arc<dyn Clock>;
        let store = PluginStore::new(0, Arc::clone(&keeper) as Arc<dyn Keeper>, clock.into());
        let asked = || keeper.0.load(Ordering::SeqCst);
        let later = || tokio::time::advance(Duration::from_hours(1));
        let read = || store.read_recent("k", Look::LONG).unwrap();
        assert!(store.mark("k").is_none());
        read();
        store.set_live(true);
        later().await;
        read();
        assert_eq!(asked(), 2, "read before changes were reported");
        let mark = store.mark("k").unwrap();
        later().await;
        read();
        assert_eq!((asked(), mark.holds()), (2, true));

        store.heard_of("another");
        assert!(mark.holds());
        store.heard_of("k");
        assert!(!mark.holds());
        read();
        assert_eq!(
            (asked(), mark.holds()),
            (3, false),
            "read again, and at once"
        );

        let mark = store.mark("k").unwrap();
        assert!(mark.holds());
        store.set_live(false);
        store.set_live(true);
        assert!(!mark.holds(), "who knows what was not reported");
        later().await;
        read();
        assert_eq!(asked(), 4);
    }

    #[test]
    fn a_change_that_is_reported_during_a_read_makes_it_none_of_the_newest() {
        let (began, has_begun) = channel();
        let (release, go_on) = channel();
        let store = slow(began, go_on);
        store.set_live(true);
        let reader = std::thread::spawn({
            let store = store.clone();
            move || store.read_recent("k", Look::LONG).unwrap()
        });
        has_begun.recv().unwrap();
        store.heard_of("k");
        release.send(()).unwrap();
        reader.join().unwrap();
        assert!(!store.mark("k").unwrap().holds());
        assert!(
            store.read_recent("k", Look::SHORT).is_err(),
            "it has to be read"
        );
    }

    #[test]
    fn a_slow_read_that_began_before_our_write_does_not_hide_it() {
        let (began, has_begun) = channel();
        let (release, go_on) = channel();
        let store = slow(began, go_on);
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| store.read_recent("k", Look::LONG).unwrap().unwrap());
            has_begun.recv().unwrap();
            store
                .put("k", Secret::from("new"), Some("1"), MayBlock::in_test())
                .unwrap();
            release.send(()).unwrap();
            assert_eq!(slow.join().unwrap().value.expose(), "old");
        });
        let now = store.read_recent("k", Look::LONG).unwrap().unwrap();
        assert_eq!(now.value.expose(), "new");
    }
}
