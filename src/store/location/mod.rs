//! Where a credential lies: `<stateDir>/credentials/<pluginId>/<profile>.json`, or exactly where the config says.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use url::Url;

use crate::error::{Error, ErrorCode};
use crate::secret::Fingerprint;
use crate::store::foreign::format::Format;
use crate::store::foreign::keychain_item::KeychainItem;
use crate::store::given::slot::Slot;
use crate::store::key::Key;
use crate::store::name;
use crate::store::plugin_store::GivenStore;
use crate::store::registration::Shelf;

/// Longest `pluginId` and `profile`.
const MAX_NAME: usize = 128;

/// The profile that a config without one means.
pub(crate) const DEFAULT_PROFILE: &str = "default";

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

/// The environment of the process, as far as it says where things are.
pub(crate) trait Environment: Send + Sync {
    /// A variable.
    fn var(&self, name: &str) -> Option<OsString>;
    /// The user's home folder.
    fn home(&self) -> Option<PathBuf>;
    /// The process runs in a container.
    fn is_container(&self) -> bool {
        false
    }
}

/// The process' own environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one home of the environment"
    )]
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn home(&self) -> Option<PathBuf> {
        let variable = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        self.var(variable)
            .filter(|home| !home.is_empty())
            .map(PathBuf::from)
    }

    fn is_container(&self) -> bool {
        // systemd-nspawn, podman and others say it by the variable, docker by the first file.
        self.var("container").is_some()
            || ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|path| Path::new(path).exists())
    }
}

/// Which credential is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocationRequest<'a> {
    /// `pluginId`
    pub(crate) plugin_id: &'a str,
    /// `profile`, already defaulted
    pub(crate) profile: &'a str,
    /// `stateDir`
    pub(crate) state_dir: Option<&'a str>,
    /// `credentialsPath`
    pub(crate) credentials_path: Option<&'a str>,
    /// `credentialsFormat` and `agentId`
    pub(crate) foreign: Option<(Format, &'a str)>,
    /// `store`
    pub(crate) given: Option<&'a GivenStore>,
}

/// The place of one credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    path: PathBuf,
    profile: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// In the plugin's folder, which is ours.
    State {
        state_dir: PathBuf,
        plugin_id: String,
        folder: PathBuf,
    },
    /// The config names the file.
    Exact,
    /// In the file of another program.
    Foreign {
        format: Format,
        /// The plugin's folder, for what that file has no place for.
        folder: PathBuf,
        note: PathBuf,
        /// What the program kept its logins in before.
        legacy: Option<PathBuf>,
        /// What it keeps them in instead of the file, where there is such an item.
        item: Option<KeychainItem>,
    },
    /// In a store that the plugin gave.
    Given {
        /// Where the plugin's documents are.
        plugin: String,
        slot: Slot,
    },
}

impl Location {
    /// Finds the place.
    ///
    /// # Errors
    /// `INVALID_CONFIG` for a name or a path that cannot be one.
    pub(crate) fn resolve(
        request: &LocationRequest<'_>,
        environment: &dyn Environment,
    ) -> Result<Self, Error> {
        let plugin = encoded("pluginId", request.plugin_id)?;
        let profile = encoded("profile", request.profile)?;
        if let Some(store) = request.given {
            let key = format!("{plugin}/{profile}");
            return Ok(Self {
                // No path, but as unique as one: others may give a store as well.
                path: PathBuf::from(format!("{key} (store {})", store.id())),
                profile: request.profile.to_owned(),
                place: Place::Given {
                    plugin,
                    slot: Slot {
                        store: store.clone(),
                        key,
                    },
                },
            });
        }
        if let Some((format, agent)) = request.foreign {
            return Self::of_foreign(request, format, agent, &plugin, environment);
        }
        if let Some(text) = request.credentials_path {
            return Ok(Self {
                path: exact_path(text, environment)?,
                profile: request.profile.to_owned(),
                place: Place::Exact,
            });
        }
        let (state_dir, _) = state_dir(request.state_dir, environment)?;
        let folder = state_dir.join("credentials").join(plugin);
        Ok(Self {
            path: folder.join(format!("{profile}.json")),
            profile: request.profile.to_owned(),
            place: Place::State {
                state_dir,
                plugin_id: request.plugin_id.to_owned(),
                folder,
            },
        })
    }

    fn of_foreign(
        request: &LocationRequest<'_>,
        format: Format,
        agent: &str,
        plugin: &str,
        environment: &dyn Environment,
    ) -> Result<Self, Error> {
        let (state_dir, _) = state_dir(request.state_dir, environment)?;
        let path = match request.credentials_path {
            Some(text) => exact_path(text, environment)?,
            None => foreign_path(format, &state_dir, agent, environment)?,
        };
        let folder = state_dir.join("credentials").join(plugin);
        // clawdbot takes what is in there for the profiles of that name.
        let has_legacy = format == Format::AuthProfiles
            && request.credentials_path.is_none()
            && request.profile.ends_with(":default");
        Ok(Self {
            place: Place::Foreign {
                format,
                note: note_path(&folder, format, &path, request.profile),
                folder,
                legacy: has_legacy.then(|| state_dir.join("credentials").join("oauth.json")),
                item: keychain_item(request, format, environment),
            },
            path,
            profile: request.profile.to_owned(),
        })
    }

    /// The login that is meant.
    pub(crate) fn key(&self) -> Key {
        match &self.place {
            Place::Given { slot, .. } => Key::Document {
                store: slot.store.id(),
                name: slot.key.clone(),
            },
            Place::State { .. } | Place::Exact | Place::Foreign { .. } => Key::File {
                path: self.path.clone(),
                entry: self.entry().map(str::to_owned),
            },
        }
    }

    /// Which login of its file, where several share it.
    pub(super) fn entry(&self) -> Option<&str> {
        match &self.place {
            Place::Foreign { format, .. } if format.is_shared() => Some(&self.profile),
            _ => None,
        }
    }

    /// Where it is in a store that the plugin gave, if it is in one.
    pub(super) fn slot(&self) -> Option<&Slot> {
        match &self.place {
            Place::Given { slot, .. } => Some(slot),
            Place::State { .. } | Place::Exact | Place::Foreign { .. } => None,
        }
    }

    /// Whether it is in a store that the plugin gave.
    pub(crate) fn is_given(&self) -> bool {
        self.slot().is_some()
    }

    /// What a person is told: the file, or the key in a given store.
    pub(crate) fn shown(&self) -> String {
        match self.slot() {
            Some(slot) => slot.key.clone(),
            None => self.path.to_string_lossy().into_owned(),
        }
    }

    /// Whose format the file has, if not ours.
    pub(crate) fn foreign_format(&self) -> Option<Format> {
        match &self.place {
            Place::Foreign { format, .. } => Some(*format),
            Place::State { .. } | Place::Exact | Place::Given { .. } => None,
        }
    }

    /// Where the program of a foreign file kept its logins before.
    pub(super) fn legacy_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Foreign { legacy, .. } => legacy.as_deref(),
            Place::State { .. } | Place::Exact | Place::Given { .. } => None,
        }
    }

    /// The item of the keychain in which its program keeps the login, if it has one.
    pub(crate) fn keychain_item(&self) -> Option<&KeychainItem> {
        match &self.place {
            Place::Foreign { item, .. } => item.as_ref(),
            Place::State { .. } | Place::Exact | Place::Given { .. } => None,
        }
    }

    /// What we keep about a login in a foreign file. A leading dot is never that of a profile.
    pub(super) fn note_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Foreign { note, .. } => Some(note),
            Place::State { .. } | Place::Exact | Place::Given { .. } => None,
        }
    }

    /// The credential file; symbolic links are not resolved yet.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The profile, as the config names it.
    pub(crate) fn profile(&self) -> &str {
        &self.profile
    }

    /// The plugin's folder, where it is ours to make and tighten.
    pub(super) fn own_folder(&self) -> Option<&Path> {
        match &self.place {
            Place::State { folder, .. } => Some(folder),
            Place::Exact | Place::Foreign { .. } | Place::Given { .. } => None,
        }
    }

    /// The file with the order of the plugin's accounts. A leading dot is never that of a profile.
    pub(super) fn order_path(&self) -> Option<PathBuf> {
        Some(self.own_folder()?.join(".order.json"))
    }

    /// The order of the plugin's accounts in a given store.
    pub(super) fn order_slot(&self) -> Option<Slot> {
        // A name of a profile holds no `!`.
        self.other_slot("!order")
    }

    /// The clients that were registered at that server (its issuer or token endpoint).
    pub(crate) fn shelf(&self, server: &str) -> Shelf {
        match self.other_slot(&format!("!clients/{}", server_name(server))) {
            Some(slot) => Shelf::Given(slot),
            None => Shelf::File(self.registration_path(server)),
        }
    }

    fn other_slot(&self, name: &str) -> Option<Slot> {
        let Place::Given { plugin, slot } = &self.place else {
            return None;
        };
        Some(Slot {
            store: slot.store.clone(),
            key: format!("{plugin}/{name}"),
        })
    }

    /// The file with the clients that were registered at that server.
    pub(crate) fn registration_path(&self, server: &str) -> PathBuf {
        let folder = match &self.place {
            Place::State { folder, .. } | Place::Foreign { folder, .. } => folder.join("clients"),
            Place::Exact | Place::Given { .. } => {
                let mut name = self.path.file_name().unwrap_or_default().to_owned();
                name.push(".clients");
                self.path.with_file_name(name)
            }
        };
        folder.join(format!("{}.json", server_name(server)))
    }

    /// The file of a profile in the plugin's folder.
    pub(super) fn of_profile_file(&self, path: PathBuf, profile: String) -> Self {
        Self {
            path,
            profile,
            place: self.place.clone(),
        }
    }

    /// The same for another login in the same foreign file.
    pub(super) fn of_profile(&self, profile: String) -> Self {
        let mut other = self.clone();
        if let Place::Foreign {
            format,
            folder,
            note,
            ..
        } = &mut other.place
        {
            *note = note_path(folder, *format, &self.path, &profile);
        }
        other.profile = profile;
        other
    }

    /// What decided on the state folder, and the same plugin's place in each other one.
    pub(super) fn elsewhere(
        &self,
        request: &LocationRequest<'_>,
        environment: &dyn Environment,
    ) -> (&'static str, Vec<Self>) {
        let Place::State {
            state_dir: own,
            plugin_id,
            ..
        } = &self.place
        else {
            let decided_by = match self.place {
                Place::Foreign { .. } => "credentialsFormat",
                Place::Given { .. } => "store",
                _ => "credentialsPath",
            };
            return (decided_by, Vec::new());
        };
        let decided_by = state_dir(request.state_dir, environment).map_or("", |(_, by)| by);
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut seen = vec![real(own)];
        let mut others = Vec::new();
        let named = STATE_DIR_VARIABLES.iter().filter_map(|variable| {
            expanded(variable, &set(variable, environment)?, environment).ok()
        });
        let moved = set(HOME_VARIABLE, environment).and_then(|home| {
            Some(
                expanded(HOME_VARIABLE, &home, environment)
                    .ok()?
                    .join(".openclaw"),
            )
        });
        let usual = environment
            .home()
            .into_iter()
            .flat_map(|home| STATE_DIRS.iter().map(move |folder| home.join(folder)));
        for other in named.chain(moved).chain(usual) {
            if seen.contains(&real(&other)) {
                continue;
            }
            seen.push(real(&other));
            let folder = other.join("credentials").join(name::encode(plugin_id));
            others.push(Self {
                path: folder.join("default.json"),
                profile: DEFAULT_PROFILE.to_owned(),
                place: Place::State {
                    state_dir: other,
                    plugin_id: plugin_id.clone(),
                    folder,
                },
            });
        }
        (decided_by, others)
    }

    /// Where plugin authors keep a login by hand. Such a file knows no profiles, so it can only be the default one's.
    pub(super) fn handwritten_path(&self) -> Option<PathBuf> {
        let Place::State {
            state_dir,
            plugin_id,
            ..
        } = &self.place
        else {
            return None;
        };
        // The id is a path here, unencoded, as the hosts write it: `name` or `@scope/name`, and no other.
        let is_id = match plugin_id.split_once('/') {
            Some((scope, name)) => scope.starts_with('@') && is_plain(scope) && is_plain(name),
            None => is_plain(plugin_id),
        };
        (is_id && self.profile == DEFAULT_PROFILE).then(|| {
            state_dir
                .join("extensions")
                .join(plugin_id)
                .join("credentials.json")
        })
    }
}

/// Where that program keeps its logins.
fn foreign_path(
    format: Format,
    state_dir: &Path,
    agent: &str,
    environment: &dyn Environment,
) -> Result<PathBuf, Error> {
    match format {
        Format::AuthProfiles => {
            if !is_plain(agent) {
                return Err(invalid(format!(
                    "`agentId` \"{}\" is no name of an agent: give it as the host's configuration does.",
                    agent.escape_debug()
                )));
            }
            // openclaw moved its logins there in 2026.9; a file that lies where they were stops its own login.
            let database = state_dir.join("state").join("openclaw.sqlite");
            if database.exists() {
                return Err(invalid(format!(
                    "This host keeps its logins in {}, and `credentialsFormat: \"auth-profiles\"` is for hosts before it: \
                     nothing was written. Register a provider (`api.registerProvider` with `refreshOAuth`) and ask \
                     `api.runtime.modelAuth.resolveApiKeyForProvider`, or leave `credentialsFormat` out.",
                    database.display()
                )));
            }
            Ok(state_dir
                .join("agents")
                .join(agent)
                .join("agent")
                .join(format.home().file))
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

/// Claude Code names it after the folder of its configuration, where that is not the usual one.
/// In the folder that a variable of the program names, else in its folder below the home.
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
    let home = home(format.name(), environment)?;
    absolute("HOME", &home.join(place.folder).join(place.file))
}

#[cfg(target_os = "macos")]
fn keychain_item(
    request: &LocationRequest<'_>,
    format: Format,
    environment: &dyn Environment,
) -> Option<KeychainItem> {
    if format != Format::ClaudeCode || request.credentials_path.is_some() {
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
fn keychain_item(_: &LocationRequest<'_>, _: Format, _: &dyn Environment) -> Option<KeychainItem> {
    None
}

/// Its host, for people, and a hash.
fn server_name(server: &str) -> String {
    let host: String = Url::parse(server)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_else(|| "server".to_owned())
        .chars()
        .filter(char::is_ascii)
        .take(60)
        .collect();
    let digest = Fingerprint::of(&[server]);
    let short = digest.as_str().get(..16).unwrap_or_default();
    format!("{}-{short}", name::encode(&host))
}

fn note_path(folder: &Path, format: Format, path: &Path, profile: &str) -> PathBuf {
    let about = Fingerprint::of(&[&path.to_string_lossy(), profile]);
    let short = about.as_str().get(..16).unwrap_or_default();
    folder.join(format!(".{}-{short}.json", format.name()))
}

/// A name that is one folder level.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidConfig, message)
}

fn encoded(option: &str, text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Err(invalid(format!("{option} is empty. Give it a name.")));
    }
    if text.contains('\0') {
        return Err(invalid(format!(
            "{option} holds a NUL character. Remove it."
        )));
    }
    if text.len() > MAX_NAME {
        return Err(invalid(format!(
            "{option} has {} bytes. Use at most {MAX_NAME}.",
            text.len()
        )));
    }
    let encoded = name::encode(text);
    if encoded.len() > name::MAX_ENCODED {
        return Err(invalid(format!(
            "{option} is too long for a file name: each character outside a-z, 0-9, \".\", \"_\" and \"-\" takes \
             three bytes or more there, and it has {} of at most {}. Use a shorter one.",
            encoded.len(),
            name::MAX_ENCODED
        )));
    }
    Ok(encoded)
}

fn exact_path(text: &str, environment: &dyn Environment) -> Result<PathBuf, Error> {
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

/// docs/hosts.md 5: the option, the hosts' variables, openclaw's home, then the first of the hosts' folders that exists.
/// And what decided on it.
fn state_dir(
    option: Option<&str>,
    environment: &dyn Environment,
) -> Result<(PathBuf, &'static str), Error> {
    if let Some(text) = option {
        return Ok((option_path("stateDir", text, environment)?, "stateDir"));
    }
    for variable in STATE_DIR_VARIABLES {
        if let Some(value) = set(variable, environment) {
            return Ok((expanded(variable, &value, environment)?, variable));
        }
    }
    if let Some(value) = set(HOME_VARIABLE, environment) {
        let state_dir = expanded(HOME_VARIABLE, &value, environment)?.join(".openclaw");
        return Ok((state_dir, HOME_VARIABLE));
    }
    let home = home("the state folder", environment)?;
    let mut candidates = STATE_DIRS.iter().map(|folder| home.join(folder));
    let state_dir = candidates
        .find(|candidate| candidate.exists())
        .unwrap_or_else(|| home.join(".openclaw"));
    Ok((absolute("HOME", &state_dir)?, "the home folder"))
}

/// A variable that is set to something; the hosts ignore blank ones and trim the others.
fn set(variable: &str, environment: &dyn Environment) -> Option<OsString> {
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

fn expanded(what: &str, path: &OsStr, environment: &dyn Environment) -> Result<PathBuf, Error> {
    let path = Path::new(path);
    match path.strip_prefix("~") {
        Ok(rest) => absolute(what, &home(what, environment)?.join(rest)),
        Err(_) => absolute(what, path),
    }
}

fn home(what: &str, environment: &dyn Environment) -> Result<PathBuf, Error> {
    environment.home().ok_or_else(|| {
        let variable = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        invalid(format!(
            "The home folder is unknown, so {what} cannot be found. Set {variable}, or set stateDir to an absolute path."
        ))
    })
}

fn absolute(what: &str, path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| {
        invalid(format!(
            "{what} \"{}\" cannot be made absolute: {error}. Set it to an absolute path.",
            path.display()
        ))
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
pub(in crate::store) mod tests;
