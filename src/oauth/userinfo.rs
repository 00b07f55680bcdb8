//! Asking whose an access token is (`OpenID` Connect Core §5.3).

use std::time::Duration;

use serde_json::{Map, Value};

use super::answer::{Answer, Members};
use super::dpop::{DPOP, Dpop};
use super::error_response::ErrorResponse;
use super::server_text::Secrets;
use crate::error::{Error, ErrorCode};
use crate::http::{Body, Endpoint, HttpClient, Request};
use crate::jwt;
use crate::secret::Secret;

const WHAT: &str = "The userinfo request failed";
const NEXT: &str = "Check the endpoint, and that `scopes` has the scope that it wants, such as \"openid\"; then log in again.";

/// The userinfo request, and what is known of the account already.
pub(crate) struct UserinfoRequest<'a> {
    /// The userinfo endpoint, or another one that says whose a token is.
    pub(crate) endpoint: &'a Endpoint,
    /// The access token.
    pub(crate) access: &'a Secret,
    /// The ID token that came with it.
    pub(crate) id_token: Option<&'a Secret>,
    /// `sub` of the token answer.
    pub(crate) subject: Option<&'a str>,
    /// The key that the access token is bound to.
    pub(crate) dpop: Option<Dpop<'a>>,
}

/// Asks once. Gives the account, cleaned for showing, as `sub`, `name` and `email`.
///
/// # Errors
/// Those of the network, and of an answer that names no account, or another one than the ID token is of.
pub(crate) async fn userinfo(
    http: &dyn HttpClient,
    request: &UserinfoRequest<'_>,
    timeout: Duration,
) -> Result<Map<String, Value>, Error> {
    let UserinfoRequest { endpoint, dpop, .. } = *request;
    let token = request.access;
    let scheme = if dpop.is_some() { DPOP } else { "Bearer" };
    let mut may_repeat = dpop.is_some();
    let response = loop {
        // RFC 9449 §7.1: bound tokens go with "the DPoP authentication scheme", and with a proof of their own.
        let proof = dpop.map(|dpop| dpop.proof("GET", endpoint, Some(token)));
        let sent = http.send(Request {
            url: endpoint.clone(),
            body: Body::Get,
            authorization: Some(Secret::new(format!("{scheme} {}", token.expose()))),
            dpop: proof.transpose()?,
            timeout,
        });
        let response = sent.await.map_err(|failure| failure.to_error(endpoint))?;
        // RFC 9449 §9: a resource server that wants its nonce in the proof "responds with a 401 and a DPoP-Nonce".
        match (&dpop, &response.dpop_nonce) {
            (Some(dpop), Some(nonce)) if response.status == 401 && may_repeat => {
                dpop.nonces.learn(endpoint, nonce);
                may_repeat = false;
            }
            _ => break response,
        }
    };
    let mut answer = Answer::read(endpoint, &response);
    answer.has_proof = dpop.is_some();
    let secrets = Secrets::new([token.clone()]);
    if let Some(refusal) = ErrorResponse::read(&answer, "", &secrets) {
        return Err(refusal.to_error(&answer, WHAT, NEXT));
    }
    let Some(members) = answer.members().filter(|_| answer.is_success()) else {
        // OpenID Connect Core §5.3.2: signed where the client has "registered to receive" that; no key is here to
        // verify it with.
        let text = String::from_utf8_lossy(&response.body);
        if jwt::claims(&Secret::from(text.trim())).is_some() {
            let next = "Let the server answer this client in JSON (`userinfo_signed_response_alg` of its registration).";
            let what = "The userinfo answer is signed, and was left unread";
            return Err(answer.error(ErrorCode::InvalidResponse, what, None, next));
        }
        return Err(answer.not_oauth(WHAT, None, NEXT));
    };
    check_subject(request, members.text("sub")).map_err(|what| {
        answer.error(
            ErrorCode::InvalidResponse,
            what,
            None,
            "Nothing of it is used.",
        )
    })?;
    let account = account(members, &secrets);
    if account.is_empty() {
        let what = "The userinfo answer names no account";
        return Err(answer.error(ErrorCode::InvalidResponse, what, None, NEXT));
    }
    Ok(account)
}

/// `OpenID` Connect Core §5.3.2: "The sub Claim in the `UserInfo` Response MUST be verified to exactly match the sub Claim
/// in the ID Token; if they do not match, the `UserInfo` Response values MUST NOT be used."
fn check_subject(request: &UserinfoRequest<'_>, said: Option<&str>) -> Result<(), &'static str> {
    let claims = request.id_token.and_then(jwt::claims).unwrap_or_default();
    let known = [claims.get("sub").and_then(Value::as_str), request.subject];
    if known.into_iter().flatten().all(|known| said == Some(known)) {
        Ok(())
    } else {
        Err("The userinfo answer is of another account than the tokens")
    }
}

/// The account, under the names of its claims. Services without `OpenID` Connect have an endpoint like it, with names
/// of their own.
fn account(members: &Members, secrets: &Secrets) -> Map<String, Value> {
    const NAMES: [(&str, &[&str]); 3] = [
        ("sub", &["sub", "id"]),
        (
            "name",
            &[
                "name",
                "display_name",
                "preferred_username",
                "username",
                "login",
            ],
        ),
        ("email", &["email"]),
    ];
    let text = |name: &str| match members.value(name)? {
        Value::String(text) => secrets.description(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let found = NAMES.into_iter().filter_map(|(claim, names)| {
        let value = names.iter().find_map(|name| text(name))?;
        Some((claim.to_owned(), value.into()))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::scripted::ScriptedClient;

    async fn asked(
        http: &ScriptedClient,
        id_token: Option<&str>,
        subject: Option<&str>,
    ) -> Result<Value, Error> {
        let endpoint = Endpoint::parse("https://a.example/me").unwrap();
        let (access, id_token) = (Secret::from("canary-token"), id_token.map(Secret::from));
        let request = UserinfoRequest {
            endpoint: &endpoint,
            access: &access,
            id_token: id_token.as_ref(),
            subject,
            dpop: None,
        };
        let said = userinfo(http, &request, Duration::from_secs(10)).await;
        said.map(Value::Object)
    }

    async fn said(body: &str) -> Result<Value, Error> {
        asked(&ScriptedClient::new().answer(200, body), None, None).await
    }

    #[tokio::test]
    async fn the_request_is_of_rfc_6750_section_2_1() {
        let http = ScriptedClient::new().answer(200, r#"{"sub":"1"}"#);
        assert_eq!(asked(&http, None, None).await.unwrap(), json!({"sub": "1"}));
        let [received] = &http.received()[..] else {
            panic!("one request");
        };
        assert_eq!(
            (received.method, received.url.as_str()),
            ("GET", "https://a.example/me")
        );
        assert_eq!(
            received.authorization.as_deref(),
            Some("Bearer canary-token")
        );
    }

    #[tokio::test]
    async fn the_account_is_read_from_claims_and_from_what_services_without_them_say() {
        for (body, account) in [
            (
                json!({"sub": "1", "name": "Ada\u{202e} L", "preferred_username": "ada", "email": "ada@example.com"}),
                json!({"sub": "1", "name": "Ada L", "email": "ada@example.com"}),
            ),
            (
                json!({"id": 583_231, "login": "octocat", "name": null, "email": ""}),
                json!({"sub": "583231", "name": "octocat"}),
            ),
            (
                json!({"id": "abc", "display_name": "Ada", "images": []}),
                json!({"sub": "abc", "name": "Ada"}),
            ),
            (
                json!({"sub": "1", "name": "has canary-token in it"}),
                json!({"sub": "1", "name": "has [removed] in it"}),
            ),
        ] {
            assert_eq!(said(&body.to_string()).await.unwrap(), account, "{body}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_names_nobody_says_why() {
        let jwt = "e30.eyJzdWIiOiIxIn0.c2ln";
        for (status, body, code, word) in [
            (200, "{}", ErrorCode::InvalidResponse, "names no account"),
            (
                200,
                r#"{"sub":[1]}"#,
                ErrorCode::InvalidResponse,
                "names no account",
            ),
            (
                200,
                jwt,
                ErrorCode::InvalidResponse,
                "userinfo_signed_response_alg",
            ),
            (
                200,
                "<html>",
                ErrorCode::InvalidResponse,
                "userinfo request failed",
            ),
            (404, "<html>", ErrorCode::ServerError, "HTTP 404"),
            (500, "", ErrorCode::ServerError, "try again later"),
            (
                403,
                r#"{"error":"insufficient_scope"}"#,
                ErrorCode::OauthError,
                "insufficient_scope",
            ),
            (
                302,
                "",
                ErrorCode::InvalidResponse,
                "redirects are not followed",
            ),
        ] {
            let http = ScriptedClient::new().answer(status, body);
            let error = asked(&http, None, None).await.unwrap_err();
            assert_eq!(error.code(), code, "{status} {body}: {}", error.message());
            assert!(error.message().contains(word), "{}", error.message());
            assert!(!error.message().contains("eyJ"), "{}", error.message());
        }
    }

    #[tokio::test]
    async fn an_answer_of_another_account_is_not_used() {
        let ada = "e30.eyJzdWIiOiJhZGEifQ.c2ln";
        for (id_token, subject, body, is_used) in [
            (Some(ada), None, r#"{"sub":"ada"}"#, true),
            (Some(ada), Some("ada"), r#"{"sub":"ada"}"#, true),
            (Some(ada), None, r#"{"sub":"Ada","name":"x"}"#, false),
            (Some(ada), None, r#"{"name":"x"}"#, false),
            (None, Some("did:plc:1"), r#"{"sub":"did:plc:2"}"#, false),
            (None, None, r#"{"sub":"anybody"}"#, true),
            (Some("opaque"), None, r#"{"sub":"anybody"}"#, true),
        ] {
            let http = ScriptedClient::new().answer(200, body);
            let said = asked(&http, id_token, subject).await;
            assert_eq!(said.is_ok(), is_used, "{body} {said:?}");
        }
    }
}
