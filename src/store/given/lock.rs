//! The lock and the document of a login in a store that the plugin gave.
//!
//! The lock keeps others from refreshing at the same time. A holder that has lost it without noticing is stopped by
//! the version: a write succeeds only over the version that was read. Writing the document unchanged reserves the
//! place for the result of a refresh: the result must find the version of that write.

use std::fmt;

use crate::blocking::{Look, MayBlock};
use crate::error::{Error, ErrorCode};
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::format::{self, Document};
use crate::store::outcome::{Removed, SaveFailure, Saved};
use crate::store::plugin_store::{Held, Slot, TRIES, Versioned, as_value, keeps_changing};
use crate::time::UnixMillis;

/// Reads without a lock, as of a second ago or later.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
pub(in crate::store) fn read(slot: &Slot, look: Look) -> Result<Stored, Error> {
    match slot.store.read_recent(&slot.key, look)? {
        Some(kept) => Ok(parse(&kept, &slot.key)?.0),
        None => Ok(Stored::Nothing),
    }
}

fn parse(kept: &Versioned, key: &str) -> Result<(Stored, Document), Error> {
    let (stored, document) = format::parse(kept.value.expose().as_bytes(), &key)?;
    match stored {
        // Another machine's keychain cannot be asked.
        Stored::Sealed(_) => Err(format::corrupt(
            &key,
            "its tokens are said to lie in a keychain",
        )),
        stored => Ok((stored, document)),
    }
}

/// A held lock with the credential as it was read under it. Dropping it unlocks.
pub(in crate::store) struct GivenLock {
    held: Box<dyn Held>,
    slot: Slot,
    seen: Seen,
}

/// The contents of the store.
struct Seen {
    stored: Stored,
    document: Document,
    kept: Option<Versioned>,
    is_corrupt: bool,
}

/// The version that the result of a refresh has to find.
#[derive(Debug)]
pub(in crate::store) struct Reserved {
    version: String,
}

impl GivenLock {
    pub(in crate::store) fn try_acquire(slot: &Slot, may: MayBlock) -> Result<Option<Self>, Error> {
        let Some(held) = slot.store.keeper.try_lock(&slot.key, may)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            held,
            slot: slot.clone(),
            seen: Seen::look(slot, may)?,
        }))
    }

    pub(in crate::store) fn stored(&self) -> &Stored {
        &self.seen.stored
    }

    pub(in crate::store) fn reserve(&mut self, may: MayBlock) -> Result<Reserved, Error> {
        self.require_lock()?;
        let value = match &self.seen.kept {
            Some(kept) => kept.value.clone(),
            // Nobody is logged in, then and now.
            None => as_value(Document::of_logout(UnixMillis::default()).to_json()),
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

    pub(in crate::store) fn save(
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
        // The write may have succeeded although its answer was lost: then this finds it.
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

    pub(in crate::store) fn store_login(
        &mut self,
        credential: &NewCredential,
        may: MayBlock,
    ) -> Result<(), Error> {
        let document = Document::of_credential(Document::default(), credential, None, None);
        self.overwrite(&document, credential.refreshed_at, may)
    }

    pub(in crate::store) fn record_failure(
        &mut self,
        last_refresh: &LastRefresh,
        may: MayBlock,
    ) -> Result<(), Error> {
        self.record(|document| document.with_last_refresh(last_refresh), may)
    }

    /// Changes the outline of the credential.
    pub(in crate::store) fn record(
        &mut self,
        edit: impl FnOnce(Document) -> Document,
        may: MayBlock,
    ) -> Result<(), Error> {
        if self.seen.stored.outline().is_none() {
            return Ok(());
        }
        let document = edit(self.seen.document.clone());
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

    pub(in crate::store) fn logged_out_at(&self) -> Option<UnixMillis> {
        self.seen.document.logged_out_at()
    }

    pub(in crate::store) fn log_out(
        &mut self,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<Option<Removed>, Error> {
        let removed = self.seen.stored.credential().map(Removed::of);
        // Also where there is a tombstone: a login that was begun after that has to find a later one.
        self.overwrite(&Document::of_logout(now), now, may)?;
        Ok(removed)
    }

    /// All members of the value.
    pub(in crate::store) fn document(&self) -> &Document {
        &self.seen.document
    }

    /// Writes a document in place of what was read under the lock. A damaged value is kept under another key.
    ///
    /// # Errors
    /// `STORE_LOCKED` if another was faster; `STORE_IO`.
    pub(in crate::store) fn put(
        &mut self,
        document: &Document,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<(), Error> {
        self.require_lock()?;
        if self.replaced(document, now, may)? {
            return Ok(());
        }
        Err(keeps_changing(&self.slot.key))
    }

    /// Writes a document over any present one.
    fn overwrite(
        &mut self,
        document: &Document,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<(), Error> {
        for _ in 0..TRIES {
            if self.replaced(document, now, may)? {
                return Ok(());
            }
        }
        Err(keeps_changing(&self.slot.key))
    }

    /// Writes a document unless the store holds something else by now, which is then read.
    fn replaced(
        &mut self,
        document: &Document,
        now: UnixMillis,
        may: MayBlock,
    ) -> Result<bool, Error> {
        let Slot { store, key } = &self.slot;
        if let Some(damaged) = self.seen.kept.as_ref().filter(|_| self.seen.is_corrupt) {
            store.set_aside(key, damaged.value.expose().as_bytes(), now, may)?;
        }
        let written = store.write(key, document, self.version(), may)?;
        let is_written = written.is_some();
        self.seen = match written {
            Some(kept) => Seen::of(Some(kept), key)?,
            None => Seen::look(&self.slot, may)?,
        };
        Ok(is_written)
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
