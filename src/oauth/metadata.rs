//! Reads the metadata of an authorization server (RFC 8414, `OpenID` Connect Discovery).

use std::time::Duration;

use serde_json::Value;

use super::answer::{Answer, Members};
use super::error_response::ErrorResponse;
use super::issuer::Issuer;
use super::meaning::Meaning;
use super::server_text::Secrets;
use crate::error::{Error, ErrorCode};
use crate::http::{Body, Endpoint, HttpClient};

pub(crate) const DEVICE: &str = "device_authorization_endpoint";
pub(crate) const AUTHORIZATION: &str = "authorization_endpoint";
pub(crate) const TOKEN: &str = "token_endpoint";
pub(crate) const REVOCATION: &str = "revocation_endpoint";
pub(crate) const REGISTRATION: &str = "registration_endpoint";
pub(crate) const USERINFO: &str = "userinfo_endpoint";
pub(crate) const PUSHED: &str = "pushed_authorization_request_endpoint";

/// Metadata that was checked to be this issuer's own.
#[derive(Debug)]
pub(crate) struct AuthorizationServerMetadata {
    /// `issuer`
    pub(crate) issuer: Issuer,
    /// `device_authorization_endpoint` (RFC 8628 §4)
    pub(crate) device_authorization_endpoint: Option<Endpoint>,
    /// `authorization_endpoint`, if a browser may be sent there
    pub(crate) authorization_endpoint: Option<Endpoint>,
    /// `authorization_response_iss_parameter_supported` (RFC 9207 §3)
    pub(crate) has_iss: bool,
    /// `require_pushed_authorization_requests` (RFC 9126 §5)
    pub(crate) requires_pushed_requests: bool,
    /// `pushed_authorization_request_endpoint` (RFC 9126 §5)
    pub(crate) pushed_authorization_request_endpoint: Option<Endpoint>,
    /// `client_id_metadata_document_supported` (draft-ietf-oauth-client-id-metadata-document §5)
    pub(crate) takes_client_documents: bool,
    /// `scopes_supported`
    pub(crate) scopes_supported: Option<Vec<String>>,
    /// `token_endpoint`
    pub(crate) token_endpoint: Option<Endpoint>,
    /// `revocation_endpoint`
    pub(crate) revocation_endpoint: Option<Endpoint>,
    /// `registration_endpoint`
    pub(crate) registration_endpoint: Option<Endpoint>,
    /// `userinfo_endpoint` (`OpenID` Connect Discovery §3)
    pub(crate) userinfo_endpoint: Option<Endpoint>,
    /// `grant_types_supported`
    pub(crate) grant_types_supported: Option<Vec<String>>,
    /// `token_endpoint_auth_methods_supported`
    pub(crate) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// `dpop_signing_alg_values_supported` (RFC 9449 §5.1)
    pub(crate) dpop_signing_alg_values_supported: Option<Vec<String>>,
    /// Endpoints that are named but unusable: they count as absent, and callers that need one report the reason.
    pub(crate) flaws: Vec<Flaw>,
}

/// An endpoint of the metadata that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// The member.
    pub(crate) name: &'static str,
    /// The flaw, as the rest of a sentence.
    pub(crate) reason: String,
}

impl Flaw {
    /// The error of who needs that endpoint.
    pub(crate) fn to_error(&self, issuer: &str, next: &str) -> Error {
        Error::new(
            ErrorCode::InvalidResponse,
            format!(
                "The metadata of {issuer} is not valid: its `{}` {}. {next}",
                self.name, self.reason
            ),
        )
    }
}

/// Asks for the metadata at the address of RFC 8414, then at those of `OpenID` Connect where the first has none or
/// lacks an endpoint that a device login needs, or the userinfo endpoint where that is wanted.
pub(crate) async fn discover(
    http: &dyn HttpClient,
    issuer: &Issuer,
    wants_userinfo: bool,
    timeout: Duration,
) -> Result<AuthorizationServerMetadata, Error> {
    let mut known: Option<AuthorizationServerMetadata> = None;
    let mut asked = Vec::new();
    for url in well_known_urls(issuer) {
        match (ask(http, issuer, &url, timeout).await, &mut known) {
            (Ok(Document::Believed(metadata)), _) => {
                let metadata = match known.take() {
                    Some(first) => first.completed_by(*metadata),
                    None => *metadata,
                };
                if metadata.is_complete()
                    && (!wants_userinfo || metadata.userinfo_endpoint.is_some())
                {
                    return Ok(metadata);
                }
                known = Some(metadata);
            }
            // This document is proved; a missing or broken document at another address changes nothing.
            (_, Some(_)) => {}
            (Ok(other), None) => asked.push((url, other)),
            (Err(error), None) => return Err(error),
        }
    }
    known.ok_or_else(|| disbelieved(issuer, &asked))
}

/// Where the metadata may be: by RFC 8414, then by `OpenID` Connect Discovery, which a path makes two places.
pub(crate) fn well_known_urls(issuer: &Issuer) -> Vec<Endpoint> {
    // RFC 8414 §3.1: 'any terminating "/" MUST be removed before inserting "/.well-known/"' between host and path.
    let path = issuer.url().path().trim_end_matches('/');
    let mut paths = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        // RFC 8414 §5: the same for "/.well-known/openid-configuration", in the order of MCP's specification.
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        // OpenID Connect Discovery §4: the path is formed by "concatenating the string
        // /.well-known/openid-configuration to the Issuer".
        paths.push(format!("{path}/.well-known/openid-configuration"));
    }
    paths
        .iter()
        .map(|path| issuer.endpoint().at(path, None))
        .collect()
}

/// The result of a request to one address.
enum Document {
    Believed(Box<AuthorizationServerMetadata>),
    /// The document names another issuer.
    Foreign(String),
    /// The server failed; it may be there later.
    Failing(Error),
    /// There is no document, for the given reason; or there may be one soon.
    Missing(String, Meaning),
}

async fn ask(
    http: &dyn HttpClient,
    issuer: &Issuer,
    url: &Endpoint,
    timeout: Duration,
) -> Result<Document, Error> {
    let answer = Answer::to(http, url, Body::Get, None, timeout)
        .await
        .map_err(|failure| failure.to_error(url))?;
    let refusal = ErrorResponse::read(&answer, "issuer", &Secrets::default());
    let meaning = Meaning::of(&answer, refusal.as_ref());
    if answer.is_passing_failure() || answer.is_blocked() {
        let what = "The server's metadata could not be read";
        let error = answer.not_oauth(what, None, "Try again later.");
        return Ok(Document::Failing(error.passing(meaning.passes())));
    }
    // RFC 8414 §3.2: 'A successful response MUST use the 200 OK HTTP status code'
    let Some(members) = answer.members().filter(|_| answer.status == 200) else {
        let why = if answer.is_redirect() {
            ", and redirects are not followed"
        } else {
            " without metadata"
        };
        return Ok(Document::Missing(
            format!("HTTP {}{why}", answer.status),
            meaning,
        ));
    };
    let Some(told) = members.text("issuer") else {
        return Ok(Document::Missing(
            "a document without issuer".to_owned(),
            meaning,
        ));
    };
    // RFC 8414 §3.3: 'The "issuer" value returned MUST be identical to the authorization server's issuer identifier
    // value … If these values are not identical, the data contained in the response MUST NOT be used.'
    let Some(issuer) = issuer.identified(told) else {
        let told = Secrets::default().description(told).unwrap_or_default();
        return Ok(Document::Foreign(told));
    };
    let metadata = AuthorizationServerMetadata::read(members, &issuer);
    Ok(Document::Believed(Box::new(metadata)))
}

fn disbelieved(issuer: &Issuer, asked: &[(Endpoint, Document)]) -> Error {
    let foreign = asked.iter().find_map(|(url, document)| match document {
        Document::Foreign(told) => Some((url, told)),
        _ => None,
    });
    if let Some((url, told)) = foreign {
        return mismatch(issuer, url, told);
    }
    let failing = asked.iter().find_map(|(_, document)| match document {
        Document::Failing(error) => Some(error.clone()),
        _ => None,
    });
    failing.unwrap_or_else(|| {
        let found: Vec<String> = asked
            .iter()
            .filter_map(|(url, document)| match document {
                Document::Missing(reason, _) => Some(format!("{url} ({reason})")),
                _ => None,
            })
            .collect();
        Error::new(
            ErrorCode::InvalidResponse,
            format!(
                "The issuer {issuer} publishes no metadata: asked {}. Check issuer, or configure \
                 deviceAuthorizationEndpoint and tokenEndpoint instead.",
                found.join(" and ")
            ),
        )
        // A page in the place of one of them is perhaps not the server's.
        .passing(asked.iter().any(
            |(_, document)| matches!(document, Document::Missing(_, meaning) if meaning.passes()),
        ))
    })
}

fn mismatch(issuer: &Issuer, url: &Endpoint, told: &str) -> Error {
    let only_slash = told.trim_end_matches('/') == issuer.as_str().trim_end_matches('/');
    let next = if told == issuer.as_str() {
        "They differ in characters that are not shown: only the server's operator can correct that."
            .to_owned()
    } else if told.contains(['{', '}']) {
        // Microsoft Entra's documents for "common" and "organizations", for example.
        "That is a template: this document serves many tenants. Configure issuer with the id of yours in the place of what stands in \
         braces, or deviceAuthorizationEndpoint (or authorizationEndpoint) and tokenEndpoint instead of issuer."
            .to_owned()
    } else if only_slash {
        format!("Only the slash at the end differs: configure issuer exactly as \"{told}\".")
    } else {
        "Configure the issuer exactly as the server names itself if that is the server you mean, or its endpoints instead."
            .to_owned()
    };
    Error::new(
        ErrorCode::IssuerMismatch,
        format!("The metadata at {url} is of the issuer \"{told}\", not of \"{issuer}\". {next}"),
    )
}

impl AuthorizationServerMetadata {
    /// The flaw of that endpoint, if it has one.
    pub(crate) fn flaw(&self, name: &str) -> Option<&Flaw> {
        self.flaws.iter().find(|flaw| flaw.name == name)
    }

    fn read(members: &Members, issuer: &Issuer) -> Self {
        let mut flaws = Vec::new();
        let mut endpoint = |name| {
            endpoint(members, name, issuer).unwrap_or_else(|reason| {
                flaws.push(Flaw { name, reason });
                None
            })
        };
        let flag = |name| members.value(name) == Some(&Value::Bool(true));
        Self {
            issuer: issuer.clone(),
            device_authorization_endpoint: endpoint(DEVICE),
            authorization_endpoint: endpoint(AUTHORIZATION),
            has_iss: flag("authorization_response_iss_parameter_supported"),
            requires_pushed_requests: flag("require_pushed_authorization_requests"),
            pushed_authorization_request_endpoint: endpoint(PUSHED),
            takes_client_documents: flag("client_id_metadata_document_supported"),
            scopes_supported: names(members.value("scopes_supported")),
            token_endpoint: endpoint(TOKEN),
            revocation_endpoint: endpoint(REVOCATION),
            registration_endpoint: endpoint(REGISTRATION),
            userinfo_endpoint: endpoint(USERINFO),
            grant_types_supported: names(members.value("grant_types_supported")),
            token_endpoint_auth_methods_supported: names(
                members.value("token_endpoint_auth_methods_supported"),
            ),
            dpop_signing_alg_values_supported: names(
                members.value("dpop_signing_alg_values_supported"),
            ),
            flaws,
        }
    }

    fn is_complete(&self) -> bool {
        self.device_authorization_endpoint.is_some() && self.token_endpoint.is_some()
    }

    fn completed_by(self, other: Self) -> Self {
        let mut flaws = self.flaws;
        flaws.extend(other.flaws);
        Self {
            flaws,
            issuer: self.issuer,
            device_authorization_endpoint: self
                .device_authorization_endpoint
                .or(other.device_authorization_endpoint),
            authorization_endpoint: self.authorization_endpoint.or(other.authorization_endpoint),
            has_iss: self.has_iss || other.has_iss,
            requires_pushed_requests: self.requires_pushed_requests
                || other.requires_pushed_requests,
            pushed_authorization_request_endpoint: self
                .pushed_authorization_request_endpoint
                .or(other.pushed_authorization_request_endpoint),
            takes_client_documents: self.takes_client_documents || other.takes_client_documents,
            scopes_supported: self.scopes_supported.or(other.scopes_supported),
            token_endpoint: self.token_endpoint.or(other.token_endpoint),
            revocation_endpoint: self.revocation_endpoint.or(other.revocation_endpoint),
            registration_endpoint: self.registration_endpoint.or(other.registration_endpoint),
            userinfo_endpoint: self.userinfo_endpoint.or(other.userinfo_endpoint),
            grant_types_supported: self.grant_types_supported.or(other.grant_types_supported),
            token_endpoint_auth_methods_supported: self
                .token_endpoint_auth_methods_supported
                .or(other.token_endpoint_auth_methods_supported),
            dpop_signing_alg_values_supported: self
                .dpop_signing_alg_values_supported
                .or(other.dpop_signing_alg_values_supported),
        }
    }
}

fn endpoint(members: &Members, name: &str, issuer: &Issuer) -> Result<Option<Endpoint>, String> {
    let Some(value) = members.value(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let text = value.as_str().ok_or_else(|| "is not a string".to_owned())?;
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    let endpoint = issuer.allow_http().endpoint(text)?;
    // RFC 8414 §2 lets endpoints be on any host, and large providers make use of it. But a server on the network must
    // not send requests to this machine.
    if endpoint.is_loopback() && !issuer.is_loopback() {
        return Err("leads to this machine".to_owned());
    }
    Ok(Some(endpoint))
}

pub(super) fn names(value: Option<&Value>) -> Option<Vec<String>> {
    let names = value?.as_array()?.iter().filter_map(Value::as_str);
    Some(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::scripted::{Received, ScriptedClient, response};
    use crate::http::{AllowHttp, FailureKind};

    const TIMEOUT: Duration = Duration::from_secs(30);
    const ISSUER: &str = "https://a.example";

    fn issuer() -> Issuer {
        Issuer::parse(ISSUER, &AllowHttp::default()).unwrap()
    }

    async fn run(http: &ScriptedClient) -> Result<AuthorizationServerMetadata, Error> {
        discover(http, &issuer(), false, TIMEOUT).await
    }

    fn document(members: &str) -> String {
        format!(r#"{{"issuer":"{ISSUER}"{members}}}"#)
    }

    const DEVICE_MEMBER: &str = r#","device_authorization_endpoint":"https://a.example/device""#;
    const TOKEN_MEMBER: &str = r#","token_endpoint":"https://a.example/token""#;

    fn urls(http: &ScriptedClient) -> Vec<String> {
        http.received()
            .into_iter()
            .map(|Received { url, .. }| url)
            .collect()
    }

    fn well_known(issuer: &str) -> Vec<String> {
        let urls = well_known_urls(&Issuer::parse(issuer, &AllowHttp::default()).unwrap());
        urls.iter().map(|url| url.as_str().to_owned()).collect()
    }

    #[test]
    fn the_addresses_follow_both_specifications() {
        for (issuer, oauth, openid) in [
            (
                "https://a.example",
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://a.example/",
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(well_known(issuer), [oauth, openid]);
        }
        assert_eq!(
            well_known("https://a.example:8443/realms/x/"),
            [
                "https://a.example:8443/.well-known/oauth-authorization-server/realms/x",
                "https://a.example:8443/.well-known/openid-configuration/realms/x",
                "https://a.example:8443/realms/x/.well-known/openid-configuration",
            ]
        );
    }

    #[tokio::test]
    async fn a_complete_first_document_is_enough() {
        let rest = r#","revocation_endpoint":"https://a.example/revoke","registration_endpoint":null,
            "token_endpoint_auth_methods_supported":["none","client_secret_basic"],"extra":[1]"#;
        let http = ScriptedClient::new().answer(
            200,
            &document(&format!("{DEVICE_MEMBER}{TOKEN_MEMBER}{rest}")),
        );
        let metadata = run(&http).await.unwrap();
        assert_eq!(metadata.issuer, issuer());
        let text =
            |endpoint: Option<Endpoint>| endpoint.map(|endpoint| endpoint.as_str().to_owned());
        assert_eq!(
            text(metadata.device_authorization_endpoint).unwrap(),
            "https://a.example/device"
        );
        assert_eq!(
            text(metadata.token_endpoint).unwrap(),
            "https://a.example/token"
        );
        assert_eq!(
            text(metadata.revocation_endpoint).unwrap(),
            "https://a.example/revoke"
        );
        assert_eq!(text(metadata.registration_endpoint), None);
        assert_eq!(
            metadata.token_endpoint_auth_methods_supported.unwrap(),
            ["none", "client_secret_basic"]
        );
        assert_eq!(http.received()[0].method, "GET");
    }

    #[tokio::test]
    async fn the_second_document_is_asked_where_the_first_is_none() {
        for (status, body) in [
            (404, ""),
            (404, "<html>"),
            (200, "<html>"),
            (200, "[]"),
            (200, "{}"),
            (301, ""),
            (401, r#"{"error":"Unauthorized"}"#),
            (204, ""),
            (500, ""),
            (200, r#"{"issuer":"https://evil.example"}"#),
        ] {
            let http = ScriptedClient::new()
                .answer(status, body)
                .answer(200, &document(&format!("{DEVICE_MEMBER}{TOKEN_MEMBER}")));
            assert!(run(&http).await.unwrap().is_complete(), "{status} {body}");
            assert_eq!(
                urls(&http),
                [
                    "https://a.example/.well-known/oauth-authorization-server",
                    "https://a.example/.well-known/openid-configuration",
                ]
            );
        }
    }

    #[tokio::test]
    async fn the_second_document_fills_the_gaps_of_the_first() {
        let http = ScriptedClient::new()
            .answer(200, &document(TOKEN_MEMBER))
            .answer(
                200,
                &document(&format!(
                    r#"{DEVICE_MEMBER},"token_endpoint":"https://a.example/other""#
                )),
            );
        let metadata = run(&http).await.unwrap();
        assert!(metadata.is_complete());
        assert_eq!(
            metadata.token_endpoint.unwrap().as_str(),
            "https://a.example/token"
        );

        for (status, body) in [
            (404, ""),
            (500, ""),
            (200, r#"{"issuer":"https://evil.example"}"#),
        ] {
            let http = ScriptedClient::new()
                .answer(200, &document(TOKEN_MEMBER))
                .answer(status, body);
            let metadata = run(&http).await.unwrap();
            assert!(
                metadata.token_endpoint.is_some()
                    && metadata.device_authorization_endpoint.is_none()
            );
        }
    }

    #[tokio::test]
    async fn another_issuer_is_a_mismatch() {
        for (told, hint) in [
            ("https://evil.example", "endpoints instead"),
            ("https://a.example/", "exactly as \"https://a.example/\""),
            ("https://A.example", "endpoints instead"),
        ] {
            let foreign = format!(r#"{{"issuer":"{told}"{DEVICE_MEMBER}{TOKEN_MEMBER}}}"#);
            for http in [
                ScriptedClient::new()
                    .answer(200, &foreign)
                    .answer(200, &foreign),
                ScriptedClient::new().answer(404, "").answer(200, &foreign),
                ScriptedClient::new().answer(200, &foreign).answer(503, ""),
            ] {
                let error = run(&http).await.unwrap_err();
                assert_eq!(error.code(), ErrorCode::IssuerMismatch);
                for part in [told, ISSUER, hint] {
                    assert!(error.message().contains(part), "{error}");
                }
            }
        }
    }

    #[tokio::test]
    async fn no_document_at_all() {
        let error = run(&ScriptedClient::new().answer(404, "").answer(200, "<html>"))
            .await
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidResponse);
        assert!(
            error
                .message()
                .contains("/.well-known/oauth-authorization-server")
        );
        assert!(
            error
                .message()
                .contains("/.well-known/openid-configuration")
        );

        for statuses in [[500, 503], [404, 503], [502, 404], [429, 429]] {
            let http = ScriptedClient::new()
                .answer(statuses[0], "")
                .answer(statuses[1], "");
            let error = run(&http).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::ServerError, "{statuses:?}");
            assert!(error.is_retryable());
        }
        let http = ScriptedClient::new().fail(FailureKind::NotSent, "connection refused");
        assert_eq!(run(&http).await.unwrap_err().code(), ErrorCode::Network);
        let http = ScriptedClient::new()
            .answer(404, "")
            .fail(FailureKind::TimedOut, "x");
        assert_eq!(run(&http).await.unwrap_err().code(), ErrorCode::Timeout);
    }

    #[tokio::test]
    async fn a_firewall_is_no_missing_document() {
        let wall = (403, "<!DOCTYPE html><title>Just a moment...</title>");
        for answers in [[wall, wall], [wall, (404, "")], [(404, ""), wall]] {
            let http = answers
                .iter()
                .fold(ScriptedClient::new(), |http, (status, body)| {
                    http.answer(*status, body)
                });
            let error = run(&http).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::ServerError);
            let told = "something in front of the server refused this program";
            assert!(error.message().contains(told), "{error}");
        }
        // Some object stores answer "forbidden" for a missing file.
        let whole = document(&format!("{DEVICE_MEMBER}{TOKEN_MEMBER}"));
        let http = ScriptedClient::new()
            .answer(403, "<Error>AccessDenied</Error>")
            .answer(200, &whole);
        assert!(run(&http).await.is_ok());
    }

    #[tokio::test]
    async fn the_template_of_a_server_with_many_tenants_is_told_as_such() {
        let template = r#"{"issuer":"https://login.example/{tenantid}/v2.0"}"#;
        let http = ScriptedClient::new().answer(404, "").answer(200, template);
        let error = run(&http).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::IssuerMismatch);
        let told = "That is a template: this document serves many tenants. Configure issuer with the id of yours";
        assert!(error.message().contains(told), "{error}");
        assert!(
            !error
                .message()
                .contains("exactly as the server names itself")
        );
    }

    #[tokio::test]
    async fn endpoints_that_are_not_safe_count_as_missing() {
        for bad in [
            "\"http://a.example/x\"",
            "\"http://127.0.0.1/x\"",
            "\"https://localhost/x\"",
            "\"https://127.0.0.1:8443/x\"",
            "\"https://[::1]/x\"",
            "\"https://user@a.example/x\"",
            "\"https://a.example/x#y\"",
            "\"https://a.example:0/x\"",
            "\"https://a.example:65536/x\"",
            "\"javascript:alert(1)\"",
            "\"/x\"",
            "5",
            "\"\"",
            "[]",
        ] {
            for name in [
                "device_authorization_endpoint",
                "authorization_endpoint",
                "token_endpoint",
                "revocation_endpoint",
                "registration_endpoint",
            ] {
                let http = ScriptedClient::new()
                    .answer(
                        200,
                        &document(&format!(r#"{DEVICE_MEMBER}{TOKEN_MEMBER},"{name}":{bad}"#)),
                    )
                    .answer(404, "");
                let metadata = run(&http).await.unwrap();
                let flaw = metadata.flaw(name).unwrap();
                let error = flaw.to_error(ISSUER, "Do that.");
                assert_eq!(error.code(), ErrorCode::InvalidResponse, "{name} {bad}");
                assert!(error.message().contains(name), "{error}");
                let endpoint = match name {
                    "device_authorization_endpoint" => metadata.device_authorization_endpoint,
                    "authorization_endpoint" => metadata.authorization_endpoint,
                    "token_endpoint" => metadata.token_endpoint,
                    "revocation_endpoint" => metadata.revocation_endpoint,
                    _ => metadata.registration_endpoint,
                };
                assert_eq!(endpoint, None, "{name} {bad}");
            }
        }
        let local = Issuer::parse("http://localhost:8080", &AllowHttp::default()).unwrap();
        let http = ScriptedClient::new().otherwise(|_| {
            Ok(response(
                200,
                r#"{"issuer":"http://localhost:8080","device_authorization_endpoint":"http://localhost:8080/d",
                    "token_endpoint":"http://127.0.0.1:8080/t"}"#,
            ))
        });
        assert!(
            discover(&http, &local, false, TIMEOUT)
                .await
                .unwrap()
                .is_complete()
        );
    }
}
