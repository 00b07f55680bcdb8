//! A store that the plugin gives instead of files: documents under keys, each with a version, and a lock for each.
//!
//! The lock keeps others from refreshing at the same time. What keeps a holder that has lost it without noticing from
//! doing harm is the version: nothing is written over what was not read. Room for the result of a refresh is a write of
//! the document as it is; the version that this gives is the one that the result has to find.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::format::{self, Document};
use crate::store::outcome::{Removed, SaveFailure, Saved};
use crate::time::{BootInstant, Clock as _, SystemClock, UnixMillis};

/// How long what was read is believed.
const RECENT: Duration = Duration::from_secs(1);

/// How often others may be faster before something must be wrong.
const TRIES: usize = 20;

/// A value and the version that it has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Versioned {
    pub(crate) value: Secret,
    pub(crate) version: String,
}

/// What the plugin gave. All of it may block.
pub(crate) trait Keeper: Send + Sync {
    /// What is kept under that key.
    ///
    /// # Errors
    /// `STORE_IO`
    fn read(&self, key: &str, may: MayBlock) -> Result<Option<Versioned>, Error>;

    /// Keeps a value if the key has that version, or nothing yet. Its new version; none if another was faster.
    ///
    /// # Errors
    /// `STORE_IO`; it may have been written all the same.
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
}

/// A held lock. Dropping it frees it.
pub(crate) trait Held: Send + Sync {
    /// Whether it ended by itself.
    fn is_lost(&self) -> bool;
}

/// A plugin's store, and what was read of it just now.
#[derive(Clone)]
pub(crate) struct GivenStore {
    id: u32,
    keeper: Arc<dyn Keeper>,
    /// Of the few keys that a plugin has.
    recent: Arc<Mutex<Vec<Recent>>>,
}

/// What is known of a key.
struct Recent {
    key: String,
    /// When it was read, and what was there; none: it has to be read.
    known: Option<(BootInstant, Option<Versioned>)>,
    /// How often we have begun to write it.
    writes: u32,
    /// Held while it is read: whoever comes meanwhile uses what that gives.
    reading: Arc<Mutex<()>>,
}

impl GivenStore {
    /// The one of that number, by which it is told from others.
    pub(crate) fn new(id: u32, keeper: Arc<dyn Keeper>) -> Self {
        Self {
            id,
            keeper,
            recent: Arc::default(),
        }
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// What is kept under that key, as of a second ago or later; what it last was, while the store fails.
    pub(super) fn read_recent(
        &self,
        key: &str,
        may: Option<MayBlock>,
    ) -> Result<Option<Versioned>, Error> {
        if let Some(kept) = self.known(key) {
            return Ok(kept);
        }
        let Some(may) = may else {
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
                *read = SystemClock.boot();
                Ok(kept.clone())
            })
        })
    }

    #[expect(clippy::option_option, reason = "it may be known that nothing is kept")]
    fn known(&self, key: &str) -> Option<Option<Versioned>> {
        let now = SystemClock.boot();
        self.recent(key, |recent| {
            let (read, kept) = recent.known.as_ref()?;
            (now.since(*read) < RECENT).then(|| kept.clone())
        })
    }

    /// What is kept under that key now.
    fn read(&self, key: &str, may: MayBlock) -> Result<Option<Versioned>, Error> {
        let now = SystemClock.boot();
        let writes = self.recent(key, |recent| recent.writes);
        let kept = self.keeper.read(key, may)?;
        self.recent(key, |recent| {
            // What we wrote, or another read, since this one began is newer.
            let is_newest = recent.known.as_ref().is_none_or(|(read, _)| *read <= now);
            if recent.writes == writes && is_newest {
                recent.known = Some((now, kept.clone()));
            }
        });
        Ok(kept)
    }

    fn write(
        &self,
        key: &str,
        document: &Document,
        expected: Option<&str>,
        may: MayBlock,
    ) -> Result<Option<Versioned>, Error> {
        self.put(key, as_value(document), expected, may)
    }

    fn put(
        &self,
        key: &str,
        value: Secret,
        expected: Option<&str>,
        may: MayBlock,
    ) -> Result<Option<Versioned>, Error> {
        // Whatever comes of it, what was read before need not hold any more.
        self.recent(key, |recent| {
            recent.known = None;
            recent.writes = recent.writes.wrapping_add(1);
        });
        let version = self.keeper.write(key, &value, expected, may)?;
        Ok(version.map(|version| {
            let kept = Versioned { value, version };
            let known = Some((SystemClock.boot(), Some(kept.clone())));
            self.recent(key, |recent| recent.known = known);
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
            writes: 0,
            reading: Arc::default(),
        };
        let outcome = look(&mut recent);
        all.push(recent);
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for GivenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GivenStore({})", self.id)
    }
}

impl PartialEq for GivenStore {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for GivenStore {}

impl Hash for GivenStore {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// What is kept under a key of a given store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(super) store: GivenStore,
    pub(super) key: String,
}

/// Reads without a lock, as of a second ago or later.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
pub(super) fn read(slot: &Slot, may: Option<MayBlock>) -> Result<Stored, Error> {
    match slot.store.read_recent(&slot.key, may)? {
        Some(kept) => Ok(parse(&kept, &slot.key)?.0),
        None => Ok(Stored::Nothing),
    }
}

fn parse(kept: &Versioned, key: &str) -> Result<(Stored, Document), Error> {
    let (stored, document) = format::parse(kept.value.expose().as_bytes(), Path::new(key))?;
    match stored {
        // Another machine's keychain cannot be asked.
        Stored::Sealed(_) => Err(format::corrupt(
            Path::new(key),
            "its tokens are said to lie in a keychain",
        )),
        stored => Ok((stored, document)),
    }
}

/// A held lock with the credential as it was read under it. Dropping it unlocks.
pub(super) struct GivenLock {
    held: Box<dyn Held>,
    slot: Slot,
    seen: Seen,
}

/// What the store says.
struct Seen {
    stored: Stored,
    document: Document,
    kept: Option<Versioned>,
    is_corrupt: bool,
}

/// The version that the result of a refresh has to find.
#[derive(Debug)]
pub(super) struct Reserved {
    version: String,
}

impl GivenLock {
    pub(super) fn try_acquire(slot: &Slot, may: MayBlock) -> Result<Option<Self>, Error> {
        let Some(held) = slot.store.keeper.try_lock(&slot.key, may)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            held,
            slot: slot.clone(),
            seen: Seen::look(slot, may)?,
        }))
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.seen.stored
    }

    pub(super) fn reserve(&mut self, may: MayBlock) -> Result<Reserved, Error> {
        self.require_lock()?;
        let value = match &self.seen.kept {
            Some(kept) => kept.value.clone(),
            // Nobody is logged in, then and now.
            None => as_value(&Document::of_logout(UnixMillis::default())),
        };
        let Some(kept) = self
            .slot
            .store
            .put(&self.slot.key, value, self.version(), may)?
        else {
            return Err(keeps_changing(&self.slot.key));
        };
        let version = kept.version.clone();
        self.seen.kept = Some(kept);
        // Others may have had it while this was written.
        self.require_lock()?;
        Ok(Reserved { version })
    }

    pub(super) fn save(
        &mut self,
        reserved: Reserved,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<Saved, SaveFailure<Reserved>> {
        let kept_refresh = self.seen.stored.credential().and_then(Snapshot::refresh);
        let document =
            Document::of_credential(self.seen.document.clone(), credential, kept_refresh, None);
        let expected = Some(reserved.version.as_str());
        let refusal = match self
            .slot
            .store
            .write(&self.slot.key, &document, expected, may)
        {
            Ok(Some(kept)) => {
                self.seen = Seen::of(Some(kept), &self.slot.key).map_err(|error| SaveFailure {
                    error,
                    reserved: None,
                })?;
                return Ok(Saved::Written);
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        // It may have been written all the same, and only the word of it was lost: then this finds it.
        match (Seen::look(&self.slot, may), refusal) {
            (Ok(now), Some(error)) if now.version() == expected => Err(SaveFailure {
                error,
                reserved: Some(reserved),
            }),
            (Ok(now), _) => {
                self.seen = now;
                Ok(Saved::Superseded)
            }
            (Err(_), Some(error)) | (Err(error), None) => Err(SaveFailure {
                error,
                reserved: Some(reserved),
            }),
        }
    }

    pub(super) fn store_login(
        &mut self,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<(), Error> {
        let document = Document::of_credential(Document::default(), credential, None, None);
        self.overwrite(&document, credential.refreshed_at, may)
    }

    pub(super) fn record_failure(
        &mut self,
        last_refresh: &LastRefresh,
        may: MayBlock,
    ) -> Result<(), Error> {
        if self.seen.stored.outline().is_none() {
            return Ok(());
        }
        let document = self.seen.document.clone().with_last_refresh(last_refresh);
        let written = self
            .slot
            .store
            .write(&self.slot.key, &document, self.version(), may)?;
        self.seen = match written {
            Some(kept) => Seen::of(Some(kept), &self.slot.key)?,
            None => Seen::look(&self.slot, may)?,
        };
        Ok(())
    }

    pub(super) fn log_out(
        &mut self,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<Option<Removed>, Error> {
        let removed = self.seen.stored.credential().map(Removed::of);
        if self.seen.stored != Stored::LoggedOut {
            self.overwrite(&Document::of_logout(now), now, may)?;
        }
        Ok(removed)
    }

    /// Writes a document whatever the store holds by now; a damaged value is kept under another key.
    fn overwrite(
        &mut self,
        document: &Document,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<(), Error> {
        let Slot { store, key } = &self.slot;
        for _ in 0..TRIES {
            if let Some(damaged) = self.seen.kept.as_ref().filter(|_| self.seen.is_corrupt) {
                store.set_aside(key, damaged.value.expose().as_bytes(), now, may)?;
            }
            let version = self.seen.kept.as_ref().map(|kept| kept.version.as_str());
            if let Some(kept) = store.write(key, document, version, may)? {
                self.seen = Seen::of(Some(kept), key)?;
                return Ok(());
            }
            self.seen = Seen::look(&self.slot, may)?;
        }
        Err(keeps_changing(key))
    }

    fn version(&self) -> Option<&str> {
        self.seen.version()
    }

    fn require_lock(&self) -> Result<(), Error> {
        if !self.held.is_lost() {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::StoreLocked,
            format!(
                "The lock of {} ended while it was held. Nothing was sent; try again.",
                self.slot.key
            ),
        ))
    }
}

impl fmt::Debug for GivenLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenLock")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Seen {
    fn look(slot: &Slot, may: MayBlock) -> Result<Self, Error> {
        Self::of(slot.store.read(&slot.key, may)?, &slot.key)
    }

    fn of(kept: Option<Versioned>, key: &str) -> Result<Self, Error> {
        let parsed = kept.as_ref().map(|kept| parse(kept, key)).transpose();
        let (parsed, is_corrupt) = match parsed {
            Ok(parsed) => (parsed, false),
            Err(error) if error.code() == ErrorCode::StoreCorrupt => (None, true),
            Err(error) => return Err(error),
        };
        let (stored, document) = parsed.unwrap_or((Stored::Nothing, Document::default()));
        Ok(Self {
            stored,
            document,
            kept,
            is_corrupt,
        })
    }

    fn version(&self) -> Option<&str> {
        self.kept.as_ref().map(|kept| kept.version.as_str())
    }
}

/// The text of a document, as it is kept.
pub(super) fn as_value(document: &Document) -> Secret {
    let mut bytes = document.to_json();
    // Printed from strings, so it is UTF-8.
    Secret::new(String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_default())
}

fn keeps_changing(key: &str) -> Error {
    Error::new(
        ErrorCode::StoreLocked,
        format!("{key} keeps changing in the plugin's store while it is written. Try again."),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Answers a first read late, with what there was when it began.
    struct Slow {
        value: Mutex<Versioned>,
        began: Sender<()>,
        go_on: Mutex<Option<Receiver<()>>>,
    }

    impl Keeper for Slow {
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

    #[test]
    fn a_slow_read_that_began_before_our_write_does_not_hide_it() {
        let (began, has_begun) = channel();
        let (release, go_on) = channel();
        let store = GivenStore::new(
            0,
            Arc::new(Slow {
                value: Mutex::new(Versioned {
                    value: Secret::from("old"),
                    version: "1".to_owned(),
                }),
                began,
                go_on: Mutex::new(Some(go_on)),
            }),
        );
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| {
                store
                    .read_recent("k", Some(MayBlock::in_test()))
                    .unwrap()
                    .unwrap()
            });
            has_begun.recv().unwrap();
            store
                .put("k", Secret::from("new"), Some("1"), MayBlock::in_test())
                .unwrap();
            release.send(()).unwrap();
            assert_eq!(slow.join().unwrap().value.expose(), "old");
        });
        let now = store
            .read_recent("k", Some(MayBlock::in_test()))
            .unwrap()
            .unwrap();
        assert_eq!(now.value.expose(), "new");
    }
}
