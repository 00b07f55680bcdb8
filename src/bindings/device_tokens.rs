//! `authorizeDevice` and `refreshTokens`: the protocol without the store.

use std::sync::Arc;

use napi::ValueType;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use crate::error::Error;
use crate::secret::Secret;
use crate::session::config::invalid;
use crate::session::device_tokens;
use crate::time::UnixMillis;

use super::listener::{ListenerFunction, Payload};
use super::login::login_options;
use super::operation::{Operation, start};
use super::options::{SIGNAL, auth_config, check, text};
use super::process::session;

/// Tokens for a host that stores them itself.
#[napi(object, object_from_js = false)]
pub struct TokenSet {
    /// The access token.
    pub access: String,
    /// The refresh token, where the server gave one. Store the newest: many servers accept each only once.
    pub refresh: Option<String>,
    /// When the access token ends, Unix milliseconds.
    pub expires: Option<f64>,
    /// The scopes that were granted.
    pub scopes: Option<Vec<String>>,
    /// `Bearer`.
    pub token_type: String,
    /// The OpenID Connect ID token, not validated.
    pub id_token: Option<String>,
    /// The client that the tokens were issued to; {@link refreshTokens} needs it in its config.
    pub client_id: String,
    /// The secret of a client that was registered for this login.
    pub client_secret: Option<String>,
    /// The authorization server.
    pub issuer: Option<String>,
    /// Where the tokens came from.
    pub token_endpoint: String,
}

/// {@link login} without the store: the device flow, its tokens returned and kept nowhere.
///
/// Without `clientId` a client is registered for this call; keep `clientId` (and `clientSecret`) of the answer.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`, `NETWORK`, `TIMEOUT`, `SERVER_ERROR`, `INVALID_RESPONSE`,
/// `ISSUER_MISMATCH`, `DEVICE_FLOW_UNSUPPORTED`, `REGISTRATION_FAILED`, `OAUTH_ERROR`, `ACCESS_DENIED`,
/// `DEVICE_CODE_EXPIRED`, `ABORTED`.
///
/// @example
/// ```ts
/// import { authorizeDevice } from "clawdbot-plugin-auth";
///
/// const tokens = await authorizeDevice(
///   { pluginId: "my-provider", issuer: "https://auth.example.com", clientId: "my-client" },
///   { onVerification: (verification) => console.log(verification.message) },
/// );
/// console.log(tokens.expires);
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, options: LoginOptions",
    ts_return_type = "Promise<TokenSet>"
)]
pub fn authorize_device(
    config: Unknown<'_>,
    options: Unknown<'_>,
    listener: ListenerFunction<'_>,
) -> napi::Result<Operation> {
    let config = login_options(&options).and_then(|_| auth_config(&config));
    start(
        &listener,
        config.map(|config| {
            |cancellation: Arc<_>, listener| async move {
                let tokens = session()
                    .authorize_device(&config, &listener, &cancellation)
                    .await?;
                Ok(Payload::D(tokens.into()))
            }
        }),
    )
}

/// Refreshes tokens that the caller stores (RFC 6749 §6). The answer always holds the refresh token to use next.
///
/// Nothing here keeps two processes from spending the same refresh token: the caller has to.
///
/// Rejects with an {@link AuthError}: `LOGIN_REQUIRED` when the server refuses the refresh token; `INVALID_CONFIG`,
/// `NETWORK`, `TIMEOUT`, `SERVER_ERROR`, `INVALID_RESPONSE`, `ISSUER_MISMATCH`, `OAUTH_ERROR`, `ABORTED`.
///
/// @example
/// ```ts
/// import { refreshTokens } from "clawdbot-plugin-auth";
///
/// const stored = { refresh: "…" };
/// const tokens = await refreshTokens(
///   { pluginId: "my-provider", issuer: "https://auth.example.com", clientId: "my-client" },
///   stored.refresh,
/// );
/// console.log(tokens.expires);
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, refreshToken: string, options?: SignalOptions",
    ts_return_type = "Promise<TokenSet>"
)]
pub fn refresh_tokens(
    config: Unknown<'_>,
    options: Unknown<'_>,
    listener: ListenerFunction<'_>,
    refresh_token: Unknown<'_>,
) -> napi::Result<Operation> {
    let parsed = check(&options, &[SIGNAL])
        .and_then(|()| Ok((auth_config(&config)?, secret(&refresh_token)?)));
    start(
        &listener,
        parsed.map(|(config, refresh_token)| {
            |cancellation: Arc<_>, _| async move {
                let tokens = session()
                    .refresh_tokens(&config, &refresh_token, &cancellation)
                    .await?;
                Ok(Payload::D(tokens.into()))
            }
        }),
    )
}

fn secret(refresh_token: &Unknown<'_>) -> Result<Secret, Error> {
    match refresh_token.get_type() {
        Ok(ValueType::String) => text(refresh_token)
            .ok()
            .filter(|token| !token.is_empty())
            .map(Secret::new)
            .ok_or_else(|| invalid("`refreshToken` is empty: give the stored refresh token.")),
        _ => Err(invalid("`refreshToken` must be a string.")),
    }
}

impl From<device_tokens::TokenSet> for TokenSet {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Unix milliseconds fit a double for 285,000 years"
    )]
    fn from(tokens: device_tokens::TokenSet) -> Self {
        Self {
            access: tokens.access.expose().to_owned(),
            refresh: tokens.refresh.map(|refresh| refresh.expose().to_owned()),
            expires: tokens.expires.map(|UnixMillis(at)| at as f64),
            scopes: tokens.scopes,
            token_type: tokens.token_type,
            id_token: tokens.id_token.map(|token| token.expose().to_owned()),
            client_id: tokens.client_id,
            client_secret: tokens
                .client_secret
                .map(|secret| secret.expose().to_owned()),
            issuer: tokens.issuer,
            token_endpoint: tokens.token_endpoint,
        }
    }
}
