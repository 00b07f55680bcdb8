//! `getValidAccessToken`, and the two native halves of its fast path.

use std::sync::Arc;

use napi::bindgen_prelude::{JsObjectValue, Unknown};
use napi::{Env, JsValue, ValueType};
use napi_derive::napi;

use crate::error::Error;
use crate::secret::Secret;
use crate::session::access_token::{FreshToken, TokenRequest};
use crate::store::cache::SlotId;
use crate::time::{BootInstant, UnixMillis};

use super::listener::{ListenerFunction, Payload};
use super::operation::{Operation, start};
use super::options::{Kind, Known, SIGNAL, auth_config, check, text};
use super::process::{session, settle_before_exit};

/// Options of {@link getValidAccessToken}.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct TokenOptions {
    /// The access token that the resource server just answered 401 to. It is refreshed only if it still is the stored one;
    /// at most three times a minute.
    pub rejected_token: Option<String>,
    /// Ends this caller's wait at once: `ABORTED`. A refresh that was sent goes on and is saved.
    #[napi(ts_type = "AbortSignal")]
    pub signal: Option<()>,
}

/// A token, and what the fast path needs to hand it out again.
#[napi(object, object_from_js = false, skip_typescript)]
pub struct Token {
    /// The access token.
    pub token: String,
    /// The cache's place for its file.
    pub slot: Option<u32>,
    /// The cache's count of what it loaded there.
    pub generation: Option<u32>,
    /// Wall time until which it may be handed out unseen, Unix milliseconds.
    pub due: Option<f64>,
    /// The same on the boot clock, in milliseconds.
    pub due_on_boot_clock: Option<f64>,
}

const OPTIONS: [Known; 2] = [
    Known {
        name: "rejectedToken",
        kind: Kind::Text,
        required: false,
    },
    SIGNAL,
];

/// A valid access token: the stored one, or a new one where it is due. Safe to call at every request: a fresh token costs
/// about a microsecond, and of all callers in all processes one refreshes.
///
/// Call it again with `rejectedToken` when the service answers 401. Rejects with an {@link AuthError}: `LOGIN_REQUIRED` when
/// a person has to log in; `NETWORK`, `TIMEOUT`, `SERVER_ERROR`, `STORE_LOCKED` when the same call may succeed later;
/// `INVALID_CONFIG`, `INVALID_RESPONSE`, `ISSUER_MISMATCH`, `OAUTH_ERROR`, `ABORTED`, `STORE_CORRUPT`, `STORE_VERSION`,
/// `STORE_IO`.
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
    let parsed = auth_config(&config).and_then(|config| Ok((config, rejected_token(&options)?)));
    start(
        &listener,
        parsed.map(|(config, rejected)| {
            |cancellation: Arc<_>, listener: super::listener::Listener| async move {
                let request = TokenRequest {
                    config,
                    rejected,
                    hold: Some(listener.hold()),
                };
                let token = session().access_token(request, &cancellation).await?;
                Ok(Payload::A(Token {
                    token: token.expose().to_owned(),
                    slot: None,
                    generation: None,
                    due: None,
                    due_on_boot_clock: None,
                }))
            }
        }),
    )
}

fn rejected_token(options: &Unknown<'_>) -> Result<Option<Secret>, Error> {
    check(options, &OPTIONS)?;
    let unreadable = |_| crate::session::config::invalid("The options cannot be read.");
    if options.get_type().map_err(unreadable)? == ValueType::Undefined {
        return Ok(None);
    }
    let member: Unknown<'_> = options
        .coerce_to_object()
        .and_then(|options| options.get_named_property_unchecked("rejectedToken"))
        .map_err(unreadable)?;
    match member.get_type().map_err(unreadable)? {
        ValueType::String => Ok(Some(Secret::new(text(&member).map_err(unreadable)?))),
        _ => Ok(None),
    }
}

/// A fresh token, without a thread hop; null when there is more to do.
#[napi(skip_typescript)]
pub fn fresh_token(config: Unknown<'_>) -> Option<Token> {
    let config = auth_config(&config).ok()?;
    session().fresh_token(&config).map(Token::from)
}

/// Whether the token that was handed out last still is the stored one and fresh.
#[napi(skip_typescript)]
pub fn is_fresh(slot: u32, generation: u32, due: f64, due_on_boot_clock: f64) -> bool {
    session().is_fresh(
        SlotId(slot),
        generation,
        UnixMillis(saturating(due)),
        BootInstant(std::time::Duration::from_millis(
            u64::try_from(saturating(due_on_boot_clock)).unwrap_or(0),
        )),
    )
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, and NaN becomes 0, which is never fresh"
)]
fn saturating(millis: f64) -> i64 {
    millis as i64
}

impl From<FreshToken> for Token {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds fit a double for 285,000 years"
    )]
    fn from(fresh: FreshToken) -> Self {
        Self {
            token: fresh.token.expose().to_owned(),
            slot: Some(fresh.slot.0),
            generation: Some(fresh.generation),
            due: Some(fresh.due.map_or(f64::INFINITY, |due| due.0 as f64)),
            due_on_boot_clock: Some(fresh.due_on_boot_clock.0.as_millis() as f64),
        }
    }
}
