//! Pushing the authorization request to the server, so that the browser carries no more than its name (RFC 9126).

use std::time::Duration;

use super::client::Client;
use super::dpop::Dpop;
use super::error_response::ErrorResponse;
use super::server_text::Secrets;
use super::token_request;
use crate::error::Error;
use crate::http::{Endpoint, Form, HttpClient};

const WHAT: &str = "The login could not be started";
const NEXT: &str = "Check the configured scopes, resource and redirectUri.";

/// Sends the request and returns the `request_uri` of the answer.
///
/// # Errors
/// Those of a refusal, and `INVALID_RESPONSE` for a malformed answer.
pub(crate) async fn push(
    http: &dyn HttpClient,
    endpoint: &Endpoint,
    client: &Client,
    parameters: Form,
    dpop: Option<Dpop<'_>>,
    timeout: Duration,
) -> Result<String, Error> {
    // RFC 9126 §2: client authentication "applicable to the token endpoint"; RFC 9449 §10.1: the proof as well, which
    // binds the code to the key.
    let answer = token_request::send(http, endpoint, client, parameters, dpop, timeout)
        .await
        .map_err(|failure| failure.to_error(endpoint))?;
    let secrets = Secrets::new(client.secrets());
    if let Some(refusal) = ErrorResponse::read(&answer, "request_uri", &secrets) {
        return Err(refusal.to_error(&answer, WHAT, NEXT));
    }
    // RFC 9126 §2.2: "201", which not every server says.
    let uri = answer
        .members()
        .and_then(|members| members.text("request_uri"));
    match uri.filter(|uri| answer.is_success() && !uri.is_empty()) {
        Some(uri) => Ok(uri.to_owned()),
        None => Err(answer.not_oauth(WHAT, None, NEXT)),
    }
}
