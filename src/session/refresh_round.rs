//! One refresh of one credential, under its lock: what is spent was read under the lock, what comes back is saved before
//! it is handed out (DESIGN 3.3, 3.4).

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::http::endpoint::Endpoint;
use crate::oauth::client::Client;
use crate::oauth::issuer::Issuer;
use crate::oauth::metadata::discover;
use crate::oauth::refresh::{RefreshFailure, RefreshRequest};
use crate::oauth::revocation::{RevocationRequest, revoke};
use crate::oauth::token_response::TokenResponse;
use crate::secret::{Fingerprint, Secret};
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored, read};
use crate::store::location::Location;
use crate::store::locked::{Locked, Reserved, SaveFailure, Saved};
use crate::time::UnixMillis;

use super::access_token::login_required;
use super::blocking::blocking;
use super::cancellation::aborted;
use super::client::of_credential;
use super::config::AuthConfig;
use super::freshness::Freshness;
use super::lock_wait::{Waited, try_lock};
use super::ownership;
use super::refresh_attempts::Effort;
use super::single_flight::{Flight, Hold, Landing, Outcome, Purpose, Unsettled};
use super::unsaved::Save;
use super::{Deadline, Session, lock};

/// An answer on its way to the disk.
struct Received {
    locked: Locked,
    reserved: Reserved,
    credential: NewCredential,
    client: Client,
    unsettled: Unsettled,
    holds: Vec<Hold>,
}

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// A refusal without a reason may be a gateway's: asked again, but rarely.
const UNCLEAR_REFUSAL: Duration = LONGEST_PAUSE;
/// Whatever a server says, it is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

impl Session {
    /// Runs a flight to its end and lands it.
    pub(super) async fn fly(
        self: Arc<Self>,
        location: Location,
        purpose: Purpose,
        flight: Arc<Flight>,
    ) {
        let mut landing = Landing::new(&self.flights, Arc::clone(&flight));
        landing.outcome = self.refresh_round(&location, &purpose, &flight).await;
    }

    async fn refresh_round(
        self: &Arc<Self>,
        location: &Location,
        purpose: &Purpose,
        flight: &Arc<Flight>,
    ) -> Outcome {
        let locked = tokio::select! {
            biased;
            () = flight.abandoned() => return Err(aborted()),
            waited = self.lock_for_refresh(location, purpose) => match waited? {
                Waited::Locked(locked) => locked,
                Waited::Satisfied(credential) => return Ok(credential),
            },
        };
        let current = match locked.stored() {
            // After taking the lock: use what another has written.
            Stored::Credential(credential) => credential.clone(),
            Stored::Nothing | Stored::LoggedOut => {
                // A damaged file is no logout, and says so itself.
                read(location)?;
                return Err(login_required(&purpose.config));
            }
        };
        ownership::check(&purpose.config, &current)?;
        if self.needs_no_refresh(location, purpose, &current) {
            return Ok(current);
        }

        let config = purpose.config.clone();
        let whose = location.clone();
        let of = current.clone();
        let client = blocking(move || of_credential(&config, &whose, &of)).await??;
        let bound_to = binding(&current, client.as_ref());
        if let Some(error) = blocked(&current, &bound_to, self.clock.now()) {
            return Err(error);
        }
        let Some(client) = client else {
            return Err(self
                .refuse(locked, &current, bound_to, login_required(&purpose.config))
                .await);
        };
        if !current.is_refreshable() {
            let error = cannot_refresh(&purpose.config);
            if purpose.rejected.is_none() {
                // Ended by the clock alone, which may be set back: nothing was sent, and there is nothing to remember.
                return Err(error);
            }
            return Err(self.refuse(locked, &current, bound_to, error).await);
        }
        let (locked, endpoint) = self
            .token_endpoint(locked, &purpose.config, &current)
            .await?;

        // Before a refresh token is spent, prove that the store can take the result.
        let (locked, reserved) = blocking(move || {
            let reserved = locked.reserve();
            (locked, reserved)
        })
        .await?;
        let reserved = reserved?;

        if !flight.depart() {
            return Err(aborted());
        }
        let unsettled = self.flights.unsettled();
        let Some(refresh_token) = locked.refresh_token() else {
            return Err(login_required(&purpose.config));
        };
        let request = RefreshRequest {
            endpoint: &endpoint,
            client: &client,
            refresh_token: refresh_token.secret(),
            resources: &purpose.config.resource,
            extra: &purpose.config.extra_parameters,
        };
        let answer = self
            .attempt_refresh(&request, purpose.config.request_timeout, purpose.effort)
            .await;
        match answer {
            Ok(response) => {
                let now = self.clock.now();
                let lifetime = response.lifetime;
                let credential = merged(&current, response, &request, now);
                if let Some(lifetime) = lifetime {
                    self.remember_deadline(
                        location,
                        &credential.access,
                        credential.expires,
                        lifetime,
                        true,
                    );
                }
                let received = Received {
                    locked,
                    reserved,
                    credential,
                    client,
                    unsettled,
                    holds: flight.holds(),
                };
                self.save(location, purpose, received).await
            }
            Err(failure) => {
                drop(reserved);
                let outcome = self
                    .record_failure(locked, &current, bound_to, failure, purpose)
                    .await;
                drop(unsettled);
                Err(outcome)
            }
        }
    }

    async fn lock_for_refresh(
        &self,
        location: &Location,
        purpose: &Purpose,
    ) -> Result<Waited<Snapshot>, Error> {
        if purpose.effort == Effort::OneAttempt {
            // Advisory: whoever holds the lock refreshes, and the valid token is good enough for us.
            return match try_lock(location).await? {
                Some(locked) => Ok(Waited::Locked(locked)),
                None => Err(Error::new(
                    ErrorCode::StoreLocked,
                    "Another process is refreshing this login. Try again.",
                )),
            };
        }
        let satisfied = || match self.cache.read(location, self.clock.boot()) {
            Ok((Stored::Credential(credential), _))
                if self.needs_no_refresh(location, purpose, &credential)
                    && ownership::check(&purpose.config, &credential).is_ok() =>
            {
                Some(credential)
            }
            _ => None,
        };
        self.wait_for_lock(location, purpose.config.lock_timeout, satisfied)
            .await
    }

    /// Another has refreshed it, or logged in, since the flight was opened.
    fn needs_no_refresh(
        &self,
        location: &Location,
        purpose: &Purpose,
        credential: &Snapshot,
    ) -> bool {
        let freshness = self
            .assess(location, credential, purpose.config.refresh_buffer)
            .freshness;
        match &purpose.rejected {
            Some(rejected) if credential.access() == rejected => false,
            Some(_) => freshness != Freshness::Expired,
            None => freshness == Freshness::Fresh,
        }
    }

    /// The endpoint that issued the credential. An adopted login may not know it yet.
    async fn token_endpoint(
        &self,
        locked: Locked,
        config: &AuthConfig,
        credential: &Snapshot,
    ) -> Result<(Locked, Endpoint), Error> {
        if let Some(stored) = credential.token_endpoint() {
            let endpoint = Endpoint::parse(stored).map_err(|reason| {
                Error::new(
                    ErrorCode::StoreCorrupt,
                    format!("The stored token endpoint {reason}. Log in again."),
                )
                .needing_login()
            })?;
            return Ok((locked, endpoint));
        }
        if let Some(endpoint) = &config.token_endpoint {
            return Ok((locked, endpoint.clone()));
        }
        let Some(issuer) = credential
            .issuer()
            .and_then(|text| Issuer::parse(text).ok())
        else {
            return Err(login_required(config));
        };
        let metadata = discover(&*self.http, &issuer, config.request_timeout).await?;
        let endpoint = metadata.token_endpoint.ok_or_else(|| {
            Error::new(
                ErrorCode::InvalidResponse,
                format!(
                    "The metadata of {} names no token endpoint. Give `tokenEndpoint` in the config.",
                    issuer.as_str()
                ),
            )
        })?;
        Ok((locked, endpoint))
    }

    async fn save(
        self: &Arc<Self>,
        location: &Location,
        purpose: &Purpose,
        received: Received,
    ) -> Outcome {
        let Received {
            mut locked,
            reserved,
            credential,
            client,
            unsettled,
            holds,
        } = received;
        let (locked, credential, saved) = blocking(move || {
            let saved = locked.save(reserved, &credential);
            (locked, credential, saved)
        })
        .await?;
        match saved {
            Ok(Saved::Written) => {
                drop((locked, unsettled));
                Ok(credential.snapshot())
            }
            Ok(Saved::Superseded) => {
                drop(locked);
                // A login or logout came in between: the file wins, and the tokens that nobody will use are revoked.
                self.revoke_unused(&credential, &client, &purpose.config)
                    .await;
                drop(unsettled);
                match self.cache.read(location, self.clock.boot())?.0 {
                    Stored::Credential(stored)
                        if self.needs_no_refresh(location, purpose, &stored) =>
                    {
                        ownership::check(&purpose.config, &stored)?;
                        Ok(stored)
                    }
                    _ => Err(login_required(&purpose.config)),
                }
            }
            Err(SaveFailure { error, reserved }) => Ok(self.keep_saving(
                location.path().to_owned(),
                Save {
                    locked,
                    reserved,
                    credential,
                    cause: error,
                    unsettled,
                    holds,
                },
            )),
        }
    }

    /// Best effort, for tokens that were received and are stored nowhere.
    pub(super) async fn revoke_unused(
        &self,
        credential: &NewCredential,
        client: &Client,
        config: &AuthConfig,
    ) {
        let endpoint = credential
            .revocation_endpoint
            .as_deref()
            .and_then(|endpoint| Endpoint::parse(endpoint).ok());
        let Some(endpoint) = endpoint else { return };
        let (token, hint) = match &credential.refresh {
            Some(refresh) => (refresh, "refresh_token"),
            None => (&credential.access, "access_token"),
        };
        let request = RevocationRequest {
            endpoint: &endpoint,
            client,
            token,
            hint,
        };
        drop(revoke(&*self.http, &request, config.request_timeout).await);
    }

    /// Turns a failure into what the caller gets, and shares through the file what it taught.
    async fn record_failure(
        &self,
        locked: Locked,
        credential: &Snapshot,
        bound_to: Fingerprint,
        failure: RefreshFailure,
        purpose: &Purpose,
    ) -> Error {
        let now = self.clock.now();
        let back_off = next_back_off(credential, &bound_to, now);
        let registered = credential.registered_client() && purpose.config.client_id.is_none();
        let (is_final, wait) = match &failure {
            RefreshFailure::Refused(_) => (true, Duration::ZERO),
            // The server no longer knows a client that only a new login can replace.
            RefreshFailure::ClientRejected(_) if registered => (true, Duration::ZERO),
            RefreshFailure::RefusedUnclear(_) => (false, UNCLEAR_REFUSAL),
            RefreshFailure::Busy(error) => {
                let asked_for = error.retry_after().unwrap_or_default();
                // A longer pause would later be taken for one that a wrong clock has noted, and not be kept at all.
                (false, asked_for.max(back_off).min(LONGEST_PAUSE))
            }
            _ => (false, back_off),
        };
        let refused = matches!(
            failure,
            RefreshFailure::Refused(_) | RefreshFailure::RefusedUnclear(_)
        );
        let rejected_client = registered && matches!(failure, RefreshFailure::ClientRejected(_));
        let cause = failure.error().clone();
        let error = if refused || rejected_client {
            refused_login(&purpose.config, &cause)
        } else {
            cause
        };
        let last_refresh = LastRefresh {
            failed_at: now,
            next_attempt_at: now.plus(wait),
            code: error.code(),
            message: error.message().to_owned(),
            r#final: is_final,
            bound_to,
        };
        self.write_failure(locked, last_refresh).await;
        error
    }

    /// A refusal of our own: there is nothing that could be sent.
    async fn refuse(
        &self,
        locked: Locked,
        credential: &Snapshot,
        bound_to: Fingerprint,
        error: Error,
    ) -> Error {
        let known = credential
            .last_refresh()
            .is_some_and(|last| last.r#final && last.bound_to == bound_to);
        if !known {
            let now = self.clock.now();
            let last_refresh = LastRefresh {
                failed_at: now,
                next_attempt_at: now,
                code: error.code(),
                message: error.message().to_owned(),
                r#final: true,
                bound_to,
            };
            self.write_failure(locked, last_refresh).await;
        }
        error
    }

    async fn write_failure(&self, mut locked: Locked, last_refresh: LastRefresh) {
        // Best effort: a disk that cannot take the note must not hide the failure itself.
        drop(blocking(move || locked.record_failure(&last_refresh)).await);
    }

    /// Notes the end of an access token on the boot clock.
    pub(super) fn remember_deadline(
        &self,
        location: &Location,
        access: &Secret,
        expires: Option<UnixMillis>,
        lifetime: Duration,
        exact: bool,
    ) {
        let deadline = Deadline {
            access: access.clone(),
            expires,
            at: self.clock.boot().plus(lifetime),
            exact,
        };
        lock(&self.deadlines).insert(location.path().to_owned(), deadline);
    }
}

/// The stored credential with what the server answered.
fn merged(
    current: &Snapshot,
    response: TokenResponse,
    request: &RefreshRequest<'_>,
    now: UnixMillis,
) -> NewCredential {
    NewCredential {
        access: response.access,
        // RFC 6749 §6: "The authorization server MAY issue a new refresh token"; where it does not, the old one stays.
        refresh: response
            .refresh
            .or_else(|| Some(request.refresh_token.clone())),
        expires: response.lifetime.map(|lifetime| now.plus(lifetime)),
        created_at: current.created_at(),
        refreshed_at: now,
        token_type: response.token_type,
        // RFC 6749 §5.1: scope is "OPTIONAL, if identical to the scope requested by the client".
        scopes: response
            .scopes
            .or_else(|| current.scopes().map(<[String]>::to_vec)),
        id_token: response.id_token.or_else(|| current.id_token().cloned()),
        issuer: current.issuer().map(str::to_owned),
        token_endpoint: Some(request.endpoint.as_str().to_owned()),
        revocation_endpoint: current.revocation_endpoint().map(str::to_owned),
        client_id: Some(request.client.id.clone()),
        client_authentication: Some(request.client.authentication.as_str().to_owned()),
        registered_client: current.registered_client(),
    }
}

/// What a failed round is bound to: another token, client or secret makes it void.
pub(super) fn binding(credential: &Snapshot, client: Option<&Client>) -> Fingerprint {
    client.map_or_else(
        || credential.binding("", "", None),
        |client| {
            credential.binding(
                &client.id,
                client.authentication.as_str(),
                client.secret.as_ref(),
            )
        },
    )
}

/// The failure that forbids another attempt now.
pub(super) fn blocked(
    credential: &Snapshot,
    bound_to: &Fingerprint,
    now: UnixMillis,
) -> Option<Error> {
    let last = credential
        .last_refresh()
        .filter(|last| last.bound_to == *bound_to)?;
    let error = Error::new(last.code, last.message.clone());
    if last.r#final {
        return Some(error);
    }
    let wait = last.next_attempt_at.since(now);
    // A failure from the future was noted before the clock was set back.
    let believable = last.failed_at <= now && wait <= LONGEST_PAUSE;
    (believable && !wait.is_zero()).then(|| error.with_retry_after(Some(wait)))
}

fn next_back_off(credential: &Snapshot, bound_to: &Fingerprint, now: UnixMillis) -> Duration {
    credential
        .last_refresh()
        .filter(|last| !last.r#final && last.bound_to == *bound_to && last.failed_at <= now)
        .map_or(FIRST_BACK_OFF, |last| {
            (last.next_attempt_at.since(last.failed_at) * 2).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF)
        })
}

fn cannot_refresh(config: &AuthConfig) -> Error {
    Error::new(
        ErrorCode::LoginRequired,
        format!(
            "The login of {} has ended and cannot be refreshed. Log in again.",
            whose(config)
        ),
    )
}

fn refused_login(config: &AuthConfig, cause: &Error) -> Error {
    let mut error = Error::new(
        ErrorCode::LoginRequired,
        format!(
            "The server no longer accepts the login of {}. Log in again. ({})",
            whose(config),
            cause.message()
        ),
    );
    if let Some(oauth) = cause.oauth() {
        error = error.with_oauth(oauth.clone());
    }
    if let Some(status) = cause.status() {
        error = error.with_status(status);
    }
    error
}

/// Plugin and profile, as a person knows them.
pub(super) fn whose(config: &AuthConfig) -> String {
    if config.profile == "default" {
        config.plugin_id.clone()
    } else {
        format!("{} (profile {})", config.plugin_id, config.profile)
    }
}
