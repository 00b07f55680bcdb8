//! One call of `getValidAccessToken`: looks at the accounts that it may use, and does for the first that needs no
//! login what the table in `access_token` says.

use std::sync::Arc;

use crate::blocking::blocking;
use crate::error::{Error, ErrorCode};
use crate::secret::Secret;
use crate::store::credential::{Snapshot, Stored};
use crate::store::location::Location;

use super::Session;
use super::access_token::{Known, Step, after_failure, next_step};
use super::cancellation::Cancellation;
use super::config::AuthConfig;
use super::freshness::Freshness;
use super::last_refresh::{blocked, refused_access_token};
use super::ownership;
use super::refusals::{login_required, whose};
use super::single_flight::{Effort, Hold, Purpose};
use super::target::Target;

/// One call of `getValidAccessToken`.
pub(crate) struct TokenRequest {
    pub(crate) config: AuthConfig,
    /// The access token of the login that is requested.
    pub(crate) target: Target,
    /// The access token that a resource server answered 401 to.
    pub(crate) rejected: Option<Secret>,
    /// The service had accepted that token before, so the refresh that gave it was useful.
    pub(crate) was_accepted: bool,
    /// The `scope` of a resource server's refusal.
    pub(crate) required_scope: Option<String>,
    /// Keeps the caller's event loop alive while a refresh that was sent is not yet saved.
    pub(crate) hold: Option<Hold>,
}

impl Session {
    /// Returns a valid access token; refreshes it where needed. Of an order, the first account that needs no login
    /// counts. A transient failure is no reason to use another account, with other data.
    pub(crate) async fn access_token(
        self: &Arc<Self>,
        mut request: TokenRequest,
        cancellation: &Cancellation,
    ) -> Result<Secret, Error> {
        let accounts = self.accounts_of(&request.config).await?;
        let has_order = accounts.len() > 1;
        // Where all need a login, the person is asked for the first account.
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
        blocking(move |may| {
            let location = session.location(&config, may.into())?;
            Ok(session
                .passed_over(&config, &location, may.into())?
                .is_some())
        })
        .await?
    }

    async fn token_of_account(
        self: &Arc<Self>,
        request: &TokenRequest,
        cancellation: &Cancellation,
    ) -> Result<Secret, Error> {
        let config = &request.config;
        let (location, stored) = self.present(config).await?;
        let credential = match stored {
            Stored::Credential(credential) => credential,
            Stored::Sealed(sealed) => self.opened(&location, sealed).await?,
            Stored::LoggedOut => return Err(login_required(config)),
            Stored::Nothing => cancellation.guard(self.adopt(&location, config)).await?,
        };
        ownership::check(config, &credential)?;
        ownership::names_a_server(config, &credential)?;
        if let Some(scope) = &request.required_scope {
            self.require_scopes(config, &location, &credential, scope)
                .await?;
        }
        if !request.target.is_login() && !credential.is_refreshable() {
            return Err(no_refresh_token(config, &request.target));
        }
        let rejected = request.rejected.as_ref();
        let mut credential = credential;
        let (mut step, mut token) = self
            .next_step(&location, request, rejected, &mut credential)
            .await;
        if matches!(step, Step::Replace) {
            let purpose = purpose(request, Effort::Full, rejected);
            let replaced = self
                .replace_rejected(
                    &location,
                    purpose,
                    (request.was_accepted, request.hold.clone()),
                    &credential,
                    cancellation,
                )
                .await;
            if let Some(outcome) = replaced {
                return outcome.map(|refreshed| refreshed.access().clone());
            }
            (step, token) = self
                .next_step(&location, request, None, &mut credential)
                .await;
        }
        let hold = || request.hold.clone();
        if let Step::RefreshAside(patience) = step {
            let purpose = purpose(request, Effort::OneAttempt, None);
            let refresh = self.refresh(&location, purpose, hold(), cancellation);
            return match tokio::time::timeout(patience, refresh).await {
                Ok(Ok(refreshed)) => Ok(refreshed.access().clone()),
                Ok(Err(error)) if error.code() == ErrorCode::Aborted => Err(error),
                Ok(Err(_)) | Err(_) => handed_out(config, token.as_ref()),
            };
        }
        if let Step::Refresh = step {
            let purpose = purpose(request, Effort::Full, None);
            let refresh = self.refresh(&location, purpose, hold(), cancellation);
            step = match refresh.await {
                Ok(refreshed) => return Ok(refreshed.access().clone()),
                Err(error) => {
                    let key = location.key();
                    let freshness = token.as_ref().map_or(Freshness::Expired, |token| {
                        self.assess_of(&key, &request.target, token, config.refresh_buffer)
                            .freshness
                    });
                    after_failure(freshness, error)
                }
            };
        }
        match step {
            Step::Refuse(error) => Err(error),
            _ => handed_out(config, token.as_ref()),
        }
    }

    /// The step that the table gives for a token of a login, or of a newer one that waits for its disk and replaces
    /// it. With the token, where there is one.
    async fn next_step(
        &self,
        location: &Location,
        TokenRequest { config, target, .. }: &TokenRequest,
        rejected: Option<&Secret>,
        credential: &mut Snapshot,
    ) -> (Step, Option<Snapshot>) {
        let key = location.key();
        let unsaved = self.logins.unsaved(&key);
        if let Some(waiting) = &unsaved {
            *credential = waiting.credential.clone();
        }
        let token = self.token(&key, target, credential);
        let access = token.as_ref().map(Snapshot::access);
        let is_rejected = access.is_some() && rejected == access;
        let mut freshness = token.as_ref().map_or(Freshness::Expired, |token| {
            self.assess_of(&key, target, token, config.refresh_buffer)
                .freshness
        });
        let known = if let Some(waiting) = unsaved {
            if is_rejected {
                freshness = Freshness::Expired;
            }
            Known::Unsaved(Error::new(
                ErrorCode::StoreLocked,
                format!(
                    "The login of {} is not refreshed before the result of its last refresh is saved. {}",
                    whose(config),
                    waiting.cause.message()
                ),
            ))
        } else if is_rejected {
            Known::Rejected
        } else if let Some(refusal) = refused_access_token(credential, self.clock.now()) {
            Known::Refused(refusal)
        } else if freshness == Freshness::Fresh {
            Known::Nothing
        } else {
            match self.last_refresh(location, config, credential).await {
                Ok(last) => last
                    .and_then(|last| blocked(&last, self.clock.now()))
                    .map_or(Known::Nothing, Known::Blocked),
                Err(error) => Known::Blocked(error),
            }
        };
        let (is_being_refreshed, refusal) = self.logins.of(&key, |login| {
            let state = login.token(target);
            let refusal = state.refusal.as_ref();
            let refusal = refusal.filter(|refusal| {
                self.clock.boot() < refusal.until && refusal.login.is_of_login(credential)
            });
            (
                state.flights.is_flying(),
                refusal.map(|refusal| refusal.error.clone()),
            )
        });
        let known = match (known, refusal) {
            (Known::Nothing, Some(error)) => Known::Blocked(error),
            (known, _) => known,
        };
        (next_step(freshness, known, is_being_refreshed), token)
    }
}

fn handed_out(config: &AuthConfig, token: Option<&Snapshot>) -> Result<Secret, Error> {
    let access = token.map(|token| token.access().clone());
    access.ok_or_else(|| login_required(config))
}

fn no_refresh_token(config: &AuthConfig, target: &Target) -> Error {
    Error::new(
        ErrorCode::LoginRequired,
        format!(
            "The login of {} has no refresh token, so it gets no token for {}. Log in again; most servers want the scope \
             offline_access for one.",
            whose(config),
            target.described()
        ),
    )
}

fn purpose(request: &TokenRequest, effort: Effort, rejected: Option<&Secret>) -> Purpose {
    Purpose {
        config: request.config.clone(),
        target: request.target.clone(),
        effort,
        rejected: rejected.cloned(),
    }
}
