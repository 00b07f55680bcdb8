//! The protocol without the store (docs/design.md 1).

use serde_json::json;

use super::bench::{Bench, ISSUER, TOKEN_ENDPOINT, refusal, tokens};
use crate::error::ErrorCode;
use crate::http::FailureKind::{Broken, NotSent};
use crate::http::scripted::ScriptedClient;
use crate::secret::Secret;
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::session::device_tokens::TokenSet;

async fn refreshed(bench: &Bench, config: &AuthConfig) -> Result<TokenSet, crate::error::Error> {
    let refresh_token = Secret::from("r1");
    bench
        .session
        .refresh_tokens(config, &refresh_token, &Cancellation::default())
        .await
}

#[tokio::test(start_paused = true)]
async fn a_refresh_stores_nothing_and_tries_as_hard_as_the_store_does() {
    let http = ScriptedClient::new()
        .fail(NotSent, "refused")
        .fail(Broken, "reset")
        .answer(200, &tokens("a2", "r2"));
    let bench = Bench::new(http);
    let config = bench.config_with(json!({ "tokenEndpoint": TOKEN_ENDPOINT }));
    let tokens = refreshed(&bench, &config).await.unwrap();
    assert_eq!(tokens.access.expose(), "a2");
    assert_eq!(tokens.refresh.unwrap().expose(), "r2");
    assert_eq!(tokens.client_id, "client");
    assert_eq!(tokens.token_endpoint, TOKEN_ENDPOINT);
    assert_eq!(tokens.issuer.as_deref(), Some(ISSUER));
    assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_new_refresh_token_the_old_one_is_given_back() {
    let bench = Bench::new(ScriptedClient::new().answer(200, r#"{"access_token":"a2"}"#));
    let config = bench.config_with(json!({ "tokenEndpoint": TOKEN_ENDPOINT }));
    let tokens = refreshed(&bench, &config).await.unwrap();
    assert_eq!(tokens.refresh.unwrap().expose(), "r1");
    assert_eq!(tokens.expires, None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_login_required() {
    let bench = Bench::new(ScriptedClient::new().answer(400, &refusal("invalid_grant")));
    let config = bench.config_with(json!({ "tokenEndpoint": TOKEN_ENDPOINT }));
    let error = refreshed(&bench, &config).await.err().unwrap();
    assert_eq!(error.code(), ErrorCode::LoginRequired);
}

#[tokio::test(start_paused = true)]
async fn a_config_without_client_or_server_asks_nobody() {
    let bench = Bench::new(ScriptedClient::new());
    for options in [json!({ "clientId": null }), json!({ "issuer": null })] {
        let config = bench.config_with(options);
        let error = refreshed(&bench, &config).await.err().unwrap();
        assert_eq!(error.code(), ErrorCode::InvalidConfig);
    }
}
