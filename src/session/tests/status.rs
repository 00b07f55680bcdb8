//! The results of `status` and `listProfiles` (docs/design.md 1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::bench::{Bench, HOUR, ISSUER, START, pass, refusal};
use crate::error::ErrorCode;
use crate::http::scripted::ScriptedClient;
use crate::secret::Secret;
use crate::session::auth_status::State;
use crate::store::credential::NewCredential;
use crate::time::UnixMillis;

/// The state of a login whose token has the given seconds left.
async fn state(refresh: Option<&str>, seconds_left: i64) -> State {
    let bench = Bench::new(ScriptedClient::new());
    bench.store(&bench.credential("a1", refresh, 100, 100 + seconds_left));
    bench.status().await.state
}

#[tokio::test(start_paused = true)]
async fn the_states_of_a_login() {
    const DAY: i64 = 24 * 3600;
    assert_eq!(state(Some("r1"), 3600).await, State::Valid);
    assert_eq!(
        state(Some("r1"), -3600).await,
        State::Valid,
        "after a silent refresh"
    );
    assert_eq!(state(None, DAY + 1).await, State::Valid);
    assert_eq!(state(None, DAY).await, State::Expiring);
    assert_eq!(state(None, 1).await, State::Expiring);
    assert_eq!(state(None, 0).await, State::Expired);
    assert_eq!(state(None, -DAY).await, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn nothing_stored_is_logged_out_and_stays_nothing() {
    let bench = Bench::new(ScriptedClient::new());
    let status = bench.status().await;
    assert_eq!(status.state, State::LoggedOut);
    assert_eq!(status.path, bench.location().path().to_string_lossy());
    assert!(!status.refreshable && status.last_error.is_none());
    assert!(!bench.folder.path().join("credentials").exists());
    assert!(
        bench
            .session
            .list_profiles(&bench.config, |all| all.collect::<Vec<_>>())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_login_is_described_without_a_token() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    let status = bench.status().await;
    assert_eq!(status.profile, "default");
    assert_eq!(status.issuer.as_deref(), Some(ISSUER));
    assert_eq!(status.client_id.as_deref(), Some("client"));
    assert_eq!(status.scopes, None);
    assert_eq!(status.missing_scopes, None, "nothing is known of them");
    assert!(status.refreshable);
    let stored = bench.credential("", None, 10, 3600);
    assert_eq!(status.created_at, Some(stored.created_at));
    assert_eq!(status.refreshed_at, Some(stored.refreshed_at));
    assert_eq!(status.expires_at, stored.expires);
    let printed = bench.without_folder(&format!("{status:?}"));
    assert!(
        !printed.contains("a1") && !printed.contains("r1"),
        "{printed}"
    );
}

/// `OpenID` Connect Core §5.1, and a server that writes more into a name than a name.
#[tokio::test(start_paused = true)]
async fn the_claims_of_the_id_token_name_the_account() {
    let said = async |claims: Option<serde_json::Value>, subject: Option<&str>| {
        let id_token = claims.map(|claims| {
            let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
            Secret::from(format!("e30.{payload}.c2ln").as_str())
        });
        let bench = Bench::new(ScriptedClient::new());
        bench.store(&NewCredential {
            id_token,
            subject: subject.map(str::to_owned),
            ..bench.credential("a1", None, 0, 3600)
        });
        let account = bench.status().await.account?;
        Some([account.id, account.name, account.email].map(Option::unwrap_or_default))
    };
    let ada = json!({"sub":"1","name":"Ada\u{202e} Lovelace","preferred_username":"ada","email":"ada@example.com"});
    assert_eq!(
        said(Some(ada), Some("did:plc:1")).await.unwrap(),
        ["did:plc:1", "Ada Lovelace", "ada@example.com"]
    );
    let odd = json!({"sub":"1","name":"","preferred_username":"ada","email":7});
    assert_eq!(said(Some(odd), None).await.unwrap(), ["1", "ada", ""]);
    assert_eq!(said(Some(json!({"sub":7})), None).await, None);
    assert_eq!(said(Some(json!([])), None).await, None);
    assert_eq!(said(None, None).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_that_cannot_be_refreshed_is_login_required_until_it_has_ended() {
    let bench = Bench::new(ScriptedClient::new());
    bench.store(&bench.credential("a1", None, 10, 3600));
    assert!(bench.token_instead_of("a1").await.is_err());
    assert_eq!(bench.status().await.state, State::LoginRequired);
    pass(3600).await;
    assert_eq!(bench.status().await.state, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_with_its_time() {
    let bench = Bench::expired(ScriptedClient::new().answer(400, &refusal("invalid_grant")));
    let error = bench.token().await.unwrap_err();
    let failed_at = bench.file()["lastRefresh"]["failedAt"].as_i64();
    pass(100).await;
    let status = bench.status().await;
    assert_eq!(status.state, State::LoginRequired);
    let told = status.last_error.unwrap();
    assert_eq!(told.code, ErrorCode::LoginRequired);
    assert_eq!(told.message, error.message());
    assert_eq!(Some(told.at.0), failed_at);
}

#[tokio::test(start_paused = true)]
async fn a_lock_in_the_local_temp_folder_is_told_while_nothing_worse_is() {
    let bench = Bench::logged_in(
        ScriptedClient::new().answer(400, &refusal("invalid_grant")),
        3601,
        3600,
    );
    let location = bench.location();
    bench.session.note_lock(&location, true);
    let told = bench.status().await.last_error.unwrap();
    assert_eq!(told.code, ErrorCode::StoreIo);
    assert!(told.message.contains("has no locks"), "{}", told.message);
    assert_eq!(bench.status().await.state, State::Valid);
    // The lock of this folder is a real one, as the next use shows.
    drop(bench.session.try_lock(&location).await.unwrap());
    assert_eq!(bench.status().await.last_error, None);
    assert!(bench.token().await.is_err());
    bench.session.note_lock(&location, true);
    let told = bench.status().await.last_error.unwrap();
    assert_eq!(told.code, ErrorCode::LoginRequired);
    bench.session.note_lock(&location, false);
    bench.store(&bench.credential("a2", Some("r2"), 0, 3600));
    assert_eq!(bench.status().await.last_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_newer_file_is_an_error_and_does_not_hide_the_other_profiles() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    let folder = bench.location().path().parent().unwrap().to_owned();
    std::fs::write(folder.join("broken.json"), "damaged").unwrap();
    std::fs::write(folder.join("newer.json"), r#"{"version":2}"#).unwrap();
    std::fs::write(folder.join("out.json"), r#"{"version":1,"loggedOutAt":1}"#).unwrap();
    let profiles = bench
        .session
        .list_profiles(&bench.config, |all| all.collect::<Vec<_>>())
        .await
        .unwrap();
    let told: Vec<_> = profiles
        .iter()
        .map(|status| {
            (
                status.profile.as_str(),
                status.state,
                status.last_error.as_ref().map(|error| error.code),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "broken",
                State::LoginRequired,
                Some(ErrorCode::StoreCorrupt)
            ),
            ("default", State::Valid, None),
            ("newer", State::LoginRequired, Some(ErrorCode::StoreVersion)),
        ]
    );
    for (profile, code) in [
        ("broken", ErrorCode::StoreCorrupt),
        ("newer", ErrorCode::StoreVersion),
    ] {
        let config = bench.config_with(json!({ "profile": profile }));
        assert_eq!(
            bench.session.status(&config).await.unwrap_err().code(),
            code
        );
        assert_eq!(super::bench::code(&bench.token_with(&config).await), code);
    }
    assert!(bench.http.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn scopes_that_only_differ_in_case_or_brought_the_refresh_token_are_not_missing() {
    let bench = Bench::new(ScriptedClient::new());
    let mut credential = bench.credential("a1", Some("r1"), 10, 3600);
    credential.scopes = Some(vec!["Memory".into()]);
    bench.store(&credential);
    let config = bench.config_with(json!({ "scopes": ["memory", "offline_access"] }));
    assert_eq!(
        bench.session.status(&config).await.unwrap().missing_scopes,
        None
    );
    credential.refresh = None;
    bench.store(&credential);
    let missing = bench.session.status(&config).await.unwrap().missing_scopes;
    assert_eq!(missing.unwrap(), ["offline_access"]);
}

#[tokio::test(start_paused = true)]
async fn a_login_whose_refresh_token_ends_says_so_before_and_after_without_a_request() {
    let bench = Bench::new(ScriptedClient::new());
    let login = |hours: i64| NewCredential {
        refresh_expires: Some(UnixMillis(START.0 + hours * HOUR)),
        ..bench.credential("a1", Some("r1"), 0, 3600)
    };
    bench.store(&login(48));
    let status = bench.status().await;
    assert_eq!(status.state, State::Valid);
    assert_eq!(status.login_ends_at, Some(UnixMillis(START.0 + 48 * HOUR)));
    pass(25 * 3600).await;
    assert_eq!(bench.status().await.state, State::Expiring);
    pass(24 * 3600).await;
    let status = bench.status().await;
    assert_eq!(status.state, State::LoginRequired);
    let over = status.last_error.unwrap();
    assert_eq!(over.code, ErrorCode::LoginRequired);
    assert!(
        over.message.contains("2023-11-16T22:13:20"),
        "{}",
        over.message
    );
    // In a list, whichever account the config means.
    let other = bench.config_with(json!({ "profile": "work" }));
    let listed = bench
        .session
        .list_profiles(&other, |all| all.collect::<Vec<_>>())
        .await
        .unwrap();
    let said = listed[0].last_error.as_ref().unwrap();
    assert_eq!(said.message, over.message);
}

#[tokio::test(start_paused = true)]
async fn an_access_token_that_outlives_its_refresh_token_is_the_end_of_the_login() {
    let bench = Bench::new(ScriptedClient::new());
    bench.store(&NewCredential {
        refresh_expires: Some(UnixMillis(START.0 + 1000)),
        ..bench.credential("a1", Some("r1"), 0, 3600)
    });
    pass(60).await;
    let status = bench.status().await;
    assert_eq!(status.state, State::Expiring);
    assert_eq!(status.login_ends_at, Some(UnixMillis(START.0 + HOUR)));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_moves_the_end_of_the_login_where_it_says_so() {
    let said =
        r#"{"access_token":"a2","expires_in":3600,"refresh_token":"r2","refresh_expires_in":7200}"#;
    let same = r#"{"access_token":"a3","expires_in":3600}"#;
    let other = r#"{"access_token":"a4","expires_in":3600,"refresh_token":"r4"}"#;
    let http = ScriptedClient::new()
        .answer(200, said)
        .answer(200, same)
        .answer(200, other);
    let bench = Bench::expired(http);
    assert_eq!(bench.status().await.login_ends_at, None);
    bench.token().await.unwrap();
    let end = bench.status().await.login_ends_at;
    assert_eq!(end, Some(UnixMillis(START.0 + 2 * HOUR)));
    // The refresh token is the same: so is its end.
    pass(3600).await;
    assert_eq!(bench.token().await.unwrap(), "a3");
    assert_eq!(bench.file()["refreshExpires"], json!(START.0 + 2 * HOUR));
    // Nothing is known of another one.
    pass(3600).await;
    assert_eq!(bench.token().await.unwrap(), "a4");
    assert_eq!(bench.status().await.login_ends_at, None);
}
