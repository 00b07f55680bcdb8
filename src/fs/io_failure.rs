//! Turns a failure of the operating system into a sentence that names the next step. Nothing else does.

use std::fmt;
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorCode};

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Opening or reading a file.
    Read,
    /// Creating, writing or replacing a file.
    Write,
    /// Locking a file.
    Lock,
    /// Listing a folder.
    List,
    /// Making a folder.
    MakeFolder,
    /// Removing a file.
    Remove,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Lock => "lock",
            Self::List => "list",
            Self::MakeFolder => "make the folder",
            Self::Remove => "remove",
        })
    }
}

/// `STORE_IO` in words.
pub(crate) fn explain(error: &io::Error, attempt: Attempt, path: &Path) -> Error {
    let shown = path.display();
    let folder = path.parent().unwrap_or(path).display();
    let sentence = match error.kind() {
        io::ErrorKind::StorageFull => format!(
            "No space left on the disk that holds {shown}. Free some space there, then try again."
        ),
        io::ErrorKind::QuotaExceeded => format!(
            "The disk quota is used up where {shown} lies. Free some space there, then try again."
        ),
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "The folder {folder} is read-only. Make it writable, or set stateDir or credentialsPath to a place that is."
        ),
        io::ErrorKind::PermissionDenied => why_denied(path).map_or_else(|| format!(
            "No permission to {attempt} {shown}. Give the user that runs this process{} access to it and its folder, \
             or set stateDir or credentialsPath to a place of its own.",
            running_as()
        ), |why| format!("No permission to {attempt} {shown}: {why}")),
        io::ErrorKind::NotFound => format!(
            "Could not {attempt} {shown}: the folder {folder} is not there. Check stateDir or credentialsPath, then try again."
        ),
        io::ErrorKind::NotADirectory => format!(
            "Could not {attempt} {shown}: a part of that path is not a folder. Check stateDir or credentialsPath."
        ),
        io::ErrorKind::IsADirectory => {
            format!("Could not {attempt} {shown}: it is a folder. Move the folder away.")
        }
        io::ErrorKind::ResourceBusy if attempt == Attempt::Write => mounted(path),
        io::ErrorKind::InvalidFilename => format!(
            "Could not {attempt} {shown}: the name is too long for that file system. Use a shorter pluginId, profile or credentialsPath."
        ),
        _ => format!("Could not {attempt} {shown}: {}", rare(error)),
    };
    Error::new(ErrorCode::StoreIo, sentence).retryable(passes_by_itself(error))
}

/// `STORE_IO` for a file that is itself a mount point and therefore cannot be replaced.
#[cfg(target_os = "linux")]
pub(crate) fn file_is_mounted(path: &Path) -> Error {
    Error::new(ErrorCode::StoreIo, mounted(path))
}

/// `STORE_IO` for a file with the attribute that keeps it from being replaced.
#[cfg(windows)]
pub(crate) fn file_is_read_only(path: &Path) -> Error {
    Error::new(
        ErrorCode::StoreIo,
        format!(
            "The file {} is read-only, so no new token could be saved. Clear that attribute (attrib -r), then try again.",
            path.display()
        ),
    )
}

fn mounted(path: &Path) -> String {
    format!(
        "The file {} cannot be replaced: it is mounted as a single file. Mount its folder {} instead.",
        path.display(),
        path.parent().unwrap_or(path).display()
    )
}

#[cfg(unix)]
use super::ownership::why_denied;

#[cfg(not(unix))]
fn why_denied(_: &Path) -> Option<String> {
    None
}

#[cfg(unix)]
fn running_as() -> String {
    format!(" (uid {})", rustix::process::geteuid().as_raw())
}

#[cfg(not(unix))]
fn running_as() -> String {
    String::new()
}

#[cfg(unix)]
fn rare(error: &io::Error) -> String {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::LOOP) => {
            "its symbolic links lead in a circle or nowhere. Repair or remove them.".to_owned()
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            "too many files are open. Raise the limit (ulimit -n) or close some, then try again."
                .to_owned()
        }
        Some(Errno::AGAIN) => {
            "the operating system refused a thread. Raise the limit of processes (ulimit -u) or end some, then try again."
                .to_owned()
        }
        Some(Errno::IO) => {
            "the disk reports an input/output error. Check the disk, then try again.".to_owned()
        }
        _ => format!("{error}. Check that path, then try again."),
    }
}

#[cfg(not(unix))]
fn rare(error: &io::Error) -> String {
    format!("{error}. Check that path, then try again.")
}

/// Failures that pass without anybody doing anything.
#[cfg(unix)]
fn passes_by_itself(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::MFILE
                | Errno::NFILE
                | Errno::INTR
                | Errno::AGAIN
                | Errno::NOMEM
                | Errno::STALE
                | Errno::TIMEDOUT
        )
    )
}

#[cfg(not(unix))]
fn passes_by_itself(error: &io::Error) -> bool {
    // ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION
    matches!(error.raw_os_error(), Some(32 | 33))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn said(errno: Errno) -> Error {
        explain(
            &io::Error::from(errno),
            Attempt::Write,
            Path::new("/state/credentials/demo/default.json"),
        )
    }

    #[test]
    fn causes_are_told_in_words_with_the_next_step() {
        for (errno, words) in [
            (
                Errno::NOSPC,
                "No space left on the disk that holds /state/credentials/demo/default.json",
            ),
            (Errno::DQUOT, "quota"),
            (
                Errno::ROFS,
                "The folder /state/credentials/demo is read-only",
            ),
            (
                Errno::ACCESS,
                "No permission to write /state/credentials/demo/default.json",
            ),
            (Errno::PERM, "No permission"),
            (
                Errno::BUSY,
                "Mount its folder /state/credentials/demo instead",
            ),
            (Errno::NAMETOOLONG, "too long"),
            (Errno::NOTDIR, "not a folder"),
            (Errno::ISDIR, "it is a folder"),
            (Errno::LOOP, "symbolic links"),
            (Errno::IO, "input/output"),
        ] {
            let error = said(errno);
            assert_eq!(error.code(), ErrorCode::StoreIo);
            assert!(error.message().contains(words), "{errno:?}: {error}");
            assert!(!error.is_retryable(), "{errno:?}");
        }
    }

    #[test]
    fn too_many_open_files_may_pass() {
        assert!(said(Errno::MFILE).is_retryable());
    }
}
