//! Logout: remove the credential, then revoke it where the server can (RFC 7009).

use std::sync::Arc;

use crate::blocking::{MayBlock, blocking};
use crate::error::{Error, ErrorCode};
use crate::oauth::client::{Client, ClientAuthentication};
use crate::oauth::dpop::DpopKey;
use crate::oauth::refresh::CLIENT_CREDENTIALS;
use crate::oauth::revocation::{RevocationRequest, revoke};
use crate::store::credential::{Snapshot, Stored};
use crate::store::location::Location;
use crate::store::locked::Locked;
use crate::store::outcome::Removed;
use crate::store::pending_login::PendingLogin;
use crate::store::sealed::{CAN_OPEN, unlock_keychain};
use crate::time::UnixMillis;

use super::cancellation::Cancellation;
use super::client::of_credential;
use super::config::{AuthConfig, Flow, WantedStorage};
use super::login_state::LoginState;
use super::{Session, ownership};

/// The result of a logout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggedOut {
    /// The server confirmed the revocation.
    pub(crate) revoked: bool,
    /// There was a credential, and its file is closed.
    pub(crate) removed: bool,
    /// The names of entries that could not be removed from the keychain.
    pub(crate) left_in_keychain: Vec<String>,
}

/// For a person who is where the keychain is not.
const WAY_OUT: &str = " To log out without it, give `storage: \"file\"` (a plugin's command: `logout --without-keychain`): that closes the file, and says what stays in the keychain.";

impl Session {
    /// Removes the credential, even if revoking fails, and revokes it at the server.
    ///
    /// First the file is closed, then the tokens are revoked, then the keychain's entries are removed. So a server
    /// that hangs, or a Ctrl-C, leaves nobody logged in, and an entry that cannot be removed holds no usable token.
    pub(crate) async fn logout(
        self: &Arc<Self>,
        config: &AuthConfig,
        cancellation: &Cancellation,
    ) -> Result<LoggedOut, Error> {
        let config = &self.first_account(config).await?;
        let location = self.located(config).await?;
        if CAN_OPEN && config.storage.may_be_keychain() {
            // Before the lock is taken: a person may be slow.
            cancellation.guard(blocking(unlock_keychain)).await?;
        }
        // A login of an earlier plugin counts as logged in, so it is one to end. What cannot be adopted stays as it is.
        let may_be_earlier = config.credentials_format.is_none()
            && config.flow != Flow::ClientCredentials
            && (config.store.is_none() || !config.adopt.is_empty());
        if may_be_earlier {
            let adopted = Box::pin(async { Ok(self.adopt(&location, config).await.ok()) });
            drop(cancellation.guard(adopted).await?);
        }
        let key = location.key();
        let now = self.clock.now();
        let (whose, configured) = (location.clone(), config.clone());
        let unsaved = self.take_over(&key).await;
        let (found, unsaved) = if let Some(mut save) = unsaved {
            if let Err(error) = cancellation.commit() {
                self.keep_saving(key, save);
                return Err(error);
            }
            let (found, save) = blocking(move |may| {
                let found = remove(&mut save.locked, configured, &whose, now, may);
                (found, save)
            })
            .await?;
            match found {
                Ok(found) => (found, Some(save)),
                Err(error) => {
                    self.keep_saving(key, save);
                    return Err(error);
                }
            }
        } else {
            let lock = self.lock(&location, config.lock_timeout);
            let mut locked = cancellation.guard(lock).await?;
            cancellation.commit()?;
            let found =
                blocking(move |may| remove(&mut locked, configured, &whose, now, may)).await??;
            (found, None)
        };
        let Found {
            mut client,
            was_stored,
            mut removed,
            former,
        } = found;
        if let Some(save) = unsaved {
            // The stored refresh token was spent for these.
            removed = Some(Removed {
                access: save.credential.access.clone(),
                refresh: save.credential.refresh.clone(),
                revocation_endpoint: save.credential.revocation_endpoint.clone(),
                client_id: save.credential.client_id.clone(),
                dpop_key: save.credential.dpop_key.clone(),
            });
            client = Ok(Some(save.client));
        }
        self.logins.of(&key, LoginState::forget);
        self.cache.forget(&location);
        let is_removed = was_stored || removed.is_some();
        let revoked = match removed {
            Some(removed) => {
                // The credential is gone; only without its client's registration can nothing be revoked.
                let client = client.ok().flatten().map(|client| client.at(&self.clock));
                cancellation
                    .until_cancelled(self.revoke_removed(config, client, &removed))
                    .await
                    .unwrap_or(false)
            }
            None => false,
        };
        let left_in_keychain = if former.is_empty() {
            former
        } else {
            self.forget_secrets(config, &location, former).await
        };
        Ok(LoggedOut {
            revoked,
            removed: is_removed,
            left_in_keychain,
        })
    }

    /// Removes what the keychain still holds of a login that has ended. Says what is left.
    async fn forget_secrets(
        self: &Arc<Self>,
        config: &AuthConfig,
        location: &Location,
        former: Vec<String>,
    ) -> Vec<String> {
        let Ok(mut locked) = self.lock(location, config.lock_timeout).await else {
            return former;
        };
        let left = blocking(move |may| locked.forget_secrets(may)).await;
        left.unwrap_or(former)
    }

    async fn revoke_removed(
        &self,
        config: &AuthConfig,
        client: Option<Client>,
        removed: &Removed,
    ) -> bool {
        // The stored endpoint alone: a token goes only to the server that issued it.
        let endpoint = removed
            .revocation_endpoint
            .as_deref()
            .and_then(|endpoint| config.allow_http.endpoint(endpoint).ok());
        let Some(endpoint) = endpoint else {
            return false;
        };
        let client = client.unwrap_or_else(|| Client {
            id: removed.client_id.clone().unwrap_or_default(),
            secret: None,
            authentication: ClientAuthentication::None,
            assertions: None,
        });
        let key = removed.dpop_key.as_ref();
        let key = key.and_then(|key| DpopKey::from_stored(key).ok());
        let mut revoked = true;
        // RFC 7009 §2.1: revoking the refresh token SHOULD revoke its access tokens too; not every server does.
        let refresh = removed.refresh.as_ref();
        let refresh = refresh.filter(|refresh| refresh.expose() != CLIENT_CREDENTIALS);
        let tokens = refresh
            .iter()
            .map(|refresh| (*refresh, "refresh_token"))
            .chain([(&removed.access, "access_token")]);
        for (token, hint) in tokens {
            let request = RevocationRequest {
                endpoint: &endpoint,
                client: &client,
                token,
                hint,
                dpop: key.as_ref().map(|key| self.dpop(key)),
            };
            let outcome = revoke(&*self.http, &request, config.request_timeout).await;
            // RFC 7009 §2.1: with its refresh token an access token goes as well, and a server may no longer know it
            // by then.
            let is_gone = |error: &Error| {
                hint == "access_token" && refresh.is_some() && error.status() == Some(400)
            };
            revoked &= outcome.as_ref().is_ok() || revoked && outcome.is_err_and(|e| is_gone(&e));
        }
        revoked
    }
}

/// The credential that was stored.
struct Found {
    client: Result<Option<Client>, Error>,
    was_stored: bool,
    removed: Option<Removed>,
    /// The names of secrets that the keychain still holds.
    former: Vec<String>,
}

fn remove(
    locked: &mut Locked,
    configured: AuthConfig,
    whose: &Location,
    now: UnixMillis,
    may: MayBlock,
) -> Result<Found, Error> {
    match locked.open(may) {
        // Secrets that are gone cannot be revoked, which is no reason to keep what is left.
        Err(error) if error.code() == ErrorCode::LoginRequired => {}
        // The caller asks for the file to be closed without the keychain, if need be.
        Err(_) if configured.storage == WantedStorage::File => {}
        Err(error) => return Err(error.followed_by(WAY_OUT)),
        Ok(()) => {}
    }
    let was_stored = locked.stored().outline().is_some();
    let client = match locked.stored() {
        Stored::Credential(credential) => client_of(configured, whose, credential, may),
        _ => Ok(None),
    };
    let removed = locked.log_out(now, may)?;
    // Under the lock: a login that waits for a person stores its tokens under it as well, and looks before.
    PendingLogin::end(whose, may);
    Ok(Found {
        client,
        was_stored,
        removed,
        former: locked.former_secrets(),
    })
}

/// The client that the tokens belong to. A config that means another server or client by now says nothing about it,
/// and its secret is not that server's business.
fn client_of(
    mut config: AuthConfig,
    location: &Location,
    credential: &Snapshot,
    may: MayBlock,
) -> Result<Option<Client>, Error> {
    if ownership::check(&config, credential).is_err() {
        config.client_id = None;
    }
    of_credential(&config, location, credential, may.into())
}
