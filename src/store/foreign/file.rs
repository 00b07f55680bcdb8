//! The lock and the file of a login that another program keeps.
//!
//! Protection at each instant of a refresh:
//! 1. before the request, space is reserved for a journal and for the new file;
//! 2. after the answer, the journal, a temp file in this library's own format, gets the new login and names the
//!    refresh token that it replaces: the next holder of the lock writes it into the file as it is by then;
//! 3. the new text is made of the present file, so that nothing is lost that its program wrote meanwhile, and the file
//!    is read again just before the rename;
//! 4. the rename leaves the old or the new file, whole; then the journal is deleted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write::{self, Reservation, Uncommitted};
use crate::fs::lock::Lock;
use crate::fs::private_dir;
use crate::fs::program_lock::ProgramLock;
use crate::fs::regular_file::RegularFile;
use crate::secret::Fingerprint;
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::format::{self, Document};
use crate::store::journal::{Journal, Secrets, Successor};
use crate::store::json_text::JsonText;
use crate::store::outcome::{Removed, SaveFailure, Saved};

use super::found::{Found, look};
use super::layout::Owner;
use super::note;
use super::place::Place;
use super::program::{Refusal, take};
use super::target::Target;

/// The most bytes by which a login may enlarge the file.
const SPARE_BYTES: u64 = 16 * 1024;

/// Member of a journal: the text of a file that its program may delete.
const BEFORE: &str = "file";

/// How long the program's own rename is waited for: after a refresh, which is tried again, and where a person waits or
/// nobody tries again; the longest lock for that alone is abandoned after 15 s.
const QUICKLY: Duration = Duration::from_secs(2);
const PATIENTLY: Duration = Duration::from_secs(20);

/// How often the file may change between reading and replacing it.
const TRIES: usize = 20;

/// Held locks with the login as it was read under them. Dropping it unlocks.
#[derive(Debug)]
pub(in crate::store) struct ForeignFile {
    lock: Lock,
    /// The locks that the file's program holds while it refreshes.
    host_locks: Vec<ProgramLock>,
    place: Place,
    target: Box<Target>,
    stored: Stored,
    /// The owner of that login.
    owner: Owner,
    /// The program found its refresh token refused, and left its mark in place of the login.
    is_refused: bool,
    /// The earlier text of the file, where its program deletes it on a refusal: members beside the login would be lost
    /// with it.
    before: Option<JsonText>,
}

/// Room for the result of a refresh, and what that result replaces.
#[derive(Debug)]
pub(in crate::store) struct Reserved {
    journal: Reservation,
    /// `None` after a rename that took it and failed.
    room: Option<Reservation>,
    replaces: Option<Fingerprint>,
    held: Option<Fingerprint>,
}

impl ForeignFile {
    /// Takes the locks, or none if another process holds one. Then applies or deletes the leftovers of a crash, and
    /// reads the login.
    ///
    /// # Errors
    /// `STORE_IO`. A damaged file is reported when its contents are needed.
    pub(in crate::store) fn try_acquire(
        place: &Place,
        may: MayBlock,
    ) -> Result<Option<Self>, Error> {
        let target = Target::of(place, may.into())?;
        private_dir::ensure_exists(folder_of(&target.file), may)?;
        let Some(lock) = Lock::try_acquire(&guard(&target.file), may)? else {
            return Ok(None);
        };
        let mut file = Self {
            lock,
            host_locks: Vec::new(),
            place: place.clone(),
            target: Box::new(target),
            stored: Stored::Nothing,
            owner: Owner::default(),
            is_refused: false,
            before: None,
        };
        // The path may lead elsewhere by now: then this is the lock of another file.
        if !file.takes_host_locks(may)? || Target::of(place, may.into())? != *file.target {
            return Ok(None);
        }
        if file.look_again(may)? {
            match file.recover(may) {
                Ok(false) => {}
                Ok(true) => drop(file.look_again(may)?),
                Err(error) if error.code() == ErrorCode::StoreLocked => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(file))
    }

    /// Takes the missing locks of the file's program; false if another process holds one.
    fn takes_host_locks(&mut self, may: MayBlock) -> Result<bool, Error> {
        let locks = self.target.entry.program().request_locks;
        // The lock was taken for abandoned, or removed: Qwen Code deletes its lock file when it exits, even another
        // program's.
        if self.host_locks.iter().any(ProgramLock::is_lost) {
            self.host_locks.clear();
        }
        if self.host_locks.is_empty() {
            match take(locks, self.place.path(), &self.place.clock, may)? {
                Some(held) => self.host_locks = held,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Locks all again for another try to save: the program may have moved its logins meanwhile.
    fn lock_again(&mut self, room: &mut Option<Reservation>, may: MayBlock) -> Result<(), Error> {
        let mut is_locked = self.takes_host_locks(may)?;
        let target = Target::of(&self.place, may.into())?;
        if is_locked && target != *self.target {
            match Lock::try_acquire(&guard(&target.file), may)? {
                Some(lock) => {
                    self.lock = lock;
                    *self.target = target;
                    *room = None;
                }
                None => is_locked = false,
            }
        }
        if is_locked {
            return Ok(());
        }
        Err(self.is_locked_by_its_program())
    }

    fn is_locked_by_its_program(&self) -> Error {
        Error::new(
            ErrorCode::StoreLocked,
            format!(
                "{} is locked by another program: {}. Try again.",
                self.place.path().display(),
                self.target.entry.program().title
            ),
        )
    }

    /// Describes the present holder of the lock: a process of this library, or else the program.
    pub(in crate::store) fn holder(place: &Place, may: MayBlock) -> Option<String> {
        let guard = guard(&Target::of(place, may.into()).ok()?.file);
        match Lock::probe(&guard, may) {
            Ok(probe) if !probe.is_held => Some(place.format.program().title.to_owned()),
            _ => Lock::holder(&guard, may),
        }
    }

    pub(in crate::store) fn note(&self, text: &str, may: MayBlock) {
        self.lock.note(text, may);
    }

    pub(in crate::store) fn is_local_fallback(&self) -> bool {
        self.lock.is_local_fallback()
    }

    pub(in crate::store) fn stored(&self) -> &Stored {
        &self.stored
    }

    pub(in crate::store) fn reserve(&self, may: MayBlock) -> Result<Box<Reserved>, Error> {
        // A file that cannot be read cannot be written either.
        let found = self.look(may)?;
        // A text in JSON is seldom twice as long.
        let before = self.before.as_ref().map_or(0, |text| text.bytes().len());
        let journal_bytes = SPARE_BYTES.saturating_add(2 * before as u64);
        Ok(Box::new(Reserved {
            journal: Reservation::new(&self.target.file, journal_bytes, may)?,
            room: Some(self.room(&found, may)?),
            replaces: self.stored.spendable(),
            held: identity(&self.stored),
        }))
    }

    pub(in crate::store) fn save(
        &mut self,
        reserved: Box<Reserved>,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<Saved, SaveFailure<Box<Reserved>>> {
        let mut reserved = reserved;
        let login = credential.snapshot();
        let saved = self.bring_in(&mut reserved, credential, &login, may);
        match saved {
            Ok(saved) => {
                let Reserved { journal, room, .. } = *reserved;
                journal.discard();
                if let Some(room) = room {
                    room.discard();
                }
                if saved == Saved::Written {
                    // Best effort: see what it costs to lose it.
                    drop(note::keep(&self.place, credential, may));
                    self.stored =
                        Stored::Credential(note::completed(&self.place, login, may.into()));
                }
                Ok(saved)
            }
            Err(error) => {
                // Until the next try the program may write its other logins; the journal keeps this one.
                self.host_locks.clear();
                Err(SaveFailure {
                    error,
                    reserved: Some(reserved),
                })
            }
        }
    }

    fn bring_in(
        &mut self,
        reserved: &mut Reserved,
        credential: &NewCredential,
        login: &Snapshot,
        may: MayBlock,
    ) -> Result<Saved, Error> {
        let mut document = Document::of_credential(
            Document::default(),
            credential,
            None,
            reserved.replaces.as_ref(),
        )
        .for_entry(self.place.entry());
        let before = self.before.as_ref().map(JsonText::bytes);
        let before = before.and_then(|bytes| std::str::from_utf8(bytes).ok());
        document.set(BEFORE, before.map(Into::into));
        reserved.journal.write(&document.to_json(), may)?;
        for _ in 0..TRIES {
            self.lock_again(&mut reserved.room, may)?;
            let found = self.look_steadily(may)?;
            if identity(&found.stored) != reserved.held {
                let is_ours = identity(&found.stored).as_ref() == Some(&login.identity)
                    && found.stored.credential().map(Snapshot::access) == Some(login.access());
                if !is_ours && self.wins(&found, login) {
                    let saved = match found.stored {
                        // Where no lock excludes the program, the same person's login may be of the same grant.
                        Stored::Credential(_)
                            if !self.host_locks.is_empty()
                                || !found.owner(&self.target).is_known_as(&self.owner) =>
                        {
                            Saved::Superseded
                        }
                        _ => Saved::LeftToProgram,
                    };
                    self.stored = found.stored;
                    return Ok(saved);
                }
            }
            if self.replace(&found, &mut reserved.room, QUICKLY, may, |target, text| {
                target.entry.put(text, login);
                true
            })? {
                return Ok(Saved::Written);
            }
        }
        Err(self.keeps_changing())
    }

    /// Whether another program's login in the file stays. A program that takes no lock may have refreshed the same
    /// login at the same time: then the later expiry wins. A login of another or an unknown owner is a person's new
    /// one.
    fn wins(&self, theirs: &Found, ours: &Snapshot) -> bool {
        let Stored::Credential(login) = &theirs.stored else {
            // A logout, unless the program was refused for the very token that we have just replaced.
            return !theirs.is_refused(&self.target);
        };
        !self.host_locks.is_empty()
            || !theirs.owner(&self.target).is_known_as(&self.owner)
            || match (login.expires(), ours.expires()) {
                (Some(theirs), Some(ours)) => theirs >= ours,
                _ => true,
            }
    }

    pub(in crate::store) fn store_login(
        &mut self,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<(), Error> {
        let login = credential.snapshot();
        self.require_readable(&login, may)?;
        self.rewrite(may, |target, text| {
            target.entry.put(text, &login);
            true
        })?;
        drop(note::keep(&self.place, credential, may));
        self.stored = self.look(may)?.stored;
        self.journal().discard(&self.stored, may);
        Ok(())
    }

    /// Refuses to write a login that the program would not read.
    fn require_readable(&self, login: &Snapshot, may: MayBlock) -> Result<(), Error> {
        let program = self.target.entry.program();
        let text = self
            .look_steadily(may)?
            .text
            .unwrap_or_else(JsonText::empty);
        match (program.lacks)(&self.target.entry, &text, login) {
            None => Ok(()),
            Some(what) => Err(Error::new(
                ErrorCode::InvalidConfig,
                format!(
                    "{} reads no login without {what}. Nothing was written.",
                    program.title
                ),
            )),
        }
    }

    pub(in crate::store) fn record_failure(
        &mut self,
        last_refresh: &LastRefresh,
        may: MayBlock,
    ) -> Result<(), Error> {
        let Some(identity) = identity(&self.stored) else {
            return Ok(());
        };
        note::record(&self.place, &identity, last_refresh, may)?;
        self.stored = self.look(may)?.stored;
        Ok(())
    }

    pub(in crate::store) fn log_out(&mut self, may: MayBlock) -> Result<Option<Removed>, Error> {
        let removed = self.stored.credential().map(Removed::of);
        if removed.is_some() {
            self.rewrite(may, |target, text| target.entry.remove(text))?;
        } else {
            // A damaged file may hold a login, so it must not be removed.
            self.look_steadily(may)?;
        }
        self.stored = Stored::Nothing;
        self.journal().discard(&self.stored, may);
        Ok(removed)
    }

    /// Edits the file, even while other programs write it.
    fn rewrite(
        &mut self,
        may: MayBlock,
        edit: impl Fn(&Target, &mut JsonText) -> bool,
    ) -> Result<(), Error> {
        let mut room = None;
        for _ in 0..TRIES {
            self.lock_again(&mut room, may)?;
            let found = self.look_steadily(may)?;
            if self.replace(&found, &mut room, PATIENTLY, may, &edit)? {
                return Ok(());
            }
        }
        Err(self.keeps_changing())
    }

    /// Puts an edited text in the file's place, or removes the file where the edit leaves nothing; false if the file
    /// is no longer what was found.
    fn replace(
        &self,
        found: &Found,
        room: &mut Option<Reservation>,
        patience: Duration,
        may: MayBlock,
        edit: impl Fn(&Target, &mut JsonText) -> bool,
    ) -> Result<bool, Error> {
        let text = found.text.as_ref().or(self.before.as_ref());
        let mut text = text.cloned().unwrap_or_else(JsonText::empty);
        let stays = edit(&self.target, &mut text);
        if !stays {
            return self.remove(found, patience, may);
        }
        if found.text.as_ref() == Some(&text) {
            return Ok(true);
        }
        if let Some(item) = &found.item {
            let _held = self.save_locks(patience, may)?;
            let now = item.read(&self.place.clock, may)?;
            let held = now.as_ref().map(|held| held.expose().as_bytes());
            if held != found.text.as_ref().map(JsonText::bytes) {
                return Ok(false);
            }
            return item
                .write(text.bytes(), &self.place.clock, may)
                .map(|()| true);
        }
        let mut taken = match room.take() {
            Some(room) => room,
            None => self.room(found, may)?,
        };
        let written = taken
            .write(text.bytes(), may)
            .and_then(|()| match &found.file {
                Some(file) => taken.permit_as(file),
                None => Ok(()),
            });
        let mut held = None;
        let is_same = written.and_then(|()| {
            held = Some(self.save_locks(patience, may)?);
            self.is_as_found(found, may)
        });
        match is_same {
            Ok(true) => {}
            Ok(false) => {
                *room = Some(taken);
                return Ok(false);
            }
            Err(error) => {
                *room = Some(taken);
                return Err(error);
            }
        }
        match taken.commit(may) {
            Ok(()) => Ok(true),
            Err(Uncommitted { error, reservation }) => {
                *room = reservation;
                Err(error)
            }
        }
    }

    /// Where a login that ends takes its file with it.
    fn remove(&self, found: &Found, patience: Duration, may: MayBlock) -> Result<bool, Error> {
        let _held = self.save_locks(patience, may)?;
        if !self.is_as_found(found, may)? {
            return Ok(false);
        }
        atomic_write::remove(&self.target.file, may).map(|()| true)
    }

    /// The last check: the file is unchanged, and the program's locks are still held. A lost lock may be held by a
    /// program that is writing by now.
    fn is_as_found(&self, found: &Found, may: MayBlock) -> Result<bool, Error> {
        let now = RegularFile::read(&self.target.file, may.into())?;
        let bytes = now.as_ref().and_then(RegularFile::bytes);
        let is_same = bytes == found.text.as_ref().map(JsonText::bytes);
        Ok(is_same && !self.host_locks.iter().any(ProgramLock::is_lost))
    }

    /// The locks that the program holds for its own rename alone.
    fn save_locks(&self, patience: Duration, may: MayBlock) -> Result<Vec<ProgramLock>, Error> {
        const WAIT: Duration = Duration::from_millis(10);
        let locks = self.target.entry.program().save_locks;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(held) = take(locks, self.place.path(), &self.place.clock, may)? {
                return Ok(held);
            }
            if waited >= patience {
                return Err(self.is_locked_by_its_program());
            }
            pause(WAIT, may);
            waited += WAIT;
        }
    }

    fn room(&self, found: &Found, may: MayBlock) -> Result<Reservation, Error> {
        let text = found.text.as_ref().map_or(&[][..], JsonText::bytes);
        if let Some(item) = &found.item {
            item.require_room(text)?;
        }
        Reservation::new(
            &self.target.file,
            (text.len() as u64).saturating_add(SPARE_BYTES),
            may,
        )
    }

    fn look(&self, may: MayBlock) -> Result<Found, Error> {
        look(&self.place, &self.target, may)
    }

    /// Programs that write in place leave half a file for a moment.
    fn look_steadily(&self, may: MayBlock) -> Result<Found, Error> {
        patiently(may, || self.look(may))
    }

    /// False if nothing can be said of journals: the file is damaged, or missing though its program does not remove it.
    fn look_again(&mut self, may: MayBlock) -> Result<bool, Error> {
        let found = match self.look_steadily(may) {
            Ok(found) => found,
            Err(error) if error.code() == ErrorCode::StoreCorrupt => {
                self.stored = Stored::Nothing;
                self.owner = Owner::default();
                self.is_refused = false;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.owner = found.owner(&self.target);
        self.is_refused = found.is_refused(&self.target);
        let is_readable = !found.is_missing() || self.is_refused;
        if matches!(self.target.entry.program().refusal, Refusal::NoFile) {
            self.before = found.text;
        }
        self.stored = found.stored;
        Ok(is_readable)
    }

    /// Brings in this login's journal; those of the file's other logins stay.
    fn recover(&mut self, may: MayBlock) -> Result<bool, Error> {
        note::discard_leftovers(&self.place, may);
        // The file is there without that login: its program has logged out.
        let stored = match &self.stored {
            Stored::Nothing => &Stored::LoggedOut,
            stored => stored,
        };
        let Some(Successor { temp, login, .. }) =
            self.journal().recover(stored, Secrets::Unasked, may)?
        else {
            return Ok(false);
        };
        if let Some(login) = login {
            if self.is_refused {
                self.before = text_before(&temp, may)?;
            }
            self.rewrite(may, |target, text| {
                target.entry.put(text, &login);
                true
            })?;
        }
        atomic_write::remove(&temp, may)?;
        Ok(true)
    }

    fn journal(&self) -> Journal<'_> {
        Journal {
            target: &self.target.file,
            entry: self.place.entry(),
            is_refused: self.is_refused,
        }
    }

    fn keeps_changing(&self) -> Error {
        Error::new(
            ErrorCode::StoreIo,
            format!(
                "{} keeps changing while it is written. Try again.",
                self.target.file.display()
            ),
        )
    }
}

/// The earlier text of the file, from a journal.
fn text_before(journal: &Path, may: MayBlock) -> Result<Option<JsonText>, Error> {
    let file = RegularFile::read(journal, may.into())?;
    let bytes = file.as_ref().and_then(RegularFile::bytes);
    let document = bytes.and_then(|bytes| Document::from_json(format::without_padding(bytes)));
    Ok(document.and_then(|document| {
        let text = document.members().get(BEFORE)?.as_str()?;
        Some(JsonText::parse(text.as_bytes())?.0)
    }))
}

fn identity(stored: &Stored) -> Option<Fingerprint> {
    stored.outline().map(|outline| outline.identity.clone())
}

#[expect(
    clippy::disallowed_methods,
    reason = "for a moment, on a thread that may block"
)]
fn pause(wait: Duration, _: MayBlock) {
    std::thread::sleep(wait);
}

/// Reads again what may be half written; only where threads may block.
pub(in crate::store) fn patiently<T>(
    may: MayBlock,
    read: impl Fn() -> Result<T, Error>,
) -> Result<T, Error> {
    /// How long a program may take to write its file.
    const LOOKS: usize = 20;
    const WAIT: Duration = Duration::from_millis(10);
    for _ in 1..LOOKS {
        match read() {
            Err(error) if error.code() == ErrorCode::StoreCorrupt => pause(WAIT, may),
            outcome => return outcome,
        }
    }
    read()
}

/// The path that this library's own lock is beside: `<file>.lock` belongs to the host.
pub(in crate::store) fn guard(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".plugin-auth");
    target.with_file_name(name)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
