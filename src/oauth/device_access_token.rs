//! Polling the token endpoint until the person has decided (RFC 8628 §3.4, §3.5).

use std::time::Duration;

use super::answer::Answer;
use super::client::Client;
use super::dpop::Dpop;
use super::error_response::{ErrorKind, ErrorResponse};
use super::meaning::Meaning;
use super::pkce::PkceVerifier;
use super::poll_schedule::{Next, PollOutcome, PollSchedule};
use super::server_text::Secrets;
use super::token_request;
use super::token_response::TokenResponse;
use crate::error::{Error, ErrorCode};
use crate::http::{Endpoint, Failure, FailureKind, Form, HttpClient};
use crate::secret::Secret;
use crate::time::{BootInstant, Clock};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const WHAT: &str = "The login failed";
const ASKING: &str = "Asking for the tokens failed";
const START_AGAIN: &str = "Start the login again.";
/// The timer stops during suspend, the boot clock does not: look at it that often.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// A timer fires a little late; only a longer delay means that the machine was asleep.
const TIMER_SLACK: Duration = Duration::from_secs(1);

/// The device access token request.
pub(crate) struct DeviceAccessTokenRequest<'a> {
    /// The token endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// The client that polls.
    pub(crate) client: &'a Client,
    /// `device_code`
    pub(crate) device_code: &'a Secret,
    /// The verifier of the challenge in the device authorization request.
    pub(crate) pkce: Option<&'a PkceVerifier>,
    /// `resource` (RFC 8707)
    pub(crate) resources: &'a [String],
    /// Proves possession of the key that the tokens are bound to (RFC 9449 §5).
    pub(crate) dpop: Option<Dpop<'a>>,
    /// Further parameters.
    pub(crate) extra: &'a [(String, String)],
}

/// An event while the login waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PollEvent {
    /// The person has not decided yet.
    Waiting { next_poll_in: Duration },
    /// The server wants fewer polls.
    SlowDown {
        next_poll_in: Duration,
        interval: Duration,
    },
    /// A poll failed for a transient reason.
    Retrying {
        next_poll_in: Duration,
        reason: Error,
    },
    /// The person approved, and the tokens are here.
    Approved,
}

/// Polls until there are tokens, a refusal, or no time left. Dropping the future ends it at once.
pub(crate) async fn await_approval(
    http: &dyn HttpClient,
    clock: &dyn Clock,
    request: &DeviceAccessTokenRequest<'_>,
    interval: Duration,
    deadline: BootInstant,
    timeout: Duration,
    on_event: &(dyn Fn(PollEvent) + Send + Sync),
) -> Result<TokenResponse, Error> {
    let mut schedule = PollSchedule::new(interval, deadline);
    let mut last_failure: Option<Error> = None;
    let mut next = schedule.first(clock.boot());
    if let Next::Wait(next_poll_in) = next {
        on_event(PollEvent::Waiting { next_poll_in });
    }
    loop {
        let Next::Wait(wait) = next else {
            sleep_until(clock, deadline).await;
            return Err(expired(request.endpoint, last_failure.as_ref()));
        };
        sleep_until(clock, clock.boot().plus(wait)).await;
        if clock.boot() > deadline.plus(TIMER_SLACK) {
            return Err(expired(request.endpoint, last_failure.as_ref()));
        }
        let (outcome, failure) = match poll(http, clock, request, deadline, timeout).await {
            Polled::Tokens(tokens) => {
                on_event(PollEvent::Approved);
                return Ok(*tokens);
            }
            Polled::Over(error) => return Err(error),
            Polled::Undecided(outcome) => (outcome, None),
            Polled::Failed {
                retry_after,
                reason,
            } => (PollOutcome::Failed { retry_after }, Some(reason)),
        };
        next = schedule.next(outcome, clock.boot());
        if let Next::Wait(next_poll_in) = next {
            on_event(event(
                outcome,
                failure.clone(),
                next_poll_in,
                schedule.interval(),
            ));
        }
        last_failure = failure;
    }
}

fn event(
    outcome: PollOutcome,
    failure: Option<Error>,
    next_poll_in: Duration,
    interval: Duration,
) -> PollEvent {
    match (outcome, failure) {
        (_, Some(reason)) => PollEvent::Retrying {
            next_poll_in,
            reason,
        },
        (PollOutcome::SlowDown { .. }, None) => PollEvent::SlowDown {
            next_poll_in,
            interval,
        },
        (_, None) => PollEvent::Waiting { next_poll_in },
    }
}

/// Until then on the boot clock, which goes on while the machine is asleep.
pub(crate) async fn sleep_until(clock: &dyn Clock, then: BootInstant) {
    loop {
        let left = then.since(clock.boot());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

fn expired(endpoint: &Endpoint, last_failure: Option<&Error>) -> Error {
    let host = endpoint.host();
    let message = match last_failure {
        Some(failure) => format!(
            "The code expired before {host} could say that it was confirmed. The last attempt to ask failed: {failure} \
             {START_AGAIN}"
        ),
        None => format!("The code was not confirmed at {host} in time. {START_AGAIN}"),
    };
    Error::new(ErrorCode::DeviceCodeExpired, message)
}

/// The result of one poll.
enum Polled {
    Tokens(Box<TokenResponse>),
    Undecided(PollOutcome),
    Failed {
        retry_after: Option<Duration>,
        reason: Error,
    },
    Over(Error),
}

async fn poll(
    http: &dyn HttpClient,
    clock: &dyn Clock,
    request: &DeviceAccessTokenRequest<'_>,
    deadline: BootInstant,
    timeout: Duration,
) -> Polled {
    let sent = token_request::send(
        http,
        request.endpoint,
        request.client,
        request.form(),
        request.dpop,
        timeout,
    )
    .await;
    let mut answer = match sent {
        Ok(answer) => answer,
        Err(failure) => return failed(&failure, request.endpoint),
    };
    if let Some(refusal) = ErrorResponse::read(&answer, "access_token", &request.secrets()) {
        return refused(&answer, &refusal, clock.boot() >= deadline);
    }
    let has_token = answer
        .members()
        .is_some_and(|members| members.has("access_token"));
    if is_no_verdict(&answer, None) && !(answer.is_success() && has_token) {
        let error = answer.not_oauth(ASKING, None, "Check tokenEndpoint.");
        return passing(&answer, error);
    }
    let key = request.dpop.map(|dpop| dpop.key);
    match TokenResponse::of(&mut answer, clock.now(), key) {
        Some(Ok(tokens)) => Polled::Tokens(Box::new(tokens)),
        Some(Err(unusable)) => Polled::Over(answer.malformed(&unusable.reason)),
        None => Polled::Over(answer.not_oauth(WHAT, None, "Check tokenEndpoint.")),
    }
}

fn failed(failure: &Failure, endpoint: &Endpoint) -> Polled {
    let reason = failure.to_error(endpoint);
    match failure.kind {
        // RFC 8628 §3.5: "On encountering a connection timeout, clients MUST unilaterally reduce their polling
        // frequency before retrying."
        // A certificate that was valid for the code request and now is not belongs to a captive portal: transient. Its
        // page is transient too, of any size.
        FailureKind::NotSent
        | FailureKind::Broken
        | FailureKind::TimedOut
        | FailureKind::Unreadable
        | FailureKind::Certificate
        | FailureKind::Tls
        | FailureKind::Proxy => Polled::Failed {
            retry_after: None,
            reason,
        },
    }
}

/// Whether the answer says nothing about the login. This server has issued a code and speaks OAuth (RFC 6749 §5.2: in
/// a 400 or 401); an answer that is not an OAuth response comes from a gateway in between.
fn is_no_verdict(answer: &Answer, refusal: Option<&ErrorResponse>) -> bool {
    let has_code = refusal.is_some_and(|refusal| refusal.kind != ErrorKind::NoCode);
    Meaning::of(answer, refusal).passes() || !has_code && !matches!(answer.status, 400 | 401)
}

fn passing(answer: &Answer, reason: Error) -> Polled {
    Polled::Failed {
        retry_after: answer.retry_after,
        reason,
    }
}

fn refused(answer: &Answer, refusal: &ErrorResponse, is_late: bool) -> Polled {
    if refusal.kind != ErrorKind::SlowDown && is_no_verdict(answer, Some(refusal)) {
        let error = refusal.to_error(answer, ASKING, "Check tokenEndpoint.");
        return passing(answer, error);
    }
    let over =
        |code, what| Polled::Over(answer.error(code, what, Some(&refusal.oauth), START_AGAIN));
    match refusal.kind {
        // RFC 8628 §3.5: "The authorization request is still pending as the end user hasn't yet completed the
        // user-interaction steps"
        ErrorKind::AuthorizationPending => Polled::Undecided(PollOutcome::Pending),
        // RFC 8628 §3.5: 'A variant of "authorization_pending", the authorization request is still pending and polling
        // should continue'. Auth0 sends it with 429.
        ErrorKind::SlowDown => Polled::Undecided(PollOutcome::SlowDown {
            interval: refusal.interval,
            retry_after: answer.retry_after,
        }),
        // RFC 8628 §3.5: "The authorization request was denied."
        ErrorKind::AccessDenied => over(ErrorCode::AccessDenied, "The login was declined"),
        // RFC 8628 §3.5: 'The "device_code" has expired'
        ErrorKind::ExpiredToken => over(
            ErrorCode::DeviceCodeExpired,
            "The code expired before it was confirmed",
        ),
        // RFC 6749 §5.2: "The provided authorization grant … is invalid, expired, revoked": some say so of an old code.
        ErrorKind::InvalidGrant if is_late || refusal.mentions("expire") => {
            over(ErrorCode::DeviceCodeExpired, "The code is no longer valid")
        }
        _ => Polled::Over(refusal.to_error(answer, WHAT, START_AGAIN)),
    }
}

impl DeviceAccessTokenRequest<'_> {
    fn form(&self) -> Form {
        let mut form = Form::new();
        // RFC 8628 §3.4: 'Value MUST be set to "urn:ietf:params:oauth:grant-type:device_code".'
        form.append("grant_type", GRANT_TYPE);
        form.append("device_code", self.device_code.expose());
        if let Some(pkce) = self.pkce {
            form.append("code_verifier", pkce.verifier().expose());
        }
        for resource in self.resources {
            form.append("resource", resource);
        }
        form.append_all(self.extra);
        form
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::new(self.client.secrets());
        secrets.add(self.device_code.clone());
        if let Some(pkce) = self.pkce {
            secrets.add(pkce.verifier().clone());
        }
        secrets
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::Instant;

    use super::*;
    use crate::http::scripted::{ScriptedClient, response};
    use crate::oauth::client::ClientAuthentication;
    use crate::time::{TestClock, UnixMillis};

    const PENDING: &str = r#"{"error":"authorization_pending"}"#;
    const SLOW_DOWN: &str = r#"{"error":"slow_down"}"#;
    const TOKENS: &str =
        r#"{"access_token":"canary-access","token_type":"bearer","expires_in":3600}"#;
    const TIMEOUT: Duration = Duration::from_secs(30);

    fn client() -> Client {
        Client {
            id: "my-client".into(),
            secret: Some(Secret::from("canary-secret")),
            authentication: ClientAuthentication::ClientSecretPost,
            assertions: None,
        }
    }

    /// Whether it ended well, all events, and the seconds at which it polled.
    struct Run {
        end: Result<TokenResponse, Error>,
        events: Vec<PollEvent>,
        polls: Vec<u64>,
        took: u64,
    }

    async fn run_on(
        clock: &dyn Clock,
        http: &ScriptedClient,
        interval: u64,
        expires_in: u64,
    ) -> Run {
        let start = Instant::now();
        let events = Mutex::new(Vec::new());
        let endpoint = Endpoint::parse("https://a.example/token?q=canary").unwrap();
        let pkce = PkceVerifier::generate().unwrap();
        let client = client();
        let request = DeviceAccessTokenRequest {
            endpoint: &endpoint,
            client: &client,
            device_code: &Secret::from("canary-code"),
            pkce: Some(&pkce),
            resources: &["https://r.example".into()],
            dpop: None,
            extra: &[("x".into(), "y".into())],
        };
        let deadline = clock.boot().plus(Duration::from_secs(expires_in));
        let interval = Duration::from_secs(interval);
        let end = await_approval(
            http,
            clock,
            &request,
            interval,
            deadline,
            TIMEOUT,
            &|event| {
                events.lock().unwrap().push(event);
            },
        )
        .await;
        let events = events.into_inner().unwrap();
        if let Err(error) = &end {
            let printed = format!("{error:?} {events:?} {:?}", error.oauth());
            assert!(
                !printed.contains("canary") && !printed.contains(pkce.verifier().expose()),
                "{printed}"
            );
            assert!(error.message().contains("a.example"), "{error}");
        }
        Run {
            end,
            events,
            polls: http.seconds_since(start),
            took: start.elapsed().as_secs(),
        }
    }

    async fn run(http: ScriptedClient, interval: u64, expires_in: u64) -> Run {
        let clock = TestClock::starting_at(UnixMillis(1_700_000_000_000));
        run_on(&clock, &http, interval, expires_in).await
    }

    /// Plays the answers, then approves; gives the polling times.
    async fn polls(answers: &[(u16, &str)]) -> Vec<u64> {
        let mut http = ScriptedClient::new();
        for (status, body) in answers {
            http = http.answer(*status, body);
        }
        let run = run(http.answer(200, TOKENS), 5, 900).await;
        assert!(run.end.is_ok());
        run.polls
    }

    async fn end(status: u16, body: &str) -> Error {
        let run = run(ScriptedClient::new().answer(status, body), 5, 900).await;
        assert_eq!(run.polls, [5]);
        run.end.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_one_interval_before_the_first_poll_and_ends_with_success() {
        let http = ScriptedClient::new()
            .answer(400, PENDING)
            .answer(200, TOKENS);
        let clock = TestClock::starting_at(UnixMillis(0));
        let run = run_on(&clock, &http, 5, 900).await;
        // a third request would have failed the test: nothing is asked after success
        assert_eq!(run.polls, [5, 10]);
        let tokens = run.end.unwrap();
        assert_eq!(tokens.access.expose(), "canary-access");
        assert_eq!(tokens.lifetime, Some(Duration::from_hours(1)));
        let five = Duration::from_secs(5);
        let waiting = PollEvent::Waiting { next_poll_in: five };
        assert_eq!(run.events, [waiting.clone(), waiting, PollEvent::Approved]);

        let sent = &http.received()[0];
        for (name, value) in [
            ("grant_type", GRANT_TYPE),
            ("device_code", "canary-code"),
            ("client_id", "my-client"),
            ("client_secret", "canary-secret"),
            ("resource", "https://r.example"),
            ("x", "y"),
        ] {
            assert_eq!(sent.parameter(name), Some(value), "{name}");
        }
        assert_eq!(sent.parameter("code_verifier").unwrap().len(), 43);
        assert_eq!(sent.timeout, TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_interval_counts_from_the_end_of_the_last_poll() {
        let slow = Duration::from_secs(3);
        let http = ScriptedClient::new()
            .reply_after(slow, |_| Ok(response(400, PENDING)))
            .answer(200, TOKENS);
        assert_eq!(run(http, 5, 900).await.polls, [5, 13]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_down_is_kept_and_never_fatal() {
        let pending = (400, PENDING);
        assert_eq!(
            polls(&[(400, SLOW_DOWN), pending, pending]).await,
            [5, 15, 25, 35]
        );
        assert_eq!(
            polls(&[(429, SLOW_DOWN), (400, SLOW_DOWN), pending]).await,
            [5, 15, 30, 45]
        );
        let with_interval = (200, "error=slow_down&interval=20");
        assert_eq!(
            polls(&[with_interval, pending, (400, SLOW_DOWN)]).await,
            [5, 25, 45, 70]
        );
        let smaller = (400, r#"{"error":"slow_down","interval":1}"#);
        assert_eq!(polls(&[smaller, pending]).await, [5, 15, 25]);
        let hostile = (400, r#"{"error":"slow_down","interval":-1e300}"#);
        assert_eq!(polls(&[hostile]).await, [5, 15]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_down_is_told() {
        let run = run(
            ScriptedClient::new()
                .answer(429, SLOW_DOWN)
                .answer(200, TOKENS),
            5,
            900,
        )
        .await;
        let ten = Duration::from_secs(10);
        assert_eq!(
            run.events[1],
            PollEvent::SlowDown {
                next_poll_in: ten,
                interval: ten
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn passing_failures_double_the_wait_until_the_next_oauth_answer() {
        let pending = (400, PENDING);
        for failing in [
            (500, ""),
            (502, "<html>"),
            (503, r#"{"error":"Service Unavailable"}"#),
            (408, ""),
            (429, r#"{"error":"rate_limit_exceeded"}"#),
            (500, r#"{"error":"server_error"}"#),
            (400, r#"{"error":"temporarily_unavailable"}"#),
        ] {
            assert_eq!(
                polls(&[failing, failing, failing, failing, pending, failing]).await,
                [5, 15, 35, 65, 95, 100, 110],
                "{failing:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_failures_double_the_wait_too() {
        let http = ScriptedClient::new()
            .fail(FailureKind::NotSent, "connection refused")
            .fail(FailureKind::Broken, "connection reset")
            .fail(FailureKind::Certificate, "a captive portal's")
            .answer(400, PENDING)
            .answer(200, TOKENS);
        let run = run(http, 5, 900).await;
        assert_eq!(run.polls, [5, 15, 35, 65, 70]);
        let PollEvent::Retrying {
            next_poll_in,
            reason,
        } = &run.events[1]
        else {
            panic!("{:?}", run.events)
        };
        assert_eq!(*next_poll_in, Duration::from_secs(10));
        assert_eq!(reason.code(), ErrorCode::Network);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_obeyed_up_to_a_minute() {
        let busy = |seconds| {
            let mut busy = response(503, "");
            busy.retry_after = Some(Duration::from_secs(seconds));
            busy
        };
        let http = ScriptedClient::new()
            .respond(busy(45))
            .respond(busy(3600))
            .answer(400, PENDING)
            .answer(200, TOKENS);
        assert_eq!(run(http, 5, 900).await.polls, [5, 50, 110, 115]);
    }

    #[tokio::test(start_paused = true)]
    async fn pending_for_long_ends_with_the_last_poll_that_the_interval_allows() {
        let http = ScriptedClient::new().otherwise(|_| Ok(response(428, PENDING)));
        let run = run(http, 5, 1802).await;
        assert_eq!(run.polls.len(), 360);
        assert_eq!(run.polls.last(), Some(&1800));
        assert_eq!(run.took, 1802);
        let error = run.end.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeviceCodeExpired);
        assert!(error.message().contains("not confirmed"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_at_the_very_end_is_allowed() {
        let http = ScriptedClient::new()
            .answer(400, PENDING)
            .answer(200, TOKENS);
        assert!(run(http, 5, 10).await.end.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_named_at_the_end() {
        let http = ScriptedClient::new().otherwise(|_| {
            Err(Failure {
                kind: FailureKind::NotSent,
                detail: "connection refused".into(),
            })
        });
        let run = run(http, 5, 60).await;
        assert_eq!(run.polls, [5, 15, 35, 55, 60]);
        let error = run.end.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeviceCodeExpired);
        assert!(error.message().contains("connection refused"), "{error}");
    }

    /// A boot clock that runs ahead of tokio's by as long as the machine slept.
    struct Suspending {
        inner: TestClock,
        slept: AtomicU64,
    }

    impl Clock for Suspending {
        fn now(&self) -> UnixMillis {
            self.inner.now()
        }

        fn boot(&self) -> BootInstant {
            self.inner
                .boot()
                .plus(Duration::from_secs(self.slept.load(Ordering::SeqCst)))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn suspend_counts() {
        for (slept, polls, expired) in [(3600, 2, true), (100, 3, false)] {
            let clock = Suspending {
                inner: TestClock::starting_at(UnixMillis(0)),
                slept: AtomicU64::new(0),
            };
            let http = ScriptedClient::new()
                .answer(400, PENDING)
                .answer(400, PENDING)
                .answer(200, TOKENS);
            let (run, ()) = tokio::join!(run_on(&clock, &http, 20, 900), async {
                tokio::time::sleep(Duration::from_secs(41)).await;
                clock.slept.store(slept, Ordering::SeqCst);
            });
            assert_eq!(run.polls.len(), polls);
            assert_eq!(
                run.end
                    .is_err_and(|e| e.code() == ErrorCode::DeviceCodeExpired),
                expired
            );
            assert!(run.took <= 46, "noticed after {} s", run.took);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn decisions_end_it_under_any_status() {
        use ErrorCode::{AccessDenied, DeviceCodeExpired, OauthError};
        for status in [200, 400, 401, 403, 500] {
            for (code, expected) in [
                ("access_denied", AccessDenied),
                ("authorization_declined", AccessDenied),
                ("expired_token", DeviceCodeExpired),
                ("code_expired", DeviceCodeExpired),
                ("token_expired", DeviceCodeExpired),
                ("device_code_expired", DeviceCodeExpired),
                ("incorrect_device_code", OauthError),
                ("bad_verification_code", OauthError),
                ("invalid_client", OauthError),
                ("invalid_grant", OauthError),
                ("unsupported_grant_type", OauthError),
            ] {
                let body = format!(
                    r#"{{"error":"{code}","error_description":"canary-code, canary-secret\u001b[2J"}}"#
                );
                let error = end(status, &body).await;
                assert_eq!(error.code(), expected, "{status} {code}");
                assert_eq!(error.status(), Some(status));
                assert_eq!(error.oauth().unwrap().error, code);
                assert!(!error.is_retryable());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn invalid_grant_of_an_old_code_is_expiry() {
        let told =
            r#"{"error":"invalid_grant","error_description":"Invalid or expired device code."}"#;
        assert_eq!(end(403, told).await.code(), ErrorCode::DeviceCodeExpired);
        // answered only after the deadline
        let http = ScriptedClient::new().reply_after(Duration::from_secs(10), |_| {
            Ok(response(400, r#"{"error":"invalid_grant"}"#))
        });
        assert_eq!(
            run(http, 5, 10).await.end.unwrap_err().code(),
            ErrorCode::DeviceCodeExpired
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_verdict_of_the_server_ends_nothing() {
        for (status, body) in [
            (404, "<html>Not found</html>"),
            (403, "<html>Just a moment</html>"),
            (403, "error code: 1010"),
            (403, r#"{"message":"Forbidden"}"#),
            (404, ""),
            (200, "<html>Sign in to the network</html>"),
            (200, ""),
            (200, "{}"),
            (200, "[]"),
            (302, ""),
            (400, "<html>"),
            (409, r#"{"message":"Conflict"}"#),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"A request for this code is being processed"}"#,
            ),
        ] {
            let http = ScriptedClient::new()
                .answer(400, PENDING)
                .answer(status, body)
                .answer(200, TOKENS);
            let run = run(http, 5, 900).await;
            assert!(run.end.is_ok(), "{status} {body}");
            assert_eq!(run.polls, [5, 10, 20], "{status} {body}");
            assert!(matches!(run.events[2], PollEvent::Retrying { .. }));
        }
        let too_large = ScriptedClient::new().fail(FailureKind::Unreadable, "the cause");
        assert!(run(too_large.answer(200, TOKENS), 5, 900).await.end.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_to_the_end_is_named_at_the_end() {
        let http = ScriptedClient::new().otherwise(|_| Ok(response(404, "<html>canary")));
        let error = run(http, 5, 60).await.end.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeviceCodeExpired);
        assert!(error.message().contains("HTTP 404"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_no_poll_will_fix_ends_it() {
        for (status, body) in [
            (200, r#"{"access_token":"canary-access x"}"#),
            (
                200,
                r#"{"access_token":"canary-access","token_type":"mac"}"#,
            ),
            (400, r#"{"message":"canary-code is odd"}"#),
            (400, ""),
        ] {
            let error = end(status, body).await;
            assert_eq!(error.code(), ErrorCode::InvalidResponse, "{status} {body}");
        }
    }
}
