//! `profileOrder`.

use napi::ValueType;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;
use serde_json::Value;

use crate::error::Error;
use crate::session::config::invalid;

use super::auth_config::auth_config;
use super::listener::ListenerFunction;
use super::operation::{Operation, start};
use super::options::json;
use super::payload::Payload;
use super::process::session;

/// Reads or sets the order in which the plugin's accounts are used. The store keeps it, for configs that name neither
/// `profile` nor `order`. Names or ids set it; null removes it. Resolves to the order now in effect, or null without
/// one.
///
/// Rejects with an {@link AuthError}: `INVALID_CONFIG`, `STORE_CORRUPT`, `STORE_LOCKED`, `STORE_VERSION`, `STORE_IO`.
///
/// @example
/// ```ts
/// import { profileOrder } from "clawdbot-plugin-auth";
///
/// const auth = { pluginId: "my-memory" };
/// await profileOrder(auth, ["work", "my-memory:personal"]);
/// console.log(await profileOrder(auth)); // [ "work", "personal" ]
/// await profileOrder(auth, null);
/// ```
#[napi(
    ts_args_type = "config: AuthConfig, order?: Array<string> | null",
    ts_return_type = "Promise<Array<string> | null>"
)]
pub fn profile_order(
    config: Unknown<'_>,
    _options: Unknown<'_>,
    listener: ListenerFunction<'_>,
    order: Unknown<'_>,
) -> napi::Result<Operation> {
    let parsed = auth_config(&config).and_then(|config| Ok((config, names(&order)?)));
    start(
        &listener,
        parsed.map(|(config, order)| {
            |_, _| async move {
                let order = session().profile_order(&config, order).await?;
                Ok(Payload::H(order))
            }
        }),
    )
}

/// Reads the names of an order; `None` if the caller only asks for it.
fn names(order: &Unknown<'_>) -> Result<Option<Vec<String>>, Error> {
    if matches!(order.get_type(), Ok(ValueType::Undefined)) {
        return Ok(None);
    }
    let names = match json(order, "order")? {
        Value::Null => Some(Vec::new()),
        Value::Array(values) => values
            .into_iter()
            .map(|value| match value {
                Value::String(name) => Some(name),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    names
        .map(Some)
        .ok_or_else(|| invalid("`order` must be an array of strings, or null to remove it."))
}
