//! A credential as the layers above see it: what a login or refresh gives, and what a reader may know.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::secret::{Fingerprint, Secret};
use crate::store::format::{self, Document};
use crate::store::location::Location;
use crate::time::UnixMillis;

/// What a login or a refresh gave, to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewCredential {
    /// The access token.
    pub(crate) access: Secret,
    /// The refresh token; none in a refresh means that the stored one stays.
    pub(crate) refresh: Option<Secret>,
    /// When the access token ends, if known.
    pub(crate) expires: Option<UnixMillis>,
    /// When the person logged in.
    pub(crate) created_at: UnixMillis,
    /// When the access token came.
    pub(crate) refreshed_at: UnixMillis,
    /// `Bearer`, in practice.
    pub(crate) token_type: String,
    /// What was granted, if the server said so.
    pub(crate) scopes: Option<Vec<String>>,
    /// The `OpenID` Connect ID token.
    pub(crate) id_token: Option<Secret>,
    /// The issuer, if there was one.
    pub(crate) issuer: Option<String>,
    /// Where it is refreshed.
    pub(crate) token_endpoint: Option<String>,
    /// Where it is revoked.
    pub(crate) revocation_endpoint: Option<String>,
    /// The client that it was issued to.
    pub(crate) client_id: Option<String>,
    /// How that client authenticates.
    pub(crate) client_authentication: Option<String>,
    /// Whether that client was registered by us.
    pub(crate) registered_client: bool,
    /// Whether a person brought it, instead of logging in.
    pub(crate) imported: bool,
}

impl NewCredential {
    /// What a reader of the file would know, once this is stored.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let new = self.clone();
        Snapshot::new(Parts {
            access: new.access,
            refresh: new.refresh,
            expires: new.expires,
            created_at: new.created_at,
            refreshed_at: new.refreshed_at,
            scopes: new.scopes,
            id_token: new.id_token,
            issuer: new.issuer,
            token_endpoint: new.token_endpoint,
            revocation_endpoint: new.revocation_endpoint,
            client_id: new.client_id,
            client_authentication: new.client_authentication,
            registered_client: new.registered_client,
            imported: new.imported,
            last_refresh: None,
        })
    }
}

/// What a credential file says, refresh token included: never leaves the store.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) access: Secret,
    pub(super) refresh: Option<Secret>,
    pub(super) expires: Option<UnixMillis>,
    pub(super) created_at: UnixMillis,
    pub(super) refreshed_at: UnixMillis,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) id_token: Option<Secret>,
    pub(super) issuer: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_authentication: Option<String>,
    pub(super) registered_client: bool,
    pub(super) imported: bool,
    pub(super) last_refresh: Option<LastRefresh>,
}

/// What the last failed round of refreshing taught, for everybody.
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
    /// Which refresh token and client it is about: [`Snapshot::binding`].
    pub(crate) bound_to: Fingerprint,
}

/// A credential as it was when it was read, without a way to its refresh token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot(Arc<Parts>);

impl Snapshot {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// For the holder of the lock only.
    pub(super) fn refresh(&self) -> Option<&Secret> {
        self.0.refresh.as_ref()
    }

    /// The access token.
    pub(crate) fn access(&self) -> &Secret {
        &self.0.access
    }

    /// When the access token ends, if known.
    pub(crate) fn expires(&self) -> Option<UnixMillis> {
        self.0.expires
    }

    /// When the person logged in.
    pub(crate) fn created_at(&self) -> UnixMillis {
        self.0.created_at
    }

    /// When the access token came.
    pub(crate) fn refreshed_at(&self) -> UnixMillis {
        self.0.refreshed_at
    }

    /// What was granted, if known.
    pub(crate) fn scopes(&self) -> Option<&[String]> {
        self.0.scopes.as_deref()
    }

    /// The `OpenID` Connect ID token.
    pub(crate) fn id_token(&self) -> Option<&Secret> {
        self.0.id_token.as_ref()
    }

    /// The issuer, if there was one.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.0.issuer.as_deref()
    }

    /// Where it is refreshed.
    pub(crate) fn token_endpoint(&self) -> Option<&str> {
        self.0.token_endpoint.as_deref()
    }

    /// Where it is revoked.
    pub(crate) fn revocation_endpoint(&self) -> Option<&str> {
        self.0.revocation_endpoint.as_deref()
    }

    /// The client that it was issued to.
    pub(crate) fn client_id(&self) -> Option<&str> {
        self.0.client_id.as_deref()
    }

    /// How that client authenticates.
    pub(crate) fn client_authentication(&self) -> Option<&str> {
        self.0.client_authentication.as_deref()
    }

    /// Whether that client was registered by us.
    pub(crate) fn registered_client(&self) -> bool {
        self.0.registered_client
    }

    /// Whether a person brought it, instead of logging in.
    pub(crate) fn imported(&self) -> bool {
        self.0.imported
    }

    /// Whether there is a refresh token.
    pub(crate) fn is_refreshable(&self) -> bool {
        self.0.refresh.is_some()
    }

    /// What the last failed round of refreshing taught.
    pub(crate) fn last_refresh(&self) -> Option<&LastRefresh> {
        self.0.last_refresh.as_ref()
    }

    /// Identifies what a refresh would send: the refresh token (the access token where there is none) and the client.
    pub(crate) fn binding(
        &self,
        client_id: &str,
        authentication: &str,
        secret: Option<&Secret>,
    ) -> Fingerprint {
        let (kind, token) = match self.refresh() {
            Some(refresh) => ("refresh", refresh.expose()),
            None => ("access", self.access().expose()),
        };
        match secret {
            Some(secret) => {
                Fingerprint::of(&[kind, token, client_id, authentication, secret.expose()])
            }
            None => Fingerprint::of(&[kind, token, client_id, authentication]),
        }
    }
}

/// What lies at a location.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stored {
    /// Never logged in.
    Nothing,
    /// Logged out: nothing older may come back.
    LoggedOut,
    /// Logged in.
    Credential(Snapshot),
}

impl Stored {
    /// The credential, if there is one.
    pub(super) fn credential(&self) -> Option<&Snapshot> {
        match self {
            Self::Credential(snapshot) => Some(snapshot),
            Self::Nothing | Self::LoggedOut => None,
        }
    }
}

/// Reads without a lock. A missing file or folder is [`Stored::Nothing`].
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
pub(crate) fn read(location: &Location) -> Result<Stored, Error> {
    let target = symlink::resolve(location.path())?;
    match RegularFile::read(&target)? {
        Some(file) => Ok(parse(&file, &target)?.0),
        None => Ok(Stored::Nothing),
    }
}

/// What a file says, and all its members.
pub(super) fn parse(file: &RegularFile, path: &Path) -> Result<(Stored, Document), Error> {
    match file.bytes() {
        Some(bytes) => format::parse(bytes, path),
        None => Err(format::corrupt(path, "it is larger than any credential")),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
pub(super) mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::location::tests::in_state_dir;

    /// A credential for the tests of this layer.
    pub(in crate::store) fn sample(access: &str, refresh: Option<&str>) -> NewCredential {
        NewCredential {
            access: Secret::from(access),
            refresh: refresh.map(Secret::from),
            expires: Some(UnixMillis(1_700_003_600_000)),
            created_at: UnixMillis(1_700_000_000_000),
            refreshed_at: UnixMillis(1_700_000_000_000),
            token_type: "Bearer".to_owned(),
            scopes: Some(vec!["memory".to_owned(), "offline_access".to_owned()]),
            id_token: None,
            issuer: Some("https://auth.example.com".to_owned()),
            token_endpoint: Some("https://auth.example.com/token".to_owned()),
            revocation_endpoint: None,
            client_id: Some("client".to_owned()),
            client_authentication: Some("none".to_owned()),
            registered_client: false,
            imported: false,
        }
    }

    fn snapshot(text: &str) -> Snapshot {
        let (stored, _) = format::parse(text.as_bytes(), Path::new("/c.json")).unwrap();
        stored.credential().unwrap().clone()
    }

    #[test]
    fn a_binding_changes_with_whatever_a_refresh_would_send() {
        let with_refresh = snapshot(r#"{"version":1,"access":"a","refresh":"r"}"#);
        let other_access = snapshot(r#"{"version":1,"access":"b","refresh":"r"}"#);
        let other_refresh = snapshot(r#"{"version":1,"access":"a","refresh":"s"}"#);
        let only_access = snapshot(r#"{"version":1,"access":"r"}"#);
        let secret = Secret::from("x");
        let base = with_refresh.binding("c", "none", None);
        assert_eq!(base, other_access.binding("c", "none", None));
        for other in [
            other_refresh.binding("c", "none", None),
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
            snapshot(r#"{"version":1,"access":"canary","refresh":"canary","idToken":"canary"}"#),
            sample("canary", Some("canary"))
        );
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn reading_needs_neither_lock_nor_folder() {
        let folder = TempDir::new().unwrap();
        let location = in_state_dir(&folder.path().join("none"), "demo", "default");
        assert_eq!(read(&location).unwrap(), Stored::Nothing);
        assert!(!folder.path().join("none").exists());

        let location = in_state_dir(folder.path(), "demo", "default");
        std::fs::create_dir_all(location.own_folder().unwrap()).unwrap();
        std::fs::write(location.path(), r#"{"version":1,"loggedOutAt":1}"#).unwrap();
        assert_eq!(read(&location).unwrap(), Stored::LoggedOut);
        std::fs::write(location.path(), "").unwrap();
        assert_eq!(read(&location).unwrap_err().code(), ErrorCode::StoreCorrupt);
        std::fs::write(location.path(), vec![b' '; 5 << 20]).unwrap();
        assert_eq!(read(&location).unwrap_err().code(), ErrorCode::StoreCorrupt);
    }
}
