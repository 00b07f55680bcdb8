//! The name of one login in this process, and in what it writes ahead.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;

/// Names one login: everything that is known of a login in memory is kept by this, and by nothing else.
///
/// Where a plugin and a profile have a file of their own, its path holds both names. Two plugins that mean the same entry of
/// the same file mean the same login, and only one of them may refresh it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// In a file.
    File {
        /// As the config leads to it; links are not followed.
        path: PathBuf,
        /// Which login of that file, where several share it.
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

/// By what nearly always tells them apart. The bytes of a path: it hashes itself component by component.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::File { path, .. } => path.as_os_str().hash(state),
            Self::Document { name, .. } => name.hash(state),
        }
    }
}
