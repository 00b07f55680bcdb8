//! The name of one login in this process, and in what it writes ahead.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

/// Names one login: everything that is known of a login in memory is kept by this, and by nothing else.
///
/// Where a plugin and a profile have a file of their own, its path holds both names. Two plugins that mean the same
/// entry of the same file mean the same login, and only one of them may refresh it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// In a file.
    File {
        /// The path as the config gives it; links are not followed.
        path: PathBuf,
        /// The entry of the login in a file that several share.
        entry: Option<String>,
    },
    /// In a store that the plugin gave.
    Document {
        /// The number of that store.
        store: u32,
        /// Plugin and profile.
        name: String,
    },
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::File { path, .. } => hash(path, state),
            Self::Document { name, .. } => name.hash(state),
        }
    }
}

/// Hashes the part that nearly always differs: the last bytes of the path of a login, which name plugin and profile.
pub(super) fn hash<H: Hasher>(path: &Path, state: &mut H) {
    let bytes = path.as_os_str().as_encoded_bytes();
    let last = bytes.get(bytes.len().saturating_sub(32)..);
    last.unwrap_or(bytes).hash(state);
}
