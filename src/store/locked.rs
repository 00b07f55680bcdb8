//! The only way to change a credential, and the only way to its refresh token: holding its lock.
//!
//! A holder can do the same in every kind of store: prove that a result can be stored, spend the refresh token that
//! was read under the lock, save, and find that another process was faster.

use std::fmt;

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::keychain::Person;
use crate::secret::Secret;
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::earlier_login::EarlierLogin;
use crate::store::foreign;
use crate::store::foreign::file::ForeignFile;
use crate::store::format::Document;
use crate::store::given;
use crate::store::given::lock::GivenLock;
use crate::store::location::{Location, Place};
use crate::store::outcome::{Removed, SaveFailure, Saved};
use crate::store::own;
use crate::store::own::file::OwnFile;
use crate::store::own::handwritten;
use crate::store::sealed::Storage;
use crate::time::UnixMillis;

/// A held lock with the credential as it was read under it. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct Locked(Kept);

/// The kind of store, with its lock.
#[derive(Debug)]
enum Kept {
    OwnFile(OwnFile),
    ForeignFile(Box<ForeignFile>),
    Given(GivenLock),
}

/// A stored refresh token, lent by the holder of the lock.
#[derive(Clone, Copy)]
pub(crate) struct RefreshToken<'a>(&'a Secret);

impl<'a> RefreshToken<'a> {
    /// The token, for the one request that spends it.
    pub(crate) fn secret(self) -> &'a Secret {
        self.0
    }
}

impl fmt::Debug for RefreshToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(redacted)")
    }
}

/// Proof that the store can take the result of a refresh, and what that result replaces.
#[derive(Debug)]
pub(crate) struct Reserved(Room);

#[derive(Debug)]
enum Room {
    OwnFile(own::file::Reserved),
    ForeignFile(Box<foreign::file::Reserved>),
    Given(given::lock::Reserved),
}

impl Locked {
    /// Takes the lock, or none if another holds it; makes the folders, finishes or deletes what a crash has left, and
    /// reads the credential. A damaged one is no error here: see [`Locked::stored`].
    ///
    /// # Errors
    /// `STORE_IO`, `STORE_VERSION`.
    pub(crate) fn try_acquire(location: &Location, may: MayBlock) -> Result<Option<Self>, Error> {
        let kept = match &location.0 {
            Place::Own(place) => OwnFile::try_acquire(place, may)?.map(Kept::OwnFile),
            Place::Foreign(place) => {
                ForeignFile::try_acquire(place, may)?.map(|file| Kept::ForeignFile(Box::new(file)))
            }
            Place::Given(place) => GivenLock::try_acquire(place.slot(), may)?.map(Kept::Given),
        };
        Ok(kept.map(Self))
    }

    /// Describes the present holder of the lock, with its note. Only meaningful while the lock is held.
    pub(crate) fn holder(location: &Location, may: MayBlock) -> Option<String> {
        match &location.0 {
            Place::Own(place) => OwnFile::holder(place, may),
            Place::Foreign(place) => ForeignFile::holder(place, may),
            // Only the store knows.
            Place::Given(_) => None,
        }
    }

    /// Publishes who holds the lock and why, for others that wait. Never a secret: it may be in a file. Best effort.
    pub(crate) fn note(&self, text: &str, may: MayBlock) {
        match &self.0 {
            Kept::OwnFile(file) => file.note(text, may),
            Kept::ForeignFile(file) => file.note(text, may),
            Kept::Given(_) => {}
        }
    }

    /// Whether the file system of the credential has no locks, so that this one is in the local temp folder.
    pub(crate) fn is_local_fallback(&self) -> bool {
        match &self.0 {
            Kept::OwnFile(file) => file.is_local_fallback(),
            Kept::ForeignFile(file) => file.is_local_fallback(),
            Kept::Given(_) => false,
        }
    }

    /// The stored credential, as of the last read or write under this lock. A damaged file gives [`Stored::Nothing`]
    /// here; [`super::reading::read`] distinguishes the two.
    pub(crate) fn stored(&self) -> &Stored {
        match &self.0 {
            Kept::OwnFile(file) => file.stored(),
            Kept::ForeignFile(file) => file.stored(),
            Kept::Given(given) => given.stored(),
        }
    }

    /// The time of a logout with no login since; another program's file has no place for it.
    pub(crate) fn logged_out_at(&self) -> Option<UnixMillis> {
        match &self.0 {
            Kept::OwnFile(file) => file.logged_out_at(),
            Kept::ForeignFile(_) => None,
            Kept::Given(given) => given.logged_out_at(),
        }
    }

    /// Reads the secrets of a credential from the keychain: from then on [`Locked::stored`] has them.
    ///
    /// # Errors
    /// `STORE_IO` while the keychain cannot be asked, `LOGIN_REQUIRED` if it no longer has them, `INVALID_CONFIG` in a
    /// build without a keychain. The stored credential stays as it is.
    pub(crate) fn open(&mut self, may: MayBlock) -> Result<(), Error> {
        match &mut self.0 {
            Kept::OwnFile(file) => file.open(may),
            Kept::ForeignFile(_) | Kept::Given(_) => Ok(()),
        }
    }

    /// Tries whether new secrets can be kept in the keychain.
    ///
    /// # Errors
    /// `STORE_IO` with the cause in words, `INVALID_CONFIG` in a build that knows none.
    pub(crate) fn try_keychain(&self, may: MayBlock) -> Result<Storage, Error> {
        match &self.0 {
            Kept::OwnFile(file) => file.try_keychain(may),
            // A config that names a format or a store has no other storage.
            Kept::ForeignFile(_) | Kept::Given(_) => Ok(Storage::File),
        }
    }

    /// The stored refresh token.
    pub(crate) fn refresh_token(&self) -> Option<RefreshToken<'_>> {
        self.stored()
            .credential()
            .and_then(Snapshot::refresh)
            .map(RefreshToken)
    }

    /// Proves that the store can take a result, before anything is spent for it.
    ///
    /// # Errors
    /// `STORE_IO` with the cause in words.
    pub(crate) fn reserve(&mut self, may: MayBlock) -> Result<Reserved, Error> {
        match &mut self.0 {
            Kept::OwnFile(file) => file.reserve(may).map(Room::OwnFile),
            Kept::ForeignFile(file) => file.reserve(may).map(Room::ForeignFile),
            Kept::Given(given) => given.reserve(may).map(Room::Given),
        }
        .map(Reserved)
    }

    /// Stores the result of a refresh. Unknown members stay, and so does the stored refresh token where the result has
    /// none. Nothing is written if the store no longer holds what was reserved for.
    ///
    /// # Errors
    /// Gives back what is needed to try again.
    pub(crate) fn save(
        &mut self,
        reserved: Reserved,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<Saved, SaveFailure<Reserved>> {
        let saved = match (&mut self.0, reserved.0) {
            (Kept::OwnFile(file), Room::OwnFile(room)) => file
                .save(room, credential, may)
                .map_err(|failure| failure.map(|room| Reserved(Room::OwnFile(room)))),
            (Kept::ForeignFile(file), Room::ForeignFile(room)) => file
                .save(room, credential, may)
                .map_err(|failure| failure.map(|room| Reserved(Room::ForeignFile(room)))),
            (Kept::Given(given), Room::Given(room)) => given
                .save(room, credential, may)
                .map_err(|failure| failure.map(|room| Reserved(Room::Given(room)))),
            // Reserved room goes back only to the file that it was taken for.
            (_, room) => Err(SaveFailure {
                error: Error::new(
                    ErrorCode::StoreIo,
                    "The login moved while it was saved. Try again.",
                ),
                reserved: Some(Reserved(room)),
            }),
        }?;
        let Some(stored) = self.stored().credential() else {
            return Ok(saved);
        };
        // A server that gives the same tokens to everyone who asks twice gave them to another process as well: they
        // are in use.
        if stored.identity == credential.snapshot().identity {
            return Ok(Saved::Written);
        }
        // Another has refreshed the same login, maybe with what came here. RFC 7009 §2.1: with a refresh token the
        // server "SHOULD also invalidate all access tokens based on the same authorization grant", and many end the
        // grant itself.
        Ok(match saved {
            Saved::Superseded if credential.is_of_login(stored) => Saved::LeftToProgram,
            saved => saved,
        })
    }

    /// Stores a login in place of any other. A damaged file is kept beside it.
    ///
    /// # Errors
    /// `STORE_IO`; `STORE_VERSION` if a newer version has written the file meanwhile.
    pub(crate) fn store_login(
        &mut self,
        credential: &NewCredential,
        storage: Storage,
        may: MayBlock,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Kept::OwnFile(file) => file.store_login(credential, storage, may),
            Kept::ForeignFile(file) => file.store_login(credential, may),
            Kept::Given(given) => given.store_login(credential, may),
        }
    }

    /// A login in the file, as tests mostly want it.
    #[cfg(test)]
    pub(crate) fn replace(&mut self, credential: &NewCredential) -> Result<(), Error> {
        self.store_login(credential, Storage::File, MayBlock::in_test())
    }

    /// Shares what a failed refresh taught. Nothing is written if the store no longer holds the credential that it is
    /// about.
    ///
    /// # Errors
    /// `STORE_IO` and what reading may say.
    pub(crate) fn record_failure(
        &mut self,
        last_refresh: &LastRefresh,
        may: MayBlock,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Kept::OwnFile(file) => file.record_failure(last_refresh, may),
            Kept::ForeignFile(file) => file.record_failure(last_refresh, may),
            Kept::Given(given) => given.record_failure(last_refresh, may),
        }
    }

    /// Notes the scopes that a resource missed in the credential. Another program's file has no place for it.
    ///
    /// # Errors
    /// `STORE_IO` if it cannot be written.
    pub(crate) fn record_required_scopes(
        &mut self,
        scopes: &[String],
        may: MayBlock,
    ) -> Result<(), Error> {
        let edit = |document: Document| document.with_required_scopes(scopes);
        match &mut self.0 {
            Kept::OwnFile(file) => file.record(edit, may),
            Kept::ForeignFile(_) => Ok(()),
            Kept::Given(given) => given.record(edit, may),
        }
    }

    /// Removes the credential, so that no older one returns. Its secrets in a keychain stay until
    /// [`Locked::forget_secrets`], so that they can be revoked first.
    ///
    /// # Errors
    /// `STORE_IO` if the credential stays; `STORE_VERSION` if a newer version has written the file meanwhile.
    pub(crate) fn log_out(
        &mut self,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<Option<Removed>, Error> {
        match &mut self.0 {
            Kept::OwnFile(file) => file.log_out(now, may),
            Kept::ForeignFile(file) => file.log_out(may),
            Kept::Given(given) => given.log_out(now, may),
        }
    }

    /// All members of what is stored. Another program's file has a format of its own: nothing of it.
    pub(super) fn document(&self) -> Document {
        match &self.0 {
            Kept::OwnFile(file) => file.document().clone(),
            Kept::ForeignFile(_) => Document::default(),
            Kept::Given(given) => given.document().clone(),
        }
    }

    /// Writes a document in place of what was read under the lock. Logins are not moved to other programs' files.
    ///
    /// # Errors
    /// `STORE_LOCKED` if another was faster; `STORE_IO`.
    pub(super) fn put(
        &mut self,
        document: &Document,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Kept::OwnFile(file) => file.put(document, now, may),
            Kept::ForeignFile(_) => Ok(()),
            Kept::Given(given) => given.put(document, now, may),
        }
    }

    /// The names of secrets in the keychain that were replaced or logged out, as far as they may still be there.
    pub(crate) fn former_secrets(&self) -> Vec<String> {
        match &self.0 {
            Kept::OwnFile(file) => file.former_secrets(),
            Kept::ForeignFile(_) | Kept::Given(_) => Vec::new(),
        }
    }

    /// Removes those secrets, by a window where a person has to allow it. Says which are left.
    pub(crate) fn forget_secrets(&mut self, may: MayBlock) -> Vec<String> {
        self.forget_secrets_of(Person::Here, may)
    }

    /// Removes the secrets without opening a window.
    pub(crate) fn forget_secrets_silently(&mut self, may: MayBlock) -> Vec<String> {
        self.forget_secrets_of(Person::Away, may)
    }

    fn forget_secrets_of(&mut self, person: Person, may: MayBlock) -> Vec<String> {
        match &mut self.0 {
            Kept::OwnFile(file) => file.forget_secrets(person, may),
            Kept::ForeignFile(_) | Kept::Given(_) => Vec::new(),
        }
    }

    /// Stores a handwritten login, bound to the config by the caller, and takes its old file out of the way. Does
    /// nothing if there is a credential, a tombstone or a damaged file.
    ///
    /// # Errors
    /// `STORE_IO`.
    pub(crate) fn adopt(
        &mut self,
        login: &EarlierLogin,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Kept::OwnFile(file) => file.adopt(login, credential, may),
            Kept::Given(given) => {
                given.store_login(credential, may)?;
                handwritten::retire(login, may);
                Ok(())
            }
            // A config that names a format adopts nothing.
            Kept::ForeignFile(_) => Ok(()),
        }
    }
}
