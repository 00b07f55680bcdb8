//! Codex.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::layout::{Layout, Login, Names, text as text_of};
use super::super::program::{Home, HostLock, Logout, Program, Refusal, Variable, protocol};
use crate::blocking::Look;
use crate::error::{Error, ErrorCode};
use crate::fs::program_lock::Mark;
use crate::fs::regular_file::RegularFile;
use crate::jwt;
use crate::secret::Secret;
use crate::store::credential::Snapshot;
use crate::store::json_text::JsonText;
use crate::time::rfc3339;

pub(super) static CODEX: Program = Program {
    title: "Codex",
    home: Home {
        variables: &[Variable::of("CODEX_HOME")],
        folder: ".codex",
        file: "auth.json",
    },
    path: |_| vec!["tokens".to_owned()],
    read,
    put,
    lacks,
    logout: Logout::Nothing,
    refusal: Refusal::Nothing,
    elsewhere: in_a_file,
    // Codex sends first and locks then, and discards its answer while another process holds `auth.json.lock`.
    json_scope: None,
    request_locks: &[],
    save_locks: &[HostLock {
        at: |file, _| Ok(file.with_file_name("auth.lock")),
        protocol: protocol(Mark::Kernel, 0, 0),
    }],
};

const NAMES: Names = Names {
    access: "access_token",
    refresh: Some("refresh_token"),
    expires: None,
};

/// The key of an account that pays by use, beside the tokens.
const OPENAI_API_KEY: &str = "OPENAI_API_KEY";
/// The member that selects one of the two.
const AUTH_MODE: &str = "auth_mode";
const CHATGPT: &str = "chatgpt";

fn read(entry: &Layout, members: &Map<String, Value>) -> Login {
    let mode = text_of(members, AUTH_MODE)?;
    if mode.as_deref() == Some(CHATGPT) {
        return entry.tokens(members, &NAMES);
    }
    match text_of(members, OPENAI_API_KEY)? {
        Some(key) => Ok(Some(entry.of_key(Secret::new(key)))),
        None if mode.is_none() => entry.tokens(members, &NAMES),
        None => Ok(None),
    }
}

fn put(entry: &Layout, text: &mut JsonText, login: &Snapshot) {
    let mut set = |name: &str, value: Value| {
        if text.value(&[name]).as_ref() != Some(&value) {
            text.set(&[name], &value);
        }
    };
    if !login.is_refreshable() {
        set(AUTH_MODE, "apikey".into());
        set(OPENAI_API_KEY, login.access().expose().into());
        text.remove(&["tokens"]);
        text.remove(&["last_refresh"]);
        return;
    }
    set(AUTH_MODE, CHATGPT.into());
    set("last_refresh", rfc3339(login.refreshed_at()).into());
    entry.put_tokens(text, login, &NAMES);
    if let Some(id_token) = login.id_token() {
        entry.set(text, "id_token", Some(id_token.expose().into()));
        if let Some(account) = account_of(id_token) {
            entry.set(text, "account_id", Some(account));
        }
    }
}

fn lacks(entry: &Layout, text: &JsonText, login: &Snapshot) -> Option<&'static str> {
    let has_id_token = login.id_token().is_some() || entry.has(text, "id_token");
    (login.is_refreshable() && !has_id_token)
        .then_some("an ID token: log in with the scope \"openid\"")
}

/// The account that Codex' requests name.
fn account_of(id_token: &Secret) -> Option<Value> {
    let claims = jwt::claims(id_token)?;
    let account = claims
        .get("https://api.openai.com/auth")?
        .get("chatgpt_account_id")?;
    account.is_string().then(|| account.clone())
}

/// Codex reads `auth.json` only with the default of `cli_auth_credentials_store`.
fn in_a_file(target: &Path, look: Look) -> Result<(), Error> {
    const SETTING: &str = "cli_auth_credentials_store";
    let path = target.with_file_name("config.toml");
    let Some(file) = RegularFile::read(&path, look)? else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(file.bytes().unwrap_or_default()).into_owned();
    let value = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| line.strip_prefix(SETTING)?.trim_start().strip_prefix('='))
        .map(|value| value.trim().trim_start_matches(['"', '\'']));
    match value {
        Some(value) if !value.starts_with("file") => Err(Error::new(
            ErrorCode::InvalidConfig,
            format!(
                "Codex does not keep its login in a file here: {} sets `{SETTING}` to another store than \"file\". \
                 Set it to \"file\" and log in with Codex, or leave `credentialsFormat` out.",
                path.display()
            ),
        )),
        _ => Ok(()),
    }
}
