//! The credential file, version 1: one JSON object, times in Unix milliseconds, unknown members kept.

use std::fmt;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{Error, ErrorCode};
use crate::secret::{Fingerprint, Secret};
use crate::store::credential::{LastRefresh, NewCredential, Outline, Secrets, Snapshot, Stored};
use crate::store::marker;
use crate::store::members::{Members, Wrong};
use crate::time::UnixMillis;

/// The version that this program writes.
const VERSION: u64 = 1;

/// The members of a JSON object, in their order; zeroed when dropped.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Document(Map<String, Value>);

impl Document {
    /// A JSON object; none for anything else.
    pub(super) fn from_json(bytes: &[u8]) -> Option<Self> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => Some(Self(members)),
            Ok(mut other) => {
                zero(&mut other);
                None
            }
            Err(_) => None,
        }
    }

    /// Pretty-printed, with a line end; the buffer never grows, so that no secret stays behind in a smaller one.
    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut length = Length(0);
        // Neither counting nor writing to memory can fail, and neither can printing a map of strings.
        drop(serde_json::to_writer_pretty(&mut length, &self.0));
        let mut bytes = Zeroizing::new(Vec::with_capacity(length.0 + 1));
        drop(serde_json::to_writer_pretty(&mut *bytes, &self.0));
        bytes.push(b'\n');
        bytes
    }

    /// A file for that credential: the known members of `base` are replaced, the others stay. A credential without a
    /// refresh token of its own gets `kept_refresh`.
    pub(super) fn of_credential(
        base: Self,
        credential: &NewCredential,
        kept_refresh: Option<&Secret>,
        replaces: Option<&Fingerprint>,
    ) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let secret = |secret: &Secret| Value::from(secret.expose());
        let time = |time: UnixMillis| Value::from(time.0);
        let refresh = credential.refresh.as_ref().or(kept_refresh);
        let mut document = base;
        document.set("version", Some(Value::from(VERSION)));
        document.set("access", Some(secret(&credential.access)));
        document.set("refresh", refresh.map(secret));
        document.set("expires", credential.expires.map(time));
        document.set("refreshExpires", credential.refresh_expires.map(time));
        document.set("createdAt", Some(time(credential.created_at)));
        document.set("refreshedAt", Some(time(credential.refreshed_at)));
        document.set(
            "tokenType",
            Some(Value::from(credential.token_type.as_str())),
        );
        document.set("dpopKey", credential.dpop_key.as_ref().map(secret));
        document.set("scopes", credential.scopes.as_deref().map(Value::from));
        document.set("idToken", credential.id_token.as_ref().map(secret));
        document.set("issuer", text(&credential.issuer));
        document.set("tokenEndpoint", text(&credential.token_endpoint));
        document.set("revocationEndpoint", text(&credential.revocation_endpoint));
        document.set("clientId", text(&credential.client_id));
        document.set(
            "clientAuthentication",
            text(&credential.client_authentication),
        );
        document.set(
            "registeredClient",
            credential.registered_client.then_some(Value::Bool(true)),
        );
        document.set("imported", credential.imported.then_some(Value::Bool(true)));
        document.set("resourceUrl", text(&credential.resource_url));
        document.set("resource", text(&credential.resource));
        document.set(
            "requiredScopes",
            credential.required_scopes.as_deref().map(Value::from),
        );
        document.set("subject", text(&credential.subject));
        document.set("tokenResponse", credential.token_response.clone());
        document.set("userinfo", credential.userinfo.clone());
        document.set(
            "replaces",
            replaces.map(|replaces| Value::from(replaces.as_str())),
        );
        document.set("lastRefresh", None);
        document.set("loggedOutAt", None);
        document
    }

    /// One that says nothing yet.
    pub(super) fn versioned() -> Self {
        let mut document = Self::default();
        document.set("version", Some(Value::from(VERSION)));
        document
    }

    /// The document that stays after a logout.
    pub(super) fn of_logout(now: UnixMillis) -> Self {
        let mut document = Self::versioned();
        document.set("loggedOutAt", Some(Value::from(now.0)));
        document
    }

    /// A tombstone with a login that is on its way to another place. A login, a refresh or a logout drops it.
    pub(super) fn carrying(mut self, login: &Self) -> Self {
        self.set("carried", Some(Value::Object(login.0.clone())));
        self
    }

    /// The login that a tombstone carries.
    pub(super) fn carried(&self) -> Option<Self> {
        match self.0.get("carried") {
            Some(Value::Object(members)) if self.0.contains_key("loggedOutAt") => {
                Some(Self(members.clone()))
            }
            _ => None,
        }
    }

    /// The time of the logout. A given store also keeps a document where nobody has ever logged out: that of the time
    /// 0.
    pub(super) fn logged_out_at(&self) -> Option<UnixMillis> {
        let time = Members(&self.0).time("loggedOutAt").ok().flatten();
        time.filter(|time| *time != UnixMillis::default())
    }

    /// Adds the result of a failed refresh. It replaces no refresh token, so a leftover temp file with it is not
    /// applied.
    pub(super) fn with_last_refresh(mut self, last_refresh: &LastRefresh) -> Self {
        let mut members = Map::new();
        members.insert("failedAt".into(), last_refresh.failed_at.0.into());
        members.insert(
            "nextAttemptAt".into(),
            last_refresh.next_attempt_at.0.into(),
        );
        members.insert("code".into(), last_refresh.code.as_str().into());
        members.insert("message".into(), last_refresh.message.as_str().into());
        members.insert("final".into(), last_refresh.r#final.into());
        members.insert("boundTo".into(), last_refresh.bound_to.as_str().into());
        if let Some(rejected) = &last_refresh.rejected {
            members.insert("rejected".into(), rejected.as_str().into());
        }
        self.set("lastRefresh", Some(Value::Object(members)));
        self.set("replaces", None);
        self
    }

    /// Adds the scopes that a resource missed.
    pub(super) fn with_required_scopes(mut self, scopes: &[String]) -> Self {
        self.set("requiredScopes", Some(Value::from(scopes)));
        self.set("replaces", None);
        self
    }

    /// Records which handwritten login became this credential.
    pub(super) fn with_adopted(mut self, path: &Path, digest: &Fingerprint) -> Self {
        let mut members = Map::new();
        members.insert("path".into(), path.to_string_lossy().into_owned().into());
        members.insert("sha256".into(), digest.as_str().into());
        self.set("adopted", Some(Value::Object(members)));
        self
    }

    /// Takes over the record of an adoption, which outlives the login that was adopted.
    pub(super) fn with_adopted_of(mut self, older: &Self) -> Self {
        self.set("adopted", older.0.get("adopted").cloned());
        self
    }

    /// The refresh token that this document replaces.
    pub(super) fn replaces(&self) -> Option<Fingerprint> {
        self.0
            .get("replaces")
            .and_then(Value::as_str)
            .map(Fingerprint::from_stored)
    }

    /// Names the login that a journal is for, where several share a file.
    pub(super) fn for_entry(mut self, entry: Option<&str>) -> Self {
        self.set("entry", entry.map(Value::from));
        self
    }

    /// The login that a journal is for.
    pub(super) fn entry(&self) -> Option<&str> {
        self.0.get("entry").and_then(Value::as_str)
    }

    /// The members, to be read.
    pub(super) fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Changes a list, which is made if it is missing.
    pub(super) fn edit_list(&mut self, name: &str, edit: impl FnOnce(&mut Vec<Value>)) {
        if self.0.is_empty() {
            self.set("version", Some(Value::from(VERSION)));
        }
        let list = self
            .0
            .entry(name)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = list {
            edit(values);
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Option<Value>) {
        let old = match value {
            Some(value) => self.0.insert(name.to_owned(), value),
            None => self.0.shift_remove(name),
        };
        if let Some(mut old) = old {
            zero(&mut old);
        }
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document(redacted)")
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        self.0.values_mut().for_each(zero);
    }
}

/// Zeroes every string of a value.
pub(super) fn zero(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(zero),
        Value::Object(members) => members.values_mut().for_each(zero),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a credential file.
///
/// # Errors
/// `STORE_VERSION` for a newer one, `STORE_CORRUPT` for anything that is not a credential file.
pub(super) fn parse(bytes: &[u8], place: &dyn Display) -> Result<(Stored, Document), Error> {
    if bytes.is_empty() {
        return Err(corrupt(place, "it is empty"));
    }
    let Some(document) = Document::from_json(bytes) else {
        return Err(corrupt(place, "it is not a whole JSON object"));
    };
    require_version(&document.0, place)?;
    let members = Members(&document.0);
    match stored(&members) {
        Ok(stored) => Ok((stored, document)),
        Err(Wrong(member)) => Err(corrupt(
            place,
            &format!("its member \"{member}\" is missing or has the wrong type"),
        )),
    }
}

/// Reads a file with all its members. `None` for bytes means that it was too large to be read.
pub(super) fn parse_file(
    bytes: Option<&[u8]>,
    place: &dyn Display,
) -> Result<(Stored, Document), Error> {
    match bytes {
        Some(bytes) => parse(bytes, place),
        None => Err(corrupt(place, "it is larger than any credential")),
    }
}

fn stored(members: &Members<'_>) -> Result<Stored, Wrong> {
    if let Some(marker) = marker::marker(members)? {
        let mut outline = outline(members, marker::identity(&marker.name))?;
        outline.refreshable = marker.refreshable;
        outline.bound = marker.bound;
        outline.secrets_id = Some(marker.name);
        outline.previous_secrets_id = marker.previous;
        return Ok(Stored::Sealed(Arc::new(outline)));
    }
    if !members.0.contains_key("access") && members.0.contains_key("loggedOutAt") {
        return members.time("loggedOutAt").map(|_| Stored::LoggedOut);
    }
    let secrets = secrets(members)?;
    let mut outline = outline(members, secrets.identity())?;
    outline.refreshable = secrets.refresh.is_some();
    outline.bound = secrets.dpop_key.is_some();
    Ok(Stored::Credential(Snapshot::new(outline, secrets)))
}

/// Refuses every other version; the members of a newer one may mean something else.
pub(super) fn require_version(
    members: &Map<String, Value>,
    place: &dyn Display,
) -> Result<(), Error> {
    match members.get("version") {
        Some(Value::Number(version)) if version.as_u64() == Some(VERSION) => Ok(()),
        Some(Value::Number(version)) if version.as_f64().is_some_and(|version| version > 1.0) => {
            let version = version
                .as_u64()
                .map_or("another".into(), |version| version.to_string());
            Err(Error::new(
                ErrorCode::StoreVersion,
                format!(
                    "{place} was written by a newer version of clawdbot-plugin-auth (its format is {version}, this one knows {VERSION}). \
                     Update the plugin that shows this."
                ),
            ))
        }
        _ => Err(corrupt(
            place,
            "its member \"version\" is missing or has the wrong type",
        )),
    }
}

/// `STORE_CORRUPT` in words.
pub(super) fn corrupt(place: &dyn Display, why: &str) -> Error {
    Error::new(
        ErrorCode::StoreCorrupt,
        format!(
            "{place} is damaged: {why}. Log in again; the damaged file is kept beside the new one."
        ),
    )
    .needing_login()
}

/// Removes the zeros at the end of a temp file that was not yet truncated to its contents.
pub(super) fn without_padding(bytes: &[u8]) -> &[u8] {
    let length = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bytes.get(..length).unwrap_or(bytes)
}

/// The secret members: a whole file's, or what the keychain keeps of one.
pub(super) fn secrets(members: &Members<'_>) -> Result<Secrets, Wrong> {
    Ok(Secrets {
        access: members.secret("access")?.ok_or(Wrong("access"))?,
        refresh: members.secret("refresh")?,
        id_token: members.secret("idToken")?,
        dpop_key: members.secret("dpopKey")?,
    })
}

/// Reads the members apart from the secrets; the caller adds the parts that depend on the secrets.
pub(super) fn outline(members: &Members<'_>, identity: Fingerprint) -> Result<Outline, Wrong> {
    let created_at = members.time("createdAt")?;
    let refreshed_at = members.time("refreshedAt")?;
    Ok(Outline {
        expires: members.time("expires")?,
        refresh_expires: members.time("refreshExpires")?,
        created_at: created_at.or(refreshed_at).unwrap_or_default(),
        refreshed_at: refreshed_at.or(created_at).unwrap_or_default(),
        scopes: members.texts("scopes")?,
        issuer: members.text("issuer")?,
        token_endpoint: members.text("tokenEndpoint")?,
        revocation_endpoint: members.text("revocationEndpoint")?,
        client_id: members.text("clientId")?,
        client_authentication: members.text("clientAuthentication")?,
        registered_client: members.flag("registeredClient")?.unwrap_or(false),
        imported: members.flag("imported")?.unwrap_or(false),
        resource_url: members.text("resourceUrl")?,
        resource: members.text("resource")?,
        required_scopes: members.texts("requiredScopes")?,
        subject: members.text("subject")?,
        token_response: members.present("tokenResponse").cloned(),
        userinfo: members.present("userinfo").cloned(),
        last_refresh: last_refresh(members)?,
        ..Outline::unknown(identity)
    })
}

/// A code of a later version teaches nothing here, which is no reason to lose a login.
fn last_refresh(members: &Members<'_>) -> Result<Option<LastRefresh>, Wrong> {
    const NAME: &str = "lastRefresh";
    let inner = match members.present(NAME) {
        None => return Ok(None),
        Some(Value::Object(inner)) => Members(inner),
        Some(_) => return Err(Wrong(NAME)),
    };
    let wrong = |_| Wrong(NAME);
    let code = inner.text("code").map_err(wrong)?.ok_or(Wrong(NAME))?;
    let Some(code) = ErrorCode::from_name(&code) else {
        return Ok(None);
    };
    Ok(Some(LastRefresh {
        failed_at: inner.time("failedAt").map_err(wrong)?.ok_or(Wrong(NAME))?,
        next_attempt_at: inner
            .time("nextAttemptAt")
            .map_err(wrong)?
            .ok_or(Wrong(NAME))?,
        code,
        message: inner.text("message").map_err(wrong)?.unwrap_or_default(),
        r#final: inner.flag("final").map_err(wrong)?.unwrap_or(false),
        bound_to: Fingerprint::from_stored(
            &inner.text("boundTo").map_err(wrong)?.ok_or(Wrong(NAME))?,
        ),
        rejected: inner
            .text("rejected")
            .map_err(wrong)?
            .map(|hex| Fingerprint::from_stored(&hex)),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::credential::tests::sample;

    fn code_of(text: &str) -> ErrorCode {
        parse(text.as_bytes(), &"/c.json").unwrap_err().code()
    }

    fn credential(text: &str) -> Snapshot {
        let (stored, _) = parse(text.as_bytes(), &"/c.json").unwrap();
        stored.credential().unwrap().clone()
    }

    fn failure() -> LastRefresh {
        LastRefresh {
            failed_at: UnixMillis(1),
            next_attempt_at: UnixMillis(2),
            code: ErrorCode::Network,
            message: "no route".to_owned(),
            r#final: false,
            bound_to: Fingerprint::of(&["x"]),
            rejected: Some(Fingerprint::of(&["y"])),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut new = sample("a", Some("r"));
        new.id_token = Some(Secret::from("i"));
        new.revocation_endpoint = Some("https://auth.example.com/revoke".to_owned());
        new.registered_client = true;
        let replaces = Fingerprint::of(&["old"]);
        let document = Document::of_credential(Document::default(), &new, None, Some(&replaces));
        assert_eq!(document.replaces(), Some(replaces));
        let bytes = document.to_json();
        assert!(bytes.ends_with(b"}\n"));
        assert_eq!(bytes.capacity(), bytes.len());
        let read = credential(std::str::from_utf8(&bytes).unwrap());
        assert_eq!(read.access(), &new.access);
        assert_eq!(read.refresh(), new.refresh.as_ref());
        assert_eq!(read.expires(), new.expires);
        assert_eq!(read.created_at(), new.created_at);
        assert_eq!(read.refreshed_at(), new.refreshed_at);
        assert_eq!(read.scopes(), new.scopes.as_deref());
        assert_eq!(read.id_token(), new.id_token.as_ref());
        assert_eq!(read.issuer(), new.issuer.as_deref());
        assert_eq!(read.token_endpoint(), new.token_endpoint.as_deref());
        assert_eq!(
            read.revocation_endpoint(),
            new.revocation_endpoint.as_deref()
        );
        assert_eq!(read.client_id(), new.client_id.as_deref());
        assert_eq!(
            read.client_authentication(),
            new.client_authentication.as_deref()
        );
        assert!(read.registered_client());
        assert!(read.is_refreshable());
        assert_eq!(read.last_refresh(), None);

        let failed = document.clone().with_last_refresh(&failure());
        assert_eq!(failed.replaces(), None);
        let read = credential(std::str::from_utf8(&failed.to_json()).unwrap());
        assert_eq!(read.last_refresh(), Some(&failure()));
    }

    #[test]
    fn members_are_camel_case_and_in_order() {
        let document =
            Document::of_credential(Document::default(), &sample("a", Some("r")), None, None)
                .with_last_refresh(&failure());
        let names: Vec<_> = document.0.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "version",
                "access",
                "refresh",
                "expires",
                "createdAt",
                "refreshedAt",
                "tokenType",
                "scopes",
                "issuer",
                "tokenEndpoint",
                "clientId",
                "clientAuthentication",
                "lastRefresh"
            ]
        );
    }

    #[test]
    fn unknown_members_and_their_order_survive() {
        let old = Document::from_json(
            br#"{"zeta":{"b":1,"a":[null]},"version":1,"access":"old","alpha":"x","loggedOutAt":5,"lastRefresh":{}}"#,
        )
        .unwrap();
        let new =
            Document::of_credential(old, &sample("new", None), Some(&Secret::from("kept")), None);
        let names: Vec<_> = new.0.keys().map(String::as_str).collect();
        assert_eq!(names[..4], ["zeta", "version", "access", "alpha"]);
        assert!(!new.0.contains_key("loggedOutAt") && !new.0.contains_key("lastRefresh"));
        assert_eq!(new.0["zeta"].to_string(), r#"{"b":1,"a":[null]}"#);
        assert_eq!(new.0["refresh"], "kept");
    }

    #[test]
    fn newer_versions_are_told_apart_from_damage() {
        for newer in ["2", "3.5", "1e9", "99999999999999999999", &"7".repeat(300)] {
            let text = format!(r#"{{"version":{newer},"access":7}}"#);
            let error = parse(text.as_bytes(), &"/x.json").unwrap_err();
            assert_eq!(error.code(), ErrorCode::StoreVersion);
            assert!(error.message().len() < 200, "{error}");
        }
        for damaged in [
            "",
            " ",
            "\0\0\0",
            "{",
            "null",
            "[]",
            "\"text\"",
            r#"{"access":"a"}"#,
            r#"{"version":"1","access":"a"}"#,
            r#"{"version":0,"access":"a"}"#,
            r#"{"version":-1,"access":"a"}"#,
            r#"{"version":null,"access":"a"}"#,
            r#"{"version":1}"#,
            r#"{"version":1,"access":""}"#,
            r#"{"version":1,"access":null}"#,
            r#"{"version":1,"access":null,"loggedOutAt":1}"#,
            r#"{"version":1,"access":7}"#,
            r#"{"version":1,"access":"a","refresh":7}"#,
            r#"{"version":1,"access":"a","refresh":""}"#,
            r#"{"version":1,"access":"a","expires":"soon"}"#,
            r#"{"version":1,"access":"a","createdAt":{}}"#,
            r#"{"version":1,"access":"a","scopes":"a b"}"#,
            r#"{"version":1,"access":"a","scopes":[1]}"#,
            r#"{"version":1,"access":"a","registeredClient":1}"#,
            r#"{"version":1,"access":"a","lastRefresh":[]}"#,
            r#"{"version":1,"access":"a","lastRefresh":{"code":"NETWORK"}}"#,
            r#"{"version":1,"loggedOutAt":"now"}"#,
            r#"{"version":1,"access":"a"} trailing"#,
            "{\"version\":1,\"access\":\"a\"}\0\0",
        ] {
            assert_eq!(code_of(damaged), ErrorCode::StoreCorrupt, "{damaged}");
        }
    }

    #[test]
    fn errors_never_quote_what_is_in_the_file() {
        let error = parse(
            br#"{"version":1,"access":"canary","refresh":["canary"]}"#,
            &"/c.json",
        )
        .unwrap_err();
        assert!(!error.message().contains("canary"), "{error}");
        assert!(error.message().contains("\"refresh\""), "{error}");
        assert!(error.needs_login());
    }

    #[test]
    fn small_liberties_are_tolerated() {
        let read = credential(
            r#"{"version":1,"access":"a","refresh":null,"expires":1.7e12,"createdAt":5,"lastRefresh":{"code":"CODE_OF_THE_FUTURE"}}"#,
        );
        assert_eq!(read.expires(), Some(UnixMillis(1_700_000_000_000)));
        assert_eq!(read.refreshed_at(), UnixMillis(5));
        assert!(!read.is_refreshable());
        assert_eq!(read.last_refresh(), None);
    }

    #[test]
    fn padding_is_only_zeros_at_the_end() {
        assert_eq!(without_padding(b"{}\n\0\0"), b"{}\n");
        assert_eq!(without_padding(b"\0\0"), b"");
        assert_eq!(without_padding(b"a\0b"), b"a\0b");
    }

    proptest! {
        #[test]
        fn a_truncated_file_is_never_a_credential(cut in 0usize..400) {
            let bytes = Document::of_credential(Document::default(), &sample("a", Some("r")), None, None).to_json();
            // Without its line end it is still whole.
            if cut + 1 < bytes.len() {
                prop_assert!(parse(&bytes[..cut], &"/c.json").is_err());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes, &"/c.json"));
        }
    }
}
