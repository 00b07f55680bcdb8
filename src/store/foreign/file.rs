//! The lock and the file of a login that another program keeps.
//!
//! What protects it at each instant of a refresh:
//! 1. before the request, room is taken for a journal and for the new file;
//! 2. after the answer, the journal, a temp file in our own format, gets the new login and names the refresh token that it
//!    replaces: whoever holds the lock next brings it into the file as it is by then;
//! 3. the new text is made of the file as it is now, so that nothing is lost that its program wrote meanwhile, and read again
//!    just before the rename;
//! 4. the rename leaves the old or the new file, whole; then the journal goes.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write::{self, Reservation, Uncommitted};
use crate::fs::lock::Lock;
use crate::fs::lock_folder::LockFolder;
use crate::fs::private_dir;
use crate::fs::regular_file::RegularFile;
use crate::secret::Fingerprint;
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::format::{self, Document};
use crate::store::json_text::JsonText;
use crate::store::leftover;
use crate::store::location::Location;
use crate::store::locked::{Removed, SaveFailure, Saved};

use super::{Format, Found, Place, look, note};

/// What a login may make the file larger.
const SPARE_BYTES: u64 = 16 * 1024;

/// How often the file may change between reading and replacing it.
const TRIES: usize = 20;

/// Held locks with the login as it was read under them. Dropping it unlocks.
#[derive(Debug)]
pub(in crate::store) struct ForeignFile {
    lock: Lock,
    /// The lock of the program whose file it is, where that program has one.
    host_lock: Option<LockFolder>,
    location: Location,
    place: Place,
    stored: Stored,
}

/// Room for the result of a refresh, and what that result replaces.
#[derive(Debug)]
pub(in crate::store) struct Reserved {
    journal: Reservation,
    /// None after a rename that took it and failed.
    room: Option<Reservation>,
    replaces: Option<Fingerprint>,
    held: Option<Fingerprint>,
}

impl ForeignFile {
    /// Takes the locks, or none if another holds one; brings in or deletes what a crash has left, and reads the login.
    ///
    /// # Errors
    /// `STORE_IO`. A damaged file is told by whoever needs what is in it.
    pub(in crate::store) fn try_acquire(
        location: &Location,
        format: Format,
    ) -> Result<Option<Self>, Error> {
        let place = Place::of(location, format)?;
        private_dir::ensure_exists(folder_of(&place.target))?;
        let Some(lock) = Lock::try_acquire(&guard(&place.target))? else {
            return Ok(None);
        };
        let mut host_lock = None;
        if format.heeds_our_lock() {
            // The host locks this name, whichever file it then reads.
            let named = crate::fs::symlink::resolve(location.path())?;
            private_dir::ensure_exists(folder_of(&named))?;
            host_lock = LockFolder::try_acquire(&named)?;
            if host_lock.is_none() {
                return Ok(None);
            }
        }
        // It may lead elsewhere since it was followed: then this is the lock of another file.
        if Place::of(location, format)? != place {
            return Ok(None);
        }
        let mut file = Self {
            lock,
            host_lock,
            location: location.clone(),
            place,
            stored: Stored::Nothing,
        };
        file.stored = file.look_or_nothing()?;
        if file.recover()? {
            file.stored = file.look_or_nothing()?;
        }
        Ok(Some(file))
    }

    /// Who the present holder of our lock is.
    pub(in crate::store) fn holder(location: &Location, format: Format) -> Option<String> {
        Lock::holder(&guard(&Place::of(location, format).ok()?.target))
    }

    pub(in crate::store) fn note(&self, text: &str) {
        self.lock.note(text);
    }

    pub(in crate::store) fn is_local_fallback(&self) -> bool {
        self.lock.is_local_fallback()
    }

    pub(in crate::store) fn stored(&self) -> &Stored {
        &self.stored
    }

    pub(in crate::store) fn reserve(&self) -> Result<Box<Reserved>, Error> {
        // What cannot be read cannot be written to either.
        let found = self.look()?;
        Ok(Box::new(Reserved {
            journal: Reservation::new(&self.place.target, SPARE_BYTES)?,
            room: Some(self.room(&found)?),
            replaces: self.stored.spendable(),
            held: identity(&self.stored),
        }))
    }

    pub(in crate::store) fn save(
        &mut self,
        reserved: Box<Reserved>,
        credential: &NewCredential,
    ) -> Result<Saved, SaveFailure<Box<Reserved>>> {
        let mut reserved = reserved;
        let login = credential.snapshot();
        match self.bring_in(&mut reserved, credential, &login) {
            Ok(saved) => {
                let Reserved { journal, room, .. } = *reserved;
                journal.discard();
                if let Some(room) = room {
                    room.discard();
                }
                if saved == Saved::Written {
                    // Best effort: see what it costs to lose it.
                    drop(note::keep(&self.location, credential));
                    self.stored = Stored::Credential(note::completed(&self.location, login));
                }
                Ok(saved)
            }
            Err(error) => Err(SaveFailure {
                error,
                reserved: Some(reserved),
            }),
        }
    }

    fn bring_in(
        &mut self,
        reserved: &mut Reserved,
        credential: &NewCredential,
        login: &Snapshot,
    ) -> Result<Saved, Error> {
        let document = Document::of_credential(
            Document::default(),
            credential,
            None,
            reserved.replaces.as_ref(),
        );
        reserved.journal.write(&document.to_json())?;
        for _ in 0..TRIES {
            let found = self.look_steadily()?;
            if identity(&found.stored) != reserved.held {
                let is_ours = identity(&found.stored).as_ref() == Some(&login.identity)
                    && found.stored.credential().map(Snapshot::access) == Some(login.access());
                if !is_ours && self.wins(&found.stored, login) {
                    self.stored = found.stored;
                    return Ok(Saved::Superseded);
                }
            }
            if self.replace(&found, &mut reserved.room, |place, text| {
                place.entry.put(text, login, login.refreshed_at());
            })? {
                return Ok(Saved::Written);
            }
        }
        Err(self.keeps_changing())
    }

    /// Whether what another has put there meanwhile stays. Who takes no lock may have refreshed at the same time: then the
    /// later expiry wins.
    fn wins(&self, theirs: &Stored, ours: &Snapshot) -> bool {
        let Stored::Credential(theirs) = theirs else {
            // A logout.
            return true;
        };
        self.host_lock.is_some()
            || match (theirs.expires(), ours.expires()) {
                (Some(theirs), Some(ours)) => theirs >= ours,
                _ => true,
            }
    }

    pub(in crate::store) fn store_login(
        &mut self,
        credential: &NewCredential,
    ) -> Result<(), Error> {
        let login = credential.snapshot();
        self.rewrite(|place, text| place.entry.put(text, &login, login.refreshed_at()))?;
        drop(note::keep(&self.location, credential));
        self.stored = self.look()?.stored;
        Ok(())
    }

    pub(in crate::store) fn record_failure(
        &mut self,
        last_refresh: &LastRefresh,
    ) -> Result<(), Error> {
        let Some(identity) = identity(&self.stored) else {
            return Ok(());
        };
        note::record(&self.location, &identity, last_refresh)?;
        self.stored = self.look()?.stored;
        Ok(())
    }

    pub(in crate::store) fn log_out(&mut self) -> Result<Option<Removed>, Error> {
        let removed = self.stored.credential().map(Removed::of);
        if removed.is_some() {
            self.rewrite(|place, text| place.entry.remove(text))?;
        } else {
            // A damaged file may hold a login, and is not ours to remove.
            self.look_steadily()?;
        }
        self.stored = Stored::Nothing;
        Ok(removed)
    }

    /// Writes the file with an edit, whoever else writes it.
    fn rewrite(&self, edit: impl Fn(&Place, &mut JsonText)) -> Result<(), Error> {
        let mut room = None;
        for _ in 0..TRIES {
            let found = self.look_steadily()?;
            if self.replace(&found, &mut room, &edit)? {
                return Ok(());
            }
        }
        Err(self.keeps_changing())
    }

    /// Puts an edited text in the file's place; false if the file is no longer what was found.
    fn replace(
        &self,
        found: &Found,
        room: &mut Option<Reservation>,
        edit: impl Fn(&Place, &mut JsonText),
    ) -> Result<bool, Error> {
        let mut text = found.text.clone().unwrap_or_else(JsonText::empty);
        edit(&self.place, &mut text);
        if found.text.as_ref() == Some(&text) {
            return Ok(true);
        }
        if let Some(item) = &found.item {
            let now = item.read()?;
            let held = now.as_ref().map(|held| held.expose().as_bytes());
            if held != found.text.as_ref().map(JsonText::bytes) {
                return Ok(false);
            }
            return item.write(text.bytes()).map(|()| true);
        }
        let mut taken = match room.take() {
            Some(room) => room,
            None => self.room(found)?,
        };
        let written = taken.write(text.bytes()).and_then(|()| match &found.file {
            Some(file) => taken.permit_as(file),
            None => Ok(()),
        });
        let is_same = written.and_then(|()| {
            let now = RegularFile::read(&self.place.target)?;
            let bytes = now.as_ref().and_then(RegularFile::bytes);
            Ok(bytes == found.text.as_ref().map(JsonText::bytes) && !self.has_lost_its_lock())
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
        match taken.commit() {
            Ok(()) => Ok(true),
            Err(Uncommitted { error, reservation }) => {
                *room = reservation;
                Err(error)
            }
        }
    }

    /// The host takes a lock that was not renewed for long for abandoned: then it may be writing by now.
    fn has_lost_its_lock(&self) -> bool {
        self.host_lock
            .as_ref()
            .is_some_and(LockFolder::is_compromised)
    }

    fn room(&self, found: &Found) -> Result<Reservation, Error> {
        let size = found.text.as_ref().map_or(0, |text| text.bytes().len());
        if let Some(item) = &found.item {
            item.require_room(size)?;
        }
        Reservation::new(
            &self.place.target,
            (size as u64).saturating_add(SPARE_BYTES),
        )
    }

    fn look(&self) -> Result<Found, Error> {
        look(&self.location, &self.place)
    }

    /// Programs that write in place leave half a file for a moment.
    fn look_steadily(&self) -> Result<Found, Error> {
        patiently(|| self.look())
    }

    fn look_or_nothing(&self) -> Result<Stored, Error> {
        match self.look_steadily() {
            Ok(found) => Ok(found.stored),
            Err(error) if error.code() == ErrorCode::StoreCorrupt => Ok(Stored::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Brings in a journal whose refresh token the stored one was spent for, and deletes all other leftovers.
    fn recover(&mut self) -> Result<bool, Error> {
        let mut is_changed = false;
        for temp in atomic_write::leftovers(&self.place.target)? {
            if !leftover::is_ours(&temp) {
                continue;
            }
            let file = RegularFile::read(&temp)?;
            let journal = file
                .as_ref()
                .and_then(RegularFile::bytes)
                .and_then(|bytes| format::parse(format::without_padding(bytes), &temp).ok());
            if let Some((Stored::Credential(login), document)) = journal
                && document.replaces().is_some()
                && document.replaces() == self.stored.spendable()
                && self.is_news(&login)
            {
                self.rewrite(|place, text| place.entry.put(text, &login, login.refreshed_at()))?;
                is_changed = true;
            }
            atomic_write::remove(&temp)?;
        }
        Ok(is_changed)
    }

    /// Where the server does not rotate, an older journal names the stored token as well.
    fn is_news(&self, login: &Snapshot) -> bool {
        self.stored.credential().is_some_and(|stored| {
            stored.refresh() != login.refresh() || stored.expires() < login.expires()
        })
    }

    fn keeps_changing(&self) -> Error {
        Error::new(
            ErrorCode::StoreIo,
            format!(
                "{} keeps changing while it is written. Try again.",
                self.place.target.display()
            ),
        )
    }
}

fn identity(stored: &Stored) -> Option<Fingerprint> {
    stored.outline().map(|outline| outline.identity.clone())
}

/// Reads again what may be half written; only where threads may block.
#[expect(
    clippy::disallowed_methods,
    reason = "for a moment, on a thread that may block"
)]
pub(crate) fn patiently<T>(read: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    /// How long a program may take to write its file.
    const LOOKS: usize = 20;
    const WAIT: std::time::Duration = std::time::Duration::from_millis(10);
    for _ in 1..LOOKS {
        match read() {
            Err(error) if error.code() == ErrorCode::StoreCorrupt => std::thread::sleep(WAIT),
            outcome => return outcome,
        }
    }
    read()
}

/// What our own lock lies beside: `<file>.lock` is the host's.
pub(in crate::store) fn guard(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".plugin-auth");
    target.with_file_name(name)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
