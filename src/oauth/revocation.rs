//! Telling the server that a token is no longer wanted (RFC 7009).

use std::time::Duration;

use super::answer::Answer;
use super::client::Client;
use super::dpop::Dpop;
use super::error_response::{ErrorKind, ErrorResponse};
use super::server_text::Secrets;
use super::token_request;
use crate::error::{Error, ErrorCode};
use crate::http::{Endpoint, Form, HttpClient};
use crate::secret::Secret;

const WHAT: &str = "The token was not revoked";
const NEXT: &str = "It stays valid until it expires, or until it is withdrawn at the server.";

/// The revocation request.
pub(crate) struct RevocationRequest<'a> {
    /// The revocation endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// The client that the token was issued to.
    pub(crate) client: &'a Client,
    /// `token`
    pub(crate) token: &'a Secret,
    /// `token_type_hint`: `refresh_token` or `access_token`.
    pub(crate) hint: &'static str,
    /// The key that the token is bound to.
    pub(crate) dpop: Option<Dpop<'a>>,
}

/// Revokes the token. A token that the server does not know is as good as revoked.
pub(crate) async fn revoke(
    http: &dyn HttpClient,
    request: &RevocationRequest<'_>,
    timeout: Duration,
) -> Result<(), Error> {
    let mut secrets = Secrets::new(request.client.secrets());
    secrets.add(request.token.clone());
    let mut answer = send(http, request, true, timeout).await?;
    // RFC 7009 §2.1: "token_type_hint OPTIONAL", and only this library adds it: a server that refuses it is asked
    // without.
    let refuses_hint = ErrorResponse::read(&answer, "", &secrets).is_some_and(|refusal| {
        refusal.oauth.error == "unsupported_token_type" || refusal.mentions("token_type_hint")
    });
    if refuses_hint {
        answer = send(http, request, false, timeout).await?;
    }
    match ErrorResponse::read(&answer, "", &secrets) {
        // RFC 7009 §2.2: "invalid tokens do not cause an error response"; some servers send one anyway.
        Some(refusal)
            if matches!(
                refusal.kind,
                ErrorKind::InvalidGrant | ErrorKind::ExpiredToken
            ) =>
        {
            Ok(())
        }
        Some(refusal) => Err(refusal.to_error(&answer, WHAT, NEXT)),
        // RFC 7009 §2.2: "The authorization server responds with HTTP status code 200 … The content of the response
        // body is ignored by the client".
        None if answer.is_success() && !answer.is_page => Ok(()),
        // A captive portal answers everything like that.
        None if answer.is_success() => Err(answer.error(ErrorCode::ServerError, WHAT, None, NEXT)),
        // RFC 7009 §2.2.1: "If the server responds with HTTP status code 503, the client must assume the token still
        // exists"
        None => Err(answer.not_oauth(WHAT, None, NEXT)),
    }
}

async fn send(
    http: &dyn HttpClient,
    request: &RevocationRequest<'_>,
    has_hint: bool,
    timeout: Duration,
) -> Result<Answer, Error> {
    let mut form = Form::new();
    form.append("token", request.token.expose());
    if has_hint {
        form.append("token_type_hint", request.hint);
    }
    // RFC 9449 names no proof here; atproto's servers answer 200 without one, and revoke nothing.
    let RevocationRequest {
        endpoint,
        client,
        dpop,
        ..
    } = request;
    token_request::send(http, endpoint, client, form, *dpop, timeout)
        .await
        .map_err(|failure| failure.to_error(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::FailureKind;
    use crate::http::scripted::ScriptedClient;
    use crate::oauth::client::ClientAuthentication;

    async fn run(http: &ScriptedClient) -> Result<(), Error> {
        let endpoint = Endpoint::parse("https://a.example/revoke").unwrap();
        let client = Client {
            id: "my-client".into(),
            secret: None,
            authentication: ClientAuthentication::None,
            assertions: None,
        };
        let request = RevocationRequest {
            endpoint: &endpoint,
            client: &client,
            token: &Secret::from("canary-token"),
            hint: "refresh_token",
            dpop: None,
        };
        revoke(http, &request, Duration::from_secs(30)).await
    }

    #[tokio::test]
    async fn sends_the_request_of_rfc_7009_section_2_1() {
        let http = ScriptedClient::new().answer(200, "");
        run(&http).await.unwrap();
        let sent = &http.received()[0];
        assert_eq!(sent.parameter("token"), Some("canary-token"));
        assert_eq!(sent.parameter("token_type_hint"), Some("refresh_token"));
        assert_eq!(sent.parameter("client_id"), Some("my-client"));
    }

    #[tokio::test]
    async fn what_counts_as_revoked() {
        for (status, body) in [
            (200, ""),
            (200, "{}"),
            (204, ""),
            (400, r#"{"error":"invalid_token"}"#),
            (400, r#"{"error":"invalid_grant"}"#),
        ] {
            let outcome = run(&ScriptedClient::new().answer(status, body)).await;
            assert_eq!(outcome, Ok(()), "{status} {body}");
        }
    }

    #[tokio::test]
    async fn a_hint_that_is_refused_is_left_out() {
        const REFUSED: &str =
            r#"{"error":"unsupported_token_type","error_description":"canary-token"}"#;
        let http = ScriptedClient::new().answer(400, REFUSED).answer(200, "");
        run(&http).await.unwrap();
        assert_eq!(http.received()[1].parameter("token_type_hint"), None);
        let http = ScriptedClient::new()
            .answer(400, REFUSED)
            .answer(400, REFUSED);
        let error = run(&http).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::OauthError);
        assert!(!error.message().contains("canary"));
    }

    #[tokio::test]
    async fn what_does_not() {
        use ErrorCode::{InvalidResponse, OauthError, ServerError};
        for (status, body, code) in [
            (200, r#"{"error":"invalid_client"}"#, OauthError),
            (200, "<html>Sign in to the network", ServerError),
            (503, "", ServerError),
            (404, "<html>", ServerError),
            (404, "", InvalidResponse),
            (302, "", InvalidResponse),
        ] {
            let error = run(&ScriptedClient::new().answer(status, body))
                .await
                .unwrap_err();
            assert_eq!(error.code(), code, "{status} {body}");
            assert!(!error.message().contains("canary"));
        }
        let failed = ScriptedClient::new().fail(FailureKind::TimedOut, "x");
        assert_eq!(run(&failed).await.unwrap_err().code(), ErrorCode::Timeout);
    }
}
