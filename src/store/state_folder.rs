//! The hosts' state folder, and paths as a config and the environment give them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::blocking::Look;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode};

/// The variables that name the state folder, in the hosts' order.
const STATE_DIR_VARIABLES: [&str; 3] = [
    "OPENCLAW_STATE_DIR",
    "MOLTBOT_STATE_DIR",
    "CLAWDBOT_STATE_DIR",
];

/// The variable that moves openclaw's home.
const HOME_VARIABLE: &str = "OPENCLAW_HOME";

/// The hosts' state folders in the home folder, newest name first.
const STATE_DIRS: [&str; 3] = [".openclaw", ".clawdbot", ".moltbot"];

/// docs/hosts.md 5: the option, the hosts' variables, openclaw's home, then the first of the hosts' folders that
/// exists. And what decided on it.
pub(super) fn state_dir(
    option: Option<&str>,
    environment: &dyn Environment,
    _: Look,
) -> Result<(PathBuf, &'static str), Error> {
    if let Some(text) = option {
        return Ok((option_path("stateDir", text, environment)?, "stateDir"));
    }
    let host = environment.host();
    let moved = || {
        let home = set(HOME_VARIABLE, environment).filter(|_| host.heeds_folder(0))?;
        Some(expanded(HOME_VARIABLE, &home, environment))
    };
    for (index, variable) in STATE_DIR_VARIABLES.into_iter().enumerate() {
        let Some(value) = set(variable, environment).filter(|_| host.heeds_variable(index)) else {
            continue;
        };
        let folder = expanded(variable, &value, environment)?;
        // openclaw ignores the names of its ancestors from 2026.3.22 on. Where no host is known, the folders show
        // which host it is.
        let has_openclaw = || {
            let home = moved().and_then(Result::ok);
            home.or_else(|| environment.home())
                .is_some_and(|home| home.join(".openclaw").exists())
        };
        if index == 0 || host.is_known() || folder.exists() || !has_openclaw() {
            return Ok((folder, variable));
        }
    }
    if let Some(home) = moved() {
        return Ok((home?.join(".openclaw"), HOME_VARIABLE));
    }
    let home = home("the state folder", environment)?;
    let heeded = || {
        let folders = STATE_DIRS.iter().enumerate();
        let folders = folders.filter(|(index, _)| host.heeds_folder(*index));
        folders.map(|(_, folder)| home.join(folder))
    };
    let state_dir = heeded()
        .find(|candidate| candidate.exists())
        .or_else(|| heeded().next())
        .unwrap_or_else(|| home.join(".openclaw"));
    Ok((absolute("HOME", &state_dir)?, "the home folder"))
}

/// The state folders that other hosts or other environments of this user may use.
pub(super) fn candidates(environment: &dyn Environment) -> Vec<PathBuf> {
    let named = STATE_DIR_VARIABLES
        .iter()
        .filter_map(|variable| expanded(variable, &set(variable, environment)?, environment).ok());
    let moved = set(HOME_VARIABLE, environment).and_then(|home| {
        let home = expanded(HOME_VARIABLE, &home, environment).ok()?;
        Some(home.join(".openclaw"))
    });
    named
        .chain(moved)
        .chain(home_folders(environment))
        .collect()
}

/// The hosts' state folders in this user's home folder, wherever any host keeps its state.
pub(super) fn home_folders(environment: &dyn Environment) -> impl Iterator<Item = PathBuf> {
    environment
        .home()
        .into_iter()
        .flat_map(|home| STATE_DIRS.iter().map(move |folder| home.join(folder)))
}

/// The files of earlier logins.
pub(super) fn adopted_paths(
    adopt: &[String],
    environment: &dyn Environment,
) -> Result<Vec<PathBuf>, Error> {
    let paths = adopt
        .iter()
        .map(|text| option_path("adopt", text, environment));
    paths.collect()
}

/// A file that the config names.
pub(super) fn exact_path(text: &str, environment: &dyn Environment) -> Result<PathBuf, Error> {
    let path = option_path("credentialsPath", text, environment)?;
    if text.ends_with(std::path::is_separator) || path.file_name().is_none() {
        return Err(invalid(format!(
            "credentialsPath \"{}\" names a folder. Name the file in it, for example {}.",
            text.escape_debug(),
            path.join("credentials.json").display()
        )));
    }
    Ok(path)
}

/// A variable that is set to something; the hosts ignore blank ones and trim the others.
pub(super) fn set(variable: &str, environment: &dyn Environment) -> Option<OsString> {
    let value = environment.var(variable)?;
    let trimmed = match value.to_str() {
        Some(text) => OsString::from(text.trim()),
        None => value,
    };
    (!trimmed.is_empty()).then_some(trimmed)
}

fn option_path(option: &str, text: &str, environment: &dyn Environment) -> Result<PathBuf, Error> {
    if text.trim().is_empty() {
        return Err(invalid(format!(
            "{option} is empty. Leave it out, or set it to a path."
        )));
    }
    if text.contains('\0') {
        return Err(invalid(format!(
            "{option} holds a NUL character. Remove it."
        )));
    }
    expanded(option, OsStr::new(text), environment)
}

pub(super) fn expanded(
    what: &str,
    path: &OsStr,
    environment: &dyn Environment,
) -> Result<PathBuf, Error> {
    let path = Path::new(path);
    match path.strip_prefix("~") {
        Ok(rest) => absolute(what, &home(what, environment)?.join(rest)),
        Err(_) => absolute(what, path),
    }
}

pub(super) fn home(what: &str, environment: &dyn Environment) -> Result<PathBuf, Error> {
    environment.home().ok_or_else(|| {
        let variable = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        invalid(format!(
            "The home folder is unknown, so {what} cannot be found. Set {variable}, or set stateDir to an absolute path."
        ))
    })
}

pub(super) fn absolute(what: &str, path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| {
        invalid(format!(
            "{what} \"{}\" cannot be made absolute: {error}. Set it to an absolute path.",
            path.display()
        ))
    })
}

/// `INVALID_CONFIG`
pub(super) fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidConfig, message)
}
