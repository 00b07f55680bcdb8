//! Credentials in memory, checked against their files at every call: a login, logout or refresh by another process
//! is seen at the next one.
//!
//! On a local file system the check is one `fstat` of an open descriptor: a replaced or removed file has lost its
//! link, a rewritten one has other times. A folder or link that leads elsewhere escapes `fstat`; the path is checked
//! for that once a second. A file that was written just before it was read may have been written again within the same
//! tick of the kernel's clock: it is read once more.
//!
//! A caller checks its credential through its own [`Watch`]: one system call, no lock, no other thread.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use crate::blocking::{Look, MayBlock};
use crate::error::Error;
use crate::fs::identity::{self, Identity};
use crate::fs::regular_file::RegularFile;
use crate::store::credential::{Outline, Snapshot, Stored};
use crate::store::key::{ByName, Key};
use crate::store::location::Location;
use crate::store::plugin_store::Mark;
use crate::store::profiles::{MOST_AT_A_GLANCE, profiles};
use crate::store::reading;
use crate::store::sealed;
use crate::time::{BootInstant, SharedClock};

/// Descriptors that are held at once; other slots ask for path metadata.
const HELD: usize = 64;

/// How often the path itself is looked at while a descriptor is held.
const PATH_CHECK: Duration = Duration::from_secs(1);

/// A place in the cache, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SlotId(pub(crate) u32);

/// The table of all credentials that this process uses.
pub(crate) struct Cache {
    slots: RwLock<Slots>,
    /// The folder that was listed last.
    listed: Mutex<Option<Listed>>,
    clock: SharedClock,
}

#[derive(Default)]
struct Slots {
    by_location: ByName<Location, (SlotId, Arc<Slot>)>,
    all: Vec<Arc<Slot>>,
}

/// The cached contents of one location.
pub(crate) struct Slot {
    location: Location,
    key: Key,
    state: Mutex<State>,
}

/// The logins of a folder, for as long as its identity shows that none came or went.
struct Listed {
    folder: PathBuf,
    identity: Identity,
    slots: Arc<[Arc<Slot>]>,
}

/// Logins that are read one after another.
pub(crate) struct Listing {
    /// The places of the logins.
    pub(crate) slots: Arc<[Arc<Slot>]>,
    /// Their folder, where there are more of them than are held open: from there the kernel finds them sooner.
    folder: Option<File>,
}

#[derive(Default)]
struct State {
    /// Counts the contents that were loaded; 0 before the first.
    generation: u32,
    /// The last contents that could be read.
    stored: Option<Stored>,
    /// The check whether the contents are current; `None` after a failure, which is never cached.
    check: Option<Check>,
    last_used: BootInstant,
}

struct Check {
    /// `None`: there was no file.
    identity: Option<Identity>,
    held: Option<Arc<File>>,
    /// Also where too many others are held.
    is_local: bool,
    is_racy: bool,
    /// The note that was read as well.
    note: Option<Box<SeenNote>>,
    path_checked: BootInstant,
}

/// Checks whether contents are still the stored ones: one system call. A folder or link that leads elsewhere escapes
/// it, so its holder reads again after a second.
pub(crate) struct Watch(Watching);

enum Watching {
    File {
        identity: Identity,
        on: Watched,
        note: Option<Box<SeenNote>>,
    },
    Store(Mark),
}

enum Watched {
    /// Only the cache keeps it open.
    Held(Weak<File>),
    Path(PathBuf),
}

impl Watch {
    /// False also when the cache has closed the descriptor.
    pub(crate) fn holds(&self) -> bool {
        let (identity, on, note) = match &self.0 {
            Watching::File { identity, on, note } => (identity, on, note),
            Watching::Store(mark) => return mark.holds(),
        };
        if note.as_ref().is_some_and(|note| note.has_changed()) {
            return false;
        }
        match on {
            Watched::Held(file) => file
                .upgrade()
                .is_some_and(|file| Identity::of_file(&file).is_ok_and(|now| now == *identity)),
            Watched::Path(path) => Identity::of_path(path).is_ok_and(|now| now == Some(*identity)),
        }
    }
}

impl Cache {
    /// An empty table. Files have the times of that clock.
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self {
            slots: RwLock::default(),
            listed: Mutex::default(),
            clock,
        }
    }

    /// The place of that location.
    pub(crate) fn slot(&self, location: &Location) -> SlotId {
        self.place(location).0
    }

    /// The place of that location, with its contents: in one look into the table, where it is known.
    fn place(&self, location: &Location) -> (SlotId, Arc<Slot>) {
        let known = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            slots.by_location.get(location).cloned()
        };
        known.unwrap_or_else(|| self.new_place(location))
    }

    fn new_place(&self, location: &Location) -> (SlotId, Arc<Slot>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = slots.by_location.get(location) {
            return known.clone();
        }
        let id = SlotId(u32::try_from(slots.all.len()).unwrap_or(u32::MAX));
        let slot = Arc::new(Slot {
            location: location.clone(),
            key: location.key(),
            state: Mutex::default(),
        });
        slots.all.push(Arc::clone(&slot));
        let place = (id, slot);
        slots.by_location.insert(location.clone(), place.clone());
        place
    }

    /// Reads the stored contents, with a number that changes whenever other contents are loaded.
    ///
    /// # Errors
    /// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`; the next call reads again.
    pub(crate) fn read(
        &self,
        location: &Location,
        look: Look,
        boot_now: BootInstant,
    ) -> Result<(Stored, u32), Error> {
        self.read_slot(&self.slot_of(location), None, look, boot_now)
    }

    /// Reads one login of several.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_slot(
        &self,
        slot: &Slot,
        of: Option<&Listing>,
        look: Look,
        boot_now: BootInstant,
    ) -> Result<(Stored, u32), Error> {
        let folder = of.and_then(|of| of.folder.as_ref());
        match look.may_block() {
            Some(may) => reading::patiently(&slot.location, may, || {
                self.read_once(slot, folder, look, boot_now)
            }),
            None => self.read_once(slot, folder, look, boot_now),
        }
    }

    fn read_once(
        &self,
        slot: &Slot,
        folder: Option<&File>,
        look: Look,
        boot_now: BootInstant,
    ) -> Result<(Stored, u32), Error> {
        let location = &slot.location;
        let Some(file) = location.file() else {
            // A plugin's store is asked through the thread of JavaScript, which must not wait here meanwhile.
            let stored = reading::read(location, look)?;
            return Ok(slot.lock().keep(stored));
        };
        let (outcome, holds) = {
            let mut state = slot.lock();
            state.last_used = boot_now;
            if state.is_unchanged(file, folder, boot_now)
                && let Some(stored) = &state.stored
            {
                return Ok((stored.clone(), state.generation));
            }
            let outcome = state.load(location, look, &self.clock, boot_now);
            if let (Some(_), Some(check)) = (folder, &mut state.check) {
                check.held = None;
            }
            (outcome, state.is_holding())
        };
        if holds {
            self.let_go_of_oldest();
        }
        outcome
    }

    /// Reads the credential with its secrets; the keychain is asked for them once. That blocks, but no other reader
    /// waits.
    ///
    /// # Errors
    /// As [`reading::opened`].
    pub(crate) fn opened(
        &self,
        location: &Location,
        sealed: Arc<Outline>,
        may: MayBlock,
    ) -> Result<Snapshot, Error> {
        let snapshot = reading::opened(location, sealed, may)?;
        if sealed::CAN_OPEN {
            let slot = self.slot_of(location);
            let mut state = slot.lock();
            let opening = state.stored.as_ref().and_then(|now| snapshot.opening(now));
            if opening.is_some() {
                state.stored = opening;
            }
        }
        Ok(snapshot)
    }

    /// The credential of that generation, with the name of its login; `None` once others were loaded, or it was
    /// dropped.
    pub(crate) fn credential(&self, slot: SlotId, generation: u32) -> Option<(Key, Snapshot)> {
        let slot = self.at(slot)?;
        let state = slot.lock();
        match &state.stored {
            Some(Stored::Credential(credential)) if state.generation == generation => {
                Some((slot.key.clone(), credential.clone()))
            }
            _ => None,
        }
    }

    /// Whether what is stored there can be said without waiting: it was read from a local disk, and has not changed
    /// since.
    pub(crate) fn is_at_hand(&self, location: &Location, boot_now: BootInstant) -> bool {
        self.slot_of(location).is_at_hand(boot_now)
    }

    /// The logins that [`profiles`] finds beside that one.
    ///
    /// # Errors
    /// As [`profiles`].
    pub(crate) fn list(&self, location: &Location, look: Look) -> Result<Option<Listing>, Error> {
        let before = self.clock.now();
        let path = location.own_folder();
        let folder = path.and_then(identity::local_folder);
        let identity = folder
            .as_ref()
            .and_then(|folder| Identity::of_file(folder).ok());
        let known = identity.zip(path).and_then(|(identity, path)| {
            let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
            let listed = listed.as_ref()?;
            (listed.identity == identity && listed.folder == path)
                .then(|| Arc::clone(&listed.slots))
        });
        let slots = if let Some(known) = known {
            if known.len() > MOST_AT_A_GLANCE && look.may_block().is_none() {
                return Ok(None);
            }
            known
        } else {
            let Some((locations, has_links)) = profiles(location, look)? else {
                return Ok(None);
            };
            let slots: Arc<[_]> = locations.iter().map(|one| self.slot_of(one)).collect();
            // The target of a link may become another kind of file without a trace in the folder.
            if let (Some(identity), Some(path), false) = (identity, path, has_links)
                && !identity.is_racy(before, self.clock.now())
            {
                let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
                *listed = Some(Listed {
                    folder: path.to_owned(),
                    identity,
                    slots: Arc::clone(&slots),
                });
            }
            slots
        };
        Ok(Some(Listing {
            folder: folder.filter(|_| slots.len() > HELD),
            slots,
        }))
    }

    /// These logins, wherever they are.
    pub(crate) fn listing(&self, locations: &[Location]) -> Listing {
        Listing {
            slots: locations.iter().map(|one| self.slot_of(one)).collect(),
            folder: None,
        }
    }

    /// Drops the contents of that location: a logout leaves no token in memory.
    pub(crate) fn forget(&self, location: &Location) {
        let slot = self.slot_of(location);
        let mut state = slot.lock();
        state.stored = None;
        state.check = None;
    }

    /// Drops the contents and descriptors of files that were replaced or removed since; true while any other
    /// descriptor is open.
    pub(crate) fn let_go_of_replaced(&self) -> bool {
        let all = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            slots.all.clone()
        };
        let mut is_any_held = false;
        for slot in all {
            // One that is busy is being looked at.
            let Ok(mut state) = slot.state.try_lock() else {
                is_any_held = true;
                continue;
            };
            let Some(check) = state.check.as_ref().filter(|check| check.held.is_some()) else {
                continue;
            };
            let is_same = slot
                .location
                .file()
                .is_some_and(|file| Identity::of_path(file).is_ok_and(|now| now == check.identity));
            if is_same {
                is_any_held = true;
            } else {
                state.stored = None;
                state.check = None;
            }
        }
        is_any_held
    }

    /// A watch on the contents of that generation. `None` where only reading can check them: there is no file, others
    /// were loaded since, or the file was written just before it was read.
    pub(crate) fn watch(&self, slot: SlotId, generation: u32) -> Option<Watch> {
        let slot = self.at(slot)?;
        let state = slot.lock();
        let check = state.check.as_ref()?;
        if generation == 0 || state.generation != generation || check.is_racy {
            return None;
        }
        let on = match &check.held {
            Some(file) => Watched::Held(Arc::downgrade(file)),
            None => Watched::Path(slot.location.file()?.to_owned()),
        };
        Some(Watch(Watching::File {
            identity: check.identity?,
            on,
            note: check.note.clone(),
        }))
    }

    /// A watch on a login in a plugin's store that reports changes, for later reads.
    pub(crate) fn watch_store(location: &Location) -> Option<Watch> {
        location.mark().map(Watching::Store).map(Watch)
    }

    /// The place of that location, with its contents.
    pub(crate) fn slot_of(&self, location: &Location) -> Arc<Slot> {
        self.place(location).1
    }

    fn at(&self, slot: SlotId) -> Option<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.all.get(usize::try_from(slot.0).ok()?).cloned()
    }

    /// Closes the descriptors that were not used for the longest time, until few enough are held.
    fn let_go_of_oldest(&self) {
        let all = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            slots.all.clone()
        };
        // A busy entry may wait for a network disk: no other caller should wait with it.
        let mut holding: Vec<_> = all
            .iter()
            .filter_map(|slot| {
                let state = slot.state.try_lock().ok()?;
                state.is_holding().then_some((state.last_used, slot))
            })
            .collect();
        let Some(excess) = holding.len().checked_sub(HELD) else {
            return;
        };
        holding.sort_by_key(|(last_used, _)| *last_used);
        for (_, slot) in holding.into_iter().take(excess) {
            if let Ok(mut state) = slot.state.try_lock()
                && let Some(check) = &mut state.check
            {
                check.held = None;
            }
        }
    }

    #[cfg(test)]
    fn is_current(&self, slot: SlotId, generation: u32, boot_now: BootInstant) -> bool {
        let watch = self.watch(slot, generation);
        let slot = self.at(slot).unwrap();
        let mut state = slot.lock();
        let is_current = generation != 0
            && state.generation == generation
            && state.is_unchanged(slot.location.file().unwrap(), None, boot_now);
        drop(state);
        if let Some(watch) = watch {
            assert!(watch.holds() || !is_current, "a watch gave a false alarm");
        }
        is_current
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        let slots = self.slots.read().unwrap();
        slots
            .all
            .iter()
            .filter(|slot| slot.lock().is_holding())
            .count()
    }
}

/// A note as it was when the login was read.
#[derive(Clone)]
struct SeenNote {
    path: PathBuf,
    identity: Option<Identity>,
}

impl SeenNote {
    fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            identity: Identity::of_path(path).ok().flatten(),
        }
    }

    /// Whether it has to be read again.
    fn has_changed(&self) -> bool {
        Identity::of_path(&self.path).ok().flatten() != self.identity
    }
}

impl Slot {
    /// The location.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// The name of its login.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether what is stored there can be said without waiting: see [`Cache::is_at_hand`].
    pub(crate) fn is_at_hand(&self, boot_now: BootInstant) -> bool {
        self.location.file().is_some_and(|file| {
            let mut state = self.lock();
            state.check.as_ref().is_some_and(|check| check.is_local)
                && state.is_unchanged(file, None, boot_now)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_holding(&self) -> bool {
        self.check
            .as_ref()
            .is_some_and(|check| check.held.is_some())
    }

    /// Whether the file is what it was when it was loaded. Once it was not, only loading it makes it so again.
    fn is_unchanged(&mut self, path: &Path, folder: Option<&File>, boot_now: BootInstant) -> bool {
        let is_unchanged = self
            .check
            .as_mut()
            .is_some_and(|check| check.holds(path, folder, boot_now));
        if !is_unchanged {
            self.check = None;
        }
        is_unchanged
    }

    fn load(
        &mut self,
        location: &Location,
        look: Look,
        clock: &SharedClock,
        boot_now: BootInstant,
    ) -> Result<(Stored, u32), Error> {
        self.check = None;
        // Before what it is about, so that no newer one is missed.
        let note = location.note().map(|path| Box::new(SeenNote::of(path)));
        let before = clock.now();
        let (stored, file) = reading::find(location, look)?;
        let after = clock.now();
        let kept = self.keep(stored);
        let identity = file.as_ref().map(RegularFile::identity);
        let held = file.and_then(RegularFile::into_held).map(Arc::new);
        // Where no file is, its folder says so.
        let is_local = match (&held, identity, location.file().and_then(Path::parent)) {
            (None, None, Some(folder)) => identity::local_folder(folder).is_some(),
            _ => held.is_some(),
        };
        self.check = Some(Check {
            identity,
            held,
            is_local,
            is_racy: identity.is_some_and(|identity| identity.is_racy(before, after)),
            note,
            path_checked: boot_now,
        });
        Ok(kept)
    }

    /// Keeps what was read, and counts it where it is something else.
    fn keep(&mut self, stored: Stored) -> (Stored, u32) {
        // The secrets are unchanged, so the keychain is not asked again.
        let opened = match &self.stored {
            Some(Stored::Credential(known)) if sealed::CAN_OPEN => known.opening(&stored),
            _ => None,
        };
        let stored = opened.unwrap_or(stored);
        if self.stored.as_ref() != Some(&stored) {
            self.stored = Some(stored.clone());
            self.generation = self.generation.wrapping_add(1).max(1);
        }
        (stored, self.generation)
    }
}

impl Check {
    fn holds(&mut self, path: &Path, folder: Option<&File>, boot_now: BootInstant) -> bool {
        if self.is_racy || self.note.as_ref().is_some_and(|note| note.has_changed()) {
            return false;
        }
        if let Some(held) = &self.held {
            if Identity::of_file(held).ok() != self.identity {
                return false;
            }
            if boot_now.since(self.path_checked) < PATH_CHECK {
                return true;
            }
        }
        self.path_checked = boot_now;
        let named = match folder {
            Some(folder) => Identity::in_folder(folder, path),
            None => Identity::of_path(path),
        };
        named.is_ok_and(|named| named == self.identity)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests lay out files by hand and wait for the kernel's clock"
)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorCode;
    use crate::secret::Secret;
    use crate::store::credential::tests::sample;
    use crate::store::location::tests::{at_path, in_given_store, in_state_dir};
    use crate::store::locked::Locked;
    use crate::store::plugin_store::{Held, Keeper, PluginStore, Versioned};
    use crate::time::{Clock, UnixMillis};

    /// A wall clock far from every file time, so that nothing is racy unless a test wants it.
    struct FarClock(AtomicI64);

    impl Clock for FarClock {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.0.load(Ordering::SeqCst))
        }

        fn boot(&self) -> BootInstant {
            BootInstant::default()
        }
    }

    fn calm() -> Cache {
        Cache::new(SharedClock::from(
            Arc::new(FarClock(AtomicI64::new(0))) as Arc<dyn Clock>
        ))
    }

    fn boot(millis: u64) -> BootInstant {
        BootInstant(Duration::from_millis(millis))
    }

    fn credential_text(access: &str) -> String {
        format!(r#"{{"version":1,"access":"{access}"}}"#)
    }

    fn access(stored: &Stored) -> &str {
        match stored {
            Stored::Credential(snapshot) => snapshot.access().expose(),
            Stored::LoggedOut => "logged out",
            Stored::Sealed(_) => "sealed",
            Stored::Nothing => "nothing",
        }
    }

    fn replace(path: &Path, text: &str) {
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn setup(text: &str) -> (TempDir, Location) {
        let folder = TempDir::new().unwrap();
        let location = at_path(&folder.path().join("c.json"));
        std::fs::write(location.path(), text).unwrap();
        (folder, location)
    }

    #[cfg(unix)]
    #[test]
    fn what_was_replaced_or_removed_is_let_go_of_without_being_read_again() {
        let (_folder, location) = setup(&credential_text("a"));
        let (_other_folder, other) = setup(&credential_text("b"));
        let cache = calm();
        cache.read(&location, Look::SHORT, boot(0)).unwrap();
        cache.read(&other, Look::SHORT, boot(0)).unwrap();
        assert!(cache.let_go_of_replaced());
        assert_eq!(cache.held(), 2);
        replace(location.path(), &credential_text("c"));
        assert!(cache.let_go_of_replaced());
        assert_eq!(cache.held(), 1);
        std::fs::remove_file(other.path()).unwrap();
        assert!(!cache.let_go_of_replaced());
        assert_eq!(cache.held(), 0);
        assert_eq!(
            access(&cache.read(&location, Look::SHORT, boot(0)).unwrap().0),
            "c"
        );
    }

    #[test]
    fn an_unchanged_file_stays_current() {
        let (_folder, location) = setup(&credential_text("a"));
        let cache = calm();
        let slot = cache.slot(&location);
        assert!(!cache.is_current(slot, 0, boot(0)));
        assert!(!cache.is_current(slot, 1, boot(0)));
        let (stored, generation) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
        assert_eq!(access(&stored), "a");
        for at in [0, 999, 1000, 5000] {
            assert!(cache.is_current(slot, generation, boot(at)));
            assert!(!cache.is_current(slot, generation + 1, boot(at)));
        }
        assert_eq!(
            cache.read(&location, Look::SHORT, boot(1)).unwrap().1,
            generation
        );
        assert_eq!(cache.slot(&location), slot);
    }

    #[test]
    fn every_kind_of_change_is_seen_at_the_next_call() {
        let (_folder, location) = setup(&credential_text("a"));
        let path = location.path();
        let cache = calm();
        let slot = cache.slot(&location);
        let seen = |expected: &str| {
            let (stored, generation) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
            assert_eq!(access(&stored), expected);
            assert!(cache.is_current(slot, generation, boot(0)));
            generation
        };
        let mut generations = vec![seen("a")];
        let mut changed = |change: &dyn Fn(), expected: &str| {
            let before = *generations.last().unwrap();
            let watch = cache.watch(slot, before);
            assert!(watch.as_ref().is_none_or(Watch::holds));
            change();
            assert!(!watch.is_some_and(|watch| watch.holds()), "{expected}");
            assert!(!cache.is_current(slot, before, boot(0)), "{expected}");
            generations.push(seen(expected));
        };
        changed(&|| replace(path, &credential_text("b")), "b");
        changed(&|| std::fs::remove_file(path).unwrap(), "nothing");
        changed(&|| std::fs::write(path, credential_text("c")).unwrap(), "c");
        changed(
            &|| replace(path, r#"{"version":1,"loggedOutAt":1}"#),
            "logged out",
        );
        generations.dedup();
        assert_eq!(generations.len(), 5);
    }

    #[test]
    fn the_same_contents_keep_their_generation() {
        let (_folder, location) = setup(&credential_text("a"));
        let cache = calm();
        let slot = cache.slot(&location);
        let (_, generation) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
        replace(location.path(), &credential_text("a"));
        assert!(!cache.is_current(slot, generation, boot(0)));
        assert_eq!(
            cache.read(&location, Look::SHORT, boot(0)).unwrap().1,
            generation
        );
        assert!(cache.is_current(slot, generation, boot(0)));
    }

    #[test]
    fn failures_are_not_cached() {
        let (_folder, location) = setup("damaged");
        let cache = calm();
        let slot = cache.slot(&location);
        for _ in 0..2 {
            let error = cache.read(&location, Look::SHORT, boot(0)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::StoreCorrupt);
            assert!(!cache.is_current(slot, 0, boot(0)));
        }
        replace(location.path(), &credential_text("a"));
        assert_eq!(
            access(&cache.read(&location, Look::SHORT, boot(0)).unwrap().0),
            "a"
        );
        replace(location.path(), "damaged");
        assert!(cache.read(&location, Look::SHORT, boot(0)).is_err());
        assert!(!cache.is_current(slot, 1, boot(0)));
    }

    #[test]
    fn a_file_that_was_just_written_is_read_again() {
        let (_folder, location) = setup(&credential_text("a"));
        let cache = Cache::new(SharedClock::of_system());
        let slot = cache.slot(&location);
        std::fs::write(location.path(), credential_text("a")).unwrap();
        let (_, generation) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
        assert!(!cache.is_current(slot, generation, boot(0)), "racy");
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(
            cache.read(&location, Look::SHORT, boot(0)).unwrap().1,
            generation
        );
        assert!(cache.is_current(slot, generation, boot(0)));
    }

    #[test]
    fn no_write_in_place_of_the_same_size_is_missed() {
        let (_folder, location) = setup(&credential_text("00000"));
        let cache = Cache::new(SharedClock::of_system());
        let slot = cache.slot(&location);
        let mut generation = 0;
        for round in 0..if cfg!(windows) { 300 } else { 10_000_u32 } {
            let text = format!("{round:05}");
            let watch = cache.watch(slot, generation);
            if round % 2 == 0 {
                std::fs::write(location.path(), credential_text(&text)).unwrap();
            } else {
                replace(location.path(), &credential_text(&text));
            }
            assert!(!watch.is_some_and(|watch| watch.holds()), "{round}");
            assert!(!cache.is_current(slot, generation, boot(0)), "{round}");
            let (stored, new) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
            assert_eq!(access(&stored), text);
            assert_ne!(new, generation);
            generation = new;
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_elsewhere_is_seen_within_a_second() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("c.json"), credential_text(name)).unwrap();
        }
        std::os::unix::fs::symlink("one", at("current")).unwrap();
        let location = at_path(&at("current/c.json"));
        let cache = calm();
        let slot = cache.slot(&location);
        let (stored, generation) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
        assert_eq!(access(&stored), "one");
        std::os::unix::fs::symlink("two", at("next")).unwrap();
        std::fs::rename(at("next"), at("current")).unwrap();
        assert!(!cache.is_current(slot, generation, boot(1000)));
        assert_eq!(
            access(&cache.read(&location, Look::SHORT, boot(1000)).unwrap().0),
            "two"
        );
    }

    #[test]
    fn a_moved_state_folder_is_seen_within_a_second() {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(&folder.path().join("state"), "demo", "default");
        let mut locked = Locked::try_acquire(&location, MayBlock::in_test())
            .unwrap()
            .unwrap();
        locked.replace(&sample("a", None)).unwrap();
        let cache = calm();
        let slot = cache.slot(&location);
        let (_, generation) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
        std::fs::rename(folder.path().join("state"), folder.path().join("moved")).unwrap();
        assert!(!cache.is_current(slot, generation, boot(1000)));
        assert_eq!(
            cache.read(&location, Look::SHORT, boot(1000)).unwrap().0,
            Stored::Nothing
        );
    }

    #[test]
    fn a_missing_file_is_cached_until_it_comes() {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(folder.path(), "demo", "default");
        let cache = calm();
        let slot = cache.slot(&location);
        let (stored, generation) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
        assert_eq!(stored, Stored::Nothing);
        assert!(cache.is_current(slot, generation, boot(0)));
        let mut locked = Locked::try_acquire(&location, MayBlock::in_test())
            .unwrap()
            .unwrap();
        assert!(cache.is_current(slot, generation, boot(0)));
        locked.replace(&sample("a", None)).unwrap();
        assert!(!cache.is_current(slot, generation, boot(0)));
        assert_eq!(
            access(&cache.read(&location, Look::SHORT, boot(0)).unwrap().0),
            "a"
        );
    }

    #[test]
    fn few_descriptors_are_held_and_the_others_still_see_changes() {
        let folder = TempDir::new().unwrap();
        let cache = calm();
        let locations: Vec<_> = (0_u64..100)
            .map(|number| {
                let location = at_path(&folder.path().join(format!("{number}.json")));
                std::fs::write(location.path(), credential_text("a")).unwrap();
                cache.read(&location, Look::SHORT, boot(number)).unwrap();
                location
            })
            .collect();
        if cache.held() == 0 {
            // The temp folder is on a network or FUSE file system.
            return;
        }
        assert_eq!(cache.held(), HELD);
        let is_held = |location| {
            let slot = cache.at(cache.slot(location)).unwrap();
            slot.lock().is_holding()
        };
        assert!(is_held(&locations[99]) && !is_held(&locations[0]));
        let watch = cache.watch(cache.slot(&locations[99]), 1).unwrap();
        let state = cache.at(cache.slot(&locations[99])).unwrap();
        state.lock().check.as_mut().unwrap().held = None;
        assert!(!watch.holds(), "a watch keeps no descriptor open");
        for location in &locations {
            let slot = cache.slot(location);
            assert!(cache.is_current(slot, 1, boot(200)));
            let watch = cache.watch(slot, 1).unwrap();
            assert!(watch.holds());
            replace(location.path(), &credential_text("b"));
            assert!(!watch.holds());
            assert!(!cache.is_current(slot, 1, boot(200)));
        }
    }

    /// A plugin's store that waits for permission to answer.
    struct Waiting {
        asked: Sender<()>,
        answer: Mutex<Receiver<()>>,
    }

    impl Keeper for Waiting {
        fn list(&self, _: &str, _: MayBlock) -> Result<Option<Vec<String>>, Error> {
            Ok(None)
        }

        fn read(&self, _key: &str, _: MayBlock) -> Result<Option<Versioned>, Error> {
            self.asked.send(()).unwrap();
            self.answer.lock().unwrap().recv().unwrap();
            Ok(Some(Versioned {
                value: Secret::new(credential_text("a")),
                version: "1".to_owned(),
            }))
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

    /// The store is asked through that thread: it would wait for itself.
    #[test]
    fn the_thread_of_javascript_does_not_wait_while_a_plugins_store_is_asked() {
        let (asked, is_asked) = channel();
        let (go_on, answer) = channel();
        let answer = Mutex::new(answer);
        let keeper = Arc::new(Waiting { asked, answer });
        let store = PluginStore::new(1, keeper, SharedClock::of_system());
        let location = in_given_store(&store);
        let cache = calm();
        std::thread::scope(|scope| {
            let (cache, location) = (&cache, &location);
            let asking = scope.spawn(|| {
                let (stored, _) = cache.read(location, Look::LONG, boot(0)).unwrap();
                assert_eq!(access(&stored), "a");
            });
            is_asked.recv().unwrap();
            assert!(cache.read(location, Look::SHORT, boot(0)).is_err());
            go_on.send(()).unwrap();
            asking.join().unwrap();
        });
        let (stored, _) = cache.read(&location, Look::SHORT, boot(0)).unwrap();
        assert_eq!(access(&stored), "a");
    }

    #[test]
    fn readers_never_see_anything_but_whole_credentials_while_others_write() {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(folder.path(), "demo", "default");
        Locked::try_acquire(&location, MayBlock::in_test())
            .unwrap()
            .unwrap()
            .replace(&sample("0", Some("r0")))
            .unwrap();
        let cache = Cache::new(SharedClock::of_system());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (cache, location, done) = (&cache, &location, &done);
            for _ in 0..3 {
                scope.spawn(move || {
                    let mut last = 0;
                    while !done.load(Ordering::SeqCst) {
                        let (stored, _) = cache.read(location, Look::SHORT, boot(0)).unwrap();
                        let now: u32 = access(&stored).parse().unwrap();
                        assert!(now >= last, "time went back");
                        last = now;
                    }
                });
            }
            for round in 1..=300 {
                let mut locked = Locked::try_acquire(location, MayBlock::in_test())
                    .unwrap()
                    .unwrap();
                let reserved = locked.reserve(MayBlock::in_test()).unwrap();
                let new = sample(&round.to_string(), Some(&format!("r{round}")));
                locked.save(reserved, &new, MayBlock::in_test()).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        assert_eq!(
            access(&cache.read(&location, Look::SHORT, boot(0)).unwrap().0),
            "300"
        );
    }
}
