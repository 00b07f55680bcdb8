//! Claude Code.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::layout::{Layout, MILLIS, Names};
use super::super::program::{Home, HostLock, Logout, Program, Refusal, Variable, proper_lockfile};
use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};
use crate::fs::private_dir;
use crate::store::credential::Snapshot;
use crate::store::json_text::JsonText;

pub(super) static CLAUDE_CODE: Program = Program {
    title: "Claude Code",
    home: Home {
        variables: &[
            Variable {
                may_be_empty: true,
                ..Variable::of("CLAUDE_SECURESTORAGE_CONFIG_DIR")
            },
            Variable::of("CLAUDE_CONFIG_DIR"),
        ],
        folder: ".claude",
        file: ".credentials.json",
    },
    path: |_| vec!["claudeAiOauth".to_owned()],
    read: |entry, members| entry.tokens(members, &NAMES),
    put,
    lacks: |_, _, _| None,
    logout: Logout::Rest,
    refusal: Refusal::EmptyTokens(&NAMES),
    elsewhere: |_, _| Ok(()),
    json_scope: Some(INFERENCE),
    request_locks: &[
        HostLock {
            at: |file, _| Ok(file.with_file_name(".oauth_refresh.lock")),
            protocol: proper_lockfile(60, 5),
        },
        HostLock {
            at: beside_folder,
            protocol: proper_lockfile(60, 5),
        },
    ],
    // Held during a request it would make Claude Code lose the answer to its own.
    save_locks: &[HostLock {
        at: |file, _| Ok(file.with_file_name(".storage-write.lock")),
        protocol: proper_lockfile(15, 5),
    }],
};

const NAMES: Names = Names {
    access: "accessToken",
    refresh: Some("refreshToken"),
    expires: Some(("expiresAt", MILLIS)),
};

/// Without it Claude Code takes a login for none.
const INFERENCE: &str = "user:inference";

fn put(entry: &Layout, text: &mut JsonText, login: &Snapshot) {
    entry.put_tokens(text, login, &NAMES);
    let Some(scopes) = login.scopes() else { return };
    let has = |scopes: &[String]| scopes.iter().any(|scope| scope == INFERENCE);
    // A server that names fewer than it granted must not take the login from Claude Code.
    if has(scopes) || !entry.scopes(text).is_some_and(|kept| has(&kept)) {
        entry.set(text, "scopes", Some(Value::from(scopes)));
    }
}

/// `<folder>.lock`, beside the folder that a link leads to.
fn beside_folder(file: &Path, may: MayBlock) -> Result<PathBuf, Error> {
    let folder = file.parent().unwrap_or(file);
    private_dir::ensure_exists(folder, may)?;
    let mut real = std::fs::canonicalize(folder)
        .map_err(|error| io_failure::explain(&error, Attempt::Lock, folder))?
        .into_os_string();
    real.push(".lock");
    Ok(real.into())
}
