//! The client and how it authenticates (RFC 6749 §2.3).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::client_key::{ASSERTION_TYPE, ClientKey};
use crate::http::Form;
use crate::secret::Secret;
use crate::time::SharedClock;

/// How a client proves itself at an endpoint (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuthentication {
    /// A public client: its id only.
    None,
    /// Id and secret in the `Authorization` header.
    ClientSecretBasic,
    /// Id and secret in the form.
    ClientSecretPost,
    /// A signed assertion in the form (RFC 7523 §2.2).
    PrivateKeyJwt,
}

impl ClientAuthentication {
    /// The registered name of the method.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// Finds the method of that name, if it is supported.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [
            Self::None,
            Self::ClientSecretBasic,
            Self::ClientSecretPost,
            Self::PrivateKeyJwt,
        ]
        .into_iter()
        .find(|method| method.as_str() == name)
    }

    /// Whether it is a secret that it proves.
    pub(crate) fn needs_a_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// The key of assertions, and the server that they are for.
#[derive(Clone, Debug)]
pub(crate) struct Assertions {
    /// The key.
    pub(crate) key: Arc<ClientKey>,
    /// `aud`: the issuer, or the token endpoint of a server without a name.
    pub(crate) audience: String,
    /// For `iat` and `exp`; without it none is made.
    pub(crate) clock: Option<SharedClock>,
}

/// A client as the authorization server knows it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// `client_id`
    pub(crate) id: String,
    /// `client_secret`
    pub(crate) secret: Option<Secret>,
    /// How it authenticates.
    pub(crate) authentication: ClientAuthentication,
    /// For `private_key_jwt`.
    pub(crate) assertions: Option<Assertions>,
}

impl Client {
    /// Sets the clock that dates assertions.
    pub(crate) fn at(mut self, clock: &SharedClock) -> Self {
        if let Some(assertions) = &mut self.assertions {
            assertions.clock = Some(clock.clone());
        }
        self
    }

    /// Adds the client to the form, or gives the value of the `Authorization` header.
    pub(crate) fn authenticate(&self, form: &mut Form) -> Option<Secret> {
        // RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."
        match (self.authentication, &self.secret) {
            (ClientAuthentication::ClientSecretBasic, Some(secret)) => {
                return Some(self.basic_credentials(secret));
            }
            (ClientAuthentication::ClientSecretPost, Some(secret)) => {
                form.append("client_id", &self.id);
                form.append("client_secret", secret.expose());
            }
            (ClientAuthentication::PrivateKeyJwt, _) => {
                form.append("client_id", &self.id);
                let assertion = self.assertions.as_ref().and_then(|made| {
                    let now = made.clock.as_ref()?.now();
                    made.key.assertion(&self.id, &made.audience, now)
                });
                if let Some(assertion) = assertion {
                    form.append("client_assertion_type", ASSERTION_TYPE);
                    form.append("client_assertion", assertion.expose());
                }
            }
            // RFC 6749 §3.2.1: 'A client MAY use the "client_id" request parameter to identify itself'
            _ => form.append("client_id", &self.id),
        }
        None
    }

    /// The method to use: as configured, as registered, or what the server supports and the secret allows.
    pub(crate) fn choose_authentication(
        configured: Option<ClientAuthentication>,
        registered: Option<ClientAuthentication>,
        supported: Option<&[String]>,
        has_secret: bool,
    ) -> ClientAuthentication {
        if let Some(method) = configured.or(registered) {
            return method;
        }
        if !has_secret {
            return ClientAuthentication::None;
        }
        // RFC 8414 §2: 'If omitted, the default is "client_secret_basic"'. In the server's own order: mcp 2.3.0 lists
        // "client_secret_post" first, and requires `client_id` in the body for every method.
        let known = |name: &String| {
            [
                ClientAuthentication::ClientSecretBasic,
                ClientAuthentication::ClientSecretPost,
                ClientAuthentication::None,
            ]
            .into_iter()
            .find(|method| name == method.as_str())
        };
        let listed = || supported.into_iter().flatten().filter_map(known);
        listed()
            .find(|method| *method != ClientAuthentication::None)
            .or_else(|| listed().next())
            .unwrap_or(ClientAuthentication::ClientSecretBasic)
    }

    /// Values that must never appear in a message: the secret, plain and as encoded for the header.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let Some(secret) = &self.secret else {
            return Vec::new();
        };
        let header = self.basic_credentials(secret);
        let encoded = header.expose().trim_start_matches("Basic ");
        vec![secret.clone(), Secret::from(encoded)]
    }

    fn basic_credentials(&self, secret: &Secret) -> Secret {
        let credentials = Zeroizing::new(format!(
            "{}:{}",
            form_encoded(&self.id).as_str(),
            form_encoded(secret.expose()).as_str()
        ));
        Secret::new(format!(
            "Basic {}",
            Zeroizing::new(STANDARD.encode(credentials.as_bytes())).as_str()
        ))
    }
}

/// RFC 6749 §2.3.1: 'encoded using the "application/x-www-form-urlencoded" encoding algorithm per Appendix B';
/// unreserved characters stay as they are, because some servers do not decode.
fn form_encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    for part in form_urlencoded::byte_serialize(text.as_bytes()) {
        encoded.push_str(if part == "%7E" { "~" } else { part });
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientAuthentication::{
        ClientSecretBasic, ClientSecretPost, None as Public, PrivateKeyJwt,
    };

    fn client(authentication: ClientAuthentication, secret: Option<&str>) -> Client {
        Client {
            id: "my id~".into(),
            secret: secret.map(Secret::from),
            authentication,
            assertions: None,
        }
    }

    #[test]
    fn names_read_back() {
        for method in [Public, ClientSecretBasic, ClientSecretPost, PrivateKeyJwt] {
            assert_eq!(
                ClientAuthentication::from_name(method.as_str()),
                Some(method)
            );
        }
        assert_eq!(ClientAuthentication::from_name("tls_client_auth"), None);
    }

    #[test]
    fn each_method_uses_one_place() {
        for (method, secret, form, header) in [
            (Public, None, "client_id=my+id%7E", None),
            (Public, Some("s"), "client_id=my+id%7E", None),
            (
                ClientSecretPost,
                Some("s&t"),
                "client_id=my+id%7E&client_secret=s%26t",
                None,
            ),
            (ClientSecretPost, None, "client_id=my+id%7E", None),
            // my+id~:p%3Aq-._~
            (
                ClientSecretBasic,
                Some("p:q-._~"),
                "",
                Some("Basic bXkraWR+OnAlM0FxLS5ffg=="),
            ),
            (ClientSecretBasic, None, "client_id=my+id%7E", None),
        ] {
            let mut sent = Form::new();
            let authorization = client(method, secret).authenticate(&mut sent);
            assert_eq!(sent.as_str(), form);
            assert_eq!(authorization.as_ref().map(Secret::expose), header);
        }
    }

    #[test]
    fn encodes_like_rfc_6749_appendix_b() {
        assert_eq!(
            form_encoded(" %&+\u{a3}\u{20ac}").as_str(),
            "+%25%26%2B%C2%A3%E2%82%AC"
        );
        assert_eq!(form_encoded("aZ09-._~").as_str(), "aZ09-._~");
    }

    #[test]
    fn chooses_by_config_then_registration_then_metadata_then_secret() {
        let choose = Client::choose_authentication;
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let (post, none, odd) = (
            names(&["client_secret_post"]),
            names(&["none"]),
            names(&["private_key_jwt"]),
        );
        assert_eq!(
            choose(Some(Public), Some(ClientSecretPost), None, true),
            Public
        );
        assert_eq!(
            choose(None, Some(ClientSecretPost), Some(&none), true),
            ClientSecretPost
        );
        assert_eq!(choose(None, None, Some(&post), false), Public);
        assert_eq!(choose(None, None, Some(&post), true), ClientSecretPost);
        assert_eq!(choose(None, None, Some(&none), true), Public);
        assert_eq!(choose(None, None, Some(&odd), true), ClientSecretBasic);
        assert_eq!(choose(None, None, None, true), ClientSecretBasic);
        assert_eq!(choose(None, None, None, false), Public);
    }

    #[test]
    fn debug_is_redacted() {
        let client = client(ClientSecretPost, Some("canary"));
        assert!(!format!("{client:?}").contains("canary"));
    }
}
