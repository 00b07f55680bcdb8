//! Login through the browser: deadlines, retries and clients. The rest is tested with a real server and a real browser.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use super::bench::{Bench, TOKEN_ENDPOINT, pass, refusal, tokens};
use crate::error::{Error, ErrorCode};
use crate::http::FailureKind;
use crate::http::scripted::{Received, ScriptedClient, response};
use crate::session::auth_status::{AuthStatus, State};
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::session::device_tokens::{Observer, Progress, ProgressKind};
use crate::session::verification::Verification;

#[derive(Default)]
struct Browser {
    page: Mutex<Option<Url>>,
    shown: Notify,
    progress: Mutex<Vec<ProgressKind>>,
}

impl Observer for Browser {
    fn verification(&self, verification: Verification) {
        *self.page.lock().unwrap() = Some(verification.verification_uri.parse().unwrap());
        self.shown.notify_one();
    }

    fn progress(&self, progress: Progress) {
        self.progress.lock().unwrap().push(progress.kind);
    }
}

impl Browser {
    fn parameter(&self, name: &str) -> String {
        let page = self.page.lock().unwrap();
        let mut pairs = page.as_ref().unwrap().query_pairs();
        pairs
            .find(|(found, _)| found == name)
            .unwrap()
            .1
            .into_owned()
    }

    /// Returns with a code, once the browser was sent out; gives the page that is then shown.
    async fn comes_back(&self) -> String {
        self.shown.notified().await;
        let back: Url = self.parameter("redirect_uri").parse().unwrap();
        let authority = format!("127.0.0.1:{}", back.port().unwrap());
        let mut stream = TcpStream::connect(&authority).await.unwrap();
        let state = self.parameter("state");
        let request =
            format!("GET /callback?code=c&state={state} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut shown = String::new();
        stream.read_to_string(&mut shown).await.unwrap();
        shown
    }
}

fn config(bench: &Bench, more: &Value) -> AuthConfig {
    let mut options = json!({
        "flow": "authorization_code",
        "authorizationEndpoint": "https://auth.example.com/authorize",
        "tokenEndpoint": TOKEN_ENDPOINT,
        "issuer": null,
    });
    for (name, value) in more.as_object().unwrap() {
        options[name] = value.clone();
    }
    bench.config_with(options)
}

async fn approved(bench: &Bench, config: &AuthConfig) -> (Result<AuthStatus, Error>, String) {
    let (browser, cancellation) = (Browser::default(), Cancellation::default());
    tokio::join!(
        bench.session.login(config, &browser, &cancellation),
        browser.comes_back()
    )
}

#[tokio::test(start_paused = true)]
async fn a_login_that_nobody_finishes_ends_after_ten_minutes() {
    let bench = Bench::new(ScriptedClient::new());
    let browser = Browser::default();
    let start = Instant::now();
    let outcome = bench
        .session
        .login(
            &config(&bench, &json!({})),
            &browser,
            &Cancellation::default(),
        )
        .await;
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    assert!(!error.is_retryable(), "nobody comes by calling again");
    assert_eq!(start.elapsed().as_secs(), 600);
    assert_eq!(*browser.progress.lock().unwrap(), [ProgressKind::Waiting]);
    let back: Url = browser.parameter("redirect_uri").parse().unwrap();
    let port = back.port().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn a_code_whose_request_never_left_is_sent_again() {
    let http = ScriptedClient::new()
        .fail(FailureKind::NotSent, "no route")
        .answer(200, &tokens("b1", "s1"));
    let bench = Bench::new(http);
    let config = config(&bench, &json!({}));
    let start = Instant::now();
    let (outcome, page) = approved(&bench, &config).await;
    assert_eq!(outcome.unwrap().state, State::Valid);
    assert!(page.contains("The login was approved"), "{page}");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(bench.http.received().len(), 2);
    assert_eq!(bench.token_with(&config).await.unwrap(), "b1");
}

#[tokio::test(start_paused = true)]
async fn an_abort_while_the_browser_is_out_leaves_the_old_login() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    let config = config(&bench, &json!({}));
    let (browser, cancellation) = (Browser::default(), Cancellation::default());
    let (outcome, accepted) = tokio::join!(
        bench.session.login(&config, &browser, &cancellation),
        async {
            pass(7).await;
            cancellation.cancel()
        }
    );
    assert!(accepted);
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::Aborted);
    assert_eq!(bench.token().await.unwrap(), "a1");
}

/// A server with dynamic registration that forgets the client named "c1".
fn registering(clients: &Mutex<u32>, request: &Received) -> crate::http::Response {
    if request.json.is_some() {
        let mut clients = clients.lock().unwrap();
        *clients += 1;
        let id = format!(r#"{{"client_id":"c{clients}","token_endpoint_auth_method":"none"}}"#);
        return response(201, &id);
    }
    let is_forgotten = request.parameter("client_id") == Some("c1") && *clients.lock().unwrap() > 0;
    match request.parameter("code") {
        Some("c") => response(200, &tokens("b1", "s1")),
        _ if is_forgotten => response(401, &refusal("invalid_client")),
        _ => response(400, &refusal("invalid_grant")),
    }
}

#[tokio::test]
async fn a_registered_client_is_tried_before_the_person_is() {
    let clients = Mutex::new(0);
    let bench = Bench::new(ScriptedClient::new().otherwise(move |r| Ok(registering(&clients, r))));
    let more =
        json!({ "clientId": null, "registrationEndpoint": "https://auth.example.com/register" });
    let config = config(&bench, &more);
    // The first is new, the second has been forgotten since, the third is known.
    for (round, client) in ["c1", "c2", "c2"].iter().enumerate() {
        let (outcome, _) = approved(&bench, &config).await;
        assert_eq!(
            outcome.unwrap().client_id.as_deref(),
            Some(*client),
            "{round}"
        );
    }
    let probes = bench.http.received();
    let probes = probes
        .iter()
        .filter(|request| request.parameter("code").is_some_and(|code| code != "c"));
    assert_eq!(
        probes.count(),
        2,
        "none for a client that was just registered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_could_not_take_it_is_found_before_the_browser_is_sent_out() {
    let bench = Bench::new(ScriptedClient::new());
    let _held = bench.lock();
    let browser = Browser::default();
    let config = config(&bench, &json!({ "lockTimeoutMs": 2000 }));
    let outcome = bench
        .session
        .login(&config, &browser, &Cancellation::default())
        .await;
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::StoreLocked);
    assert!(browser.page.lock().unwrap().is_none());
}

#[tokio::test]
async fn tokens_that_cannot_be_saved_are_revoked() {
    let (sender, held) = std::sync::mpsc::channel();
    let bench = Bench::new(ScriptedClient::new());
    let location = bench.location();
    let http = ScriptedClient::new()
        .reply(move |_| {
            let locked = crate::store::locked::Locked::try_acquire(
                &location,
                crate::blocking::MayBlock::in_test(),
            );
            sender.send(locked.unwrap().unwrap()).unwrap();
            Ok(response(200, &tokens("b1", "s1")))
        })
        .otherwise(|_| Ok(response(200, "")));
    let moved = Bench::new(http);
    let bench = Bench {
        folder: bench.folder,
        config: bench.config,
        ..moved
    };
    let more =
        json!({ "lockTimeoutMs": 50, "revocationEndpoint": "https://auth.example.com/revoke" });
    let (outcome, _) = approved(&bench, &config(&bench, &more)).await;
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::StoreLocked);
    assert_eq!(bench.revoked(), ["s1"]);
    drop(held);
}
