//! The only way to change a credential, and the only way to its refresh token: holding its lock.
//!
//! What protects a login at each instant of a refresh:
//! 1. before the request, [`Locked::reserve`] proves that the result can be stored;
//! 2. after the answer, [`Locked::save`] writes a temp file that names the refresh token it replaces; from then on a
//!    crash loses nothing, because the next holder finishes it;
//! 3. just before the rename the file is read again: a login or logout that came in between wins;
//! 4. the rename itself leaves the old or the new file, whole.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write::{self, Reservation, Uncommitted};
use crate::fs::damaged_file;
use crate::fs::lock::Lock;
use crate::fs::private_dir;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::secret::{Fingerprint, Secret};
use crate::store::credential::{self, LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::format::Document;
use crate::store::handwritten::Handwritten;
use crate::store::leftover;
use crate::store::location::Location;
use crate::time::UnixMillis;

/// What a new credential may be larger than the present one.
const SPARE_BYTES: u64 = 16 * 1024;

/// How often a link may lead elsewhere between finding its target and locking it.
const TARGETS: usize = 8;

/// A held lock with the credential as it was read under it. Dropping it unlocks.
pub(crate) struct Locked {
    lock: Lock,
    target: PathBuf,
    seen: Seen,
}

/// What the file says.
struct Seen {
    stored: Stored,
    document: Document,
    size: u64,
    is_corrupt: bool,
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
pub(crate) struct Reserved {
    reservation: Reservation,
    replaces: Option<Fingerprint>,
    held: Fingerprint,
}

/// How a save ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// The file holds the new credential.
    Written,
    /// The file no longer holds the refresh token that was spent, so it wins; [`Locked::stored`] says what it holds.
    Superseded,
}

/// A save that failed; the new credential is still only in memory, or in a temp file that the next holder finishes.
#[derive(Debug)]
pub(crate) struct SaveFailure {
    /// Why.
    pub(crate) error: Error,
    /// To try it again with; none if its temp file is gone, so that a new one has to be reserved.
    pub(crate) reserved: Option<Reserved>,
}

/// What a logout removed, to be revoked.
#[derive(Clone, Debug)]
pub(crate) struct Removed {
    /// The access token.
    pub(crate) access: Secret,
    /// The refresh token.
    pub(crate) refresh: Option<Secret>,
    /// Where to revoke.
    pub(crate) revocation_endpoint: Option<String>,
    /// The client that it was issued to.
    pub(crate) client_id: Option<String>,
    /// The issuer.
    pub(crate) issuer: Option<String>,
    /// Where it was refreshed.
    pub(crate) token_endpoint: Option<String>,
    /// How the client authenticates.
    pub(crate) client_authentication: Option<String>,
    /// Whether that client was registered by us.
    pub(crate) registered_client: bool,
}

impl Removed {
    fn of(snapshot: &Snapshot) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            access: snapshot.access().clone(),
            refresh: snapshot.refresh().cloned(),
            revocation_endpoint: owned(snapshot.revocation_endpoint()),
            client_id: owned(snapshot.client_id()),
            issuer: owned(snapshot.issuer()),
            token_endpoint: owned(snapshot.token_endpoint()),
            client_authentication: owned(snapshot.client_authentication()),
            registered_client: snapshot.registered_client(),
        }
    }
}

impl Locked {
    /// Takes the lock, or none if another holds it; makes the folders, finishes or deletes what a crash has left, and
    /// reads the credential. A damaged one is no error here: see [`Locked::is_corrupt`].
    ///
    /// # Errors
    /// `STORE_IO`, `STORE_VERSION`.
    pub(crate) fn try_acquire(location: &Location) -> Result<Option<Self>, Error> {
        make_folder(location)?;
        for _ in 0..TARGETS {
            let target = symlink::resolve(location.path())?;
            if target != location.path() {
                private_dir::ensure_exists(folder_of(&target))?;
            }
            let Some(lock) = Lock::try_acquire(&target)? else {
                return Ok(None);
            };
            // The link may lead elsewhere since it was followed: then this is the lock of another file.
            if symlink::resolve(location.path())? != target {
                continue;
            }
            let mut seen = Seen::tightened(&target)?;
            if !seen.is_corrupt && leftover::recover(&target, &seen.stored)? {
                seen = Seen::tightened(&target)?;
            }
            return Ok(Some(Self { lock, target, seen }));
        }
        Ok(None)
    }

    /// What the present holder of the lock noted. Only meaningful while the lock is held.
    pub(crate) fn holder(location: &Location) -> Option<String> {
        Lock::holder(&symlink::resolve(location.path()).ok()?)
    }

    /// Tells others who holds the lock and why. Never a secret: it lies in a file. Best effort.
    pub(crate) fn note(&self, text: &str) {
        self.lock.note(text);
    }

    /// Whether the file system of the credential has no locks, so that this one lies in the local temp folder.
    pub(crate) fn is_local_fallback(&self) -> bool {
        self.lock.is_local_fallback()
    }

    /// Whether the file is damaged. [`Locked::stored`] is [`Stored::Nothing`] then, which does not mean that it is empty.
    pub(crate) fn is_corrupt(&self) -> bool {
        self.seen.is_corrupt
    }

    /// What is stored, as of the last read or write under this lock.
    pub(crate) fn stored(&self) -> &Stored {
        &self.seen.stored
    }

    /// The stored refresh token.
    pub(crate) fn refresh_token(&self) -> Option<RefreshToken<'_>> {
        self.seen
            .stored
            .credential()
            .and_then(Snapshot::refresh)
            .map(RefreshToken)
    }

    /// Proves that the store can take a result, before anything is spent for it.
    ///
    /// # Errors
    /// `STORE_IO` with the cause in words.
    pub(crate) fn reserve(&self) -> Result<Reserved, Error> {
        let size = self.seen.size.saturating_add(SPARE_BYTES);
        Ok(Reserved {
            reservation: Reservation::new(&self.target, size)?,
            replaces: self.refresh_token().map(|token| token.0.fingerprint()),
            held: self.seen.fingerprint(),
        })
    }

    /// Stores the result of a refresh. Unknown members stay, and so does the stored refresh token where the result has
    /// none. Nothing is written if the file no longer holds what was reserved for.
    ///
    /// # Errors
    /// Gives back what is needed to try again.
    pub(crate) fn save(
        &mut self,
        reserved: Reserved,
        credential: &NewCredential,
    ) -> Result<Saved, SaveFailure> {
        let mut reserved = reserved;
        let kept_refresh = self.seen.stored.credential().and_then(Snapshot::refresh);
        let document = Document::of_credential(
            self.seen.document.clone(),
            credential,
            kept_refresh,
            reserved.replaces.as_ref(),
        );
        if let Err(error) = reserved.reservation.write(&document.to_json()) {
            return Err(SaveFailure {
                error,
                reserved: Some(reserved),
            });
        }
        match Seen::look(&self.target) {
            // Damage is nobody's login: the one in hand is better.
            Ok(now) if now.is_corrupt => {
                if let Err(error) = damaged_file::set_aside(&self.target, credential.refreshed_at) {
                    return Err(SaveFailure {
                        error,
                        reserved: Some(reserved),
                    });
                }
            }
            Ok(now) if now.fingerprint() == reserved.held => {}
            Ok(now) => {
                // Where a network lock was not honoured, another may have finished our temp file for us.
                let is_ours = now.document == document;
                reserved.reservation.discard();
                self.seen = now;
                return Ok(if is_ours {
                    Saved::Written
                } else {
                    Saved::Superseded
                });
            }
            Err(error) if error.code() == ErrorCode::StoreVersion => {
                reserved.reservation.discard();
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
        } = reserved;
        match reservation.commit() {
            Ok(()) => {
                self.seen = Seen::written(document, &self.target);
                Ok(Saved::Written)
            }
            Err(Uncommitted { error, reservation }) => Err(SaveFailure {
                error,
                reserved: reservation.map(|reservation| Reserved {
                    reservation,
                    replaces,
                    held,
                }),
            }),
        }
    }

    /// Stores a login, whatever was there. A damaged file is kept beside it.
    ///
    /// # Errors
    /// `STORE_IO`; `STORE_VERSION` if a newer version has written the file meanwhile.
    pub(crate) fn replace(&mut self, credential: &NewCredential) -> Result<(), Error> {
        let document = Document::of_credential(Document::default(), credential, None, None)
            .with_adopted_of(&self.seen.document);
        self.overwrite(document, credential.refreshed_at)?;
        // Those that were not looked at because the file was damaged.
        leftover::discard(&self.target);
        Ok(())
    }

    /// Shares what a failed refresh taught. Nothing is written if the file no longer holds the credential that it is
    /// about.
    ///
    /// # Errors
    /// `STORE_IO` and what reading may say.
    pub(crate) fn record_failure(&mut self, last_refresh: &LastRefresh) -> Result<(), Error> {
        if self.seen.stored.credential().is_none() {
            return Ok(());
        }
        let document = self.seen.document.clone().with_last_refresh(last_refresh);
        let reservation = self.written(&document)?;
        match Seen::look(&self.target) {
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
        self.commit(reservation, document)
    }

    /// Removes the credential and leaves a tombstone, so that nothing older comes back; where there is no space for
    /// one, the file is deleted.
    ///
    /// # Errors
    /// `STORE_IO` if the credential stays; `STORE_VERSION` if a newer version has written the file meanwhile.
    pub(crate) fn log_out(&mut self, now: UnixMillis) -> Result<Option<Removed>, Error> {
        let removed = self.seen.stored.credential().map(Removed::of);
        if self.seen.stored != Stored::LoggedOut {
            let document = Document::of_logout(now).with_adopted_of(&self.seen.document);
            if let Err(error) = self.overwrite(document, now) {
                if error.code() != ErrorCode::StoreIo {
                    return Err(error);
                }
                // What may not be read may not be deleted either.
                if Seen::look(&self.target)?.is_corrupt {
                    damaged_file::set_aside(&self.target, now)?;
                }
                atomic_write::remove(&self.target)?;
                self.seen = Seen::nothing();
            }
        }
        leftover::discard(&self.target);
        Ok(removed)
    }

    /// Stores a handwritten login, bound to the config by the caller, and takes its old file out of the way. Does
    /// nothing if there is a credential, a tombstone or a damaged file.
    ///
    /// # Errors
    /// `STORE_IO`.
    pub(crate) fn adopt(
        &mut self,
        handwritten: &Handwritten,
        credential: &NewCredential,
    ) -> Result<(), Error> {
        if self.seen.is_corrupt || self.seen.stored != Stored::Nothing {
            return Ok(());
        }
        // Recorded with the same write: whatever becomes of the old file, this login came from it.
        let document = Document::of_credential(Document::default(), credential, None, None)
            .with_adopted(handwritten.path(), handwritten.digest());
        self.overwrite(document, credential.refreshed_at)?;
        handwritten.retire();
        Ok(())
    }

    /// Writes a document whatever the file holds, but keeps a damaged one aside. The damaged file keeps its name until
    /// the new one takes it, so that no crash leaves a place that looks like "never logged in".
    fn overwrite(&mut self, document: Document, now: UnixMillis) -> Result<(), Error> {
        let reservation = self.written(&document)?;
        let aside = Seen::look(&self.target).and_then(|seen| {
            if seen.is_corrupt {
                damaged_file::set_aside(&self.target, now)?;
            }
            Ok(())
        });
        if let Err(error) = aside {
            reservation.discard();
            return Err(error);
        }
        self.commit(reservation, document)
    }

    fn written(&self, document: &Document) -> Result<Reservation, Error> {
        let bytes = document.to_json();
        let mut reservation = Reservation::new(&self.target, bytes.len() as u64)?;
        reservation.write(&bytes)?;
        Ok(reservation)
    }

    fn commit(&mut self, reservation: Reservation, document: Document) -> Result<(), Error> {
        match reservation.commit() {
            Ok(()) => {
                self.seen = Seen::written(document, &self.target);
                Ok(())
            }
            Err(failed) => {
                if let Some(reservation) = failed.reservation {
                    reservation.discard();
                }
                Err(failed.error)
            }
        }
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Seen {
    fn nothing() -> Self {
        Self {
            stored: Stored::Nothing,
            document: Document::default(),
            size: 0,
            is_corrupt: false,
        }
    }

    /// Reads the file anew.
    fn look(target: &Path) -> Result<Self, Error> {
        Self::of(RegularFile::read(target)?.as_ref(), target)
    }

    /// The same, and takes from others what they should not have.
    fn tightened(target: &Path) -> Result<Self, Error> {
        let file = RegularFile::read(target)?;
        if let Some(file) = &file {
            file.tighten();
        }
        Self::of(file.as_ref(), target)
    }

    fn of(file: Option<&RegularFile>, target: &Path) -> Result<Self, Error> {
        let Some(file) = file else {
            return Ok(Self::nothing());
        };
        match credential::parse(file, target) {
            Ok((stored, document)) => Ok(Self {
                stored,
                document,
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

    /// What was just written, read back from memory so that both ways give the same.
    fn written(document: Document, target: &Path) -> Self {
        let bytes = document.to_json();
        match crate::store::format::parse(&bytes, target) {
            Ok((stored, _)) => Self {
                stored,
                document,
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
            Stored::Credential(snapshot) => match snapshot.refresh() {
                Some(refresh) => Fingerprint::of(&["refresh", refresh.expose()]),
                None => Fingerprint::of(&["access", snapshot.access().expose()]),
            },
        }
    }
}

fn make_folder(location: &Location) -> Result<(), Error> {
    match location.own_folder() {
        Some(folder) => private_dir::ensure_ours(folder),
        None => private_dir::ensure_exists(folder_of(location.path())),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
