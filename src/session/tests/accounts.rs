//! The account of a call, and the accounts that an order skips (docs/design.md 1).

use serde_json::{Value, json};

use super::bench::{Bench, ISSUER, code, refusal, rotating};
use crate::blocking::Glance;
use crate::error::ErrorCode;
use crate::http::FailureKind::NotSent;
use crate::http::scripted::ScriptedClient;
use crate::session::auth_status::State;
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::store::locked::Locked;

/// Accounts by name, each logged in with the access token of that name, which has the given seconds left.
fn bench(http: ScriptedClient, accounts: &[(&str, Option<&str>, i64)]) -> Bench {
    let bench = Bench::new(http);
    for (profile, refresh, left) in accounts {
        let config = bench.config_with(json!({ "profile": profile }));
        let location = bench
            .session
            .location(&config, crate::blocking::Look::LONG)
            .unwrap();
        let credential = bench.credential(profile, *refresh, 3600, 3600 + left);
        Locked::try_acquire(&location, crate::blocking::MayBlock::in_test())
            .unwrap()
            .unwrap()
            .replace(&credential)
            .unwrap();
    }
    bench
}

fn ordered(bench: &Bench, order: &[&str]) -> AuthConfig {
    bench.config_with(json!({ "order": order }))
}

fn refused(config: Value) -> String {
    let error = AuthConfig::parse(config).err().unwrap();
    assert_eq!(error.code(), ErrorCode::InvalidConfig);
    error.message().to_owned()
}

#[tokio::test(start_paused = true)]
async fn profile_goes_before_order_before_the_stored_order_before_default() {
    let accounts = ["default", "home", "work"].map(|name| (name, None, 3600));
    let bench = bench(ScriptedClient::new(), &accounts);
    assert_eq!(bench.token().await.unwrap(), "default");
    let set = |order: Value| {
        let names = serde_json::from_value(order).unwrap();
        bench.session.profile_order(&bench.config, Some(names))
    };
    let stored = set(json!(["demo:home", "work"])).await.unwrap();
    assert_eq!(stored.unwrap(), ["home", "work"]);
    assert_eq!(bench.token().await.unwrap(), "home");
    let other = bench.another_process();
    assert_eq!(bench.token_of(&other).await.unwrap(), "home");
    let named = ordered(&bench, &["demo:work", "home"]);
    assert_eq!(bench.token_with(&named).await.unwrap(), "work");
    let explicit = bench.config_with(json!({ "order": ["work"], "profile": "demo:default" }));
    assert_eq!(bench.token_with(&explicit).await.unwrap(), "default");
    assert_eq!(
        bench
            .session
            .profile_order(&bench.config, None)
            .await
            .unwrap()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(set(json!([])).await.unwrap(), None);
    assert_eq!(bench.token().await.unwrap(), "default");
}

#[test]
fn what_names_no_account_of_the_plugin_is_refused() {
    for option in [
        json!({ "profile": "other:work" }),
        json!({ "order": ["work", "other:work"] }),
    ] {
        let mut config = option;
        config["pluginId"] = json!("demo");
        let message = refused(config);
        assert!(
            message.contains("other:work") && message.contains("demo:<profile>"),
            "{message}"
        );
    }
    refused(json!({ "pluginId": "demo", "profile": "demo:" }));
    refused(json!({ "pluginId": "demo", "order": [""] }));
    refused(json!({ "pluginId": "demo", "order": "work" }));
    let twice = refused(json!({ "pluginId": "demo", "order": ["work", "demo:work"] }));
    assert!(twice.contains("twice"), "{twice}");
    let path =
        refused(json!({ "pluginId": "demo", "order": ["a"], "credentialsPath": "/x/c.json" }));
    assert!(path.contains("credentialsPath"), "{path}");
    // Only the plugin's own prefix is removed; the rest may hold a colon.
    let config = json!({ "pluginId": "demo", "profile": "demo:agent:main" });
    assert_eq!(AuthConfig::parse(config).unwrap().profile, "agent:main");
    let none = AuthConfig::parse(json!({ "pluginId": "demo", "order": [] })).unwrap();
    assert!(none.accounts.is_none() && none.profile == "default");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_needs_a_login_is_skipped_and_status_says_so() {
    let bench = bench(
        ScriptedClient::new(),
        &[("ended", None, -1), ("good", None, 90_000)],
    );
    let damaged = bench.config_with(json!({ "profile": "damaged" }));
    let path = bench
        .session
        .location(&damaged, crate::blocking::Look::LONG)
        .unwrap()
        .path()
        .to_owned();
    std::fs::write(path, "{").unwrap();
    let config = ordered(&bench, &["nobody", "ended", "damaged", "good", "never"]);
    assert_eq!(bench.token_with(&config).await.unwrap(), "good");
    let fresh = bench
        .session
        .fresh_token(&config, Glance::in_test())
        .unwrap();
    assert_eq!(fresh.token.expose(), "good", "without another thread, too");
    let status = bench.session.status(&config).await.unwrap();
    assert_eq!(
        (status.profile.as_str(), status.state),
        ("good", State::Valid)
    );
    let passed = status.passed_over.unwrap();
    let skipped: Vec<_> = passed
        .accounts
        .iter()
        .map(|skipped| (skipped.profile.as_str(), skipped.state))
        .collect();
    assert_eq!(
        skipped,
        [
            ("nobody", State::LoggedOut),
            ("ended", State::Expired),
            ("damaged", State::LoginRequired)
        ]
    );
    assert_eq!(passed.accounts[0].message, None, "the one for all of these");
    let (before, after) = &passed.nobody;
    assert!(before.ends_with(" (profile ") && after.starts_with("). "));
    let told = passed.accounts[2].message.as_deref();
    assert!(told.unwrap().contains("damaged"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_during_the_call_leads_to_the_next_and_is_remembered() {
    let http = ScriptedClient::new().answer(400, &refusal("invalid_grant"));
    let bench = bench(http, &[("a", Some("r1"), -1), ("b", Some("r7"), 3600)]);
    let config = ordered(&bench, &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(bench.token_with(&config).await.unwrap(), "b");
    }
    assert_eq!(bench.spent(), ["r1"]);
    assert_eq!(
        bench
            .session
            .fresh_token(&config, Glance::in_test())
            .unwrap()
            .token
            .expose(),
        "b"
    );
    let status = bench.session.status(&config).await.unwrap();
    assert_eq!(
        status.passed_over.unwrap().accounts[0].state,
        State::LoginRequired
    );
}

#[tokio::test(start_paused = true)]
async fn a_network_that_fails_is_no_reason_to_take_another_account() {
    let http = ScriptedClient::new().otherwise(|_| {
        Err(crate::http::Failure {
            kind: NotSent,
            detail: "connection refused".to_owned(),
        })
    });
    let bench = bench(http, &[("a", Some("r1"), -1), ("b", None, 3600)]);
    let config = ordered(&bench, &["a", "b"]);
    assert_eq!(code(&bench.token_with(&config).await), ErrorCode::Network);
    assert!(
        bench
            .session
            .fresh_token(&config, Glance::in_test())
            .is_none()
    );
    assert_eq!(bench.session.status(&config).await.unwrap().profile, "a");
}

#[tokio::test(start_paused = true)]
async fn another_servers_login_is_passed_over() {
    let bench = bench(
        ScriptedClient::new(),
        &[("a", None, 3600), ("b", None, 3600)],
    );
    let foreign = bench.config_with(json!({ "profile": "a" }));
    let path = bench
        .session
        .location(&foreign, crate::blocking::Look::LONG)
        .unwrap()
        .path()
        .to_owned();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(ISSUER, "https://other.example.com")).unwrap();
    let config = ordered(&bench, &["a", "b"]);
    assert_eq!(bench.token_with(&config).await.unwrap(), "b");
    let status = bench.session.status(&config).await.unwrap();
    let passed = status.passed_over.unwrap();
    let told = passed.accounts[0].message.as_deref();
    assert!(told.unwrap().contains("other.example.com"));
}

#[tokio::test(start_paused = true)]
async fn where_all_need_a_login_the_first_is_named_and_it_is_whom_login_and_logout_mean() {
    let bench = bench(rotating(3600), &[("b", None, -1)]);
    let config = ordered(&bench, &["a", "b"]);
    let error = bench.token_with(&config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LoginRequired);
    assert!(error.message().contains("profile a"), "{error}");
    let status = bench.session.status(&config).await.unwrap();
    assert_eq!(
        (status.profile.as_str(), status.state),
        ("a", State::LoggedOut)
    );
    assert_eq!(status.passed_over.unwrap().accounts[0].profile, "b");
    let never = Cancellation::default();
    let out = bench.session.logout(&config, &never).await.unwrap();
    assert!(!out.removed, "b is not the first");
    let of_b = bench.config_with(json!({ "profile": "b" }));
    assert_eq!(
        bench.session.status(&of_b).await.unwrap().state,
        State::Expired
    );
}

#[tokio::test(start_paused = true)]
async fn a_damaged_order_stops_rather_than_guesses() {
    let bench = bench(ScriptedClient::new(), &[("default", None, 3600)]);
    let folder = bench.location().path().parent().unwrap().to_owned();
    std::fs::write(folder.join(".order.json"), "{").unwrap();
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreCorrupt);
    assert!(
        bench
            .session
            .fresh_token(&bench.config, Glance::in_test())
            .is_none()
    );
    let named = bench.config_with(json!({ "profile": "default" }));
    assert_eq!(bench.token_with(&named).await.unwrap(), "default");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_refreshed_for_the_account_it_came_from() {
    let bench = bench(
        rotating(3600),
        &[("a", Some("r1"), 3600), ("b", Some("r7"), 3600)],
    );
    let config = ordered(&bench, &["none", "a", "b"]);
    let never = Cancellation::default();
    let renewed = super::bench::token(&bench.session, &config, Some("a"), &never).await;
    assert_eq!(renewed.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
}
