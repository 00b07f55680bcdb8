//! A valid access token whenever a tool runs (docs/design.md 3).

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{MayBlock, blocking};
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
use crate::store::cache::{SlotId, Watch};
use crate::store::credential::{LastRefresh, Outline, Snapshot, Stored};
use crate::store::foreign::file::patiently;
use crate::store::location::Location;
use crate::time::BootInstant;

use super::Session;
use super::cancellation::Cancellation;
use super::config::AuthConfig;
use super::forced_refreshes::ForcedRefreshes;
use super::freshness::{Assessment, Freshness, Lifetime, Renewal, assess, is_from_the_future};
use super::last_refresh::{blocked, learned, refused_access_token};
use super::ownership;
use super::refusals::{is_passing, login_required, whose};
use super::single_flight::{Effort, Flight, Hold, Outcome, Purpose};

/// An advisory refresh may cost its one caller this much at most.
const ADVISORY_WAIT: Duration = Duration::from_secs(5);
/// So much life must be left to a token that is handed out after waiting.
const ADVISORY_MARGIN: Duration = Duration::from_secs(1);

/// A token, and what the fast path needs to hand it out again.
pub(crate) struct FreshToken {
    pub(crate) token: Secret,
    pub(crate) slot: SlotId,
    pub(crate) generation: u32,
    /// None: the next call has to read the file again.
    pub(crate) watch: Option<Watch>,
    /// When it needs another look. At most [`TRUST`] from now: config, environment, folders and wall clock are then
    /// looked at anew.
    pub(crate) due: BootInstant,
}

/// How long the fast path relies on where the credential was found, and on the wall clock's going on steadily.
const TRUST: Duration = Duration::from_secs(1);

/// One call of `getValidAccessToken`.
pub(crate) struct TokenRequest {
    pub(crate) config: AuthConfig,
    /// The access token that a resource server answered 401 to.
    pub(crate) rejected: Option<Secret>,
    /// It had accepted that token before, so the refresh that gave it was of use.
    pub(crate) was_accepted: bool,
    /// Keeps the caller's event loop alive while a refresh that was sent is not yet saved.
    pub(crate) hold: Option<Hold>,
}

impl Session {
    /// The fast path's first half, on the caller's thread: a fresh token, or none if there is more to do.
    pub(crate) fn fresh_token(&self, config: &AuthConfig) -> Option<FreshToken> {
        let config = &self.choose(config, None).ok()?.config;
        let location = self.location(config).ok()?;
        // The keychain is not asked on the caller's thread.
        if self.logins.unsaved(&location.key()).is_some() || location.keychain_item().is_some() {
            return None;
        }
        let (stored, generation) = self.cache.read(&location, None, self.clock.boot()).ok()?;
        let Stored::Credential(credential) = stored else {
            return None;
        };
        ownership::check(config, &credential).ok()?;
        ownership::names_a_server(config, &credential).ok()?;
        let assessment = self.assess(&location, &credential, config.refresh_buffer);
        if assessment.freshness != Freshness::Fresh
            || refused_access_token(&credential, self.clock.now()).is_some()
        {
            return None;
        }
        let (now, boot) = (self.clock.now(), self.clock.boot());
        let by_wall = assessment.due.map_or(TRUST, |due| due.since(now));
        let trusted = boot.plus(by_wall.min(TRUST));
        let slot = self.cache.slot(&location);
        Some(FreshToken {
            token: credential.access().clone(),
            slot,
            generation,
            watch: self.cache.watch(slot, generation),
            due: assessment
                .due_on_boot_clock
                .map_or(trusted, |due| due.min(trusted)),
        })
    }

    /// A valid access token; refreshes it where needed. Of an order, the first account's that needs no login: a failure that
    /// passes is no reason to take another's, whose data are not the same.
    pub(crate) async fn access_token(
        self: &Arc<Self>,
        mut request: TokenRequest,
        cancellation: &Cancellation,
    ) -> Result<Secret, Error> {
        let accounts = self.accounts_of(&request.config).await?;
        let has_order = accounts.len() > 1;
        // Where all need a login, the first is whose a person is asked for.
        let first = accounts.first().cloned().filter(|_| has_order);
        let candidates = accounts.into_iter().map(|account| (account, has_order));
        for (config, may_skip) in candidates.chain(first.map(|first| (first, false))) {
            request.config = config;
            if may_skip && self.needs_login(&request.config).await? {
                continue;
            }
            match self.token_of_account(&request, cancellation).await {
                Err(error) if may_skip && error.needs_login() => {}
                outcome => return outcome,
            }
        }
        Err(login_required(&request.config))
    }

    async fn needs_login(self: &Arc<Self>, config: &AuthConfig) -> Result<bool, Error> {
        let (session, config) = (Arc::clone(self), config.clone());
        blocking(move |may| Ok(session.passed_over(&config, Some(may))?.is_some())).await?
    }

    async fn token_of_account(
        self: &Arc<Self>,
        request: &TokenRequest,
        cancellation: &Cancellation,
    ) -> Result<Secret, Error> {
        let location = self.location(&request.config)?;
        let credential = match self.current(&location).await? {
            Stored::Credential(credential) => credential,
            Stored::Sealed(sealed) => self.opened(&location, sealed).await?,
            Stored::LoggedOut => return Err(login_required(&request.config)),
            Stored::Nothing => {
                cancellation
                    .guard(self.adopt(&location, &request.config))
                    .await?
            }
        };
        ownership::check(&request.config, &credential)?;
        ownership::names_a_server(&request.config, &credential)?;
        if let Some(outcome) = self.unsaved_token(&location, request) {
            return outcome;
        }
        let rejected = request
            .rejected
            .as_ref()
            .filter(|rejected| *rejected == credential.access());
        if let Some(rejected) = rejected
            && let Some(outcome) = self
                .replace_rejected(&location, request, rejected, &credential, cancellation)
                .await
        {
            return outcome;
        }
        self.hand_out(&location, request, credential, cancellation)
            .await
    }

    /// The token of a credential that waits for its disk. It is not refreshed before it is saved.
    fn unsaved_token(
        &self,
        location: &Location,
        request: &TokenRequest,
    ) -> Option<Result<Secret, Error>> {
        let waiting = self.logins.unsaved(&location.key())?;
        let token = waiting.credential.access();
        let is_usable = request.rejected.as_ref() != Some(token)
            && self.is_alive(location, &waiting.credential);
        Some(if is_usable {
            Ok(token.clone())
        } else {
            Err(Error::new(
                ErrorCode::StoreLocked,
                format!(
                    "The login of {} is not refreshed before the result of its last refresh is saved. {}",
                    whose(&request.config),
                    waiting.cause.message()
                ),
            ))
        })
    }

    async fn hand_out(
        self: &Arc<Self>,
        location: &Location,
        request: &TokenRequest,
        credential: Snapshot,
        cancellation: &Cancellation,
    ) -> Result<Secret, Error> {
        let config = &request.config;
        if let Some(refusal) = refused_access_token(&credential, self.clock.now()) {
            return Err(refusal);
        }
        let freshness = self
            .assess(location, &credential, config.refresh_buffer)
            .freshness;
        if freshness == Freshness::Fresh {
            return Ok(credential.access().clone());
        }
        let stopped = self.stopped(location, config, &credential).await;
        let purpose = |effort| Purpose {
            config: config.clone(),
            effort,
            rejected: None,
        };
        if let Freshness::Advisory { remaining } = freshness {
            let key = location.key();
            if stopped.is_some() || self.logins.of(&key, |login| login.flights.is_flying()) {
                return Ok(credential.access().clone());
            }
            let purpose = purpose(Effort::OneAttempt);
            return self
                .advisory(
                    location,
                    request,
                    purpose,
                    remaining,
                    &credential,
                    cancellation,
                )
                .await;
        }
        let outcome = match stopped {
            Some(error) => Err(error),
            None => {
                self.flight(location, purpose(Effort::Full), request, cancellation)
                    .await
            }
        };
        match outcome {
            Ok(refreshed) => Ok(refreshed.access().clone()),
            Err(error) if is_passing(&error) && self.is_alive(location, &credential) => {
                Ok(credential.access().clone())
            }
            Err(error) => Err(error),
        }
    }

    /// Why no refresh may be tried now, if so.
    async fn stopped(
        &self,
        location: &Location,
        config: &AuthConfig,
        credential: &Snapshot,
    ) -> Option<Error> {
        match self.last_refresh(location, config, credential).await {
            Ok(last) => blocked(last.as_ref()?, self.clock.now()),
            Err(error) => Some(error),
        }
    }

    /// What the last failed round taught, if it was about what a refresh would send now.
    pub(super) async fn last_refresh(
        &self,
        location: &Location,
        config: &AuthConfig,
        credential: &Outline,
    ) -> Result<Option<LastRefresh>, Error> {
        if credential.last_refresh().is_none() {
            return Ok(None);
        }
        let (config, location, credential) = (config.clone(), location.clone(), credential.clone());
        blocking(move |may| learned(&config, &location, &credential, Some(may))).await?
    }

    /// One caller, one attempt, a bounded wait: whatever comes of it, there is a valid token.
    async fn advisory(
        self: &Arc<Self>,
        location: &Location,
        request: &TokenRequest,
        purpose: Purpose,
        remaining: Duration,
        credential: &Snapshot,
        cancellation: &Cancellation,
    ) -> Result<Secret, Error> {
        let patience = ADVISORY_WAIT.min(remaining.saturating_sub(ADVISORY_MARGIN));
        let flight = self.flight(location, purpose, request, cancellation);
        match tokio::time::timeout(patience, flight).await {
            Ok(Ok(refreshed)) => Ok(refreshed.access().clone()),
            Ok(Err(error)) if error.code() == ErrorCode::Aborted => Err(error),
            Ok(Err(_)) | Err(_) => Ok(credential.access().clone()),
        }
    }

    /// None when no refresh may be forced now.
    async fn replace_rejected(
        self: &Arc<Self>,
        location: &Location,
        request: &TokenRequest,
        rejected: &Secret,
        credential: &Snapshot,
        cancellation: &Cancellation,
    ) -> Option<Result<Secret, Error>> {
        let purpose = Purpose {
            config: request.config.clone(),
            effort: Effort::Full,
            rejected: Some(rejected.clone()),
        };
        let now = self.clock.boot();
        let (flight, opened) = self.logins.of(&location.key(), |login| {
            if request.was_accepted {
                login.forced = ForcedRefreshes::default();
            }
            let may_open = !credential.is_refreshable() || login.forced.may_force(now);
            login.flights.join(&purpose, request.hold.clone(), may_open)
        })?;
        if opened {
            self.launch(location, purpose, &flight);
        }
        let outcome = wait(&flight, cancellation).await;
        Some(outcome.map(|refreshed| refreshed.access().clone()))
    }

    /// Joins or opens the flight of that purpose and waits for its outcome.
    async fn flight(
        self: &Arc<Self>,
        location: &Location,
        purpose: Purpose,
        request: &TokenRequest,
        cancellation: &Cancellation,
    ) -> Outcome {
        let joined = self.logins.of(&location.key(), |login| {
            login.flights.join(&purpose, request.hold.clone(), true)
        });
        let Some((flight, opened)) = joined else {
            return Err(login_required(&request.config));
        };
        if opened {
            self.launch(location, purpose, &flight);
        }
        wait(&flight, cancellation).await
    }

    fn launch(self: &Arc<Self>, location: &Location, purpose: Purpose, flight: &Arc<Flight>) {
        drop(tokio::spawn(Arc::clone(self).fly(
            location.clone(),
            purpose,
            Arc::clone(flight),
        )));
    }

    /// The stored credential, or the newer one that waits for its disk.
    pub(super) async fn current(self: &Arc<Self>, location: &Location) -> Result<Stored, Error> {
        let (session, location) = (Arc::clone(self), location.clone());
        blocking(move |may| session.look(&location, Some(may))).await?
    }

    /// A credential with its secrets from the keychain; an error in a build that knows none.
    async fn opened(
        self: &Arc<Self>,
        location: &Location,
        sealed: Arc<Outline>,
    ) -> Result<Snapshot, Error> {
        let (session, location) = (Arc::clone(self), location.clone());
        blocking(move |may| session.cache.opened(&location, sealed, may)).await?
    }

    /// The stored credential, or the newer one that waits for its disk; at a glance where this thread may not wait.
    pub(super) fn look(&self, location: &Location, may: Option<MayBlock>) -> Result<Stored, Error> {
        let read = || self.cache.read(location, may, self.clock.boot());
        match self.logins.unsaved(&location.key()) {
            Some(waiting) => Ok(Stored::Credential(waiting.credential)),
            None => Ok(match may {
                Some(may) if location.foreign_format().is_some() => patiently(may, read)?.0,
                _ => read()?.0,
            }),
        }
    }

    /// How fresh a credential is, here and now.
    pub(super) fn assess(
        &self,
        location: &Location,
        credential: &Snapshot,
        buffer: Duration,
    ) -> Assessment {
        if credential.is_rejected() {
            return Assessment::EXPIRED;
        }
        let (now, boot) = (self.clock.now(), self.clock.boot());
        let key = location.key();
        let known = self.logins.of(&key, |login| {
            let deadline = login.deadline.as_ref().filter(|deadline| {
                deadline.access == *credential.access() && deadline.expires == credential.expires()
            });
            deadline.map(|deadline| (deadline.at, deadline.exact))
        });
        let (deadline, exact) = match (known, credential.expires()) {
            (Some((at, exact)), _) => (Some(at), exact),
            // Without a refresh token there is only the file: a person who is asked to log in for a wrong clock's sake
            // would be asked for nothing.
            (None, Some(expires)) if credential.is_refreshable() && expires > now => {
                let at = boot.plus(expires.since(now));
                self.remember_deadline(location, credential.access(), Some(expires), at, false);
                (Some(at), false)
            }
            (None, _) => (None, false),
        };
        let lifetime = Lifetime {
            expires: credential.expires(),
            refreshed_at: credential.refreshed_at(),
            deadline,
            exact,
            renewal: Renewal::of(credential),
            from_the_future: is_from_the_future(credential.refreshed_at(), now)
                && self.logins.of(&key, |login| {
                    login
                        .foreign_clock
                        .is_worth_a_refresh(credential.access(), boot)
                }),
        };
        assess(&lifetime, buffer, now, boot)
    }

    fn is_alive(&self, location: &Location, credential: &Snapshot) -> bool {
        self.assess(location, credential, Duration::ZERO).freshness != Freshness::Expired
    }
}

/// Waits for a flight's outcome. Only an abort leaves it: a caller who stops waiting for another reason lets it fly on.
async fn wait(flight: &Flight, cancellation: &Cancellation) -> Outcome {
    let outcome = cancellation.guard(flight.outcome()).await;
    if outcome
        .as_ref()
        .is_err_and(|error| error.code() == ErrorCode::Aborted)
    {
        flight.leave();
    }
    outcome
}
