//! The rules that hold for any answer of an authorization server.

#![expect(clippy::panic, reason = "tests, which fuzz targets run as well")]

use std::cell::Cell;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};
use url::Url;
use zeroize::Zeroizing;

use super::answer::CENTURY;
use super::client::{Client, ClientAuthentication};
use super::device_access_token::{DeviceAccessTokenRequest, PollEvent, await_approval};
use super::device_authorization::{self, DeviceAuthorization, DeviceAuthorizationRequest};
use super::issuer::Issuer;
use super::metadata::discover;
use super::refresh::{RefreshFailure, RefreshRequest, refresh};
use super::registration::{Registration, RegistrationRequest, register};
use super::revocation::{RevocationRequest, revoke};
use super::server_text::{Secrets, safe_url, single_line, visible};
use super::token_response::TokenResponse;
use crate::error::{Error, ErrorCode};
use crate::http::AllowHttp;
use crate::http::fuzzing::is_safe_endpoint;
use crate::http::{
    Body, BoxFuture, Endpoint, Failure, FailureKind, HttpClient, Line, Request, Response,
};
use crate::secret::Secret;
use crate::time::{BootInstant, Clock, UnixMillis};

const TIMEOUT: Duration = Duration::from_secs(30);
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// Secrets that we send, and with which every secret begins that an input holds. None may show up anywhere.
const CANARY: &str = "canary-";
const DEVICE_CODE: &str = "canary-device-code";
const REFRESH_TOKEN: &str = "canary-refresh+/=";
const CLIENT_SECRET: &str = "canary-client-secret";

/// Members that are secrets.
const SECRET_MEMBERS: [&str; 7] = [
    "access_token",
    "refresh_token",
    "id_token",
    "device_code",
    "client_secret",
    "registration_access_token",
    "code_verifier",
];

/// An answer made of an input: a byte for the status, one for `Retry-After`, then the body.
pub(crate) struct Played {
    pub(crate) status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Played {
    const STATUSES: [u16; 19] = [
        200, 201, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 408, 422, 429, 500, 501,
        503,
    ];

    pub(crate) fn new(input: &[u8]) -> Option<Self> {
        let (&[status, retry_after], body) = input.split_first_chunk::<2>()?;
        let status = usize::from(status) % Self::STATUSES.len();
        Some(Self {
            status: Self::STATUSES.get(status).copied()?,
            retry_after: (retry_after > 127).then(|| Duration::from_secs(retry_after.into())),
            body: body.to_vec(),
        })
    }

    fn redirecting(input: &[u8]) -> Option<Self> {
        let (&status, _) = input.split_first()?;
        Some(Self {
            status: 300 + u16::from(status % 43),
            ..Self::new(input)?
        })
    }

    /// The members, as an independent reader sees them.
    fn members(&self) -> Option<Map<String, Value>> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(members)) => Some(members),
            _ => None,
        }
    }

    fn member(&self, name: &str) -> Option<String> {
        self.members()?.get(name)?.as_str().map(str::to_owned)
    }

    /// The values that were sent or that the answer holds; none of them may be shown.
    fn secrets(&self, sent: &[&'static str]) -> Vec<String> {
        let members = self.members().unwrap_or_default();
        let theirs = SECRET_MEMBERS
            .iter()
            .filter_map(|name| members.get(*name)?.as_str())
            .filter(|secret| secret.starts_with(CANARY));
        sent.iter()
            .copied()
            .chain(theirs)
            .map(str::to_owned)
            .collect()
    }

    fn response(&self) -> Response {
        Response {
            status: self.status,
            retry_after: self.retry_after,
            dpop_nonce: None,
            challenge: None,
            date: None,
            age: Duration::ZERO,
            body: Zeroizing::new(self.body.clone()),
        }
    }
}

/// Gives these answers, then one that nothing is tried again after; counts what it was asked.
#[derive(Default)]
struct PlayingServer {
    answers: Mutex<Vec<Response>>,
    asked: Mutex<Vec<String>>,
}

impl PlayingServer {
    fn new<'a>(played: impl IntoIterator<Item = &'a Played>) -> Self {
        let mut answers: Vec<Response> = played.into_iter().map(Played::response).collect();
        answers.reverse();
        Self {
            answers: Mutex::new(answers),
            ..Self::default()
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked
            .lock()
            .map(|asked| asked.clone())
            .unwrap_or_default()
    }
}

impl HttpClient for PlayingServer {
    fn send_on<'a>(
        &'a self,
        _: Option<&'a Line>,
        request: Request,
    ) -> BoxFuture<'a, Result<Response, Failure>> {
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(request.url.as_str().to_owned());
        }
        let answer = self.answers.lock().ok().and_then(|mut left| left.pop());
        // A page that is too large is nothing's end while a person is asked; a refusal is.
        let end = match request.body {
            Body::Get | Body::Probe | Body::ProbeByPost => Err(Failure {
                kind: FailureKind::Unreadable,
                detail: "the end".to_owned(),
            }),
            _ => Ok(refusal()),
        };
        Box::pin(std::future::ready(answer.map_or(end, Ok)))
    }
}

fn refusal() -> Response {
    Response {
        status: 400,
        retry_after: None,
        dpop_nonce: None,
        challenge: None,
        date: None,
        age: Duration::ZERO,
        body: Zeroizing::new(br#"{"error":"the_end"}"#.to_vec()),
    }
}

/// A clock that advances only while a task sleeps.
struct SleepersClock(tokio::time::Instant);

impl Clock for SleepersClock {
    fn now(&self) -> UnixMillis {
        NOW.plus(self.0.elapsed())
    }

    fn boot(&self) -> BootInstant {
        BootInstant(self.0.elapsed())
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

struct Parties {
    endpoint: Endpoint,
    client: Client,
    device_code: Secret,
    refresh_token: Secret,
}

impl Parties {
    fn new() -> Option<Self> {
        Some(Self {
            endpoint: Endpoint::parse("https://a.example/endpoint?q=canary-query").ok()?,
            client: Client {
                id: "my-client".to_owned(),
                secret: Some(Secret::from(CLIENT_SECRET)),
                authentication: ClientAuthentication::ClientSecretPost,
                assertions: None,
            },
            device_code: Secret::from(DEVICE_CODE),
            refresh_token: Secret::from(REFRESH_TOKEN),
        })
    }

    fn authorize(&self, server: &PlayingServer) -> Result<DeviceAuthorization, Error> {
        let request = DeviceAuthorizationRequest {
            endpoint: &self.endpoint,
            client: &self.client,
            scope: "",
            audience: None,
            resources: &[],
            pkce: None,
            extra: &[],
        };
        block_on(device_authorization::request(server, &request, TIMEOUT))
    }

    /// Whether the first answer left it undecided is in the number of requests.
    fn poll(&self, server: &PlayingServer) -> Result<TokenResponse, Error> {
        let request = DeviceAccessTokenRequest {
            endpoint: &self.endpoint,
            client: &self.client,
            device_code: &self.device_code,
            pkce: None,
            dpop: None,
            resources: &[],
            extra: &[],
        };
        let interval = Duration::from_secs(5);
        let last = Cell::new(interval);
        let shown = Mutex::new(Vec::new());
        let outcome = block_on(async {
            let clock = SleepersClock(tokio::time::Instant::now());
            let deadline = clock.boot().plus(Duration::from_mins(15));
            await_approval(
                server,
                &clock,
                &request,
                interval,
                deadline,
                TIMEOUT,
                &|event| shown.lock().unwrap_or_else(|e| panic!("{e}")).push(event),
            )
            .await
        });
        for event in shown.into_inner().unwrap_or_default() {
            let (PollEvent::Waiting { next_poll_in }
            | PollEvent::SlowDown { next_poll_in, .. }
            | PollEvent::Retrying { next_poll_in, .. }) = event
            else {
                continue;
            };
            assert!(next_poll_in >= last.get(), "the wait became shorter");
            assert!(next_poll_in <= Duration::from_mins(15));
            last.set(interval);
        }
        outcome
    }

    fn refresh(&self, server: &PlayingServer) -> Result<TokenResponse, RefreshFailure> {
        let request = RefreshRequest {
            endpoint: &self.endpoint,
            client: &self.client,
            refresh_token: &self.refresh_token,
            dpop: None,
            scope: "",
            json_scopes: None,
            resources: &[],
            extra: &[],
        };
        block_on(async {
            let clock = SleepersClock(tokio::time::Instant::now());
            refresh(server, &clock, &request, TIMEOUT).await
        })
    }

    fn revoke(&self, server: &PlayingServer) -> Result<(), Error> {
        let request = RevocationRequest {
            endpoint: &self.endpoint,
            client: &self.client,
            token: &self.refresh_token,
            hint: "refresh_token",
            dpop: None,
        };
        block_on(revoke(server, &request, TIMEOUT))
    }

    fn register(&self, server: &PlayingServer) -> Result<Registration, Error> {
        let metadata = Map::new();
        let request = RegistrationRequest {
            endpoint: &self.endpoint,
            client_name: "my-memory",
            redirect_uri: None,
            authentication: None,
            supported: None,
            scopes: &[],
            jwks: None,
            metadata: &metadata,
        };
        block_on(register(server, &request, TIMEOUT))
    }
}

/// Whether a text can be printed: no control, bidi or invisible character.
pub(crate) fn is_printable(text: &str) -> bool {
    !text.chars().any(|c| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    }) && single_line(text) == text
}

/// Whether a URL can be printed and opened.
pub(crate) fn is_safe_to_open(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.has_host()
    }) && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.len() <= 2048
}

/// docs/design.md 6: one printable sentence or more, bounded, and no secret.
fn check_error(error: &Error, sent: &[&'static str], played: &[&Played]) {
    let oauth = error.oauth().cloned().unwrap_or_default();
    let (description, uri) = (oauth.description.as_deref(), oauth.uri.as_deref());
    let texts = [error.message(), oauth.error.as_str()];
    for text in texts.into_iter().chain(description) {
        assert!(is_printable(text), "{text:?}");
        assert!(text.chars().count() < 1200, "{text}");
    }
    assert!(uri.is_none_or(is_safe_to_open), "{uri:?}");
    let shown = format!("{error} {error:?} {oauth:?}");
    for secret in played.iter().flat_map(|played| played.secrets(sent)) {
        assert!(!shown.contains(&secret), "{secret:?} in {shown:?}");
    }
    assert!(!shown.contains("canary-query"), "{shown}");
    assert_eq!(
        error.needs_login(),
        error.code() == ErrorCode::LoginRequired
    );
}

fn is_token(secret: &Secret) -> bool {
    !secret.expose().is_empty() && secret.expose().bytes().all(|byte| byte.is_ascii_graphic())
}

fn check_tokens(tokens: &TokenResponse, played: &Played) {
    assert!((200..300).contains(&played.status));
    assert!(is_token(&tokens.access));
    assert!(tokens.refresh.as_ref().is_none_or(is_token));
    assert!(tokens.id_token.as_ref().is_none_or(is_token));
    assert_eq!(tokens.token_type, "Bearer");
    assert!(tokens.lifetime.is_none_or(|lifetime| lifetime <= CENTURY));
    let scopes = tokens.scopes.as_deref().unwrap_or_default();
    assert!(
        scopes
            .iter()
            .all(|scope| !scope.is_empty() && is_printable(scope))
    );
    if let Some(members) = played.members() {
        assert_eq!(
            members.get("access_token").and_then(Value::as_str),
            Some(tokens.access.expose())
        );
        let error = members.get("error").and_then(Value::as_str);
        assert!(error.is_none_or(|error| error.trim().is_empty()));
    }
}

pub(crate) fn metadata(input: &[u8]) {
    let Some((&flags, rest)) = input.split_first() else {
        return;
    };
    // No JSON holds this byte, and so it divides two documents.
    let mut halves = rest.splitn(2, |byte| *byte == 0xff);
    let mut next = || Played::new(halves.next().unwrap_or_default());
    let (Some(first), second) = (next(), next()) else {
        return;
    };
    let played: Vec<&Played> = [&first].into_iter().chain(second.as_ref()).collect();
    let issuer = if flags % 2 == 0 {
        "https://a.example/tenant"
    } else {
        "http://localhost:8080"
    };
    let Ok(issuer) = Issuer::parse(issuer, &AllowHttp::default()) else {
        return;
    };
    let server = PlayingServer::new(played.iter().copied());
    let outcome = block_on(discover(&server, &issuer, true, TIMEOUT));
    assert!(server.asked().len() <= 3);
    match outcome {
        Ok(metadata) => {
            // RFC 8414 §3.3: "If these values are not identical, the data contained in the response MUST NOT be used."
            assert!(played.iter().any(|played| played.status == 200
                && (played.member("issuer").as_deref() == Some(issuer.as_str())
                    || played.members().is_none())));
            let endpoints = [
                metadata.device_authorization_endpoint,
                metadata.token_endpoint,
                metadata.revocation_endpoint,
                metadata.registration_endpoint,
            ];
            for endpoint in endpoints.iter().flatten() {
                assert!(is_safe_endpoint(endpoint), "{endpoint}");
                assert!(endpoint.url().scheme() == "https" || issuer.is_loopback());
            }
        }
        Err(error) => check_error(&error, &[], &played),
    }
}

pub(crate) fn device_authorization(input: &[u8]) {
    let (Some(played), Some(parties)) = (Played::new(input), Parties::new()) else {
        return;
    };
    let server = PlayingServer::new([&played]);
    match parties.authorize(&server) {
        Ok(authorization) => {
            assert!((200..300).contains(&played.status));
            check_authorization(&authorization);
        }
        Err(error) => check_error(&error, &[CLIENT_SECRET], &[&played]),
    }
    assert_eq!(server.asked().len(), 1);
}

/// The authorization that an input is, if it is one.
pub(crate) fn authorization(input: &[u8]) -> Option<DeviceAuthorization> {
    let played = Played::new(input)?;
    Parties::new()?
        .authorize(&PlayingServer::new([&played]))
        .ok()
}

fn check_authorization(authorization: &DeviceAuthorization) {
    let code = &authorization.user_code;
    assert!(is_printable(code) && (1..=128).contains(&code.chars().count()));
    assert!(is_safe_to_open(&authorization.verification_uri));
    let complete = authorization.verification_uri_complete.as_deref();
    assert!(complete.is_none_or(is_safe_to_open), "{complete:?}");
    let device_code = authorization.device_code.expose();
    assert!(!device_code.is_empty() && !device_code.chars().any(char::is_control));
    assert!((Duration::from_secs(1)..=CENTURY).contains(&authorization.interval));
    assert!((Duration::from_nanos(1)..=CENTURY).contains(&authorization.expires_in));
}

pub(crate) fn token_response(input: &[u8]) {
    let (Some(played), Some(parties)) = (Played::new(input), Parties::new()) else {
        return;
    };
    let server = PlayingServer::new([&played]);
    let polled = parties.poll(&server);
    match &polled {
        Ok(tokens) => {
            check_tokens(tokens, &played);
            assert_eq!(server.asked().len(), 1, "a poll after the success");
        }
        Err(error) => check_error(error, &[CLIENT_SECRET, DEVICE_CODE], &[&played]),
    }
    let refreshed = parties.refresh(&PlayingServer::new([&played]));
    // One answer means the same tokens in both grants.
    assert_eq!(polled.is_ok(), refreshed.is_ok());
    match refreshed {
        Ok(tokens) => check_tokens(&tokens, &played),
        Err(failure) => check_refresh_failure(&failure, &played),
    }
}

fn check_refresh_failure(failure: &RefreshFailure, played: &Played) {
    let error = failure.error();
    check_error(error, &[CLIENT_SECRET, REFRESH_TOKEN], &[played]);
    let loses_the_login = matches!(
        failure,
        RefreshFailure::Refused(_) | RefreshFailure::RefusedUnclear(_)
    );
    assert_eq!(error.code() == ErrorCode::LoginRequired, loses_the_login);
    // A gateway's page must not log anybody out.
    let is_page = std::str::from_utf8(&played.body).is_ok_and(|body| body.trim().starts_with('<'));
    assert!(!(is_page && loses_the_login));
}

pub(crate) fn error_response(input: &[u8]) {
    let (Some(played), Some(parties)) = (Played::new(input), Parties::new()) else {
        return;
    };
    let said = played.member("error").unwrap_or_default();
    let server = PlayingServer::new([&played]);
    if let Err(error) = parties.poll(&server) {
        check_error(&error, &[CLIENT_SECRET, DEVICE_CODE], &[&played]);
        let is_pending = matches!(said.as_str(), "authorization_pending" | "slow_down");
        assert!(!is_pending || server.asked().len() == 2, "given up");
        // RFC 8628 §3.5, under any status.
        let expected = match said.as_str() {
            "access_denied" | "authorization_declined" => Some(ErrorCode::AccessDenied),
            "expired_token" => Some(ErrorCode::DeviceCodeExpired),
            _ => None,
        };
        assert!(expected.is_none_or(|code| code == error.code()), "{error}");
    }
    if let Err(failure) = parties.refresh(&PlayingServer::new([&played])) {
        check_refresh_failure(&failure, &played);
        // RFC 6749 §5.2, under any status; words that differ from the code's may change its meaning.
        let has_words = played.members().is_some_and(|members| members.len() > 1);
        if said == "invalid_grant" && !has_words {
            assert!(matches!(failure, RefreshFailure::Refused(_)), "{failure:?}");
        }
    }
    if let Err(error) = parties.authorize(&PlayingServer::new([&played])) {
        check_error(&error, &[CLIENT_SECRET], &[&played]);
    }
    match parties.revoke(&PlayingServer::new([&played])) {
        // RFC 7009 §2.2.1: "If the server responds with HTTP status code 503, the client must assume the token still
        // exists".
        Ok(()) => assert!(played.status < 300 || played.body.len() > 8),
        Err(error) => check_error(&error, &[CLIENT_SECRET, REFRESH_TOKEN], &[&played]),
    }
}

pub(crate) fn registration(input: &[u8]) {
    let Some(parties) = Parties::new() else {
        return;
    };
    let mut halves = input.splitn(2, |byte| *byte == 0xff);
    let mut next = || Played::new(halves.next().unwrap_or_default());
    let (Some(first), second) = (next(), next()) else {
        return;
    };
    let played: Vec<&Played> = [&first].into_iter().chain(second.as_ref()).collect();
    let server = PlayingServer::new(played.iter().copied());
    let outcome = parties.register(&server);
    let asked = server.asked();
    match outcome {
        Ok(registration) => {
            let client = &registration.client;
            assert!(
                !client.id.is_empty() && is_printable(&client.id),
                "{client:?}"
            );
            assert_eq!(
                client.secret.is_some(),
                client.authentication != ClientAuthentication::None
            );
            let uri = registration.registration_client_uri.as_deref();
            assert!(
                uri.is_none_or(|uri| Endpoint::parse(uri).is_ok() && is_printable(uri)),
                "{uri:?}"
            );
            let token = registration.registration_access_token.as_ref();
            assert!(token.is_none_or(is_token));
            let end = registration.secret_expires_at;
            assert!(end.is_none_or(|end| end > UnixMillis(0)));
        }
        // Values of an answer that were not asked for are no secrets of this library.
        Err(error) => check_error(
            &error,
            &[],
            &played
                .get(asked.len().saturating_sub(1))
                .copied()
                .into_iter()
                .collect::<Vec<_>>(),
        ),
    }
    // Once more with a redirect URI, and once more with the other client authentication; only after a refusal that may
    // be for one of them (RFC 7591 §3.2.2).
    let again = asked.len().saturating_sub(1);
    assert!(again <= 2);
    assert!(played.iter().take(again).all(|played| {
        let is_of_metadata =
            || played.member("error").as_deref() == Some("invalid_client_metadata");
        matches!(played.status, 400 | 422) || is_of_metadata()
    }));
    assert!(asked.iter().all(|url| *url == parties.endpoint.as_str()));
}

pub(crate) fn redirect(input: &[u8]) {
    let (Some(played), Some(parties)) = (Played::redirecting(input), Parties::new()) else {
        return;
    };
    let ask = |what: &dyn Fn(&PlayingServer) -> Result<(), Error>| {
        let server = PlayingServer::new([&played]);
        let outcome = what(&server);
        let asked = server.asked();
        assert!(asked.iter().all(|url| *url == parties.endpoint.as_str()));
        if let Err(error) = &outcome {
            check_error(error, &[], &[&played]);
        }
        (outcome.is_ok(), asked.len())
    };
    // One endpoint at a time; its number is in the status as well.
    match input.first().map_or(0, |first| first / 43) {
        0 => assert_eq!(ask(&|s| parties.authorize(s).map(drop)), (false, 1)),
        1 => assert_eq!(ask(&|s| parties.register(s).map(drop)), (false, 1)),
        2 => {
            let refreshed = |s: &_| {
                let outcome = parties.refresh(s);
                outcome.map(drop).map_err(|failure| failure.error().clone())
            };
            assert_eq!(ask(&refreshed), (false, 1));
        }
        3 => {
            // A body may say under any status that the login is pending; then there is one more poll.
            let (approved, polls) = ask(&|s| parties.poll(s).map(drop));
            assert!(!approved && polls <= 2);
        }
        4 => assert_eq!(ask(&|s| parties.revoke(s)).1, 1),
        _ => {
            let Ok(issuer) = Issuer::parse("https://a.example/tenant", &AllowHttp::default())
            else {
                return;
            };
            let server = PlayingServer::new([&played, &played]);
            assert!(block_on(discover(&server, &issuer, true, TIMEOUT)).is_err());
            let at_home = |url: &String| url.starts_with("https://a.example/");
            assert!(server.asked().iter().all(at_home));
        }
    }
}

pub(crate) fn server_text(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    // Some of the text is a secret.
    let secret: String = text.chars().skip(2).take(8).collect();
    let secrets = Secrets::new([Secret::from(secret.as_str())]);
    if let Some(description) = secrets.description(&text) {
        assert!(is_printable(&description) && !description.trim().is_empty());
        assert!(description.chars().count() <= 301);
        let removed = "[removed]";
        let is_of_ours = removed.contains(&secret) || secret.contains('…');
        // A secret with invisible characters cannot be found in a message, which hides them.
        if secret.len() >= 4 && is_printable(&secret) && !is_of_ours {
            // The last one of them may be cut.
            let whole = description.strip_suffix('…').and_then(|cut| {
                let mut starts = (1..removed.len())
                    .rev()
                    .filter_map(|end| removed.get(..end));
                starts.find_map(|start| cut.strip_suffix(start))
            });
            let rest = whole.unwrap_or(&description).replace(removed, "\n");
            assert!(!rest.contains(&secret), "{secret:?} in {description:?}");
        }
    }
    assert!(is_printable(&visible(&text)));
    assert_eq!(visible(&visible(&text)), visible(&text));
    if let Some(url) = safe_url(&text) {
        assert!(is_safe_to_open(&url), "{url:?}");
        assert_eq!(safe_url(&url).as_deref(), Some(url.as_str()));
        // The address shown is the address opened.
        assert_eq!(
            Url::parse(&url).ok(),
            Url::parse(visible(&text).trim()).ok()
        );
    }
    if let Some(url) = secrets.url(&text) {
        assert!(secret.len() < 4 || !url.contains(&secret), "{url:?}");
    }
}
