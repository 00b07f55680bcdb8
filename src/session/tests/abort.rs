//! Aborted calls (docs/design.md 3.3): a sent request belongs to the process, an unsent one ends with its last caller.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::bench::{Bench, pass, token, tokens};
use crate::error::ErrorCode;
use crate::http::scripted::{ScriptedClient, response};
use crate::session::cancellation::Cancellation;
use crate::session::single_flight::Hold;
use crate::session::target::Target;
use crate::session::token_request::TokenRequest;

fn slow() -> ScriptedClient {
    ScriptedClient::new().reply_after(Duration::from_secs(10), |_| {
        Ok(response(200, &tokens("a2", "r2")))
    })
}

async fn aborted_after(bench: &Bench, seconds: u64) {
    let cancellation = Cancellation::default();
    let start = Instant::now();
    let (outcome, accepted) = tokio::join!(
        token(&bench.session, &bench.config, None, &cancellation),
        async {
            pass(seconds).await;
            cancellation.cancel()
        }
    );
    assert!(accepted);
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::Aborted);
    assert_eq!(start.elapsed().as_secs(), seconds, "at once");
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_leaves_the_others_alone() {
    let bench = Bench::expired(slow());
    let ((), token) = tokio::join!(aborted_after(&bench, 1), bench.token());
    assert_eq!(token.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_before_sending_leaves_the_others_alone() {
    let bench = Bench::expired(slow());
    let held = bench.lock();
    let release = async {
        pass(5).await;
        drop(held);
    };
    let ((), token, ()) = tokio::join!(aborted_after(&bench, 1), bench.token(), release);
    assert_eq!(token.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn when_all_have_left_before_sending_nothing_is_sent_and_nothing_is_held() {
    let bench = Bench::expired(ScriptedClient::new());
    let lock = bench.lock();
    let hold: Hold = Arc::new(());
    let cancellation = Cancellation::default();
    let request = TokenRequest {
        config: bench.config.clone(),
        target: Target::default(),
        rejected: None,
        was_accepted: false,
        required_scope: None,
        hold: Some(Arc::clone(&hold)),
    };
    let (outcome, ()) = tokio::join!(bench.session.access_token(request, &cancellation), async {
        pass(1).await;
        assert!(cancellation.cancel());
    });
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::Aborted);
    aborted_after(&bench, 1).await;
    pass(0).await;
    assert_eq!(Arc::strong_count(&hold), 1);
    drop(lock);
    pass(60).await;
    assert!(bench.http.received().is_empty());
    bench.session.settle(Duration::from_hours(1));
}

#[tokio::test(start_paused = true)]
async fn one_who_comes_after_all_have_left_gets_a_refresh_of_its_own() {
    let bench = Bench::expired(ScriptedClient::new().answer(200, &tokens("a2", "r2")));
    let held = bench.lock();
    aborted_after(&bench, 1).await;
    let release = async {
        pass(1).await;
        drop(held);
    };
    let (token, ()) = tokio::join!(bench.token(), release);
    assert_eq!(token.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_saved_though_its_only_caller_left() {
    let bench = Bench::expired(slow());
    aborted_after(&bench, 1).await;
    pass(10).await;
    assert_eq!(bench.file()["refresh"], "r2");
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn an_advisory_caller_may_leave_too() {
    let bench = Bench::logged_in(slow(), 3400, 3600);
    aborted_after(&bench, 1).await;
    pass(10).await;
    assert_eq!(bench.file()["refresh"], "r2");
}

#[tokio::test(start_paused = true)]
async fn one_who_aborted_before_calling_starts_nothing() {
    let bench = Bench::expired(ScriptedClient::new());
    let cancellation = Cancellation::default();
    assert!(cancellation.cancel());
    let outcome = token(&bench.session, &bench.config, None, &cancellation).await;
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::Aborted);
    pass(60).await;
    assert!(bench.http.received().is_empty());
}
