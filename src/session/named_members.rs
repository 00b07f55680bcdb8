//! Members of token answers that the plugin names (`tokenResponse`), as far as they may be shown.

use serde_json::{Map, Value};

use crate::oauth::server_text::Secrets;
use crate::oauth::token_response::TokenResponse;

use super::config::{AuthConfig, is_shown};

/// The greatest depth of kept members.
const DEEPEST: usize = 4;

/// The named members of an answer; if it has none of them, the stored ones.
pub(super) fn named_members(
    config: &AuthConfig,
    response: &TokenResponse,
    before: Option<&Value>,
) -> Option<Value> {
    // A server may repeat its tokens anywhere.
    let tokens = [Some(&response.access), response.refresh.as_ref()];
    let secrets = Secrets::new(tokens.into_iter().flatten().cloned());
    let mut kept = Map::new();
    for name in &config.token_response {
        let member = response.rest.value(name);
        let member = member.and_then(|value| shown(value, &secrets, DEEPEST));
        kept.extend(member.map(|member| (name.clone(), member)));
    }
    if kept.is_empty() {
        return before.cloned();
    }
    Some(Value::Object(kept))
}

/// A value without what is no text for a screen, and without tokens in it.
fn shown(value: &Value, secrets: &Secrets, depth: usize) -> Option<Value> {
    match value {
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
        Value::String(text) => secrets.description(text).map(Value::String),
        Value::Array(values) if depth > 0 => {
            let values = values.iter();
            let values = values.filter_map(|value| shown(value, secrets, depth - 1));
            Some(Value::Array(values.collect()))
        }
        Value::Object(members) if depth > 0 => {
            let members = members.iter().filter(|(name, _)| is_shown(name));
            let members = members.filter_map(|(name, value)| {
                shown(value, secrets, depth - 1).map(|value| (name.clone(), value))
            });
            Some(Value::Object(members.collect()))
        }
        _ => None,
    }
}
