//! Which account a call means: the one that the config names, else the first of an order that needs no login.

use std::sync::Arc;

use crate::blocking::{Look, blocking};
use crate::error::Error;
use crate::store::order;

use super::Session;
use super::auth_status::{AuthStatus, Skipped, State};
use super::config::{AuthConfig, profiles};
use super::refusals::{cannot_refresh, login_required};

/// The account that is in use, and those of the order that were passed over for it.
pub(super) struct Chosen {
    pub(super) config: AuthConfig,
    pub(super) skipped: Vec<Skipped>,
}

impl Session {
    /// The accounts that a call may use, the preferred one first; never none. Reads the store: call it on a thread that may
    /// block.
    ///
    /// # Errors
    /// What reading the stored order may say.
    pub(super) fn accounts(
        &self,
        config: &AuthConfig,
        look: Look,
    ) -> Result<Vec<AuthConfig>, Error> {
        let stored = match &config.accounts {
            Some(_) => None,
            None => order::read(&self.location(config)?, look)?,
        };
        let named = config.accounts.clone().or(stored);
        Ok(named
            .unwrap_or_else(|| vec![config.profile.clone()])
            .into_iter()
            .map(|profile| config.of_account(profile))
            .collect())
    }

    /// The same, off the runtime's thread.
    pub(super) async fn accounts_of(
        self: &Arc<Self>,
        config: &AuthConfig,
    ) -> Result<Vec<AuthConfig>, Error> {
        let (session, config) = (Arc::clone(self), config.clone());
        blocking(move |may| session.accounts(&config, may.into())).await?
    }

    /// The account of a login or logout, which has to mean one.
    pub(super) async fn first_account(
        self: &Arc<Self>,
        config: &AuthConfig,
    ) -> Result<AuthConfig, Error> {
        let accounts = self.accounts_of(config).await?;
        Ok(accounts
            .into_iter()
            .next()
            .unwrap_or_else(|| config.clone()))
    }

    /// The first account that needs no login; where all do, the first. Call it on a thread that may block.
    ///
    /// # Errors
    /// Whatever else keeps an account from being looked at: then its login may be good, and nobody else's is taken instead.
    pub(super) fn choose(&self, config: &AuthConfig, look: Look) -> Result<Chosen, Error> {
        let mut accounts = self.accounts(config, look)?.into_iter();
        let first = accounts.next().unwrap_or_else(|| config.clone());
        let mut skipped = Vec::new();
        if accounts.len() == 0 {
            return Ok(Chosen {
                config: first,
                skipped,
            });
        }
        for config in std::iter::once(first.clone()).chain(accounts) {
            match self.passed_over(&config, look)? {
                None => return Ok(Chosen { config, skipped }),
                Some(reason) => skipped.push(reason),
            }
        }
        // Said by the status itself.
        skipped.remove(0);
        Ok(Chosen {
            config: first,
            skipped,
        })
    }

    /// Why an account needs a login, if it does.
    pub(super) fn passed_over(
        &self,
        config: &AuthConfig,
        look: Look,
    ) -> Result<Option<Skipped>, Error> {
        let reason = |state, message| {
            Some(Skipped {
                profile: config.profile.clone(),
                state,
                message,
            })
        };
        let location = self.location(config)?;
        let status = match self.status_of(config, &location, look) {
            Ok(status) => status,
            Err(error) if error.needs_login() => {
                return Ok(reason(State::LoginRequired, error.message().to_owned()));
            }
            Err(error) => return Err(error),
        };
        Ok(match status.state {
            State::LoggedOut => reason(status.state, login_required(config).message().to_owned()),
            State::Expired => reason(status.state, cannot_refresh(config).message().to_owned()),
            State::LoginRequired => reason(status.state, told(status, config)),
            State::Valid | State::Expiring => None,
        })
    }

    /// Reads the stored order, or sets it first.
    pub(crate) async fn profile_order(
        self: &Arc<Self>,
        config: &AuthConfig,
        set: Option<Vec<String>>,
    ) -> Result<Option<Vec<String>>, Error> {
        let set = set
            .map(|names| profiles(&config.plugin_id, "order", names))
            .transpose()?;
        for profile in set.iter().flatten() {
            // Refuses a name that no account can have.
            self.location(&config.of_account(profile.clone()))?;
        }
        let (location, now) = (self.location(config)?, self.clock.now());
        blocking(move |may| {
            if let Some(order) = set {
                order::write(&location, &order, now, may)?;
            }
            order::read(&location, may.into())
        })
        .await?
    }
}

fn told(status: AuthStatus, config: &AuthConfig) -> String {
    match status.last_error {
        Some(error) => error.message,
        None => login_required(config).message().to_owned(),
    }
}
