//! Takes over a login that another program or an earlier plugin made.

use std::sync::Arc;

use std::path::PathBuf;

use crate::blocking::{Look, MayBlock, blocking};
use crate::error::{Error, ErrorCode};
use crate::oauth::client::ClientAuthentication;
use crate::oauth::dpop::DpopKey;
use crate::oauth::refresh::CLIENT_CREDENTIALS;
use crate::secret::Secret;
use crate::store::credential::{NewCredential, Snapshot, Stored};
use crate::store::earlier_login::EarlierLogin;
use crate::store::location::Location;
use crate::store::locked::Locked;
use crate::store::reading::{handwritten, is_nothing, is_unfinished};
use crate::store::registration::{Shelf, StoredClient};

use super::Session;
use super::auth_status::AuthStatus;
use super::cancellation::Cancellation;
use super::config::{AuthConfig, Flow};
use super::device_tokens::Observer;
use super::ownership;
use super::refresh_attempts::CRITICAL_SECTION;
use super::refusals::login_required;

impl Session {
    /// Takes over a login that a plugin wrote by hand (docs/design.md 4), or that a killed process could not bring in
    /// before its program took the old one out.
    pub(super) async fn adopt(
        self: &Arc<Self>,
        location: &Location,
        config: &AuthConfig,
    ) -> Result<Snapshot, Error> {
        let (session, whose, asked) = (Arc::clone(self), location.clone(), config.clone());
        let may_be_there = blocking(move |may| {
            let handwritten = session.handwritten(&asked, &whose, may.into())?;
            Ok::<_, Error>(handwritten.is_some() || is_unfinished(&whose, may))
        });
        if !may_be_there.await?? {
            // Another may have brought it in just now.
            return match self.present(config).await?.1 {
                Stored::Credential(credential) => Ok(credential),
                _ => Err(login_required(config)),
            };
        }
        let locked = self.lock(location, config.lock_timeout).await?;
        let (session, whose, config) = (Arc::clone(self), location.clone(), config.clone());
        blocking(move |may| session.adopt_under_lock(locked, &whose, &config, None, may)).await?
    }

    /// Takes over the login that the plugin knows of, if it says one: asked under the lock, while nothing is stored.
    pub(crate) async fn adopt_told(
        self: &Arc<Self>,
        config: &AuthConfig,
        observer: &dyn Observer,
        cancellation: &Cancellation,
    ) -> Result<AuthStatus, Error> {
        let config = self.first_account(config).await?;
        let (location, stored) = self.present(&config).await?;
        if stored == Stored::Nothing {
            let locked = self.lock(&location, config.lock_timeout);
            let locked = cancellation.guard(locked).await?;
            if *locked.stored() == Stored::Nothing {
                let told = tokio::time::timeout(CRITICAL_SECTION, observer.paste(String::new()));
                let told = cancellation.guard(async { Ok(told.await.ok()) }).await?;
                let login = told
                    .and_then(|text| EarlierLogin::parse(PathBuf::new(), text.expose().as_bytes()));
                let (session, asked) = (Arc::clone(self), config.clone());
                let adopted = blocking(move |may| {
                    session.adopt_under_lock(locked, &location, &asked, login, may)
                });
                match adopted.await? {
                    Err(error) if error.code() != ErrorCode::LoginRequired => return Err(error),
                    _ => {}
                }
            }
        }
        self.status(&config).await
    }

    /// A login that was written by hand, while nothing is stored.
    pub(super) fn handwritten(
        &self,
        config: &AuthConfig,
        location: &Location,
        look: Look,
    ) -> Result<Option<EarlierLogin>, Error> {
        match handwritten(location, &config.adopt, &*self.environment, look)? {
            Some(found) => Ok(Some(found)),
            None if is_nothing(location, look) => Ok(of_client(config)),
            None => Ok(None),
        }
    }

    fn adopt_under_lock(
        &self,
        mut locked: Locked,
        location: &Location,
        config: &AuthConfig,
        told: Option<EarlierLogin>,
        may: MayBlock,
    ) -> Result<Snapshot, Error> {
        locked.open(may)?;
        match locked.stored() {
            Stored::Credential(credential) => return Ok(credential.clone()),
            Stored::LoggedOut | Stored::Sealed(_) => return Err(login_required(config)),
            Stored::Nothing => {}
        }
        let found = match told {
            Some(told) => Some(told),
            None => self.handwritten(config, location, may.into())?,
        };
        let Some(handwritten) = found else {
            return Err(login_required(config));
        };
        let mut credential = bind(config, handwritten.credential(self.clock.now()))?;
        credential.dpop_key = key_of_client(config)?;
        keep_client(&mut credential, &handwritten, config, location, may)?;
        locked.adopt(&handwritten, &credential, may)?;
        Ok(credential.snapshot())
    }
}

/// The login of a client that logs in by itself; nothing for a flow in which a person does.
pub(super) fn of_client(config: &AuthConfig) -> Option<EarlierLogin> {
    (config.flow == Flow::ClientCredentials).then(|| {
        let text = format!("{{\"refresh\":\"{CLIENT_CREDENTIALS}\"}}");
        EarlierLogin::parse(PathBuf::new(), text.as_bytes())
    })?
}

/// The key of a client that logs in by itself: of a person's login the server alone knows whether it is bound to one.
pub(super) fn key_of_client(config: &AuthConfig) -> Result<Option<Secret>, Error> {
    let is_made = config.dpop && config.flow == Flow::ClientCredentials;
    let key = is_made.then(DpopKey::generate).transpose()?;
    Ok(key.map(|key| key.stored().clone()))
}

/// A client that the config does not name was registered by the plugin. It is kept like a client registered here, for
/// the next login too.
fn keep_client(
    credential: &mut NewCredential,
    handwritten: &EarlierLogin,
    config: &AuthConfig,
    location: &Location,
    may: MayBlock,
) -> Result<(), Error> {
    let server = credential
        .issuer
        .as_ref()
        .or(credential.token_endpoint.as_ref());
    let (None, Some(client_id), Some(server)) = (&config.client_id, &credential.client_id, server)
    else {
        return Ok(());
    };
    let secret = handwritten.client_secret().cloned();
    let authentication = match (&config.client_authentication, &secret) {
        (Some(authentication), _) => *authentication,
        (None, Some(_)) => ClientAuthentication::ClientSecretBasic,
        (None, None) => ClientAuthentication::None,
    };
    let client = StoredClient {
        client_id: client_id.clone(),
        client_secret: secret,
        secret_expires_at: None,
        authentication: authentication.as_str().to_owned(),
        redirect_uri: handwritten.redirect_uri().map(str::to_owned),
        scopes: None,
        registration_client_uri: None,
        registration_access_token: None,
        created_at: credential.refreshed_at,
    };
    Shelf::of(location, server).save_with(&client, may)?;
    credential.registered_client = true;
    Ok(())
}

/// The present config becomes the owner of an adopted login; a login of another client or server is refused.
pub(super) fn bind(config: &AuthConfig, adopted: NewCredential) -> Result<NewCredential, Error> {
    ownership::check(config, &adopted.snapshot())?;
    Ok(owned_by(config, adopted))
}

/// Fills in server and client from the config where the credential does not name them.
pub(super) fn owned_by(config: &AuthConfig, adopted: NewCredential) -> NewCredential {
    NewCredential {
        issuer: adopted.issuer.or_else(|| {
            config
                .issuer
                .as_ref()
                .map(|issuer| issuer.as_str().to_owned())
        }),
        token_endpoint: adopted.token_endpoint.or_else(|| {
            config
                .token_endpoint
                .as_ref()
                .map(|endpoint| endpoint.as_str().to_owned())
        }),
        revocation_endpoint: adopted.revocation_endpoint.or_else(|| {
            config
                .revocation_endpoint
                .as_ref()
                .map(|endpoint| endpoint.as_str().to_owned())
        }),
        resource: adopted
            .resource
            .or_else(|| config.asked_resource().map(str::to_owned)),
        client_id: adopted.client_id.or_else(|| config.client_id.clone()),
        client_authentication: adopted.client_authentication.or_else(|| {
            config
                .client_authentication
                .map(|authentication| authentication.as_str().to_owned())
        }),
        scopes: adopted.scopes.map(|scopes| config.split(scopes)),
        ..adopted
    }
}
