//! The page where a person approves (RFC 6749 §4.1.1), with PKCE (RFC 7636 §4.3).

use super::pkce::PkceVerifier;
use crate::http::{Endpoint, Form};
use crate::secret::Secret;

/// The authorization request.
pub(crate) struct AuthorizationRequest<'a> {
    /// The authorization endpoint.
    pub(crate) endpoint: &'a Endpoint,
    /// `client_id`
    pub(crate) client_id: &'a str,
    /// `redirect_uri`
    pub(crate) redirect_uri: &'a str,
    /// `scope`, as it is sent; empty for none.
    pub(crate) scope: &'a str,
    /// `state`
    pub(crate) state: &'a Secret,
    /// The verifier of the challenge.
    pub(crate) pkce: &'a PkceVerifier,
    /// `audience`, which is Auth0's
    pub(crate) audience: Option<&'a str>,
    /// `resource` (RFC 8707)
    pub(crate) resources: &'a [String],
    /// `prompt=consent`, as [`asks_for_consent`] says, until the server refuses it.
    pub(crate) asks_for_consent: bool,
    /// Further parameters.
    pub(crate) extra: &'a [(String, String)],
}

/// `OpenID` Connect Core §11: with `offline_access` the prompt parameter "MUST contain consent"; servers that go by it
/// give no refresh token otherwise. A prompt of the caller's own, even an empty one, takes its place.
pub(crate) fn asks_for_consent(scopes: &[String], extra: &[(String, String)]) -> bool {
    scopes.iter().any(|scope| scope == "offline_access")
        && !extra.iter().any(|(name, _)| name == "prompt")
}

impl AuthorizationRequest<'_> {
    /// All of it but `client_id`.
    pub(crate) fn parameters(&self) -> Form {
        let mut query = Form::new();
        query.append("response_type", "code");
        query.append("redirect_uri", self.redirect_uri);
        query.append("state", self.state.expose());
        query.append("code_challenge", &self.pkce.challenge());
        query.append("code_challenge_method", PkceVerifier::METHOD);
        if !self.scope.is_empty() {
            query.append("scope", self.scope);
        }
        if let Some(audience) = self.audience {
            query.append("audience", audience);
        }
        // RFC 8707 §2: 'Multiple "resource" parameters MAY be used'
        for resource in self.resources {
            query.append("resource", resource);
        }
        if self.asks_for_consent {
            query.append("prompt", "consent");
        }
        query.append_all(self.extra);
        query
    }

    /// The URL for a browser to open.
    pub(crate) fn url(&self) -> String {
        page(self.endpoint, self.client_id, &self.parameters())
    }
}

/// The URL for a request that was pushed (RFC 9126 §4).
pub(crate) fn pushed_url(endpoint: &Endpoint, client_id: &str, request_uri: &str) -> String {
    let mut query = Form::new();
    query.append("request_uri", request_uri);
    page(endpoint, client_id, &query)
}

fn page(endpoint: &Endpoint, client_id: &str, parameters: &Form) -> String {
    let mut query = Form::new();
    query.append("client_id", client_id);
    // RFC 6749 §3.1: the endpoint's own query component "MUST be retained when adding additional query parameters".
    let own = if endpoint.url().query().is_some() {
        '&'
    } else {
        '?'
    };
    let query = format!("{}&{}", query.as_str(), parameters.as_str());
    // In a form a space is "+"; in a URL, RFC 3986 reads that as a plus. A plus itself is %2B in both.
    let query = query.replace('+', "%20");
    format!("{}{own}{query}", endpoint.as_str())
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn url(endpoint: &str, scopes: &[&str], extra: &[(&str, &str)]) -> (Url, PkceVerifier) {
        let pkce = PkceVerifier::generate().unwrap();
        let text = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let extra = extra.iter().map(text).collect::<Vec<_>>();
        let request = AuthorizationRequest {
            endpoint: &Endpoint::parse(endpoint).unwrap(),
            client_id: "my client&x",
            redirect_uri: "http://127.0.0.1:5000/callback",
            scope: &scopes.join(" "),
            state: &Secret::from("the-state"),
            pkce: &pkce,
            audience: Some("https://api.example"),
            resources: &["https://r.example/1".into(), "https://r.example/2".into()],
            asks_for_consent: asks_for_consent(&scopes, &extra),
            extra: &extra,
        };
        (Url::parse(&request.url()).unwrap(), pkce)
    }

    #[test]
    fn the_url_holds_every_parameter_once() {
        let (url, pkce) = url(
            "https://a.example/authorize?tenant=1",
            &["memory", "notes"],
            &[("login_hint", "ada"), ("note", "a +b")],
        );
        assert!(
            url.as_str()
                .starts_with("https://a.example/authorize?tenant=1&")
        );
        let challenge = pkce.challenge();
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("tenant", "1"),
                ("client_id", "my client&x"),
                ("response_type", "code"),
                ("redirect_uri", "http://127.0.0.1:5000/callback"),
                ("state", "the-state"),
                ("code_challenge", challenge.as_str()),
                ("code_challenge_method", "S256"),
                ("scope", "memory notes"),
                ("audience", "https://api.example"),
                ("resource", "https://r.example/1"),
                ("resource", "https://r.example/2"),
                ("login_hint", "ada"),
                ("note", "a +b"),
            ]
        );
        // RFC 3986 knows no "+" for a space.
        assert!(!url.query().unwrap().contains('+'), "{url}");
        assert!(!url.as_str().contains(pkce.verifier().expose()));
    }

    #[test]
    fn offline_access_asks_for_consent_unless_told_otherwise() {
        let prompt = |extra: &[(&str, &str)]| -> Vec<String> {
            let (url, _) = url("https://a.example/authorize", &["offline_access"], extra);
            url.query_pairs()
                .filter(|(name, _)| name == "prompt")
                .map(|(_, value)| value.into_owned())
                .collect()
        };
        assert_eq!(prompt(&[]), ["consent"]);
        assert_eq!(prompt(&[("prompt", "select_account")]), ["select_account"]);
        assert!(prompt(&[("prompt", "")]).is_empty());
    }
}
