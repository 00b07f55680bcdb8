//! A credential as the layers above see it: the result of a login or refresh, and the part that a reader may know.

use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::ErrorCode;
use crate::jwt;
use crate::secret::{Fingerprint, Secret};
use crate::time::UnixMillis;

/// The result of a login or a refresh, to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewCredential {
    /// The access token.
    pub(crate) access: Secret,
    /// The refresh token; none in a refresh means that the stored one stays.
    pub(crate) refresh: Option<Secret>,
    /// When the access token ends, if known.
    pub(crate) expires: Option<UnixMillis>,
    /// When the refresh token ends, if the server said so.
    pub(crate) refresh_expires: Option<UnixMillis>,
    /// When the person logged in.
    pub(crate) created_at: UnixMillis,
    /// When the access token came.
    pub(crate) refreshed_at: UnixMillis,
    /// `Bearer` or `DPoP`.
    pub(crate) token_type: String,
    /// The private key that the tokens are bound to.
    pub(crate) dpop_key: Option<Secret>,
    /// The granted scopes, if the server named them.
    pub(crate) scopes: Option<Vec<String>>,
    /// The `OpenID` Connect ID token.
    pub(crate) id_token: Option<Secret>,
    /// The issuer, if there was one.
    pub(crate) issuer: Option<String>,
    /// The token endpoint for refreshes.
    pub(crate) token_endpoint: Option<String>,
    /// The endpoint for revocation.
    pub(crate) revocation_endpoint: Option<String>,
    /// The client that it was issued to.
    pub(crate) client_id: Option<String>,
    /// How that client authenticates.
    pub(crate) client_authentication: Option<String>,
    /// Whether that client was registered by us.
    pub(crate) registered_client: bool,
    /// Whether a person brought it, instead of logging in.
    pub(crate) imported: bool,
    /// The URL of the service, if the server named it.
    pub(crate) resource_url: Option<String>,
    /// The resource that named the server, as its tokens are asked for (RFC 8707).
    pub(crate) resource: Option<String>,
    /// Scopes that a resource missed in it: the next login asks for them.
    pub(crate) required_scopes: Option<Vec<String>>,
    /// `sub`: the account, if the server named it.
    pub(crate) subject: Option<String>,
    /// Members of the token answer that the config names; no secrets.
    pub(crate) token_response: Option<Value>,
    /// The account by the userinfo endpoint, under the names of its claims, or why there is none.
    pub(crate) userinfo: Option<Value>,
}

impl NewCredential {
    /// Whether that is the same login, refreshed by another. A program's own file does not say when its login began:
    /// there it never is.
    pub(super) fn is_of_login(&self, stored: &Snapshot) -> bool {
        self.created_at != UnixMillis::default()
            && self.created_at == stored.created_at
            && self.issuer == stored.issuer
            && self.token_endpoint == stored.token_endpoint
            && self.client_id == stored.client_id
    }

    /// The part that a reader of the file would know, once this is stored.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let new = self.clone();
        let secrets = Secrets {
            access: new.access,
            refresh: new.refresh,
            id_token: new.id_token,
            dpop_key: new.dpop_key,
        };
        let outline = Outline {
            refreshable: secrets.refresh.is_some(),
            bound: secrets.dpop_key.is_some(),
            expires: new.expires,
            refresh_expires: new.refresh_expires,
            created_at: new.created_at,
            refreshed_at: new.refreshed_at,
            scopes: new.scopes,
            issuer: new.issuer,
            token_endpoint: new.token_endpoint,
            revocation_endpoint: new.revocation_endpoint,
            client_id: new.client_id,
            client_authentication: new.client_authentication,
            registered_client: new.registered_client,
            imported: new.imported,
            resource_url: new.resource_url,
            resource: new.resource,
            required_scopes: new.required_scopes,
            subject: new.subject,
            token_response: new.token_response,
            userinfo: new.userinfo,
            ..Outline::unknown(secrets.identity())
        };
        Snapshot::new(outline, secrets)
    }
}

/// The secrets of a credential, refresh token included. They never leave the store as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Secrets {
    pub(super) access: Secret,
    pub(super) refresh: Option<Secret>,
    pub(super) id_token: Option<Secret>,
    pub(super) dpop_key: Option<Secret>,
}

impl Secrets {
    /// Identifies the tokens that a refresh would spend: the refresh token, or the access token where there is none,
    /// with the key that proves it.
    pub(super) fn identity(&self) -> Fingerprint {
        let mut parts = match &self.refresh {
            Some(refresh) => vec!["refresh", refresh.expose()],
            None => vec!["access", self.access.expose()],
        };
        if let Some(key) = &self.dpop_key {
            parts.extend(["dpop", key.expose()]);
        }
        Fingerprint::of(&parts)
    }
}

/// The part of a credential that may be known without its secrets, which may be in the system's keychain.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, as the file has it"
)]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outline {
    /// Identifies the secrets.
    pub(super) identity: Fingerprint,
    pub(super) refreshable: bool,
    /// Whether the tokens are bound to a key.
    pub(super) bound: bool,
    /// The name of the secrets in the keychain; none where the file holds them.
    pub(super) secrets_id: Option<String>,
    /// The name of the secrets that a refresh has replaced by these.
    pub(super) previous_secrets_id: Option<String>,
    pub(super) expires: Option<UnixMillis>,
    pub(super) refresh_expires: Option<UnixMillis>,
    pub(super) created_at: UnixMillis,
    pub(super) refreshed_at: UnixMillis,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) issuer: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_authentication: Option<String>,
    pub(super) registered_client: bool,
    pub(super) imported: bool,
    pub(super) resource_url: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) required_scopes: Option<Vec<String>>,
    pub(super) subject: Option<String>,
    pub(super) token_response: Option<Value>,
    pub(super) userinfo: Option<Value>,
    /// Whether every other program that refreshes it respects this library's lock. If not, it is refreshed only when
    /// it must be.
    pub(super) is_refreshed_ahead: bool,
    /// Whether its server is first asked in JSON, as the program does that logged in.
    pub(super) is_refreshed_in_json: bool,
    pub(super) last_refresh: Option<LastRefresh>,
}

/// The result of the last failed refresh, for all processes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LastRefresh {
    /// When it failed.
    pub(crate) failed_at: UnixMillis,
    /// Before when nobody tries again.
    pub(crate) next_attempt_at: UnixMillis,
    /// The error's code.
    pub(crate) code: ErrorCode,
    /// The error's sentence.
    pub(crate) message: String,
    /// Whether only a login or another client helps.
    pub(crate) r#final: bool,
    /// The refresh token and client that it applies to: [`Snapshot::binding`].
    pub(crate) bound_to: Fingerprint,
    /// The access token that a service had rejected, and that this round could not replace.
    pub(crate) rejected: Option<Fingerprint>,
}

/// A credential as it was when it was read, without a way to its refresh token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot(Arc<(Outline, Secrets)>);

impl Deref for Snapshot {
    type Target = Outline;

    fn deref(&self) -> &Outline {
        &self.0.0
    }
}

impl Snapshot {
    pub(super) fn new(outline: Outline, secrets: Secrets) -> Self {
        Self(Arc::new((outline, secrets)))
    }

    /// The same secrets with another outline.
    pub(super) fn with_outline(&self, outline: &Outline) -> Self {
        Self::new(outline.clone(), self.0.1.clone())
    }

    /// Opens a sealed credential with these secrets, if they belong to it.
    pub(super) fn opening(&self, sealed: &Stored) -> Option<Stored> {
        match sealed {
            Stored::Sealed(outline) if self.identity == outline.identity => {
                Some(Stored::Credential(self.with_outline(outline)))
            }
            _ => None,
        }
    }

    /// For the holder of the lock only.
    pub(super) fn refresh(&self) -> Option<&Secret> {
        self.0.1.refresh.as_ref()
    }

    /// The access token.
    pub(crate) fn access(&self) -> &Secret {
        &self.0.1.access
    }

    /// Whether a service rejected the access token, and no refresh could replace it: it is not handed out.
    pub(crate) fn is_rejected(&self) -> bool {
        let rejected = self.last_refresh().and_then(|last| last.rejected.as_ref());
        rejected.is_some_and(|rejected| *rejected == self.access().fingerprint())
    }

    /// The private key that the tokens are bound to.
    pub(crate) fn dpop_key(&self) -> Option<&Secret> {
        self.0.1.dpop_key.as_ref()
    }

    /// The `OpenID` Connect ID token.
    pub(crate) fn id_token(&self) -> Option<&Secret> {
        self.0.1.id_token.as_ref()
    }

    /// The claims of the ID token. It came from the token endpoint itself, over TLS (`OpenID` Connect Core §3.1.3.7).
    pub(crate) fn claims(&self) -> Option<Map<String, Value>> {
        jwt::claims(self.id_token()?)
    }
}

impl Outline {
    /// The outline of a credential of which only the secrets are known.
    pub(super) fn unknown(identity: Fingerprint) -> Self {
        Self {
            identity,
            refreshable: false,
            bound: false,
            secrets_id: None,
            previous_secrets_id: None,
            expires: None,
            refresh_expires: None,
            created_at: UnixMillis::default(),
            refreshed_at: UnixMillis::default(),
            scopes: None,
            issuer: None,
            token_endpoint: None,
            revocation_endpoint: None,
            client_id: None,
            client_authentication: None,
            registered_client: false,
            imported: false,
            resource_url: None,
            resource: None,
            required_scopes: None,
            subject: None,
            token_response: None,
            userinfo: None,
            is_refreshed_ahead: true,
            is_refreshed_in_json: false,
            last_refresh: None,
        }
    }

    /// When the access token ends, if known.
    pub(crate) fn expires(&self) -> Option<UnixMillis> {
        self.expires
    }

    /// When the refresh token ends, if the server said so.
    pub(crate) fn refresh_expires(&self) -> Option<UnixMillis> {
        self.refresh_expires
    }

    /// When the person logged in.
    pub(crate) fn created_at(&self) -> UnixMillis {
        self.created_at
    }

    /// When the access token came.
    pub(crate) fn refreshed_at(&self) -> UnixMillis {
        self.refreshed_at
    }

    /// The granted scopes, if known.
    pub(crate) fn scopes(&self) -> Option<&[String]> {
        self.scopes.as_deref()
    }

    /// The issuer, if there was one.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The token endpoint for refreshes.
    pub(crate) fn token_endpoint(&self) -> Option<&str> {
        self.token_endpoint.as_deref()
    }

    /// The endpoint for revocation.
    pub(crate) fn revocation_endpoint(&self) -> Option<&str> {
        self.revocation_endpoint.as_deref()
    }

    /// The client that it was issued to.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// How that client authenticates.
    pub(crate) fn client_authentication(&self) -> Option<&str> {
        self.client_authentication.as_deref()
    }

    /// Whether that client was registered by us.
    pub(crate) fn registered_client(&self) -> bool {
        self.registered_client
    }

    /// Whether a person brought it, instead of logging in.
    pub(crate) fn imported(&self) -> bool {
        self.imported
    }

    /// The URL of the service, if the server named it.
    pub(crate) fn resource_url(&self) -> Option<&str> {
        self.resource_url.as_deref()
    }

    /// The resource that named the server, as its tokens are asked for.
    pub(crate) fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Scopes that a resource missed in it.
    pub(crate) fn required_scopes(&self) -> &[String] {
        self.required_scopes.as_deref().unwrap_or_default()
    }

    /// The account, if the server named it.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Members of the token answer that the config names.
    pub(crate) fn token_response(&self) -> Option<&Value> {
        self.token_response.as_ref()
    }

    /// The account by the userinfo endpoint, or why there is none.
    pub(crate) fn userinfo(&self) -> Option<&Value> {
        self.userinfo.as_ref()
    }

    /// Whether it may be refreshed before it must be.
    pub(crate) fn is_refreshed_ahead(&self) -> bool {
        self.is_refreshed_ahead
    }

    /// Whether the token endpoint is first asked in JSON.
    pub(crate) fn is_refreshed_in_json(&self) -> bool {
        self.is_refreshed_in_json
    }

    /// Whether there is a refresh token.
    pub(crate) fn is_refreshable(&self) -> bool {
        self.refreshable
    }

    /// Whether the tokens are bound to a key.
    pub(crate) fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether the secrets are in the system's keychain.
    pub(crate) fn is_in_keychain(&self) -> bool {
        self.secrets_id.is_some()
    }

    /// The result of the last failed refresh.
    pub(crate) fn last_refresh(&self) -> Option<&LastRefresh> {
        self.last_refresh.as_ref()
    }

    /// Whether that is the same login, refreshed. Where it is not known when a login began, only the same secrets are.
    pub(crate) fn is_of_login(&self, other: &Self) -> bool {
        if self.created_at == UnixMillis::default() {
            return self.identity == other.identity;
        }
        self.created_at == other.created_at
            && self.issuer == other.issuer
            && self.token_endpoint == other.token_endpoint
            && self.client_id == other.client_id
            && self.bound == other.bound
    }

    /// Identifies the request that a refresh would send: the refresh token (the access token where there is none) with
    /// the key that proves it, and the client.
    pub(crate) fn binding(
        &self,
        client_id: &str,
        authentication: &str,
        secret: Option<&Secret>,
    ) -> Fingerprint {
        let mut parts = vec![self.identity.as_str(), client_id, authentication];
        parts.extend(secret.map(Secret::expose));
        Fingerprint::of(&parts)
    }
}

/// The contents of a location.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stored {
    /// Never logged in.
    Nothing,
    /// Logged out: nothing older may come back.
    LoggedOut,
    /// Logged in.
    Credential(Snapshot),
    /// Logged in, with secrets in the keychain that were not read: see `sealed.rs`.
    Sealed(Arc<Outline>),
}

impl Stored {
    /// The credential, if there is one.
    pub(super) fn credential(&self) -> Option<&Snapshot> {
        match self {
            Self::Credential(snapshot) => Some(snapshot),
            Self::Nothing | Self::LoggedOut | Self::Sealed(_) => None,
        }
    }

    /// Identifies the refresh token that a refresh would spend, for the temp file that replaces it.
    pub(super) fn spendable(&self) -> Option<Fingerprint> {
        match self {
            Self::Credential(snapshot) if snapshot.secrets_id.is_none() => {
                snapshot.refresh().map(Secret::fingerprint)
            }
            _ => self
                .outline()
                .filter(|outline| outline.refreshable)
                .map(|outline| outline.identity.clone()),
        }
    }

    /// The outline of the credential, if there is one.
    pub(crate) fn outline(&self) -> Option<&Outline> {
        match self {
            Self::Credential(snapshot) => Some(snapshot),
            Self::Sealed(outline) => Some(outline),
            Self::Nothing | Self::LoggedOut => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::format;

    /// A credential for the tests of this layer.
    pub(in crate::store) fn sample(access: &str, refresh: Option<&str>) -> NewCredential {
        NewCredential {
            access: Secret::from(access),
            refresh: refresh.map(Secret::from),
            expires: Some(UnixMillis(1_700_003_600_000)),
            refresh_expires: None,
            created_at: UnixMillis(1_700_000_000_000),
            refreshed_at: UnixMillis(1_700_000_000_000),
            token_type: "Bearer".to_owned(),
            dpop_key: None,
            scopes: Some(vec!["memory".to_owned(), "offline_access".to_owned()]),
            id_token: None,
            issuer: Some("https://auth.example.com".to_owned()),
            token_endpoint: Some("https://auth.example.com/token".to_owned()),
            revocation_endpoint: None,
            client_id: Some("client".to_owned()),
            client_authentication: Some("none".to_owned()),
            registered_client: false,
            imported: false,
            resource_url: None,
            resource: None,
            required_scopes: None,
            subject: None,
            token_response: None,
            userinfo: None,
        }
    }

    fn snapshot(text: &str) -> Snapshot {
        let (stored, _) = format::parse(text.as_bytes(), &"/c.json").unwrap();
        stored.credential().unwrap().clone()
    }

    #[test]
    fn a_binding_changes_with_everything_a_refresh_would_send() {
        let with_refresh = snapshot(r#"{"version":1,"access":"a","refresh":"r"}"#);
        let other_access = snapshot(r#"{"version":1,"access":"b","refresh":"r"}"#);
        let other_refresh = snapshot(r#"{"version":1,"access":"a","refresh":"s"}"#);
        let with_key = snapshot(r#"{"version":1,"access":"a","refresh":"r","dpopKey":"k"}"#);
        let only_access = snapshot(r#"{"version":1,"access":"r"}"#);
        let secret = Secret::from("x");
        let base = with_refresh.binding("c", "none", None);
        assert_eq!(base, other_access.binding("c", "none", None));
        for other in [
            other_refresh.binding("c", "none", None),
            with_key.binding("c", "none", None),
            only_access.binding("c", "none", None),
            with_refresh.binding("d", "none", None),
            with_refresh.binding("c", "client_secret_post", None),
            with_refresh.binding("c", "none", Some(&secret)),
            with_refresh.binding("c", "none", Some(&Secret::from(""))),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let shown = format!(
            "{:?} {:?}",
            snapshot(
                r#"{"version":1,"access":"canary","refresh":"canary","idToken":"canary","dpopKey":"canary"}"#
            ),
            sample("canary", Some("canary"))
        );
        assert!(!shown.contains("canary"), "{shown}");
    }
}
