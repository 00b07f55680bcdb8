//! Kimi Code.

use std::path::Path;

use serde_json::Value;

use super::super::layout::{Layout, Names, SECONDS};
use super::super::program::{
    Home, HostLock, Logout, Program, Refusal, Variable, proper_lockfile, whole_file,
};
use crate::store::credential::Snapshot;
use crate::store::json_text::JsonText;

pub(super) static KIMI_CODE: Program = Program {
    title: "Kimi Code",
    home: Home {
        variables: &[Variable::of("KIMI_CODE_HOME")],
        folder: ".kimi-code",
        file: "credentials/kimi-code.json",
    },
    path: whole_file,
    read: |entry, members| entry.tokens(members, &NAMES),
    put,
    lacks: |_, _, _| None,
    logout: Logout::Nothing,
    refusal: Refusal::EmptyTokens(&NAMES),
    elsewhere: |_, _| Ok(()),
    json_scope: None,
    request_locks: &[HostLock {
        at: |file, _| {
            let home = file.parent().and_then(Path::parent).unwrap_or(file);
            let mut name = file.file_stem().unwrap_or_default().to_owned();
            name.push(".lock");
            Ok(home.join("oauth").join(name))
        },
        protocol: proper_lockfile(5, 2),
    }],
    save_locks: &[],
};

const NAMES: Names = Names {
    access: "access_token",
    refresh: Some("refresh_token"),
    expires: Some(("expires_at", SECONDS)),
};

fn put(entry: &Layout, text: &mut JsonText, login: &Snapshot) {
    entry.put_tokens_ending(text, login, &NAMES);
    // Kimi Code refreshes when half of it is left.
    entry.set(
        text,
        "expires_in",
        Some(Value::from(Layout::lifetime(login))),
    );
    entry.put_answer(text, login);
}
