//! The place of a login of this library: `<stateDir>/credentials/<pluginId>/<profile>.json`, or the exact path in the
//! config.

use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};
use std::sync::Arc;

use crate::blocking::{Look, MayBlock};
use crate::environment::Environment;
use crate::error::Error;
use crate::fs::io_failure::{self, Attempt};
use crate::store::key::{self, is_same};
use crate::store::name::{self, DEFAULT_PROFILE};
use crate::store::sidecar::Sidecar;
use crate::store::state_folder::{candidates, home_folders};

/// So many logins are listed at a glance.
pub(crate) const MOST_AT_A_GLANCE: usize = 64;

/// The place of one login.
#[derive(Clone, Debug)]
pub(in crate::store) struct Place {
    path: PathBuf,
    profile: String,
    /// `None` where the config names the file.
    plugin: Option<Arc<PluginFolder>>,
}

/// A plugin's folder, which this library creates and tightens.
#[derive(Clone, Debug)]
struct PluginFolder {
    state_dir: PathBuf,
    plugin_id: String,
    folder: PathBuf,
}

impl Eq for Place {}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.path, &other.path)
            && self.profile == other.profile
            && self.plugin == other.plugin
    }
}

impl Eq for PluginFolder {}

impl PartialEq for PluginFolder {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.state_dir, &other.state_dir)
            && self.plugin_id == other.plugin_id
            && is_same(&self.folder, &other.folder)
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        key::hash(&self.path, state);
    }
}

/// In one allocation.
fn file_in(folder: &Path, encoded: &str) -> PathBuf {
    let folder = folder.as_os_str();
    let mut path = OsString::with_capacity(folder.len() + encoded.len() + 6);
    path.push(folder);
    path.push(MAIN_SEPARATOR_STR);
    path.push(encoded);
    path.push(".json");
    path.into()
}

impl Place {
    /// In the plugin's folder.
    pub(in crate::store) fn in_state_dir(
        state_dir: PathBuf,
        plugin_id: &str,
        profile: &str,
    ) -> Self {
        let folder = state_dir
            .join("credentials")
            .join(name::encode(plugin_id).as_ref());
        Self {
            path: file_in(&folder, &name::encode(profile)),
            profile: profile.to_owned(),
            plugin: Some(Arc::new(PluginFolder {
                state_dir,
                plugin_id: plugin_id.to_owned(),
                folder,
            })),
        }
    }

    /// Another account of the same plugin.
    /// `encoded`: the profile as a name of a file.
    pub(in crate::store) fn beside(&self, profile: &str, encoded: &str) -> Option<Self> {
        let folder = self.folder()?;
        Some(Self {
            path: file_in(folder, encoded),
            profile: profile.to_owned(),
            plugin: self.plugin.clone(),
        })
    }

    /// The file that the config names.
    pub(in crate::store) fn exact(path: PathBuf, profile: &str) -> Self {
        Self {
            path,
            profile: profile.to_owned(),
            plugin: None,
        }
    }

    /// The credential file; symbolic links are not resolved yet.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::store) fn profile(&self) -> &str {
        &self.profile
    }

    /// The plugin's folder, where this library owns it.
    pub(in crate::store) fn folder(&self) -> Option<&Path> {
        self.plugin.as_ref().map(|plugin| plugin.folder.as_path())
    }

    /// The order of the plugin's accounts. A leading dot is never that of a profile.
    pub(in crate::store) fn order(&self) -> Option<Sidecar> {
        Some(Sidecar::File(self.folder()?.join(".order.json")))
    }

    /// The clients that were registered at the server of that name.
    pub(in crate::store) fn clients(&self, server: &str) -> Sidecar {
        let folder = if let Some(folder) = self.folder() {
            folder.join("clients")
        } else {
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            name.push(".clients");
            self.path.with_file_name(name)
        };
        Sidecar::File(folder.join(format!("{server}.json")))
    }

    /// Every profile of this plugin that has a file, sorted; with `credentialsPath`, this one; and whether any of them
    /// may be a symbolic link. None at a glance, where they are many.
    ///
    /// # Errors
    /// `STORE_IO` if the folder cannot be listed.
    pub(in crate::store) fn profiles(
        &self,
        look: Look,
    ) -> Result<Option<(Vec<Self>, bool)>, Error> {
        let Some(folder) = self.folder() else {
            return Ok(Some((vec![self.clone()], true)));
        };
        let fail = |error: io::Error| io_failure::explain(&error, Attempt::List, folder);
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some((Vec::new(), false)));
            }
            Err(error) => return Err(fail(error)),
        };
        let mut found = Vec::new();
        let mut has_links = false;
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let file_name = entry.file_name();
            let profile = file_name
                .to_str()
                .and_then(|file_name| file_name.strip_suffix(".json"))
                .and_then(name::decode);
            // Most file systems give the type with the name; the target of a link has to be looked up.
            let mut is_file = || match entry.file_type() {
                Ok(kind) if !kind.is_symlink() => kind.is_file(),
                _ => {
                    has_links = true;
                    entry.path().is_file()
                }
            };
            if let Some(profile) = profile.filter(|profile| !profile.is_empty())
                && is_file()
            {
                found.push((profile, entry.path()));
                if found.len() > MOST_AT_A_GLANCE && look.may_block().is_none() {
                    return Ok(None);
                }
            }
        }
        found.sort_unstable();
        let places = found.into_iter().map(|(profile, path)| Self {
            path,
            profile,
            plugin: self.plugin.clone(),
        });
        Ok(Some((places.collect(), has_links)))
    }

    /// The place of this plugin in each other state folder.
    pub(in crate::store) fn elsewhere(
        &self,
        environment: &dyn Environment,
        _: MayBlock,
    ) -> Vec<Self> {
        let Some(plugin) = &self.plugin else {
            return Vec::new();
        };
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut seen = vec![real(&plugin.state_dir)];
        let mut others = Vec::new();
        for other in candidates(environment) {
            if seen.contains(&real(&other)) {
                continue;
            }
            seen.push(real(&other));
            others.push(Self::in_state_dir(
                other,
                &plugin.plugin_id,
                DEFAULT_PROFILE,
            ));
        }
        others
    }

    /// The paths where plugin authors keep a login by hand: in this state folder, or in a host's usual one, which many
    /// use under any state folder. Such a file knows no profiles, so it belongs to the default profile.
    pub(in crate::store) fn handwritten(&self, environment: &dyn Environment) -> Vec<PathBuf> {
        let Some(plugin) = &self.plugin else {
            return Vec::new();
        };
        let id = plugin.plugin_id.as_str();
        // The id is a path here, unencoded, as the hosts write it: `name` or `@scope/name`, and no other.
        let is_id = match id.split_once('/') {
            Some((scope, name)) => {
                scope.starts_with('@') && name::is_plain(scope) && name::is_plain(name)
            }
            None => name::is_plain(id),
        };
        let folders = std::iter::once(plugin.state_dir.clone()).chain(home_folders(environment));
        folders
            .filter(|_| is_id && self.profile == DEFAULT_PROFILE)
            .map(|folder| {
                let folder = folder.join("extensions").join(id);
                folder.join("credentials.json")
            })
            .collect()
    }
}
