//! Reads the members of a JSON object by their types.

use serde_json::{Map, Value};

use crate::secret::Secret;
use crate::time::UnixMillis;

/// A member that is missing or of the wrong type.
pub(super) struct Wrong(pub(super) &'static str);

/// Typed access to members. An optional member that is null counts as missing.
pub(super) struct Members<'a>(pub(super) &'a Map<String, Value>);

impl Members<'_> {
    pub(super) fn present(&self, name: &'static str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, Wrong> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Wrong(name)),
        }
    }

    /// A token. An empty one counts as absent.
    pub(super) fn secret(&self, name: &'static str) -> Result<Option<Secret>, Wrong> {
        let secret = self.text(name)?.map(Secret::new);
        match secret {
            Some(secret) if secret.expose().is_empty() => Err(Wrong(name)),
            secret => Ok(secret),
        }
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Option<UnixMillis>, Wrong> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::Number(number)) => millis(number).map(Some).ok_or(Wrong(name)),
            Some(_) => Err(Wrong(name)),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Wrong> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Wrong(name)),
        }
    }

    pub(super) fn texts(&self, name: &'static str) -> Result<Option<Vec<String>>, Wrong> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .map(Some)
                .ok_or(Wrong(name)),
            Some(_) => Err(Wrong(name)),
        }
    }
}

/// A time in whole milliseconds; JavaScript may have written a fraction or an exponent.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, and fractions of a millisecond do not matter"
)]
pub(super) fn millis(number: &serde_json::Number) -> Option<UnixMillis> {
    number
        .as_i64()
        .or_else(|| number.as_f64().map(|number| number as i64))
        .map(UnixMillis)
}
