//! One call of `getValidAccessToken`: looks at the accounts that it may use, and does for the first that needs no login what
//! the table in `access_token` says.

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

/// One call of `getValidAccessToken`.
pub(crate) struct TokenRequest {
    pub(crate) config: AuthConfig,
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
        let rejected = request.rejected.as_ref();
        let mut credential = credential;
        let mut step = self
            .next_step(&location, config, rejected, &mut credential)
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
            step = self
                .next_step(&location, config, None, &mut credential)
                .await;
        }
        let hold = || request.hold.clone();
        if let Step::RefreshAside(patience) = step {
            let purpose = purpose(request, Effort::OneAttempt, None);
            let refresh = self.refresh(&location, purpose, hold(), cancellation);
            return match tokio::time::timeout(patience, refresh).await {
                Ok(Ok(refreshed)) => Ok(refreshed.access().clone()),
                Ok(Err(error)) if error.code() == ErrorCode::Aborted => Err(error),
                Ok(Err(_)) | Err(_) => Ok(credential.access().clone()),
            };
        }
        if let Step::Refresh = step {
            let purpose = purpose(request, Effort::Full, None);
            let refresh = self.refresh(&location, purpose, hold(), cancellation);
            step = match refresh.await {
                Ok(refreshed) => return Ok(refreshed.access().clone()),
                Err(error) => {
                    let freshness = self.assess(&location, &credential, config.refresh_buffer);
                    after_failure(freshness.freshness, error)
                }
            };
        }
        match step {
            Step::Refuse(error) => Err(error),
            _ => Ok(credential.access().clone()),
        }
    }

    /// The step that the table gives for a credential, or for a newer one that waits for its disk and replaces it.
    async fn next_step(
        &self,
        location: &Location,
        config: &AuthConfig,
        rejected: Option<&Secret>,
        credential: &mut Snapshot,
    ) -> Step {
        let key = location.key();
        let unsaved = self.logins.unsaved(&key);
        if let Some(waiting) = &unsaved {
            *credential = waiting.credential.clone();
        }
        let is_rejected = rejected == Some(credential.access());
        let mut freshness = self
            .assess(location, credential, config.refresh_buffer)
            .freshness;
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
        let is_being_refreshed = self.logins.of(&key, |login| login.flights.is_flying());
        next_step(freshness, known, is_being_refreshed)
    }
}

fn purpose(request: &TokenRequest, effort: Effort, rejected: Option<&Secret>) -> Purpose {
    Purpose {
        config: request.config.clone(),
        effort,
        rejected: rejected.cloned(),
    }
}
