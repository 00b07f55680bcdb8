//! Allows one login of an account at a time. A second caller shows the same code and gets the same outcome; a logout
//! ends the login in any process.

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{MayBlock, blocking};
use crate::error::{Error, ErrorCode};
use crate::secret::Fingerprint;
use crate::store::credential::Outline;
use crate::store::location::Location;
use crate::store::locked::Locked;
use crate::store::pending_login::{PendingLogin, Shown};
use crate::time::UnixMillis;

use super::Session;
use super::config::{AuthConfig, Flow};
use super::device_tokens::{Asked, Observer};
use super::verification::Verification;

/// How often the login of another is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often a login checks whether it was ended.
const WATCH: Duration = Duration::from_secs(1);

/// The credential that was stored before the person was asked.
#[derive(Clone, Copy)]
pub(super) struct Before {
    had_login: bool,
    logged_out_at: Option<UnixMillis>,
}

impl Before {
    pub(super) fn of(locked: &Locked) -> Self {
        Self {
            had_login: locked.stored().outline().is_some(),
            logged_out_at: locked.logged_out_at(),
        }
    }

    /// Whether there was a logout since, which wins over a login that was begun earlier.
    pub(super) fn was_logged_out(&self, locked: &Locked) -> bool {
        let now = Self::of(locked);
        !now.had_login && (self.had_login || self.logged_out_at != now.logged_out_at)
    }
}

impl Session {
    /// Begins a login; none if the same one was under way already, and has ended well.
    pub(super) async fn begin_login(
        self: &Arc<Self>,
        config: &AuthConfig,
        location: &Location,
        observer: &dyn Observer,
    ) -> Result<Option<PendingLogin>, Error> {
        let wanted = asked_for(config);
        let started = self.clock.boot();
        let mut joined: Option<(Shown, Option<UnixMillis>)> = None;
        loop {
            let (session, whose) = (Arc::clone(self), location.clone());
            let (before, pending, shown) = blocking(move |may| {
                // Before what is shown, which is hidden before a login is stored: then this is from before it.
                let before = session.logged_in_at(&whose, may);
                let pending = PendingLogin::begin(&whose, may)?;
                let shown = match &pending {
                    Some(_) => None,
                    None => PendingLogin::shown(&whose, may),
                };
                Ok::<_, Error>((before, pending, shown))
            })
            .await??;
            if let Some((other, before)) = &joined {
                // A code that has ended without its process noticing waits for nobody: that process is stopped.
                let is_late = self.clock.now() > other.expires_at.plus(config.request_timeout);
                let is_another = shown.is_some_and(|shown| shown != *other);
                if pending.is_some() || is_another || is_late {
                    let (session, whose) = (Arc::clone(self), location.clone());
                    let now = blocking(move |may| session.logged_in_at(&whose, may)).await?;
                    return if now.is_some() && now != *before {
                        Ok(None)
                    } else {
                        Err(other_has_ended())
                    };
                }
            } else if let Some(pending) = pending {
                return Ok(Some(pending));
            } else if let Some(shown) = shown {
                let now = self.clock.now();
                let can_join = wanted.as_ref() == Some(&shown.asked_for) && shown.expires_at > now;
                if can_join {
                    observer.verification(Verification::of_code(
                        shown.user_code.clone(),
                        shown.verification_uri.clone(),
                        shown.verification_uri_complete.clone(),
                        shown.expires_at,
                        shown.expires_at.since(now),
                    ));
                    joined = Some((shown, before));
                } else {
                    self.take_place(location).await?;
                    continue;
                }
            } else if self.clock.boot().since(started) > config.lock_timeout {
                // Its process is stopped, or its server does not answer.
                self.take_place(location).await?;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// When the present login was made: a refresh leaves that as it is.
    fn logged_in_at(&self, location: &Location, may: MayBlock) -> Option<UnixMillis> {
        let stored = self.look(location, may.into()).ok()?;
        stored.outline().map(Outline::created_at)
    }

    async fn take_place(&self, location: &Location) -> Result<(), Error> {
        let whose = location.clone();
        blocking(move |may| PendingLogin::end(&whose, may)).await
    }
}

/// Runs `work` until the login is ended.
pub(super) async fn unless_ended<T>(
    pending: &PendingLogin,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let ended = async {
        loop {
            let pending = pending.clone();
            // A disk that cannot be asked has ended nothing.
            if matches!(blocking(move |may| pending.is_ended(may)).await, Ok(true)) {
                break;
            }
            tokio::time::sleep(WATCH).await;
        }
    };
    tokio::select! {
        biased;
        outcome = work => outcome,
        () = ended => Err(was_ended()),
    }
}

/// Says to others what the person is shown.
pub(super) async fn show(pending: &PendingLogin, shown: Shown) -> Result<(), Error> {
    let pending = pending.clone();
    blocking(move |may| pending.show(&shown, may)).await
}

/// The state of a login with a code, as other processes see it.
pub(super) fn shown(config: &AuthConfig, asked: &Asked) -> Shown {
    Shown {
        asked_for: asked_for(config).unwrap_or_else(|| Fingerprint::of(&[])),
        user_code: asked.authorization.user_code.clone(),
        verification_uri: asked.authorization.verification_uri.clone(),
        verification_uri_complete: asked.authorization.verification_uri_complete.clone(),
        expires_at: asked.expires_at,
    }
}

/// The state of a login with a page, as other processes see it. The page returns only to its opener, so the next login
/// takes its place.
pub(super) fn shown_page() -> Shown {
    Shown {
        asked_for: Fingerprint::of(&[]),
        user_code: String::new(),
        verification_uri: String::new(),
        verification_uri_complete: None,
        expires_at: UnixMillis::default(),
    }
}

/// Identifies logins that may share one code; `None` where there is no code.
fn asked_for(config: &AuthConfig) -> Option<Fingerprint> {
    if matches!(config.flow, Flow::AuthorizationCode(_)) {
        return None;
    }
    let endpoint = |endpoint: &Option<crate::http::endpoint::Endpoint>| {
        endpoint
            .as_ref()
            .map_or_else(String::new, |endpoint| endpoint.as_str().to_owned())
    };
    let (device, token) = (
        endpoint(&config.device_authorization_endpoint),
        endpoint(&config.token_endpoint),
    );
    let mut parts = vec![
        config.issuer.as_ref().map_or("", |issuer| issuer.as_str()),
        &device,
        &token,
        config.client_id.as_deref().unwrap_or_default(),
        config.audience.as_deref().unwrap_or_default(),
        if config.dpop { "dpop" } else { "" },
        "scopes",
    ];
    parts.extend(config.scopes.iter().map(String::as_str));
    parts.push("resource");
    parts.extend(config.resource.iter().map(String::as_str));
    for (name, value) in &config.authorization_parameters {
        parts.extend([name.as_str(), value.as_str()]);
    }
    Some(Fingerprint::of(&parts))
}

/// The error of a login that a logout or another login has ended.
pub(super) fn was_ended() -> Error {
    Error::new(
        ErrorCode::Aborted,
        "This login was ended by a logout, or by another login of the same account. Nothing was stored; log in again.",
    )
}

fn other_has_ended() -> Error {
    Error::new(
        ErrorCode::Aborted,
        "The login that showed this code has ended without success: it was refused, given up, or ended by a logout, or its process ended. Log in again.",
    )
}
