//! The rules that hold for any contents of another program's file.

#![expect(clippy::panic, reason = "tests, which fuzz targets run as well")]

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::ErrorCode;
use crate::secret::Secret;
use crate::store::credential::{NewCredential, Snapshot, Stored};
use crate::store::json_text::JsonText;
use crate::time::UnixMillis;

use super::entry::Entry;
use super::found::parse;
use crate::store::credentials_format::Format;

const PATH: &str = "/home/auth.json";
const PROFILE: &str = "memory:default";
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// A byte for the format, then the file.
pub(crate) fn foreign_file(input: &[u8]) {
    let Some((&[kind], bytes)) = input.split_first_chunk::<1>() else {
        return;
    };
    let entry = match kind % 9 {
        0 => Entry::new(Format::AuthProfiles, PROFILE),
        1 => Entry::new(Format::ClaudeCode, PROFILE),
        2 => Entry::new(Format::Codex, PROFILE),
        3 => Entry::new(Format::QwenCode, PROFILE),
        4 => Entry::of_legacy(PROFILE),
        5 => Entry::new(Format::Pi, PROFILE),
        6 => Entry::new(Format::KimiCode, PROFILE),
        7 => Entry::new(Format::McpRemote, PROFILE),
        _ => Entry::new(Format::GeminiCli, PROFILE),
    };
    let text = match read(&entry, bytes) {
        Ok((text, Stored::Credential(login))) => {
            assert!(!login.access().expose().is_empty() || login.is_refreshable());
            text
        }
        Ok((text, _)) => text,
        Err((code, shown)) => {
            assert_eq!(code, ErrorCode::StoreCorrupt);
            assert!(!shown.contains("canary"), "{shown}");
            assert!(!shown.chars().any(char::is_control) && shown.len() < 400);
            return;
        }
    };
    for refresh in [Some("new-refresh"), None] {
        put_and_removed(&entry, &text, &login(refresh));
    }
}

/// A login that is written is read back, nothing else changes, and after removal there is no login.
fn put_and_removed(entry: &Entry, before: &JsonText, login: &Snapshot) {
    let mut text = before.clone();
    entry.put(&mut text, login);
    let Ok((_, Stored::Credential(found))) = read(entry, text.bytes()) else {
        panic!("the login is not read back");
    };
    assert!(found.access() == login.access() && found.refresh() == login.refresh());
    let once = text.clone();
    entry.put(&mut text, login);
    assert!(text == once, "what is the same is not written again");

    let mut without = before.clone();
    // Otherwise the file is removed with its login.
    if !(entry.remove(&mut without) && entry.remove(&mut text)) {
        return;
    }
    assert_eq!(left(&without), left(&text));
    assert!(matches!(
        read(entry, text.bytes()),
        Ok((_, Stored::Nothing))
    ));
}

/// The rest of the file without a login and without the objects that were made for it.
fn left(text: &JsonText) -> Map<String, Value> {
    let Some((_, mut members)) = JsonText::parse(text.bytes()) else {
        panic!("no JSON any more");
    };
    members.remove("version");
    let is_empty =
        |value: &Value| !value.is_object() || value.as_object().is_some_and(Map::is_empty);
    members.retain(|name, value| name != "profiles" || !is_empty(value));
    members
}

fn read(entry: &Entry, bytes: &[u8]) -> Result<(JsonText, Stored), (ErrorCode, String)> {
    parse(entry, Some(bytes), Path::new(PATH), |login| login)
        .map_err(|error| (error.code(), format!("{error:?}")))
}

fn login(refresh: Option<&str>) -> Snapshot {
    NewCredential {
        access: Secret::from("new-access"),
        refresh: refresh.map(Secret::from),
        expires: Some(UnixMillis(1_700_003_600_000)),
        refresh_expires: None,
        created_at: NOW,
        refreshed_at: NOW,
        token_type: "Bearer".to_owned(),
        dpop_key: None,
        scopes: Some(vec!["memory".to_owned()]),
        id_token: Some(Secret::from("new-id")),
        issuer: None,
        token_endpoint: None,
        revocation_endpoint: None,
        client_id: Some("client".to_owned()),
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
    .snapshot()
}
