//! Qwen Code.

use super::super::layout::{MILLIS, Names};
use super::super::program::{
    Home, HostLock, Logout, Program, Refusal, Variable, protocol, whole_file,
};
use crate::fs::program_lock::Mark;

pub(super) static QWEN_CODE: Program = Program {
    title: "Qwen Code",
    home: Home {
        variables: &[Variable::of("QWEN_HOME")],
        folder: ".qwen",
        file: "oauth_creds.json",
    },
    path: whole_file,
    read: |entry, members| entry.tokens(members, &NAMES),
    put: |entry, text, login| {
        entry.put_tokens_ending(text, login, &NAMES);
        entry.put_type(text);
        if let Some(resource_url) = login.resource_url() {
            entry.set(text, "resource_url", Some(resource_url.into()));
        }
    },
    lacks: |_, _, _| None,
    logout: Logout::Without(&["access_token", "refresh_token", "expiry_date", "token_type"]),
    refusal: Refusal::NoFile,
    elsewhere: |_, _| Ok(()),
    json_scope: None,
    request_locks: &[HostLock {
        at: |file, _| Ok(file.with_file_name("oauth_creds.lock")),
        protocol: protocol(Mark::File, 35, 5),
    }],
    save_locks: &[],
};

const NAMES: Names = Names {
    access: "access_token",
    refresh: Some("refresh_token"),
    expires: Some(("expiry_date", MILLIS)),
};
