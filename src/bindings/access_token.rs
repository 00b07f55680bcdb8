//! `getValidAccessToken`.

use std::sync::Arc;

use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue};
use napi_derive::napi;
use serde_json::Map;

use crate::error::Error;
use crate::secret::Secret;
use crate::session::config::AuthConfig;
use crate::session::target::Target;
use crate::session::token_request::TokenRequest;

use super::auth_config::auth_config;
use super::listener::{Listener, ListenerFunction};
use super::operation::{Operation, start};
use super::options::{Kind, Known, SIGNAL, check, json, member, text_member};
use super::payload::{Payload, Token};
use super::process::{session, settle_before_exit};

/// Options of {@link getValidAccessToken}.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct TokenOptions {
    /// The access token that the resource server just answered 401 to. It is refreshed only if it is still the stored
    /// one, and at most three times a minute, unless `wasAccepted`.
    pub rejected_token: Option<String>,
    /// The service had accepted `rejectedToken` after refusing an earlier one, so the refresh between them helped and
    /// does not count. Refreshes that do not help, for a service that refuses every token, stop after three.
    /// @default false
    pub was_accepted: Option<bool>,
    /// The `scope` of a challenge with `error="insufficient_scope"` (RFC 6750 §3.1), exactly as sent; empty where it
    /// has none. Rejects with `SCOPE_REQUIRED`, and the next login requests these scopes beside the present ones.
    /// Resolves if the login has all of them, because another login would not help.
    pub required_scope: Option<String>,
    /// A token for this resource alone (RFC 8707 §2.2): one of `resource` or `otherResources`, where the config names
    /// any. It is requested with the login's one refresh token, kept in memory, and renewed like the login's own
    /// token, which does not change.
    pub resource: Option<String>,
    /// A token with these scopes alone (RFC 6749 §6): fewer than the login has, or scopes that the server grants for
    /// other APIs.
    pub scopes: Option<Vec<String>>,
    /// Ends this caller's wait at once: `ABORTED`. A refresh that was sent goes on and is saved.
    #[napi(ts_type = "AbortSignal")]
    pub signal: Option<()>,
}

const OPTIONS: [Known; 6] = [
    Known {
        name: "rejectedToken",
        kind: Kind::Text,
        required: false,
    },
    Known {
        name: "wasAccepted",
        kind: Kind::Flag,
        required: false,
    },
    Known {
        name: "requiredScope",
        kind: Kind::Text,
        required: false,
    },
    Known {
        name: "resource",
        kind: Kind::Text,
        required: false,
    },
    Known {
        name: "scopes",
        kind: Kind::List,
        required: false,
    },
    SIGNAL,
];

/// Returns a valid access token: the stored one, or a new one where it is due. Safe to call at every request: a fresh
/// token costs about a microsecond, and among all callers in all processes only one refreshes.
///
/// Call it again with `rejectedToken` when the service answers 401. Where the login is bound to a key (`dpop: true`),
/// a request also needs a proof: use {@link authorizationHeaders}. Rejects with an {@link AuthError}: `LOGIN_REQUIRED`
/// when a person has to log in; `SCOPE_REQUIRED` with `requiredScope`; `NETWORK`, `TIMEOUT`, `SERVER_ERROR`,
/// `STORE_LOCKED` when the same call may succeed later; `INVALID_CONFIG`, `INVALID_RESPONSE`, `ISSUER_MISMATCH`,
/// `OAUTH_ERROR`, `ABORTED`, `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
///
/// @example
/// ```ts
/// import { getValidAccessToken } from "clawdbot-plugin-auth";
///
/// const auth = { pluginId: "my-memory", issuer: "https://auth.example.com" };
/// const token = await getValidAccessToken(auth);
/// let response = await fetch("https://api.example.com/notes", { headers: { authorization: `Bearer ${token}` } });
/// if (response.status === 401) {
///   const renewed = await getValidAccessToken(auth, { rejectedToken: token });
///   response = await fetch("https://api.example.com/notes", { headers: { authorization: `Bearer ${renewed}` } });
/// }
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, options?: TokenOptions",
    ts_return_type = "Promise<string>"
)]
pub fn get_valid_access_token(
    env: Env,
    config: Unknown<'_>,
    options: Unknown<'_>,
    listener: ListenerFunction<'_>,
) -> napi::Result<Operation> {
    settle_before_exit(env);
    let parsed = auth_config(&config).and_then(|config| {
        let (rejected, was_accepted) = rejection(&options)?;
        Ok(TokenRequest {
            target: target(&config, &options)?,
            config,
            rejected,
            was_accepted,
            required_scope: text_member(&options, "requiredScope")?,
            hold: None,
        })
    });
    start(
        &listener,
        parsed.map(|mut request| {
            move |cancellation: Arc<_>, listener: Listener| async move {
                request.hold = Some(listener.hold());
                let token = session().access_token(request, &cancellation).await?;
                Ok(Payload::A(Token {
                    token: token.expose().to_owned(),
                    bound: None,
                    stamp: None,
                    due: None,
                }))
            }
        }),
    )
}

/// Selects the access token of the login.
pub(super) fn target(config: &AuthConfig, options: &Unknown<'_>) -> Result<Target, Error> {
    let mut members = Map::new();
    for name in ["resource", "scopes"] {
        if let Some(given) = member(options, name)? {
            members.insert(name.to_owned(), json(&given, name)?);
        }
    }
    Target::parse(config, members)
}

/// The token that was rejected, and whether it had been accepted before.
fn rejection(options: &Unknown<'_>) -> Result<(Option<Secret>, bool), Error> {
    check(options, &OPTIONS)?;
    let rejected = text_member(options, "rejectedToken")?.map(Secret::new);
    let Some(rejected) = rejected else {
        return Ok((None, false));
    };
    let was_accepted = member(options, "wasAccepted")?.map(|flag| flag.coerce_to_bool());
    Ok((Some(rejected), matches!(was_accepted, Some(Ok(true)))))
}
