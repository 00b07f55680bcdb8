//! Logout (docs/design.md 1, 3.4).

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::bench::{Bench, ISSUER, REVOCATION_ENDPOINT, code, pass};
use crate::error::{Error, ErrorCode};
use crate::http::FailureKind::{NotSent, TimedOut};
use crate::http::scripted::{ScriptedClient, response};
use crate::secret::Secret;
use crate::session::auth_status::State;
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::session::logout::LoggedOut;
use crate::store::registration::{Shelf, StoredClient};
use crate::time::Clock as _;

async fn logout(bench: &Bench, config: &AuthConfig) -> Result<LoggedOut, Error> {
    bench.session.logout(config, &Cancellation::default()).await
}

#[tokio::test(start_paused = true)]
async fn the_credential_is_removed_first_and_then_both_tokens_are_revoked() {
    let bench = Bench::new(ScriptedClient::new());
    let path = bench.location().path().to_owned();
    let http = ScriptedClient::new()
        .reply(move |request| {
            let file = std::fs::read_to_string(&path).unwrap();
            assert!(file.contains("loggedOutAt") && !file.contains("r1"));
            assert_eq!(request.parameter("token_type_hint"), Some("refresh_token"));
            Ok(response(200, ""))
        })
        .answer(200, "");
    let moved = Bench::new(http);
    let bench = Bench {
        folder: bench.folder,
        config: bench.config,
        ..moved
    };
    bench.store(&bench.credential("a1", Some("r1"), 10, 3600));
    assert_eq!(bench.token().await.unwrap(), "a1");
    let outcome = logout(&bench, &bench.config).await.unwrap();
    assert!(outcome.revoked && outcome.removed);
    assert_eq!(bench.revoked(), ["r1", "a1"]);
    assert!(
        bench
            .http
            .received()
            .iter()
            .all(|request| request.url == REVOCATION_ENDPOINT)
    );
    for session in [&bench.session, &bench.another_process()] {
        assert_eq!(
            code(&bench.token_of(session).await),
            ErrorCode::LoginRequired
        );
    }
    let again = logout(&bench, &bench.config).await.unwrap();
    assert!(!again.revoked && !again.removed);
}

#[tokio::test(start_paused = true)]
async fn it_is_removed_even_if_the_server_fails() {
    for http in [
        ScriptedClient::new().otherwise(|_| Ok(response(503, ""))),
        ScriptedClient::new().otherwise(|_| Ok(response(400, r#"{"error":"invalid_client"}"#))),
        ScriptedClient::new()
            .fail(NotSent, "refused")
            .fail(TimedOut, "30 s"),
    ] {
        let bench = Bench::logged_in(http, 10, 3600);
        let outcome = logout(&bench, &bench.config).await.unwrap();
        assert!(!outcome.revoked && outcome.removed);
        assert_eq!(bench.status().await.state, State::LoggedOut);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_while_the_server_is_asked_ends_it_at_once_and_leaves_nobody_logged_in() {
    let http =
        ScriptedClient::new().reply_after(Duration::from_secs(20), |_| Ok(response(200, "")));
    let bench = Bench::logged_in(http, 10, 3600);
    let cancellation = Cancellation::default();
    let start = Instant::now();
    let (outcome, accepted) =
        tokio::join!(bench.session.logout(&bench.config, &cancellation), async {
            pass(1).await;
            cancellation.cancel()
        });
    assert!(!accepted, "it is removed: its outcome stands");
    let outcome = outcome.unwrap();
    assert!(outcome.removed && !outcome.revoked);
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(bench.status().await.state, State::LoggedOut);
}

#[tokio::test(start_paused = true)]
async fn an_abort_while_the_lock_is_awaited_changes_nothing() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    let held = bench.lock();
    let cancellation = Cancellation::default();
    let (outcome, _) = tokio::join!(bench.session.logout(&bench.config, &cancellation), async {
        pass(1).await;
        cancellation.cancel()
    });
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::Aborted);
    drop(held);
    assert_eq!(bench.token().await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn only_the_stored_revocation_endpoint_is_asked() {
    let bench = Bench::new(ScriptedClient::new());
    let mut credential = bench.credential("a1", Some("r1"), 10, 3600);
    credential.revocation_endpoint = None;
    bench.store(&credential);
    let config =
        bench.config_with(json!({ "revocationEndpoint": "https://auth.example.com/other" }));
    let outcome = logout(&bench, &config).await.unwrap();
    assert!(!outcome.revoked && outcome.removed);
    assert!(bench.http.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_a_config_that_means_another_server_or_client_is_not_sent() {
    for options in [
        json!({ "issuer": "https://other.example", "clientSecret": "canary" }),
        json!({ "tokenEndpoint": "https://other.example/token", "clientSecret": "canary" }),
        json!({ "clientId": "other", "clientSecret": "canary" }),
    ] {
        let bench = Bench::logged_in(
            ScriptedClient::new().otherwise(|_| Ok(response(200, ""))),
            10,
            3600,
        );
        let config = bench.config_with(options);
        let outcome = logout(&bench, &config).await.unwrap();
        assert!(outcome.revoked && outcome.removed);
        for request in bench.http.received() {
            assert_eq!(request.url, REVOCATION_ENDPOINT);
            assert_eq!(request.parameter("client_id"), Some("client"));
            assert_eq!(request.parameter("client_secret"), None);
            assert_eq!(request.authorization, None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registered_client_proves_itself_with_its_registered_secret() {
    let bench = Bench::new(ScriptedClient::new().otherwise(|_| Ok(response(200, ""))));
    let mut credential = bench.credential("a1", Some("r1"), 10, 3600);
    credential.registered_client = true;
    bench.store(&credential);
    let client = StoredClient {
        client_id: "client".into(),
        client_secret: Some(Secret::from("registered-secret")),
        secret_expires_at: None,
        authentication: "client_secret_post".into(),
        redirect_uri: None,
        scopes: None,
        registration_client_uri: None,
        registration_access_token: None,
        created_at: bench.clock.now(),
    };
    Shelf::of(&bench.location(), ISSUER)
        .save_with(&client, crate::blocking::MayBlock::in_test())
        .unwrap();
    // Even where the config has moved on to another client.
    let config = bench.config_with(json!({ "clientId": "other" }));
    assert!(logout(&bench, &config).await.unwrap().revoked);
    let request = bench.http.received().remove(0);
    assert_eq!(
        request.parameter("client_secret"),
        Some("registered-secret")
    );
}

#[tokio::test(start_paused = true)]
async fn a_logout_waits_for_a_refresh_that_is_under_way_and_revokes_its_result() {
    let http = ScriptedClient::new()
        .reply_after(Duration::from_secs(5), |_| {
            Ok(response(200, &super::bench::tokens("a2", "r2")))
        })
        .otherwise(|_| Ok(response(200, "")));
    let bench = Bench::expired(http);
    let logout = async {
        pass(1).await;
        logout(&bench, &bench.config).await
    };
    let (token, outcome) = tokio::join!(bench.token(), logout);
    assert_eq!(token.unwrap(), "a2");
    assert!(outcome.unwrap().removed);
    assert_eq!(bench.revoked(), ["r2", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_credential_is_logged_out_of_too() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    std::fs::write(bench.location().path(), "damaged").unwrap();
    assert!(!logout(&bench, &bench.config).await.unwrap().removed);
    assert_eq!(bench.status().await.state, State::LoggedOut);
}
