//! The place of a login: a file of this library, another program's file, or a store that the plugin gave.
//!
//! The files of the store above this one handle each kind; code outside the store cannot ask for the kind.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use url::Url;

use crate::blocking::Look;
use crate::environment::Environment;
use crate::error::Error;
use crate::secret::Fingerprint;
use crate::store::credentials_format::Format;
use crate::store::foreign;
use crate::store::given;
use crate::store::key::Key;
use crate::store::name;
use crate::store::own;
use crate::store::plugin_store::{Mark, PluginStore};
use crate::store::sidecar::Sidecar;
use crate::store::state_folder::{exact_path, invalid, state_dir};
use crate::time::SharedClock;

/// Longest `pluginId` and `profile`.
const MAX_NAME: usize = 128;

/// Selects a credential.
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
    pub(crate) format: Option<(Format, &'a str)>,
    /// `store`
    pub(crate) store: Option<&'a PluginStore>,
}

/// The place of one login. Its text is for people: the path of the file, or the key in the plugin's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location(pub(super) Place);

/// Hashes the path alone, which nearly always differs: its bytes, because a path hashes itself component by component.
impl Hash for Location {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Place::Own(place) => place.path().as_os_str().hash(state),
            Place::Foreign(place) => place.path().as_os_str().hash(state),
            Place::Given(place) => place.slot().key.hash(state),
        }
    }
}

/// The kinds of place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Own(own::place::Place),
    Foreign(Box<foreign::place::Place>),
    Given(given::place::Place),
}

impl Location {
    /// Finds the place.
    ///
    /// # Errors
    /// `INVALID_CONFIG` for a name or a path that cannot be one.
    pub(crate) fn resolve(
        request: &LocationRequest<'_>,
        environment: &dyn Environment,
        clock: &SharedClock,
        look: Look,
    ) -> Result<Self, Error> {
        let plugin = encoded("pluginId", request.plugin_id)?;
        let profile = encoded("profile", request.profile)?;
        let place = if let Some(store) = request.store {
            let store = store.clone();
            Place::Given(given::place::Place::new(
                store,
                plugin.into_owned(),
                request.profile,
                &profile,
            ))
        } else if let Some(foreign) = request.format {
            let (state_dir, _) = state_dir(request.state_dir, environment, look)?;
            Place::Foreign(Box::new(foreign::place::Place::resolve(
                foreign,
                request.credentials_path,
                (&plugin, request.profile),
                &state_dir,
                environment,
                clock.clone(),
                look,
            )?))
        } else if let Some(text) = request.credentials_path {
            let path = exact_path(text, environment)?;
            Place::Own(own::place::Place::exact(path, request.profile))
        } else {
            let (state_dir, _) = state_dir(request.state_dir, environment, look)?;
            Place::Own(own::place::Place::in_state_dir(
                state_dir,
                request.plugin_id,
                request.profile,
            ))
        };
        Ok(Self(place))
    }

    /// The login that is meant.
    pub(crate) fn key(&self) -> Key {
        let (path, entry) = match &self.0 {
            Place::Given(place) => {
                let slot = place.slot();
                return Key::Document {
                    store: slot.store.id(),
                    name: slot.key.clone(),
                };
            }
            Place::Own(place) => (place.path(), None),
            Place::Foreign(place) => (place.path(), place.entry()),
        };
        Key::File {
            path: path.to_owned(),
            entry: entry.map(str::to_owned),
        }
    }

    /// The profile, as the config names it.
    pub(crate) fn profile(&self) -> &str {
        match &self.0 {
            Place::Own(place) => place.profile(),
            Place::Foreign(place) => place.profile(),
            Place::Given(place) => place.profile(),
        }
    }

    /// The place of another account of the same plugin, where that is in the plugin's folder.
    pub(crate) fn beside(&self, profile: &str) -> Option<Result<Self, Error>> {
        let Place::Own(place) = &self.0 else {
            return None;
        };
        let encoded = encoded("profile", profile);
        let other = place.beside(profile, encoded.as_deref().unwrap_or_default())?;
        Some(encoded.map(|_| Self(Place::Own(other))))
    }

    /// Whether the plugin itself saves what is stored there, which it cannot while its process exits.
    pub(crate) fn is_saved_by_the_plugin(&self) -> bool {
        matches!(self.0, Place::Given(_))
    }

    /// The present mark of a login in a plugin's store that reports changes.
    pub(super) fn mark(&self) -> Option<Mark> {
        match &self.0 {
            Place::Given(place) => place.slot().store.mark(&place.slot().key),
            Place::Own(_) | Place::Foreign(_) => None,
        }
    }

    /// The file that changes whenever the login does; `None` where only reading can show a change.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::Own(place) => Some(place.path()),
            Place::Foreign(place) if place.item().is_none() => Some(place.path()),
            Place::Foreign(_) | Place::Given(_) => None,
        }
    }

    /// The note that is read with the login.
    pub(super) fn note(&self) -> Option<&Path> {
        match &self.0 {
            Place::Foreign(place) => Some(place.note()),
            Place::Own(_) | Place::Given(_) => None,
        }
    }

    /// The name for the lock of a login that waits for a person; `None` in a given store, which locks documents alone.
    /// No profile begins with a dot.
    pub(super) fn pending(&self) -> Option<PathBuf> {
        let file = match &self.0 {
            Place::Own(place) => place.path(),
            Place::Foreign(place) => place.note(),
            Place::Given(_) => return None,
        };
        let name = file.file_name()?.to_string_lossy();
        let dot = if name.starts_with('.') { "" } else { "." };
        Some(file.with_file_name(format!("{dot}{name}.login")))
    }

    /// The clients that were registered at that server (its issuer or token endpoint).
    pub(super) fn clients(&self, server: &str) -> Sidecar {
        let server = server_name(server);
        match &self.0 {
            Place::Own(place) => place.clients(&server),
            Place::Foreign(place) => place.clients(&server),
            Place::Given(place) => place.clients(&server),
        }
    }

    /// The credential file.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        match &self.0 {
            Place::Own(place) => place.path(),
            Place::Foreign(place) => place.path(),
            Place::Given(_) => panic!("it is in no file"),
        }
    }

    #[cfg(test)]
    pub(super) fn own(&self) -> &own::place::Place {
        match &self.0 {
            Place::Own(place) => place,
            Place::Foreign(_) | Place::Given(_) => panic!("it is not in a file of ours"),
        }
    }

    /// The plugin's folder.
    pub(super) fn own_folder(&self) -> Option<&Path> {
        match &self.0 {
            Place::Own(place) => place.folder(),
            Place::Foreign(_) | Place::Given(_) => None,
        }
    }

    /// Where a login is kept by hand.
    #[cfg(test)]
    pub(super) fn handwritten_path(&self, environment: &dyn Environment) -> Option<PathBuf> {
        match &self.0 {
            Place::Own(place) => place.handwritten(environment).into_iter().next(),
            Place::Foreign(_) | Place::Given(_) => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Own(place) => show(place.path(), f),
            Place::Foreign(place) => show(place.path(), f),
            Place::Given(place) => f.write_str(&place.slot().key),
        }
    }
}

/// Nearly every path is text as it is.
fn show(path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match path.to_str() {
        Some(text) => f.write_str(text),
        None => fmt::Display::fmt(&path.display(), f),
    }
}

/// The host of the server, for people, and a hash.
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

fn encoded<'a>(option: &str, text: &'a str) -> Result<Cow<'a, str>, Error> {
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
pub(in crate::store) mod tests;
