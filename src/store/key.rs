//! The name of one login in this process, and in what it writes ahead.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Names one login: everything that is known of a login in memory is kept by this, and by nothing else.
///
/// Where a plugin and a profile have a file of their own, its path holds both names. Two plugins that mean the same
/// entry of the same file mean the same login, and only one of them may refresh it.
#[derive(Clone, Debug)]
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
        match bytes.last_chunk::<8>() {
            // Some of it twice: one step for up to seven bytes.
            Some(last) if !rest.is_empty() => self.mix(u64::from_le_bytes(*last)),
            Some(_) => {}
            None => rest.iter().for_each(|byte| self.mix((*byte).into())),
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word.unsigned_abs() as u64);
    }

    fn finish(&self) -> u64 {
        // The low bits choose the place, and a product mixes the high ones best.
        self.0 ^ (self.0 >> 32)
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

impl Eq for Key {}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { path, entry }, Self::File { path: a, entry: b }) => {
                is_same(path, a) && entry == b
            }
            (Self::Document { store, name }, Self::Document { store: a, name: b }) => {
                store == a && name == b
            }
            _ => false,
        }
    }
}

/// Hashes a path by its bytes: it hashes itself component by component.
pub(super) fn hash<H: Hasher>(path: &Path, state: &mut H) {
    state.write(path.as_os_str().as_encoded_bytes());
}

/// Whether two paths are the same in each byte: it, too, compares itself component by component.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    one.as_os_str() == other.as_os_str()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Counts;
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn logins_whose_paths_are_alike_are_spread_evenly() {
        let names: [fn(u32) -> String; 4] = [
            |n| format!("/srv/tenants/{n}/state/credentials/my-memory/default.json"),
            |n| format!("/s/credentials/p/user{n}%40mail.department-of-things.example.com.json"),
            |n| format!("/s/credentials/p/profile-{n}.json"),
            |n| format!("/home/{n}/.config/my-memory-plugin/auth.json"),
        ];
        for name in names {
            let mut places = Counts::<u64, u32>::new();
            for number in 0..4096 {
                let key = Key::File {
                    path: name(number).into(),
                    entry: None,
                };
                let hash = BuildHasherDefault::<Mixed>::default().hash_one(&key);
                *places.entry(hash % 4096).or_default() += 1;
            }
            let fullest = places.values().max().copied().unwrap_or_default();
            assert!(fullest <= 12, "{fullest} of 4096 in one place: {}", name(7));
        }
    }
}
