//! Logins that are bound to a key (RFC 9449).

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Bench, ISSUER, START, TOKEN_ENDPOINT, pass, refusal};
use crate::blocking::Glance;
use crate::error::{Error, ErrorCode};
use crate::http::scripted::{Received, ScriptedClient, response};
use crate::http::{FailureKind, Response};
use crate::oauth::dpop::DpopKey;
use crate::oauth::dpop::tests::{signer, verified, wants_nonce, with_nonce};
use crate::secret::Secret;
use crate::session::Session;
use crate::session::auth_status::{AuthStatus, State};
use crate::session::authorization::{Authorization, ResourceRequest};
use crate::session::cancellation::Cancellation;
use crate::session::config::AuthConfig;
use crate::session::device_tokens::{Observer, Progress};
use crate::session::target::Target;
use crate::session::verification::Verification;

const DEVICE_ENDPOINT: &str = "https://auth.example.com/device";

/// Shows nothing, and counts what it would show.
#[derive(Default)]
struct Person(Mutex<usize>);

impl Observer for Person {
    fn verification(&self, _: Verification) {
        *self.0.lock().unwrap() += 1;
    }

    fn progress(&self, _: Progress) {}
}

fn dpop_tokens(access: &str, refresh: &str) -> Response {
    let tokens = json!({ "access_token": access, "refresh_token": refresh, "token_type": "dpop", "expires_in": 3600 });
    response(200, &tokens.to_string())
}

/// A server that binds refresh tokens to the key of the login: `r1` becomes `a2` and `r2`, and so on.
fn binding_server() -> ScriptedClient {
    let bound: Mutex<Option<Value>> = Mutex::default();
    ScriptedClient::new().otherwise(move |request| {
        if request.url == DEVICE_ENDPOINT {
            let code = json!({ "device_code": "canary", "user_code": "WDJB-MJHT", "expires_in": 600, "interval": 5,
                "verification_uri": "https://auth.example.com/go" });
            return Ok(response(200, &code.to_string()));
        }
        let signer = signer(request.dpop.as_deref().expect("a token request has a proof"));
        let mut bound = bound.lock().unwrap();
        let Some(spent) = request.parameter("refresh_token") else {
            *bound = Some(signer);
            return Ok(dpop_tokens("a1", "r1"));
        };
        if bound.as_ref() != Some(&signer) {
            return Ok(response(400, &refusal("invalid_grant")));
        }
        let next = spent.trim_start_matches('r').parse::<u32>().unwrap() + 1;
        Ok(dpop_tokens(&format!("a{next}"), &format!("r{next}")))
    })
}

fn config(bench: &Bench) -> AuthConfig {
    bench.config_with(json!({
        "deviceAuthorizationEndpoint": DEVICE_ENDPOINT, "tokenEndpoint": TOKEN_ENDPOINT, "issuer": null, "dpop": true,
    }))
}

async fn login(bench: &Bench, config: &AuthConfig) -> Result<AuthStatus, Error> {
    let session = &bench.session;
    session
        .login(config, &Person::default(), &Cancellation::default())
        .await
}

/// Logged in with `a1` and `r1`, bound to a key.
async fn bound(http: ScriptedClient) -> (Bench, AuthConfig) {
    let bench = Bench::new(http);
    let config = config(&bench);
    login(&bench, &config).await.unwrap();
    (bench, config)
}

/// A bound login with an expired token.
fn bound_and_expired(http: ScriptedClient) -> Bench {
    bound_since(http, 3601)
}

/// A bound login with a token that has lived for `age` seconds of an hour.
fn bound_since(http: ScriptedClient, age: i64) -> Bench {
    let bench = Bench::new(http);
    let mut credential = bench.credential("a1", Some("r1"), age, 3600);
    credential.token_type = "DPoP".into();
    credential.dpop_key = Some(DpopKey::generate().unwrap().stored().clone());
    bench.store(&credential);
    bench
}

fn proof(request: &Received) -> (Value, Value) {
    verified(request.dpop.as_deref().unwrap())
}

fn authorization(
    session: &Session,
    config: &AuthConfig,
    url: &str,
    nonce: Option<&str>,
) -> Result<Authorization, Error> {
    let request = ResourceRequest {
        method: "get".into(),
        url: url.into(),
        nonce: nonce.map(str::to_owned),
    };
    session
        .authorization(config, &request, &Target::default(), Glance::in_test())
        .map(|authorization| authorization.expect("nothing has to be fetched"))
}

#[tokio::test(start_paused = true)]
async fn one_key_from_the_login_on_in_every_process() {
    let (bench, config) = bound(binding_server()).await;
    let file = bench.file();
    assert_eq!(
        (&file["tokenType"], &file["version"]),
        (&json!("DPoP"), &json!(1))
    );
    let status = bench.session.status(&config).await.unwrap();
    assert!(status.dpop);
    assert!(!format!("{status:?}").contains(file["dpopKey"].as_str().unwrap()));

    pass(3601).await;
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
    pass(3601).await;
    let other = bench.another_process();
    // The login stays bound, even under a config of another process without `dpop`.
    let unasked = AuthConfig {
        dpop: false,
        ..config.clone()
    };
    let token = super::bench::token(&other, &unasked, None, &Cancellation::default()).await;
    assert_eq!(token.unwrap(), "a3");
    assert_eq!(bench.file()["dpopKey"], file["dpopKey"]);
    assert_eq!(bench.file()["tokenType"], "DPoP");

    let asked = bench.http.received();
    assert_eq!(asked[0].url, DEVICE_ENDPOINT);
    assert_eq!(asked[0].dpop, None, "only token requests need a proof");
    let (header, claims) = proof(&asked[1]);
    assert_eq!(
        (&claims["htm"], &claims["htu"], &claims["ath"]),
        (&json!("POST"), &json!(TOKEN_ENDPOINT), &json!(null))
    );
    for request in &asked[2..] {
        assert_eq!(proof(request).0, header);
        assert_ne!(proof(request).1["jti"], claims["jti"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_login_makes_a_new_key_and_one_without_dpop_none() {
    let (bench, config) = bound(binding_server()).await;
    let first = bench.file()["dpopKey"].clone();
    login(&bench, &config).await.unwrap();
    assert_ne!(bench.file()["dpopKey"], first);

    let http = ScriptedClient::new()
        .answer(200, r#"{"device_code":"d","user_code":"U","expires_in":600,"verification_uri":"https://a.example/go"}"#)
        .answer(200, r#"{"access_token":"b1","token_type":"Bearer"}"#);
    let plain = Bench::new(http);
    let unasked = AuthConfig {
        dpop: false,
        ..super::dpop::config(&plain)
    };
    assert!(!login(&plain, &unasked).await.unwrap().dpop);
    assert_eq!(plain.file()["dpopKey"], Value::Null);
    assert!(
        plain
            .http
            .received()
            .iter()
            .all(|request| request.dpop.is_none())
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_not_bound_are_discarded() {
    for token_type in [r#","token_type":"Bearer""#, ""] {
        let http = ScriptedClient::new()
            .answer(200, r#"{"device_code":"d","user_code":"U","expires_in":600,"verification_uri":"https://a.example/go"}"#)
            .answer(200, &format!(r#"{{"access_token":"canary","refresh_token":"canary"{token_type}}}"#));
        let bench = Bench::new(http);
        let error = login(&bench, &config(&bench)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidResponse);
        assert!(error.message().contains("`dpop`") && !error.message().contains("canary"));
        assert_eq!(bench.status().await.state, State::LoggedOut);
    }
    // At a refresh as well, a bound token does not become a bearer token.
    let bench = bound_and_expired(ScriptedClient::new().answer(
        200,
        r#"{"access_token":"canary","token_type":"Bearer","expires_in":3600}"#,
    ));
    assert_eq!(
        bench.token().await.unwrap_err().code(),
        ErrorCode::InvalidResponse
    );
    assert_eq!(bench.file()["access"], "a1");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_offer_it_is_refused_before_a_code_is_shown() {
    let metadata = |more: &str| {
        format!(
            r#"{{"issuer":"{ISSUER}","token_endpoint":"{TOKEN_ENDPOINT}","device_authorization_endpoint":"{DEVICE_ENDPOINT}"{more}}}"#
        )
    };
    for offered in [
        "",
        r#","dpop_signing_alg_values_supported":[]"#,
        r#","dpop_signing_alg_values_supported":["RS256","EdDSA"]"#,
    ] {
        let bench = Bench::new(ScriptedClient::new().answer(200, &metadata(offered)));
        let person = Person::default();
        let config = bench.config_with(json!({ "dpop": true }));
        let outcome = bench
            .session
            .login(&config, &person, &Cancellation::default())
            .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidConfig);
        assert!(
            error.message().contains("`dpop`") && error.message().contains("ES256"),
            "{error}"
        );
        assert_eq!(*person.0.lock().unwrap(), 0);
        assert_eq!(bench.http.received().len(), 1);
    }
    let offering = metadata(r#","dpop_signing_alg_values_supported":["RS256","ES256"]"#);
    let server = binding_server();
    let bench = Bench::new(server.answer(200, &offering));
    let config = bench.config_with(json!({ "dpop": true }));
    assert!(login(&bench, &config).await.unwrap().dpop);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_costs_no_attempt_and_is_remembered() {
    // The one replay that a lost answer has is still there after a nonce was asked for.
    let bench = bound_and_expired(
        ScriptedClient::new()
            .respond(wants_nonce("n1"))
            .fail(FailureKind::Broken, "reset")
            .respond(with_nonce("n2", dpop_tokens("a2", "r2")))
            .respond(dpop_tokens("a3", "r3")),
    );
    assert_eq!(bench.token().await.unwrap(), "a2");
    pass(3601).await;
    assert_eq!(bench.token().await.unwrap(), "a3");
    let nonces: Vec<Value> = bench
        .http
        .received()
        .iter()
        .map(|request| proof(request).1["nonce"].clone())
        .collect();
    assert_eq!(nonces, [json!(null), json!("n1"), json!("n1"), json!("n2")]);
    assert_eq!(bench.spent(), ["r1", "r1", "r1", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn an_advisory_refresh_that_is_asked_for_a_nonce_repeats_it_too() {
    let http = ScriptedClient::new()
        .respond(wants_nonce("n1"))
        .respond(dpop_tokens("a2", "r2"));
    let bench = bound_since(http, 3480);
    assert_eq!(bench.token().await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_has_enough_of_nonces_keeps_the_login() {
    let bench = bound_and_expired(ScriptedClient::new().otherwise(|_| Ok(wants_nonce("n"))));
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ServerError);
    assert!(error.is_retryable() && !error.needs_login());
    assert_eq!(error.oauth().unwrap().error, "use_dpop_nonce");
    assert_eq!(bench.http.received().len(), 2);
    assert_eq!(bench.file()["refresh"], "r1");
    assert_eq!(bench.status().await.state, State::Valid);
}

#[tokio::test(start_paused = true)]
async fn polls_repeat_at_once_and_the_answer_to_the_code_has_the_nonce() {
    let code = r#"{"device_code":"d","user_code":"U","expires_in":600,"interval":5,"verification_uri":"https://a.example/go"}"#;
    let http = ScriptedClient::new()
        .answer(200, code)
        .respond(wants_nonce("n1"))
        .respond(with_nonce(
            "n2",
            response(400, &refusal("authorization_pending")),
        ))
        .respond(dpop_tokens("b1", "s1"));
    let start = tokio::time::Instant::now();
    let (bench, _) = bound(http).await;
    assert_eq!(bench.http.seconds_since(start), [0, 5, 5, 10]);
    assert_eq!(proof(&bench.http.received()[3]).1["nonce"], "n2");
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_is_refused_for_the_clock_says_so_and_keeps_the_login() {
    let refused = |skew| Response {
        date: Some(START.plus(Duration::from_secs(skew))),
        ..response(400, &refusal("invalid_dpop_proof"))
    };
    let bench = bound_and_expired(
        ScriptedClient::new()
            .respond(refused(900))
            .respond(refused(2))
            .respond(dpop_tokens("a2", "r2")),
    );
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OauthError);
    assert!(!error.needs_login());
    assert!(error.message().contains("900 s apart"), "{error}");
    pass(2).await;
    let error = bench.token().await.unwrap_err();
    assert!(!error.message().contains("clock"), "{error}");
    pass(3).await;
    assert_eq!(bench.token().await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn another_key_ends_the_login_until_the_right_one_is_back() {
    let (bench, config) = bound(binding_server()).await;
    let right = bench.file()["dpopKey"].clone();
    let write = bench.overwrite();
    write(
        "dpopKey",
        json!(DpopKey::generate().unwrap().stored().expose()),
    );
    pass(3601).await;
    let error = bench.token_with(&config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LoginRequired);
    assert_eq!(
        bench.file()["refresh"],
        "r1",
        "nothing is deleted for an error"
    );
    // No request while nothing has changed; but the refusal was about that key.
    let asked = bench.http.received().len();
    bench.token_with(&config).await.unwrap_err();
    assert_eq!(bench.http.received().len(), asked);
    write("dpopKey", right);
    assert_eq!(bench.token_with(&config).await.unwrap(), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_key_is_told_and_spends_nothing() {
    let bench = bound_and_expired(ScriptedClient::new());
    bench.overwrite()("dpopKey", json!("canary"));
    let error = bench.token().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreCorrupt);
    assert!(error.needs_login() && !error.message().contains("canary"));
    assert_eq!(bench.file()["refresh"], "r1");
    let error = authorization(&bench.session, &bench.config, "https://api.example/", None);
    assert_eq!(error.err().unwrap().code(), ErrorCode::StoreCorrupt);
}

#[tokio::test(start_paused = true)]
async fn the_headers_of_a_request() {
    let (bench, config) = bound(binding_server()).await;
    let url = "https://api.example/n?q=1#part";
    let headers = authorization(&bench.session, &config, url, None).unwrap();
    assert_eq!(headers.authorization.expose(), "DPoP a1");
    let (header, claims) = verified(headers.dpop.unwrap().expose());
    assert_eq!(header, proof(&bench.http.received()[1]).0);
    assert_eq!(
        claims,
        json!({ "jti": claims["jti"], "htm": "GET", "htu": "https://api.example/n", "iat": claims["iat"],
            "ath": crate::secret::sha256_base64url("a1") })
    );
    // A nonce of the service is used there from now on, and not at the authorization server.
    let nonce = |url: &str, given: Option<&str>| {
        let headers = authorization(&bench.session, &config, url, given).unwrap();
        verified(headers.dpop.unwrap().expose()).1["nonce"].clone()
    };
    assert_eq!(nonce(url, Some("n1")), "n1");
    assert_eq!(nonce("https://api.example/other", None), "n1");
    pass(3601).await;
    bench.token_with(&config).await.unwrap();
    assert_eq!(
        proof(bench.http.received().last().unwrap()).1["nonce"],
        Value::Null
    );
}

#[tokio::test(start_paused = true)]
async fn a_login_without_a_key_gives_a_bearer_token_alone() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    let asked = bench.config_with(json!({ "dpop": true }));
    for config in [&bench.config, &asked] {
        let headers = authorization(
            &bench.session,
            config,
            "http://localhost:8080/n",
            Some("n1"),
        )
        .unwrap();
        assert_eq!(headers.authorization.expose(), "Bearer a1");
        assert!(headers.dpop.is_none());
    }
    assert!(!bench.status().await.dpop);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_gets_no_token() {
    let bench = Bench::logged_in(ScriptedClient::new(), 10, 3600);
    for url in ["", "n", "http://api.example/n", "https://u:p@api.example/"] {
        let error = authorization(&bench.session, &bench.config, url, None).err();
        let error = error.unwrap();
        assert_eq!(error.code(), ErrorCode::InvalidConfig, "{url}");
        assert!(error.message().contains("`url`"), "{error}");
    }
    let request = ResourceRequest {
        method: "GET\",\"x\":\"".into(),
        url: "https://api.example/".into(),
        nonce: None,
    };
    let error = bench
        .session
        .authorization(
            &bench.config,
            &request,
            &Target::default(),
            Glance::in_test(),
        )
        .err();
    assert_eq!(error.unwrap().code(), ErrorCode::InvalidConfig);
    // The login of another server gets none either, and nobody who is not logged in.
    let other = bench.config_with(json!({ "issuer": "https://other.example" }));
    let error = authorization(&bench.session, &other, "https://api.example/", None).err();
    assert_eq!(error.unwrap().code(), ErrorCode::IssuerMismatch);
    let nobody = bench.config_with(json!({ "profile": "nobody" }));
    let error = authorization(&bench.session, &nobody, "https://api.example/", None).err();
    assert_eq!(error.unwrap().code(), ErrorCode::LoginRequired);
}

#[tokio::test(start_paused = true)]
async fn hosts_that_keep_the_tokens_are_told_that_there_is_no_place_for_a_key() {
    let bench = Bench::new(ScriptedClient::new());
    let (config, cancellation) = (config(&bench), Cancellation::default());
    let person = Person::default();
    let login = bench
        .session
        .authorize_device(&config, &person, &cancellation)
        .await;
    let refresh = bench
        .session
        .refresh_tokens(&config, &Secret::from("r"), &cancellation)
        .await;
    for outcome in [login, refresh] {
        let error = outcome.err().unwrap();
        assert_eq!(error.code(), ErrorCode::InvalidConfig);
        assert!(error.message().contains("`dpop`"), "{error}");
    }
    assert!(bench.http.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_a_proof_of_a_login_without_a_key_is_told_apart_from_one_that_is_busy()
{
    for error in ["use_dpop_nonce", "invalid_dpop_proof"] {
        let refused = with_nonce("n1", response(400, &refusal(error)));
        let code = r#"{"device_code":"d","user_code":"U","expires_in":600,"verification_uri":"https://a.example/go"}"#;
        let bench = Bench::new(ScriptedClient::new().answer(200, code).respond(refused));
        let unasked = AuthConfig {
            dpop: false,
            ..config(&bench)
        };
        let told = login(&bench, &unasked).await.unwrap_err();
        assert_eq!(told.code(), ErrorCode::OauthError);
        assert!(told.message().contains("`dpop: true`"), "{told}");
        assert_eq!(bench.http.received().len(), 2);
    }
}
