//! Sending a token request (RFC 6749 §3.2), bound to a key where the tokens are (RFC 9449 §5).

use std::time::Duration;

use super::answer::Answer;
use super::client::Client;
use super::dpop::Dpop;
use super::error_response::{ErrorKind, ErrorResponse};
use super::server_text::Secrets;
use crate::http::{Body, Endpoint, Failure, FailureKind, Form, HttpClient, Request};

/// POSTs a token request as that client, with a proof where the tokens are bound to a key; once more if all that the
/// server wants is its nonce in it.
pub(crate) async fn send(
    http: &dyn HttpClient,
    endpoint: &Endpoint,
    client: &Client,
    form: Form,
    dpop: Option<Dpop<'_>>,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let Some(dpop) = dpop else {
        return Answer::to_form(http, endpoint, client, form, timeout).await;
    };
    let deadline = dpop.clock.boot().plus(timeout);
    let mut may_repeat = true;
    loop {
        // RFC 9449 §5: "the client MUST provide a valid DPoP proof JWT in a DPoP header when making an access token
        // request"; §7.3: "a unique DPoP proof, even when retrying".
        let proof = dpop
            .proof("POST", endpoint, None)
            .map_err(|error| Failure {
                kind: FailureKind::NotSent,
                detail: error.message().to_owned(),
            })?;
        // RFC 7523 §3: an assertion, too, is good for one request.
        let mut body = form.clone();
        let authorization = client.authenticate(&mut body);
        let request = Request {
            url: endpoint.clone(),
            body: Body::Form(body),
            authorization,
            dpop: Some(proof),
            timeout: deadline.since(dpop.clock.boot()),
        };
        let response = http.send(request).await?;
        let mut answer = Answer::read(endpoint, &response);
        answer.has_proof = true;
        let now = dpop.clock.now();
        let theirs = response.date.unwrap_or(now);
        answer.clock_skew = theirs.since(now).max(now.since(theirs));
        let Some(nonce) = &response.dpop_nonce else {
            return Ok(answer);
        };
        dpop.nonces.learn(endpoint, nonce);
        let is_wanted = ErrorResponse::read(&answer, "access_token", &Secrets::default())
            .is_some_and(|refusal| refusal.kind == ErrorKind::UseDpopNonce);
        // RFC 9449 §8: "the client is expected to retry its token request using a DPoP proof including the supplied
        // nonce value"; the grant was not looked at. Without time for an answer to it, the next request has the nonce.
        let has_time = deadline.since(dpop.clock.boot()) >= timeout / 2;
        if !(may_repeat && is_wanted && has_time) {
            return Ok(answer);
        }
        may_repeat = false;
    }
}
