//! A file that changes under the lock, as where a network lock is not honoured: the file wins (docs/design.md 3.3,
//! 3.4).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::bench::{Bench, code, pass, refusal, tokens};
use crate::error::ErrorCode;
use crate::http::FailureKind::TimedOut;
use crate::http::scripted::{ScriptedClient, response};
use crate::http::{Failure, Response};

/// A server that gives `answer` just after the file was changed, then the scripted answers.
fn meanwhile(
    change: impl FnOnce(&dyn Fn(&str, Value)) + Send + 'static,
    answer: Result<Response, Failure>,
    then: impl FnOnce(ScriptedClient) -> ScriptedClient,
) -> Bench {
    let (sender, receiver) = std::sync::mpsc::channel::<Box<dyn Fn(&str, Value) + Send>>();
    let http = ScriptedClient::new().reply(move |_| {
        change(&*receiver.recv().unwrap());
        answer
    });
    let bench = Bench::expired(then(http));
    sender.send(Box::new(bench.overwrite())).unwrap();
    bench
}

fn end_of(bench: &Bench) -> Value {
    json!(bench.credential("", None, 0, 3600).expires.unwrap().0)
}

fn logs_in(write: &dyn Fn(&str, Value)) {
    write("createdAt", json!(1_700_000_000_000_i64));
    write("access", json!("b1"));
    write("refresh", json!("s1"));
    write("expires", json!(1_700_000_000_000_i64 + 3_600_000));
    write("refreshedAt", json!(1_700_000_000_000_i64));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_came_in_between_wins_and_the_new_tokens_are_revoked() {
    let bench = meanwhile(
        logs_in,
        Ok(response(200, &tokens("a2", "r2"))),
        // A revocation endpoint that hangs is nobody's concern.
        |http| http.reply_after(Duration::from_secs(20), |_| Ok(response(200, ""))),
    );
    let start = Instant::now();
    assert_eq!(bench.token().await.unwrap(), "b1");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(bench.file()["expires"], end_of(&bench));
    assert_eq!(bench.file()["refresh"], "s1");
    pass(1).await;
    assert_eq!(bench.revoked(), ["r2"]);
    pass(30).await;
    bench.session.settle(Duration::from_hours(1));
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_came_in_between_wins() {
    let bench = Bench::new(ScriptedClient::new());
    let path = bench.location().path().to_owned();
    let http = ScriptedClient::new()
        .reply(move |_| {
            std::fs::write(&path, r#"{"version":1,"loggedOutAt":7}"#).unwrap();
            Ok(response(200, &tokens("a2", "r2")))
        })
        .answer(200, "");
    let bench = moved_to(http, bench);
    assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
    assert_eq!(bench.file()["loggedOutAt"], 7);
    pass(1).await;
    assert_eq!(bench.revoked(), ["r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_that_came_in_between_is_told_and_untouched() {
    let bench = Bench::new(ScriptedClient::new());
    let path = bench.location().path().to_owned();
    let http = ScriptedClient::new()
        .reply(move |_| {
            std::fs::write(&path, r#"{"version":2,"tokens":[]}"#).unwrap();
            Ok(response(200, &tokens("a2", "r2")))
        })
        .answer(200, "");
    let bench = moved_to(http, bench);
    assert_eq!(code(&bench.token().await), ErrorCode::StoreVersion);
    assert_eq!(bench.file(), json!({ "version": 2, "tokens": [] }));
    pass(1).await;
    assert_eq!(bench.revoked(), ["r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_damaged_in_between_is_replaced_and_kept_aside() {
    let bench = Bench::new(ScriptedClient::new());
    let path = bench.location().path().to_owned();
    let http = ScriptedClient::new().reply(move |_| {
        std::fs::write(&path, "damaged").unwrap();
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = moved_to(http, bench);
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.file()["refresh"], "r2");
    let folder = bench.location().path().parent().unwrap().to_owned();
    let aside = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.contains(".corrupt-"));
    assert_eq!(aside.count(), 1);
}

/// The same folder, with that server and an expired login.
fn moved_to(http: ScriptedClient, bench: Bench) -> Bench {
    let moved = Bench::new(http);
    let moved = Bench {
        folder: bench.folder,
        config: bench.config,
        ..moved
    };
    moved.store(&moved.credential("a1", Some("r1"), 3601, 3600));
    moved
}

#[tokio::test(start_paused = true)]
async fn a_stale_credential_that_came_in_between_is_refreshed_in_its_turn() {
    let bench = meanwhile(
        |write| {
            write("createdAt", json!(1_700_000_000_000_i64));
            write("access", json!("b1"));
            write("refresh", json!("s1"));
        },
        Ok(response(200, &tokens("a2", "r2"))),
        |http| {
            http.otherwise(|request| {
                Ok(match request.parameter("refresh_token") {
                    Some("s1") => response(200, &tokens("b2", "s2")),
                    _ => response(200, ""),
                })
            })
        },
    );
    assert_eq!(bench.token().await.unwrap(), "b2");
    assert_eq!(bench.file()["refresh"], "s2");
    pass(1).await;
    assert_eq!(bench.spent(), ["r1", "s1"]);
    assert_eq!(bench.revoked(), ["r2"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_a_changed_credential_is_used() {
    let bench = meanwhile(
        logs_in,
        Ok(response(400, &refusal("invalid_grant"))),
        |http| http,
    );
    assert_eq!(bench.token().await.unwrap(), "b1");
    assert!(bench.file().get("lastRefresh").is_none());
}

#[tokio::test(start_paused = true)]
async fn after_a_passing_failure_a_changed_credential_is_used() {
    let bench = meanwhile(
        logs_in,
        Err(Failure {
            kind: TimedOut,
            detail: "30 s".into(),
        }),
        |http| http,
    );
    assert_eq!(bench.token().await.unwrap(), "b1");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_never_rests_does_not_make_us_spend_token_after_token() {
    let bench = Bench::new(ScriptedClient::new());
    let overwrite = bench.overwrite();
    let write = std::sync::Mutex::new((0, overwrite));
    let http = ScriptedClient::new().otherwise(move |request| {
        if request.parameter("refresh_token").is_some() {
            let mut write = write.lock().unwrap();
            write.0 += 1;
            (write.1)("refresh", json!(format!("foreign{}", write.0)));
        }
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = moved_to(http, bench);
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreLocked);
    assert!(error.is_retryable());
    assert_eq!(bench.spent(), ["r1", "foreign1"]);
}
