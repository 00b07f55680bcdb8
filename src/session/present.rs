//! The present state of a login: stored, or waiting for its disk; and its freshness.

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{Look, blocking};
use crate::error::Error;
use crate::secret::Secret;
use crate::store::credential::{LastRefresh, Outline, Snapshot, Stored};
use crate::store::key::Key;
use crate::store::location::Location;
use crate::time::{BootInstant, UnixMillis};

use super::Session;
use super::config::AuthConfig;
use super::freshness::{Assessment, Lifetime, Renewal, assess, is_from_the_future};
use super::last_refresh::learned;
use super::login_state::Deadline;
use super::target::Target;

impl Session {
    /// Where a login is, and the stored credential, or the newer one that waits for its disk.
    pub(super) async fn present(
        self: &Arc<Self>,
        config: &AuthConfig,
    ) -> Result<(Location, Stored), Error> {
        let (session, config) = (Arc::clone(self), config.clone());
        blocking(move |may| {
            let location = session.location(&config, may.into())?;
            let stored = session.look(&location, may.into())?;
            Ok((location, stored))
        })
        .await?
    }

    /// A credential with its secrets from the keychain; an error in a build that knows none.
    pub(super) async fn opened(
        self: &Arc<Self>,
        location: &Location,
        sealed: Arc<Outline>,
    ) -> Result<Snapshot, Error> {
        let (session, location) = (Arc::clone(self), location.clone());
        blocking(move |may| session.cache.opened(&location, sealed, may)).await?
    }

    /// The stored credential, or the newer one that waits for its disk; at a glance where this thread may not wait.
    pub(super) fn look(&self, location: &Location, look: Look) -> Result<Stored, Error> {
        match self.logins.unsaved(&location.key()) {
            Some(waiting) => Ok(Stored::Credential(waiting.credential)),
            None => Ok(self.cache.read(location, look, self.clock.boot())?.0),
        }
    }

    /// How fresh a credential is, here and now.
    pub(super) fn assess(
        &self,
        location: &Location,
        credential: &Snapshot,
        buffer: Duration,
    ) -> Assessment {
        self.assess_of(&location.key(), &Target::default(), credential, buffer)
    }

    /// Assesses the access token for that target of a login that is known by its key.
    pub(super) fn assess_of(
        &self,
        key: &Key,
        target: &Target,
        credential: &Snapshot,
        buffer: Duration,
    ) -> Assessment {
        if credential.is_rejected() {
            return Assessment::EXPIRED;
        }
        let (now, boot) = (self.clock.now(), self.clock.boot());
        let known = self.logins.of(key, |login| {
            let deadline = &login.token(target).deadline;
            let deadline = deadline.as_ref().filter(|deadline| {
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
                self.remember_deadline(
                    (key, target),
                    credential.access(),
                    Some(expires),
                    at,
                    false,
                );
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
                && self.logins.of(key, |login| {
                    login
                        .token(target)
                        .foreign_clock
                        .is_worth_a_refresh(credential.access(), boot)
                }),
        };
        assess(&lifetime, buffer, now, boot)
    }

    /// Notes the end of an access token on the boot clock.
    pub(super) fn remember_deadline(
        &self,
        (key, target): (&Key, &Target),
        access: &Secret,
        expires: Option<UnixMillis>,
        at: BootInstant,
        exact: bool,
    ) {
        let deadline = Deadline {
            access: access.clone(),
            expires,
            at,
            exact,
        };
        self.logins.of(key, |login| {
            login.token(target).deadline = Some(deadline);
        });
    }

    /// The access token of a login for that target, if there is one: its own, or one that this process has asked for.
    /// Only while the same login is stored: a logout, or another login, ends all of them.
    pub(super) fn token(&self, key: &Key, target: &Target, login: &Snapshot) -> Option<Snapshot> {
        if target.is_login() {
            return Some(login.clone());
        }
        self.logins.of(key, |state| {
            let token = state.token(target).token.as_ref();
            token.filter(|token| token.is_of_login(login)).cloned()
        })
    }

    /// The result of the last failed round, if it applies to the request that a refresh would send now.
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
        blocking(move |may| learned(&config, &location, &credential, may.into())).await?
    }
}
