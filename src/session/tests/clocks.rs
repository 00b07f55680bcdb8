//! Wall clocks that jump (docs/design.md 3.2).

use super::bench::{Bench, HOUR, code, pass, rotating};
use crate::error::ErrorCode;
use crate::http::scripted::{ScriptedClient, response};

#[tokio::test(start_paused = true)]
async fn ahead_by_seven_hours_the_refreshing_process_keeps_its_token_to_its_real_end() {
    let bench = Bench::expired(rotating(3600));
    assert_eq!(bench.token().await.unwrap(), "a2");
    bench.clock.jump(7 * HOUR);
    assert_eq!(bench.token().await.unwrap(), "a2");
    pass(3299).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.spent().len(), 1);
    pass(1).await;
    assert_eq!(bench.token().await.unwrap(), "a3");
}

#[tokio::test(start_paused = true)]
async fn back_by_seven_hours_the_refreshing_process_refreshes_once_and_lets_no_token_outlive_its_end()
 {
    let bench = Bench::expired(rotating(3600));
    assert_eq!(bench.token().await.unwrap(), "a2");
    bench.clock.jump(-7 * HOUR);
    assert_eq!(bench.token().await.unwrap(), "a3");
    for _ in 0..5 {
        assert_eq!(bench.token().await.unwrap(), "a3");
    }
    assert_eq!(bench.spent().len(), 2);
    pass(3600).await;
    assert_eq!(bench.token().await.unwrap(), "a4");
}

#[tokio::test(start_paused = true)]
async fn ahead_by_seven_hours_a_process_that_only_loaded_the_file_refreshes_once() {
    let bench = Bench::logged_in(rotating(3600), 10, 3600);
    assert_eq!(bench.token().await.unwrap(), "a1");
    bench.clock.jump(7 * HOUR);
    assert_eq!(bench.token().await.unwrap(), "a2");
    for _ in 0..5 {
        assert_eq!(bench.token().await.unwrap(), "a2");
    }
    // The clock is right again: the file is from the future, once.
    bench.clock.jump(-7 * HOUR);
    assert_eq!(bench.token().await.unwrap(), "a3");
    assert_eq!(bench.token().await.unwrap(), "a3");
    assert_eq!(bench.spent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn back_by_seven_hours_a_process_that_only_loaded_the_file_lets_no_token_outlive_its_end() {
    let bench = Bench::logged_in(rotating(3600), 10, 3600);
    assert_eq!(bench.token().await.unwrap(), "a1");
    bench.clock.jump(-7 * HOUR);
    // A file from the future is refreshed once.
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.spent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_small_step_back_does_not_prolong_a_loaded_token() {
    let http = ScriptedClient::new().otherwise(|_| Ok(response(502, "bad gateway")));
    let bench = Bench::logged_in(http, 3000, 3600);
    assert_eq!(bench.token().await.unwrap(), "a1");
    bench.clock.jump(-4 * 60_000);
    pass(590).await;
    assert_eq!(bench.token().await.unwrap(), "a1");
    pass(10).await;
    assert_eq!(code(&bench.token().await), ErrorCode::ServerError);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_from_the_future_causes_one_refresh_only() {
    let bench = Bench::logged_in(rotating(3600), -6 * 60, 3600);
    for _ in 0..3 {
        assert_eq!(bench.token().await.unwrap(), "a2");
    }
    let other = bench.another_process();
    assert_eq!(bench.token_of(&other).await.unwrap(), "a2");
    assert_eq!(bench.spent().len(), 1);

    let bench = Bench::logged_in(ScriptedClient::new(), -4 * 60, 3600);
    assert_eq!(bench.token().await.unwrap(), "a1", "clocks differ a little");
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_a_wrong_clock_costs_no_login() {
    let bench = Bench::new(ScriptedClient::new());
    bench.store(&bench.credential("a1", None, 10, 3600));
    let other = bench.another_process();
    for hours in [7, -7] {
        assert_eq!(bench.token().await.unwrap(), "a1");
        bench.clock.jump(hours * HOUR);
        if hours > 0 {
            // By all that can be known it has ended.
            for session in [&bench.session, &other] {
                assert_eq!(
                    code(&bench.token_of(session).await),
                    ErrorCode::LoginRequired
                );
            }
        } else {
            assert_eq!(bench.token().await.unwrap(), "a1");
        }
        bench.clock.jump(-hours * HOUR);
        for session in [&bench.session, &other, &bench.another_process()] {
            assert_eq!(bench.token_of(session).await.unwrap(), "a1");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_loaded_while_the_clock_was_ahead_lives_when_it_is_right_again() {
    let bench = Bench::logged_in(
        ScriptedClient::new().fail(crate::http::FailureKind::TimedOut, "no network yet"),
        10,
        3600,
    );
    bench.clock.jump(7 * HOUR);
    assert_eq!(code(&bench.token().await), ErrorCode::Timeout);
    bench.clock.jump(-7 * HOUR);
    assert_eq!(bench.token().await.unwrap(), "a1");
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_one_that_was_loaded_while_the_clock_was_ahead_lives_to_its_real_end()
 {
    let bench = Bench::new(ScriptedClient::new());
    bench.store(&bench.credential("a1", None, 0, 24 * 3600));
    bench.clock.jump(7 * HOUR);
    assert_eq!(bench.token().await.unwrap(), "a1");
    bench.clock.jump(-7 * HOUR);
    pass(20 * 3600).await;
    assert_eq!(bench.token().await.unwrap(), "a1");
    pass(4 * 3600).await;
    assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
}
