//! Node's own list of certificate authorities, for machines that have none.

use napi_derive::napi;

use crate::http::native;

use super::process::http;

/// Whether [`bring_certificates`] is worth its while: a look at a few paths.
#[napi(skip_typescript)]
pub fn may_lack_certificates() -> bool {
    native::may_lack_certificates()
}

/// Takes PEM certificates that are trusted where the machine has none.
#[napi(skip_typescript)]
pub fn bring_certificates(pem: String) {
    http().bring_certificates(&pem);
}
