//! What is stored, said without a token and without a network call.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::store::credential::{Snapshot, Stored};
use crate::store::handwritten::Handwritten;
use crate::store::location::Location;
use crate::time::UnixMillis;

use super::Session;
use super::access_token::bind;
use super::blocking::blocking;
use super::config::AuthConfig;
use super::freshness::Freshness;

/// What cannot be refreshed and ends within this is `expiring`.
const EXPIRING: Duration = Duration::from_hours(24);

/// The state of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Usable now or after a silent refresh.
    Valid,
    /// Cannot be refreshed and ends within 24 hours.
    Expiring,
    /// Cannot be refreshed and has ended.
    Expired,
    /// The server refused the refresh token.
    LoginRequired,
    /// No credential.
    LoggedOut,
}

/// A failure that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastError {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) at: UnixMillis,
}

/// What is known of one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthStatus {
    pub(crate) state: State,
    pub(crate) profile: String,
    pub(crate) path: String,
    pub(crate) issuer: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) missing_scopes: Option<Vec<String>>,
    pub(crate) expires_at: Option<UnixMillis>,
    pub(crate) refreshable: bool,
    pub(crate) created_at: Option<UnixMillis>,
    pub(crate) refreshed_at: Option<UnixMillis>,
    pub(crate) last_error: Option<LastError>,
}

impl Session {
    /// The status of the config's profile.
    pub(crate) async fn status(self: &Arc<Self>, config: &AuthConfig) -> Result<AuthStatus, Error> {
        let location = self.location(config)?;
        self.status_of(config, location).await
    }

    /// The status of every profile of the plugin that is logged in or needs attention.
    pub(crate) async fn list_profiles(
        self: &Arc<Self>,
        config: &AuthConfig,
    ) -> Result<Vec<AuthStatus>, Error> {
        let location = self.location(config)?;
        let locations = blocking(move || location.profiles()).await??;
        let mut statuses = Vec::with_capacity(locations.len());
        for location in locations {
            let status = match self.status_of(config, location.clone()).await {
                Ok(status) => status,
                // One damaged file must not hide the other accounts.
                Err(error) => AuthStatus {
                    state: State::LoginRequired,
                    last_error: Some(LastError {
                        code: error.code(),
                        message: error.message().to_owned(),
                        at: self.clock.now(),
                    }),
                    ..nothing(&location)
                },
            };
            if status.state != State::LoggedOut {
                statuses.push(status);
            }
        }
        Ok(statuses)
    }

    async fn status_of(
        self: &Arc<Self>,
        config: &AuthConfig,
        location: Location,
    ) -> Result<AuthStatus, Error> {
        match self.current(&location).await? {
            Stored::Credential(credential) => Ok(self.describe(config, &location, &credential)),
            Stored::LoggedOut => Ok(nothing(&location)),
            Stored::Nothing => {
                let (whose, config, now) = (location.clone(), config.clone(), self.clock.now());
                // What the next getValidAccessToken would adopt counts as logged in; status itself changes nothing.
                let adoptable = blocking(move || {
                    Handwritten::find(&whose)
                        .ok()
                        .flatten()
                        .and_then(|handwritten| bind(&config, handwritten.credential(now)).ok())
                        .map(|credential| (config, credential.snapshot()))
                })
                .await?;
                Ok(adoptable.map_or_else(
                    || nothing(&location),
                    |(config, credential)| self.describe(&config, &location, &credential),
                ))
            }
        }
    }

    fn describe(
        &self,
        config: &AuthConfig,
        location: &Location,
        credential: &Snapshot,
    ) -> AuthStatus {
        let ended =
            self.assess(location, credential, Duration::ZERO).freshness == Freshness::Expired;
        let refused = credential
            .last_refresh()
            .is_some_and(|last| last.code == ErrorCode::LoginRequired);
        let ends_soon = credential
            .expires()
            .is_some_and(|expires| expires.since(self.clock.now()) <= EXPIRING);
        let refreshable = credential.is_refreshable();
        let state = if refused && (refreshable || !ended) {
            State::LoginRequired
        } else if refreshable {
            State::Valid
        } else if ended {
            State::Expired
        } else if ends_soon {
            State::Expiring
        } else {
            State::Valid
        };
        let last_error = match self.unsaved.get(location.path()) {
            Some(waiting) => Some(LastError {
                code: waiting.cause.code(),
                message: format!(
                    "The refreshed login is not saved yet and lives in this process alone. {}",
                    waiting.cause.message()
                ),
                at: credential.refreshed_at(),
            }),
            None => credential.last_refresh().map(|last| LastError {
                code: last.code,
                message: last.message.clone(),
                at: last.failed_at,
            }),
        };
        AuthStatus {
            state,
            issuer: credential.issuer().map(str::to_owned),
            client_id: credential.client_id().map(str::to_owned),
            scopes: credential.scopes().map(<[String]>::to_vec),
            missing_scopes: missing_scopes(config, credential),
            expires_at: credential.expires(),
            refreshable,
            created_at: Some(credential.created_at()),
            refreshed_at: Some(credential.refreshed_at()),
            last_error,
            ..nothing(location)
        }
    }
}

fn nothing(location: &Location) -> AuthStatus {
    AuthStatus {
        state: State::LoggedOut,
        profile: location.profile().to_owned(),
        path: location.path().to_string_lossy().into_owned(),
        issuer: None,
        client_id: None,
        scopes: None,
        missing_scopes: None,
        expires_at: None,
        refreshable: false,
        created_at: None,
        refreshed_at: None,
        last_error: None,
    }
}

/// Scopes that the config asks for and the credential lacks; none if nothing is missing, or nothing is known.
fn missing_scopes(config: &AuthConfig, credential: &Snapshot) -> Option<Vec<String>> {
    let granted = credential.scopes()?;
    let missing: Vec<String> = config
        .scopes
        .iter()
        .filter(|wanted| {
            // Some servers answer in another case, and some do not list the scope that brought the refresh token.
            let implied = *wanted == "offline_access" && credential.is_refreshable();
            !implied
                && !granted
                    .iter()
                    .any(|scope| scope.eq_ignore_ascii_case(wanted))
        })
        .cloned()
        .collect();
    (!missing.is_empty()).then_some(missing)
}
