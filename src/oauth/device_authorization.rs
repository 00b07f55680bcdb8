//! Asking for a code that a person can confirm (RFC 8628 §3.1, §3.2).

use std::time::Duration;

use super::answer::{Answer, Content, Malformed, Members, positive_seconds};
use super::client::{Client, ClientAuthentication};
use super::error_response::{ErrorKind, ErrorResponse};
use super::meaning::Meaning;
use super::pkce::PkceVerifier;
use super::server_text::{Secrets, safe_url, visible};
use crate::error::{Error, ErrorCode};
use crate::http::{Endpoint, Form, HttpClient};
use crate::secret::Secret;

/// RFC 8628 §3.2: "If no value is provided, clients MUST use 5 as the default."
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// RFC 8628 §3.2 requires `expires_in`; for servers without, what most of them use.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(15);
const LONGEST_USER_CODE: usize = 128;

const WHAT: &str = "The login could not be started";

/// The device authorization request.
pub(crate) struct DeviceAuthorizationRequest<'a> {
    /// The device authorization endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// The client that asks.
    pub(crate) client: &'a Client,
    /// `scope`, as it is sent; empty for none.
    pub(crate) scope: &'a str,
    /// `audience`, which is Auth0's
    pub(crate) audience: Option<&'a str>,
    /// `resource` (RFC 8707)
    pub(crate) resources: &'a [String],
    /// For servers that want PKCE here too.
    pub(crate) pkce: Option<&'a PkceVerifier>,
    /// Further parameters.
    pub(crate) extra: &'a [(String, String)],
}

/// The device authorization response, safe to show.
#[derive(Debug)]
pub(crate) struct DeviceAuthorization {
    /// `device_code`
    pub(crate) device_code: Secret,
    /// `user_code`, for the person to type.
    pub(crate) user_code: String,
    /// `verification_uri`, for the person to open.
    pub(crate) verification_uri: String,
    /// `verification_uri_complete`, which has the code in it.
    pub(crate) verification_uri_complete: Option<String>,
    /// `expires_in`, from when the request was sent.
    pub(crate) expires_in: Duration,
    /// `interval`
    pub(crate) interval: Duration,
}

/// Asks for a device code and a user code.
pub(crate) async fn request(
    http: &dyn HttpClient,
    request: &DeviceAuthorizationRequest<'_>,
    timeout: Duration,
) -> Result<DeviceAuthorization, Error> {
    let endpoint = request.endpoint;
    let mut answer = Answer::to_form(http, endpoint, request.client, request.form(), timeout)
        .await
        .map_err(|failure| failure.to_error(endpoint))?;
    let mut secrets = Secrets::new(request.client.secrets());
    if let Some(pkce) = request.pkce {
        secrets.add(pkce.verifier().clone());
    }
    let refusal = ErrorResponse::read(&answer, "device_code", &secrets);
    let passes = Meaning::of(&answer, refusal.as_ref()).passes();
    if let Some(error) = refused(&answer, refusal.as_ref()) {
        return Err(error.passing(passes));
    }
    match answer.success().map(DeviceAuthorization::read) {
        Some(Ok(authorization)) => Ok(authorization),
        Some(Err(reason)) => Err(answer.malformed(&reason)),
        None => Err(answer
            .not_oauth(WHAT, None, "Check deviceAuthorizationEndpoint.")
            .passing(passes)),
    }
}

/// Whether the server refused only because it wants PKCE, as Keycloak does for clients so configured:
/// `invalid_request`, "Missing parameter: `code_challenge_method`".
pub(crate) fn demands_pkce(error: &Error) -> bool {
    let Some(oauth) = error.oauth() else {
        return false;
    };
    let description = oauth
        .description
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    // RFC 7636 §4.4.1: 'the authorization endpoint MUST return the authorization error response with the "error" value
    // set to "invalid_request"', and should say that a code challenge is required.
    oauth.error.eq_ignore_ascii_case("invalid_request")
        && ["code_challenge", "code challenge", "pkce"]
            .iter()
            .any(|word| description.contains(word))
}

fn refused(answer: &Answer, refusal: Option<&ErrorResponse>) -> Option<Error> {
    let has_code = refusal.is_some_and(|refusal| refusal.kind != ErrorKind::NoCode);
    if !has_code && matches!(answer.status, 404 | 405 | 501) {
        return Some(answer.error(
            ErrorCode::DeviceFlowUnsupported,
            "The server has no device flow at that address",
            refusal.map(|refusal| &refusal.oauth),
            "Check deviceAuthorizationEndpoint and whether the server's version supports the device flow.",
        ));
    }
    // RFC 6749 §5.2: "The authorization server MAY return an HTTP 401 (Unauthorized) status code to indicate which HTTP
    // authentication schemes are supported." Prosody says nothing else. A page with 403 is a gateway's.
    let is_page = matches!(answer.content, Content::Text(_));
    let is_passing = refusal.is_some_and(|refusal| refusal.is_passing(answer));
    if !has_code && !is_passing && (answer.status == 401 || answer.status == 403 && !is_page) {
        return Some(answer.error(
            ErrorCode::OauthError,
            "The server does not let this client ask for a code",
            refusal.map(|refusal| &refusal.oauth),
            "Check clientId, clientSecret and clientAuthentication, and whether the client may use the device flow.",
        ));
    }
    let next = "Check the client and its settings at the server.";
    refusal.map(|refusal| refusal.to_error(answer, WHAT, next))
}

impl DeviceAuthorizationRequest<'_> {
    fn form(&self) -> Form {
        let mut form = Form::new();
        // RFC 8628 §3.1: client_id is "REQUIRED if the client is not authenticating"; many servers want it beside the
        // Basic header as well, and an id alone is no second authentication.
        let header_only = self.client.authentication == ClientAuthentication::ClientSecretBasic
            && self.client.secret.is_some();
        if header_only {
            form.append("client_id", &self.client.id);
        }
        if !self.scope.is_empty() {
            form.append("scope", self.scope);
        }
        if let Some(audience) = self.audience {
            form.append("audience", audience);
        }
        // RFC 8707 §2: 'Multiple "resource" parameters MAY be used'
        for resource in self.resources {
            form.append("resource", resource);
        }
        if let Some(pkce) = self.pkce {
            form.append("code_challenge", &pkce.challenge());
            form.append("code_challenge_method", PkceVerifier::METHOD);
        }
        form.append_all(self.extra);
        form
    }
}

impl DeviceAuthorization {
    pub(super) fn read(members: &mut Members) -> Result<Self, Malformed> {
        let expires_in = seconds(members, "expires_in").unwrap_or(DEFAULT_LIFETIME);
        let interval = interval(members, expires_in)?;
        let device_code = members.take_text("device_code")?.map(Secret::new);
        let device_code = device_code
            .filter(|code| !code.expose().chars().any(char::is_control))
            .ok_or_else(|| "`device_code` is missing or unusable".to_owned())?;
        Ok(Self {
            device_code,
            user_code: user_code(members)?,
            verification_uri: verification_uri(members)?,
            verification_uri_complete: url(
                members,
                ["verification_uri_complete", "verification_url_complete"],
            ),
            expires_in,
            interval,
        })
    }
}

/// Reads a positive number of seconds. An unreadable value counts as absent: a person waits, and the defaults are
/// good.
fn seconds(members: &Members, name: &str) -> Option<Duration> {
    members
        .number(name)
        .ok()
        .flatten()
        .and_then(positive_seconds)
}

fn interval(members: &Members, expires_in: Duration) -> Result<Duration, Malformed> {
    let told = match members.number("interval") {
        Ok(Some(seconds)) if seconds >= 0.0 => positive_seconds(seconds).unwrap_or_default(),
        _ => return Ok(DEFAULT_INTERVAL),
    };
    // Such a code could never be redeemed.
    if told > expires_in {
        return Err("`interval` is longer than `expires_in`".to_owned());
    }
    Ok(told.max(SHORTEST_INTERVAL))
}

fn user_code(members: &Members) -> Result<String, Malformed> {
    let code = match members.value("user_code") {
        Some(serde_json::Value::Number(digits)) => digits.to_string(),
        _ => visible(members.text("user_code").unwrap_or_default())
            .trim()
            .to_owned(),
    };
    if code.is_empty() || code.chars().count() > LONGEST_USER_CODE {
        return Err("`user_code` is missing or unusable".to_owned());
    }
    Ok(code)
}

fn verification_uri(members: &Members) -> Result<String, Malformed> {
    // Google says `verification_url`, from a draft of RFC 8628.
    url(members, ["verification_uri", "verification_url"])
        .ok_or_else(|| "`verification_uri` is missing or not a plain http(s) URL".to_owned())
}

fn url(members: &Members, names: [&str; 2]) -> Option<String> {
    names
        .iter()
        .find_map(|name| members.text(name).and_then(safe_url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::FailureKind;
    use crate::http::scripted::ScriptedClient;
    use crate::oauth::answer::tests::members;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn public() -> Client {
        Client {
            id: "my-client".into(),
            secret: None,
            authentication: ClientAuthentication::None,
            assertions: None,
        }
    }

    async fn ask(http: &ScriptedClient) -> Result<DeviceAuthorization, Error> {
        ask_as(http, &public()).await
    }

    async fn ask_as(http: &ScriptedClient, client: &Client) -> Result<DeviceAuthorization, Error> {
        let endpoint = Endpoint::parse("https://a.example/device?q=canary").unwrap();
        let asked = DeviceAuthorizationRequest {
            endpoint: &endpoint,
            client,
            scope: "memory offline_access",
            audience: Some("https://api.example"),
            resources: &["https://r.example/1".into(), "https://r.example/2".into()],
            pkce: None,
            extra: &[("prompt".into(), "login".into())],
        };
        request(http, &asked, TIMEOUT).await
    }

    fn read(changes: &str) -> Result<DeviceAuthorization, Malformed> {
        let body = format!(
            r#"{{"device_code":"d+/=:1","user_code":"WDJB-MJHT","verification_uri":"https://a.example/device",
                 "expires_in":1800,"interval":5,{changes}"x":[]}}"#
        );
        DeviceAuthorization::read(&mut members(&body))
    }

    #[tokio::test]
    async fn the_example_of_rfc_8628_section_3_2() {
        let http = ScriptedClient::new().answer(
            200,
            r#"{"device_code":"GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS","user_code":"WDJB-MJHT",
                "verification_uri":"https://example.com/device",
                "verification_uri_complete":"https://example.com/device?user_code=WDJB-MJHT",
                "expires_in":1800,"interval":5}"#,
        );
        let authorization = ask(&http).await.unwrap();
        assert_eq!(
            authorization.device_code.expose(),
            "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS"
        );
        assert_eq!(authorization.user_code, "WDJB-MJHT");
        assert_eq!(authorization.verification_uri, "https://example.com/device");
        assert_eq!(
            authorization.verification_uri_complete.as_deref(),
            Some("https://example.com/device?user_code=WDJB-MJHT")
        );
        assert_eq!(authorization.expires_in, Duration::from_mins(30));
        assert_eq!(authorization.interval, Duration::from_secs(5));

        let sent = &http.received()[0];
        assert_eq!(sent.url, "https://a.example/device?q=canary");
        assert_eq!(sent.timeout, TIMEOUT);
        let form: Vec<(&str, &str)> = sent
            .form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            form,
            [
                ("scope", "memory offline_access"),
                ("audience", "https://api.example"),
                ("resource", "https://r.example/1"),
                ("resource", "https://r.example/2"),
                ("prompt", "login"),
                ("client_id", "my-client"),
            ]
        );
    }

    #[tokio::test]
    async fn the_client_authenticates_as_it_does_elsewhere() {
        for (authentication, header, in_form) in [
            (
                ClientAuthentication::ClientSecretBasic,
                Some("Basic bXktY2xpZW50OnM="),
                None,
            ),
            (ClientAuthentication::ClientSecretPost, None, Some("s")),
        ] {
            let http = ScriptedClient::new().answer(400, "{}");
            let client = Client {
                secret: Some(Secret::from("s")),
                authentication,
                ..public()
            };
            ask_as(&http, &client).await.unwrap_err();
            let sent = &http.received()[0];
            assert_eq!(sent.authorization.as_deref(), header);
            assert_eq!(sent.parameter("client_secret"), in_form);
            let ids = sent
                .form
                .iter()
                .filter(|(name, _)| name == "client_id")
                .count();
            assert_eq!(ids, 1);
        }
    }

    #[tokio::test]
    async fn pkce_is_sent_when_asked_for_and_its_demand_understood() {
        let http = ScriptedClient::new().answer(400, "{}");
        let pkce = PkceVerifier::generate().unwrap();
        let endpoint = Endpoint::parse("https://a.example/device").unwrap();
        let asked = DeviceAuthorizationRequest {
            endpoint: &endpoint,
            client: &public(),
            scope: "",
            audience: None,
            resources: &[],
            pkce: Some(&pkce),
            extra: &[],
        };
        request(&http, &asked, TIMEOUT).await.unwrap_err();
        let sent = &http.received()[0];
        assert_eq!(
            sent.parameter("code_challenge"),
            Some(pkce.challenge().as_str())
        );
        assert_eq!(sent.parameter("code_challenge_method"), Some("S256"));
        assert_eq!(sent.parameter("scope"), None);

        for (body, demanded) in [
            (
                r#"{"error":"invalid_request","error_description":"Missing parameter: code_challenge_method"}"#,
                true,
            ),
            (
                r#"{"error":"invalid_request","error_description":"PKCE is required"}"#,
                true,
            ),
            (
                r#"{"error":"invalid_request","error_description":"Missing parameter: scope"}"#,
                false,
            ),
            (
                r#"{"error":"invalid_client","error_description":"no code_challenge"}"#,
                false,
            ),
        ] {
            let error = ask(&ScriptedClient::new().answer(400, body))
                .await
                .unwrap_err();
            assert_eq!(demands_pkce(&error), demanded, "{body}");
        }
    }

    #[test]
    fn what_servers_vary_is_accepted() {
        assert_eq!(
            read(r#""interval":"7","#).unwrap().interval,
            Duration::from_secs(7)
        );
        assert_eq!(
            read(r#""interval":0,"#).unwrap().interval,
            Duration::from_secs(1)
        );
        assert_eq!(
            read(r#""interval":0.5,"#).unwrap().interval,
            Duration::from_secs(1)
        );
        assert_eq!(
            read(r#""interval":null,"#).unwrap().interval,
            Duration::from_secs(5)
        );
        assert_eq!(
            read(r#""interval":null,"expires_in":2,"#).unwrap().interval,
            Duration::from_secs(5)
        );
        assert_eq!(
            read(r#""expires_in":null,"#).unwrap().expires_in,
            Duration::from_mins(15)
        );
        assert_eq!(
            read(r#""expires_in":"600.0","#).unwrap().expires_in,
            Duration::from_mins(10)
        );
        for unreadable in ["-1", "\"NaN\"", "1e308", "[5]", "\"5s\"", "{}"] {
            let interval = read(&format!(r#""interval":{unreadable},"#))
                .unwrap()
                .interval;
            assert_eq!(interval, Duration::from_secs(5), "{unreadable}");
        }
        for unreadable in ["0", "-1", "1e308", "\"soon\"", "[]"] {
            let expires_in = read(&format!(r#""expires_in":{unreadable},"#))
                .unwrap()
                .expires_in;
            assert_eq!(expires_in, Duration::from_mins(15), "{unreadable}");
        }
        assert_eq!(read(r#""user_code":123456,"#).unwrap().user_code, "123456");
        assert_eq!(
            read(r#""user_code":" ab\u202e-c\u001b\n","#)
                .unwrap()
                .user_code,
            "ab-c"
        );
        let google =
            read(r#""verification_uri":null,"verification_url":"https://g.example/device","#);
        assert_eq!(google.unwrap().verification_uri, "https://g.example/device");
    }

    #[test]
    fn a_bad_complete_url_is_dropped_and_a_bad_plain_one_refused() {
        for bad in [
            "javascript:alert(1)",
            "https://u:p@a.example/",
            "device",
            "ftp://a.example/",
        ] {
            let complete = read(&format!(r#""verification_uri_complete":"{bad}","#)).unwrap();
            assert_eq!(complete.verification_uri_complete, None);
            assert!(read(&format!(r#""verification_uri":"{bad}","#)).is_err());
        }
        assert!(
            read(r#""verification_uri_complete":5,"#)
                .unwrap()
                .verification_uri_complete
                .is_none()
        );
    }

    #[test]
    fn hostile_values_are_refused() {
        for changes in [
            r#""interval":1801,"#,
            r#""expires_in":3,"interval":5,"#,
            r#""device_code":null,"#,
            r#""device_code":"","#,
            r#""device_code":5,"#,
            r#""device_code":"a\nb","#,
            r#""user_code":null,"#,
            r#""user_code":"\u200b","#,
            r#""verification_uri":null,"#,
        ] {
            assert!(read(changes).is_err(), "{changes}");
        }
        let long = "x".repeat(LONGEST_USER_CODE + 1);
        assert!(read(&format!(r#""user_code":"{long}","#)).is_err());
    }

    #[tokio::test]
    async fn refusals_come_to_the_right_end() {
        use ErrorCode::{DeviceFlowUnsupported, InvalidResponse, OauthError, ServerError};
        for (status, body, code) in [
            (400, "error=device_flow_disabled", OauthError),
            (200, r#"{"error":"unauthorized_client"}"#, OauthError),
            (401, r#"{"error":"invalid_client"}"#, OauthError),
            (404, "", DeviceFlowUnsupported),
            (404, "<html>", DeviceFlowUnsupported),
            (
                405,
                r#"{"detail":"Method Not Allowed"}"#,
                DeviceFlowUnsupported,
            ),
            (404, r#"{"error":"invalid_client"}"#, OauthError),
            (429, r#"{"error":"slow_down"}"#, ServerError),
            (503, "<html>", ServerError),
            (400, r#"{"error":"temporarily_unavailable"}"#, ServerError),
            (500, r#"{"error":"unknown_error"}"#, ServerError),
            (200, "<OAuth/>", InvalidResponse),
            (200, "{}", InvalidResponse),
            (200, "", InvalidResponse),
            (302, "", InvalidResponse),
        ] {
            let error = ask(&ScriptedClient::new().answer(status, body))
                .await
                .unwrap_err();
            assert_eq!(error.code(), code, "{status} {body}: {error}");
            assert_eq!(error.status(), Some(status));
            assert!(
                error.message().contains("https://a.example/device"),
                "{error}"
            );
            assert!(!error.message().contains("canary"));
        }
        let failed = ScriptedClient::new().fail(FailureKind::NotSent, "connection refused");
        assert_eq!(ask(&failed).await.unwrap_err().code(), ErrorCode::Network);
    }
}
