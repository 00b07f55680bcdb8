//! `authorizeDevice` and `refreshTokens`: the protocol without the store.

use std::sync::Arc;

use napi::ValueType;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use crate::error::Error;
use crate::secret::Secret;
use crate::session::config::invalid;

use super::auth_config::auth_config;
use super::listener::ListenerFunction;
use super::login::login_options;
use super::operation::{Operation, start};
use super::options::{SIGNAL, check, text};
use super::payload::Payload;
use super::process::session;

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
                Ok(Payload::C(tokens.into()))
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
                Ok(Payload::C(tokens.into()))
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
