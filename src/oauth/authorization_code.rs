//! Redeeming the code for tokens (RFC 6749 §4.1.3, RFC 7636 §4.5): exactly one request.

use std::time::Duration;

use super::answer::Answer;
use super::client::Client;
use super::dpop::Dpop;
use super::error_response::{ErrorKind, ErrorResponse};
use super::meaning::Meaning;
use super::pkce::PkceVerifier;
use super::server_text::Secrets;
use super::token_request;
use super::token_response::TokenResponse;
use crate::error::{Error, ErrorCode};
use crate::http::{Endpoint, FailureKind, Form, HttpClient};
use crate::secret::Secret;
use crate::time::Clock;

const WHAT: &str = "The login failed";
const START_AGAIN: &str = "Start the login again.";

/// The access token request.
pub(crate) struct AuthorizationCodeRequest<'a> {
    /// The token endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// The client of the authorization request.
    pub(crate) client: &'a Client,
    /// `code`
    pub(crate) code: &'a Secret,
    /// `redirect_uri`, as in the authorization request.
    pub(crate) redirect_uri: &'a str,
    /// The verifier of the challenge in the authorization request.
    pub(crate) pkce: &'a PkceVerifier,
    /// The key to bind the tokens to.
    pub(crate) dpop: Option<Dpop<'a>>,
    /// `resource` (RFC 8707)
    pub(crate) resources: &'a [String],
    /// Further parameters.
    pub(crate) extra: &'a [(String, String)],
}

/// Why there are no tokens.
#[derive(Debug)]
pub(crate) enum NotRedeemed {
    /// The request never left, or was not looked at: the code is as good as before.
    Unspent(Error),
    /// `invalid_grant`: the code is not one, not for this login, or no longer valid.
    CodeRefused(Error),
    /// Everything else. RFC 6749 §4.1.2: "The client MUST NOT use the authorization code more than once", so nothing
    /// that may have been looked at is sent again.
    Failed(Error),
}

impl NotRedeemed {
    /// The error as a caller sees it.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Unspent(error) | Self::CodeRefused(error) | Self::Failed(error) => error,
        }
    }
}

/// Spends the code.
pub(crate) async fn redeem(
    http: &dyn HttpClient,
    clock: &dyn Clock,
    request: &AuthorizationCodeRequest<'_>,
    timeout: Duration,
) -> Result<TokenResponse, NotRedeemed> {
    let endpoint = request.endpoint;
    let dpop = request.dpop;
    let mut answer = token_request::send(
        http,
        endpoint,
        request.client,
        request.form(),
        dpop,
        timeout,
    )
    .await
    .map_err(|failure| match failure.kind {
        FailureKind::NotSent => NotRedeemed::Unspent(failure.to_error(endpoint)),
        _ => NotRedeemed::Failed(failure.to_error(endpoint)),
    })?;
    let mut secrets = Secrets::new(request.client.secrets());
    secrets.add(request.code.clone());
    secrets.add(request.pkce.verifier().clone());
    let refusal = ErrorResponse::read(&answer, "access_token", &secrets);
    let failed = match Meaning::of(&answer, refusal.as_ref()) {
        Meaning::Untouched => NotRedeemed::Unspent,
        Meaning::Passing | Meaning::Verdict => NotRedeemed::Failed,
    };
    if let Some(refusal) = refusal {
        return Err(refused(&answer, &refusal, failed));
    }
    let key = dpop.map(|dpop| dpop.key);
    match TokenResponse::of(&mut answer, clock.now(), key) {
        Some(Ok(tokens)) => Ok(tokens),
        Some(Err(unusable)) => Err(NotRedeemed::Failed(answer.malformed(&unusable.reason))),
        None => Err(failed(answer.not_oauth(WHAT, None, "Check tokenEndpoint."))),
    }
}

fn refused(
    answer: &Answer,
    refusal: &ErrorResponse,
    failed: fn(Error) -> NotRedeemed,
) -> NotRedeemed {
    let error = |next| answer.error(ErrorCode::OauthError, WHAT, Some(&refusal.oauth), next);
    match refusal.oauth.error.as_str() {
        // RFC 6749 §5.2: "The provided authorization grant (e.g., authorization code …) is invalid, expired, revoked,
        // does not match the redirection URI used in the authorization request, or was issued to another client."
        _ if refusal.kind == ErrorKind::InvalidGrant => {
            NotRedeemed::CodeRefused(error(START_AGAIN))
        }
        "unauthorized_client" | "unsupported_grant_type" => NotRedeemed::Failed(error(
            "Enable the authorization code flow for this client at the server.",
        )),
        _ => failed(refusal.to_error(answer, WHAT, START_AGAIN)),
    }
}

impl AuthorizationCodeRequest<'_> {
    fn form(&self) -> Form {
        let mut form = Form::new();
        form.append("grant_type", "authorization_code");
        form.append("code", self.code.expose());
        // RFC 6749 §4.1.3: 'REQUIRED, if the "redirect_uri" parameter was included in the authorization request …, and
        // their values MUST be identical.'
        form.append("redirect_uri", self.redirect_uri);
        form.append("code_verifier", self.pkce.verifier().expose());
        for resource in self.resources {
            form.append("resource", resource);
        }
        form.append_all(self.extra);
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::scripted::ScriptedClient;
    use crate::oauth::client::ClientAuthentication;
    use crate::time::SystemClock;

    async fn run(http: &ScriptedClient) -> Result<TokenResponse, NotRedeemed> {
        let request = AuthorizationCodeRequest {
            endpoint: &Endpoint::parse("https://a.example/token").unwrap(),
            client: &Client {
                id: "c".into(),
                secret: None,
                authentication: ClientAuthentication::None,
                assertions: None,
            },
            code: &Secret::from("canary-code"),
            redirect_uri: "http://127.0.0.1:5000/callback",
            pkce: &PkceVerifier::generate().unwrap(),
            dpop: None,
            resources: &["https://r.example".into()],
            extra: &[("x".into(), "y".into())],
        };
        redeem(http, &SystemClock, &request, Duration::from_secs(30)).await
    }

    #[tokio::test]
    async fn the_form_is_that_of_section_4_1_3_with_the_verifier() {
        let http = ScriptedClient::new().answer(200, r#"{"access_token":"a"}"#);
        assert_eq!(run(&http).await.unwrap().access, Secret::from("a"));
        let sent = &http.received()[0];
        let names: Vec<&str> = sent.form.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "grant_type",
                "code",
                "redirect_uri",
                "code_verifier",
                "resource",
                "x",
                "client_id"
            ]
        );
        assert_eq!(sent.parameter("grant_type"), Some("authorization_code"));
        assert_eq!(
            sent.parameter("redirect_uri"),
            Some("http://127.0.0.1:5000/callback")
        );
        assert_eq!(sent.parameter("code_verifier").unwrap().len(), 43);
    }

    #[tokio::test]
    async fn only_what_was_not_sent_may_be_sent_again() {
        for (kind, may) in [
            (FailureKind::NotSent, true),
            (FailureKind::Broken, false),
            (FailureKind::TimedOut, false),
            (FailureKind::Unreadable, false),
        ] {
            let failed = run(&ScriptedClient::new().fail(kind, "x")).await;
            assert_eq!(
                matches!(failed, Err(NotRedeemed::Unspent(_))),
                may,
                "{kind:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_was_not_looked_at_may_be_sent_again_and_nothing_else() {
        for (status, body, may) in [
            (429, "", true),
            (429, r#"{"error":"rate_limit_exceeded"}"#, true),
            (403, "<html>Just a moment</html>", true),
            (200, "<html>Sign in to the network</html>", true),
            (502, "<html>", false),
            (500, "", false),
            (503, "", false),
            (200, r#"{"access_tok"#, false),
            (400, r#"{"error":"invalid_grant"}"#, false),
        ] {
            let failed = run(&ScriptedClient::new().answer(status, body)).await;
            let is_unspent = matches!(failed, Err(NotRedeemed::Unspent(_)));
            assert_eq!(is_unspent, may, "{status} {body}");
        }
    }

    #[tokio::test]
    async fn refusals_say_what_to_do_and_never_the_code() {
        for (status, body, code, next) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"canary-code expired"}"#,
                ErrorCode::OauthError,
                START_AGAIN,
            ),
            (
                400,
                r#"{"error":"unauthorized_client"}"#,
                ErrorCode::OauthError,
                "authorization code flow",
            ),
            (
                401,
                r#"{"error":"invalid_client"}"#,
                ErrorCode::OauthError,
                "clientId",
            ),
            (503, "<html>", ErrorCode::ServerError, "later"),
            (200, "{}", ErrorCode::InvalidResponse, "endpoints"),
            (404, "", ErrorCode::InvalidResponse, "tokenEndpoint"),
        ] {
            let failed = run(&ScriptedClient::new().answer(status, body))
                .await
                .unwrap_err();
            let is_code = matches!(failed, NotRedeemed::CodeRefused(_));
            assert_eq!(is_code, body.contains("invalid_grant"));
            let error = failed.into_error();
            assert_eq!(error.code(), code, "{body}");
            assert!(error.message().contains(next), "{error}");
            assert!(!error.message().contains("canary"), "{error}");
        }
    }
}
