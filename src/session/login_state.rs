//! Everything that this process knows of a login beside what is stored, under the login's one key.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::Error;
use crate::http::Line;
use crate::oauth::dpop::DpopKey;
use crate::secret::Secret;
use crate::store::credential::Snapshot;
use crate::store::key::{ByName, Key};
use crate::time::{BootInstant, UnixMillis};

use super::forced_refreshes::ForcedRefreshes;
use super::foreign_clock::ForeignClock;
use super::handover::Handover;
use super::mutex::lock;
use super::single_flight::Flights;
use super::target::Target;

/// The in-memory state of one login.
#[derive(Default)]
pub(super) struct LoginState {
    /// The refreshed credential that could not be saved yet.
    pub(super) unsaved: Option<Unsaved>,
    /// The login's own access token.
    own: TokenState,
    /// The access tokens for other targets.
    others: Vec<(Target, TokenState)>,
    /// Since when the lock of its file is only a local one, because the file system has none.
    pub(super) local_lock: Option<UnixMillis>,
    /// The key that its tokens are bound to, parsed: that costs as much as a signature.
    pub(super) dpop_key: Option<Arc<DpopKey>>,
    /// The connection of its last refresh, for the next one.
    line: Option<Line>,
}

/// The state of one access token of a login.
#[derive(Default)]
pub(super) struct TokenState {
    pub(super) deadline: Option<Deadline>,
    pub(super) forced: ForcedRefreshes,
    pub(super) foreign_clock: ForeignClock,
    pub(super) flights: Flights,
    /// For another target than the login's own: the token, with the login that it is of.
    pub(super) token: Option<Snapshot>,
    /// Why there is none.
    pub(super) refusal: Option<Refusal>,
}

/// A token that a server did not give.
pub(super) struct Refusal {
    /// The login that asked.
    pub(super) login: Snapshot,
    pub(super) error: Error,
    /// Nobody asks again before.
    pub(super) until: BootInstant,
    pub(super) wait: Duration,
}

/// More targets than any plugin has. Only what is asked for again is missed.
const MOST_TARGETS: usize = 64;

/// A credential that waits for its disk, and why.
#[derive(Clone)]
pub(super) struct Unsaved {
    pub(super) credential: Snapshot,
    pub(super) cause: Error,
    /// How a logout gets at it.
    pub(super) handover: Arc<Handover>,
}

/// When an access token ends on the boot clock, which no clock change moves.
pub(super) struct Deadline {
    /// The token, and the wall time that its file names: a file that says otherwise by now is believed.
    pub(super) access: Secret,
    pub(super) expires: Option<UnixMillis>,
    pub(super) at: BootInstant,
    /// Counted from the server's own answer, not from a file's wall time.
    pub(super) exact: bool,
}

impl LoginState {
    /// The state of its access token for that target.
    pub(super) fn token(&mut self, target: &Target) -> &mut TokenState {
        if target.is_login() {
            return &mut self.own;
        }
        let known = self.others.iter().position(|(known, _)| known == target);
        let other = if let Some(at) = known {
            self.others.swap_remove(at)
        } else {
            if self.others.len() >= MOST_TARGETS {
                self.others.retain(|(_, other)| other.flights.is_flying());
            }
            (target.clone(), TokenState::default())
        };
        self.others.push(other);
        match self.others.last_mut() {
            Some((_, state)) => state,
            None => &mut self.own,
        }
    }

    /// Forgets a login that was logged out. Its flights end by themselves.
    pub(super) fn forget(&mut self) {
        *self = Self {
            own: TokenState {
                flights: std::mem::take(&mut self.own.flights),
                ..TokenState::default()
            },
            ..Self::default()
        };
    }
}

/// The logins that this process has met.
#[derive(Default)]
pub(super) struct Logins(Mutex<ByName<Key, LoginState>>);

impl Logins {
    /// Looks at one, or changes it. `look` must not call this again.
    pub(super) fn of<T>(&self, key: &Key, look: impl FnOnce(&mut LoginState) -> T) -> T {
        let mut logins = lock(&self.0);
        if let Some(login) = logins.get_mut(key) {
            return look(login);
        }
        look(logins.entry(key.clone()).or_default())
    }

    /// The key that the tokens of that login are bound to, as it is stored by now.
    ///
    /// # Errors
    /// As [`DpopKey::from_stored`].
    pub(super) fn dpop_key(&self, key: &Key, stored: &Secret) -> Result<Arc<DpopKey>, Error> {
        let known = self.of(key, |login| login.dpop_key.clone());
        if let Some(known) = known.filter(|known| known.stored() == stored) {
            return Ok(known);
        }
        let parsed = Arc::new(DpopKey::from_stored(stored)?);
        self.of(key, |login| login.dpop_key = Some(Arc::clone(&parsed)));
        Ok(parsed)
    }

    /// The connection of that login's last refresh, or none that is open yet.
    pub(super) fn take_line(&self, key: &Key) -> Line {
        let left = self.of(key, |login| login.line.take());
        left.unwrap_or_default()
    }

    /// Leaves the connection to the next refresh.
    pub(super) fn leave_line(&self, key: &Key, line: Line) {
        drop(self.of(key, |login| login.line.replace(line)));
    }

    /// The part of it that `status` reports: the credential that waits for its disk, and since when its lock is only a
    /// local one.
    pub(super) fn told(&self, key: &Key) -> (Option<Unsaved>, Option<UnixMillis>) {
        self.of(key, |login| (login.unsaved.clone(), login.local_lock))
    }

    /// Drops parsed keys: their logins may have ended elsewhere. Keys in use are parsed again.
    pub(super) fn let_go_of_keys(&self) {
        for login in lock(&self.0).values_mut() {
            login.dpop_key = None;
        }
    }

    /// The credential that waits for its disk, if one does.
    pub(super) fn unsaved(&self, key: &Key) -> Option<Unsaved> {
        self.of(key, |login| login.unsaved.clone())
    }
}
