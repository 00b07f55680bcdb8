//! `importToken`.

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use crate::session::import_token::ImportedToken as Parsed;

use super::auth_config::auth_config;
use super::auth_status;
use super::listener::{Listener, ListenerFunction};
use super::operation::{Operation, start};
use super::options::{member, object};
use super::payload::Payload;
use super::process::{session, settle_before_exit};

/// A token that a person brings, for {@link importToken}.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct ImportedToken {
    /// The access token: printable ASCII without spaces.
    pub access: String,
    /// The refresh token. The config must then name the `clientId` that it was issued to, and the server.
    pub refresh: Option<String>,
    /// When the access token ends, Unix milliseconds. @default the `exp` of a JWT, else unknown: valid until rejected
    pub expires: Option<f64>,
    /// The granted scopes.
    pub scopes: Option<Vec<String>>,
}

/// Stores a token that a person pasted, or that another tool made, as the login of the account. It replaces the
/// previous one, as {@link login} does. No server is asked.
///
/// A token without a refresh token is static: it is handed out until it ends or the service rejects it, with
/// `refreshable: false`. It belongs to the `issuer` or `tokenEndpoint` of the config, or to no server if the config
/// names none.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`.
///
/// @example
/// ```ts
/// import { getValidAccessToken, importToken } from "clawdbot-plugin-auth";
///
/// const auth = { pluginId: "my-memory" };
/// const { state, refreshable } = await importToken(auth, { access: "pasted" });
/// console.log(state, refreshable, await getValidAccessToken(auth));
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, token: ImportedToken",
    ts_return_type = "Promise<AuthStatus>"
)]
pub fn import_token(
    env: Env,
    config: Unknown<'_>,
    options: Unknown<'_>,
    listener: ListenerFunction<'_>,
    token: Unknown<'_>,
) -> napi::Result<Operation> {
    settle_before_exit(env);
    // `adopt` in lib/adoption.js: the plugin's own login is asked for under the lock.
    let parsed = auth_config(&config).and_then(|config| {
        let is_adoption = member(&options, "onPaste")?.is_some();
        let token = (!is_adoption).then(|| Parsed::parse(object(&token, "token")?));
        Ok((config, token.transpose()?))
    });
    start(
        &listener,
        parsed.map(|(config, token)| {
            |cancellation: std::sync::Arc<_>, listener: Listener| async move {
                let session = session();
                let status = match token {
                    Some(token) => session.import_token(&config, token, &cancellation).await,
                    None => session.adopt_told(&config, &listener, &cancellation).await,
                }?;
                Ok(Payload::B(auth_status::one(&status)))
            }
        }),
    )
}
