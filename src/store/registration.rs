//! The clients that were registered at one server (RFC 7591). They outlive a logout: the next login needs no new one.

use std::fmt::Display;
#[cfg(test)]
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::blocking::{Look, MayBlock};
use crate::error::Error;
use crate::secret::Secret;
use crate::store::format::{self, Document};
use crate::store::location::Location;
use crate::store::members::Members;
use crate::store::sidecar::{Sidecar, SmallDocument};
use crate::time::UnixMillis;

/// The number of clients that are kept: older credentials may still need theirs.
const KEPT: usize = 8;

/// A client that was registered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredClient {
    /// `client_id`
    pub(crate) client_id: String,
    /// `client_secret`
    pub(crate) client_secret: Option<Secret>,
    /// When the secret ends.
    pub(crate) secret_expires_at: Option<UnixMillis>,
    /// `token_endpoint_auth_method`
    pub(crate) authentication: String,
    /// The redirect URI; `None` for the device flow.
    pub(crate) redirect_uri: Option<String>,
    /// `scope`, as it was registered; nothing where that is not known, or any may be asked for.
    pub(crate) scopes: Option<Vec<String>>,
    /// RFC 7592
    pub(crate) registration_client_uri: Option<String>,
    /// RFC 7592
    pub(crate) registration_access_token: Option<Secret>,
    /// When it was registered.
    pub(crate) created_at: UnixMillis,
}

/// The clients of one server, newest first.
#[derive(Debug)]
pub(crate) struct Registrations {
    clients: Vec<StoredClient>,
}

impl Registrations {
    /// The clients with an unexpired secret, newest first.
    pub(crate) fn usable(&self, now: UnixMillis) -> impl Iterator<Item = &StoredClient> {
        self.clients
            .iter()
            .filter(move |client| client.secret_expires_at.is_none_or(|end| end > now))
    }

    /// The one of that id.
    pub(crate) fn find(&self, client_id: &str) -> Option<&StoredClient> {
        self.clients
            .iter()
            .find(|client| client.client_id == client_id)
    }
}

/// Where the clients of one server are kept.
#[derive(Clone, Debug)]
pub(crate) struct Shelf(Sidecar);

impl Shelf {
    /// The one of that server (its issuer or token endpoint), for the plugin of that location.
    pub(crate) fn of(location: &Location, server: &str) -> Self {
        Self(location.clients(server))
    }

    /// Reads them, without a lock; a missing one holds none.
    ///
    /// # Errors
    /// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
    pub(crate) fn load(&self, look: Look) -> Result<Registrations, Error> {
        let StoredList { clients, .. } = self.0.read(look)?;
        Ok(Registrations { clients })
    }

    /// Adds one as the newest, in place of an older one of the same id. A damaged file is kept beside the new one.
    ///
    /// # Errors
    /// `STORE_IO`, `STORE_VERSION`, `STORE_LOCKED`.
    pub(crate) fn save_with(&self, client: &StoredClient, may: MayBlock) -> Result<(), Error> {
        self.0
            .change(client.created_at, may, |list: &mut StoredList| {
                list.remove(&client.client_id);
                list.insert(client.clone());
                true
            })
    }

    /// Removes the one of that id, if it is there.
    ///
    /// # Errors
    /// As [`Shelf::save_with`], and `STORE_CORRUPT`.
    pub(crate) fn forget(&self, client_id: &str, may: MayBlock) -> Result<(), Error> {
        if self.load(may.into())?.find(client_id).is_none() {
            return Ok(());
        }
        let now = UnixMillis::default();
        self.0
            .change(now, may, |list: &mut StoredList| list.remove(client_id))
    }

    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        Self(Sidecar::File(path.to_owned()))
    }

    /// The path of the file.
    #[cfg(test)]
    pub(crate) fn path(&self) -> PathBuf {
        match &self.0 {
            Sidecar::File(path) => path.clone(),
            Sidecar::Slot(_) => panic!("it is in no file"),
        }
    }
}

/// The file: `{ "version": 1, "clients": [ … ] }`. Members that this version does not know stay.
#[derive(Default)]
pub(super) struct StoredList {
    document: Document,
    pub(super) clients: Vec<StoredClient>,
}

impl StoredList {
    pub(super) fn insert(&mut self, client: StoredClient) {
        let value = value_of(&client);
        self.clients.insert(0, client);
        self.clients.truncate(KEPT);
        self.document.edit_list("clients", |values| {
            values.insert(0, value);
            for mut dropped in values.drain(KEPT.min(values.len())..) {
                format::zero(&mut dropped);
            }
        });
    }

    pub(super) fn remove(&mut self, client_id: &str) -> bool {
        let before = self.clients.len();
        self.clients.retain(|client| client.client_id != client_id);
        self.document.edit_list("clients", |values| {
            values.retain_mut(|value| {
                let stays = value.get("clientId").and_then(Value::as_str) != Some(client_id);
                if !stays {
                    format::zero(value);
                }
                stays
            });
        });
        self.clients.len() != before
    }
}

impl SmallDocument for StoredList {
    fn parse(text: &[u8], place: &dyn Display) -> Result<Self, Error> {
        let document = Document::from_json(text)
            .ok_or_else(|| format::corrupt(place, "it is not a whole JSON object"))?;
        format::require_version(document.members(), place)?;
        let clients = document
            .members()
            .get("clients")
            .and_then(Value::as_array)
            .and_then(|clients| clients.iter().map(client_of).collect::<Option<Vec<_>>>())
            .ok_or_else(|| {
                format::corrupt(
                    place,
                    "its member \"clients\" is missing or has the wrong type",
                )
            })?;
        Ok(Self { document, clients })
    }

    fn to_json(&self) -> Zeroizing<Vec<u8>> {
        self.document.to_json()
    }
}

fn client_of(value: &Value) -> Option<StoredClient> {
    let members = Members(value.as_object()?);
    Some(StoredClient {
        client_id: members.text("clientId").ok()??,
        client_secret: members.secret("clientSecret").ok()?,
        secret_expires_at: members.time("secretExpiresAt").ok()?,
        authentication: members
            .text("authentication")
            .ok()?
            .unwrap_or_else(|| "none".to_owned()),
        redirect_uri: members.text("redirectUri").ok()?,
        scopes: members.texts("scopes").ok()?,
        registration_client_uri: members.text("registrationClientUri").ok()?,
        registration_access_token: members.secret("registrationAccessToken").ok()?,
        created_at: members.time("createdAt").ok()?.unwrap_or_default(),
    })
}

fn value_of(client: &StoredClient) -> Value {
    let mut members = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().into());
    set("clientId", Some(client.client_id.as_str().into()));
    set("clientSecret", secret(&client.client_secret));
    set(
        "secretExpiresAt",
        client.secret_expires_at.map(|end| end.0.into()),
    );
    set(
        "authentication",
        Some(client.authentication.as_str().into()),
    );
    set(
        "redirectUri",
        client.redirect_uri.as_deref().map(Value::from),
    );
    set("scopes", client.scopes.as_deref().map(Value::from));
    set(
        "registrationClientUri",
        client.registration_client_uri.as_deref().map(Value::from),
    );
    set(
        "registrationAccessToken",
        secret(&client.registration_access_token),
    );
    set("createdAt", Some(client.created_at.0.into()));
    Value::Object(members)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorCode;

    fn client(id: &str, at: i64) -> StoredClient {
        StoredClient {
            client_id: id.to_owned(),
            client_secret: Some(Secret::from("secret")),
            secret_expires_at: None,
            authentication: "client_secret_basic".to_owned(),
            redirect_uri: None,
            scopes: None,
            registration_client_uri: Some("https://a/r".to_owned()),
            registration_access_token: Some(Secret::from("access")),
            created_at: UnixMillis(at),
        }
    }

    fn load(path: &Path) -> Result<Registrations, Error> {
        Shelf::at(path).load(Look::LONG)
    }

    fn save_with(path: &Path, client: &StoredClient) -> Result<(), Error> {
        Shelf::at(path).save_with(client, MayBlock::in_test())
    }

    fn forget(path: &Path, client_id: &str) -> Result<(), Error> {
        Shelf::at(path).forget(client_id, MayBlock::in_test())
    }

    fn file() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("clients/server.json");
        (folder, path)
    }

    #[test]
    fn a_missing_file_holds_none_and_forgetting_makes_none() {
        let (folder, path) = file();
        assert!(load(&path).unwrap().clients.is_empty());
        forget(&path, "a").unwrap();
        assert!(!folder.path().join("clients").exists());
    }

    #[test]
    fn the_newest_comes_first_and_eight_are_kept() {
        let (_folder, path) = file();
        for number in 0..10 {
            save_with(&path, &client(&number.to_string(), number)).unwrap();
        }
        let all = load(&path).unwrap();
        let ids: Vec<_> = all.clients.iter().map(|c| c.client_id.as_str()).collect();
        assert_eq!(ids, ["9", "8", "7", "6", "5", "4", "3", "2"]);
        assert_eq!(all.find("4"), Some(&client("4", 4)));
        let newest = all.usable(UnixMillis(0)).next();
        assert_eq!(newest.unwrap().client_id, "9");

        save_with(&path, &client("4", 11)).unwrap();
        forget(&path, "9").unwrap();
        forget(&path, "unknown").unwrap();
        let all = load(&path).unwrap();
        let ids: Vec<_> = all.clients.iter().map(|c| c.client_id.as_str()).collect();
        assert_eq!(ids, ["4", "8", "7", "6", "5", "3", "2"]);
    }

    #[test]
    fn one_with_an_expired_secret_is_not_usable() {
        let (_folder, path) = file();
        let mut ended = client("new", 2);
        ended.secret_expires_at = Some(UnixMillis(100));
        save_with(&path, &client("old", 1)).unwrap();
        save_with(&path, &ended).unwrap();
        let all = load(&path).unwrap();
        for (now, ids) in [(99, &["new", "old"][..]), (100, &["old"])] {
            let usable = all.usable(UnixMillis(now));
            assert!(
                usable
                    .map(|client| client.client_id.as_str())
                    .eq(ids.iter().copied())
            );
        }
        assert!(all.find("new").is_some());
    }

    #[test]
    fn unknown_members_survive() {
        let (_folder, path) = file();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(
            &path,
            r#"{"future":1,"version":1,"clients":[{"clientId":"old","software":"x"}]}"#,
        )
        .unwrap();
        save_with(&path, &client("new", 1)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"future\"") && text.contains("\"software\""),
            "{text}"
        );
        assert_eq!(
            load(&path).unwrap().find("old").unwrap().authentication,
            "none"
        );
    }

    #[test]
    fn damage_is_told_and_kept_beside_the_new_file() {
        let (_folder, path) = file();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for damaged in [
            "",
            "[]",
            "{\"version\":1}",
            "{\"version\":1,\"clients\":[7]}",
        ] {
            std::fs::write(&path, damaged).unwrap();
            let error = load(&path).unwrap_err();
            assert_eq!(error.code(), ErrorCode::StoreCorrupt, "{damaged}");
        }
        save_with(&path, &client("new", 7)).unwrap();
        assert!(load(&path).unwrap().find("new").is_some());
        assert!(path.with_file_name("server.json.corrupt-7").exists());

        std::fs::write(&path, r#"{"version":2,"clients":[]}"#).unwrap();
        for error in [
            load(&path).unwrap_err(),
            save_with(&path, &client("new", 7)).unwrap_err(),
        ] {
            assert_eq!(error.code(), ErrorCode::StoreVersion);
        }
    }

    #[test]
    fn many_at_once_lose_none() {
        let (_folder, path) = file();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    save_with(path, &client(&number.to_string(), number)).unwrap();
                });
            }
        });
        assert_eq!(load(&path).unwrap().clients.len(), 8);
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, path) = file();
        save_with(&path, &client("a", 1)).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("clients")), 0o700);
        let shown = format!("{:?}", load(&path).unwrap());
        assert!(!shown.contains("\"secret\""), "{shown}");
    }
}
