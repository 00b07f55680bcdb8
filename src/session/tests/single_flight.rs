//! One refresh per credential, for any number of callers (docs/design.md 3.3).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::bench::{Bench, code, rotating, tokens};
use crate::error::ErrorCode;
use crate::http::scripted::{ScriptedClient, response};
use crate::secret::Secret;
use crate::session::cancellation::Cancellation;
use crate::session::single_flight::Hold;
use crate::session::target::Target;
use crate::session::token_request::TokenRequest;

#[tokio::test(start_paused = true)]
async fn configs_that_differ_in_what_does_not_matter_cost_one_request() {
    let http = ScriptedClient::new().reply_after(Duration::from_secs(2), |_| {
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = Arc::new(Bench::expired(http));
    let configs = [
        json!({}),
        json!({ "lockTimeoutMs": 10_000 }),
        json!({ "requestTimeoutMs": 5_000 }),
        json!({ "refreshBufferMs": 0 }),
        json!({ "scopes": ["memory"] }),
        json!({ "clientName": "another name" }),
    ]
    .map(|options| bench.config_with(options));
    let mut callers = tokio::task::JoinSet::new();
    for config in configs {
        let bench = Arc::clone(&bench);
        callers.spawn(async move { bench.token_with(&config).await });
    }
    for token in callers.join_all().await {
        assert_eq!(token.unwrap(), "a2");
    }
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_callers_short_lock_timeout_is_no_concern_of_the_others() {
    let bench = Bench::expired(ScriptedClient::new().answer(200, &tokens("a2", "r2")));
    let held = bench.lock();
    let hasty = bench.config_with(json!({ "lockTimeoutMs": 100 }));
    let release = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(held);
    };
    let (hasty, patient, ()) = tokio::join!(bench.token_with(&hasty), bench.token(), release);
    assert_eq!(code(&hasty), ErrorCode::StoreLocked);
    assert_eq!(patient.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn many_processes_and_callers_cost_one_request() {
    let http = ScriptedClient::new().reply_after(Duration::from_millis(200), |_| {
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = Arc::new(Bench::expired(http));
    let mut callers = Vec::new();
    for _ in 0..16 {
        let session = bench.another_process();
        for _ in 0..10 {
            let (bench, session) = (Arc::clone(&bench), Arc::clone(&session));
            callers.push(tokio::spawn(async move { bench.token_of(&session).await }));
        }
    }
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), "a2");
    }
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_login_by_another_process_serves_those_who_wait_for_the_lock() {
    let bench = Bench::expired(ScriptedClient::new());
    let mut held = bench.lock();
    let login = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        held.replace(&bench.credential("b1", Some("s1"), 0, 3600))
            .unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
    };
    let start = tokio::time::Instant::now();
    let token = tokio::select! {
        token = bench.token() => token,
        () = login => panic!("waited for the lock though the file was enough"),
    };
    assert_eq!(token.unwrap(), "b1");
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_logout_by_another_process_is_seen_by_those_who_wait_for_the_lock() {
    let bench = Bench::expired(ScriptedClient::new());
    let mut held = bench.lock();
    let logout = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        held.log_out(
            crate::time::UnixMillis(1),
            crate::blocking::MayBlock::in_test(),
        )
        .unwrap();
        drop(held);
    };
    let (token, ()) = tokio::join!(bench.token(), logout);
    assert_eq!(code(&token), ErrorCode::LoginRequired);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_lets_the_event_loops_go_when_it_is_saved() {
    let bench = Bench::expired(rotating(3600));
    let hold: Hold = Arc::new(());
    let request = TokenRequest {
        config: bench.config.clone(),
        target: Target::default(),
        rejected: None,
        was_accepted: false,
        required_scope: None,
        hold: Some(Arc::clone(&hold)),
    };
    let token = bench
        .session
        .access_token(request, &Cancellation::default())
        .await;
    assert_eq!(token.unwrap(), Secret::from("a2"));
    assert_eq!(Arc::strong_count(&hold), 1);
    bench.session.settle(Duration::from_hours(1));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_panics_fails_its_callers_and_leaves_nothing_locked() {
    let http = ScriptedClient::new()
        .reply(|_| panic!("on purpose"))
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    let hold: Hold = Arc::new(());
    let request = TokenRequest {
        config: bench.config.clone(),
        target: Target::default(),
        rejected: None,
        was_accepted: false,
        required_scope: None,
        hold: Some(Arc::clone(&hold)),
    };
    let outcome = bench
        .session
        .access_token(request, &Cancellation::default())
        .await;
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::StoreIo);
    assert_eq!(Arc::strong_count(&hold), 1);
    bench.session.settle(Duration::from_hours(1));
    assert_eq!(bench.token().await.unwrap(), "a2");
}
