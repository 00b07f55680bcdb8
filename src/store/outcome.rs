//! The outcomes of a save or a logout, for every kind of store.

use crate::error::Error;
use crate::secret::Secret;
use crate::store::credential::Snapshot;

/// How a save ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    /// The store holds the new credential.
    Written,
    /// The store no longer holds the refresh token that was spent, so the stored credential wins; it was read under
    /// the lock.
    Superseded,
    /// Another program's change wins, and the new tokens are not revoked, because that would end its login. It has
    /// refreshed the same login, or it has logged out, which does not end tokens that came for the stored one.
    LeftToProgram,
}

/// A save that failed; the new credential is still only in memory, or where the next holder finishes it.
#[derive(Debug)]
pub(crate) struct SaveFailure<R> {
    /// Why.
    pub(crate) error: Error,
    /// To try it again with; none if it is gone, so that a new one has to be reserved.
    pub(crate) reserved: Option<R>,
}

impl<R> SaveFailure<R> {
    pub(super) fn map<S>(self, wrap: impl FnOnce(R) -> S) -> SaveFailure<S> {
        SaveFailure {
            error: self.error,
            reserved: self.reserved.map(wrap),
        }
    }
}

/// The tokens that a logout removed, to be revoked.
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
    /// The private key that both are bound to.
    pub(crate) dpop_key: Option<Secret>,
}

impl Removed {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            access: snapshot.access().clone(),
            refresh: snapshot.refresh().cloned(),
            revocation_endpoint: owned(snapshot.revocation_endpoint()),
            client_id: owned(snapshot.client_id()),
            dpop_key: snapshot.dpop_key().cloned(),
        }
    }
}
