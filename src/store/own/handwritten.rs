//! A login that a plugin author's own code has written into the plugin's install folder, where an update deletes it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::blocking::{Look, MayBlock};
use crate::error::Error;
use crate::fs::atomic_write;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::secret::{Fingerprint, Secret};
use crate::store::credential::NewCredential;
use crate::store::format;
use crate::store::members::{Members, millis};
use crate::time::UnixMillis;

use super::place::Place;

/// Times below are seconds: as milliseconds they would lie before March 1973.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// A login found in the old place.
#[derive(Debug)]
pub(crate) struct Handwritten {
    path: PathBuf,
    digest: Fingerprint,
    access: Secret,
    refresh: Option<Secret>,
    expires: Option<UnixMillis>,
    created_at: Option<UnixMillis>,
    client_id: Option<String>,
    issuer: Option<String>,
    token_endpoint: Option<String>,
    scopes: Option<Vec<String>>,
}

impl Handwritten {
    /// Reads the one of a place, whatever is stored there.
    ///
    /// # Errors
    /// `STORE_IO` if there is a file that must not or cannot be read.
    pub(in crate::store) fn of(place: &Place, look: Look) -> Result<Option<Self>, Error> {
        let Some(path) = place.handwritten() else {
            return Ok(None);
        };
        let target = symlink::resolve(&path, look)?;
        let Some(file) = RegularFile::read(&target, look)? else {
            return Ok(None);
        };
        Ok(file.bytes().and_then(|bytes| Self::parse(path, bytes)))
    }

    /// Other things are kept in files of that name too: what does not look like a login is none.
    pub(in crate::store) fn parse(path: PathBuf, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut value: Value = serde_json::from_slice(bytes).ok()?;
        let login = match &value {
            Value::Object(members) => Self::of_members(path, members, bytes),
            _ => None,
        };
        format::zero(&mut value);
        login
    }

    fn of_members(path: PathBuf, members: &Map<String, Value>, bytes: &[u8]) -> Option<Self> {
        if members.contains_key("version")
            && format::require_version(members, &path.display()).is_err()
        {
            return None;
        }
        let text = |names: &[&'static str]| {
            names
                .iter()
                .find_map(|name| Members(members).text(name).ok().flatten())
                .filter(|text| !text.is_empty())
        };
        let secret = |names: &[&'static str]| {
            names
                .iter()
                .find_map(|name| Members(members).secret(name).ok().flatten())
        };
        let time = |names: &[&str]| names.iter().find_map(|name| time(members.get(*name)?));
        Some(Self {
            path,
            digest: Fingerprint::of(&[&String::from_utf8_lossy(bytes)]),
            access: secret(&["access", "access_token", "accessToken"])?,
            refresh: secret(&["refresh", "refresh_token", "refreshToken"]),
            expires: time(&["expires", "expires_at", "expiresAt"]),
            created_at: time(&["created_at", "createdAt"]),
            client_id: text(&["client_id", "clientId"]),
            issuer: text(&["issuer"]),
            token_endpoint: text(&["token_endpoint", "tokenEndpoint"]),
            scopes: scopes(members.get("scopes").or_else(|| members.get("scope"))),
        })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Identifies its contents.
    pub(in crate::store) fn digest(&self) -> &Fingerprint {
        &self.digest
    }

    /// What to store; the session binds it to its config.
    pub(crate) fn credential(&self, now: UnixMillis) -> NewCredential {
        let created_at = self.created_at.unwrap_or(now);
        NewCredential {
            access: self.access.clone(),
            refresh: self.refresh.clone(),
            expires: self.expires,
            refresh_expires: None,
            created_at,
            refreshed_at: created_at.min(now),
            token_type: "Bearer".to_owned(),
            dpop_key: None,
            scopes: self.scopes.clone(),
            id_token: None,
            issuer: self.issuer.clone(),
            token_endpoint: self.token_endpoint.clone(),
            revocation_endpoint: None,
            client_id: self.client_id.clone(),
            client_authentication: None,
            registered_client: false,
            imported: false,
            resource_url: None,
            resource: None,
            required_scopes: None,
            subject: None,
        }
    }

    /// Takes the old file out of the way. Best effort: the credential that came from it, or its tombstone, stops
    /// another adoption as well.
    pub(in crate::store) fn retire(&self, may: MayBlock) {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".adopted");
        let mut retired = self.path.with_file_name(&name);
        let mut count = 1;
        while retired.symlink_metadata().is_ok() {
            count += 1;
            retired = self
                .path
                .with_file_name(format!("{}-{count}", name.to_string_lossy()));
        }
        drop(atomic_write::move_file(&self.path, &retired, may));
    }
}

/// Milliseconds or seconds, as a number or in a string.
fn time(value: &Value) -> Option<UnixMillis> {
    let UnixMillis(number) = match value {
        Value::Number(number) => millis(number)?,
        Value::String(text) => millis(&text.trim().parse().ok()?)?,
        _ => return None,
    };
    Some(UnixMillis(if number.unsigned_abs() < SECONDS_BELOW {
        number.saturating_mul(1000)
    } else {
        number
    }))
}

/// A list, or one string with spaces as in RFC 6749 §3.3.
fn scopes(value: Option<&Value>) -> Option<Vec<String>> {
    match value? {
        Value::String(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Value::Array(values) => values
            .iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn parsed(text: &str) -> Option<Handwritten> {
        Handwritten::parse(PathBuf::from("/credentials.json"), text.as_bytes())
    }

    #[test]
    fn the_spellings_of_plugin_authors_are_understood() {
        for text in [
            r#"{"access":"a","refresh":"r","expires":1700000000000,"clientId":"c","tokenEndpoint":"t","createdAt":1600000000000,"scopes":["x","y"]}"#,
            r#"{"access_token":"a","refresh_token":"r","expires_at":1700000000,"client_id":"c","token_endpoint":"t","created_at":1600000000,"scope":"x y"}"#,
            r#"{"accessToken":"a","refreshToken":"r","expiresAt":"1700000000","clientId":"c","tokenEndpoint":"t","createdAt":1.6e9,"scopes":"x y","version":1}"#,
        ] {
            let login = parsed(text).unwrap();
            assert!(login.refresh.is_some());
            let credential = login.credential(UnixMillis(1_800_000_000_000));
            assert_eq!(credential.access.expose(), "a");
            assert_eq!(credential.refresh.unwrap().expose(), "r");
            assert_eq!(credential.expires, Some(UnixMillis(1_700_000_000_000)));
            assert_eq!(credential.created_at, UnixMillis(1_600_000_000_000));
            assert_eq!(credential.client_id.as_deref(), Some("c"));
            assert_eq!(credential.token_endpoint.as_deref(), Some("t"));
            assert_eq!(credential.scopes.unwrap(), ["x", "y"]);
        }
    }

    #[test]
    fn what_is_no_login_is_none() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"apiKey":"x"}"#,
            r#"{"access":""}"#,
            r#"{"access":7}"#,
            r#"{"access":null,"refresh":"r"}"#,
            r#"{"version":2,"access":"a"}"#,
        ] {
            assert!(parsed(text).is_none(), "{text}");
        }
        let beyond = parsed(r#"{"access":"a","expires":-9223372036854775808}"#).unwrap();
        assert_eq!(beyond.expires, Some(UnixMillis(i64::MIN)));
        let sparse = parsed("\u{feff}{\"access\":\"a\",\"expires\":\"tomorrow\"}").unwrap();
        assert_eq!(sparse.expires, None);
        assert_eq!(sparse.refresh, None);
        assert_eq!(sparse.credential(UnixMillis(5)).created_at, UnixMillis(5));
        assert!(!format!("{sparse:?}").contains("\"a\""));
    }

    #[test]
    fn a_retired_one_never_covers_another() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("credentials.json");
        for (text, name) in [
            (r#"{"access":"1"}"#, "credentials.json.adopted"),
            (r#"{"access":"2"}"#, "credentials.json.adopted-2"),
            (r#"{"access":"3"}"#, "credentials.json.adopted-3"),
        ] {
            std::fs::write(&path, text).unwrap();
            let login = Handwritten::parse(path.clone(), text.as_bytes()).unwrap();
            login.retire(MayBlock::in_test());
            assert!(!path.exists());
            assert_eq!(
                std::fs::read_to_string(folder.path().join(name)).unwrap(),
                text
            );
        }
    }
}
