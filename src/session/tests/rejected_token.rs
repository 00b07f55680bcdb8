//! A token that the service answered 401 to (docs/design.md 3.2).

use std::time::Duration;

use super::bench::{Bench, code, pass, refusal, rotating, tokens};
use crate::blocking::Glance;
use crate::error::ErrorCode;
use crate::http::FailureKind::TimedOut;
use crate::http::scripted::{ScriptedClient, response};
use crate::secret::Secret;
use crate::session::cancellation::Cancellation;
use crate::session::target::Target;
use crate::session::token_request::TokenRequest;

#[tokio::test(start_paused = true)]
async fn it_is_refreshed_though_it_looks_fresh() {
    let bench = Bench::logged_in(rotating(3600), 10, 3600);
    assert_eq!(bench.token_instead_of("a1").await.unwrap(), "a2");
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn late_news_of_an_old_token_gets_the_stored_one_without_a_request() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    assert_eq!(bench.token_instead_of("a0").await.unwrap(), "a1");
    let _held = bench.lock();
    assert_eq!(bench.token_instead_of("a0").await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn however_many_report_it_there_is_one_refresh() {
    let http = ScriptedClient::new().reply_after(Duration::from_secs(3), |_| {
        Ok(response(200, &tokens("a2", "r2")))
    });
    let bench = Bench::logged_in(http, 10, 3600);
    let other = bench.another_process();
    let late = async {
        pass(1).await;
        // This caller was not told that the token is rejected.
        assert_eq!(bench.token().await.unwrap(), "a1");
        super::bench::token(
            &other,
            &bench.config,
            Some("a1"),
            &crate::session::cancellation::Cancellation::default(),
        )
        .await
    };
    let (a, b, c) = tokio::join!(
        bench.token_instead_of("a1"),
        bench.token_instead_of("a1"),
        late
    );
    for token in [a, b, c] {
        assert_eq!(token.unwrap(), "a2");
    }
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn if_the_same_token_comes_back_none_is_forced_for_a_minute() {
    let http = ScriptedClient::new().otherwise(|_| Ok(response(200, &tokens("a1", "r1"))));
    let bench = Bench::logged_in(http, 10, 3600);
    for _ in 0..5 {
        assert_eq!(bench.token_instead_of("a1").await.unwrap(), "a1");
    }
    assert_eq!(bench.spent().len(), 1);
    pass(60).await;
    assert_eq!(bench.token_instead_of("a1").await.unwrap(), "a1");
    assert_eq!(bench.spent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_three_forced_refreshes_in_a_minute_none_is_forced_for_the_next() {
    let bench = Bench::logged_in(rotating(3600), 10, 3600);
    let mut token = "a1".to_owned();
    for _ in 0..6 {
        token = bench.token_instead_of(&token).await.unwrap();
    }
    assert_eq!(token, "a4");
    assert_eq!(bench.spent().len(), 3);
    pass(59).await;
    assert_eq!(bench.token_instead_of("a4").await.unwrap(), "a4");
    pass(1).await;
    assert_eq!(bench.token_instead_of("a4").await.unwrap(), "a5");
}

#[tokio::test(start_paused = true)]
async fn while_none_is_forced_a_due_token_is_refreshed_all_the_same() {
    let http = ScriptedClient::new()
        .answer(200, &tokens("a1", "r1"))
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::logged_in(http, 10, 3600);
    assert_eq!(bench.token_instead_of("a1").await.unwrap(), "a1");
    bench.store(&bench.credential("a1", Some("r1"), 3601, 3600));
    assert_eq!(bench.token_instead_of("a1").await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_is_told_and_does_not_count_as_a_forced_one() {
    let mut http = ScriptedClient::new();
    for _ in 0..4 {
        http = http.fail(TimedOut, "30 s");
    }
    let bench = Bench::logged_in(http.answer(200, &tokens("a2", "r2")), 10, 3600);
    for wait in [1, 2, 4, 8] {
        assert_eq!(
            code(&bench.token_instead_of("a1").await),
            ErrorCode::Timeout
        );
        assert_eq!(
            code(&bench.token_instead_of("a1").await),
            ErrorCode::Timeout
        );
        pass(wait).await;
    }
    assert_eq!(bench.token_instead_of("a1").await.unwrap(), "a2");
    assert_eq!(bench.spent().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn one_that_could_not_be_replaced_is_never_handed_out_again() {
    for (status, body) in [
        (400, refusal("invalid_grant")),
        (401, String::new()),
        (400, refusal("unauthorized_client")),
    ] {
        let http = ScriptedClient::new().otherwise(move |_| Ok(response(status, &body)));
        let bench = Bench::logged_in(http, 10, 3600);
        let refused = code(&bench.token_instead_of("a1").await);
        let other = bench.another_process();
        for session in [&bench.session, &other] {
            assert_eq!(code(&bench.token_of(session).await), refused);
            assert!(
                session
                    .fresh_token(&bench.config, Glance::in_test())
                    .is_none()
            );
        }
        // Another refusal, after any wait, changes nothing; a new login does.
        pass(3601).await;
        assert_eq!(code(&bench.token_of(&other).await), refused);
        bench.store(&bench.credential("b1", Some("s1"), 10, 3600));
        assert_eq!(bench.token_of(&other).await.unwrap(), "b1");
        assert_eq!(bench.token().await.unwrap(), "b1");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_ahead_of_need_it_may_be_good_until_a_service_rejects_it() {
    let http = ScriptedClient::new().answer(400, &refusal("invalid_grant"));
    let bench = Bench::logged_in(http, 3400, 3600);
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert_eq!(
        code(&bench.token_instead_of("a1").await),
        ErrorCode::LoginRequired
    );
    let other = bench.another_process();
    for session in [&bench.session, &other] {
        assert_eq!(
            code(&bench.token_of(session).await),
            ErrorCode::LoginRequired
        );
    }
    assert_eq!(bench.spent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_stays_rejected_is_replaced_once_the_server_gives_another() {
    let http = ScriptedClient::new()
        .answer(401, "")
        .fail(TimedOut, "30 s")
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::logged_in(http, 10, 7200);
    assert_eq!(
        code(&bench.token_instead_of("a1").await),
        ErrorCode::LoginRequired
    );
    pass(3600).await;
    assert_eq!(code(&bench.token().await), ErrorCode::Timeout);
    pass(3600).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn only_refreshes_that_helped_nobody_count() {
    let bench = Bench::logged_in(rotating(3600), 10, 3600);
    let instead_of = async |token: &str, was_accepted| {
        let request = TokenRequest {
            config: bench.config.clone(),
            target: Target::default(),
            rejected: Some(Secret::from(token)),
            was_accepted,
            required_scope: None,
            hold: None,
        };
        let cancellation = Cancellation::default();
        let token = bench.session.access_token(request, &cancellation).await;
        token.unwrap().expose().to_owned()
    };
    let mut token = "a1".to_owned();
    for _ in 0..6 {
        token = instead_of(&token, true).await;
    }
    assert_eq!(token, "a7");
    for _ in 0..6 {
        token = instead_of(&token, false).await;
    }
    assert_eq!(token, "a9", "none of these was of use");
    // One that a service had accepted has ended, though others are still refused there.
    assert_eq!(instead_of("a9", true).await, "a10");
}
