//! clawdbot, and openclaw before 2026.9: several logins in one file, each with its type.

use serde_json::{Map, Value};

use super::super::layout::{Layout, Login, MILLIS, Names, provider_of};
use super::super::program::{
    Home, HostLock, Logout, Program, Refusal, beside_target, proper_lockfile,
};
use crate::store::credential::Snapshot;
use crate::store::json_text::JsonText;

pub(super) static AUTH_PROFILES: Program = Program {
    title: "the host",
    home: Home {
        variables: &[],
        folder: "",
        file: "auth-profiles.json",
    },
    path: |profile| vec!["profiles".to_owned(), profile.to_owned()],
    read,
    put,
    lacks: |_, _, _| None,
    logout: Logout::Rest,
    refusal: Refusal::Nothing,
    elsewhere: |_, _| Ok(()),
    json_scope: None,
    request_locks: &[HostLock {
        at: beside_target,
        protocol: proper_lockfile(30, 5),
    }],
    save_locks: &[],
};

const OAUTH: Names = Names {
    access: "access",
    refresh: Some("refresh"),
    expires: Some(("expires", MILLIS)),
};
const TOKEN: Names = Names {
    access: "token",
    refresh: None,
    expires: Some(("expires", MILLIS)),
};
const API_KEY: Names = Names {
    access: "key",
    refresh: None,
    expires: None,
};

fn read(entry: &Layout, members: &Map<String, Value>) -> Login {
    let names = match entry.member(members, "type").and_then(Value::as_str) {
        Some("token") => &TOKEN,
        Some("api_key") => &API_KEY,
        _ => &OAUTH,
    };
    entry.tokens(members, names)
}

fn put(entry: &Layout, text: &mut JsonText, login: &Snapshot) {
    // `oauth.json`, where clawdbot kept one login of each provider, knows no types.
    let is_legacy = entry.is_legacy();
    let (kind, names) = if login.is_refreshable() || is_legacy {
        ("oauth", &OAUTH)
    } else {
        ("token", &TOKEN)
    };
    if !is_legacy {
        if !text.has(&["version"]) {
            text.set(&["version"], &1.into());
        }
        entry.set(text, "type", Some(kind.into()));
        entry.set(text, "provider", Some(provider_of(entry.name()).into()));
        // Members of another type of login.
        for other in [TOKEN.access, API_KEY.access, OAUTH.access, "refresh"] {
            if other != names.access && Some(other) != names.refresh {
                entry.set(text, other, None);
            }
        }
        if login.is_refreshable() {
            entry.set(text, "clientId", login.client_id().map(Value::from));
        }
    }
    entry.put_tokens(text, login, names);
}
