//! A login that a plugin wrote by hand into its install folder (docs/design.md 4).

use std::path::PathBuf;

use serde_json::{Value, json};

use super::bench::{Bench, ISSUER, REVOCATION_ENDPOINT, TOKEN_ENDPOINT, code, pass, rotating};
use crate::error::ErrorCode;
use crate::http::scripted::{ScriptedClient, response};
use crate::session::auth_status::State;
use crate::session::cancellation::Cancellation;
use crate::time::Clock as _;

fn old_place(bench: &Bench) -> PathBuf {
    bench.folder.path().join("extensions/demo/credentials.json")
}

/// A login in the old place, an hour of life left unless said otherwise.
fn handwritten(http: ScriptedClient, more: &Value) -> Bench {
    let bench = Bench::new(http);
    let mut login = json!({
        "access": "h1", "refresh": "r1", "expires": bench.clock.now().0 / 1000 + 3600,
    });
    for (name, value) in more.as_object().unwrap() {
        login[name] = value.clone();
    }
    let path = old_place(&bench);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, login.to_string()).unwrap();
    bench
}

#[tokio::test(start_paused = true)]
async fn it_is_taken_over_and_bound_to_the_present_config() {
    let bench = handwritten(rotating(3600), &json!({}));
    let config = bench.config_with(json!({
        "tokenEndpoint": TOKEN_ENDPOINT, "revocationEndpoint": REVOCATION_ENDPOINT,
    }));
    assert_eq!(bench.token_with(&config).await.unwrap(), "h1");
    let file = bench.file();
    assert_eq!(file["version"], 1);
    assert_eq!(file["issuer"], ISSUER);
    assert_eq!(file["tokenEndpoint"], TOKEN_ENDPOINT);
    assert_eq!(file["revocationEndpoint"], REVOCATION_ENDPOINT);
    assert_eq!(file["clientId"], "client");
    // Seconds in the old file.
    assert_eq!(file["expires"], bench.clock.now().0 + 3_600_000);
    assert!(!old_place(&bench).exists());
    assert!(
        old_place(&bench)
            .with_file_name("credentials.json.adopted")
            .exists()
    );
    pass(3600).await;
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
    assert_eq!(bench.file()["issuer"], ISSUER);
    // Another server's config is refused from now on.
    let other = bench.config_with(json!({ "issuer": "https://other.example" }));
    assert_eq!(
        code(&bench.token_with(&other).await),
        ErrorCode::IssuerMismatch
    );
}

#[tokio::test(start_paused = true)]
async fn one_of_another_client_or_server_is_refused_and_left_alone() {
    for more in [
        json!({ "clientId": "other" }),
        json!({ "client_id": "other" }),
        json!({ "issuer": "https://other.example" }),
        json!({ "token_endpoint": "https://other.example/token" }),
    ] {
        let bench = handwritten(ScriptedClient::new(), &more);
        let config = bench.config_with(json!({ "tokenEndpoint": TOKEN_ENDPOINT }));
        let outcome = bench.token_with(&config).await;
        assert_eq!(code(&outcome), ErrorCode::IssuerMismatch, "{more}");
        assert!(old_place(&bench).exists());
        assert!(!bench.location().path().exists());
        assert_eq!(
            bench.session.status(&config).await.unwrap().state,
            State::LoggedOut
        );
    }
}

#[tokio::test(start_paused = true)]
async fn callers_at_once_adopt_it_once() {
    let bench = handwritten(ScriptedClient::new(), &json!({}));
    let other = bench.another_process();
    let (a, b, c) = tokio::join!(bench.token(), bench.token(), bench.token_of(&other));
    for token in [a, b, c] {
        assert_eq!(token.unwrap(), "h1");
    }
    let adopted = std::fs::read_dir(old_place(&bench).parent().unwrap()).unwrap();
    assert_eq!(adopted.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_one_is_refreshed_in_the_same_call() {
    let bench = handwritten(
        rotating(3600),
        &json!({ "expires": 1_600_000_000, "token_endpoint": TOKEN_ENDPOINT }),
    );
    let config = bench.config_with(json!({ "tokenEndpoint": TOKEN_ENDPOINT }));
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_logout_it_never_comes_back() {
    let bench = handwritten(
        ScriptedClient::new().otherwise(|_| Ok(response(200, ""))),
        &json!({}),
    );
    let old = std::fs::read(old_place(&bench)).unwrap();
    assert_eq!(bench.token().await.unwrap(), "h1");
    bench
        .session
        .logout(&bench.config, &Cancellation::default())
        .await
        .unwrap();
    std::fs::write(old_place(&bench), old).unwrap();
    assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
    assert_eq!(bench.status().await.state, State::LoggedOut);
}

#[tokio::test(start_paused = true)]
async fn a_logout_before_it_was_adopted_counts_too() {
    let bench = handwritten(
        ScriptedClient::new().otherwise(|_| Ok(response(200, ""))),
        &json!({}),
    );
    let ended = bench
        .session
        .logout(&bench.config, &Cancellation::default())
        .await
        .unwrap();
    assert!(ended.removed && !old_place(&bench).exists());
    assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
}

#[tokio::test(start_paused = true)]
async fn it_never_replaces_a_credential_and_never_fills_an_exact_path() {
    let bench = handwritten(ScriptedClient::new(), &json!({}));
    let exact = bench.config_with(json!({ "credentialsPath": bench.folder.path().join("c.json") }));
    assert_eq!(
        code(&bench.token_with(&exact).await),
        ErrorCode::LoginRequired
    );
    bench.store(&bench.credential("a1", Some("r1"), 0, 3600));
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert!(old_place(&bench).exists());
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_refreshed_by_this_config_serves_to_its_end() {
    let bench = handwritten(ScriptedClient::new(), &json!({}));
    let config = bench.config_with(json!({ "clientId": null }));
    assert_eq!(bench.token_with(&config).await.unwrap(), "h1");
    pass(3600).await;
    let error = bench.token_with(&config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LoginRequired);
    assert!(error.message().contains("cannot be refreshed"), "{error}");
    assert_eq!(
        code(&bench.token_with(&config).await),
        ErrorCode::LoginRequired
    );
    assert!(bench.http.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_does_not_come_or_an_abort_leaves_it_for_the_next_call() {
    let bench = handwritten(ScriptedClient::new(), &json!({}));
    let held = bench.lock();
    let config = bench.config_with(json!({ "lockTimeoutMs": 1000 }));
    assert_eq!(
        code(&bench.token_with(&config).await),
        ErrorCode::StoreLocked
    );
    drop(held);
    assert_eq!(bench.token_with(&config).await.unwrap(), "h1");
}
