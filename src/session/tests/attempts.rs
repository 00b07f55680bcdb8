//! How often a refresh token is sent, and when (docs/design.md 3.3).

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::bench::{Bench, ISSUER, TOKEN_ENDPOINT, code, pass, retry_after, tokens};
use crate::error::ErrorCode;
use crate::http::Failure;
use crate::http::FailureKind::{Broken, Certificate, NotSent, TimedOut};
use crate::http::scripted::{ScriptedClient, response};

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_tried_again_after_one_and_four_seconds() {
    let http = ScriptedClient::new()
        .fail(NotSent, "refused")
        .fail(NotSent, "refused")
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    let start = Instant::now();
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.http.seconds_since(start), [0, 1, 5]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_given_up_after_three_attempts() {
    let http = ScriptedClient::new()
        .fail(NotSent, "refused")
        .fail(NotSent, "refused")
        .fail(NotSent, "refused");
    let bench = Bench::expired(http);
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Network);
    assert!(error.is_retryable() && !error.needs_login());
    assert_eq!(bench.file()["refresh"], "r1");
}

#[tokio::test(start_paused = true)]
async fn an_untrusted_certificate_is_not_tried_again() {
    let bench = Bench::expired(ScriptedClient::new().fail(Certificate, "unknown issuer"));
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Network);
    assert!(!error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_reset_or_a_server_error_is_replayed_once_after_a_second() {
    for http in [
        ScriptedClient::new().fail(Broken, "reset"),
        ScriptedClient::new().answer(500, "oops"),
        ScriptedClient::new().answer(502, "<html>bad gateway</html>"),
        ScriptedClient::new().answer(503, ""),
    ] {
        let bench = Bench::expired(http.answer(200, &tokens("a2", "r2")));
        let start = Instant::now();
        assert_eq!(bench.token().await.unwrap(), "a2");
        assert_eq!(bench.http.seconds_since(start), [0, 1]);
        assert_eq!(bench.spent(), ["r1", "r1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_no_second_replay() {
    let http = ScriptedClient::new()
        .fail(Broken, "reset")
        .answer(500, "oops");
    let bench = Bench::expired(http);
    assert_eq!(code(&bench.token().await), ErrorCode::ServerError);
    assert_eq!(bench.spent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_after_sending_is_never_replayed() {
    for http in [
        ScriptedClient::new().fail(TimedOut, "30 s"),
        ScriptedClient::new()
            .fail(Broken, "reset")
            .fail(TimedOut, "30 s"),
        ScriptedClient::new()
            .fail(NotSent, "refused")
            .fail(TimedOut, "30 s"),
    ] {
        let bench = Bench::expired(http);
        assert_eq!(code(&bench.token().await), ErrorCode::Timeout);
        assert_eq!(bench.spent().len(), bench.http.received().len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_that_fits_is_obeyed() {
    for status in [429, 503] {
        let http = ScriptedClient::new()
            .respond(retry_after(status, 20))
            .answer(200, &tokens("a2", "r2"));
        let bench = Bench::expired(http);
        let start = Instant::now();
        assert_eq!(bench.token().await.unwrap(), "a2");
        assert_eq!(bench.http.seconds_since(start), [0, 20]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_that_does_not_fit_fails_at_once_and_is_honoured_afterwards() {
    for status in [429, 503] {
        let http = ScriptedClient::new()
            .respond(retry_after(status, 120))
            .answer(200, &tokens("a2", "r2"));
        let bench = Bench::expired(http);
        let start = Instant::now();
        let error = bench.token().await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ServerError);
        assert_eq!(error.retry_after(), Some(Duration::from_mins(2)));
        assert_eq!(start.elapsed(), Duration::ZERO);
        pass(119).await;
        let error = bench.token().await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        pass(1).await;
        assert_eq!(bench.token().await.unwrap(), "a2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_of_zero_is_no_leave_to_hammer() {
    for status in [429, 503] {
        let http = ScriptedClient::new().otherwise(move |_| Ok(retry_after(status, 0)));
        let bench = Bench::expired(http);
        assert_eq!(code(&bench.token().await), ErrorCode::ServerError);
        assert_eq!(bench.spent().len(), 2, "one replay, no more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_in_another_century_stops_nobody_for_more_than_an_hour() {
    let http = ScriptedClient::new()
        .respond(retry_after(429, u64::MAX))
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    assert_eq!(code(&bench.token().await), ErrorCode::ServerError);
    pass(3599).await;
    assert_eq!(code(&bench.token().await), ErrorCode::ServerError);
    assert_eq!(bench.spent().len(), 1);
    pass(1).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn the_critical_section_ends_after_45_seconds_and_no_attempt_gets_more_than_is_left() {
    let http = ScriptedClient::new()
        .reply_after(Duration::from_secs(20), |request| {
            assert_eq!(request.timeout, Duration::from_secs(30));
            Err(Failure {
                kind: NotSent,
                detail: "refused".into(),
            })
        })
        .reply_after(Duration::from_secs(13), |request| {
            assert_eq!(request.timeout, Duration::from_secs(24));
            Ok(retry_after(503, 2))
        })
        .reply_after(Duration::from_secs(3), |request| {
            assert_eq!(request.timeout, Duration::from_secs(9));
            Ok(response(500, ""))
        });
    let bench = Bench::expired(http);
    let start = Instant::now();
    assert_eq!(code(&bench.token().await), ErrorCode::ServerError);
    // The remaining time is too short for an answer, which holds the only refresh token.
    assert_eq!(bench.spent().len(), 3);
    assert!(start.elapsed().as_secs() <= 45);
}

#[tokio::test(start_paused = true)]
async fn a_request_timeout_of_the_config_is_obeyed() {
    let http = ScriptedClient::new().reply(|request| {
        assert_eq!(request.timeout, Duration::from_millis(1500));
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = Bench::expired(http);
    let config = bench.config_with(json!({ "requestTimeoutMs": 1500 }));
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
}

fn metadata() -> String {
    json!({ "issuer": ISSUER, "token_endpoint": TOKEN_ENDPOINT,
        "device_authorization_endpoint": "https://auth.example.com/device" })
    .to_string()
}

/// An adopted login may know its issuer alone.
fn without_endpoint(http: ScriptedClient) -> Bench {
    let bench = Bench::new(http);
    let mut credential = bench.credential("a1", Some("r1"), 3601, 3600);
    credential.token_endpoint = None;
    bench.store(&credential);
    bench
}

#[tokio::test(start_paused = true)]
async fn a_login_without_a_token_endpoint_asks_its_issuer_once() {
    let http = ScriptedClient::new()
        .answer(200, &metadata())
        .otherwise(|request| Ok(super::bench::rotated(request, 3600)));
    let bench = without_endpoint(http);
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.file()["tokenEndpoint"], TOKEN_ENDPOINT);
    pass(3600).await;
    assert_eq!(bench.token().await.unwrap(), "a3");
    let gets = bench.http.received();
    assert_eq!(gets.iter().filter(|asked| asked.method == "GET").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn finding_the_token_endpoint_counts_towards_the_45_seconds() {
    let http = ScriptedClient::new()
        .reply_after(Duration::from_secs(29), |_| Ok(response(404, "")))
        .reply_after(Duration::from_secs(29), |_| Ok(response(200, &metadata())));
    let bench = without_endpoint(http);
    let start = Instant::now();
    assert_eq!(code(&bench.token().await), ErrorCode::Timeout);
    assert_eq!(start.elapsed().as_secs(), 45);
    assert!(bench.spent().is_empty());

    let http = ScriptedClient::new()
        .reply_after(Duration::from_secs(42), |_| Ok(response(200, &metadata())));
    let bench = without_endpoint(http);
    assert_eq!(code(&bench.token().await), ErrorCode::Timeout);
    assert!(
        bench.spent().is_empty(),
        "too late to be sure of the answer"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_discovery_is_shared_like_any_other_failure() {
    let http = ScriptedClient::new().fail(NotSent, "refused");
    let bench = without_endpoint(http);
    assert_eq!(code(&bench.token().await), ErrorCode::Network);
    let other = bench.another_process();
    assert_eq!(code(&bench.token_of(&other).await), ErrorCode::Network);
    assert_eq!(bench.http.received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_spent_when_the_store_cannot_take_the_result_and_nobody_has_to_wait_afterwards()
{
    let bench = Bench::expired(ScriptedClient::new().answer(200, &tokens("a2", "r2")));
    // Names of more than 255 bytes cannot be created: the temp file's is longer than the credential's.
    let long = bench
        .folder
        .path()
        .join(format!("{}.json", "x".repeat(240)));
    std::fs::copy(bench.location().path(), &long).unwrap();
    let config = bench.config_with(json!({ "credentialsPath": long }));
    let error = bench.token_with(&config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreIo);
    assert!(bench.spent().is_empty());
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(&long).unwrap()).unwrap();
    assert!(
        file.get("lastRefresh").is_none(),
        "store failures never back off"
    );
    assert_eq!(bench.token().await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_down_costs_its_callers_one_quick_failure_each_back_off() {
    let http = ScriptedClient::new().otherwise(|_| {
        Err(Failure {
            kind: NotSent,
            detail: "refused".into(),
        })
    });
    let bench = Bench::expired(http);
    assert_eq!(code(&bench.token().await), ErrorCode::Network);
    let other = bench.another_process();
    for wait in [1, 2, 4, 8] {
        pass(wait).await;
        let start = Instant::now();
        for session in [&bench.session, &other] {
            assert_eq!(code(&bench.token_of(session).await), ErrorCode::Network);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
    assert_eq!(bench.spent().len(), 3 + 4);
    // Long afterwards it is waited for once more.
    pass(120).await;
    assert_eq!(code(&bench.token().await), ErrorCode::Network);
    assert_eq!(bench.spent().len(), 3 + 4 + 3);
}
