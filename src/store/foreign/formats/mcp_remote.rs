//! mcp-remote: a file for each server.

use serde_json::Value;

use super::super::layout::{Layout, MILLIS, Names};
use super::super::program::{Home, HostLock, Logout, Program, Refusal, protocol, whole_file};
use crate::fs::program_lock::Mark;
use crate::store::credential::Snapshot;
use crate::store::json_text::JsonText;

pub(super) static MCP_REMOTE: Program = Program {
    title: "mcp-remote",
    home: Home {
        variables: &[],
        folder: "",
        // Named after the MCP server and the options that mcp-remote was started with.
        file: "",
    },
    path: whole_file,
    read: |entry, members| entry.tokens(members, &NAMES),
    put,
    lacks: |_, _, _| None,
    logout: Logout::Nothing,
    refusal: Refusal::Nothing,
    elsewhere: |_, _| Ok(()),
    json_scope: None,
    request_locks: &[HostLock {
        at: |file, _| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let server = name.strip_suffix("tokens.json").unwrap_or(&name);
            Ok(file.with_file_name(format!("{server}refresh_in_progress.json")))
        },
        protocol: protocol(Mark::Lease, 30, 5),
    }],
    save_locks: &[],
};

const NAMES: Names = Names {
    access: "access_token",
    refresh: Some("refresh_token"),
    expires: Some(("expires_at", MILLIS)),
};

fn put(entry: &Layout, text: &mut JsonText, login: &Snapshot) {
    entry.put_tokens(text, login, &NAMES);
    let lifetime = login.expires().map(|_| Layout::lifetime(login));
    entry.set(text, "expires_in", lifetime.map(Value::from));
    entry.put_answer(text, login);
}
