//! The name of one login in this process, and in what it writes ahead.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
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

/// A map by the name of a login, or by its place: few, looked up often, and named by their own user alone.
pub(crate) type ByName<K, V> = HashMap<K, V, BuildHasherDefault<Mixed>>;

/// Mixes eight bytes at a time: on texts that short it takes a tenth of the standard hash.
#[derive(Default)]
pub(crate) struct Mixed(u64);

impl Mixed {
    fn mix(&mut self, word: u64) {
        // The golden ratio in 64 bits, whose multiples are spread evenly.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix((*byte).into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word.unsigned_abs() as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
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
    state.write(last.unwrap_or(bytes));
}
