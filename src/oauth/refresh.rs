//! Refreshes an access token (RFC 6749 §6): exactly one attempt. The failure says whether another may follow.

use std::time::Duration;

use super::answer::{Answer, Content};
use super::client::Client;
use super::dpop::Dpop;
use super::error_response::{ErrorKind, ErrorResponse};
use super::meaning::Meaning;
use super::refusal_words::Subject;
use super::server_text::Secrets;
use super::token_request;
use super::token_response::{RotatedToken, TokenResponse, Unusable};
use crate::error::{Error, ErrorCode};
use crate::http::{Body, Endpoint, Failure, FailureKind, Form, HttpClient};
use crate::secret::Secret;
use crate::time::Clock;

const WHAT: &str = "The access token could not be refreshed";
const LOG_IN: &str = "Log in again.";

/// In place of a refresh token: the client's own credentials are the grant (RFC 6749 §4.4).
pub(crate) const CLIENT_CREDENTIALS: &str = "client_credentials";

/// The refresh request.
pub(crate) struct RefreshRequest<'a> {
    /// The token endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// The client that the refresh token was issued to.
    pub(crate) client: &'a Client,
    /// `refresh_token`
    pub(crate) refresh_token: &'a Secret,
    /// `resource` (RFC 8707)
    pub(crate) resources: &'a [String],
    /// `scope`, where the token is to have less than the login; else empty.
    pub(crate) scope: &'a str,
    /// Proves possession of the key that the tokens are bound to (RFC 9449 §5).
    pub(crate) dpop: Option<Dpop<'a>>,
    /// The scopes of a login at a server that is first asked in JSON.
    pub(crate) json_scopes: Option<&'a [String]>,
    /// Further parameters.
    pub(crate) extra: &'a [(String, String)],
}

/// Why there are no new tokens, by what may be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefreshFailure {
    /// `invalid_grant` and its kin: `LOGIN_REQUIRED`.
    Refused(Error),
    /// 400 or 401 without a usable code: `LOGIN_REQUIRED`, but worth another try much later.
    RefusedUnclear(Error),
    /// `invalid_client`: `OAUTH_ERROR`.
    ClientRejected(Error),
    /// The request never left.
    NotSent(Error),
    /// Reset, 5xx, or not an OAuth response after sending: the server may have spent the refresh token. One replay is
    /// allowed.
    Lost(Error),
    /// No answer in time, after sending.
    TimedOut(Error),
    /// The server asks for a pause.
    Busy(Error),
    /// The access token cannot be used, but the refresh token was replaced: this is the only copy of the new one.
    Rotated(Error, RotatedToken),
    /// Everything else.
    Failed(Error),
}

impl RefreshFailure {
    /// Whether the server speaks of the login or its client, and not of what this request asks for.
    pub(crate) fn is_of_login(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::RefusedUnclear(_) | Self::ClientRejected(_)
        )
    }

    /// The error as a caller sees it.
    pub(crate) fn error(&self) -> &Error {
        match self {
            Self::Refused(error)
            | Self::RefusedUnclear(error)
            | Self::ClientRejected(error)
            | Self::NotSent(error)
            | Self::Lost(error)
            | Self::TimedOut(error)
            | Self::Busy(error)
            | Self::Rotated(error, _)
            | Self::Failed(error) => error,
        }
    }
}

/// Spends the refresh token for new tokens.
pub(crate) async fn refresh(
    http: &dyn HttpClient,
    clock: &dyn Clock,
    request: &RefreshRequest<'_>,
    timeout: Duration,
) -> Result<TokenResponse, RefreshFailure> {
    let mut secrets = Secrets::new(request.client.secrets());
    secrets.add(request.refresh_token.clone());
    let in_json = match request.json_scopes {
        Some(scopes) => understood_json(http, request, scopes, &secrets, timeout).await,
        None => Ok(None),
    };
    let answer = match in_json {
        Ok(None) => {
            let form = request.form();
            token_request::send(
                http,
                request.endpoint,
                request.client,
                form,
                request.dpop,
                timeout,
            )
            .await
        }
        Ok(Some(answer)) => Ok(answer),
        Err(failure) => Err(failure),
    };
    let mut answer = answer.map_err(|failure| not_answered(&failure, request.endpoint))?;
    if let Some(refusal) = ErrorResponse::read(&answer, "access_token", &secrets) {
        return Err(refused(&answer, &refusal));
    }
    let key = request.dpop.map(|dpop| dpop.key);
    match TokenResponse::of(&mut answer, clock.now(), key) {
        Some(Ok(tokens)) => Ok(tokens),
        Some(Err(Unusable { reason, refresh })) => {
            let error = answer.malformed(&reason);
            Err(match refresh {
                Some(refresh) => RefreshFailure::Rotated(error, refresh),
                None => RefreshFailure::Failed(error),
            })
        }
        None if answer.is_success() => Err(no_tokens(&answer)),
        None => Err(not_oauth(&answer, None)),
    }
}

/// The answer to the request in JSON, as some programs send it to their own services; none where the server
/// understands only the form that RFC 6749 §6 has.
async fn understood_json(
    http: &dyn HttpClient,
    request: &RefreshRequest<'_>,
    scopes: &[String],
    secrets: &Secrets,
    timeout: Duration,
) -> Result<Option<Answer>, Failure> {
    let mut form = request.form();
    let authorization = request.client.authenticate(&mut form);
    if request.scope.is_empty() {
        form.append("scope", &scopes.join(" "));
    }
    let body = Body::Json(form.to_json());
    let answer = Answer::to(http, request.endpoint, body, authorization, timeout).await?;
    let is_refused = matches!(answer.status, 400 | 415);
    // RFC 6749 §5.2 invalid_request: "The request is missing a required parameter …, or is otherwise malformed": the
    // refresh token was not looked at. RFC 9110 §15.5.16: 415 is for "a format not supported".
    let is_misunderstood = is_refused
        && ErrorResponse::read(&answer, "access_token", secrets).is_none_or(|refusal| {
            !matches!(
                refusal.kind,
                ErrorKind::InvalidGrant | ErrorKind::ExpiredToken | ErrorKind::InvalidClient
            )
        });
    Ok((!is_misunderstood).then_some(answer))
}

/// A success that is not an OAuth response: a captive portal answered, or a gateway cut the answer off. It is
/// transient; if the server did answer, its answer is lost.
fn no_tokens(answer: &Answer) -> RefreshFailure {
    RefreshFailure::Lost(answer.error(
        ErrorCode::ServerError,
        "The access token could not be refreshed, because the answer is not OAuth",
        None,
        "Look whether the network wants you to sign in first, check tokenEndpoint, and try again.",
    ))
}

fn not_answered(failure: &Failure, endpoint: &Endpoint) -> RefreshFailure {
    let error = failure.to_error(endpoint);
    match failure.kind {
        FailureKind::NotSent | FailureKind::Certificate | FailureKind::Tls | FailureKind::Proxy => {
            RefreshFailure::NotSent(error)
        }
        FailureKind::Broken => RefreshFailure::Lost(error),
        FailureKind::TimedOut => RefreshFailure::TimedOut(error),
        FailureKind::Unreadable => RefreshFailure::Failed(error),
    }
}

fn refused(answer: &Answer, refusal: &ErrorResponse) -> RefreshFailure {
    if refusal.is_passing(answer) || refusal.kind == ErrorKind::SlowDown {
        let error = refusal.to_error(answer, WHAT, "Try again later.");
        return match refusal.kind {
            // The request was already repeated with the nonce.
            ErrorKind::UseDpopNonce => RefreshFailure::Failed(error),
            _ => passing(answer, Some(refusal), error),
        };
    }
    // "Invalid scope" and the like speak of the token that they would be for.
    let is_strict = matches!(
        refusal.oauth.error.as_str(),
        "invalid_scope" | "invalid_target" | "unsupported_grant_type" | "invalid_dpop_proof"
    );
    match (refusal.kind, refusal.subject) {
        // RFC 6749 §5.2 invalid_grant: the "refresh token is invalid, expired, revoked, … or was issued to another
        // client"
        (ErrorKind::InvalidGrant | ErrorKind::ExpiredToken, _) => {
            RefreshFailure::Refused(ended(answer, Some(refusal)))
        }
        (ErrorKind::NoCode, _) => not_oauth(answer, Some(refusal)),
        // The request is well-formed, and the client was valid for the login: so the token is refused, under any code.
        (_, Subject::Login) if !is_strict => {
            RefreshFailure::RefusedUnclear(ended(answer, Some(refusal)))
        }
        // RFC 6749 §5.2 invalid_client: "Client authentication failed"
        (ErrorKind::InvalidClient, _) => {
            RefreshFailure::ClientRejected(refusal.to_error(answer, WHAT, LOG_IN))
        }
        _ => RefreshFailure::Failed(match refusal.oauth.error.as_str() {
            "unauthorized_client" | "unsupported_grant_type" => answer.error(
                ErrorCode::OauthError,
                WHAT,
                Some(&refusal.oauth),
                "Allow the grant type refresh_token for this client at the server.",
            ),
            _ => refusal.to_error(answer, WHAT, "Check the client's settings at the server."),
        }),
    }
}

fn ended(answer: &Answer, refusal: Option<&ErrorResponse>) -> Error {
    answer.error(
        ErrorCode::LoginRequired,
        "The server no longer accepts this login",
        refusal.map(|refusal| &refusal.oauth),
        LOG_IN,
    )
}

/// An answer without a code, by its words.
fn not_oauth(answer: &Answer, refusal: Option<&ErrorResponse>) -> RefreshFailure {
    let subject = match (&answer.content, refusal) {
        (Content::Text(subject), _) => *subject,
        (_, Some(refusal)) => refusal.subject,
        _ => Subject::Unsaid,
    };
    let is_page = matches!(answer.content, Content::Text(_));
    match subject {
        Subject::Login if answer.status < 500 && !answer.is_passing_failure() => {
            return RefreshFailure::RefusedUnclear(ended(answer, refusal));
        }
        Subject::Client if !is_page && !answer.is_passing_failure() => {
            return RefreshFailure::Failed(answer.error(
                ErrorCode::OauthError,
                WHAT,
                refusal.map(|refusal| &refusal.oauth),
                "Check clientId, clientSecret and clientAuthentication.",
            ));
        }
        // Some servers answer a dead refresh token with an empty 400, or in words of their own.
        Subject::Unsaid if !is_page && matches!(answer.status, 400 | 401) => {
            return RefreshFailure::RefusedUnclear(answer.error(
                ErrorCode::LoginRequired,
                "The server refused to refresh this login without a usable reason",
                refusal.map(|refusal| &refusal.oauth),
                LOG_IN,
            ));
        }
        _ => {}
    }
    let error = answer.not_oauth(
        WHAT,
        refusal.map(|refusal| &refusal.oauth),
        "Check tokenEndpoint.",
    );
    passing(answer, refusal, error)
}

fn passing(answer: &Answer, refusal: Option<&ErrorResponse>, error: Error) -> RefreshFailure {
    if !Meaning::of(answer, refusal).passes() {
        return RefreshFailure::Failed(error);
    }
    match (answer.status, answer.retry_after) {
        // RFC 6585 §4: 429 asks for a pause, with Retry-After or without. RFC 9110 §10.2.3: so does a 503 with one.
        (429, _) | (500.., Some(_)) => RefreshFailure::Busy(error),
        // Nothing was spent, or the server is still at it: the same request once more may have the answer.
        _ => RefreshFailure::Lost(error),
    }
}

impl RefreshRequest<'_> {
    fn form(&self) -> Form {
        let mut form = Form::new();
        if self.refresh_token.expose() == CLIENT_CREDENTIALS {
            // RFC 6749 §4.4.2: 'grant_type REQUIRED. Value MUST be set to "client_credentials".'
            form.append("grant_type", CLIENT_CREDENTIALS);
        } else {
            self.append_grant(&mut form);
        }
        // RFC 6749 §6: scope "MUST NOT include any scope not originally granted by the resource owner, and if omitted
        // is treated as equal to the scope originally granted".
        if !self.scope.is_empty() {
            form.append("scope", self.scope);
        }
        for resource in self.resources {
            form.append("resource", resource);
        }
        form.append_all(self.extra);
        form
    }

    fn append_grant(&self, form: &mut Form) {
        // RFC 6749 §6: 'grant_type REQUIRED. Value MUST be set to "refresh_token".'
        form.append("grant_type", "refresh_token");
        form.append("refresh_token", self.refresh_token.expose());
    }
}

#[cfg(test)]
mod tests {
    use ErrorCode::{InvalidResponse, LoginRequired, OauthError, ServerError};

    use super::*;
    use crate::http::Response;
    use crate::http::scripted::{ScriptedClient, response};
    use crate::oauth::client::ClientAuthentication;
    use crate::time::{TestClock, UnixMillis};

    async fn run(http: &ScriptedClient) -> Result<TokenResponse, RefreshFailure> {
        let endpoint = Endpoint::parse("https://a.example/token?q=canary").unwrap();
        let client = Client {
            id: "my-client".into(),
            secret: Some(Secret::from("canary-secret")),
            authentication: ClientAuthentication::ClientSecretBasic,
            assertions: None,
        };
        let request = RefreshRequest {
            endpoint: &endpoint,
            client: &client,
            refresh_token: &Secret::from("canary-refresh"),
            resources: &["https://r.example".into()],
            scope: "",
            dpop: None,
            json_scopes: None,
            extra: &[("x".into(), "y".into())],
        };
        let clock = TestClock::starting_at(UnixMillis(0));
        let outcome = refresh(http, &clock, &request, Duration::from_secs(30)).await;
        assert_eq!(http.received().len(), 1, "exactly one attempt");
        if let Err(failure) = &outcome {
            let printed = format!("{failure:?} {:?}", failure.error().oauth());
            assert!(!printed.contains("canary"), "{printed}");
            assert!(failure.error().message().contains("a.example"));
        }
        outcome
    }

    fn name(failure: &RefreshFailure) -> &'static str {
        match failure {
            RefreshFailure::Refused(_) => "refused",
            RefreshFailure::RefusedUnclear(_) => "unclear",
            RefreshFailure::ClientRejected(_) => "client",
            RefreshFailure::NotSent(_) => "not sent",
            RefreshFailure::Lost(_) => "lost",
            RefreshFailure::TimedOut(_) => "timed out",
            RefreshFailure::Busy(_) => "busy",
            RefreshFailure::Rotated(..) => "rotated",
            RefreshFailure::Failed(_) => "failed",
        }
    }

    async fn failure(response: Response) -> (&'static str, Error) {
        let failure = run(&ScriptedClient::new().respond(response))
            .await
            .unwrap_err();
        (name(&failure), failure.error().clone())
    }

    #[tokio::test]
    async fn sends_the_request_of_rfc_6749_section_6() {
        let http = ScriptedClient::new().answer(
            200,
            r#"{"access_token":"canary-a","refresh_token":"canary-r","expires_in":"3600","scope":"a"}"#,
        );
        let tokens = run(&http).await.unwrap();
        assert_eq!(tokens.refresh.unwrap().expose(), "canary-r");
        let sent = &http.received()[0];
        assert_eq!(sent.parameter("grant_type"), Some("refresh_token"));
        assert_eq!(sent.parameter("refresh_token"), Some("canary-refresh"));
        assert_eq!(sent.parameter("resource"), Some("https://r.example"));
        assert_eq!(sent.parameter("x"), Some("y"));
        assert_eq!(sent.parameter("scope"), None);
        assert!(sent.authorization.as_ref().unwrap().starts_with("Basic "));
        assert_eq!(sent.parameter("client_id"), None);
    }

    /// Status, body, and what they mean.
    const ANSWERS: &[(u16, &str, &str, ErrorCode)] = &[
        (
            400,
            r#"{"error":"invalid_grant","error_description":"canary-refresh is old"}"#,
            "refused",
            LoginRequired,
        ),
        (
            403,
            r#"{"error":"invalid_grant"}"#,
            "refused",
            LoginRequired,
        ),
        (
            500,
            r#"{"error":"invalid_grant"}"#,
            "refused",
            LoginRequired,
        ),
        (
            200,
            r#"{"error":"bad_refresh_token"}"#,
            "refused",
            LoginRequired,
        ),
        (
            400,
            r#"{"error":{"code":"refresh_token_reused","message":"x"}}"#,
            "refused",
            LoginRequired,
        ),
        (
            401,
            r#"{"error":"Unauthorized","message":"token_expired"}"#,
            "refused",
            LoginRequired,
        ),
        (
            400,
            r#"{"error":"interaction_required"}"#,
            "refused",
            LoginRequired,
        ),
        (400, "", "unclear", LoginRequired),
        (401, "{}", "unclear", LoginRequired),
        (400, "[]", "unclear", LoginRequired),
        (
            401,
            r#"{"error":"Unauthorized","message":"jwt expired, canary-refresh"}"#,
            "unclear",
            LoginRequired,
        ),
        (400, "<html>canary</html>", "lost", ServerError),
        (401, "Bad gateway", "lost", ServerError),
        (401, r#"{"error":"invalid_client"}"#, "client", OauthError),
        (
            200,
            r#"{"error":"incorrect_client_credentials"}"#,
            "client",
            OauthError,
        ),
        (400, r#"{"error":"invalid_scope"}"#, "failed", OauthError),
        (
            400,
            r#"{"error":"unauthorized_client"}"#,
            "failed",
            OauthError,
        ),
        (400, r#"{"error":"some_new_code"}"#, "failed", OauthError),
        (403, r#"{"error":"access_denied"}"#, "failed", OauthError),
        (400, r#"{"error":"server_error"}"#, "lost", ServerError),
        (
            400,
            r#"{"error":"temporarily_unavailable"}"#,
            "lost",
            ServerError,
        ),
        // The words against the code: nothing was refused.
        (
            400,
            r#"{"error":"invalid_grant","error_description":"token request is already being processed"}"#,
            "lost",
            ServerError,
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"login rate exceeded"}"#,
            "lost",
            ServerError,
        ),
        (
            200,
            r#"{"ok":false,"error":"ratelimited"}"#,
            "lost",
            ServerError,
        ),
        (
            409,
            r#"{"errors":[{"errorType":"conflict"}]}"#,
            "lost",
            ServerError,
        ),
        (423, "", "lost", ServerError),
        // The words against the code: the login has ended.
        (
            400,
            r#"{"error":"invalid_request","error_description":"session not found"}"#,
            "unclear",
            LoginRequired,
        ),
        (
            401,
            r#"{"error":"invalid_request","message":"The refresh token is invalid.","hint":"Token has been revoked"}"#,
            "unclear",
            LoginRequired,
        ),
        (
            403,
            r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
            "unclear",
            LoginRequired,
        ),
        (
            404,
            r#"{"error":"NotFound","message":"Device Refresh Token does not exist"}"#,
            "unclear",
            LoginRequired,
        ),
        (
            400,
            r#"{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}"#,
            "unclear",
            LoginRequired,
        ),
        (
            401,
            r#"{"reason":"Invalid Token!","error":"invalid_request"}"#,
            "unclear",
            LoginRequired,
        ),
        (200, r#"{"error":"invalid_code"}"#, "unclear", LoginRequired),
        (
            200,
            r#"{"success":false,"message":"Invalid refresh token"}"#,
            "unclear",
            LoginRequired,
        ),
        (
            403,
            r#"{"error":"access_denied","error_description":"The user is blocked"}"#,
            "unclear",
            LoginRequired,
        ),
        (403, "Invalid refresh token", "unclear", LoginRequired),
        (
            401,
            r#"{"error":"invalid_client","error_description":"Invalid refresh token"}"#,
            "unclear",
            LoginRequired,
        ),
        // Failures that no login fixes.
        (
            400,
            r#"{"error":"invalid_request","error_description":"Missing parameter: resource"}"#,
            "failed",
            OauthError,
        ),
        (
            400,
            r#"{"message":"Missing parameter: resource"}"#,
            "failed",
            InvalidResponse,
        ),
        (
            400,
            r#"{"message":"Bad Request","errors":[{"resource":"Application","field":"client_id","code":"invalid"}]}"#,
            "failed",
            OauthError,
        ),
        (
            400,
            r#"{"error":"unauthorized_client","error_description":"Client may not use the grant type refresh_token: not allowed"}"#,
            "failed",
            OauthError,
        ),
        (
            400,
            r#"{"error":"invalid_scope","error_description":"Wider than that of the refresh token, or unknown"}"#,
            "failed",
            OauthError,
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"Invalid client secret"}"#,
            "client",
            OauthError,
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"Missing parameter: resource"}"#,
            "failed",
            OauthError,
        ),
        (
            401,
            r#"{"message":"Client authentication failed"}"#,
            "failed",
            OauthError,
        ),
        (
            404,
            r#"{"message":"Route POST:/oauth/token not found","error":"Not Found","statusCode":404}"#,
            "failed",
            InvalidResponse,
        ),
        (
            404,
            r#"{"timestamp":"2026-01-01","status":404,"error":"Not Found","path":"/oauth/token"}"#,
            "failed",
            InvalidResponse,
        ),
        (
            403,
            r#"{"message":"Missing Authentication Token"}"#,
            "failed",
            InvalidResponse,
        ),
        (
            200,
            r#"{"access_token":"canary-access","token_type":"mac","refresh_token":"canary-r2"}"#,
            "rotated",
            InvalidResponse,
        ),
        (500, r#"{"error":"server_error"}"#, "lost", ServerError),
        (500, r#"{"error":"unknown_error"}"#, "lost", ServerError),
        (500, "", "lost", ServerError),
        (502, "<html>", "lost", ServerError),
        (408, "", "lost", ServerError),
        (429, "", "busy", ServerError),
        (429, r#"{"error":"slow_down"}"#, "busy", ServerError),
        (403, "{}", "failed", InvalidResponse),
        (404, "<html>", "lost", ServerError),
        (302, "", "failed", InvalidResponse),
        (200, "", "lost", ServerError),
        (200, "<html>", "lost", ServerError),
        (200, r#"{"access_token":"canary-acc"#, "lost", ServerError),
        (200, "{}", "failed", InvalidResponse),
        (
            200,
            r#"{"access_token":"canary x"}"#,
            "failed",
            InvalidResponse,
        ),
    ];

    #[tokio::test]
    async fn an_answer_means_what_its_error_says() {
        for &(status, body, expected, code) in ANSWERS {
            let (found, error) = failure(response(status, body)).await;
            assert_eq!((found, error.code()), (expected, code), "{status} {body}");
            assert_eq!(error.status(), Some(status));
            assert_eq!(
                error.needs_login(),
                code == LoginRequired,
                "{status} {body}"
            );
            assert_eq!(error.is_retryable(), code == ServerError, "{status} {body}");
        }
    }

    #[tokio::test]
    async fn retry_after_makes_it_busy() {
        for (status, body, expected) in [
            (503, "", "busy"),
            (503, r#"{"error":"temporarily_unavailable"}"#, "busy"),
            (429, "{}", "busy"),
            (400, r#"{"error":"invalid_grant"}"#, "refused"),
        ] {
            let mut answer = response(status, body);
            answer.retry_after = Some(Duration::from_secs(7));
            let (found, error) = failure(answer).await;
            assert_eq!(found, expected);
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        }
    }

    #[tokio::test]
    async fn without_an_answer_it_matters_whether_it_was_sent() {
        for (kind, expected, retryable) in [
            (FailureKind::NotSent, "not sent", true),
            (FailureKind::Certificate, "not sent", false),
            (FailureKind::Tls, "not sent", false),
            (FailureKind::Proxy, "not sent", false),
            (FailureKind::Broken, "lost", true),
            (FailureKind::TimedOut, "timed out", true),
            (FailureKind::Unreadable, "failed", false),
        ] {
            let failure = run(&ScriptedClient::new().fail(kind, "the cause"))
                .await
                .unwrap_err();
            assert_eq!(name(&failure), expected);
            assert_eq!(failure.error().is_retryable(), retryable);
        }
    }
}
