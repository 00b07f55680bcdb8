//! Dynamic client registration (RFC 7591), for a client that only ever uses one flow.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::answer::{Answer, Content, Malformed, Members};
use super::client::{Client, ClientAuthentication};
use super::error_response::{ErrorKind, ErrorResponse};
use super::meaning::Meaning;
use super::server_text::{Secrets, visible};
use crate::error::{Error, ErrorCode};
use crate::http::{Body, Endpoint, HttpClient};
use crate::secret::Secret;
use crate::time::UnixMillis;

pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 8252 §7.3: "http://127.0.0.1:{port}/{path}", where the server "MUST allow any port". Never used: it only
/// satisfies.
const LOOPBACK_REDIRECT: &str = "http://127.0.0.1/callback";
const AUTHENTICATION_METHOD: &str = "token_endpoint_auth_method";
const LONGEST_CLIENT_ID: usize = 1024;
const WHAT: &str = "The client could not be registered";
const BY_HAND: &str = "Register a client at the server by hand and configure its clientId.";

/// The client registration request.
pub(crate) struct RegistrationRequest<'a> {
    /// The registration endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// `client_name`
    pub(crate) client_name: &'a str,
    /// `token_endpoint_auth_method`, where no other will do.
    pub(crate) authentication: Option<ClientAuthentication>,
    /// `token_endpoint_auth_methods_supported` of the metadata.
    pub(crate) supported: Option<&'a [String]>,
    /// `scope`
    pub(crate) scopes: &'a [String],
    /// The one of `redirect_uris`, for the authorization code flow; nothing for the device flow.
    pub(crate) redirect_uri: Option<&'a str>,
    /// `jwks`, for `private_key_jwt`.
    pub(crate) jwks: Option<Value>,
    /// Further members from the configuration; they win, and null removes a default member.
    pub(crate) metadata: &'a Map<String, Value>,
}

/// The client information response.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the names are RFC 7592's own")]
pub(crate) struct Registration {
    /// `client_id` and `client_secret`, and how to use them.
    pub(crate) client: Client,
    /// `client_secret_expires_at`; nothing if it does not end.
    pub(crate) secret_expires_at: Option<UnixMillis>,
    /// `registration_client_uri` (RFC 7592)
    pub(crate) registration_client_uri: Option<String>,
    /// `registration_access_token` (RFC 7592)
    pub(crate) registration_access_token: Option<Secret>,
}

/// Registers a client for the authorization code flow, or a device-only one; where the server insists on a redirect
/// URI, one that has a loopback one; and where it refuses a client authentication, one with the next that it offers.
pub(crate) async fn register(
    http: &dyn HttpClient,
    request: &RegistrationRequest<'_>,
    timeout: Duration,
) -> Result<Registration, Error> {
    let mut methods = request.methods().into_iter();
    let mut method = methods.next().unwrap_or(ClientAuthentication::None);
    let mut redirect_uri = request.redirect_uri;
    let mut document = request.document(method, redirect_uri);
    let mut answer;
    loop {
        answer = send(http, request, &document, timeout).await?;
        let refused = document;
        if redirect_uri.is_none() && insists_on_redirect(&answer, &request.secrets()) {
            redirect_uri = Some(LOOPBACK_REDIRECT);
            document = request.document(method, redirect_uri);
            if document != refused {
                continue;
            }
        }
        if !refuses_authentication(&answer, &request.secrets()) {
            document = refused;
            break;
        }
        let Some(next) = methods.next() else {
            document = refused;
            break;
        };
        method = next;
        document = request.document(method, redirect_uri);
        if document == refused {
            break;
        }
    }
    let refusal = ErrorResponse::read(&answer, "client_id", &request.secrets());
    let passes = Meaning::of(&answer, refusal.as_ref()).passes();
    if let Some(refusal) = refusal {
        return Err(refused(&answer, &refusal).passing(passes));
    }
    let asked = document
        .get(AUTHENTICATION_METHOD)
        .and_then(Value::as_str)
        .and_then(ClientAuthentication::from_name);
    // RFC 7591 §3.2.1 wants 201; there are servers that say 200.
    match answer
        .success()
        .map(|members| Registration::read(members, asked, request.supported))
    {
        Some(Ok(registration)) => Ok(registration),
        Some(Err(reason)) => {
            let what = format!("{WHAT}, because {reason}");
            Err(answer.error(ErrorCode::RegistrationFailed, &what, None, BY_HAND))
        }
        None => Err(not_registered(&answer, None).passing(passes)),
    }
}

async fn send(
    http: &dyn HttpClient,
    request: &RegistrationRequest<'_>,
    document: &Map<String, Value>,
    timeout: Duration,
) -> Result<Answer, Error> {
    let body = Body::Json(Value::Object(document.clone()).to_string());
    Answer::to(http, request.endpoint, body, None, timeout)
        .await
        .map_err(|failure| failure.to_error(request.endpoint))
}

/// Whether the server refused only because a redirect URI or a response type is missing.
fn insists_on_redirect(answer: &Answer, secrets: &Secrets) -> bool {
    // RFC 7591 §3.2.2: invalid_redirect_uri is "The value of one or more redirection URIs is invalid".
    speaks_of(
        answer,
        secrets,
        "invalid_redirect_uri",
        &["redirecturi", "responsetype"],
    )
}

/// Whether the server refused only because of the client authentication.
fn refuses_authentication(answer: &Answer, secrets: &Secrets) -> bool {
    let words = [
        "authmethod",
        "authenticationmethod",
        "publicclient",
        "confidential",
        "clientsecret",
    ];
    speaks_of(answer, secrets, "", &words)
}

/// Whether a refused registration may be for a member that has one of these words in it, letters alone.
fn speaks_of(answer: &Answer, secrets: &Secrets, code: &str, words: &[&str]) -> bool {
    let Some(refusal) = ErrorResponse::read(answer, "client_id", secrets) else {
        return false;
    };
    // RFC 7591 §3.2.2 has 400; a code for the metadata is one with 401 and 403 as well.
    let is_of_metadata = refusal.oauth.error == "invalid_client_metadata";
    if !matches!(answer.status, 400 | 422) && !is_of_metadata {
        return false;
    }
    let speaks_of_it = answer.members().is_some_and(|members| {
        let mut text = Value::Object(members.0.clone()).to_string();
        text.retain(|c| c.is_ascii_alphabetic());
        text.make_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    });
    // Without a description, the code for all metadata may mean it as well.
    let may_mean_it = matches!(
        refusal.oauth.error.as_str(),
        "invalid_client_metadata" | "invalid_request"
    ) && refusal.oauth.description.is_none();
    (!code.is_empty() && refusal.oauth.error == code) || speaks_of_it || may_mean_it
}

fn refused(answer: &Answer, refusal: &ErrorResponse) -> Error {
    if refusal.is_passing(answer) || refusal.kind == ErrorKind::SlowDown {
        return refusal.to_error(answer, WHAT, BY_HAND);
    }
    not_registered(answer, Some(refusal))
}

fn not_registered(answer: &Answer, refusal: Option<&ErrorResponse>) -> Error {
    let passes =
        answer.is_passing_failure() && refusal.is_none_or(|refusal| refusal.is_passing(answer));
    if passes || answer.is_redirect() {
        return answer.not_oauth(WHAT, refusal.map(|refusal| &refusal.oauth), BY_HAND);
    }
    let next = match (answer.status, &answer.content) {
        (401 | 403, Content::Text(_)) => {
            "Something in front of the server refused this program, or the server lets only known parties register: try from \
             another network, or register a client by hand and configure its clientId."
        }
        // RFC 7591 §3: the endpoint "MAY be an OAuth 2.0 protected resource and it MAY accept an initial access token".
        (401 | 403, _) => {
            "The server lets only known parties register: register a client by hand and configure its clientId."
        }
        (404 | 405, _) => {
            "Check registrationEndpoint, or register a client by hand and configure its clientId."
        }
        (_, Content::Members(_)) => {
            "Correct clientMetadata, or register a client by hand and configure its clientId."
        }
        _ => BY_HAND,
    };
    answer.error(
        ErrorCode::RegistrationFailed,
        WHAT,
        refusal.map(|refusal| &refusal.oauth),
        next,
    )
}

impl RegistrationRequest<'_> {
    /// The client authentications to ask for, the first one first. A client on a person's machine keeps no secret (RFC
    /// 8252 §8.5), so `none` where it is offered.
    fn methods(&self) -> Vec<ClientAuthentication> {
        use ClientAuthentication::{ClientSecretBasic, ClientSecretPost, None as Public};
        if let Some(method) = self.authentication {
            return vec![method];
        }
        let Some(supported) = self.supported else {
            // RFC 8414 §2: 'If omitted, the default is "client_secret_basic"'; many omit it and take public clients.
            return vec![Public, ClientSecretBasic];
        };
        // Among the methods with a secret, the server's own order decides: mcp 2.3.0 lists the best one first.
        let listed = |of: &[ClientAuthentication]| -> Vec<ClientAuthentication> {
            let known = |name: &String| of.iter().copied().find(|method| name == method.as_str());
            supported.iter().filter_map(known).collect()
        };
        [
            listed(&[Public]),
            listed(&[ClientSecretBasic, ClientSecretPost]),
        ]
        .concat()
    }

    fn document(
        &self,
        method: ClientAuthentication,
        redirect_uri: Option<&str>,
    ) -> Map<String, Value> {
        let mut document = Map::new();
        let mut set = |name: &str, value: Value| document.insert(name.to_owned(), value);
        set("client_name", json!(self.client_name));
        if let Some(redirect_uri) = redirect_uri {
            let mut grants = vec!["authorization_code", "refresh_token"];
            if self.redirect_uri.is_none() {
                // RFC 7591 §2.1: response type "code" goes with the grant type "authorization_code".
                grants.insert(0, DEVICE_CODE);
                grants.swap(1, 2);
            }
            set("redirect_uris", json!([redirect_uri]));
            set("grant_types", json!(grants));
            set("response_types", json!(["code"]));
            // OpenID Connect Dynamic Client Registration §2: only native clients may redirect to http on loopback.
            set("application_type", json!("native"));
        } else {
            // RFC 7591 §2: redirect_uris are for "redirect-based flows"; this client has none.
            set("redirect_uris", json!([]));
            set("grant_types", json!([DEVICE_CODE, "refresh_token"]));
            set("response_types", json!([]));
        }
        set(AUTHENTICATION_METHOD, json!(method.as_str()));
        if let Some(jwks) = &self.jwks {
            set("jwks", jwks.clone());
        }
        if !self.scopes.is_empty() {
            set("scope", json!(self.scopes.join(" ")));
        }
        for (name, value) in self.metadata {
            if value.is_null() {
                document.shift_remove(name);
            } else {
                document.insert(name.clone(), value.clone());
            }
        }
        document
    }

    fn secrets(&self) -> Secrets {
        let statement = self
            .metadata
            .get("software_statement")
            .and_then(Value::as_str);
        Secrets::new(statement.map(Secret::from))
    }
}

impl Registration {
    fn read(
        members: &mut Members,
        asked: Option<ClientAuthentication>,
        supported: Option<&[String]>,
    ) -> Result<Self, Malformed> {
        let id = members
            .take_text("client_id")?
            // RFC 6749 appendix A.1 allows visible ASCII and spaces. It is shown in `status` and in messages.
            .filter(|id| visible(id) == *id && id.len() <= LONGEST_CLIENT_ID)
            .ok_or_else(|| "`client_id` is missing or unusable".to_owned())?;
        // A secret that cannot be read is missed only where one is needed.
        let secret = members.take_text("client_secret").ok().flatten();
        let secret = secret.map(Secret::new);
        let authentication = authentication(members, asked, supported, secret.is_some())?;
        // A public client has no use for a secret, nor for its end.
        let secret = secret.filter(|_| authentication.needs_a_secret());
        // RFC 7591 §3.2.1: "Time at which the client secret will expire or 0 if it will not expire."
        let expires_at = members
            .number("client_secret_expires_at")
            .ok()
            .flatten()
            .filter(|seconds| *seconds > 0.0);
        Ok(Self {
            secret_expires_at: expires_at.filter(|_| secret.is_some()).map(unix_millis),
            client: Client {
                id,
                secret,
                authentication,
                assertions: None,
            },
            registration_client_uri: members
                .text("registration_client_uri")
                .and_then(|uri| Endpoint::parse(uri).ok())
                .map(|uri| uri.as_str().to_owned()),
            registration_access_token: members
                .take_token("registration_access_token")
                .ok()
                .flatten(),
        })
    }
}

fn authentication(
    members: &Members,
    asked: Option<ClientAuthentication>,
    supported: Option<&[String]>,
    has_secret: bool,
) -> Result<ClientAuthentication, Malformed> {
    let method = match members
        .text(AUTHENTICATION_METHOD)
        .filter(|name| !name.is_empty())
    {
        // RFC 7591 §3.2.1: the server "MAY reject or replace any of the client's requested metadata values"
        Some(name) => ClientAuthentication::from_name(name)
            .filter(|method| {
                *method != ClientAuthentication::PrivateKeyJwt || asked == Some(*method)
            })
            .ok_or_else(|| {
                "the server wants a client authentication that is not supported".to_owned()
            })?,
        None if !has_secret => ClientAuthentication::None,
        // RFC 7591 §2: 'If unspecified or omitted, the default is "client_secret_basic"', where the metadata has it.
        None => asked
            .filter(|asked| *asked != ClientAuthentication::None)
            .unwrap_or_else(|| Client::choose_authentication(None, None, supported, true)),
    };
    if method.needs_a_secret() && !has_secret {
        return Err("`client_secret` is missing".to_owned());
    }
    Ok(method)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, and a date that far away is as good as any other"
)]
fn unix_millis(seconds: f64) -> UnixMillis {
    UnixMillis((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::FailureKind;
    use crate::http::scripted::ScriptedClient;

    const TIMEOUT: Duration = Duration::from_secs(30);

    async fn run_with(
        http: &ScriptedClient,
        authentication: Option<ClientAuthentication>,
        metadata: Value,
    ) -> Result<Registration, Error> {
        run_offered(http, authentication, None, metadata).await
    }

    async fn run_offered(
        http: &ScriptedClient,
        authentication: Option<ClientAuthentication>,
        supported: Option<&[&str]>,
        metadata: Value,
    ) -> Result<Registration, Error> {
        let supported: Option<Vec<String>> =
            supported.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let endpoint = Endpoint::parse("https://a.example/register").unwrap();
        let Value::Object(metadata) = metadata else {
            panic!("metadata is an object")
        };
        let request = RegistrationRequest {
            endpoint: &endpoint,
            client_name: "my-memory",
            authentication,
            supported: supported.as_deref(),
            scopes: &["a".into(), "b".into()],
            redirect_uri: None,
            jwks: None,
            metadata: &metadata,
        };
        register(http, &request, TIMEOUT).await
    }

    async fn run(http: &ScriptedClient) -> Result<Registration, Error> {
        run_with(http, None, json!({})).await
    }

    fn documents(http: &ScriptedClient) -> Vec<Value> {
        let received = http.received();
        received
            .iter()
            .map(|request| serde_json::from_str(request.json.as_deref().unwrap()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn asks_for_a_device_only_public_client() {
        let http = ScriptedClient::new().answer(
            201,
            r#"{"client_id":"c","token_endpoint_auth_method":"none"}"#,
        );
        let registration = run(&http).await.unwrap();
        assert_eq!(registration.client.id, "c");
        assert_eq!(
            registration.client.authentication,
            ClientAuthentication::None
        );
        assert_eq!(
            documents(&http),
            [json!({
                "client_name": "my-memory",
                "redirect_uris": [],
                "grant_types": [DEVICE_CODE, "refresh_token"],
                "response_types": [],
                "token_endpoint_auth_method": "none",
                "scope": "a b",
            })]
        );
    }

    #[tokio::test]
    async fn the_configurations_members_win() {
        let http = ScriptedClient::new().answer(400, r#"{"error":"invalid_redirect_uri"}"#);
        let metadata = json!({"client_name":"Mine","redirect_uris":["https://m.example/cb"],"scope":null,
            "response_types":["code"],"grant_types":["authorization_code"],"application_type":"web","client_uri":"https://m.example"});
        let asked = Some(ClientAuthentication::ClientSecretBasic);
        run_with(&http, asked, metadata).await.unwrap_err();
        // no default member is left to change, so there is no second try
        let [document] = &documents(&http)[..] else {
            panic!("one request")
        };
        assert_eq!(document["client_name"], "Mine");
        assert_eq!(document["client_uri"], "https://m.example");
        assert_eq!(
            document["token_endpoint_auth_method"],
            "client_secret_basic"
        );
        assert_eq!(document.get("scope"), None);
    }

    #[tokio::test]
    async fn a_server_that_insists_gets_a_loopback_redirect_once() {
        for (status, body, insists) in [
            (400, r#"{"error":"invalid_redirect_uri"}"#, true),
            (400, r#"{"error":"invalid_client_metadata"}"#, true),
            (
                400,
                r#"{"error":"invalid_client_metadata","error_description":"redirect_uris must contain members"}"#,
                true,
            ),
            (
                400,
                r#"{"error":"invalid_client_metadata","error_description":"response_types is empty"}"#,
                true,
            ),
            (
                422,
                r#"{"detail":[{"loc":["body","redirect_uris"],"msg":"too short"}]}"#,
                true,
            ),
            (
                400,
                r#"{"error":"invalid_client_metadata","error_description":"scope is not allowed"}"#,
                false,
            ),
            (400, r#"{"error":"invalid_software_statement"}"#, false),
            (403, r#"{"error":"invalid_redirect_uri"}"#, false),
            (500, r#"{"error":"invalid_redirect_uri"}"#, false),
        ] {
            let http = ScriptedClient::new()
                .answer(status, body)
                .otherwise(|_| Ok(crate::http::scripted::response(201, r#"{"client_id":"c"}"#)));
            assert_eq!(run(&http).await.is_ok(), insists, "{status} {body}");
            if insists {
                let documents = documents(&http);
                assert_eq!(documents.len(), 2);
                assert_eq!(documents[1]["redirect_uris"], json!([LOOPBACK_REDIRECT]));
                assert_eq!(documents[1]["response_types"], json!(["code"]));
                assert_eq!(documents[1]["application_type"], "native");
            }
        }
        let twice = r#"{"error":"invalid_redirect_uri","error_description":"no loopback"}"#;
        let http = ScriptedClient::new().answer(400, twice).answer(400, twice);
        let error = run(&http).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::RegistrationFailed);
        assert_eq!(error.oauth().unwrap().error, "invalid_redirect_uri");
    }

    fn read(body: &str, asked: ClientAuthentication) -> Result<Registration, Malformed> {
        Registration::read(
            &mut crate::oauth::answer::tests::members(body),
            Some(asked),
            None,
        )
    }

    fn asked_for(http: &ScriptedClient) -> Vec<Value> {
        documents(http)
            .into_iter()
            .map(|document| document["token_endpoint_auth_method"].clone())
            .collect()
    }

    #[tokio::test]
    async fn a_client_is_registered_for_what_the_metadata_offers() {
        for (supported, asked) in [
            (None, "none"),
            (Some(&["client_secret_basic", "none"][..]), "none"),
            (
                // In the server's own order.
                Some(&["client_secret_post", "client_secret_basic"][..]),
                "client_secret_post",
            ),
            (
                Some(&["private_key_jwt", "client_secret_post"][..]),
                "client_secret_post",
            ),
            // Nothing that we know: the server may give something else.
            (Some(&["private_key_jwt"][..]), "none"),
        ] {
            let http =
                ScriptedClient::new().answer(201, r#"{"client_id":"c","client_secret":"s"}"#);
            run_offered(&http, None, supported, json!({}))
                .await
                .unwrap();
            assert_eq!(asked_for(&http), [asked], "{supported:?}");
        }
    }

    #[tokio::test]
    async fn a_refused_authentication_is_followed_by_the_next_that_is_offered() {
        const REFUSED: &str = r#"{"error":"invalid_client_metadata","error_description":"Unsupported token_endpoint_auth_method"}"#;
        const REGISTERED: &str = r#"{"client_id":"c","client_secret":"s"}"#;
        for (supported, asked) in [
            (None, vec!["none", "client_secret_basic"]),
            (
                Some(&["none", "client_secret_post"][..]),
                vec!["none", "client_secret_post"],
            ),
        ] {
            let http = ScriptedClient::new()
                .answer(400, REFUSED)
                .answer(201, REGISTERED);
            let registration = run_offered(&http, None, supported, json!({}))
                .await
                .unwrap();
            assert_eq!(asked_for(&http), asked);
            assert_eq!(registration.client.authentication.as_str(), asked[1]);
        }
        // A value of the config is sent once, and so is a value of clientMetadata.
        for (authentication, metadata) in [
            (Some(ClientAuthentication::None), json!({})),
            (None, json!({"token_endpoint_auth_method": "none"})),
        ] {
            let http = ScriptedClient::new().answer(400, REFUSED);
            let error = run_offered(&http, authentication, None, metadata).await;
            assert_eq!(error.unwrap_err().code(), ErrorCode::RegistrationFailed);
        }
        // Without words it may be the redirect URI, then the authentication.
        let http = ScriptedClient::new()
            .answer(400, r#"{"error":"invalid_client_metadata"}"#)
            .answer(400, r#"{"error":"invalid_client_metadata"}"#)
            .answer(201, REGISTERED);
        run(&http).await.unwrap();
        assert_eq!(asked_for(&http), ["none", "none", "client_secret_basic"]);
    }

    #[tokio::test]
    async fn a_secret_without_a_word_of_its_method_is_used_as_the_metadata_has_it() {
        let http = ScriptedClient::new().answer(201, r#"{"client_id":"c","client_secret":"s"}"#);
        let offered = Some(&["none", "client_secret_post"][..]);
        let registration = run_offered(&http, None, offered, json!({})).await.unwrap();
        let client = registration.client;
        assert_eq!(
            client.authentication,
            ClientAuthentication::ClientSecretPost
        );
    }

    #[test]
    fn the_server_decides_how_the_client_authenticates() {
        use ClientAuthentication::{ClientSecretBasic, ClientSecretPost, None as Public};
        for (body, asked, expected, secret) in [
            (r#"{"client_id":"c"}"#, Public, Public, false),
            (
                r#"{"client_id":"c","client_secret":"s"}"#,
                Public,
                ClientSecretBasic,
                true,
            ),
            (
                r#"{"client_id":"c","client_secret":"s"}"#,
                ClientSecretPost,
                ClientSecretPost,
                true,
            ),
            (
                r#"{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}"#,
                Public,
                ClientSecretPost,
                true,
            ),
            (
                r#"{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"none"}"#,
                Public,
                Public,
                false,
            ),
            (
                r#"{"client_id":"c","client_secret":null,"token_endpoint_auth_method":""}"#,
                Public,
                Public,
                false,
            ),
        ] {
            let client = read(body, asked).unwrap().client;
            assert_eq!(
                (client.authentication, client.secret.is_some()),
                (expected, secret),
                "{body}"
            );
        }
        for body in [
            "{}",
            r#"{"client_id":""}"#,
            r#"{"client_id":5}"#,
            r#"{"client_id":"a\nb"}"#,
            r#"{"client_id":"a\u202eb"}"#,
            &format!(r#"{{"client_id":"{}"}}"#, "x".repeat(2000)),
            r#"{"client_id":"c","token_endpoint_auth_method":"private_key_jwt"}"#,
            r#"{"client_id":"c","token_endpoint_auth_method":"client_secret_basic"}"#,
        ] {
            assert!(read(body, Public).is_err(), "{body}");
        }
    }

    #[test]
    fn the_rest_of_the_answer() {
        let registration = read(
            r#"{"client_id":"c","client_secret":"canary","client_secret_expires_at":1893456000,
                "registration_client_uri":"https://a.example/register/c","registration_access_token":"canary-r"}"#,
            ClientAuthentication::None,
        )
        .unwrap();
        assert_eq!(
            registration.secret_expires_at,
            Some(UnixMillis(1_893_456_000_000))
        );
        assert_eq!(
            registration.registration_client_uri.as_deref(),
            Some("https://a.example/register/c")
        );
        assert_eq!(
            registration
                .registration_access_token
                .as_ref()
                .unwrap()
                .expose(),
            "canary-r"
        );
        assert!(!format!("{registration:?}").contains("canary"));

        let never = read(
            r#"{"client_id":"c","client_secret":"s","client_secret_expires_at":0,
                "registration_client_uri":"http://a.example/c","registration_access_token":"a b"}"#,
            ClientAuthentication::None,
        )
        .unwrap();
        assert!(never.secret_expires_at.is_none() && never.registration_client_uri.is_none());
        assert!(never.registration_access_token.is_none());
    }

    #[tokio::test]
    async fn refusals_come_to_the_right_end() {
        use ErrorCode::{RegistrationFailed, ServerError};
        for (status, body, code) in [
            (
                400,
                r#"{"error":"invalid_software_statement"}"#,
                RegistrationFailed,
            ),
            (401, r#"{"error":"invalid_token"}"#, RegistrationFailed),
            (403, "<html>", RegistrationFailed),
            (404, "", RegistrationFailed),
            (200, "<html>", RegistrationFailed),
            (201, "{}", RegistrationFailed),
            (
                200,
                r#"{"error":"access_denied","client_id":"c"}"#,
                RegistrationFailed,
            ),
            (500, "", ServerError),
            (503, r#"{"error":"temporarily_unavailable"}"#, ServerError),
            (429, r#"{"error":"rate_limited"}"#, ServerError),
        ] {
            let error = run(&ScriptedClient::new().answer(status, body))
                .await
                .unwrap_err();
            assert_eq!(error.code(), code, "{status} {body}: {error}");
            assert!(error.message().contains("a.example/register"));
        }
        let failed = ScriptedClient::new().fail(FailureKind::NotSent, "connection refused");
        assert_eq!(run(&failed).await.unwrap_err().code(), ErrorCode::Network);
    }
}
