//! A refresh token never goes to a server that did not issue it (docs/design.md 3.4).

use serde_json::{Value, json};

use super::bench::{Bench, code, rotating};
use crate::blocking::Glance;
use crate::error::ErrorCode;
use crate::http::scripted::ScriptedClient;
use crate::session::auth_status::State;

const OTHER: &str = "https://other.example";
const OTHER_ENDPOINT: &str = "https://other.example/token";

/// An expired login of that issuer and token endpoint, asked for with that config.
async fn outcome(stored: [Option<&str>; 2], options: Value) -> Result<(), ErrorCode> {
    let bench = Bench::new(rotating(3600));
    let mut credential = bench.credential("a1", Some("r1"), 3601, 3600);
    let [issuer, token_endpoint] = stored;
    credential.issuer = issuer.map(str::to_owned);
    credential.token_endpoint = token_endpoint.map(str::to_owned);
    bench.store(&credential);
    let config = bench.config_with(options);
    match bench.token_with(&config).await {
        Ok(_) => {
            assert_eq!(bench.http.received().remove(0).url, token_endpoint.unwrap());
            Ok(())
        }
        Err(error) => {
            assert!(bench.http.received().is_empty(), "{error}");
            assert!(error.needs_login());
            assert!(bench.file().get("lastRefresh").is_none());
            Err(error.code())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_matrix_of_issuers_and_token_endpoints() {
    const ISSUER: Option<&str> = Some(super::bench::ISSUER);
    const ENDPOINT: Option<&str> = Some(super::bench::TOKEN_ENDPOINT);
    let mismatch = Err(ErrorCode::IssuerMismatch);
    for (stored, options, expected) in [
        // Stored by a login through an issuer.
        ([ISSUER, ENDPOINT], json!({}), Ok(())),
        ([ISSUER, ENDPOINT], json!({ "issuer": OTHER }), mismatch),
        (
            [ISSUER, ENDPOINT],
            json!({ "issuer": null, "tokenEndpoint": ENDPOINT }),
            Ok(()),
        ),
        (
            [ISSUER, ENDPOINT],
            json!({ "tokenEndpoint": ENDPOINT }),
            Ok(()),
        ),
        (
            [ISSUER, ENDPOINT],
            json!({ "tokenEndpoint": OTHER_ENDPOINT }),
            mismatch,
        ),
        (
            [ISSUER, ENDPOINT],
            json!({ "issuer": null, "tokenEndpoint": OTHER_ENDPOINT }),
            mismatch,
        ),
        (
            [ISSUER, ENDPOINT],
            json!({ "issuer": OTHER, "tokenEndpoint": ENDPOINT }),
            mismatch,
        ),
        // Stored by a login through endpoints alone.
        (
            [None, ENDPOINT],
            json!({ "issuer": null, "tokenEndpoint": ENDPOINT }),
            Ok(()),
        ),
        (
            [None, ENDPOINT],
            json!({ "tokenEndpoint": ENDPOINT }),
            Ok(()),
        ),
        ([None, ENDPOINT], json!({}), mismatch),
        (
            [None, ENDPOINT],
            json!({ "issuer": null, "tokenEndpoint": OTHER_ENDPOINT }),
            mismatch,
        ),
        // Adopted with an issuer alone.
        ([ISSUER, None], json!({ "issuer": OTHER }), mismatch),
        (
            [ISSUER, None],
            json!({ "issuer": null, "tokenEndpoint": ENDPOINT }),
            mismatch,
        ),
        (
            [ISSUER, None],
            json!({ "issuer": OTHER, "tokenEndpoint": ENDPOINT }),
            mismatch,
        ),
        // The client.
        ([ISSUER, ENDPOINT], json!({ "clientId": null }), Ok(())),
        ([ISSUER, ENDPOINT], json!({ "clientId": "other" }), mismatch),
        ([ISSUER, ENDPOINT], json!({ "clientSecret": "s" }), Ok(())),
    ] {
        assert_eq!(
            Box::pin(outcome(stored, options.clone())).await,
            expected,
            "{stored:?} {options}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_is_not_handed_to_another_server_either() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    let config = bench.config_with(json!({ "issuer": OTHER }));
    assert!(
        bench
            .session
            .fresh_token(&config, Glance::in_test())
            .is_none()
    );
    assert_eq!(
        code(&bench.token_with(&config).await),
        ErrorCode::IssuerMismatch
    );
}

#[tokio::test(start_paused = true)]
async fn a_login_elsewhere_while_the_lock_is_awaited_is_seen() {
    let bench = Bench::expired(ScriptedClient::new());
    let mut held = bench.lock();
    let login = async {
        super::bench::pass(1).await;
        let mut credential = bench.credential("b1", Some("s1"), 0, 3600);
        credential.issuer = Some(OTHER.into());
        credential.token_endpoint = Some(OTHER_ENDPOINT.into());
        held.replace(&credential).unwrap();
        drop(held);
    };
    let (token, ()) = tokio::join!(bench.token(), login);
    assert_eq!(code(&token), ErrorCode::IssuerMismatch);
}

#[tokio::test(start_paused = true)]
async fn status_says_that_a_login_of_another_server_is_handed_out_by_no_call() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    for options in [json!({ "issuer": OTHER }), json!({ "clientId": "other" })] {
        let config = bench.config_with(options);
        assert_eq!(
            code(&bench.token_with(&config).await),
            ErrorCode::IssuerMismatch
        );
        let status = bench.session.status(&config).await.unwrap();
        assert_eq!(status.state, State::LoginRequired);
        assert_eq!(status.last_error.unwrap().code, ErrorCode::IssuerMismatch);
        let listed = bench
            .session
            .list_profiles(&config, |all| all.collect::<Vec<_>>())
            .await
            .unwrap();
        assert_eq!(listed[0].state, State::LoginRequired);
    }
    assert_eq!(bench.status().await.state, State::Valid);
}
