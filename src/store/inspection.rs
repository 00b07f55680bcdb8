//! Checks a credential file and its surroundings without changing anything.

use std::path::Path;

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write;
use crate::fs::lock::Lock;
use crate::fs::permissions::{Others, Permissions, closed_above};
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::store::credential::Stored;
use crate::store::foreign::file::guard;
use crate::store::location::{Location, Place};
use crate::store::locked::Locked;
use crate::store::order;
use crate::store::reading;
use crate::store::sealed;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// It works as it should.
    Ok,
    /// It works, but less well than it should.
    Warning,
    /// It does not work.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// The name of the check.
    pub(crate) name: &'static str,
    /// How bad it is.
    pub(crate) level: Level,
    /// The finding.
    pub(crate) message: String,
    /// The next step.
    pub(crate) fix: Option<String>,
}

impl Finding {
    /// All is well.
    pub(crate) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            level: Level::Ok,
            message: message.into(),
            fix: None,
        }
    }

    /// A problem to fix.
    pub(crate) fn bad(
        name: &'static str,
        level: Level,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            level,
            fix: Some(fix.into()),
            ..Self::ok(name, message)
        }
    }

    /// Where the sentence says itself what to do.
    pub(crate) fn error(name: &'static str, message: &str) -> Self {
        Self {
            level: Level::Error,
            ..Self::ok(name, message)
        }
    }
}

/// Folder, file, format, lock and leftovers of one credential, and the order of the accounts.
pub(crate) fn inspect(location: &Location, may: MayBlock) -> Vec<Finding> {
    let mut findings = match &location.0 {
        Place::Own(place) => of_file(location, place.path(), place.folder(), may),
        Place::Foreign(place) => of_file(location, place.path(), None, may),
        Place::Given(_) => vec![format(location, may), given_lock(location, may)],
    };
    if let Err(error) = order::read(location, may.into()) {
        findings.push(Finding::error("order", error.message()));
    }
    findings
}

fn of_file(
    location: &Location,
    path: &Path,
    own_folder: Option<&Path>,
    may: MayBlock,
) -> Vec<Finding> {
    let mut findings = vec![folder(path, own_folder, may)];
    let target = match symlink::resolve(path, may.into()) {
        Ok(target) => target,
        Err(error) => {
            findings.push(Finding::error("file", error.message()));
            return findings;
        }
    };
    findings.push(file(&target, may));
    findings.push(format(location, may));
    let (lock, is_held) = lock(location, &target, may);
    findings.push(lock);
    let in_keychain = left_in_keychain(&target, may);
    findings.push(leftovers(&target, is_held, may));
    if in_keychain.is_some() {
        // "None" would not be true then.
        findings.retain(|finding| finding.name != LEFTOVERS || finding.level != Level::Ok);
    }
    findings.extend(in_keychain);
    findings
}

/// Reads the tokens from the keychain, where it holds them.
///
/// # Errors
/// As [`reading::opened`].
pub(crate) fn open_secrets(location: &Location, may: MayBlock) -> Result<(), Error> {
    match reading::read(location, may.into())? {
        Stored::Sealed(outline) => reading::opened(location, outline, may).map(drop),
        _ => Ok(()),
    }
}

/// The finding of a check that found nothing.
const OWN_FOLDER: &str = if cfg!(windows) {
    "is this user's own, but for SYSTEM and the administrators."
} else {
    "is this user's own."
};
const OWN_FILE: &str = if cfg!(windows) {
    "is readable by this user alone, but for SYSTEM and the administrators."
} else {
    "is readable by this user alone."
};
/// The finding on a share, or on a disk without access lists.
#[cfg(not(unix))]
const UNSEEN: &str = "; who else may, cannot be seen from here.";

/// How a person takes a folder from others.
#[cfg(unix)]
fn close_folder(path: &Path) -> String {
    format!("chmod 700 {}", path.display())
}

#[cfg(not(unix))]
fn close_folder(path: &Path) -> String {
    closed(path, "(OI)(CI)F")
}

/// How a person takes a file from others.
#[cfg(unix)]
fn close_file(path: &Path) -> String {
    format!("chmod 600 {}", path.display())
}

#[cfg(not(unix))]
fn close_file(path: &Path) -> String {
    closed(path, "F")
}

#[cfg(not(unix))]
fn closed(path: &Path, right: &str) -> String {
    format!(
        "icacls \"{}\" /inheritance:r /grant:r \"%USERNAME%:{right}\", and with /remove:g whoever it still shows",
        path.display()
    )
}

fn folder(file: &Path, own: Option<&Path>, may: MayBlock) -> Finding {
    const NAME: &str = "folder";
    let path = own.or_else(|| file.parent()).unwrap_or(file);
    let shown = path.display();
    match Permissions::of(path, "folder", may) {
        Ok(None) => match closed_above(path, may) {
            Some(above) => Finding::bad(
                NAME,
                Level::Error,
                format!(
                    "{shown} is not there, and {} cannot be written to: no login can be saved.",
                    above.display()
                ),
                format!(
                    "Make {shown} for the user that runs this process, or set stateDir or credentialsPath to a place of its own."
                ),
            ),
            None => Finding::ok(
                NAME,
                format!("{shown} is not there yet; the first login makes it."),
            ),
        },
        Ok(Some(permissions)) if !permissions.is_writable => Finding::bad(
            NAME,
            Level::Error,
            format!("{shown} cannot be written to: no login or refresh can be saved."),
            format!("chmod u+rwx {shown}; a read-only mount has to become writable."),
        ),
        // Only this library's own folder is judged.
        Ok(Some(permissions)) => match permissions.others {
            Others::These(which) if own.is_some() => Finding::bad(
                NAME,
                Level::Warning,
                format!("Other users may enter {shown} ({which})."),
                close_folder(path),
            ),
            #[cfg(not(unix))]
            Others::These(which) => {
                Finding::ok(NAME, format!("{shown} can be written to, as by {which}."))
            }
            #[cfg(not(unix))]
            Others::Unknown => Finding::ok(NAME, format!("{shown} can be written to{UNSEEN}")),
            _ => Finding::ok(NAME, format!("{shown} {OWN_FOLDER}")),
        },
        Err(error) => Finding::error(NAME, error.message()),
    }
}

fn file(target: &Path, may: MayBlock) -> Finding {
    const NAME: &str = "file";
    let shown = target.display();
    match Permissions::of(target, "file", may) {
        Ok(None) => Finding::ok(NAME, format!("{shown} is not there.")),
        Ok(Some(permissions)) => match permissions.others {
            Others::These(which) => Finding::bad(
                NAME,
                Level::Warning,
                format!("Other users may read or write {shown} ({which})."),
                format!(
                    "{}; anyone who has read it knows the tokens: log out and in again.",
                    close_file(target)
                ),
            ),
            #[cfg(not(unix))]
            Others::Unknown => Finding::ok(NAME, format!("{shown} can be read{UNSEEN}")),
            Others::Nobody => Finding::ok(NAME, format!("{shown} {OWN_FILE}")),
        },
        Err(error) => Finding::error(NAME, error.message()),
    }
}

fn format(location: &Location, may: MayBlock) -> Finding {
    const NAME: &str = "format";
    let stored = match reading::read(location, may.into()) {
        Ok(stored) => stored,
        // The check of the file has reported it.
        Err(error) if error.code() == ErrorCode::StoreIo => {
            return Finding::error(NAME, "It could not be read.");
        }
        Err(error) => return Finding::error(NAME, error.message()),
    };
    let found = match (stored, &location.0) {
        (Stored::Nothing, _) => "There is no login to be read.",
        (_, Place::Foreign(_)) => "A whole file of another program.",
        (Stored::LoggedOut, _) => "Version 1; it says that somebody logged out.",
        (Stored::Credential(_), Place::Given(_)) => "Version 1, whole, in the plugin's store.",
        (Stored::Credential(_), Place::Own(_)) => "Version 1, whole.",
        (Stored::Sealed(_), _) => "Version 1, whole; the tokens lie in the system's keychain.",
    };
    Finding::ok(NAME, found)
}

fn lock(location: &Location, target: &Path, may: MayBlock) -> (Finding, bool) {
    const NAME: &str = "lock";
    let guarded = match &location.0 {
        Place::Foreign(_) => guard(target),
        Place::Own(_) | Place::Given(_) => target.to_owned(),
    };
    let probe = match Lock::probe(&guarded, may) {
        Ok(probe) => probe,
        Err(error) => return (Finding::error(NAME, error.message()), false),
    };
    let finding = if probe.is_held {
        let holder =
            Lock::holder(&guarded, may).unwrap_or_else(|| "a process that left no note".to_owned());
        Finding::bad(
            NAME,
            Level::Warning,
            format!("Held by {holder}."),
            "A refresh takes seconds, a login's save less. If it stays held, end that process.",
        )
    } else if probe.is_local_fallback {
        Finding::bad(
            NAME,
            Level::Warning,
            format!(
                "The file system of {location} has no locks: only this user's processes on this machine refresh in turn."
            ),
            "Keep the credential on a local disk (stateDir or credentialsPath) if other machines use it too.",
        )
    } else {
        Finding::ok(NAME, "Free.")
    };
    (finding, probe.is_held)
}

/// Only taking the lock can check it; it is released at once.
fn given_lock(location: &Location, may: MayBlock) -> Finding {
    const NAME: &str = "lock";
    match Locked::try_acquire(location, may) {
        Ok(Some(_)) => Finding::ok(NAME, "Free."),
        Ok(None) => Finding::bad(
            NAME,
            Level::Warning,
            "Held by another.",
            "A refresh takes seconds, a login's save less. If it stays held, look into the plugin's store.",
        ),
        Err(error) => Finding::error(NAME, error.message()),
    }
}

const LEFTOVERS: &str = "leftovers";

/// The entries that the keychain still holds of replaced or ended logins, where the file names any.
fn left_in_keychain(target: &Path, may: MayBlock) -> Option<Finding> {
    if !sealed::CAN_OPEN {
        return None;
    }
    let file = RegularFile::read(target, may.into()).ok()??;
    let (names, found) = sealed::left(file.bytes()?, may)?;
    Some(Finding::bad(
        LEFTOVERS,
        Level::Warning,
        format!("{found}: {}.", names.join(", ")),
        "The next login or logout removes them, and so does the doctor with `fix`; or remove them with the keychain's own program.",
    ))
}

fn leftovers(target: &Path, is_held: bool, may: MayBlock) -> Finding {
    const NAME: &str = LEFTOVERS;
    match atomic_write::leftovers(target, may) {
        Ok(found) if found.is_empty() => Finding::ok(NAME, "None."),
        Ok(_) if is_held => Finding::ok(NAME, "The holder of the lock is writing."),
        Ok(found) => Finding::bad(
            NAME,
            Level::Warning,
            format!(
                "A process was killed while it saved: {} temporary file(s) beside {}.",
                found.len(),
                target.display()
            ),
            "The next refresh, login or logout finishes or deletes them; do not delete them by hand, one may hold the \
             only copy of a refresh token.",
        ),
        Err(error) => Finding::error(NAME, error.message()),
    }
}
