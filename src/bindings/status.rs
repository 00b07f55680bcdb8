//! `status` and `listProfiles`.

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use crate::blocking::Glance;

use super::auth_config::auth_config;
use super::auth_status;
use super::listener::ListenerFunction;
use super::operation::{Operation, start};
use super::payload::Payload;
use super::process::session;

/// Returns the state of the login. Reads only: no network call, nothing written, no token in the result.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`, `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
///
/// @example
/// ```ts
/// import { status } from "clawdbot-plugin-auth";
///
/// const { state, expiresAt } = await status({ pluginId: "my-memory" });
/// console.log(state, expiresAt === undefined ? "" : new Date(expiresAt));
/// ```
#[napi(
    ts_args_type = "config: AuthConfig",
    ts_return_type = "Promise<AuthStatus>"
)]
pub fn status(
    config: Unknown<'_>,
    _options: Unknown<'_>,
    listener: ListenerFunction<'_>,
) -> napi::Result<Operation> {
    start(
        &listener,
        auth_config(&config).map(|config| {
            |_, _| async move {
                let status = session().status(&config).await?;
                Ok(Payload::B(auth_status::one(&status)))
            }
        }),
    )
}

/// Answers without a thread; null where the disk has to be read.
#[napi(skip_typescript)]
pub fn status_at_once(env: Env, config: Unknown<'_>) -> Option<String> {
    let config = auth_config(&config).ok()?;
    session()
        .status_at_once(&config, Glance::of_javascript(env))
        .map(|status| auth_status::one(&status))
}

/// Returns the status of every account of the plugin that is logged in or needs attention, sorted by profile. A
/// damaged file shows as `login_required` with its `lastError`.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`, `STORE_IO`.
///
/// @example
/// ```ts
/// import { listProfiles } from "clawdbot-plugin-auth";
///
/// for (const account of await listProfiles({ pluginId: "my-memory" })) {
///   console.log(account.profile, account.state);
/// }
/// ```
#[napi(
    ts_args_type = "config: AuthConfig",
    ts_return_type = "Promise<Array<AuthStatus>>"
)]
pub fn list_profiles(
    config: Unknown<'_>,
    _options: Unknown<'_>,
    listener: ListenerFunction<'_>,
) -> napi::Result<Operation> {
    start(
        &listener,
        auth_config(&config).map(|config| {
            |_, _| async move {
                let listed = session().list_profiles(&config, auth_status::several);
                Ok(Payload::B(listed.await?))
            }
        }),
    )
}

/// Answers without a thread; null where the disk has to be read.
#[napi(skip_typescript)]
pub fn profiles_at_once(env: Env, config: Unknown<'_>) -> Option<String> {
    let config = auth_config(&config).ok()?;
    session().profiles_at_once(&config, Glance::of_javascript(env), auth_status::several)
}
