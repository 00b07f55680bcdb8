//! Two logins in one file of another program: the state of one does not affect the other.

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, HOUR, pass, rotated, rotating, token};
use crate::http::scripted::ScriptedClient;
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::session::target::Target;

/// `a1` with `r1`, and `a101` with `r101`, which have ended.
fn two(http: ScriptedClient) -> (Bench, [AuthConfig; 2]) {
    let bench = Bench::new(http);
    let folder = bench.folder.path().join("agents/main/agent");
    std::fs::create_dir_all(&folder).unwrap();
    let login = |number: u32| json!({ "type": "oauth", "provider": "memory", "access": format!("a{number}"), "refresh": format!("r{number}"), "expires": 1 });
    let file =
        json!({ "version": 1, "profiles": { "memory:a": login(1), "memory:b": login(101) } });
    std::fs::write(folder.join("auth-profiles.json"), file.to_string()).unwrap();
    let config = |profile: &str| -> AuthConfig {
        let options: Value = json!({
            "credentialsFormat": "auth-profiles", "profileId": profile, "tokenEndpoint": super::bench::TOKEN_ENDPOINT,
        });
        bench.config_with(options)
    };
    let configs = [config("memory:a"), config("memory:b")];
    (bench, configs)
}

async fn instead_of(bench: &Bench, config: &AuthConfig, rejected: &str) -> String {
    let cancellation = Cancellation::default();
    token(&bench.session, config, Some(rejected), &cancellation)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_service_that_rejects_every_token_of_one_does_not_stop_the_other_from_being_replaced() {
    let (bench, [a, b]) = two(rotating(3600));
    assert_eq!(bench.token_with(&a).await.unwrap(), "a2");
    assert_eq!(bench.token_with(&b).await.unwrap(), "a102");
    for (rejected, next) in [("a2", "a3"), ("a3", "a4"), ("a4", "a5"), ("a5", "a5")] {
        assert_eq!(instead_of(&bench, &a, rejected).await, next);
    }
    assert_eq!(instead_of(&bench, &b, "a102").await, "a103");
}

#[tokio::test(start_paused = true)]
async fn each_ends_when_its_own_server_said() {
    let (bench, [a, b]) = two(rotating(3600));
    assert_eq!(bench.token_with(&a).await.unwrap(), "a2");
    pass(1).await;
    assert_eq!(bench.token_with(&b).await.unwrap(), "a102");
    // The wall clock is set wrong: the boot clock is right, for both.
    bench.clock.jump(7 * HOUR);
    assert_eq!(bench.token_with(&a).await.unwrap(), "a2");
    assert_eq!(bench.token_with(&b).await.unwrap(), "a102");
    assert_eq!(bench.spent(), ["r1", "r101"]);
}

#[tokio::test(start_paused = true)]
async fn each_is_refreshed_once_after_the_clock_was_set_back() {
    let (bench, [a, b]) = two(rotating(3600));
    bench.token_with(&a).await.unwrap();
    bench.token_with(&b).await.unwrap();
    bench.clock.jump(-7 * HOUR);
    for config in [&a, &b, &a, &b] {
        bench.token_with(config).await.unwrap();
    }
    assert_eq!(bench.spent(), ["r1", "r101", "r2", "r102"]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_of_one_is_under_way_for_it_alone() {
    let slow = Duration::from_secs(3);
    let (bench, [a, b]) =
        two(ScriptedClient::new().reply_after(slow, |request| Ok(rotated(request, 3600))));
    let is_flying = |config| {
        let key = bench
            .session
            .location(config, crate::blocking::MayBlock::in_test().into())
            .unwrap()
            .key();
        (bench.session.logins).of(&key, |login| {
            login.token(&Target::default()).flights.is_flying()
        })
    };
    let (token, flying) = tokio::join!(bench.token_with(&a), async {
        pass(1).await;
        [is_flying(&a), is_flying(&b)]
    });
    assert_eq!(token.unwrap(), "a2");
    assert_eq!(flying, [true, false]);
}
