//! Several access tokens of one login (RFC 8707 §2.2, RFC 6749 §6).

use serde_json::{Value, json};

use super::bench::{Bench, code, pass, refusal, rotated, tokens, tokens_for};
use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::http::scripted::{ScriptedClient, response};
use crate::secret::Secret;
use crate::session::auth_status::State;
use crate::session::cancellation::Cancellation;
use crate::session::target::Target;
use crate::session::token_request::TokenRequest;
use crate::time::Clock as _;

async fn token(bench: &Bench, options: Value, rejected: Option<&str>) -> Result<String, Error> {
    let Value::Object(options) = options else {
        unreachable!()
    };
    let request = TokenRequest {
        config: bench.config.clone(),
        target: Target::parse(&bench.config, options)?,
        rejected: rejected.map(Secret::from),
        was_accepted: false,
        required_scope: None,
        hold: None,
    };
    let token = bench
        .session
        .access_token(request, &Cancellation::default())
        .await?;
    Ok(token.expose().to_owned())
}

async fn files(bench: &Bench) -> Result<String, Error> {
    token(bench, json!({ "resource": "https://files.example" }), None).await
}

#[tokio::test(start_paused = true)]
async fn each_target_is_asked_for_once_and_renewed_as_it_ends() {
    let http = ScriptedClient::new().otherwise(|request| Ok(rotated(request, 600)));
    let bench = Bench::logged_in(http, 10, 100_000);
    assert_eq!(files(&bench).await.unwrap(), "a2");
    let mail = json!({ "scopes": ["mail"] });
    assert_eq!(token(&bench, mail.clone(), None).await.unwrap(), "a3");
    assert_eq!(files(&bench).await.unwrap(), "a2");
    assert_eq!(token(&bench, mail, None).await.unwrap(), "a3");
    assert_eq!(
        bench.token().await.unwrap(),
        "a1",
        "the login keeps its own"
    );
    assert_eq!(bench.spent(), ["r1", "r2"]);
    assert_eq!(bench.file()["refresh"], "r3");
    assert_eq!(bench.file()["access"], "a1");
    pass(599).await;
    assert_eq!(files(&bench).await.unwrap(), "a4");
    assert_eq!(bench.file()["refresh"], "r4");
    let sent = bench.http.received();
    assert_eq!(sent[0].parameter("resource"), Some("https://files.example"));
    assert_eq!(sent[0].parameter("scope"), None);
    assert_eq!(sent[1].parameter("scope"), Some("mail"));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_one_is_replaced_and_the_others_stay() {
    let http = ScriptedClient::new().otherwise(|request| Ok(rotated(request, 3600)));
    let bench = Bench::logged_in(http, 10, 3600);
    assert_eq!(files(&bench).await.unwrap(), "a2");
    let options = json!({ "resource": "https://files.example" });
    let renewed = token(&bench, options.clone(), Some("a2")).await;
    assert_eq!(renewed.unwrap(), "a3");
    // Late news of the one before it.
    assert_eq!(
        token(&bench, options.clone(), Some("a2")).await.unwrap(),
        "a3"
    );
    assert_eq!(bench.token().await.unwrap(), "a1");
    // The limit of refreshes that helped nobody is the target's own.
    assert_eq!(
        token(&bench, options.clone(), Some("a3")).await.unwrap(),
        "a4"
    );
    assert_eq!(
        token(&bench, options.clone(), Some("a4")).await.unwrap(),
        "a5"
    );
    assert_eq!(token(&bench, options, Some("a5")).await.unwrap(), "a5");
    assert_eq!(bench.token_instead_of("a1").await.unwrap(), "a6");
}

#[tokio::test(start_paused = true)]
async fn another_login_and_a_logout_leave_none_behind() {
    let http = ScriptedClient::new().otherwise(|request| Ok(rotated(request, 3600)));
    let bench = Bench::logged_in(http, 10, 3600);
    assert_eq!(files(&bench).await.unwrap(), "a2");
    // By another process.
    pass(1).await;
    bench.store(&bench.credential("b1", Some("r10"), 0, 3600));
    assert_eq!(files(&bench).await.unwrap(), "a11");
    let now = bench.clock.now();
    bench.lock().log_out(now, MayBlock::in_test()).unwrap();
    assert_eq!(code(&files(&bench).await), ErrorCode::LoginRequired);
    assert_eq!(bench.spent(), ["r1", "r10"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_target_says_nothing_about_the_login() {
    for (status, refused) in [(400, "invalid_target"), (400, "invalid_scope"), (500, "x")] {
        let http = ScriptedClient::new().otherwise(move |request| {
            Ok(match request.parameter("resource") {
                Some(_) => response(status, &refusal(refused)),
                None => rotated(request, 3600),
            })
        });
        let bench = Bench::logged_in(http, 10, 3600);
        let error = files(&bench).await.unwrap_err();
        assert!(!error.needs_login(), "{error:?}");
        let asked = bench.spent().len();
        // Not asked again at every call.
        assert_eq!(code(&files(&bench).await), error.code());
        assert_eq!(bench.spent().len(), asked);
        assert_eq!(bench.file().get("lastRefresh"), None);
        assert_eq!(bench.token().await.unwrap(), "a1");
        pass(3600).await;
        assert_eq!(bench.token().await.unwrap(), "a2");
        assert_eq!(bench.status().await.state, State::Valid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_refused_like_an_ended_login_is_told_from_one() {
    let http = ScriptedClient::new().otherwise(|request| {
        Ok(match request.parameter("resource") {
            Some(_) => response(400, &refusal("invalid_grant")),
            None => rotated(request, 3600),
        })
    });
    let bench = Bench::logged_in(http, 10, 3600);
    let error = files(&bench).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OauthError);
    assert_eq!(error.oauth().unwrap().error, "invalid_grant");
    assert_eq!(bench.file()["refresh"], "r2");
    assert_eq!(bench.token().await.unwrap(), "a2");
    assert_eq!(bench.status().await.state, State::Valid);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_has_ended_is_found_by_any_of_its_tokens() {
    let http = ScriptedClient::new().otherwise(|_| Ok(response(400, &refusal("invalid_grant"))));
    let bench = Bench::logged_in(http, 10, 3600);
    assert_eq!(code(&files(&bench).await), ErrorCode::LoginRequired);
    assert_eq!(bench.status().await.state, State::LoginRequired);
    let asked = bench.spent().len();
    assert_eq!(code(&files(&bench).await), ErrorCode::LoginRequired);
    assert_eq!(bench.spent().len(), asked);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_still_leaves_the_new_refresh_token() {
    let unusable =
        json!({ "access_token": "not a token", "refresh_token": "r2", "token_type": "Bearer" });
    let http = ScriptedClient::new()
        .answer(200, &unusable.to_string())
        .answer(200, &tokens("a3", "r3"));
    let bench = Bench::logged_in(http, 10, 3600);
    assert_eq!(code(&files(&bench).await), ErrorCode::InvalidResponse);
    assert_eq!(bench.file()["refresh"], "r2");
    assert_eq!(bench.token().await.unwrap(), "a1");
    pass(30).await;
    assert_eq!(files(&bench).await.unwrap(), "a3");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_of_the_login_stays_rejected() {
    let http = ScriptedClient::new()
        .answer(400, &refusal("unsupported_grant_type"))
        .answer(200, &tokens_for("f", "r2", 3600))
        .answer(200, &tokens("a3", "r3"));
    let bench = Bench::logged_in(http, 10, 3600);
    let refused = bench.token_instead_of("a1").await;
    assert_eq!(code(&refused), ErrorCode::OauthError);
    pass(60).await;
    assert_eq!(files(&bench).await.unwrap(), "f");
    assert_eq!(bench.token().await.unwrap(), "a3", "not the rejected one");
}

#[tokio::test(start_paused = true)]
async fn a_login_without_a_refresh_token_gives_its_own_alone() {
    let bench = Bench::new(ScriptedClient::new());
    bench.store(&bench.credential("a1", None, 10, 3600));
    let error = files(&bench).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::LoginRequired);
    assert!(
        error.message().contains("https://files.example"),
        "{error:?}"
    );
    assert_eq!(bench.token().await.unwrap(), "a1");
}
