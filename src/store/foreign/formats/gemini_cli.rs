//! Gemini CLI.

use super::super::layout::{MILLIS, Names};
use super::super::program::{Home, Logout, Program, Refusal, Variable, whole_file};

pub(super) static GEMINI_CLI: Program = Program {
    title: "Gemini CLI",
    home: Home {
        variables: &[Variable {
            below: ".gemini",
            ..Variable::of("GEMINI_CLI_HOME")
        }],
        folder: ".gemini",
        file: "oauth_creds.json",
    },
    path: whole_file,
    read: |entry, members| entry.tokens(members, &NAMES),
    put: |entry, text, login| {
        entry.put_tokens_ending(text, login, &NAMES);
        entry.put_answer(text, login);
    },
    lacks: |_, _, _| None,
    logout: Logout::Nothing,
    refusal: Refusal::Nothing,
    elsewhere: |_, _| Ok(()),
    // It takes no lock, and Google's refresh tokens do not change.
    json_scope: None,
    request_locks: &[],
    save_locks: &[],
};

const NAMES: Names = Names {
    access: "access_token",
    refresh: Some("refresh_token"),
    expires: Some(("expiry_date", MILLIS)),
};
