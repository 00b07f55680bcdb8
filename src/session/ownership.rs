//! A credential belongs to its issuer, token endpoint and client: a refresh token never goes to a server that did not
//! issue it (docs/design.md 3.4).

use crate::error::{Error, ErrorCode};
use crate::http::endpoint::Endpoint;
use crate::oauth::issuer::Issuer;
use crate::oauth::protected_resource::covers;
use crate::store::credential::{Outline, Snapshot};

use super::config::AuthConfig;

/// Refuses a credential that the config does not mean.
pub(super) fn check(config: &AuthConfig, credential: &Outline) -> Result<(), Error> {
    let issuer = config.issuer.as_ref().map(Issuer::as_str);
    let token_endpoint = config.token_endpoint.as_ref().map(Endpoint::as_str);
    let stored_issuer = credential.issuer();
    let stored_endpoint = credential.token_endpoint();

    if let (Some(configured), Some(stored)) = (token_endpoint, stored_endpoint)
        && configured != stored
    {
        return Err(mismatch("token endpoint", stored, configured));
    }
    match (issuer, stored_issuer) {
        (Some(configured), Some(stored)) if configured != stored => {
            return Err(mismatch("issuer", stored, configured));
        }
        // The login went by endpoints alone: only the same token endpoint shows that it is the same server.
        (Some(configured), None) if token_endpoint.is_none() => {
            if let Some(stored) = stored_endpoint {
                return Err(mismatch("server", stored, configured));
            }
        }
        // Only a refresh, or an endpoint that may be another server's, asks for a server; a static token is only
        // handed out.
        (None, Some(stored))
            if stored_endpoint.is_none()
                && (token_endpoint.is_some() || credential.is_refreshable()) =>
        {
            return Err(mismatch(
                "issuer",
                stored,
                token_endpoint.unwrap_or("no issuer"),
            ));
        }
        _ => {}
    }
    // MCP: a token goes only to the resource that named its server.
    if let Some(asked) = config.asked_resource() {
        match (credential.resource(), stored_issuer) {
            (Some(stored), _) if !covers(stored, asked) => {
                return Err(mismatch("resource", stored, asked));
            }
            (None, Some(stored)) => {
                let asked = format!("no issuer, only the resource {asked}");
                return Err(mismatch("issuer", stored, &asked));
            }
            _ => {}
        }
    }
    if let (Some(configured), Some(stored)) = (config.client_id.as_deref(), credential.client_id())
        && configured != stored
    {
        return Err(mismatch("client", stored, configured));
    }
    Ok(())
}

/// Refuses a config without a server, except for a static token: nothing is ever asked about that.
pub(super) fn names_a_server(config: &AuthConfig, credential: &Snapshot) -> Result<(), Error> {
    if credential.is_refreshable() {
        config.names_a_server()
    } else {
        Ok(())
    }
}

pub(super) fn mismatch(what: &str, stored: &str, configured: &str) -> Error {
    Error::new(
        ErrorCode::IssuerMismatch,
        format!(
            "The stored login belongs to the {what} {stored}, but the config names {configured}. Correct the config, or \
             log in again to replace the stored login."
        ),
    )
    .needing_login()
}
