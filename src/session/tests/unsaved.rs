//! A rotated credential that the disk does not take (docs/design.md 3.3).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::bench::{Bench, code, pass, tokens, tokens_for};
use crate::blocking::Glance;
use crate::error::ErrorCode;
use crate::http::scripted::{ScriptedClient, response};
use crate::session::auth_status::State;
use crate::session::cancellation::Cancellation;
use crate::session::single_flight::Hold;
use crate::session::target::Target;
use crate::session::token_request::TokenRequest;

/// A folder in the credential's place: nothing can be renamed onto it.
fn break_disk(path: &Path) {
    std::fs::rename(path, aside(path)).unwrap();
    std::fs::create_dir(path).unwrap();
}

fn repair_disk(path: &Path) {
    std::fs::remove_dir(path).unwrap();
    std::fs::rename(aside(path), path).unwrap();
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("aside")
}

/// A server that answers after two seconds, when the disk is already broken. The token lives for `life` seconds.
fn broken(life: u32) -> (Bench, PathBuf) {
    let (sender, receiver) = std::sync::mpsc::channel::<PathBuf>();
    let http = ScriptedClient::new()
        .reply_after(Duration::from_secs(2), move |_| {
            break_disk(&receiver.recv().unwrap());
            Ok(response(200, &tokens_for("a2", "r2", life)))
        })
        .otherwise(|_| Ok(response(200, &tokens("a3", "r3"))));
    let bench = Bench::expired(http);
    let path = bench.location().path().to_owned();
    sender.send(path.clone()).unwrap();
    (bench, path)
}

#[tokio::test(start_paused = true)]
async fn its_token_is_handed_out_and_it_is_saved_as_soon_as_the_disk_takes_it() {
    let (bench, path) = broken(3600);
    assert_eq!(bench.token().await.unwrap(), "a2");
    pass(100).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert!(
        bench
            .session
            .fresh_token(&bench.config, Glance::in_test())
            .is_none()
    );
    let status = bench.status().await;
    assert_eq!(status.state, State::Valid);
    let told = status.last_error.unwrap();
    assert_eq!(told.code, ErrorCode::StoreIo);
    assert!(told.message.contains("not saved yet"), "{}", told.message);

    repair_disk(&path);
    pass(31).await;
    assert_eq!(bench.file()["access"], "a2");
    assert_eq!(bench.file()["refresh"], "r2");
    assert_eq!(bench.status().await.last_error, None);
    assert_eq!(bench.spent(), ["r1"]);
    bench.session.settle(Duration::from_hours(1));
    drop(bench.lock());
}

#[tokio::test(start_paused = true)]
async fn others_get_store_locked_that_names_the_cause_meanwhile() {
    let (bench, path) = broken(3600);
    let other = bench.another_process();
    let waiting = async {
        pass(1).await;
        let start = Instant::now();
        let outcome = bench.token_of(&other).await;
        (outcome, start.elapsed().as_secs())
    };
    let (own, (others, waited)) = tokio::join!(bench.token(), waiting);
    assert_eq!(own.unwrap(), "a2");
    let error = others.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreLocked);
    assert!(error.message().contains("could not save"), "{error}");
    assert!(
        error
            .message()
            .contains(path.file_name().unwrap().to_str().unwrap()),
        "{error}"
    );
    assert_eq!(waited, 60);
    repair_disk(&path);
    pass(31).await;
    assert_eq!(bench.token_of(&other).await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn those_who_came_late_in_the_same_process_get_its_token_too() {
    let (bench, path) = broken(3600);
    let other_config = bench.config_with(json!({ "requestTimeoutMs": 9_000 }));
    let (a, b, c) = tokio::join!(
        bench.token(),
        bench.token(),
        bench.token_with(&other_config)
    );
    for token in [a, b, c] {
        assert_eq!(token.unwrap(), "a2");
    }
    repair_disk(&path);
}

#[tokio::test(start_paused = true)]
async fn it_is_not_refreshed_before_it_is_saved() {
    let (bench, path) = broken(100);
    assert_eq!(bench.token().await.unwrap(), "a2");
    let start = Instant::now();
    // A rejected token cannot be replaced now, and nobody is kept waiting for that news.
    let error = bench.token_instead_of("a2").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreLocked);
    assert!(error.is_retryable());
    pass(95).await;
    assert_eq!(bench.token().await.unwrap(), "a2", "until its real end");
    pass(5).await;
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreLocked);
    assert!(error.message().contains("not refreshed before"), "{error}");
    assert_eq!(start.elapsed().as_secs(), 100);
    assert_eq!(bench.spent(), ["r1"]);
    repair_disk(&path);
    pass(31).await;
    assert_eq!(bench.token().await.unwrap(), "a3");
    assert_eq!(bench.spent(), ["r1", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn the_event_loop_is_held_until_it_is_saved() {
    let (bench, path) = broken(3600);
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
    assert!(token.is_ok());
    assert!(Arc::strong_count(&hold) > 1);
    repair_disk(&path);
    pass(2).await;
    assert_eq!(Arc::strong_count(&hold), 1);
    assert_eq!(bench.file()["access"], "a2");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_somebody_restored_meanwhile_wins_and_nothing_of_it_is_revoked() {
    let (bench, path) = broken(3600);
    assert_eq!(bench.token().await.unwrap(), "a2");
    repair_disk(&path);
    let write = bench.overwrite();
    write("access", json!("b1"));
    write("refresh", json!("s1"));
    write(
        "expires",
        json!(bench.credential("", None, 0, 3600).expires.unwrap().0),
    );
    pass(31).await;
    assert_eq!(bench.token().await.unwrap(), "b1");
    // The login is the same, from a copy: the server may end it with any of its tokens.
    assert!(bench.revoked().is_empty());
    bench.session.settle(Duration::from_hours(1));
}

#[tokio::test(start_paused = true)]
async fn a_logout_takes_over_what_waits_for_its_disk_and_revokes_it() {
    let (bench, path) = broken(3600);
    assert_eq!(bench.token().await.unwrap(), "a2");
    pass(20).await;
    repair_disk(&path);
    let start = Instant::now();
    let outcome = bench
        .session
        .logout(&bench.config, &Cancellation::default())
        .await;
    assert!(outcome.unwrap().removed);
    assert_eq!(start.elapsed(), Duration::ZERO, "this very process");
    assert_eq!(bench.revoked(), ["r2", "a2"]);
    assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
    pass(120).await;
    assert_eq!(bench.status().await.state, State::LoggedOut);
    drop(bench.lock());
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_the_disk_does_not_take_says_so_and_the_login_is_saved_in_the_end() {
    let (bench, path) = broken(3600);
    assert_eq!(bench.token().await.unwrap(), "a2");
    pass(20).await;
    let start = Instant::now();
    let cancellation = Cancellation::default();
    let outcome = bench.session.logout(&bench.config, &cancellation).await;
    assert_eq!(outcome.unwrap_err().code(), ErrorCode::StoreIo);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(bench.token().await.unwrap(), "a2");
    repair_disk(&path);
    pass(31).await;
    assert_eq!(bench.file()["access"], "a2");
    assert_eq!(bench.status().await.last_error, None);
}
