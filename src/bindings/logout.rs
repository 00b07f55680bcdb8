//! `logout`.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::listener::{ListenerFunction, Payload};
use super::operation::{Operation, start};
use super::options::{SIGNAL, auth_config, check};
use super::process::{session, settle_before_exit};

/// What a logout did.
#[napi(object, object_from_js = false)]
pub struct LogoutResult {
    /// The server confirmed that the tokens are revoked.
    pub revoked: bool,
    /// There was a credential, and its file is closed: nobody is logged in.
    pub removed: bool,
    /// The names of entries in the system's keychain that could not be removed: the keychain is locked or out of reach, or it
    /// refused. The next login or logout tries again. Only where there are any.
    pub left_in_keychain: Option<Vec<String>>,
}

/// Options of {@link logout} and {@link refreshTokens}.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct SignalOptions {
    /// Ends the wait: `ABORTED`, and nothing has changed. Too late for that once a refresh token is being sent: that is
    /// finished, and resolves. A logout that has removed the credential waits for the server no longer, and resolves.
    #[napi(ts_type = "AbortSignal")]
    pub signal: Option<()>,
}

/// Removes the credential whatever the server says, and revokes it at the server where that can be done (RFC 7009).
///
/// Tokens that are kept in the system's keychain are needed for that: while it cannot be opened, the login stays, and the
/// call rejects with `STORE_IO`. With `storage: "file"` in the config the file is closed all the same; then the server is not
/// told, and `leftInKeychain` names what stays.
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
                Ok(Payload::E(LogoutResult {
                    revoked: outcome.revoked,
                    removed: outcome.removed,
                    left_in_keychain: Some(outcome.left_in_keychain)
                        .filter(|names| !names.is_empty()),
                }))
            }
        }),
    )
}
