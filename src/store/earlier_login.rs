//! A login that a plugin author's own code made, read from its file or given by the plugin.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::secret::{Fingerprint, Secret};
use crate::store::credential::NewCredential;
use crate::store::format;
use crate::store::members::{Members, millis};
use crate::time::{UnixMillis, parse_rfc3339};

/// Times below this number are seconds: as milliseconds they would be before March 1973.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// In place of an access token where there is a refresh token alone: it has ended, so nobody gets it.
const NO_ACCESS: &str = "none";
const LONG_AGO: UnixMillis = UnixMillis(1);

/// A login found in an old place.
#[derive(Debug)]
pub(crate) struct EarlierLogin {
    /// Empty where a function of the plugin's gave it.
    path: PathBuf,
    digest: Fingerprint,
    access: Secret,
    refresh: Option<Secret>,
    expires: Option<UnixMillis>,
    created_at: Option<UnixMillis>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    redirect_uri: Option<String>,
    issuer: Option<String>,
    token_endpoint: Option<String>,
    scopes: Option<Vec<String>>,
}

impl EarlierLogin {
    /// Other data are kept in files of that name too: a file that does not look like a login is ignored.
    pub(crate) fn parse(path: PathBuf, bytes: &[u8]) -> Option<Self> {
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
        let access = secret(&["access", "access_token", "accessToken", "token"]);
        let refresh = secret(&["refresh", "refresh_token", "refreshToken"]);
        if access.is_none() && refresh.is_none() {
            // Many keep the answer of the server whole, under a name of its own.
            let mut inner = ["tokens", "token", "credentials", "oauth", "auth"].iter();
            return inner.find_map(|name| {
                Self::of_members(path.clone(), members.get(*name)?.as_object()?, bytes)
            });
        }
        let created_at = time(&[
            "created_at",
            "createdAt",
            "obtained_at",
            "obtainedAt",
            "issued_at",
            "issuedAt",
        ]);
        let expires = match (&access, members.get("expires_in").and_then(Value::as_i64)) {
            (None, _) => Some(LONG_AGO),
            (Some(_), seconds) => time(&[
                "expires",
                "expires_at",
                "expiresAt",
                "expiry_date",
                "expiryDate",
                "expiry",
                "expires_on",
                "expiresOn",
            ])
            .or_else(|| match (created_at, seconds) {
                (Some(UnixMillis(since)), Some(seconds)) => Some(UnixMillis(
                    since.saturating_add(seconds.saturating_mul(1000)),
                )),
                // The time of writing is unknown: a refresh finds out.
                (None, Some(_)) => refresh.as_ref().map(|_| LONG_AGO),
                _ => None,
            }),
        };
        Some(Self {
            path,
            digest: Fingerprint::of(&[&String::from_utf8_lossy(bytes)]),
            access: access.unwrap_or_else(|| Secret::from(NO_ACCESS)),
            refresh,
            expires,
            created_at,
            client_id: text(&["client_id", "clientId"]),
            client_secret: secret(&["client_secret", "clientSecret"]),
            redirect_uri: text(&["redirect_uri", "redirectUri"]),
            issuer: text(&["issuer"]),
            token_endpoint: text(&["token_endpoint", "tokenEndpoint"]),
            scopes: scopes(members.get("scopes").or_else(|| members.get("scope"))),
        })
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Identifies its contents.
    pub(super) fn digest(&self) -> &Fingerprint {
        &self.digest
    }

    /// The secret of its client.
    pub(crate) fn client_secret(&self) -> Option<&Secret> {
        self.client_secret.as_ref()
    }

    /// The redirect URI of its client.
    pub(crate) fn redirect_uri(&self) -> Option<&str> {
        self.redirect_uri.as_deref()
    }

    /// The credential to store; the session binds it to its config.
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
            token_response: None,
            userinfo: None,
        }
    }
}

/// Milliseconds or seconds, as a number or in a string, or a date.
fn time(value: &Value) -> Option<UnixMillis> {
    let UnixMillis(number) = match value {
        Value::Number(number) => millis(number)?,
        Value::String(text) => match text.trim().parse() {
            Ok(number) => millis(&number)?,
            Err(_) => return parse_rfc3339(text),
        },
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
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<EarlierLogin> {
        EarlierLogin::parse(PathBuf::from("/credentials.json"), text.as_bytes())
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
    fn what_else_is_found_in_the_wild_is_understood() {
        for text in [
            r#"{"tokens":{"token":"a","refreshToken":"r","expiry_date":1700000000000},"client_id":"c"}"#,
            r#"{"token":{"access_token":"a","refresh_token":"r","expires_at":"2023-11-14T22:13:20.000Z"}}"#,
            r#"{"access_token":"a","refresh_token":"r","expires_on":"1700000000"}"#,
            r#"{"access_token":"a","refresh_token":"r","expires_in":3600,"created_at":1699996400}"#,
            r#"{"oauth":{"accessToken":"a","refreshToken":"r","expiry":"2023-11-14 22:13:20"}}"#,
        ] {
            let login = parsed(text).unwrap().credential(UnixMillis(5));
            assert_eq!(login.access.expose(), "a", "{text}");
            assert_eq!(login.refresh.unwrap().expose(), "r", "{text}");
            assert_eq!(login.expires, Some(UnixMillis(1_700_000_000_000)), "{text}");
        }
        // For these the end of the access token is unknown, or there is none: a refresh comes first.
        for text in [
            r#"{"access_token":"a","refresh_token":"r","expires_in":3600}"#,
            r#"{"refresh_token":"r","client_id":"c","type":"authorized_user"}"#,
            r#"{"access":null,"refresh":"r","expires":1700000000000}"#,
        ] {
            let login = parsed(text).unwrap().credential(UnixMillis(5));
            assert_eq!(login.expires, Some(LONG_AGO), "{text}");
        }
        let forever = parsed(r#"{"access_token":"a","expires_in":3600}"#).unwrap();
        assert_eq!(forever.expires, None);
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
            r#"{"access":null,"refresh":""}"#,
            r#"{"tokens":"a"}"#,
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
}
