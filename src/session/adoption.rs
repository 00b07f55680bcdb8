//! A login that others have made becomes one of ours.

use std::sync::Arc;

use crate::blocking::{MayBlock, blocking};
use crate::error::Error;
use crate::store::credential::{NewCredential, Snapshot, Stored};
use crate::store::location::Location;
use crate::store::locked::Locked;
use crate::store::reading::{handwritten, is_unfinished};

use super::Session;
use super::config::AuthConfig;
use super::ownership;
use super::refusals::login_required;

impl Session {
    /// Takes over a login that a plugin wrote by hand (docs/design.md 4), or that a killed process could not bring in before its program
    /// took the old one out.
    pub(super) async fn adopt(
        self: &Arc<Self>,
        location: &Location,
        config: &AuthConfig,
    ) -> Result<Snapshot, Error> {
        let whose = location.clone();
        let may_be_there = blocking(move |may| {
            let handwritten = handwritten(&whose, may.into())?;
            Ok::<_, Error>(handwritten.is_some() || is_unfinished(&whose, may))
        });
        if !may_be_there.await?? {
            return Err(login_required(config));
        }
        let locked = self.lock(location, config.lock_timeout).await?;
        let (session, whose, config) = (Arc::clone(self), location.clone(), config.clone());
        blocking(move |may| session.adopt_under_lock(locked, &whose, &config, may)).await?
    }

    fn adopt_under_lock(
        &self,
        mut locked: Locked,
        location: &Location,
        config: &AuthConfig,
        may: MayBlock,
    ) -> Result<Snapshot, Error> {
        locked.open(may)?;
        match locked.stored() {
            Stored::Credential(credential) => return Ok(credential.clone()),
            Stored::LoggedOut | Stored::Sealed(_) => return Err(login_required(config)),
            Stored::Nothing => {}
        }
        let Some(handwritten) = handwritten(location, may.into())? else {
            return Err(login_required(config));
        };
        let credential = bind(config, handwritten.credential(self.clock.now()))?;
        locked.adopt(&handwritten, &credential, may)?;
        Ok(credential.snapshot())
    }
}

/// The present config becomes the owner of an adopted login; a login of another client or server is refused.
pub(super) fn bind(config: &AuthConfig, adopted: NewCredential) -> Result<NewCredential, Error> {
    ownership::check(config, &adopted.snapshot())?;
    Ok(owned_by(config, adopted))
}

/// Whatever the credential does not say of its server and client, the config says.
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
        ..adopted
    }
}
