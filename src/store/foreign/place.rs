//! Where the login of another program is: the file, and what we keep beside it.

use std::path::{Path, PathBuf};

use crate::blocking::Look;
use crate::environment::Environment;
use crate::error::Error;
use crate::secret::Fingerprint;
use crate::store::name;
use crate::store::sidecar::Sidecar;
use crate::store::state_folder::{absolute, exact_path, expanded, home, invalid, set};
use crate::time::SharedClock;

use super::keychain_item::KeychainItem;
use crate::store::credentials_format::Format;

/// The place of one login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Place {
    pub(super) format: Format,
    path: PathBuf,
    profile: String,
    /// The plugin's folder, for what that file has no place for.
    folder: PathBuf,
    note: PathBuf,
    /// The program's earlier file.
    legacy: Option<PathBuf>,
    /// The keychain item that the program uses instead of the file, where it exists.
    item: Option<KeychainItem>,
    pub(super) clock: SharedClock,
}

impl Place {
    /// Finds it, in `named` or else where the program keeps it. `plugin` is encoded.
    ///
    /// # Errors
    /// `INVALID_CONFIG`
    pub(in crate::store) fn resolve(
        (format, agent): (Format, &str),
        named: Option<&str>,
        (plugin, profile): (&str, &str),
        state_dir: &Path,
        environment: &dyn Environment,
        clock: SharedClock,
        look: Look,
    ) -> Result<Self, Error> {
        let path = match named {
            Some(text) => exact_path(text, environment)?,
            None => usual_path(format, state_dir, agent, environment, look)?,
        };
        let credentials = state_dir.join("credentials");
        let folder = credentials.join(plugin);
        // clawdbot takes what is in there for the profiles of that name.
        let has_legacy =
            format == Format::AuthProfiles && named.is_none() && profile.ends_with(":default");
        Ok(Self {
            format,
            note: note_path(&folder, format, &path, profile),
            folder,
            legacy: has_legacy.then(|| credentials.join("oauth.json")),
            item: match named {
                Some(_) => None,
                None => keychain_item(format, environment),
            },
            path,
            profile: profile.to_owned(),
            clock,
        })
    }

    /// The file that the program uses; symbolic links are not resolved yet.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::store) fn profile(&self) -> &str {
        &self.profile
    }

    /// The entry of this login in a file that several share.
    pub(in crate::store) fn entry(&self) -> Option<&str> {
        self.format.is_shared().then_some(&*self.profile)
    }

    /// Where the program kept its logins before.
    pub(super) fn legacy(&self) -> Option<&Path> {
        self.legacy.as_deref()
    }

    /// The item of the keychain in which the program keeps the login, if it has one.
    pub(in crate::store) fn item(&self) -> Option<&KeychainItem> {
        self.item.as_ref()
    }

    /// The path of this library's note about the login. No profile begins with a dot.
    pub(in crate::store) fn note(&self) -> &Path {
        &self.note
    }

    /// The clients that were registered at the server of that name.
    pub(in crate::store) fn clients(&self, server: &str) -> Sidecar {
        let folder = self.folder.join("clients");
        Sidecar::File(folder.join(format!("{server}.json")))
    }

    /// Another login in the same file.
    pub(super) fn of_profile(&self, profile: String) -> Self {
        Self {
            note: note_path(&self.folder, self.format, &self.path, &profile),
            profile,
            ..self.clone()
        }
    }

    /// A place where the program uses that item.
    #[cfg(test)]
    pub(in crate::store) fn with_item(self, item: KeychainItem) -> Self {
        Self {
            item: Some(item),
            ..self
        }
    }
}

/// Where that program keeps its logins.
fn usual_path(
    format: Format,
    state_dir: &Path,
    agent: &str,
    environment: &dyn Environment,
    _: Look,
) -> Result<PathBuf, Error> {
    match format {
        Format::AuthProfiles => {
            if !name::is_plain(agent) {
                return Err(invalid(format!(
                    "`agentId` \"{}\" is no name of an agent: give it as the host's configuration does.",
                    agent.escape_debug()
                )));
            }
            // openclaw moved its logins to this database in 2026.6. A file in the old place stops its own login.
            let database = state_dir.join("state").join("openclaw.sqlite");
            if database.exists() {
                return Err(invalid(format!(
                    "This host keeps its logins in {}, and `credentialsFormat: \"auth-profiles\"` is for hosts before it: \
                     nothing was written. Register a provider (`api.registerProvider` with `refreshOAuth`) and ask \
                     `api.runtime.modelAuth.resolveApiKeyForProvider`, or leave `credentialsFormat` out.",
                    database.display()
                )));
            }
            let path = state_dir
                .join("agents")
                .join(agent)
                .join("agent")
                .join(format.home().file);
            // docs/hosts.md 8: openclaw 2026.8 does not start beside that file. Outside of a host, only what a host
            // that reads it has left says that there is one.
            let is_read = environment.host().reads_auth_profiles().unwrap_or_else(|| {
                let signs = [
                    "clawdbot.json",
                    "moltbot.json",
                    "agents/main/agent/auth-profiles.json",
                    "credentials/oauth.json",
                ];
                signs.iter().any(|sign| state_dir.join(sign).exists()) || was_there(&path)
            });
            if !is_read {
                return Err(invalid(format!(
                    "Nothing says that the host of {} reads auth-profiles.json; openclaw from 2026.6 on does not, and may \
                     not start beside it: nothing was written. Call this from the plugin, inside a host before that, or \
                     leave `credentialsFormat` out.",
                    state_dir.display()
                )));
            }
            Ok(path)
        }
        Format::McpRemote => Err(invalid(
            "`credentialsFormat: \"mcp-remote\"` needs `credentialsPath`: mcp-remote has a file for each server, \
             `mcp-remote-v1/<hash>_tokens.json` in `MCP_REMOTE_CONFIG_DIR` or `~/.mcp-auth`."
                .to_owned(),
        )),
        Format::GeminiCli
            if environment
                .var("GEMINI_FORCE_ENCRYPTED_FILE_STORAGE")
                .is_some_and(|value| value == "true") =>
        {
            Err(invalid(
                "Gemini CLI does not keep its login in a file that others can read while \
                 `GEMINI_FORCE_ENCRYPTED_FILE_STORAGE` is \"true\". Unset it and log in with Gemini CLI, or leave \
                 `credentialsFormat` out."
                    .to_owned(),
            ))
        }
        _ => program_path(format, environment),
    }
}

/// Whether this library's files are beside a missing file, such as the journal of a login: then the file was there.
fn was_there(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path
        .parent()
        .and_then(|folder| std::fs::read_dir(folder).ok());
    beside
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains(name.as_ref()))
}

fn program_path(format: Format, environment: &dyn Environment) -> Result<PathBuf, Error> {
    let place = format.home();
    for variable in place.variables {
        if let Some(value) = set(variable.name, environment) {
            let folder = expanded(variable.name, &value, environment)?;
            return Ok(folder.join(variable.below).join(place.file));
        }
        if variable.may_be_empty && environment.var(variable.name).is_some() {
            break;
        }
    }
    let home = match environment.profile() {
        Some(profile) => profile,
        None => home(format.name(), environment)?,
    };
    absolute("HOME", &home.join(place.folder).join(place.file))
}

#[cfg(target_os = "macos")]
/// Claude Code names it after the folder of its configuration, where that is not the usual one.
fn keychain_item(format: Format, environment: &dyn Environment) -> Option<KeychainItem> {
    if format != Format::ClaudeCode {
        return None;
    }
    let mut service = "Claude Code-credentials".to_owned();
    let named = match environment.var("CLAUDE_SECURESTORAGE_CONFIG_DIR") {
        Some(folder) => (!folder.is_empty()).then_some(folder),
        None => set("CLAUDE_CONFIG_DIR", environment),
    };
    if let Some(folder) = named {
        let digest = ring::digest::digest(&ring::digest::SHA256, folder.as_encoded_bytes());
        let digest = crate::secret::hex(digest.as_ref());
        service.push('-');
        service.push_str(digest.get(..8)?);
    }
    let user = match set("USER", environment) {
        Some(user) => user.into_string().ok(),
        None => std::process::Command::new("/usr/bin/id")
            .arg("-un")
            .output()
            .ok()
            .and_then(|output| String::from_utf8(output.stdout).ok()),
    };
    let account = KeychainItem::account(user.as_deref().map(str::trim)).to_owned();
    Some(KeychainItem::new(
        PathBuf::from("/usr/bin/security"),
        service,
        account,
    ))
}

#[cfg(not(target_os = "macos"))]
fn keychain_item(_: Format, _: &dyn Environment) -> Option<KeychainItem> {
    None
}

fn note_path(folder: &Path, format: Format, path: &Path, profile: &str) -> PathBuf {
    let about = Fingerprint::of(&[&path.to_string_lossy(), profile]);
    let short = about.as_str().get(..16).unwrap_or_default();
    folder.join(format!(".{}-{short}.json", format.name()))
}
