//! A token that a person got elsewhere: pasted, or made by another tool.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::oauth::token_response::jwt_expiry;
use crate::secret::Secret;
use crate::store::credential::NewCredential;
use crate::time::UnixMillis;

use super::Session;
use super::adoption::owned_by;
use super::auth_status::AuthStatus;
use super::cancellation::Cancellation;
use super::config::{AuthConfig, Options, invalid, known_names, scope, wrong_type};
use super::login::in_any_case;

/// The token to import.
pub(crate) struct ImportedToken {
    access: Secret,
    refresh: Option<Secret>,
    expires: Option<UnixMillis>,
    refresh_expires: Option<UnixMillis>,
    scopes: Option<Vec<String>>,
}

impl ImportedToken {
    /// Parses the object that JavaScript gave.
    ///
    /// # Errors
    /// `INVALID_CONFIG`, without quoting a token.
    pub(crate) fn parse(mut members: Map<String, Value>) -> Result<Self, Error> {
        known_names(
            members.keys().map(String::as_str),
            &["access", "refresh", "expires", "scopes"],
            "member of the token",
        )?;
        let expires = match members.remove("expires") {
            None => None,
            Some(Value::Number(number)) => Some(expiry(&number)?),
            Some(other) => return Err(wrong_type("expires", "Unix milliseconds", &other)),
        };
        let mut options = Options(&mut members);
        let scopes = options.list("scopes", scope)?;
        let refresh = token(&mut options, "refresh")?;
        let access = token(&mut options, "access")?
            .ok_or_else(|| invalid("`access` is missing: give the access token."))?;
        Ok(Self {
            expires: expires.or_else(|| jwt_expiry(&access)),
            refresh_expires: refresh.as_ref().and_then(jwt_expiry),
            access,
            refresh,
            scopes: (!scopes.is_empty()).then_some(scopes),
        })
    }
}

/// RFC 6749 appendix A.12: access-token = 1*VSCHAR. A space or a line end comes from copying.
fn token(options: &mut Options<'_>, name: &str) -> Result<Option<Secret>, Error> {
    let token = options.text(name)?.map(Secret::new);
    match token {
        Some(token) if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(invalid(format!(
                "`{name}` holds spaces or characters that a token cannot have: copy the token alone."
            )))
        }
        token => Ok(token),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, and fractions of a millisecond do not matter"
)]
fn expiry(number: &serde_json::Number) -> Result<UnixMillis, Error> {
    /// A number below this, as milliseconds, would be before March 1973.
    const SECONDS_BELOW: f64 = 1e11;
    match number.as_f64() {
        Some(millis) if millis >= SECONDS_BELOW => Ok(UnixMillis(millis as i64)),
        _ => Err(invalid(format!(
            "`expires` is {number}, which looks like seconds: give Unix milliseconds, that is seconds * 1000."
        ))),
    }
}

impl Session {
    /// Stores the token as the login of the account, in place of any other.
    pub(crate) async fn import_token(
        self: &Arc<Self>,
        config: &AuthConfig,
        token: ImportedToken,
        cancellation: &Cancellation,
    ) -> Result<AuthStatus, Error> {
        let config = &self.first_account(config).await?;
        let now = self.clock.now();
        if token.refresh.is_some() {
            config.names_a_server()?;
            if config.client_id.is_none() {
                return Err(invalid(
                    "`clientId` is missing: only the client that a refresh token was issued to can use it. Give it, or \
                     leave `refresh` out.",
                ));
            }
        } else if token.expires.is_some_and(|expires| expires <= now) {
            return Err(invalid(
                "The token has ended, and there is no refresh token: get a new one. Nothing was changed.",
            ));
        }
        let credential = owned_by(
            config,
            NewCredential {
                access: token.access,
                refresh: token.refresh,
                expires: token.expires,
                refresh_expires: token.refresh_expires,
                created_at: now,
                refreshed_at: now,
                token_type: "Bearer".to_owned(),
                dpop_key: None,
                scopes: token.scopes,
                id_token: None,
                issuer: None,
                token_endpoint: None,
                revocation_endpoint: None,
                client_id: None,
                client_authentication: None,
                registered_client: false,
                imported: true,
                resource_url: None,
                resource: None,
                required_scopes: None,
                subject: None,
                token_response: None,
                userinfo: None,
            },
        );
        let location = self.located(config).await?;
        let (storage, _) = cancellation.guard(self.storage(config, &location)).await?;
        self.store(
            config,
            &location,
            &credential,
            storage,
            cancellation,
            in_any_case,
        )
        .await?;
        self.status(config).await
    }
}
