//! Tokens that a person brings (docs/design.md 1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::bench::{Bench, HOUR, ISSUER, code, rotating};
use crate::blocking::Glance;
use crate::error::{Error, ErrorCode};
use crate::http::scripted::ScriptedClient;
use crate::session::auth_status::{AuthStatus, State};
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::session::import_token::ImportedToken;
use crate::time::{Clock as _, UnixMillis};

async fn import(bench: &Bench, config: &AuthConfig, token: Value) -> Result<AuthStatus, Error> {
    let Value::Object(members) = token else {
        panic!("a token is an object");
    };
    let token = ImportedToken::parse(members)?;
    bench
        .session
        .import_token(config, token, &Cancellation::default())
        .await
}

fn no_server(bench: &Bench) -> AuthConfig {
    bench.config_with(json!({ "issuer": null, "clientId": null }))
}

#[tokio::test(start_paused = true)]
async fn a_static_token_works_without_any_server_and_says_that_it_is_one() {
    let bench = Bench::new(ScriptedClient::new());
    let config = no_server(&bench);
    let error = bench.token_with(&config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LoginRequired);
    assert!(error.message().contains("Import a token"), "{error}");
    let status = import(&bench, &config, json!({ "access": "pasted" }))
        .await
        .unwrap();
    assert_eq!(status.state, State::Valid);
    assert!(!status.refreshable && status.imported && status.issuer.is_none());
    assert_eq!(bench.token_with(&config).await.unwrap(), "pasted");
    assert!(
        bench
            .session
            .fresh_token(&config, Glance::in_test())
            .is_some()
    );
    // A config that names a server by now accepts the token anyway: it is never sent there.
    assert_eq!(bench.token().await.unwrap(), "pasted");
    let refused = bench.token_instead_of("pasted").await;
    assert_eq!(code(&refused), ErrorCode::LoginRequired);
    assert!(bench.http.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_static_token_belongs_to_the_server_of_the_config_if_that_names_one() {
    let bench = Bench::new(ScriptedClient::new());
    let status = import(&bench, &bench.config, json!({ "access": "a" }))
        .await
        .unwrap();
    assert_eq!(status.issuer.as_deref(), Some(ISSUER));
    let other = bench.config_with(json!({ "issuer": "https://other.example.com" }));
    assert_eq!(
        code(&bench.token_with(&other).await),
        ErrorCode::IssuerMismatch
    );
    let endpoints = bench
        .config_with(json!({ "issuer": null, "tokenEndpoint": "https://other.example.com/token" }));
    assert_eq!(
        code(&bench.token_with(&endpoints).await),
        ErrorCode::IssuerMismatch
    );
    // One without a server contradicts nothing.
    assert_eq!(bench.token_with(&no_server(&bench)).await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn with_a_refresh_token_it_is_refreshed_and_needs_client_and_server() {
    let bench = Bench::new(rotating(3600));
    let now = bench.clock.now().0;
    let token = json!({ "access": "a1", "refresh": "r1", "expires": now - 1 });
    for missing in [json!({ "clientId": null }), json!({ "issuer": null })] {
        let config = bench.config_with(missing);
        let error = import(&bench, &config, token.clone()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidConfig);
    }
    let config = bench.config_with(json!({ "tokenEndpoint": "https://auth.example.com/token" }));
    let status = import(&bench, &config, token).await.unwrap();
    assert!(status.refreshable && status.imported);
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
    assert_eq!(bench.spent(), ["r1"]);
    assert!(
        bench.session.status(&config).await.unwrap().imported,
        "still"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_token_is_refused_without_being_quoted() {
    let bench = Bench::new(ScriptedClient::new());
    for (token, hint) in [
        (json!({}), "`access` is missing"),
        (json!({ "access": "canary canary" }), "spaces"),
        (json!({ "access": "canary\n" }), "spaces"),
        (json!({ "access": "canary\u{7f}" }), "spaces"),
        (
            json!({ "access": "a", "refresh": "\u{1b}canary" }),
            "`refresh`",
        ),
        (json!({ "access": 7 }), "`access`"),
        (
            json!({ "access": "a", "expires": 1_800_000_000 }),
            "seconds",
        ),
        (json!({ "access": "a", "expires": "tomorrow" }), "`expires`"),
        (
            json!({ "access": "a", "expires": 1_600_000_000_000_i64 }),
            "has ended",
        ),
        (json!({ "access": "a", "scopes": ["a b"] }), "`scopes`"),
        (
            json!({ "access": "a", "refreshToken": "canary" }),
            "`refresh`",
        ),
    ] {
        let error = import(&bench, &bench.config, token).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidConfig);
        assert!(error.message().contains(hint), "{error}");
        assert!(!error.message().contains("canary"), "{error}");
    }
    assert!(!bench.folder.path().join("credentials").exists());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_jwt_is_read_from_it_unless_it_is_told() {
    let bench = Bench::new(ScriptedClient::new());
    let end = bench.clock.now().0 / 1000 + 7200;
    let claims = URL_SAFE_NO_PAD.encode(json!({ "exp": end, "iat": end - 999_999 }).to_string());
    let jwt = format!("e30.{claims}.c2ln");
    let status = import(&bench, &bench.config, json!({ "access": jwt }))
        .await
        .unwrap();
    assert_eq!(status.expires_at, Some(UnixMillis(end * 1000)));
    let told = end * 1000 - HOUR;
    let token = json!({ "access": jwt, "expires": told });
    let status = import(&bench, &bench.config, token).await.unwrap();
    assert_eq!(status.expires_at, Some(UnixMillis(told)));
    assert_eq!(status.state, State::Expiring);
}

#[tokio::test(start_paused = true)]
async fn it_replaces_any_login() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    let place = bench.location().path().to_owned();
    import(&bench, &bench.config, json!({ "access": "b" }))
        .await
        .unwrap();
    assert!(
        bench.file()["refresh"].is_null(),
        "the old login's refresh token is gone"
    );
    bench
        .session
        .logout(&bench.config, &Cancellation::default())
        .await
        .unwrap();
    import(&bench, &bench.config, json!({ "access": "c" }))
        .await
        .unwrap();
    assert!(bench.file()["loggedOutAt"].is_null());
    std::fs::write(&place, "damaged").unwrap();
    import(&bench, &bench.config, json!({ "access": "d" }))
        .await
        .unwrap();
    assert_eq!(bench.token().await.unwrap(), "d");
    let kept = std::fs::read_dir(place.parent().unwrap())
        .unwrap()
        .flatten();
    assert!(
        kept.into_iter()
            .any(|entry| entry.file_name().to_string_lossy().contains(".corrupt-"))
    );
    std::fs::write(&place, r#"{"version":2}"#).unwrap();
    let error = import(&bench, &bench.config, json!({ "access": "e" }))
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreVersion);
}
