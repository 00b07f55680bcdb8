//! pi, the coding agent that clawdbot and openclaw are built on: a login for each provider.

use serde_json::{Map, Value};

use super::super::layout::{Layout, Login, MILLIS, Names};
use super::super::program::{
    Home, HostLock, Logout, Program, Refusal, Variable, beside_target, proper_lockfile,
};
use crate::store::credential::Snapshot;
use crate::store::json_text::JsonText;

pub(super) static PI: Program = Program {
    title: "pi",
    home: Home {
        variables: &[Variable::of("PI_CODING_AGENT_DIR")],
        folder: ".pi/agent",
        file: "auth.json",
    },
    path: |provider| vec![provider.to_owned()],
    read,
    put,
    lacks: |_, _, _| None,
    logout: Logout::Rest,
    refusal: Refusal::Nothing,
    elsewhere: |_, _| Ok(()),
    // A pi that starts waits for less, and takes a lock for abandoned after 10 s.
    json_scope: None,
    request_locks: &[HostLock {
        at: beside_target,
        protocol: proper_lockfile(30, 2),
    }],
    save_locks: &[],
};

const OAUTH: Names = Names {
    access: "access",
    refresh: Some("refresh"),
    expires: Some(("expires", MILLIS)),
};
const API_KEY: Names = Names {
    access: "key",
    refresh: None,
    expires: None,
};

fn read(entry: &Layout, members: &Map<String, Value>) -> Login {
    let names = match entry.member(members, "type").and_then(Value::as_str) {
        Some("api_key") => &API_KEY,
        _ => &OAUTH,
    };
    entry.tokens(members, names)
}

/// pi refuses the whole file for one `oauth` without `access`, `refresh` or `expires`.
fn put(entry: &Layout, text: &mut JsonText, login: &Snapshot) {
    let is_oauth = login.is_refreshable();
    let kind = if is_oauth { "oauth" } else { "api_key" };
    entry.set(text, "type", Some(kind.into()));
    if is_oauth {
        entry.set(text, API_KEY.access, None);
        entry.put_tokens_ending(text, login, &OAUTH);
    } else {
        for other in ["access", "refresh", "expires"] {
            entry.set(text, other, None);
        }
        entry.put_tokens(text, login, &API_KEY);
    }
}
