//! The meaning of a refusal (docs/design.md 3.4).

use serde_json::json;

use super::bench::{Bench, ISSUER, code, pass, refusal, tokens};
use crate::error::ErrorCode;
use crate::http::scripted::ScriptedClient;
use crate::secret::Secret;
use crate::session::auth_status::State;
use crate::store::registration::{Shelf, StoredClient};
use crate::time::Clock as _;

#[tokio::test(start_paused = true)]
async fn a_final_refusal_stops_all_requests_until_a_login() {
    for error in ["invalid_grant", "bad_refresh_token", "refresh_token_reused"] {
        let http = ScriptedClient::new()
            .answer(400, &refusal(error))
            .answer(200, &tokens("b2", "s2"));
        let bench = Bench::expired(http);
        let refused = bench.token().await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::LoginRequired);
        assert!(refused.needs_login());
        assert_eq!(refused.oauth().unwrap().error, error);
        assert_eq!(refused.status(), Some(400));
        let other = bench.another_process();
        for _ in 0..3 {
            pass(24 * 3600).await;
            for session in [&bench.session, &other] {
                let again = bench.token_of(session).await.unwrap_err();
                assert_eq!(again.code(), ErrorCode::LoginRequired);
                assert!(again.needs_login());
                assert_eq!(again.message(), refused.message());
                assert_eq!(again.retry_after(), None);
            }
        }
        assert_eq!(bench.spent().len(), 1);
        assert_eq!(bench.file()["refresh"], "r1", "never deleted");
        bench.store(&bench.credential("b1", Some("s1"), 3601, 3600));
        assert_eq!(bench.token().await.unwrap(), "b2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_client_may_try_again_after_a_final_refusal() {
    let http = ScriptedClient::new()
        .answer(400, &refusal("invalid_grant"))
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
    let changed = bench.config_with(json!({ "clientSecret": "s" }));
    assert_eq!(
        bench.session.status(&changed).await.unwrap().state,
        State::Valid
    );
    assert_eq!(bench.token_with(&changed).await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_leaves_a_living_token_alone_in_the_advisory_window() {
    let http = ScriptedClient::new().answer(400, &refusal("invalid_grant"));
    let bench = Bench::logged_in(http, 3400, 3600);
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert_eq!(bench.status().await.state, State::LoginRequired);
    pass(201).await;
    assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
    assert_eq!(bench.spent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unclear_refusal_is_login_required_but_tried_again_hourly() {
    for (status, body) in [(400, ""), (401, ""), (400, "{}"), (401, r#"{"ok":false}"#)] {
        let http = ScriptedClient::new()
            .answer(status, body)
            .answer(status, body)
            .answer(200, &tokens("a2", "r2"));
        let bench = Bench::expired(http);
        for attempts in 1..=2 {
            assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
            pass(3599).await;
            assert_eq!(code(&bench.token().await), ErrorCode::LoginRequired);
            assert_eq!(bench.status().await.state, State::LoginRequired);
            assert_eq!(bench.spent().len(), attempts);
            pass(1).await;
        }
        assert_eq!(bench.token().await.unwrap(), "a2");
        assert_eq!(bench.status().await.state, State::Valid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateways_page_is_no_refusal() {
    // The refresh token did not reach the server: it is sent once more.
    let http = ScriptedClient::new()
        .answer(401, "<html>Welcome to the hotel</html>")
        .answer(403, "<html>Just a moment</html>")
        .answer(404, "<html>default backend</html>")
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ServerError);
    assert!(error.is_retryable() && !error.needs_login());
    pass(1).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"; 4]);
}

#[tokio::test(start_paused = true)]
async fn anything_else_keeps_everything() {
    for (status, body, expected) in [
        (400, refusal("invalid_scope"), ErrorCode::OauthError),
        (400, refusal("unauthorized_client"), ErrorCode::OauthError),
        (400, refusal("server_error"), ErrorCode::ServerError),
        (200, "{}".to_owned(), ErrorCode::InvalidResponse),
        (302, String::new(), ErrorCode::InvalidResponse),
        (
            200,
            r#"{"access_token":"a2","token_type":"DPoP"}"#.to_owned(),
            ErrorCode::InvalidResponse,
        ),
    ] {
        let http = ScriptedClient::new()
            .otherwise(move |_| Ok(crate::http::scripted::response(status, &body)));
        let bench = Bench::expired(http);
        let error = bench.token().await.unwrap_err();
        assert_eq!(error.code(), expected);
        assert!(!error.needs_login());
        assert_eq!(bench.file()["refresh"], "r1");
        assert_eq!(bench.file()["lastRefresh"]["final"], false);
        assert_eq!(bench.status().await.state, State::Valid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_configured_client_that_is_refused_is_the_configs_fault() {
    let http = ScriptedClient::new()
        .answer(401, &refusal("invalid_client"))
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    let wrong = bench.config_with(json!({ "clientSecret": "wrong" }));
    let error = bench.token_with(&wrong).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OauthError);
    assert!(!error.needs_login());
    let again = bench.token_with(&wrong).await.unwrap_err();
    assert_eq!(again.code(), ErrorCode::OauthError);
    assert!(!again.needs_login());
    assert!(!again.message().contains("wrong"), "{again}");
    // Correcting it is enough, at once.
    let right = bench.config_with(json!({ "clientSecret": "right" }));
    assert_eq!(bench.token_with(&right).await.unwrap(), "a2");
}

fn registered(http: ScriptedClient) -> Bench {
    let bench = Bench::new(http);
    let mut credential = bench.credential("a1", Some("r1"), 3601, 3600);
    credential.registered_client = true;
    credential.client_authentication = Some("client_secret_post".into());
    bench.store(&credential);
    let client = StoredClient {
        client_id: "client".into(),
        client_secret: Some(Secret::from("registered-secret")),
        secret_expires_at: None,
        authentication: "client_secret_post".into(),
        redirect_uri: None,
        scopes: None,
        registration_client_uri: None,
        registration_access_token: None,
        created_at: bench.clock.now(),
    };
    Shelf::of(&bench.location(), ISSUER)
        .save_with(&client, crate::blocking::MayBlock::in_test())
        .unwrap();
    bench
}

#[tokio::test(start_paused = true)]
async fn a_registered_client_that_the_server_forgot_needs_a_login() {
    let bench = registered(ScriptedClient::new().answer(401, &refusal("invalid_client")));
    let config = bench.config_with(json!({ "clientId": null }));
    let error = bench.token_with(&config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LoginRequired);
    assert_eq!(error.oauth().unwrap().error, "invalid_client");
    assert!(error.message().contains("registered for demo"), "{error}");
    pass(24 * 3600).await;
    assert_eq!(
        code(&bench.token_with(&config).await),
        ErrorCode::LoginRequired
    );
    assert_eq!(bench.spent().len(), 1);
    let status = bench.session.status(&config).await.unwrap();
    assert_eq!(status.state, State::LoginRequired);
}

#[tokio::test(start_paused = true)]
async fn a_registered_client_proves_itself_with_its_registered_secret() {
    let bench = registered(ScriptedClient::new().answer(200, &tokens("a2", "r2")));
    let config = bench.config_with(json!({ "clientId": null }));
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
    let request = bench.http.received().remove(0);
    assert_eq!(
        request.parameter("client_secret"),
        Some("registered-secret")
    );
    assert_eq!(bench.file()["registeredClient"], true);
    assert!(!bench.file().to_string().contains("registered-secret"));
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_in_the_words_of_a_refusal_is_asked_once_more_and_the_login_stays() {
    const BUSY: &str = r#"{"error":"invalid_grant","error_description":"token request is already being processed"}"#;
    let http = ScriptedClient::new()
        .answer(400, BUSY)
        .answer(400, BUSY)
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::expired(http);
    let busy = bench.token().await.unwrap_err();
    assert_eq!(busy.code(), ErrorCode::ServerError);
    assert!(busy.is_retryable());
    assert_eq!(bench.status().await.state, State::Valid);
    pass(2).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_flaw_in_what_nobody_needs_is_noted_and_the_login_goes_on() {
    let flawed = r#"{"access_token":"a2","refresh_token":"r2","expires_in":"1h","id_token":false}"#;
    let http = ScriptedClient::new().answer(200, flawed);
    let bench = Bench::expired(http);
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.file()["refresh"], "r2");
    let status = bench.status().await;
    assert_eq!(status.state, State::Valid);
    let noted = status.last_error.unwrap();
    assert_eq!(noted.code, ErrorCode::InvalidResponse);
    assert!(noted.message.contains("`expires_in`"), "{}", noted.message);
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_refresh_token_is_kept_though_its_access_token_is_of_no_use() {
    let of_another_type = r#"{"access_token":"a2","refresh_token":"r2","token_type":"mac"}"#;
    let http = ScriptedClient::new()
        .answer(200, of_another_type)
        .answer(200, &tokens("a3", "r3"));
    let bench = Bench::expired(http);
    let refused = bench.token().await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidResponse);
    assert!(refused.message().contains("token_type"), "{refused}");
    let file = bench.file();
    assert_eq!(
        (&file["access"], &file["refresh"]),
        (&json!("a1"), &json!("r2"))
    );
    let status = bench.status().await;
    assert_eq!(status.last_error.unwrap().code, ErrorCode::InvalidResponse);
    pass(2).await;
    assert_eq!(bench.token().await.unwrap(), "a3");
    assert_eq!(bench.spent(), ["r1", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_living_token_is_handed_out_while_its_successor_is_of_no_use() {
    let of_another_type = r#"{"access_token":"a2","refresh_token":"r2","token_type":"mac"}"#;
    let bench = Bench::logged_in(
        ScriptedClient::new().answer(200, of_another_type),
        3400,
        3600,
    );
    assert_eq!(bench.token().await.unwrap(), "a1");
    assert_eq!(bench.file()["refresh"], "r2");
}
