//! The lock and the file of a credential in this library's own format.
//!
//! Protection at each instant of a refresh:
//! 1. before the request, [`OwnFile::reserve`] proves that the result can be stored;
//! 2. after the answer, [`OwnFile::save`] writes a temp file that names the refresh token it replaces; from then on a
//!    crash loses nothing, because the next holder finishes it;
//! 3. just before the rename the file is read again: a login or logout that came in between wins;
//! 4. the rename itself leaves the old or the new file, whole.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{Look, MayBlock};
use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write::{self, Reservation, Uncommitted};
use crate::fs::damaged_file;
use crate::fs::lock::Lock;
use crate::fs::private_dir;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::keychain::{self, Person};
use crate::secret::{Fingerprint, Secret};
use crate::store::credential::{LastRefresh, NewCredential, Outline, Snapshot, Stored};
use crate::store::format::{Document, parse, parse_file};
use crate::store::journal::{Journal, Secrets};
use crate::store::outcome::{Removed, SaveFailure, Saved};
use crate::store::sealed::{self, CAN_OPEN, NewName, OpenedMembers, Storage};
use crate::time::UnixMillis;

use crate::store::earlier_login::EarlierLogin;
use crate::store::own::handwritten;
use crate::store::own::place::Place;

/// The most bytes by which a new credential may be larger than the present one.
const SPARE_BYTES: u64 = 16 * 1024;

/// How often a link may lead elsewhere between finding its target and locking it.
const TARGETS: usize = 8;

/// How long a folder that is gone may take to come back as a link.
const MOVE_LOOKS: usize = 250;
const MOVE_WAIT: Duration = Duration::from_millis(10);

/// A held lock with the credential as it was read under it. Dropping it unlocks.
pub(in crate::store) struct OwnFile {
    lock: Lock,
    target: PathBuf,
    seen: Seen,
}

/// The contents of the file.
struct Seen {
    stored: Stored,
    document: Document,
    /// The secret members of the document, once they were read from the keychain.
    secrets: Option<OpenedMembers>,
    size: u64,
    is_corrupt: bool,
}

/// Proof that the store can take the result of a refresh, and what that result replaces.
#[derive(Debug)]
pub(in crate::store) struct Reserved {
    reservation: Reservation,
    replaces: Option<Fingerprint>,
    held: Fingerprint,
    /// The name of the new secrets in the keychain, where the present ones are there.
    secrets_id: Option<NewName>,
}

impl OwnFile {
    /// Takes the lock, or none if another holds it; makes the folders, finishes or deletes what a crash has left, and
    /// reads the credential. A damaged one is no error here: see [`OwnFile::stored`].
    ///
    /// # Errors
    /// `STORE_IO`, `STORE_VERSION`.
    pub(in crate::store) fn try_acquire(
        place: &Place,
        may: MayBlock,
    ) -> Result<Option<Self>, Error> {
        make_folder(place, may)?;
        for _ in 0..TARGETS {
            let target = symlink::resolve(place.path(), may.into())?;
            if target != place.path() {
                private_dir::ensure_exists(folder_of(&target), may)?;
            }
            let Some(lock) = Lock::try_acquire(&target, may)? else {
                return Ok(None);
            };
            // The link may lead elsewhere since it was followed: then this is the lock of another file.
            if symlink::resolve(place.path(), may.into())? != target {
                continue;
            }
            let mut seen = Seen::tightened(&target, may)?;
            // While the file is damaged, nothing can be said of its journals.
            if !seen.is_corrupt && recover(&target, &seen.stored, Secrets::Unasked, may)? {
                seen = Seen::tightened(&target, may)?;
            }
            return Ok(Some(Self { lock, target, seen }));
        }
        Ok(None)
    }

    /// Describes the present holder of the lock, with its note. Only meaningful while the lock is held.
    pub(in crate::store) fn holder(place: &Place, may: MayBlock) -> Option<String> {
        Lock::holder(&symlink::resolve(place.path(), may.into()).ok()?, may)
    }

    /// Publishes who holds the lock and why, for others that wait. Never a secret: it is in a file. Best effort.
    pub(in crate::store) fn note(&self, text: &str, may: MayBlock) {
        self.lock.note(text, may);
    }

    /// Whether the file system of the credential has no locks, so that this one is in the local temp folder.
    pub(in crate::store) fn is_local_fallback(&self) -> bool {
        self.lock.is_local_fallback()
    }

    /// The stored credential, as of the last read or write under this lock. A damaged file gives [`Stored::Nothing`]
    /// here; [`credential::read`] distinguishes the two.
    pub(in crate::store) fn stored(&self) -> &Stored {
        &self.seen.stored
    }

    /// The time of a logout with no login since.
    pub(in crate::store) fn logged_out_at(&self) -> Option<UnixMillis> {
        self.seen.document.logged_out_at()
    }

    /// Reads the secrets of a credential from the keychain: from then on [`OwnFile::stored`] has them. First finishes
    /// or removes the leftovers of a crash there.
    ///
    /// # Errors
    /// `STORE_IO` while the keychain cannot be asked, `LOGIN_REQUIRED` if it no longer has them, `INVALID_CONFIG` in a
    /// build without a keychain. The stored credential stays as it is.
    pub(in crate::store) fn open(&mut self, may: MayBlock) -> Result<(), Error> {
        if !matches!(self.seen.stored, Stored::Sealed(_)) {
            return Ok(());
        }
        if CAN_OPEN && recover(&self.target, &self.seen.stored, Secrets::Asked, may)? {
            self.seen = Seen::look(&self.target, may)?;
        }
        if let Stored::Sealed(outline) = &self.seen.stored {
            let (snapshot, secrets) = sealed::open(outline, &self.target, may)?
                .ok_or_else(|| sealed::gone(&self.target.display()))?;
            // They are spent and replaced as the secrets that the file names, even if others are found.
            let outline = Outline {
                identity: outline.identity.clone(),
                ..Outline::clone(&snapshot)
            };
            self.seen.stored = Stored::Credential(snapshot.with_outline(&outline));
            self.seen.secrets = Some(secrets);
        }
        self.seen.document.forget_former(Person::Away, may);
        Ok(())
    }

    /// Tries whether new secrets can be kept in the keychain.
    ///
    /// # Errors
    /// `STORE_IO` with the cause in words, `INVALID_CONFIG` in a build that knows none.
    pub(in crate::store) fn try_keychain(&self, may: MayBlock) -> Result<Storage, Error> {
        sealed::probe(&self.target, may).map(Storage::Keychain)
    }

    /// Proves that the store can take a result, before anything is spent for it.
    ///
    /// # Errors
    /// `STORE_IO` with the cause in words.
    pub(in crate::store) fn reserve(&self, may: MayBlock) -> Result<Reserved, Error> {
        let size = self.seen.size.saturating_add(SPARE_BYTES);
        let secrets_id = match &self.seen.stored {
            Stored::Credential(credential) if CAN_OPEN && credential.is_in_keychain() => Some(
                NewName::new(&self.target, sealed::probe(&self.target, may)?, may)?,
            ),
            _ => None,
        };
        Ok(Reserved {
            reservation: Reservation::new(&self.target, size, may)?,
            replaces: self.seen.stored.spendable(),
            held: self.seen.fingerprint(),
            secrets_id,
        })
    }

    /// Stores the result of a refresh. Unknown members stay, and so does the stored refresh token where the result has
    /// none. Nothing is written if the file no longer holds what was reserved for.
    ///
    /// # Errors
    /// Gives back what is needed to try again.
    pub(in crate::store) fn save(
        &mut self,
        reserved: Reserved,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<Saved, SaveFailure<Reserved>> {
        let mut reserved = reserved;
        let kept_refresh = self.seen.stored.credential().and_then(Snapshot::refresh);
        let document = Document::of_credential(
            self.seen.whole(),
            credential,
            kept_refresh,
            reserved.replaces.as_ref(),
        );
        let new = New::of(
            document,
            reserved.secrets_id.clone(),
            self.seen.secrets.as_ref(),
            self.seen.document.superseded(),
        );
        if let Err(error) = new.write(&mut reserved.reservation, may) {
            return Err(SaveFailure {
                error,
                reserved: Some(reserved),
            });
        }
        match Seen::look_through_moves(&self.target, may) {
            // Damage is nobody's login: the one in hand is better.
            Ok(now) if now.is_corrupt => {
                if let Err(error) =
                    damaged_file::set_aside(&self.target, credential.refreshed_at, may)
                {
                    return Err(SaveFailure {
                        error,
                        reserved: Some(reserved),
                    });
                }
            }
            Ok(now) if now.fingerprint() == reserved.held => {}
            Ok(now) => {
                // Where a network lock was not honoured, another may have finished our temp file for us.
                let is_ours = now.document == new.document;
                self.seen = now;
                return Ok(if is_ours {
                    reserved.reservation.discard();
                    Saved::Written
                } else {
                    new.abandon(reserved.reservation, may);
                    Saved::Superseded
                });
            }
            Err(error) if error.code() == ErrorCode::StoreVersion => {
                new.abandon(reserved.reservation, may);
                self.seen = Seen::nothing();
                return Ok(Saved::Superseded);
            }
            Err(error) => {
                return Err(SaveFailure {
                    error,
                    reserved: Some(reserved),
                });
            }
        }
        let Reserved {
            reservation,
            replaces,
            held,
            secrets_id,
        } = reserved;
        match reservation.commit(may) {
            Ok(()) => {
                self.seen = new.stored(&self.target);
                self.seen.document.forget_former(Person::Away, may);
                Ok(Saved::Written)
            }
            Err(Uncommitted { error, reservation }) => {
                if reservation.is_none() {
                    drop(new.forget(may));
                }
                Err(SaveFailure {
                    error,
                    reserved: reservation.map(|reservation| Reserved {
                        reservation,
                        replaces,
                        held,
                        secrets_id,
                    }),
                })
            }
        }
    }

    /// Stores a login in place of any other. A damaged file is kept beside it.
    ///
    /// # Errors
    /// `STORE_IO`; `STORE_VERSION` if a newer version has written the file meanwhile.
    pub(in crate::store) fn store_login(
        &mut self,
        credential: &NewCredential,
        storage: Storage,
        may: MayBlock,
    ) -> Result<(), Error> {
        let document = Document::of_credential(Document::default(), credential, None, None)
            .with_adopted_of(&self.seen.document);
        let secrets_id = match storage {
            Storage::File => None,
            Storage::Keychain(reach) => Some(NewName::new(&self.target, reach, may)?),
        };
        let superseded = self.superseded(may);
        self.overwrite(
            &New::of(document, secrets_id, None, superseded),
            credential.refreshed_at,
            may,
        )?;
        self.seen.document.forget_former(Person::Here, may);
        // The temp files that were not read because the file was damaged.
        Journal::of(&self.target).discard(&self.seen.stored, may);
        Ok(())
    }

    /// A login in the file, as tests mostly want it.
    #[cfg(test)]
    pub(in crate::store) fn replace(&mut self, credential: &NewCredential) -> Result<(), Error> {
        self.store_login(credential, Storage::File, MayBlock::in_test())
    }

    /// Shares what a failed refresh taught. Nothing is written if the file no longer holds the credential that it is
    /// about.
    ///
    /// # Errors
    /// `STORE_IO` and what reading may say.
    pub(in crate::store) fn record_failure(
        &mut self,
        last_refresh: &LastRefresh,
        may: MayBlock,
    ) -> Result<(), Error> {
        self.record(|document| document.with_last_refresh(last_refresh), may)
    }

    /// Changes the outline of the credential, unless the file was changed meanwhile.
    ///
    /// # Errors
    /// `STORE_IO` if it cannot be written.
    pub(in crate::store) fn record(
        &mut self,
        edit: impl FnOnce(Document) -> Document,
        may: MayBlock,
    ) -> Result<(), Error> {
        if self.seen.stored.outline().is_none() {
            return Ok(());
        }
        // Unchanged secrets stay in the keychain.
        let new = New {
            document: edit(self.seen.document.clone()),
            secrets: None,
        };
        let reservation = self.written(&new, may)?;
        match Seen::look(&self.target, may) {
            Ok(now) if now.fingerprint() == self.seen.fingerprint() => {}
            Ok(now) => {
                reservation.discard();
                self.seen = now;
                return Ok(());
            }
            Err(error) => {
                reservation.discard();
                return Err(error);
            }
        }
        self.commit(reservation, &new, may)
    }

    /// Removes the credential and leaves a tombstone, so that no older one returns; without space for a tombstone, the
    /// file is deleted. Secrets in the keychain stay until [`OwnFile::forget_secrets`].
    ///
    /// # Errors
    /// `STORE_IO` if the credential stays; `STORE_VERSION` if a newer version has written the file meanwhile.
    pub(in crate::store) fn log_out(
        &mut self,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<Option<Removed>, Error> {
        let removed = self.seen.stored.credential().map(Removed::of);
        let document = Document::of_logout(now).with_adopted_of(&self.seen.document);
        let superseded = self.superseded(may);
        let tombstone = New::of(document, None, None, superseded.clone());
        // Also where there is one: a login that was begun after that has to find a later one.
        if let Err(error) = self.overwrite(&tombstone, now, may) {
            if error.code() != ErrorCode::StoreIo {
                return Err(error);
            }
            if self.seen.stored != Stored::LoggedOut {
                // A file that may not be read may not be deleted either.
                if Seen::look(&self.target, may)?.is_corrupt {
                    damaged_file::set_aside(&self.target, now, may)?;
                }
                atomic_write::remove(&self.target, may)?;
                self.seen = Seen::nothing();
                self.seen.document.set_former(superseded);
            }
        }
        Journal::of(&self.target).discard(&self.seen.stored, may);
        Ok(removed)
    }

    /// All members of the file.
    pub(in crate::store) fn document(&self) -> &Document {
        &self.seen.document
    }

    /// Writes a document in place of what was read under the lock. A damaged file is kept beside it.
    ///
    /// # Errors
    /// `STORE_IO`
    pub(in crate::store) fn put(
        &mut self,
        document: &Document,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<(), Error> {
        let superseded = self.superseded(may);
        self.overwrite(&New::of(document.clone(), None, None, superseded), now, may)?;
        Journal::of(&self.target).discard(&self.seen.stored, may);
        Ok(())
    }

    /// The secrets that a document in place of this one must remove. Secrets that are already gone are left out; else
    /// the list would grow for ever.
    fn superseded(&mut self, may: MayBlock) -> Vec<String> {
        self.seen.document.forget_former(Person::Away, may);
        self.seen.document.superseded()
    }

    /// The names of secrets in the keychain that were replaced or logged out, as far as they may still be there.
    pub(in crate::store) fn former_secrets(&self) -> Vec<String> {
        self.seen.document.former()
    }

    /// Removes those secrets. Says which are left.
    pub(in crate::store) fn forget_secrets(
        &mut self,
        person: Person,
        may: MayBlock,
    ) -> Vec<String> {
        let left = self.seen.document.forget_former(person, may);
        if person == Person::Here && left.is_empty() {
            sealed::forget_trial(&self.target, may);
        }
        left
    }

    /// Stores a handwritten login, bound to the config by the caller, and takes its old file out of the way. Does
    /// nothing if there is a credential, a tombstone or a damaged file.
    ///
    /// # Errors
    /// `STORE_IO`.
    pub(in crate::store) fn adopt(
        &mut self,
        login: &EarlierLogin,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<(), Error> {
        if self.seen.is_corrupt || self.seen.stored != Stored::Nothing {
            return Ok(());
        }
        // Recorded with the same write: this login came from the old file, even if the file stays.
        let document = Document::of_credential(Document::default(), credential, None, None)
            .with_adopted(login.path(), login.digest());
        self.overwrite(
            &New::of(document, None, None, Vec::new()),
            credential.refreshed_at,
            may,
        )?;
        handwritten::retire(login, may);
        Ok(())
    }

    /// Writes a document over any contents, but keeps a damaged file aside. The damaged file keeps its name until the
    /// new one replaces it, so that no crash leaves a place that looks like "never logged in".
    fn overwrite(&mut self, new: &New, now: UnixMillis, may: MayBlock) -> Result<(), Error> {
        let reservation = self.written(new, may)?;
        let aside = Seen::look(&self.target, may).and_then(|seen| {
            if seen.is_corrupt {
                damaged_file::set_aside(&self.target, now, may)?;
            }
            Ok(())
        });
        if let Err(error) = aside {
            new.abandon(reservation, may);
            return Err(error);
        }
        self.commit(reservation, new, may)
    }

    fn written(&self, new: &New, may: MayBlock) -> Result<Reservation, Error> {
        let size = new.document.to_json().len() as u64;
        let mut reservation = Reservation::new(&self.target, size, may)?;
        if let Err(error) = new.write(&mut reservation, may) {
            new.abandon(reservation, may);
            return Err(error);
        }
        Ok(reservation)
    }

    fn commit(&mut self, reservation: Reservation, new: &New, may: MayBlock) -> Result<(), Error> {
        match reservation.commit(may) {
            Ok(()) => {
                self.seen = new.stored(&self.target);
                Ok(())
            }
            Err(failed) => {
                match failed.reservation {
                    Some(reservation) => new.abandon(reservation, may),
                    None => drop(new.forget(may)),
                }
                Err(failed.error)
            }
        }
    }
}

/// Reads without a lock: the contents, and the file itself.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
pub(in crate::store) fn read(
    place: &Place,
    look: Look,
) -> Result<(Stored, Option<RegularFile>), Error> {
    let target = symlink::resolve(place.path(), look)?;
    let file = RegularFile::read(&target, look)?;
    let stored = match &file {
        Some(file) => parse_file(file.bytes(), &target.display())?.0,
        None => Stored::Nothing,
    };
    Ok((stored, file))
}

/// A credential with its secrets from the keychain.
///
/// # Errors
/// `STORE_IO` while the keychain cannot be asked, `LOGIN_REQUIRED` if it no longer has them, `INVALID_CONFIG` in a
/// build that knows none; and what reading may say.
pub(in crate::store) fn opened(
    place: &Place,
    sealed: Arc<Outline>,
    may: MayBlock,
) -> Result<Snapshot, Error> {
    let mut sealed = sealed;
    loop {
        let path = symlink::resolve(place.path(), may.into())?;
        if let Some((snapshot, _)) = sealed::open(&sealed, &path, may)? {
            return Ok(snapshot);
        }
        // Another may have replaced them just now: then the file names others.
        sealed = match read(place, may.into())?.0 {
            Stored::Credential(snapshot) => return Ok(snapshot),
            Stored::Sealed(now) if now.identity != sealed.identity => now,
            _ => return Err(sealed::gone(&path.display())),
        };
    }
}

/// Finishes what a crash has interrupted: the temp file becomes the file. Whether it changed.
fn recover(target: &Path, stored: &Stored, secrets: Secrets, may: MayBlock) -> Result<bool, Error> {
    match Journal::of(target).recover(stored, secrets, may)? {
        Some(found) => atomic_write::finish(&found.temp, found.length, target, may).map(|()| true),
        None => Ok(false),
    }
}

/// A document on its way to the disk, and the secrets of it that are on their way to the keychain.
struct New {
    document: Document,
    secrets: Option<(NewName, Secret)>,
}

impl New {
    /// With secrets in the keychain if they have a name there. `superseded` are those that are to be removed
    /// afterwards; `refreshed` are those of them that a refresh has spent for the new ones.
    fn of(
        document: Document,
        secrets_id: Option<NewName>,
        refreshed: Option<&OpenedMembers>,
        superseded: Vec<String>,
    ) -> Self {
        let mut document = document;
        document.set_former(superseded);
        match secrets_id {
            Some(name) => {
                let (document, secrets) =
                    document.sealed(&name, refreshed.map(OpenedMembers::name));
                Self {
                    document,
                    secrets: Some((name, secrets)),
                }
            }
            None => Self {
                document,
                secrets: None,
            },
        }
    }

    /// First the name, then the secrets: so that what a crash leaves can be found.
    fn write(&self, reservation: &mut Reservation, may: MayBlock) -> Result<(), Error> {
        reservation.write(&self.document.to_json(), may)?;
        match &self.secrets {
            Some((name, secrets)) => {
                keychain::put(&name.text, secrets, &self.document.spent(), may)
                    .map_err(|failure| failure.explain(None))
            }
            None => Ok(()),
        }
    }

    /// Takes back secrets that the file will not name. Says which are left.
    fn forget(&self, may: MayBlock) -> Vec<String> {
        match &self.secrets {
            Some((name, _)) => {
                sealed::forget(std::slice::from_ref(&name.text), None, Person::Away, may).left
            }
            None => Vec::new(),
        }
    }

    /// Removes the secrets and the temp file, which names those that are left.
    fn abandon(&self, reservation: Reservation, may: MayBlock) {
        if self.forget(may).is_empty() {
            reservation.discard();
        }
    }

    /// The contents of the file from now on.
    fn stored(&self, target: &Path) -> Seen {
        let mut seen = Seen::written(self.document.clone(), target);
        if let (Stored::Sealed(outline), Some((name, text))) = (&seen.stored, &self.secrets)
            && let Some((snapshot, secrets)) = sealed::written(outline, text, name)
        {
            seen.stored = Stored::Credential(snapshot);
            seen.secrets = Some(secrets);
        }
        seen
    }
}

impl fmt::Debug for OwnFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnFile")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Seen {
    fn nothing() -> Self {
        Self {
            stored: Stored::Nothing,
            document: Document::default(),
            secrets: None,
            size: 0,
            is_corrupt: false,
        }
    }

    /// The document with its members from the keychain.
    fn whole(&self) -> Document {
        let document = self.document.clone();
        match &self.secrets {
            Some(secrets) => secrets.joined_to(document),
            None => document,
        }
    }

    /// Reads the file again.
    fn look(target: &Path, may: MayBlock) -> Result<Self, Error> {
        Self::of(RegularFile::read(target, may.into())?.as_ref(), target)
    }

    /// Reads the file again, and takes it for missing only where the folder shows so twice: a host that moves its
    /// state folder and leaves a link in its place must not look like a logout.
    #[expect(
        clippy::disallowed_methods,
        reason = "for a moment, on a thread that may block"
    )]
    fn look_through_moves(target: &Path, may: MayBlock) -> Result<Self, Error> {
        let mut sure = 0;
        for _ in 0..MOVE_LOOKS {
            let seen = Self::look(target, may)?;
            if seen.is_corrupt || seen.stored != Stored::Nothing {
                return Ok(seen);
            }
            sure += i32::from(folder_of(target).is_dir());
            if sure >= 2 {
                return Ok(seen);
            }
            std::thread::sleep(MOVE_WAIT);
        }
        Self::look(target, may)
    }

    /// Reads the file again, and removes other users' permissions.
    fn tightened(target: &Path, may: MayBlock) -> Result<Self, Error> {
        let file = RegularFile::read(target, may.into())?;
        if let Some(file) = &file {
            file.tighten(target);
        }
        Self::of(file.as_ref(), target)
    }

    fn of(file: Option<&RegularFile>, target: &Path) -> Result<Self, Error> {
        let Some(file) = file else {
            return Ok(Self::nothing());
        };
        match parse_file(file.bytes(), &target.display()) {
            Ok((stored, document)) => Ok(Self {
                stored,
                document,
                secrets: None,
                size: file.bytes().map_or(0, |bytes| bytes.len() as u64),
                is_corrupt: false,
            }),
            Err(error) if error.code() == ErrorCode::StoreCorrupt => Ok(Self {
                is_corrupt: true,
                ..Self::nothing()
            }),
            Err(error) => Err(error),
        }
    }

    /// The document just written, read back from memory so that both ways give the same.
    fn written(document: Document, target: &Path) -> Self {
        let bytes = document.to_json();
        match parse(&bytes, &target.display()) {
            Ok((stored, _)) => Self {
                stored,
                document,
                secrets: None,
                size: bytes.len() as u64,
                is_corrupt: false,
            },
            // A session that stores an empty access token would come here; the file says the same.
            Err(_) => Self {
                is_corrupt: true,
                ..Self::nothing()
            },
        }
    }

    /// Identifies what is held: the refresh token, or what is there instead of one.
    fn fingerprint(&self) -> Fingerprint {
        match &self.stored {
            _ if self.is_corrupt => Fingerprint::of(&["corrupt"]),
            Stored::Nothing => Fingerprint::of(&["nothing"]),
            Stored::LoggedOut => Fingerprint::of(&["logged out"]),
            Stored::Credential(snapshot) => snapshot.identity.clone(),
            Stored::Sealed(outline) => outline.identity.clone(),
        }
    }
}

fn make_folder(place: &Place, may: MayBlock) -> Result<(), Error> {
    match place.folder() {
        Some(folder) => private_dir::ensure_ours(folder, may),
        None => private_dir::ensure_exists(folder_of(place.path()), may),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests;
