//! Reads the claims of a JWT without verifying them: hints, never proofs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The claims; none if it is no JWT.
pub(crate) fn claims(token: &Secret) -> Option<Map<String, Value>> {
    let mut parts = token.expose().split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
    match serde_json::from_slice(&payload) {
        Ok(Value::Object(claims)) => Some(claims),
        _ => None,
    }
}
