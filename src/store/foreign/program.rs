//! The programs that share their logins: one row of the table each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::blocking::{Look, MayBlock};
use crate::error::Error;
use crate::fs::private_dir;
use crate::fs::program_lock::{Mark, ProgramLock, Protocol};
use crate::fs::symlink;
use crate::store::credential::Snapshot;
use crate::store::json_text::JsonText;
use crate::time::SharedClock;

use super::layout::{Layout, Login, Names};

/// A row of the table.
pub(super) struct Program {
    /// The program's name for people.
    pub(super) title: &'static str,
    pub(super) home: Home,
    /// The objects above the members of a profile's login.
    pub(super) path: fn(&str) -> Vec<String>,
    /// The login in the members of a file.
    pub(super) read: fn(&Layout, &Map<String, Value>) -> Login,
    /// Puts a login in, so that the program reads it; all that is not a part of it stays.
    pub(super) put: fn(&Layout, &mut JsonText, &Snapshot),
    /// The member that a login lacks and the program requires, as a part of a sentence.
    pub(super) lacks: fn(&Layout, &JsonText, &Snapshot) -> Option<&'static str>,
    pub(super) logout: Logout,
    pub(super) refusal: Refusal,
    /// Refuses where the program keeps its login elsewhere than in that file.
    pub(super) elsewhere: fn(&Path, Look) -> Result<(), Error>,
    /// A scope that only its own service grants, where that is asked for a refresh in JSON.
    pub(super) json_scope: Option<&'static str>,
    /// The locks that are held while a refresh token is spent, in the order in which the program takes them.
    pub(super) request_locks: &'static [HostLock],
    /// The locks that are held only for the last comparison and the rename.
    pub(super) save_locks: &'static [HostLock],
}

/// Where a program keeps its login.
pub(super) struct Home {
    /// The variables that name its folder, the first that is set counts.
    pub(super) variables: &'static [Variable],
    /// The program's folder below the home.
    pub(super) folder: &'static str,
    /// The file below its folder; empty where only the config can name it.
    pub(super) file: &'static str,
}

/// A variable that names a folder.
pub(super) struct Variable {
    pub(super) name: &'static str,
    /// The program's folder below the one that it names.
    pub(super) below: &'static str,
    /// Set but empty it means the home, and none after it counts.
    pub(super) may_be_empty: bool,
}

impl Variable {
    pub(super) const fn of(name: &'static str) -> Self {
        Self {
            name,
            below: "",
            may_be_empty: false,
        }
    }
}

/// The text that a logout leaves.
#[derive(Clone, Copy)]
pub(super) enum Logout {
    /// The file without the object of the login.
    Rest,
    /// The file without these members.
    Without(&'static [&'static str]),
    /// No file.
    Nothing,
}

/// The mark that a program leaves in place of a login with a refused refresh token.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    /// The login.
    Nothing,
    /// Tokens of these names without a character.
    EmptyTokens(&'static Names),
    /// No file.
    NoFile,
}

/// A lock of a program.
pub(super) struct HostLock {
    /// The path of the lock, for a login file of that path.
    pub(super) at: fn(&Path, MayBlock) -> Result<PathBuf, Error>,
    pub(super) protocol: Protocol,
}

impl Program {
    /// Whether the program's lock excludes it while we spend a refresh token.
    pub(super) fn heeds_our_lock(&self) -> bool {
        !self.request_locks.is_empty()
    }
}

/// Takes these locks of a program, or none if another holds one of them.
///
/// # Errors
/// `STORE_IO` if one cannot be made.
pub(super) fn take(
    locks: &'static [HostLock],
    file: &Path,
    clock: &SharedClock,
    may: MayBlock,
) -> Result<Option<Vec<ProgramLock>>, Error> {
    let mut taken = Vec::with_capacity(locks.len());
    for lock in locks {
        let path = (lock.at)(file, may)?;
        private_dir::ensure_exists(path.parent().unwrap_or(&path), may)?;
        match ProgramLock::try_acquire(&path, &lock.protocol, clock, may)? {
            Some(held) => taken.push(held),
            None => return Ok(None),
        }
    }
    Ok(Some(taken))
}

/// npm's `proper-lockfile`.
pub(super) const fn proper_lockfile(stale: u64, renewal: u64) -> Protocol {
    protocol(Mark::Folder, stale, renewal)
}

/// In seconds.
pub(super) const fn protocol(mark: Mark, stale: u64, renewal: u64) -> Protocol {
    Protocol {
        mark,
        stale: Duration::from_secs(stale),
        renewal: Duration::from_secs(renewal),
    }
}

/// `<file>.lock`, beside the file that a link leads to.
pub(super) fn beside_target(file: &Path, may: MayBlock) -> Result<PathBuf, Error> {
    let target = symlink::resolve(file, may.into())?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    Ok(target.with_file_name(name))
}

/// A login that fills the file.
pub(super) fn whole_file(_: &str) -> Vec<String> {
    Vec::new()
}
