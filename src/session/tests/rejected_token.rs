//! A token that the service answered 401 to (DESIGN 3.2).

use std::time::Duration;

use super::bench::{Bench, code, pass, rotating, tokens};
use crate::error::ErrorCode;
use crate::http::FailureKind::TimedOut;
use crate::http::scripted::{ScriptedClient, response};

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
        // Nobody told this caller that the token is no good.
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
