//! Selects the account of a call: the one that the config names, else the first of an order that needs no login.

use std::borrow::Cow;
use std::sync::Arc;

use crate::blocking::{Look, blocking};
use crate::error::Error;
use crate::store::location::Location;
use crate::store::order;
use crate::time::BootInstant;

use super::Session;
use super::auth_status::{AuthStatus, Skipped, State};
use super::config::{AuthConfig, profiles};
use super::refusals::{cannot_refresh, is_named_as_it_is, nobody_logged_in};

/// The account that is in use, and those of the order that were passed over for it.
pub(super) struct Chosen {
    pub(super) config: AuthConfig,
    pub(super) location: Location,
    pub(super) skipped: Vec<Skipped>,
    /// Its status, where it had to be known for the choice.
    pub(super) status: Option<Box<AuthStatus>>,
}

/// An account of an order.
enum Candidate {
    /// It is good without a login.
    Usable(Box<AuthStatus>),
    PassedOver(Skipped),
}

impl Session {
    /// The accounts that a call may use, the preferred one first; never none. Reads the store: call it on a thread
    /// that may block.
    ///
    /// # Errors
    /// Those of reading the stored order.
    pub(super) fn accounts(
        &self,
        config: &AuthConfig,
        look: Look,
    ) -> Result<Vec<AuthConfig>, Error> {
        let names = self.names(config, look)?;
        Ok(names.iter().map(|name| config.of_account(name)).collect())
    }

    /// Their names.
    pub(super) fn names<'a>(
        &self,
        config: &'a AuthConfig,
        look: Look,
    ) -> Result<Cow<'a, [String]>, Error> {
        if let Some(names) = &config.accounts {
            return Ok(Cow::Borrowed(names));
        }
        let stored = order::read(&self.location(config, look)?, look)?;
        Ok(stored
            .unwrap_or_else(|| vec![config.profile.clone()])
            .into())
    }

    /// Lists the accounts, off the runtime's thread.
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

    /// The first account that needs no login; where all need one, the first. Call it on a thread that may block.
    ///
    /// # Errors
    /// Any other failure to read an account: its login may be valid, so no other account takes its place.
    pub(super) fn choose(&self, config: &AuthConfig, look: Look) -> Result<Chosen, Error> {
        self.choose_of(config, &self.names(config, look)?, look)
    }

    /// Selects one of these accounts.
    pub(super) fn choose_of(
        &self,
        config: &AuthConfig,
        names: &[String],
        look: Look,
    ) -> Result<Chosen, Error> {
        let mut config = config.clone();
        let mut skipped = Vec::with_capacity(names.len());
        let boot = self.clock.boot();
        let mut last: Option<Location> = None;
        for name in names {
            config.mean(name);
            let location = match last.and_then(|last| last.beside(name)) {
                Some(location) => location?,
                None => self.location(&config, look)?,
            };
            let status = if names.len() > 1 {
                match self.candidate(&config, &location, look, boot)? {
                    Candidate::Usable(status) => Some(status),
                    Candidate::PassedOver(reason) => {
                        skipped.push(reason);
                        last = Some(location);
                        continue;
                    }
                }
            } else {
                None
            };
            return Ok(Chosen {
                config,
                location,
                skipped,
                status,
            });
        }
        if let Some(first) = names.first() {
            config.mean(first);
        }
        Ok(Chosen {
            location: self.location(&config, look)?,
            config,
            // The first account's own status reports it.
            skipped: skipped.into_iter().skip(1).collect(),
            status: None,
        })
    }

    /// Why an account needs a login, if it does.
    pub(super) fn passed_over(
        &self,
        config: &AuthConfig,
        location: &Location,
        look: Look,
    ) -> Result<Option<Skipped>, Error> {
        let boot = self.clock.boot();
        Ok(match self.candidate(config, location, look, boot)? {
            Candidate::Usable(_) => None,
            Candidate::PassedOver(reason) => Some(reason),
        })
    }

    fn candidate(
        &self,
        config: &AuthConfig,
        location: &Location,
        look: Look,
        boot: BootInstant,
    ) -> Result<Candidate, Error> {
        let reason = |state, message| {
            Candidate::PassedOver(Skipped {
                profile: config.profile.clone(),
                state,
                message,
            })
        };
        let logged_out = || (!is_named_as_it_is(&config.profile)).then(|| nobody_logged_in(config));
        let status = match self.status_unless_out(config, location, look, boot) {
            Ok(Some(status)) => status,
            Ok(None) => return Ok(reason(State::LoggedOut, logged_out())),
            Err(error) if error.needs_login() => {
                return Ok(reason(
                    State::LoginRequired,
                    Some(error.message().to_owned()),
                ));
            }
            Err(error) => return Err(error),
        };
        Ok(match status.state {
            State::LoggedOut => reason(status.state, logged_out()),
            State::Expired => reason(
                status.state,
                Some(cannot_refresh(config).message().to_owned()),
            ),
            State::LoginRequired => reason(status.state, Some(told(status, config))),
            State::Valid | State::Expiring => Candidate::Usable(Box::new(status)),
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
        let (session, config) = (Arc::clone(self), config.clone());
        blocking(move |may| {
            let look = may.into();
            for profile in set.iter().flatten() {
                // Refuses a name that no account can have.
                session.location(&config.of_account(profile), look)?;
            }
            let location = session.location(&config, look)?;
            if let Some(order) = set {
                order::write(&location, &order, session.clock.now(), may)?;
            }
            order::read(&location, look)
        })
        .await?
    }
}

fn told(status: AuthStatus, config: &AuthConfig) -> String {
    match status.last_error {
        Some(error) => error.message,
        None => nobody_logged_in(config),
    }
}
