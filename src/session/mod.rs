//! The use cases, one per file: only here does a token response become a stored credential.

mod access_token;
pub(crate) mod accounts;
mod adoption;
pub(crate) mod auth_status;
pub(crate) mod authorization;
mod authorization_code;
mod authorization_server;
pub(crate) mod cancellation;
mod client;
mod client_credentials;
pub(crate) mod config;
pub(crate) mod device_tokens;
pub(crate) mod doctor;
pub(crate) mod fast_path;
mod forced_refreshes;
mod foreign_clock;
mod freshness;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handover;
pub(crate) mod import_token;
mod landing;
mod last_refresh;
mod lock_wait;
pub(crate) mod login;
mod login_state;
pub(crate) mod logout;
mod move_login;
mod mutex;
mod named_members;
mod ownership;
mod patience;
mod pending_login;
mod present;
mod refresh_attempts;
mod refresh_round;
mod refusals;
mod remote;
mod scope_required;
mod scopes;
mod settling;
mod shared_refresh;
mod single_flight;
pub(crate) mod status;
pub(crate) mod target;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests;
pub(crate) mod token_request;
mod unsaved;
pub(crate) mod verification;

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{Look, blocking};
use crate::environment::Environment;
use crate::error::Error;
use crate::http::HttpClient;
use crate::oauth::dpop::Nonces;
use crate::store::cache::Cache;
use crate::store::location::{Location, LocationRequest};
use crate::time::{Clock, SharedClock};

use self::config::AuthConfig;
use self::login_state::Logins;
use self::settling::Settling;

/// The state that all calls of a process share.
pub(crate) struct Session {
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: SharedClock,
    environment: Box<dyn Environment>,
    cache: Cache,
    logins: Logins,
    settling: Arc<Settling>,
    nonces: Nonces,
}

impl Session {
    pub(crate) fn new(
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        environment: Box<dyn Environment>,
    ) -> Arc<Self> {
        let clock = SharedClock::from(clock);
        Arc::new(Self {
            http,
            cache: Cache::new(clock.clone()),
            clock,
            environment,
            logins: Logins::default(),
            settling: Arc::default(),
            nonces: Nonces::default(),
        })
    }

    /// Blocks until no refresh is between sent and saved, for `limit` at most: the end of a thread of JavaScript must
    /// not lose one.
    pub(crate) fn settle(&self, limit: Duration) {
        self.settling.wait_until_settled(limit, false);
    }

    /// Prepares for the exit of the process. From here on nothing is sent, until [`Session::stay`].
    pub(crate) fn leave(&self, limit: Duration) {
        self.settling.set_leaving(true);
        self.settle(limit);
    }

    /// The exit did not end the process: there is another call.
    pub(crate) fn stay(&self) {
        self.settling.set_leaving(false);
    }

    /// Whether no refresh is between sent and saved.
    pub(crate) fn is_settled(&self) -> bool {
        self.settling.is_settled()
    }

    /// Ends when no refresh is between sent and saved, at the latest after `limit`.
    pub(crate) async fn settled(&self, limit: Duration) -> Result<(), Error> {
        let settling = Arc::clone(&self.settling);
        blocking(move |_| settling.wait_until_settled(limit, true)).await
    }

    /// Closes the descriptors of credential files that were replaced; true while any other is held.
    pub(crate) fn let_go(&self) -> bool {
        self.logins.let_go_of_keys();
        self.cache.let_go_of_replaced()
    }

    /// Where the login of a config is.
    fn location(&self, config: &AuthConfig, look: Look) -> Result<Location, Error> {
        Location::resolve(
            &location_request(config),
            &*self.environment,
            &self.clock,
            look,
        )
    }

    /// Finds the location of a login, off the runtime's thread, because it searches for the state folder.
    async fn located(self: &Arc<Self>, config: &AuthConfig) -> Result<Location, Error> {
        let (session, config) = (Arc::clone(self), config.clone());
        blocking(move |may| session.location(&config, may.into())).await?
    }
}

fn location_request(config: &AuthConfig) -> LocationRequest<'_> {
    LocationRequest {
        plugin_id: &config.plugin_id,
        profile: &config.profile,
        state_dir: config.state_dir.as_deref(),
        credentials_path: config.credentials_path.as_deref(),
        format: config
            .credentials_format
            .map(|format| (format, config.agent_id.as_str())),
        store: config.store.as_ref(),
    }
}
