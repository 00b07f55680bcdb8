//! Login (docs/design.md 2, 4).

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::bench::{
    Bench, HOUR, ISSUER, REVOCATION_ENDPOINT, TOKEN_ENDPOINT, pass, refusal, tokens,
};
use crate::error::{Error, ErrorCode};
use crate::http::Response;
use crate::http::scripted::{Received, ScriptedClient, response};
use crate::secret::Secret;
use crate::session::auth_status::{AuthStatus, State};
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::session::device_tokens::{Observer, Progress, ProgressKind};
use crate::session::verification::Verification;
use crate::store::registration::{Shelf, StoredClient};
use crate::time::{Clock as _, UnixMillis};

const DEVICE_ENDPOINT: &str = "https://auth.example.com/device";
const REGISTRATION_ENDPOINT: &str = "https://auth.example.com/register";

#[derive(Default)]
struct Seen {
    codes: Mutex<Vec<String>>,
    progress: Mutex<Vec<ProgressKind>>,
}

impl Observer for Seen {
    fn verification(&self, verification: Verification) {
        self.codes.lock().unwrap().push(verification.user_code);
    }

    fn progress(&self, progress: Progress) {
        self.progress.lock().unwrap().push(progress.kind);
    }
}

impl Seen {
    fn codes(&self) -> usize {
        self.codes.lock().unwrap().len()
    }
}

fn authorization() -> String {
    json!({ "device_code": "canary", "user_code": "WDJB-MJHT", "verification_uri": "https://auth.example.com/go",
        "expires_in": 600, "interval": 5 })
    .to_string()
}

/// A server that approves at the second poll.
fn approving() -> ScriptedClient {
    ScriptedClient::new()
        .answer(200, &authorization())
        .answer(400, &refusal("authorization_pending"))
        .answer(200, &tokens("b1", "s1"))
}

/// A config that names the server's endpoints, so that nothing has to be discovered.
fn endpoints(bench: &Bench, more: &Value) -> AuthConfig {
    let mut options = json!({
        "deviceAuthorizationEndpoint": DEVICE_ENDPOINT,
        "tokenEndpoint": TOKEN_ENDPOINT,
        "revocationEndpoint": REVOCATION_ENDPOINT,
        "issuer": null,
    });
    for (name, value) in more.as_object().unwrap() {
        options[name] = value.clone();
    }
    bench.config_with(options)
}

async fn login(bench: &Bench, config: &AuthConfig) -> Result<AuthStatus, Error> {
    let cancellation = Cancellation::default();
    bench
        .session
        .login(config, &Seen::default(), &cancellation)
        .await
}

#[tokio::test(start_paused = true)]
async fn it_shows_the_code_waits_for_the_person_and_stores_what_comes() {
    let bench = Bench::new(approving());
    let config = endpoints(&bench, &json!({ "scopes": ["memory"] }));
    let seen = Seen::default();
    let start = Instant::now();
    let status = bench
        .session
        .login(&config, &seen, &Cancellation::default())
        .await
        .unwrap();
    assert_eq!(status.state, State::Valid);
    assert_eq!(status.scopes.unwrap(), ["memory"]);
    assert_eq!(bench.http.seconds_since(start), [0, 5, 10]);
    assert_eq!(*seen.codes.lock().unwrap(), ["WDJB-MJHT"]);
    assert_eq!(
        *seen.progress.lock().unwrap(),
        [
            ProgressKind::Waiting,
            ProgressKind::Waiting,
            ProgressKind::Approved
        ]
    );
    let file = bench.file();
    assert_eq!(file["access"], "b1");
    assert_eq!(file["refresh"], "s1");
    assert_eq!(file["tokenEndpoint"], TOKEN_ENDPOINT);
    assert_eq!(file["revocationEndpoint"], REVOCATION_ENDPOINT);
    assert_eq!(file["clientId"], "client");
    assert_eq!(bench.token_with(&config).await.unwrap(), "b1");
    // From here on its life is counted on the boot clock.
    bench.clock.jump(7 * HOUR);
    assert_eq!(bench.token_with(&config).await.unwrap(), "b1");
}

#[tokio::test(start_paused = true)]
async fn it_replaces_the_credential_of_any_issuer_and_what_a_refusal_taught() {
    let bench = Bench::expired(approving());
    let write = bench.overwrite();
    write("issuer", json!("https://other.example"));
    write("clientId", json!("other"));
    write(
        "lastRefresh",
        json!({ "failedAt": 1, "nextAttemptAt": 1, "code": "LOGIN_REQUIRED", "final": true, "boundTo": "" }),
    );
    let config = endpoints(&bench, &json!({}));
    assert_eq!(login(&bench, &config).await.unwrap().last_error, None);
    assert_eq!(bench.token_with(&config).await.unwrap(), "b1");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_could_not_take_it_is_found_before_anything_is_asked() {
    let bench = Bench::new(ScriptedClient::new());
    let path = bench.location().path().to_owned();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();

    // A newer version.
    std::fs::write(&path, r#"{"version":2}"#).unwrap();
    let error = login(&bench, &endpoints(&bench, &json!({})))
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreVersion);

    // A lock that does not come.
    std::fs::remove_file(&path).unwrap();
    let held = bench.lock();
    let start = Instant::now();
    let config = endpoints(&bench, &json!({ "lockTimeoutMs": 2000 }));
    let error = login(&bench, &config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreLocked);
    assert_eq!(start.elapsed().as_secs(), 2);
    drop(held);

    // A folder in the file's place.
    std::fs::create_dir(&path).unwrap();
    let error = login(&bench, &endpoints(&bench, &json!({})))
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreIo);
    assert!(bench.http.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_does_not_hinder_a_login_and_is_kept_aside() {
    for damaged in ["", "{", "[]", r#"{"version":1}"#] {
        let bench = Bench::new(approving());
        let path = bench.location().path().to_owned();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, damaged).unwrap();
        let config = endpoints(&bench, &json!({}));
        assert_eq!(login(&bench, &config).await.unwrap().state, State::Valid);
        let aside = std::fs::read_dir(path.parent().unwrap())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.contains(".corrupt-"));
        assert_eq!(aside.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_free_while_the_person_decides() {
    let bench = Bench::logged_in(approving(), 10, 3600);
    let config = endpoints(&bench, &json!({}));
    let meanwhile = async {
        pass(7).await;
        drop(bench.lock());
        assert_eq!(bench.token().await.unwrap(), "a1");
    };
    let (outcome, ()) = tokio::join!(login(&bench, &config), meanwhile);
    outcome.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_abort_while_the_person_decides_ends_it_at_once_and_leaves_the_old_login() {
    let bench = Bench::logged_in(approving(), 10, 3600);
    let config = endpoints(&bench, &json!({}));
    let (seen, cancellation) = (Seen::default(), Cancellation::default());
    let start = Instant::now();
    let (outcome, accepted) =
        tokio::join!(bench.session.login(&config, &seen, &cancellation), async {
            pass(7).await;
            cancellation.cancel()
        });
    assert!(accepted);
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::Aborted);
    assert_eq!(start.elapsed().as_secs(), 7);
    pass(600).await;
    assert_eq!(bench.http.received().len(), 2);
    assert_eq!(bench.token().await.unwrap(), "a1");
}

/// Another process takes the lock just before the person approves.
fn locked_at_approval() -> (
    Bench,
    std::sync::mpsc::Receiver<crate::store::locked::Locked>,
) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let bench = Bench::new(ScriptedClient::new());
    let location = bench.location();
    let http = ScriptedClient::new()
        .answer(200, &authorization())
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
    (bench, receiver)
}

#[tokio::test(start_paused = true)]
async fn an_abort_after_approval_while_the_lock_is_awaited_revokes_the_new_tokens() {
    let (bench, held) = locked_at_approval();
    let config = endpoints(&bench, &json!({}));
    let (seen, cancellation) = (Seen::default(), Cancellation::default());
    let (outcome, accepted) =
        tokio::join!(bench.session.login(&config, &seen, &cancellation), async {
            pass(10).await;
            cancellation.cancel()
        });
    assert!(accepted);
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::Aborted);
    assert_eq!(bench.revoked(), ["s1"]);
    drop(held);
    assert_eq!(bench.status().await.state, State::LoggedOut);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_does_not_come_after_approval_revokes_the_new_tokens() {
    let (bench, _held) = locked_at_approval();
    let config = endpoints(&bench, &json!({ "lockTimeoutMs": 3000 }));
    let error = login(&bench, &config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreLocked);
    assert_eq!(bench.revoked(), ["s1"]);
}

#[tokio::test(start_paused = true)]
async fn after_the_commit_an_abort_comes_too_late() {
    let bench = Bench::new(approving());
    let config = endpoints(&bench, &json!({}));
    let (seen, cancellation) = (Seen::default(), Cancellation::default());
    let outcome = bench.session.login(&config, &seen, &cancellation).await;
    assert!(!cancellation.cancel());
    assert_eq!(outcome.unwrap().state, State::Valid);
    assert!(bench.revoked().is_empty());
}

/// A server with dynamic registration, which counts the clients it has given.
fn registering(request: &Received) -> Response {
    match request.url.as_str() {
        REGISTRATION_ENDPOINT => response(
            201,
            r#"{"client_id":"new","token_endpoint_auth_method":"none"}"#,
        ),
        DEVICE_ENDPOINT if request.parameter("client_id") == Some("forgotten") => {
            response(401, &refusal("invalid_client"))
        }
        DEVICE_ENDPOINT => response(200, &authorization()),
        _ => response(200, &tokens("b1", "s1")),
    }
}

fn unregistered(bench: &Bench) -> AuthConfig {
    endpoints(
        bench,
        &json!({ "registrationEndpoint": REGISTRATION_ENDPOINT, "clientId": null }),
    )
}

fn registrations(bench: &Bench) -> usize {
    let asked = bench.http.received();
    asked
        .iter()
        .filter(|asked| asked.url == REGISTRATION_ENDPOINT)
        .count()
}

fn known_client(bench: &Bench, id: &str, secret_expires_at: Option<UnixMillis>) {
    let client = StoredClient {
        client_id: id.into(),
        client_secret: Some(Secret::from("secret")),
        secret_expires_at,
        authentication: "none".into(),
        redirect_uri: None,
        scopes: None,
        registration_client_uri: None,
        registration_access_token: None,
        created_at: bench.clock.now(),
    };
    let path = Shelf::of(&bench.location(), TOKEN_ENDPOINT).path();
    bench.lock();
    Shelf::at(&path)
        .save_with(&client, crate::blocking::MayBlock::in_test())
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_is_registered_once_and_outlives_a_logout() {
    let bench = Bench::new(ScriptedClient::new().otherwise(|request| Ok(registering(request))));
    let config = unregistered(&bench);
    for _ in 0..2 {
        let status = login(&bench, &config).await.unwrap();
        assert_eq!(status.client_id.as_deref(), Some("new"));
        assert_eq!(bench.file()["registeredClient"], true);
        let outcome = bench
            .session
            .logout(&config, &Cancellation::default())
            .await
            .unwrap();
        assert!(outcome.removed);
    }
    assert_eq!(registrations(&bench), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_the_server_forgot_is_registered_again_once() {
    let bench = Bench::new(ScriptedClient::new().otherwise(|request| Ok(registering(request))));
    known_client(&bench, "forgotten", None);
    let config = unregistered(&bench);
    let status = login(&bench, &config).await.unwrap();
    assert_eq!(status.client_id.as_deref(), Some("new"));
    assert_eq!(registrations(&bench), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_an_expired_secret_is_registered_again() {
    let bench = Bench::new(ScriptedClient::new().otherwise(|request| Ok(registering(request))));
    known_client(&bench, "old", Some(bench.clock.now()));
    let config = unregistered(&bench);
    let status = login(&bench, &config).await.unwrap();
    assert_eq!(status.client_id.as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_of_clients_does_not_hinder_a_login() {
    let bench = Bench::new(ScriptedClient::new().otherwise(|request| Ok(registering(request))));
    known_client(&bench, "lost", None);
    let path = Shelf::of(&bench.location(), TOKEN_ENDPOINT).path();
    std::fs::write(path, "damaged").unwrap();
    let config = unregistered(&bench);
    let status = login(&bench, &config).await.unwrap();
    assert_eq!(status.client_id.as_deref(), Some("new"));
    // The file is valid again.
    login(&bench, &config).await.unwrap();
    assert_eq!(registrations(&bench), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_under_way_is_awaited_and_then_replaced() {
    let http = ScriptedClient::new().otherwise(|request| {
        Ok(match request.parameter("grant_type") {
            Some("refresh_token") => response(200, &tokens("a2", "r2")),
            Some(_) => response(200, &tokens("b1", "s1")),
            None => response(200, &authorization()),
        })
    });
    let bench = Bench::expired(http);
    let config = bench.config_with(json!({
        "deviceAuthorizationEndpoint": DEVICE_ENDPOINT, "tokenEndpoint": TOKEN_ENDPOINT,
    }));
    let refreshing = async {
        tokio::time::sleep(Duration::from_millis(4999)).await;
        bench.token().await
    };
    let (outcome, refreshed) = tokio::join!(login(&bench, &config), refreshing);
    outcome.unwrap();
    assert_eq!(refreshed.unwrap(), "a2");
    assert_eq!(bench.token().await.unwrap(), "b1");
    assert_eq!(bench.file()["issuer"], ISSUER);
}

#[tokio::test(start_paused = true)]
async fn a_config_without_a_server_shows_no_code() {
    let bench = Bench::new(ScriptedClient::new());
    let config = bench.config_with(json!({ "issuer": null }));
    let (seen, cancellation) = (Seen::default(), Cancellation::default());
    let outcome = bench.session.login(&config, &seen, &cancellation).await;
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::InvalidConfig);
    assert_eq!(seen.codes(), 0);
}
