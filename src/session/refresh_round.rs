//! One refresh of one credential, under its lock. The refresh token is read under the lock, and the answer is saved
//! before it is handed out (docs/design.md 3.3, 3.4).

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{MayBlock, blocking};
use crate::error::{Error, ErrorCode};
use crate::http::endpoint::Endpoint;
use crate::http::{Line, OnLine};
use crate::oauth::client::Client;
use crate::oauth::dpop::{DPOP, DpopKey};
use crate::oauth::issuer::Issuer;
use crate::oauth::metadata::{AuthorizationServerMetadata, discover};
use crate::oauth::protected_resource::{ProtectedResource, locate};
use crate::oauth::refresh::{CLIENT_CREDENTIALS, RefreshFailure, RefreshRequest};
use crate::oauth::revocation::{RevocationRequest, revoke};
use crate::oauth::token_response::{RotatedToken, TokenResponse};
use crate::secret::Fingerprint;
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::location::Location;
use crate::store::locked::{Locked, Reserved};
use crate::store::outcome::{SaveFailure, Saved};
use crate::store::reading::read;
use crate::time::{BootInstant, UnixMillis};

use super::Session;
use super::authorization_server::token_endpoint;
use super::cancellation::aborted;
use super::client::of_credential;
use super::config::AuthConfig;
use super::freshness::Freshness;
use super::handover::Save;
use super::landing::Landing;
use super::last_refresh::{UNCLEAR_REFUSAL, binding, blocked};
use super::lock_wait::Waited;
use super::login_state::Refusal;
use super::named_members::named_members;
use super::ownership;
use super::refresh_attempts::CRITICAL_SECTION;
use super::refusals::{cannot_refresh, is_passing, login_required, whose};
use super::settling::Unsettled;
use super::single_flight::{Effort, Flight, Hold, Outcome, Purpose};
use super::target::Target;

/// An answer on its way to the disk.
struct Received {
    locked: Locked,
    reserved: Reserved,
    credential: NewCredential,
    note: Option<LastRefresh>,
    /// Nothing is handed out, although there is something to be stored.
    refused: Option<Error>,
    client: Client,
    config: AuthConfig,
    unsettled: Unsettled,
    holds: Vec<Hold>,
}

/// The purpose for which a refresh token was spent.
struct Spent {
    /// The credential to store.
    credential: NewCredential,
    /// The access token that was asked for, where the login keeps its own.
    token: Option<Snapshot>,
    /// Nothing is handed out, although there is something to be stored.
    refused: Option<Error>,
    defect: Option<Defect>,
}

/// Everything that a refresh token is spent with.
struct Prepared {
    locked: Locked,
    reserved: Reserved,
    current: Snapshot,
    client: Client,
    bound_to: Fingerprint,
    /// The connection to spend it on.
    line: Line,
    /// The end of the critical section.
    deadline: BootInstant,
}

/// A flaw in an answer that is stored anyway.
struct Defect {
    error: Error,
    /// The access token is still the old one: nothing is handed out.
    is_unusable: bool,
}

/// Where the refresh token goes, and where the new one is revoked.
struct Server {
    token_endpoint: Endpoint,
    revocation_endpoint: Option<String>,
}

/// How often a round starts again because the file changed under the lock.
const ROUNDS: usize = 2;
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// A server that could not be reached so shortly before is not waited for once more.
const OUTAGE: Duration = Duration::from_mins(1);
/// For a question to the resource that only adds a sentence.
const LONGEST_QUESTION: Duration = Duration::from_secs(5);

impl Session {
    /// Runs a flight to its end and lands it.
    pub(super) async fn fly(
        self: Arc<Self>,
        location: Location,
        purpose: Purpose,
        flight: Arc<Flight>,
    ) {
        let mut landing = Landing::new(&self, location.key(), Arc::clone(&flight));
        landing.outcome = self.refreshed(&location, &purpose, &flight).await;
    }

    async fn refreshed(
        self: &Arc<Self>,
        location: &Location,
        purpose: &Purpose,
        flight: &Arc<Flight>,
    ) -> Outcome {
        for _ in 0..ROUNDS {
            if let Some(credential) = self.refresh_round(location, purpose, flight).await? {
                return Ok(credential);
            }
        }
        Err(Error::new(
            ErrorCode::StoreLocked,
            format!(
                "{location} keeps changing while it is refreshed: something does not heed its lock. Try again."
            ),
        ))
    }

    /// `None` when the file changed in spite of the lock: the file wins, and is read again.
    async fn refresh_round(
        self: &Arc<Self>,
        location: &Location,
        purpose: &Purpose,
        flight: &Arc<Flight>,
    ) -> Result<Option<Snapshot>, Error> {
        let prepared = tokio::select! {
            biased;
            () = flight.abandoned() => return Err(aborted()),
            prepared = self.prepare(location, purpose) => prepared?,
        };
        let prepared = match prepared {
            Waited::Locked(prepared) => *prepared,
            Waited::Satisfied(credential) => return Ok(Some(credential)),
        };
        // From here on the request belongs to the process: a caller's abort does not end it.
        let Some(unsettled) = self.settling.unsettled(location.is_saved_by_the_plugin()) else {
            return Err(aborted());
        };
        let (purpose, answer) = self.answer(&prepared, location, purpose.clone()).await;
        let purpose = &purpose;
        let Prepared {
            locked,
            reserved,
            current,
            client,
            bound_to,
            line,
            ..
        } = prepared;
        let config = purpose.config.clone();
        match answer {
            Ok(spent) => {
                self.note_refusal(location, flight.target(), &current, spent.refused.as_ref());
                let note = spent.note(purpose, &current, &client, self.clock.now());
                let received = Received {
                    locked,
                    reserved,
                    credential: spent.credential,
                    note,
                    refused: spent.refused,
                    client,
                    config,
                    unsettled,
                    holds: flight.holds(),
                };
                let saved = self.save(location, received).await?;
                Ok(saved.map(|login| {
                    self.logins.leave_line(&location.key(), line);
                    self.keep_token(location, &purpose.target, login, spent.token)
                }))
            }
            // A refusal for one target says nothing about the login.
            Err(failure) if !purpose.target.is_login() => {
                let error = failure.error().clone();
                self.note_refusal(location, &purpose.target, &current, Some(&error));
                Err(error)
            }
            Err(failure) => {
                drop(reserved);
                let (mut last_refresh, mut error) =
                    lesson(&failure, &current, bound_to, &config, self.clock.now());
                let may_have_moved =
                    last_refresh.r#final || matches!(failure, RefreshFailure::NotSent(_));
                if may_have_moved && let Some(moved) = self.moved(&config, &current).await {
                    error = error.followed_by(&moved);
                    error.message().clone_into(&mut last_refresh.message);
                }
                if current.is_rejected() || !is_passing(&error) {
                    last_refresh.rejected = rejected(purpose, &current);
                }
                let (whose, mut locked) = (location.clone(), locked);
                let is_noted = blocking(move |may| {
                    note_failure(&whose, &mut locked, &current, &last_refresh, may)
                });
                let is_noted = is_noted.await.unwrap_or(true);
                drop(unsettled);
                if is_noted { Err(error) } else { Ok(None) }
            }
        }
    }

    /// Spends the refresh token for that purpose; where it is refused like a login that has ended, for the login's own
    /// token.
    async fn answer(
        &self,
        prepared: &Prepared,
        location: &Location,
        mut purpose: Purpose,
    ) -> (Purpose, Result<Spent, RefreshFailure>) {
        let mut refused = None;
        loop {
            match self.spend(prepared, location, &purpose).await {
                // Some servers refuse what a token is for in the words for a login that has ended. Asked for its own
                // token, the login shows which of the two it is.
                Err(failure) if !purpose.target.is_login() && failure.is_of_login() => {
                    refused = Some(no_token_for(&purpose.target, failure.error()));
                    purpose.target = Target::default();
                    purpose.rejected = None;
                }
                Ok(spent) => {
                    let refused = refused.or(spent.refused);
                    return (purpose, Ok(Spent { refused, ..spent }));
                }
                Err(failure) => return (purpose, Err(failure)),
            }
        }
    }

    /// Keeps the token of another target than the login's own; gives the token that was asked for.
    fn keep_token(
        &self,
        location: &Location,
        target: &Target,
        login: Snapshot,
        token: Option<Snapshot>,
    ) -> Snapshot {
        let Some(token) = token else {
            return login;
        };
        self.logins.of(&location.key(), |login| {
            let state = login.token(target);
            state.token = Some(token.clone());
            state.refusal = None;
        });
        token
    }

    /// Takes the lock and gets everything ready, unless there is no need for a refresh, or none may be tried.
    async fn prepare(
        self: &Arc<Self>,
        location: &Location,
        purpose: &Purpose,
    ) -> Result<Waited<Box<Prepared>, Snapshot>, Error> {
        let locked = match self.lock_for_refresh(location, purpose).await? {
            Waited::Locked(locked) => locked,
            Waited::Satisfied(credential) => return Ok(Waited::Satisfied(credential)),
        };
        // All of it in one turn of one thread: each further one costs as much as the work.
        let (session, whose, purpose) = (Arc::clone(self), location.clone(), purpose.clone());
        blocking(move |may| session.ready(locked, &whose, &purpose, may)).await?
    }

    /// Everything that a refresh token is spent with, out of what is stored under the lock.
    fn ready(
        &self,
        mut locked: Locked,
        location: &Location,
        purpose: &Purpose,
        may: MayBlock,
    ) -> Result<Waited<Box<Prepared>, Snapshot>, Error> {
        let deadline = self.clock.boot().plus(CRITICAL_SECTION);
        let now = self.clock.now();
        // With the secrets of the credential, wherever they are kept.
        locked.open(may)?;
        let current = match locked.stored() {
            // After taking the lock: use what another has written.
            Stored::Credential(credential) => credential.clone(),
            Stored::Nothing | Stored::LoggedOut | Stored::Sealed(_) => {
                // A damaged file is no logout, and says so itself.
                read(location, may.into())?;
                return Err(login_required(&purpose.config));
            }
        };
        ownership::check(&purpose.config, &current)?;
        if let Some(token) = self.fresh_since(location, purpose, &current) {
            return Ok(Waited::Satisfied(token));
        }
        // A fault of the config leaves no note at the login.
        stored_endpoint(&purpose.config, &current)
            .map(drop)
            .or_else(|error| match error.code() {
                ErrorCode::InvalidConfig => Err(error),
                _ => Ok(()),
            })?;

        let rejected = rejected(purpose, &current);
        let client = of_credential(&purpose.config, location, &current, may.into())?;
        let client = client.map(|client| client.at(&self.clock));
        let bound_to = binding(&current, client.as_ref());
        let Some(client) = client.filter(|_| current.is_refreshable()) else {
            let error = cannot_refresh(&purpose.config);
            if !purpose.target.is_login() {
                return Err(error);
            }
            let is_known = current.last_refresh().is_some_and(|last| {
                last.r#final && last.bound_to == bound_to && last.failed_at <= now
            });
            if !is_known {
                let last_refresh = LastRefresh {
                    failed_at: now,
                    next_attempt_at: now,
                    code: error.code(),
                    message: error.message().to_owned(),
                    r#final: true,
                    bound_to,
                    rejected: None,
                };
                note_failure(location, &mut locked, &current, &last_refresh, may);
            }
            return Err(error);
        };
        if let Some(last) = current
            .last_refresh()
            .filter(|last| last.bound_to == bound_to)
            && let Some(error) = blocked(last, now)
        {
            if purpose.target.is_login() && last.rejected != rejected && !is_passing(&error) {
                // Refused ahead of need, the token was handed out still. By now a service has rejected it.
                let last_refresh = LastRefresh {
                    rejected,
                    ..last.clone()
                };
                note_failure(location, &mut locked, &current, &last_refresh, may);
            }
            return Err(error);
        }

        // Before a refresh token is spent, prove that the store can take the result.
        let reserved = locked.reserve(may)?;
        let line = self.logins.take_line(&location.key());
        Ok(Waited::Locked(Box::new(Prepared {
            locked,
            reserved,
            current,
            client,
            bound_to,
            line,
            deadline,
        })))
    }

    /// Sends the refresh token that was read under the lock.
    async fn spend(
        &self,
        prepared: &Prepared,
        location: &Location,
        purpose: &Purpose,
    ) -> Result<Spent, RefreshFailure> {
        let config = &purpose.config;
        let current = &prepared.current;
        let refresh_token = prepared
            .locked
            .refresh_token()
            .ok_or_else(|| RefreshFailure::Failed(cannot_refresh(config)))?;
        let server = self
            .server(config, current, prepared.deadline)
            .await
            .map_err(RefreshFailure::Failed)?;
        // RFC 9449 §5: a public client "MUST present a DPoP proof for the same key that was used to obtain the refresh
        // token".
        let key = current.dpop_key().map(DpopKey::from_stored).transpose();
        let key = key.map_err(RefreshFailure::Failed)?;
        let is_client = refresh_token.secret().expose() == CLIENT_CREDENTIALS;
        let (scope, extra) = parameters(config, purpose.target.scopes(), is_client);
        let request = RefreshRequest {
            endpoint: &server.token_endpoint,
            client: &prepared.client,
            refresh_token: refresh_token.secret(),
            resources: &purpose
                .target
                .resources(config.resources(current.resource())),
            scope: &scope,
            dpop: key.as_ref().map(|key| self.dpop(key)),
            json_scopes: current.scopes().filter(|_| current.is_refreshed_in_json()),
            extra: &extra,
        };
        let effort = match purpose.effort {
            Effort::Full if self.is_down(prepared) => Effort::Impatient,
            effort => effort,
        };
        let http = OnLine(&*self.http, &prepared.line);
        let (timeout, deadline) = (config.request_timeout, prepared.deadline);
        let attempt = self.attempt_refresh(&http, &request, timeout, effort, deadline);
        let now = || self.clock.now();
        let response = match attempt.await {
            Ok(response) => response,
            Err(RefreshFailure::Rotated(error, rotated)) => {
                let credential = rotated_only(
                    config,
                    current,
                    rotated,
                    &request,
                    server.revocation_endpoint,
                    now(),
                );
                let is_unusable = true;
                let refused = Some(error.clone());
                let defect = Some(Defect { error, is_unusable });
                return Ok(Spent {
                    credential,
                    token: None,
                    refused,
                    defect,
                });
            }
            Err(failure) => return Err(failure),
        };
        if let Some(rejected) = &purpose.rejected {
            let is_same_token = response.access == *rejected;
            let now = self.clock.boot();
            self.logins.of(&location.key(), |login| {
                login.token(&purpose.target).forced.note(now, is_same_token);
            });
        }
        let lifetime = response.lifetime;
        let defect = response.flaw.as_deref().map(|flaw| Defect {
            error: left_out(&request, flaw),
            is_unusable: false,
        });
        let credential = merged(
            config,
            current,
            response,
            &request,
            server.revocation_endpoint,
            now(),
        );
        if let Some(lifetime) = lifetime {
            self.remember_deadline(
                (&location.key(), &purpose.target),
                &credential.access,
                credential.expires,
                self.clock.boot().plus(lifetime),
                true,
            );
        }
        Ok(Spent::of(&purpose.target, current, credential, defect))
    }

    /// Notes that a server gave no token for that target, so that not every call asks it again. In memory: for others
    /// it may have one.
    fn note_refusal(
        &self,
        location: &Location,
        target: &Target,
        login: &Snapshot,
        refused: Option<&Error>,
    ) {
        let Some(error) = refused.filter(|_| !target.is_login()) else {
            return;
        };
        let now = self.clock.boot();
        let shortest = if is_passing(error) {
            FIRST_BACK_OFF
        } else {
            LONGEST_BACK_OFF
        };
        let asked = error.retry_after().unwrap_or_default();
        self.logins.of(&location.key(), |state| {
            let refusal = &mut state.token(target).refusal;
            let before = refusal
                .as_ref()
                .map_or(Duration::ZERO, |before| before.wait);
            let wait = (before * 2).clamp(shortest, LONGEST_BACK_OFF);
            *refusal = Some(Refusal {
                login: login.clone(),
                error: error.clone(),
                until: now.plus(wait.max(asked).min(UNCLEAR_REFUSAL)),
                wait,
            });
        });
    }

    /// Whether the resource names another server by now, which the login says nothing about: a sentence.
    async fn moved(&self, config: &AuthConfig, current: &Snapshot) -> Option<String> {
        let (resource, issuer) = (config.asked_resource()?, current.issuer()?);
        let found = self.named_by(resource, config, LONGEST_QUESTION).await?;
        moved_to(resource, issuer, found.ok()?.server.issuer.as_str())
    }

    /// What the resource says of its server; nothing if that took longer than `limit`.
    async fn named_by(
        &self,
        resource: &str,
        config: &AuthConfig,
        limit: Duration,
    ) -> Option<Result<ProtectedResource, Error>> {
        let timeout = config.request_timeout;
        let found = locate(&*self.http, resource, &config.allow_http, false, timeout);
        tokio::time::timeout(limit, found).await.ok()
    }

    /// Whether the server could not be reached at the last attempt either: then one quick failure is enough for
    /// everybody.
    fn is_down(&self, prepared: &Prepared) -> bool {
        prepared.current.last_refresh().is_some_and(|last| {
            last.bound_to == prepared.bound_to
                && last.code == ErrorCode::Network
                && self.clock.now().since(last.next_attempt_at) < OUTAGE
        })
    }

    async fn lock_for_refresh(
        self: &Arc<Self>,
        location: &Location,
        purpose: &Purpose,
    ) -> Result<Waited<Locked, Snapshot>, Error> {
        if purpose.effort == Effort::OneAttempt {
            // Advisory: the holder of the lock refreshes, and the present token is still valid.
            return match self.try_lock(location).await? {
                Some(locked) => Ok(Waited::Locked(locked)),
                None => Err(Error::new(
                    ErrorCode::StoreLocked,
                    "Another process is refreshing this login. Try again.",
                )),
            };
        }
        let (session, whose, wanted) = (Arc::clone(self), location.clone(), purpose.clone());
        let satisfied = move |may: MayBlock| match session.look(&whose, may.into()) {
            Ok(Stored::Credential(credential))
                if ownership::check(&wanted.config, &credential).is_ok() =>
            {
                session.fresh_since(&whose, &wanted, &credential)
            }
            _ => None,
        };
        self.wait_for_lock(location, purpose.config.lock_timeout, Arc::new(satisfied))
            .await
    }

    /// The token, where another has refreshed it, or logged in, since the flight was opened.
    fn fresh_since(
        &self,
        location: &Location,
        purpose: &Purpose,
        credential: &Snapshot,
    ) -> Option<Snapshot> {
        let key = location.key();
        let token = self.token(&key, &purpose.target, credential)?;
        let buffer = purpose.config.refresh_buffer;
        let freshness = self
            .assess_of(&key, &purpose.target, &token, buffer)
            .freshness;
        let needs_no_refresh = match &purpose.rejected {
            Some(rejected) if token.access() == rejected => false,
            Some(_) => freshness != Freshness::Expired,
            None => freshness == Freshness::Fresh,
        };
        needs_no_refresh.then_some(token)
    }

    /// The server that issued the credential. A login that was made by another program may not know its endpoints yet.
    async fn server(
        &self,
        config: &AuthConfig,
        credential: &Snapshot,
        deadline: BootInstant,
    ) -> Result<Server, Error> {
        if let Some(token_endpoint) = stored_endpoint(config, credential)? {
            return Ok(Server {
                token_endpoint,
                // The config may mean another server by now.
                revocation_endpoint: credential.revocation_endpoint().map(str::to_owned),
            });
        }
        let known = credential
            .revocation_endpoint()
            .or(config.revocation_endpoint.as_ref().map(Endpoint::as_str))
            .map(str::to_owned);
        if let Some(token_endpoint) = &config.token_endpoint {
            return Ok(Server {
                token_endpoint: token_endpoint.clone(),
                revocation_endpoint: known,
            });
        }
        let limit = deadline.since(self.clock.boot());
        if let (None, Some(resource)) = (credential.issuer(), config.asked_resource()) {
            let found = self.named_by(resource, config, limit).await;
            return Self::server_of(known, &found.ok_or_else(|| late(resource))??.server);
        }
        let issuer = credential
            .issuer()
            .and_then(|text| Issuer::parse(text, &config.allow_http).ok())
            // A file of another program says nothing about it.
            .or_else(|| config.issuer.clone())
            .ok_or_else(|| cannot_refresh(config))?;
        let discovery = discover(&*self.http, &issuer, false, config.request_timeout);
        let metadata = tokio::time::timeout(limit, discovery).await;
        Self::server_of(known, &metadata.map_err(|_| late(issuer.as_str()))??)
    }

    fn server_of(
        known: Option<String>,
        metadata: &AuthorizationServerMetadata,
    ) -> Result<Server, Error> {
        let found = metadata.revocation_endpoint.as_ref();
        Ok(Server {
            revocation_endpoint: known.or_else(|| found.map(|found| found.as_str().to_owned())),
            token_endpoint: token_endpoint(metadata)?.clone(),
        })
    }

    /// `None` when the file changed meanwhile.
    async fn save(
        self: &Arc<Self>,
        location: &Location,
        received: Received,
    ) -> Result<Option<Snapshot>, Error> {
        let Received {
            mut locked,
            reserved,
            credential,
            note,
            refused,
            client,
            config,
            unsettled,
            holds,
        } = received;
        let (locked, credential, saved) = blocking(move |may| {
            let saved = locked.save(reserved, &credential, may);
            if let (Ok(Saved::Written), Some(note)) = (&saved, &note) {
                // Best effort: the tokens are stored.
                drop(locked.record_failure(note, may));
            }
            (locked, credential, saved)
        })
        .await?;
        let (cause, reserved) = match saved {
            Ok(Saved::Written) => {
                drop((locked, unsettled));
                return refused.map_or_else(|| Ok(Some(credential.snapshot())), Err);
            }
            Ok(Saved::LeftToProgram) => {
                drop((locked, unsettled, holds));
                return Ok(None);
            }
            Ok(Saved::Superseded) => {
                drop(locked);
                let session = Arc::clone(self);
                drop(tokio::spawn(async move {
                    session.revoke_unused(&credential, &client, &config).await;
                    drop((unsettled, holds));
                }));
                return Ok(None);
            }
            Err(SaveFailure { error, reserved }) => (error, reserved),
        };
        let snapshot = self.keep_saving(
            location.key(),
            Save {
                locked,
                reserved,
                credential: Arc::new(credential),
                client,
                config,
                cause,
                unsettled,
                holds,
            },
        );
        refused.map_or_else(|| Ok(Some(snapshot)), Err)
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
            .and_then(|endpoint| config.allow_http.endpoint(endpoint).ok());
        let Some(endpoint) = endpoint else { return };
        let key = credential.dpop_key.as_ref();
        let key = key.and_then(|key| DpopKey::from_stored(key).ok());
        let (token, hint) = match &credential.refresh {
            Some(refresh) if refresh.expose() != CLIENT_CREDENTIALS => (refresh, "refresh_token"),
            _ => (&credential.access, "access_token"),
        };
        let request = RevocationRequest {
            endpoint: &endpoint,
            client,
            token,
            hint,
            dpop: key.as_ref().map(|key| self.dpop(key)),
        };
        drop(revoke(&*self.http, &request, config.request_timeout).await);
    }
}

/// The message where a resource names another server than the one that issued a login.
pub(super) fn moved_to(resource: &str, issuer: &str, found: &str) -> Option<String> {
    (found != issuer).then(|| {
        format!(
            " {resource} names another authorization server by now, {found}; the stored login stays with {issuer}. Log in again \
             to change over."
        )
    })
}

fn late(server: &str) -> Error {
    Error::new(
        ErrorCode::Timeout,
        format!("{server} did not name its token endpoint in time. Try again."),
    )
}

/// The stored credential with what the server answered.
fn merged(
    config: &AuthConfig,
    current: &Snapshot,
    response: TokenResponse,
    request: &RefreshRequest<'_>,
    revocation_endpoint: Option<String>,
    now: UnixMillis,
) -> NewCredential {
    // The owner of the login, where it did not say so itself and the config's issuer has just accepted it.
    let accepted_by = config
        .issuer
        .as_ref()
        .filter(|_| current.token_endpoint().is_none());
    // Only this answer describes a new refresh token; an unchanged one keeps its own expiry.
    let told = response.refresh_lifetime.map(|lifetime| now.plus(lifetime));
    let is_new = response
        .refresh
        .as_ref()
        .is_some_and(|new| new != request.refresh_token);
    let token_response = named_members(config, &response, current.token_response());
    let refresh_expires = told.or_else(|| current.refresh_expires().filter(|_| !is_new));
    NewCredential {
        access: response.access,
        // RFC 6749 §6: "The authorization server MAY issue a new refresh token"; where it does not, the old one stays.
        refresh: response
            .refresh
            // RFC 6749 §4.4.3: "A refresh token SHOULD NOT be included"; the client needs none.
            .filter(|_| request.refresh_token.expose() != CLIENT_CREDENTIALS)
            .or_else(|| Some(request.refresh_token.clone())),
        expires: response.lifetime.map(|lifetime| now.plus(lifetime)),
        refresh_expires,
        created_at: current.created_at(),
        refreshed_at: now,
        token_type: response.token_type,
        dpop_key: response.dpop_key,
        // RFC 6749 §5.1: scope is "OPTIONAL, if identical to the scope requested by the client".
        scopes: response
            .scopes
            .map(|scopes| config.split(scopes))
            .or_else(|| current.scopes().map(<[String]>::to_vec)),
        id_token: response.id_token.or_else(|| current.id_token().cloned()),
        issuer: current
            .issuer()
            .or(accepted_by.map(Issuer::as_str))
            .map(str::to_owned),
        token_endpoint: Some(request.endpoint.as_str().to_owned()),
        revocation_endpoint,
        client_id: Some(request.client.id.clone()),
        client_authentication: Some(request.client.authentication.as_str().to_owned()),
        registered_client: current.registered_client(),
        imported: current.imported(),
        resource_url: response.resource_url,
        resource: current.resource().map(str::to_owned),
        required_scopes: Some(current.required_scopes().to_vec())
            .filter(|scopes| !scopes.is_empty()),
        subject: response
            .subject
            .or_else(|| current.subject().map(str::to_owned)),
        token_response,
        userinfo: current.userinfo().cloned(),
    }
}

/// The credential to store where a refresh gave no access token of the login itself: the new refresh token, beside the
/// login's own access token.
fn with_own_token(current: &Snapshot, refreshed: NewCredential) -> NewCredential {
    NewCredential {
        access: current.access().clone(),
        expires: current.expires(),
        refreshed_at: current.refreshed_at(),
        token_type: if current.is_bound() { DPOP } else { "Bearer" }.to_owned(),
        dpop_key: current.dpop_key().cloned(),
        scopes: current.scopes().map(<[String]>::to_vec),
        id_token: current.id_token().cloned(),
        resource_url: current.resource_url().map(str::to_owned),
        subject: current.subject().map(str::to_owned),
        token_response: current.token_response().cloned(),
        userinfo: current.userinfo().cloned(),
        ..refreshed
    }
}

/// `scope`, where it is to be named, and the further parameters of a request.
pub(super) fn parameters(
    config: &AuthConfig,
    scopes: &[String],
    is_client: bool,
) -> (String, Vec<(String, String)>) {
    let mut extra = config.extra_parameters.clone();
    let mut scope = config.joined(scopes);
    if is_client {
        if scope.is_empty() {
            scope = config.scope();
        }
        let audience = config.audience.clone();
        extra.extend(audience.map(|audience| ("audience".to_owned(), audience)));
    }
    (scope, extra)
}

/// The login lives, and gives no token for that.
fn no_token_for(target: &Target, cause: &Error) -> Error {
    let error = Error::new(
        ErrorCode::OauthError,
        format!(
            "The server renews this login, but gives it no token for {}. Check `resource` and `scopes`; a new login may allow it.",
            target.described()
        ),
    );
    match cause.oauth() {
        Some(oauth) => error.with_oauth(oauth.clone()),
        None => error,
    }
}

/// The stored credential with its new refresh token: its access token stays as long as it lives.
fn rotated_only(
    config: &AuthConfig,
    current: &Snapshot,
    rotated: RotatedToken,
    request: &RefreshRequest<'_>,
    revocation_endpoint: Option<String>,
    now: UnixMillis,
) -> NewCredential {
    let response = TokenResponse {
        access: current.access().clone(),
        token_type: if current.is_bound() { DPOP } else { "Bearer" }.to_owned(),
        dpop_key: current.dpop_key().cloned(),
        lifetime: None,
        refresh: Some(rotated.refresh),
        scopes: None,
        id_token: None,
        resource_url: None,
        subject: None,
        rest: Box::default(),
        refresh_lifetime: rotated.lifetime,
        flaw: None,
    };
    let refreshed = merged(config, current, response, request, revocation_endpoint, now);
    with_own_token(current, refreshed)
}

/// The error for a flaw in an answer that was used without the flawed member.
fn left_out(request: &RefreshRequest<'_>, flaw: &str) -> Error {
    Error::new(
        ErrorCode::InvalidResponse,
        format!(
            "{} answered with something that is not valid OAuth: {flaw}. It counts as absent; the login works. Tell the \
             server's operator.",
            request.endpoint
        ),
    )
}

impl Spent {
    fn of(
        target: &Target,
        current: &Snapshot,
        credential: NewCredential,
        defect: Option<Defect>,
    ) -> Self {
        let token = (!target.is_login()).then(|| credential.snapshot());
        Self {
            credential: match token {
                Some(_) => with_own_token(current, credential),
                None => credential,
            },
            token,
            refused: None,
            defect,
        }
    }

    /// The result for every caller that asks about this login.
    fn note(
        &self,
        purpose: &Purpose,
        current: &Snapshot,
        client: &Client,
        now: UnixMillis,
    ) -> Option<LastRefresh> {
        if purpose.target.is_login() {
            let defect = self.defect.as_ref();
            return defect.map(|defect| defect.note(&self.credential, client, now));
        }
        // The login's own token was left alone: if it is rejected, it stays so.
        let last = current.last_refresh().filter(|_| current.is_rejected());
        last.map(|last| LastRefresh {
            bound_to: binding(&self.credential.snapshot(), Some(client)),
            ..last.clone()
        })
    }
}

impl Defect {
    /// For everybody who asks what is the matter with this login.
    fn note(&self, credential: &NewCredential, client: &Client, now: UnixMillis) -> LastRefresh {
        let wait = if self.is_unusable {
            FIRST_BACK_OFF
        } else {
            Duration::ZERO
        };
        LastRefresh {
            failed_at: now,
            next_attempt_at: now.plus(wait),
            code: self.error.code(),
            message: self.error.message().to_owned(),
            r#final: false,
            bound_to: binding(&credential.snapshot(), Some(client)),
            rejected: None,
        }
    }
}

/// The token endpoint that the login was made with, where it is known.
fn stored_endpoint(config: &AuthConfig, credential: &Snapshot) -> Result<Option<Endpoint>, Error> {
    let Some(stored) = credential.token_endpoint() else {
        return Ok(None);
    };
    config
        .allow_http
        .endpoint(stored)
        .map(Some)
        .map_err(|reason| {
            let (code, next) = if stored.starts_with("http:") {
                (
                    ErrorCode::InvalidConfig,
                    "Name its origin there, or log in again.",
                )
            } else {
                (ErrorCode::LoginRequired, "Log in again.")
            };
            Error::new(code, format!("The stored token endpoint {reason}. {next}"))
        })
}

/// Turns a failure into the result for all callers, and the error for this one.
fn lesson(
    failure: &RefreshFailure,
    credential: &Snapshot,
    bound_to: Fingerprint,
    config: &AuthConfig,
    now: UnixMillis,
) -> (LastRefresh, Error) {
    let back_off = next_back_off(credential, &bound_to);
    let registered = credential.registered_client() && config.client_id.is_none();
    let mut error = failure.error().clone();
    let (is_final, wait) = match failure {
        RefreshFailure::Refused(_) => (true, Duration::ZERO),
        RefreshFailure::ClientRejected(_) if registered => {
            error = forgotten_client(config, &error);
            (true, Duration::ZERO)
        }
        RefreshFailure::RefusedUnclear(_) => (false, UNCLEAR_REFUSAL),
        RefreshFailure::Busy(_) => {
            let asked = error.retry_after().unwrap_or_default();
            // A date in another century must not stop a login for good.
            (false, asked.max(back_off).min(UNCLEAR_REFUSAL))
        }
        _ => (false, back_off),
    };
    let last_refresh = LastRefresh {
        failed_at: now,
        next_attempt_at: now.plus(wait),
        code: error.code(),
        message: error.message().to_owned(),
        r#final: is_final,
        bound_to,
        rejected: None,
    };
    (last_refresh, error)
}

/// The access token, if a service has rejected it: now, or before a round that could not replace it.
fn rejected(purpose: &Purpose, current: &Snapshot) -> Option<Fingerprint> {
    let is_rejected = purpose.rejected.as_ref() == Some(current.access()) || current.is_rejected();
    is_rejected.then(|| current.access().fingerprint())
}

/// Shares a failure through the file. False when the file holds another credential than the one that it is about: then
/// that is to be used.
fn note_failure(
    location: &Location,
    locked: &mut Locked,
    credential: &Snapshot,
    last_refresh: &LastRefresh,
    may: MayBlock,
) -> bool {
    let was = credential.binding("", "", None);
    let is_same = read(location, may.into()).is_ok_and(|now| {
        now.outline()
            .is_some_and(|now| now.binding("", "", None) == was)
    });
    if is_same {
        // Best effort: a disk that cannot take the note must not hide the failure itself.
        drop(locked.record_failure(last_refresh, may));
    }
    is_same
}

fn next_back_off(credential: &Snapshot, bound_to: &Fingerprint) -> Duration {
    credential
        .last_refresh()
        .filter(|last| !last.r#final && last.bound_to == *bound_to)
        .map_or(FIRST_BACK_OFF, |last| {
            (last.next_attempt_at.since(last.failed_at) * 2).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF)
        })
}

/// The server has forgotten a client that we registered: only a new login can register another.
fn forgotten_client(config: &AuthConfig, cause: &Error) -> Error {
    let mut error = Error::new(
        ErrorCode::LoginRequired,
        format!(
            "The server no longer knows the client that was registered for {}. Log in again.",
            whose(config)
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
