//! Fresh, advisory, mandatory, expired (docs/design.md 3.2).

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::blocking::Glance;
use crate::store::registration::Shelf;

use super::bench::{Bench, code, pass, rotating, tokens, tokens_for};
use crate::error::ErrorCode;
use crate::http::FailureKind;
use crate::http::scripted::{ScriptedClient, response};

#[tokio::test(start_paused = true)]
async fn a_fresh_token_is_handed_out_without_a_question() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    assert_eq!(bench.token().await.unwrap(), "a1");
    let fast = bench
        .session
        .fresh_token(&bench.config, Glance::in_test())
        .unwrap();
    assert_eq!(fast.token.expose(), "a1");
    assert!(bench.http.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_config_without_a_server_is_refused_by_the_fast_path_too() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    let config = bench.config_with(json!({ "issuer": null }));
    assert!(
        bench
            .session
            .fresh_token(&config, Glance::in_test())
            .is_none()
    );
    let outcome = bench.token_with(&config).await;
    assert_eq!(code(&outcome), ErrorCode::InvalidConfig);
}

#[tokio::test(start_paused = true)]
async fn nobody_logged_in_is_login_required() {
    let bench = Bench::new(ScriptedClient::new());
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LoginRequired);
    assert!(error.needs_login());
}

#[tokio::test(start_paused = true)]
async fn in_the_advisory_window_one_caller_gets_the_new_token_and_the_others_the_valid_one_at_once()
{
    let http = ScriptedClient::new().reply_after(Duration::from_secs(2), |_| {
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = Bench::logged_in(http, 3400, 3600);
    let other_process = bench.another_process();
    let start = Instant::now();
    let others = async {
        pass(1).await;
        let begun = Instant::now();
        assert_eq!(bench.token().await.unwrap(), "a1");
        assert_eq!(bench.token_of(&other_process).await.unwrap(), "a1");
        let other_config = bench.config_with(json!({ "requestTimeoutMs": 1000 }));
        assert_eq!(bench.token_with(&other_config).await.unwrap(), "a1");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    };
    let (first, ()) = tokio::join!(bench.token(), others);
    assert_eq!(first.unwrap(), "a2");
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(bench.token_of(&other_process).await.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn an_advisory_caller_waits_five_seconds_and_the_refresh_finishes_without_it() {
    let http = ScriptedClient::new().reply_after(Duration::from_secs(20), |_| {
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = Bench::logged_in(http, 3400, 3600);
    let start = Instant::now();
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert_eq!(start.elapsed().as_secs(), 5);
    pass(16).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn an_advisory_caller_never_waits_into_the_last_second_of_its_token() {
    let http = ScriptedClient::new().reply_after(Duration::from_secs(20), |_| {
        Ok(response(200, &tokens("a2", "r2")))
    });
    // 20 s of life: advisory in the last 5, mandatory in the last 2.
    let bench = Bench::logged_in(http, 17, 20);
    let start = Instant::now();
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_advisory_refresh_is_one_attempt_without_retry_or_replay() {
    for kind in [
        FailureKind::NotSent,
        FailureKind::Broken,
        FailureKind::TimedOut,
    ] {
        let bench = Bench::logged_in(ScriptedClient::new().fail(kind, "cause"), 3400, 3600);
        let start = Instant::now();
        assert_eq!(bench.token().await.unwrap(), "a1");
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(bench.spent(), ["r1"]);
        // Nobody tries again before the back-off has passed.
        assert_eq!(bench.token().await.unwrap(), "a1");
        assert_eq!(
            bench.token_of(&bench.another_process()).await.unwrap(),
            "a1"
        );
        assert_eq!(bench.spent(), ["r1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn while_another_process_holds_the_lock_an_advisory_caller_gets_the_valid_token_at_once() {
    let bench = Bench::logged_in(ScriptedClient::new(), 3400, 3600);
    let _held = bench.lock();
    let start = Instant::now();
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_valid_token_is_handed_out_in_the_advisory_window_even_if_the_store_fails() {
    let bench = Bench::new(ScriptedClient::new());
    let mut credential = bench.credential("a1", Some("r1"), 3400, 3600);
    credential.registered_client = true;
    bench.store(&credential);
    let clients = Shelf::of(&bench.location(), super::bench::ISSUER).path();
    std::fs::create_dir_all(clients.parent().unwrap()).unwrap();
    std::fs::write(clients, "damaged").unwrap();
    let config = bench.config_with(json!({ "clientId": null }));
    assert_eq!(bench.token_with(&config).await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn in_the_mandatory_window_everybody_waits_for_the_one_refresh() {
    let http = ScriptedClient::new().reply_after(Duration::from_secs(8), |_| {
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = Bench::logged_in(http, 3550, 3600);
    let other_process = bench.another_process();
    let other_config = bench.config_with(json!({ "lockTimeoutMs": 20_000, "refreshBufferMs": 0 }));
    let start = Instant::now();
    let (a, b, c, d) = tokio::join!(
        bench.token(),
        bench.token(),
        bench.token_of(&other_process),
        bench.token_with(&other_config),
    );
    for token in [a, b, c, d] {
        assert_eq!(token.unwrap(), "a2");
    }
    assert_eq!(start.elapsed().as_secs(), 8);
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn in_the_mandatory_window_a_passing_failure_gives_the_valid_token_until_it_really_ends() {
    for (kind, requests) in [
        (FailureKind::NotSent, 3),
        (FailureKind::Broken, 2),
        (FailureKind::TimedOut, 1),
        (FailureKind::Unreadable, 1),
        (FailureKind::Certificate, 1),
    ] {
        let http = ScriptedClient::new().otherwise(move |_| {
            Err(crate::http::Failure {
                kind,
                detail: "cause".into(),
            })
        });
        let bench = Bench::logged_in(http, 3550, 3600);
        assert_eq!(bench.token().await.unwrap(), "a1", "{kind:?}");
        assert_eq!(bench.spent().len(), requests, "{kind:?}");
        // The token is also handed out while the back-off forbids another attempt.
        assert_eq!(bench.token().await.unwrap(), "a1", "{kind:?}");
        assert_eq!(bench.spent().len(), requests, "{kind:?}");
        pass(60).await;
        assert!(bench.token().await.is_err(), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_while_its_refresh_fails_is_not_handed_out() {
    let http = ScriptedClient::new().reply_after(Duration::from_secs(30), |_| {
        Ok(response(502, "bad gateway"))
    });
    let http = http.otherwise(|_| Ok(response(502, "bad gateway")));
    let bench = Bench::logged_in(http, 3575, 3600);
    assert_eq!(code(&bench.token().await), ErrorCode::ServerError);
}

#[tokio::test(start_paused = true)]
async fn the_lock_of_another_process_does_not_keep_a_living_token_from_its_callers() {
    let bench = Bench::logged_in(ScriptedClient::new(), 3550, 3600);
    let _held = bench.lock();
    let config = bench.config_with(json!({ "lockTimeoutMs": 3000 }));
    let start = Instant::now();
    assert_eq!(bench.token_with(&config).await.unwrap(), "a1");
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_never_handed_out() {
    let bench = Bench::expired(ScriptedClient::new().fail(FailureKind::TimedOut, "cause"));
    assert_eq!(code(&bench.token().await), ErrorCode::Timeout);
    assert!(
        bench
            .session
            .fresh_token(&bench.config, Glance::in_test())
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn an_expired_caller_that_gets_no_lock_is_rejected_with_the_reason() {
    let bench = Bench::expired(ScriptedClient::new());
    let held = bench.lock();
    held.note("a test", crate::blocking::MayBlock::in_test());
    let config = bench.config_with(json!({ "lockTimeoutMs": 7000 }));
    let start = Instant::now();
    let error = bench.token_with(&config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreLocked);
    assert!(error.is_retryable());
    assert!(error.message().contains("a test"), "{error}");
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_saved_before_it_is_handed_out_and_its_predecessor_is_named() {
    let bench = Bench::expired(rotating(3600));
    assert_eq!(bench.token().await.unwrap(), "a2");
    let file = bench.file();
    assert_eq!(file["access"], "a2");
    assert_eq!(file["refresh"], "r2");
    assert_eq!(
        file["replaces"],
        crate::secret::Secret::from("r1").fingerprint().as_str()
    );
}

#[tokio::test(start_paused = true)]
async fn a_short_lived_token_is_not_refreshed_at_every_call() {
    let bench = Bench::expired(rotating(20));
    for _ in 0..14 {
        assert_eq!(bench.token().await.unwrap(), "a2");
        pass(1).await;
    }
    assert_eq!(bench.spent().len(), 1);
    pass(2).await;
    assert_eq!(bench.token().await.unwrap(), "a3");
    assert_eq!(bench.spent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_an_expiry_is_valid_until_it_is_rejected() {
    let http = ScriptedClient::new()
        .answer(200, r#"{"access_token":"a2"}"#)
        .answer(200, r#"{"access_token":"a3"}"#);
    let bench = Bench::expired(http);
    assert_eq!(bench.token().await.unwrap(), "a2");
    pass(30 * 24 * 3600).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.token_instead_of("a2").await.unwrap(), "a3");
    // The server gave no new refresh token: the old one is kept.
    assert_eq!(bench.spent(), ["r1", "r1"]);
    assert_eq!(bench.file()["refresh"], "r1");
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_an_ended_login_is_login_required_without_a_request() {
    let bench = Bench::new(ScriptedClient::new());
    bench.store(&bench.credential("a1", None, 10, 3600));
    assert_eq!(bench.token().await.unwrap(), "a1");
    pass(3600).await;
    assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
    assert_eq!(bench.file()["lastRefresh"]["code"], "LOGIN_REQUIRED");
    let other = bench.another_process();
    assert_eq!(
        code(&bench.token_of(&other).await),
        ErrorCode::LoginRequired
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_a_rejected_token_is_not_handed_out_again() {
    let bench = Bench::new(ScriptedClient::new());
    bench.store(&bench.credential("a1", None, 10, 3600));
    let outcome = bench.token_instead_of("a1").await;
    assert_eq!(code(&outcome), ErrorCode::LoginRequired);
    let other = bench.another_process();
    for session in [&bench.session, &other] {
        assert!(
            session
                .fresh_token(&bench.config, Glance::in_test())
                .is_none()
        );
        assert_eq!(
            code(&bench.token_of(session).await),
            ErrorCode::LoginRequired
        );
    }
    // The refusal applied to that access token alone.
    bench.store(&bench.credential("a2", None, 0, 3600));
    assert_eq!(bench.token().await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn refresh_parameters_of_the_config_are_sent() {
    let bench = Bench::expired(rotating(3600));
    let config = bench.config_with(json!({
        "clientSecret": "s", "resource": ["https://api.example"], "extraParameters": { "x": "y" },
    }));
    bench.token_with(&config).await.unwrap();
    let request = bench.http.received().remove(0);
    assert_eq!(request.url, super::bench::TOKEN_ENDPOINT);
    assert_eq!(request.parameter("resource"), Some("https://api.example"));
    assert_eq!(request.parameter("x"), Some("y"));
    assert!(request.authorization.unwrap().starts_with("Basic "));
    assert!(!bench.file().to_string().contains("\"s\""), "never written");
}

#[tokio::test(start_paused = true)]
async fn narrowed_scopes_are_recorded_and_shown_as_missing() {
    let http = ScriptedClient::new()
        .answer(
            200,
            r#"{"access_token":"a2","expires_in":60,"scope":"memory"}"#,
        )
        .answer(200, &tokens_for("a3", "r3", 3600));
    let bench = Bench::new(http);
    let mut credential = bench.credential("a1", Some("r1"), 3601, 3600);
    credential.scopes = Some(vec!["memory".into(), "files".into()]);
    bench.store(&credential);
    let config = bench.config_with(json!({ "scopes": ["memory", "files", "offline_access"] }));
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
    let status = bench.session.status(&config).await.unwrap();
    assert_eq!(status.scopes.unwrap(), ["memory"]);
    assert_eq!(status.missing_scopes.unwrap(), ["files"]);
    // An answer without scopes changes nothing.
    pass(60).await;
    assert_eq!(bench.token_with(&config).await.unwrap(), "a3");
    assert_eq!(bench.file()["scopes"], json!(["memory"]));
}
