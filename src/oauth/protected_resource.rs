//! Where a protected resource says that its tokens come from (RFC 9728, and MCP's authorization specification above
//! it).

use std::time::Duration;

use url::Url;

use super::answer::Answer;
use super::challenge::{Challenge, challenges, is_scope};
use super::issuer::Issuer;
use super::metadata::{AuthorizationServerMetadata, discover, names};
use super::server_text::Secrets;
use crate::error::{Error, ErrorCode};
use crate::http::{AllowHttp, Body, Endpoint, HttpClient, Request};

/// RFC 9728 §3
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// The most servers asked: no real resource names more.
const MOST_SERVERS: usize = 8;

/// A resource, and the authorization server that it names.
#[derive(Debug)]
pub(crate) struct ProtectedResource {
    /// `resource`, as tokens are to be asked for (RFC 8707).
    pub(crate) identifier: String,
    /// The scopes that a token needs: those of the challenge, else `scopes_supported`.
    pub(crate) scopes: Vec<String>,
    /// The authorization server.
    pub(crate) server: AuthorizationServerMetadata,
}

/// The metadata document of the resource, if it has one.
struct Document {
    identifier: String,
    authorization_servers: Vec<String>,
    scopes: Vec<String>,
}

/// The requests that failed, as parts of sentences.
#[derive(Default)]
struct Tried(Vec<String>);

impl Tried {
    fn note(&mut self, what: &str, why: &str) {
        self.0.push(format!("{what} ({why})"));
    }
}

/// Asks the resource for its authorization server.
///
/// # Errors
/// `INVALID_CONFIG` for a URL that nothing is asked at; `NETWORK` and its kin where the resource cannot be reached;
/// `INVALID_RESPONSE` where it names no server that can be used, with all that was tried.
pub(crate) async fn locate(
    http: &dyn HttpClient,
    resource: &str,
    allow_http: &AllowHttp,
    wants_userinfo: bool,
    timeout: Duration,
) -> Result<ProtectedResource, Error> {
    let url = allow_http.endpoint(resource).map_err(|reason| {
        Error::new(
            ErrorCode::InvalidConfig,
            format!(
                "`resource` {reason}, where there is neither `issuer` nor `tokenEndpoint`: it is asked where to log in."
            ),
        )
    })?;
    let challenges = challenges_of(http, &url, timeout).await?;
    let asked_for = challenges
        .iter()
        .find(|challenge| challenge.wants_a_token());
    let mut tried = Tried::default();
    let document = document(
        http,
        resource,
        (&url, allow_http),
        asked_for,
        timeout,
        &mut tried,
    )
    .await?;
    let origin = Issuer::found(&url.url().origin().ascii_serialization(), allow_http);
    let (identifier, supported, servers) = match document {
        Some(document) if !document.authorization_servers.is_empty() => {
            let servers = document.authorization_servers;
            (document.identifier, document.scopes, servers)
        }
        // MCP 2025-03-26: the authorization server has the resource's origin.
        other => {
            let origin = origin.iter().map(|origin| origin.as_str().to_owned());
            let (identifier, scopes) = other.map_or_else(
                || (resource.to_owned(), Vec::new()),
                |document| (document.identifier, document.scopes),
            );
            (identifier, scopes, origin.collect())
        }
    };
    let server = first_usable(
        http,
        (&url, allow_http),
        &servers,
        wants_userinfo,
        timeout,
        &mut tried,
    )
    .await
    .ok_or_else(|| nothing_found(&url, &challenges, asked_for, &tried))?;
    let scopes = asked_for.map_or_else(Vec::new, Challenge::scopes);
    Ok(ProtectedResource {
        identifier,
        // MCP, scope selection strategy: the challenge's, else "all scopes defined in scopes_supported".
        scopes: if scopes.is_empty() { supported } else { scopes },
        server,
    })
}

/// Reads the challenge in the answer to a request without a token.
async fn challenges_of(
    http: &dyn HttpClient,
    url: &Endpoint,
    timeout: Duration,
) -> Result<Vec<Challenge>, Error> {
    let ask = |body| {
        http.send(Request {
            url: url.clone(),
            body,
            authorization: None,
            dpop: None,
            timeout,
        })
    };
    let failed = |failure: crate::http::Failure| failure.to_error(url);
    let mut answer = ask(Body::Probe).await.map_err(failed)?;
    if answer.challenge.is_none() && (400..500).contains(&answer.status) {
        answer = ask(Body::ProbeByPost).await.map_err(failed)?;
    }
    Ok(answer
        .challenge
        .as_deref()
        .map_or_else(Vec::new, challenges))
}

/// The first document that is there, of this resource.
async fn document(
    http: &dyn HttpClient,
    resource: &str,
    (url, allow_http): (&Endpoint, &AllowHttp),
    challenge: Option<&Challenge>,
    timeout: Duration,
    tried: &mut Tried,
) -> Result<Option<Document>, Error> {
    let root = well_known(url, "");
    let mut places = Vec::new();
    // RFC 9728 §5.1: resource_metadata is "The URL of the protected resource metadata."
    if let Some(named) = challenge.and_then(|challenge| challenge.parameter("resource_metadata")) {
        match usable(named, allow_http, url.is_loopback()) {
            Ok(place) => places.push(place),
            Err(reason) => tried.note("the challenge's `resource_metadata`", &reason),
        }
    }
    // RFC 9728 §3.1: inserted "between the host component and the path"; MCP: then at the root.
    for place in [well_known(url, url.url().path()), root.clone()] {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let mut foreign = None;
    for place in places {
        let answer = match Answer::to(http, &place, Body::Get, None, timeout).await {
            Ok(answer) => answer,
            Err(failure) => {
                tried.note(place.as_str(), &failure.detail);
                continue;
            }
        };
        let found = answer.members().filter(|_| answer.status == 200);
        let Some((members, identifier)) =
            found.and_then(|members| Some((members, members.text("resource")?)))
        else {
            tried.note(place.as_str(), &format!("HTTP {}", answer.status));
            continue;
        };
        // RFC 9728 §3.3: "The resource value returned MUST be identical to the protected resource's resource
        // identifier value into which the well-known URI path suffix was inserted", or, where the resource named the
        // place, "identical to the URL that the client used".
        let is_of_origin = place == root
            && is_same(
                identifier,
                root.url().origin().ascii_serialization().as_str(),
            );
        if !is_same(identifier, resource) && !is_of_origin {
            foreign.get_or_insert_with(|| mismatch(resource, &place, identifier));
            continue;
        }
        let texts = |name| names(members.value(name)).unwrap_or_default();
        let mut scopes = texts("scopes_supported");
        scopes.retain(|scope| is_scope(scope));
        return Ok(Some(Document {
            identifier: identifier.to_owned(),
            authorization_servers: texts("authorization_servers"),
            scopes,
        }));
    }
    foreign.map_or(Ok(None), Err)
}

/// The metadata of the first server that has some.
async fn first_usable(
    http: &dyn HttpClient,
    (resource, allow_http): (&Endpoint, &AllowHttp),
    servers: &[String],
    wants_userinfo: bool,
    timeout: Duration,
    tried: &mut Tried,
) -> Option<AuthorizationServerMetadata> {
    for text in servers.iter().take(MOST_SERVERS) {
        // A resource on the network must not send requests to this machine.
        let issuer = usable(text, allow_http, resource.is_loopback())
            .and_then(|_| Issuer::found(text, allow_http));
        let outcome = match issuer {
            Ok(issuer) => discover(http, &issuer, wants_userinfo, timeout).await,
            Err(reason) => {
                let shown = Secrets::default().description(text).unwrap_or_default();
                tried.note(&format!("the issuer \"{shown}\""), &reason);
                continue;
            }
        };
        match outcome {
            Ok(metadata) => return Some(metadata),
            Err(error) => tried.note(&format!("the authorization server {text}"), error.message()),
        }
    }
    None
}

fn usable(text: &str, allow_http: &AllowHttp, may_be_loopback: bool) -> Result<Endpoint, String> {
    let endpoint = allow_http.endpoint(text)?;
    if endpoint.is_loopback() && !may_be_loopback {
        return Err("leads to this machine".to_owned());
    }
    Ok(endpoint)
}

/// The address of the document for that path on the resource's host.
fn well_known(resource: &Endpoint, path: &str) -> Endpoint {
    let query = resource.url().query().filter(|_| !path.is_empty());
    let path = path.trim_end_matches('/');
    resource.at(&format!("{WELL_KNOWN}{path}"), query)
}

/// Whether two identifiers are the same URL: case, usual ports and a last slash apart, which libraries change.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let normal = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Some(url)
    };
    normal(one).is_some_and(|one| Some(one) == normal(other))
}

/// Whether a token for that identifier is one for the resource: its own, or one for all of its origin.
pub(crate) fn covers(identifier: &str, resource: &str) -> bool {
    let origin = || Url::parse(resource).map(|url| url.origin().ascii_serialization());
    is_same(identifier, resource) || origin().is_ok_and(|origin| is_same(identifier, &origin))
}

fn mismatch(resource: &str, place: &Endpoint, identifier: &str) -> Error {
    let told = Secrets::default()
        .description(identifier)
        .unwrap_or_default();
    Error::new(
        ErrorCode::InvalidResponse,
        format!(
            "The document at {place} is of the resource \"{told}\", not of \"{resource}\": nothing of it was used. If you mean that \
             resource, configure `resource` exactly like that; else give `issuer`."
        ),
    )
}

fn nothing_found(
    resource: &Endpoint,
    challenges: &[Challenge],
    asked_for: Option<&Challenge>,
    tried: &Tried,
) -> Error {
    let schemes: Vec<&str> = challenges
        .iter()
        .map(|challenge| challenge.scheme.as_str())
        .collect();
    let other = if asked_for.is_none() && !schemes.is_empty() {
        let schemes = schemes.join(", ");
        let schemes = Secrets::default().description(&schemes).unwrap_or_default();
        format!(" It asks for {schemes}, which is no access token (Bearer or DPoP).")
    } else {
        String::new()
    };
    Error::new(
        ErrorCode::InvalidResponse,
        format!(
            "{resource} names no authorization server that can be used.{other} Tried: {}. Check `resource`, or give `issuer`.",
            tried.0.join("; ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::scripted::{Received, ScriptedClient, response};
    use crate::http::{Failure, FailureKind, Response};

    const RESOURCE: &str = "https://mcp.example/mcp";
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A scripted network: the answer of each URL; everything else is 404.
    fn network(pages: &[(&str, &str)], challenge: &str) -> ScriptedClient {
        let pages: Vec<(String, String)> = pages
            .iter()
            .map(|(url, body)| ((*url).to_owned(), (*body).to_owned()))
            .collect();
        let challenge = (!challenge.is_empty()).then(|| challenge.to_owned());
        ScriptedClient::new().otherwise(move |request: &Received| -> Result<Response, Failure> {
            if request.url.starts_with("https://down.example") {
                let detail = "connection refused".to_owned();
                return Err(Failure {
                    kind: FailureKind::NotSent,
                    detail,
                });
            }
            let page = pages.iter().find(|(url, _)| *url == request.url);
            Ok(match page {
                Some((_, body)) => response(200, body),
                None if request.url == RESOURCE => Response {
                    challenge: challenge.clone(),
                    ..response(if challenge.is_some() { 401 } else { 405 }, "")
                },
                None => response(404, "<html>"),
            })
        })
    }

    fn server(issuer: &str) -> String {
        format!(
            r#"{{"issuer":"{issuer}","device_authorization_endpoint":"{issuer}/d","token_endpoint":"{issuer}/t"}}"#
        )
    }

    const AUTH: &str = "https://auth.example";
    const AUTH_PLACE: &str = "https://auth.example/.well-known/oauth-authorization-server";
    const PATH_PLACE: &str = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
    const ROOT_PLACE: &str = "https://mcp.example/.well-known/oauth-protected-resource";

    fn of(resource: &str) -> String {
        format!(
            r#"{{"resource":"{resource}","authorization_servers":["{AUTH}"],"scopes_supported":["read","a b"]}}"#
        )
    }

    async fn run(http: &ScriptedClient) -> Result<ProtectedResource, Error> {
        locate(http, RESOURCE, &AllowHttp::default(), false, TIMEOUT).await
    }

    #[tokio::test]
    async fn the_document_is_where_the_challenge_says_or_at_the_path_or_at_the_root() {
        let elsewhere = "https://docs.example/r.json";
        let named = format!(r#"Bearer resource_metadata="{elsewhere}", scope="s1 s2""#);
        for (challenge, place, resource, scopes) in [
            (named.as_str(), elsewhere, RESOURCE, vec!["s1", "s2"]),
            (named.as_str(), PATH_PLACE, RESOURCE, vec!["s1", "s2"]),
            ("Bearer", PATH_PLACE, RESOURCE, vec!["read"]),
            ("", PATH_PLACE, RESOURCE, vec!["read"]),
            ("", PATH_PLACE, "HTTPS://MCP.example:443/mcp/", vec!["read"]),
            ("", ROOT_PLACE, RESOURCE, vec!["read"]),
            ("", ROOT_PLACE, "https://mcp.example", vec!["read"]),
            (
                r#"DPoP algs="ES256""#,
                ROOT_PLACE,
                "https://mcp.example/",
                vec!["read"],
            ),
        ] {
            let http = network(
                &[(place, &of(resource)), (AUTH_PLACE, &server(AUTH))],
                challenge,
            );
            let found = run(&http).await.unwrap();
            assert_eq!(found.identifier, resource);
            assert_eq!(found.scopes, scopes, "{challenge} {place}");
            assert_eq!(found.server.issuer.as_str(), AUTH);
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_to_post_alone_is_asked_by_post() {
        let http = network(
            &[(PATH_PLACE, &of(RESOURCE)), (AUTH_PLACE, &server(AUTH))],
            "",
        );
        run(&http).await.unwrap();
        let asked: Vec<_> = http
            .received()
            .into_iter()
            .map(|request| request.method)
            .collect();
        assert_eq!(asked.get(..3).unwrap(), ["GET", "POST", "GET"]);
    }

    #[tokio::test]
    async fn a_document_of_another_resource_is_not_used() {
        for (place, resource) in [
            (PATH_PLACE, "https://evil.example/mcp"),
            (PATH_PLACE, "https://mcp.example/other"),
            (PATH_PLACE, "https://mcp.example/mcp/more"),
            (PATH_PLACE, "https://mcp.example/mcp?x=1"),
            // The document of the origin, at the place of the path.
            (PATH_PLACE, "https://mcp.example"),
            (ROOT_PLACE, "https://mcp.example:444"),
            (ROOT_PLACE, "not a URL"),
        ] {
            let http = network(&[(place, &of(resource)), (AUTH_PLACE, &server(AUTH))], "");
            let error = run(&http).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidResponse);
            assert!(
                error
                    .message()
                    .contains(&format!("\"{resource}\", not of \"{RESOURCE}\"")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn the_first_server_that_has_metadata_is_taken_and_none_on_this_machine() {
        let servers = r#""http://plain.example","https://127.0.0.1","https://down.example","https://none.example","https://auth.example/""#;
        let document =
            format!(r#"{{"resource":"{RESOURCE}","authorization_servers":[{servers}]}}"#);
        // Either side may have the slash.
        for issuer in [AUTH, "https://auth.example/"] {
            let answer = server(issuer);
            let http = network(&[(PATH_PLACE, &document), (AUTH_PLACE, &answer)], "Bearer");
            assert_eq!(run(&http).await.unwrap().server.issuer.as_str(), issuer);
        }
        let http = network(
            &[
                (PATH_PLACE, &document),
                (AUTH_PLACE, &server("https://other.example")),
            ],
            "Bearer",
        );
        let error = run(&http).await.unwrap_err();
        for said in [
            "\"http://plain.example\" (must be an https URL",
            "\"https://127.0.0.1\" (leads to this machine)",
            "https://down.example (down.example could not be reached: connection refused",
            "https://none.example (The issuer https://none.example publishes no metadata",
            "is of the issuer \"https://other.example\"",
        ] {
            assert!(error.message().contains(said), "{said}: {error}");
        }
    }

    #[tokio::test]
    async fn an_old_server_is_its_own_issuer() {
        for issuer in ["https://mcp.example", "https://mcp.example/"] {
            let place = "https://mcp.example/.well-known/oauth-authorization-server";
            let http = network(&[(place, &server(issuer))], "");
            let found = run(&http).await.unwrap();
            assert_eq!(found.server.issuer.as_str(), issuer);
            assert_eq!(found.identifier, RESOURCE);
            assert!(found.scopes.is_empty());
        }
    }

    #[tokio::test]
    async fn what_was_tried_is_said() {
        let error = run(&network(&[], r#"Basic realm="x""#)).await.unwrap_err();
        for said in [
            "It asks for Basic, which is no access token",
            "oauth-protected-resource/mcp (HTTP 404)",
            "oauth-protected-resource (HTTP 404)",
            "the authorization server https://mcp.example (",
            "give `issuer`",
        ] {
            assert!(error.message().contains(said), "{said}: {error}");
        }
        for resource in ["http://mcp.example/mcp", "urn:x"] {
            let error = locate(
                &network(&[], ""),
                resource,
                &AllowHttp::default(),
                false,
                TIMEOUT,
            )
            .await
            .unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidConfig);
            assert!(error.message().contains("`resource` must be an"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_challenge_leads_to_no_private_place() {
        let named = r#"Bearer resource_metadata="http://127.0.0.1:1/x""#;
        let http = network(
            &[(PATH_PLACE, &of(RESOURCE)), (AUTH_PLACE, &server(AUTH))],
            named,
        );
        run(&http).await.unwrap();
        assert!(
            http.received()
                .iter()
                .all(|request| !request.url.contains("127.0.0.1"))
        );
    }
}
