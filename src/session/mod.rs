//! The use cases, one per file: only here does a token response become a stored credential.

pub(crate) mod access_token;
pub(crate) mod accounts;
pub(crate) mod authorization;
mod authorization_code;
mod authorization_server;
mod blocking;
pub(crate) mod cancellation;
mod client;
pub(crate) mod config;
pub(crate) mod device_tokens;
pub(crate) mod doctor;
mod forced_refreshes;
mod foreign_clocks;
mod freshness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod import_token;
mod lock_wait;
pub(crate) mod login;
pub(crate) mod logout;
mod ownership;
mod refresh_attempts;
mod refresh_round;
mod remote;
mod single_flight;
pub(crate) mod status;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests;
mod unsaved;
pub(crate) mod verification;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::http::HttpClient;
use crate::oauth::dpop::Nonces;
use crate::secret::Secret;
use crate::store::cache::Cache;
use crate::store::location::{Environment, Location, LocationRequest};
use crate::time::{BootInstant, Clock, UnixMillis};

use self::config::AuthConfig;
use self::forced_refreshes::ForcedRefreshes;
use self::foreign_clocks::ForeignClocks;
use self::single_flight::Flights;
use self::unsaved::Unsaved;

/// What all calls of a process share.
pub(crate) struct Session {
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    environment: Box<dyn Environment>,
    cache: Cache,
    flights: Arc<Flights>,
    unsaved: Unsaved,
    deadlines: Mutex<HashMap<PathBuf, Deadline>>,
    forced: ForcedRefreshes,
    foreign_clocks: ForeignClocks,
    nonces: Nonces,
    /// Since when the lock of a credential file is only a local one, because its file system has none.
    local_locks: Mutex<HashMap<PathBuf, UnixMillis>>,
}

/// When an access token ends on the boot clock, which no clock change moves.
struct Deadline {
    /// The token, and the wall time that its file names: a file that says otherwise by now is believed.
    access: Secret,
    expires: Option<UnixMillis>,
    at: BootInstant,
    /// Counted from the server's own answer, not from a file's wall time.
    exact: bool,
}

impl Session {
    pub(crate) fn new(
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        environment: Box<dyn Environment>,
    ) -> Arc<Self> {
        Arc::new(Self {
            http,
            clock,
            environment,
            cache: Cache::new(),
            flights: Arc::default(),
            unsaved: Unsaved::default(),
            deadlines: Mutex::default(),
            forced: ForcedRefreshes::default(),
            foreign_clocks: ForeignClocks::default(),
            nonces: Nonces::default(),
            local_locks: Mutex::default(),
        })
    }

    /// Blocks until no refresh is between sent and saved, for `limit` at most: a process that exits must not lose one.
    pub(crate) fn settle(&self, limit: Duration) {
        self.flights.wait_until_settled(limit);
    }

    fn location(&self, config: &AuthConfig) -> Result<Location, Error> {
        Location::resolve(&location_request(config), &*self.environment)
    }
}

fn location_request(config: &AuthConfig) -> LocationRequest<'_> {
    LocationRequest {
        plugin_id: &config.plugin_id,
        profile: &config.profile,
        state_dir: config.state_dir.as_deref(),
        credentials_path: config.credentials_path.as_deref(),
        foreign: config
            .credentials_format
            .map(|format| (format, config.agent_id.as_str())),
        given: config.store.as_ref(),
    }
}

/// A mutex whose data stays usable after a panic elsewhere: every critical section here leaves it consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
