//! `moveLogin`.

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;
use serde_json::Value;

use crate::session::config::invalid;

use super::auth_config::auth_config;
use super::auth_status;
use super::listener::ListenerFunction;
use super::operation::{Operation, start};
use super::options::json;
use super::payload::Payload;
use super::process::{session, settle_before_exit};

/// Moves the login of the config's account from the file into the config's `store`, or back, with the client that was
/// registered for it. It holds both locks, and the tokens do not change. If the process is killed in the middle, the
/// login is neither lost nor doubled: nobody is logged in until the next call, which continues. Without a login it
/// does nothing. Resolves to the status of the login in its new place.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG` also where both places have a login; `STORE_LOCKED`, `STORE_CORRUPT`,
/// `STORE_VERSION`, `STORE_IO`.
///
/// @example
/// ```ts
/// import { moveLogin } from "clawdbot-plugin-auth";
/// import { redisStore } from "clawdbot-plugin-auth/stores/redis";
///
/// const { path } = await moveLogin({ pluginId: "my-memory", store: redisStore() }, "store");
/// console.log(path); // the key in the store
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, to: \"store\" | \"file\"",
    ts_return_type = "Promise<AuthStatus>"
)]
pub fn move_login(
    env: Env,
    config: Unknown<'_>,
    _options: Unknown<'_>,
    listener: ListenerFunction<'_>,
    to: Unknown<'_>,
) -> napi::Result<Operation> {
    settle_before_exit(env);
    let into_store = match json(&to, "to") {
        Ok(Value::String(to)) if to == "store" => Ok(true),
        Ok(Value::String(to)) if to == "file" => Ok(false),
        _ => Err(invalid("`to` must be \"store\" or \"file\".")),
    };
    let parsed = auth_config(&config).and_then(|config| Ok((config, into_store?)));
    start(
        &listener,
        parsed.map(|(config, into_store)| {
            move |_, _| async move {
                let status = session().move_login(&config, into_store).await?;
                Ok(Payload::B(auth_status::one(&status)))
            }
        }),
    )
}
