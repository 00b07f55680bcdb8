//! The result of a failed round is shared through the file (docs/design.md 3.3).

use std::time::Duration;

use serde_json::json;

use super::bench::{Bench, HOUR, code, pass, tokens};
use crate::error::ErrorCode;
use crate::http::Failure;
use crate::http::FailureKind::TimedOut;
use crate::http::scripted::ScriptedClient;

fn down() -> ScriptedClient {
    ScriptedClient::new().otherwise(|_| {
        Err(Failure {
            kind: TimedOut,
            detail: "30 s".into(),
        })
    })
}

#[tokio::test(start_paused = true)]
async fn it_doubles_from_one_second_to_thirty_and_every_process_honours_it() {
    let bench = Bench::expired(down());
    let other = bench.another_process();
    let mut spent = 0;
    for wait in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(code(&bench.token().await), ErrorCode::Timeout);
        spent += 1;
        for session in [&bench.session, &other] {
            let error = bench.token_of(session).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Timeout);
            assert_eq!(error.retry_after(), Some(Duration::from_secs(wait)));
            assert!(error.is_retryable());
        }
        assert_eq!(bench.spent().len(), spent);
        pass(wait).await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_the_lock_honour_it_too() {
    let http = ScriptedClient::new().reply_after(Duration::from_secs(10), |_| {
        Err(Failure {
            kind: TimedOut,
            detail: "10 s".into(),
        })
    });
    let bench = Bench::expired(http);
    let other = bench.another_process();
    let other_config = bench.config_with(json!({ "requestTimeoutMs": 10_000 }));
    let (a, b, c) = tokio::join!(
        bench.token(),
        bench.token_of(&other),
        bench.token_with(&other_config)
    );
    for outcome in [a, b, c] {
        assert_eq!(code(&outcome), ErrorCode::Timeout);
    }
    assert_eq!(bench.spent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_success_forgets_it() {
    let http = ScriptedClient::new()
        .fail(TimedOut, "30 s")
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    assert!(bench.token().await.is_err());
    assert!(bench.file().get("lastRefresh").is_some());
    pass(1).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert!(bench.file().get("lastRefresh").is_none());
    assert_eq!(bench.status().await.last_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_changed_client_is_not_concerned() {
    let http = ScriptedClient::new()
        .fail(TimedOut, "30 s")
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    assert!(bench.token().await.is_err());
    let config = bench.config_with(json!({ "clientSecret": "new" }));
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_does_not_prolong_it() {
    for back in [7 * HOUR, HOUR / 2, 1000] {
        let http = ScriptedClient::new()
            .fail(TimedOut, "30 s")
            .answer(200, &tokens("a2", "r2"));
        let bench = Bench::logged_in(http, 10 * 3600, 3600);
        assert!(bench.token().await.is_err());
        bench.clock.jump(-back);
        assert_eq!(bench.token().await.unwrap(), "a2");
    }
}
