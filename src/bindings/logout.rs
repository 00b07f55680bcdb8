//! `logout`.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::auth_config::auth_config;
use super::listener::ListenerFunction;
use super::operation::{Operation, start};
use super::options::{SIGNAL, check};
use super::payload::{LogoutResult, Payload};
use super::process::{session, settle_before_exit};

/// Options of {@link logout} and {@link refreshTokens}.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct SignalOptions {
    /// Ends the wait: `ABORTED`, and nothing has changed. Once a refresh token is being sent it is too late: the
    /// request is finished, and the call resolves. A logout that has removed the credential stops waiting for the
    /// server, and resolves.
    #[napi(ts_type = "AbortSignal")]
    pub signal: Option<()>,
}

/// Removes the credential even where the server fails, and revokes it at the server where that can be done (RFC 7009).
///
/// Revocation needs the tokens. While the system's keychain keeps them and cannot be opened, the login stays, and the
/// call rejects with `STORE_IO`. With `storage: "file"` in the config the login is removed anyway: the server is not
/// informed, and `leftInKeychain` names the entries that stay.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`, `ABORTED`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`.
///
/// @example
/// ```ts
/// import { logout } from "clawdbot-plugin-auth";
///
/// const { removed, revoked } = await logout({ pluginId: "my-memory" });
/// console.log(removed ? "Logged out." : "Nobody was logged in.", revoked ? "" : "The server was not told.");
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, options?: SignalOptions",
    ts_return_type = "Promise<LogoutResult>"
)]
pub fn logout(
    env: Env,
    config: Unknown<'_>,
    options: Unknown<'_>,
    listener: ListenerFunction<'_>,
) -> napi::Result<Operation> {
    settle_before_exit(env);
    let config = check(&options, &[SIGNAL]).and_then(|()| auth_config(&config));
    start(
        &listener,
        config.map(|config| {
            |cancellation: Arc<_>, _| async move {
                let outcome = session().logout(&config, &cancellation).await?;
                Ok(Payload::D(LogoutResult {
                    revoked: outcome.revoked,
                    removed: outcome.removed,
                    left_in_keychain: Some(outcome.left_in_keychain)
                        .filter(|names| !names.is_empty()),
                }))
            }
        }),
    )
}
