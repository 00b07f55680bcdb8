//! The one write-ahead rule, for every kind of file: a result is written beside the file before it replaces the file,
//! and the next holder of the lock finishes an interrupted write. Such a journal may be the only copy of a rotated
//! refresh token.
//!
//! A journal names the refresh token that it replaces and, where several logins share a file, its entry. The holder of
//! that login's lock applies or discards it. It never deletes the journal of another login, of a newer version, or any
//! journal while the file is damaged or missing. Only the holder of the lock may look: a temp file without its lock
//! belongs to a running writer.

use std::path::{Path, PathBuf};

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write;
use crate::fs::regular_file::RegularFile;
use crate::keychain::Person;
use crate::store::credential::{Outline, Snapshot, Stored};
use crate::store::format::{self, Document};
use crate::store::sealed::{self, CAN_OPEN};
use crate::time::UnixMillis;

/// The journals of one login.
#[derive(Clone, Copy)]
pub(super) struct Journal<'a> {
    /// The file, with its links followed.
    pub(super) target: &'a Path,
    /// The entry of the login in a file that several share.
    pub(super) entry: Option<&'a str>,
    /// The program was refused for the very token that a journal replaces, and left its mark in place of the login:
    /// then every journal of this login is better.
    pub(super) is_refused: bool,
}

/// A journal that takes the stored credential's place.
pub(super) struct Successor {
    pub(super) temp: PathBuf,
    pub(super) length: u64,
    pub(super) refreshed_at: UnixMillis,
    /// `None` where the keychain holds its secrets.
    pub(super) login: Option<Snapshot>,
}

/// The use of a temp file.
pub(super) enum Worth {
    Successor(Successor),
    /// To be deleted.
    Nothing,
    /// To be left alone: it is for another login or a newer version, or cannot be judged now.
    Unknown,
}

/// Whether the keychain may be asked for the secrets that journals name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    /// Taking the lock asks for none.
    Unasked,
    Asked,
}

impl<'a> Journal<'a> {
    /// For this library's own file, which holds one login.
    pub(super) fn of(target: &'a Path) -> Self {
        Self {
            target,
            entry: None,
            is_refused: false,
        }
    }
}

impl Journal<'_> {
    /// The newest journal that replaces the stored refresh token; deletes those of this login that are worthless. Call
    /// it only with what was read: while the file is damaged nothing can be said.
    ///
    /// # Errors
    /// `STORE_IO` if the folder cannot be read, `STORE_VERSION` if a newer version wrote the journal: in both cases
    /// the stored refresh token may be spent and must not be sent.
    pub(super) fn recover(
        self,
        stored: &Stored,
        secrets: Secrets,
        may: MayBlock,
    ) -> Result<Option<Successor>, Error> {
        let mut best: Option<Successor> = None;
        for temp in self.temps(may)? {
            let Some(file) = RegularFile::read(&temp, may.into())? else {
                continue;
            };
            match self.weigh(&temp, file.bytes(), stored, secrets, may)? {
                Worth::Successor(found)
                    if best
                        .as_ref()
                        .is_none_or(|best| found.refreshed_at > best.refreshed_at) =>
                {
                    if let Some(older) = best.replace(found) {
                        delete(&older.temp, stored, Person::Away, may);
                    }
                }
                Worth::Unknown => {}
                Worth::Successor(_) | Worth::Nothing => delete(&temp, stored, Person::Away, may),
            }
        }
        Ok(best)
    }

    /// Deletes this login's journals: the login or the logout that is stored now, by a person, has made them worthless.
    pub(super) fn discard(self, stored: &Stored, may: MayBlock) {
        for temp in self.temps(may).unwrap_or_default() {
            let file = RegularFile::read(&temp, may.into()).ok().flatten();
            let document = file
                .as_ref()
                .and_then(RegularFile::bytes)
                .map(format::without_padding)
                .and_then(Document::from_json);
            let is_ours = document.is_none_or(|document| {
                !is_newer_version(&document)
                    && (document.replaces().is_none() || self.is_for_us(&document, stored))
            });
            if is_ours {
                delete(&temp, stored, Person::Here, may);
            }
        }
    }

    /// Judges a temp file by its contents alone.
    pub(super) fn weigh(
        self,
        temp: &Path,
        bytes: Option<&[u8]>,
        stored: &Stored,
        secrets: Secrets,
        may: MayBlock,
    ) -> Result<Worth, Error> {
        let Some(bytes) = bytes.map(format::without_padding) else {
            return Ok(Worth::Nothing);
        };
        let Some(document) = Document::from_json(bytes) else {
            return Ok(Worth::Nothing);
        };
        let without_use = || {
            if is_newer_version(&document) {
                Worth::Unknown
            } else {
                Worth::Nothing
            }
        };
        let Some(replaces) = document.replaces() else {
            return Ok(without_use());
        };
        if *stored == Stored::Nothing && !self.is_refused || !self.is_for_us(&document, stored) {
            return Ok(Worth::Unknown);
        }
        if stored.spendable() != Some(replaces) && !self.is_refused {
            return Ok(without_use());
        }
        let found = match format::parse(bytes, &temp.display()) {
            Ok((found, _)) => found,
            Err(error) if error.code() == ErrorCode::StoreVersion => return Err(error),
            Err(_) => return Ok(Worth::Nothing),
        };
        let is_successor = match (&found, stored) {
            (Stored::Credential(_), _) if self.is_refused => true,
            (Stored::Credential(found), Stored::Credential(current)) => {
                // Where the server does not rotate, an older journal names the stored token as well.
                found.refresh() != current.refresh()
                    || found.refreshed_at() >= current.refreshed_at()
                        && !ends_earlier(found, current)
            }
            (Stored::Sealed(_), _) if secrets == Secrets::Unasked => return Ok(Worth::Unknown),
            // Without its secrets it was left before the keychain had them.
            (Stored::Sealed(found), _) => CAN_OPEN && sealed::open(found, temp, may)?.is_some(),
            _ => false,
        };
        if !is_successor {
            return Ok(Worth::Nothing);
        }
        Ok(Worth::Successor(Successor {
            temp: temp.to_path_buf(),
            length: bytes.len() as u64,
            refreshed_at: found
                .outline()
                .map_or_else(UnixMillis::default, Outline::refreshed_at),
            login: found.credential().cloned(),
        }))
    }

    /// A journal without an entry, in a file that several logins share, belongs to the login with the refresh token
    /// that it replaces.
    fn is_for_us(self, document: &Document, stored: &Stored) -> bool {
        match (document.entry(), self.entry) {
            (None, Some(_)) => document.replaces() == stored.spendable(),
            (named, ours) => named == ours,
        }
    }

    fn temps(self, may: MayBlock) -> Result<Vec<PathBuf>, Error> {
        let mut temps = atomic_write::leftovers(self.target, may)?;
        temps.retain(|temp| is_our_file(temp));
        Ok(temps)
    }
}

fn ends_earlier(found: &Snapshot, current: &Snapshot) -> bool {
    matches!((found.expires(), current.expires()), (Some(found), Some(current)) if found < current)
}

fn is_newer_version(document: &Document) -> bool {
    format::require_version(document.members(), &"")
        .is_err_and(|error| error.code() == ErrorCode::StoreVersion)
}

/// Best effort: one that stays names no stored token, and is looked at again. The secrets that it names go first; where
/// they stay, it stays with them.
fn delete(temp: &Path, stored: &Stored, person: Person, may: MayBlock) {
    let named = RegularFile::read(temp, may.into())
        .ok()
        .flatten()
        .and_then(|file| {
            let document = Document::from_json(format::without_padding(file.bytes()?))?;
            Some(document.secrets_id()?.to_owned())
        });
    // A note about a failed refresh names the secrets that the file names as well.
    let orphaned = named.filter(|name| {
        stored
            .outline()
            .is_none_or(|current| current.secrets_id.as_ref() != Some(name))
    });
    if orphaned.is_none_or(|name| sealed::forget(&[name], None, person, may).left.is_empty()) {
        drop(atomic_write::remove(temp, may));
    }
}

/// A file of another user was not left by us.
fn is_our_file(temp: &Path) -> bool {
    let Ok(metadata) = std::fs::symlink_metadata(temp) else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if crate::fs::ownership::require_ours(metadata.uid(), "file", temp).is_err() {
            return false;
        }
    }
    metadata.is_file()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::secret::Secret;

    fn stored(refresh: &str) -> Stored {
        let text = format!(r#"{{"version":1,"access":"a","refresh":"{refresh}"}}"#);
        format::parse(text.as_bytes(), &"/c.json").unwrap().0
    }

    /// A folder in which a process died that had received `next` for `spent`.
    fn left(version: u32, entry: &str, spent: &str) -> (TempDir, PathBuf, PathBuf) {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("logins.json");
        let temp = folder.path().join(".logins.json.0123456789abcdef.tmp");
        let replaces = Secret::from(spent).fingerprint();
        let text = format!(
            r#"{{"version":{version},"access":"b","refresh":"next","replaces":"{}","entry":"{entry}"}}"#,
            replaces.as_str()
        );
        std::fs::write(&temp, text).unwrap();
        (folder, target, temp)
    }

    fn for_entry<'a>(target: &'a Path, entry: &'a str) -> Journal<'a> {
        Journal {
            entry: Some(entry),
            ..Journal::of(target)
        }
    }

    #[test]
    fn it_is_found_by_its_own_login_alone() {
        let (_folder, target, temp) = left(1, "memory:a", "spent");
        let of = |entry| for_entry(&target, entry);
        for other in [stored("other"), stored("spent"), Stored::LoggedOut] {
            let found = of("memory:b")
                .recover(&other, Secrets::Unasked, MayBlock::in_test())
                .unwrap();
            assert!(found.is_none());
            of("memory:b").discard(&other, MayBlock::in_test());
        }
        let found = of("memory:a")
            .recover(&stored("spent"), Secrets::Unasked, MayBlock::in_test())
            .unwrap()
            .unwrap();
        assert_eq!(found.login.unwrap().refresh(), Some(&Secret::from("next")));
        // A login that was made since is better, and only its holder may say so.
        let none = of("memory:a").recover(&stored("since"), Secrets::Unasked, MayBlock::in_test());
        assert!(none.unwrap().is_none());
        assert!(!temp.exists());
    }

    #[test]
    fn nothing_is_said_of_it_while_the_file_is_missing_and_never_of_a_newer_version() {
        let (_folder, target, temp) = left(1, "memory:a", "spent");
        let journal = for_entry(&target, "memory:a");
        let found = journal
            .recover(&Stored::Nothing, Secrets::Unasked, MayBlock::in_test())
            .unwrap();
        assert!(found.is_none() && temp.exists());
        let (_folder, target, temp) = left(2, "memory:a", "spent");
        let journal = for_entry(&target, "memory:a");
        let Err(error) = journal.recover(&stored("spent"), Secrets::Unasked, MayBlock::in_test())
        else {
            panic!("its predecessor would be spent");
        };
        assert_eq!(error.code(), ErrorCode::StoreVersion);
        for stored in [stored("since"), Stored::LoggedOut] {
            assert!(
                journal
                    .recover(&stored, Secrets::Unasked, MayBlock::in_test())
                    .unwrap()
                    .is_none()
            );
            journal.discard(&stored, MayBlock::in_test());
        }
        assert!(temp.exists());
    }

    #[test]
    fn one_of_a_newer_version_stays_however_that_names_what_it_replaces() {
        let (_folder, target, temp) = left(2, "memory:a", "spent");
        for text in [
            r#"{"version":2,"access":"b","refresh":"next","predecessor":"spent"}"#,
            r#"{"version":2,"access":"b","refresh":"next","replaces":["spent"],"entry":"memory:a"}"#,
            r#"{"version":3.5,"loggedOutAt":1}"#,
        ] {
            std::fs::write(&temp, text).unwrap();
            for journal in [Journal::of(&target), for_entry(&target, "memory:a")] {
                for stored in [stored("spent"), Stored::LoggedOut, Stored::Nothing] {
                    let found = journal
                        .recover(&stored, Secrets::Unasked, MayBlock::in_test())
                        .unwrap();
                    assert!(found.is_none() && temp.exists(), "{text}");
                    journal.discard(&stored, MayBlock::in_test());
                    assert!(temp.exists(), "{text}");
                }
            }
        }
    }
}
