//! Checks the owner of a file. Another user's file is never read as a credential and never replaced, not even by root.

#[cfg(unix)]
use std::path::Path;

#[cfg(unix)]
use crate::error::{Error, ErrorCode};

/// Refuses what belongs to another user.
#[cfg(unix)]
pub(crate) fn require_ours(owner: u32, what: &str, path: &Path) -> Result<(), Error> {
    let us = rustix::process::geteuid().as_raw();
    if owner == us {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::StoreIo,
        format!("The {what} {}", foreign(owner, us, path)),
    ))
}

/// The rest of a sentence about what belongs to another user, and what to do.
#[cfg(unix)]
fn foreign(owner: u32, us: u32, path: &Path) -> String {
    let shown = path.display();
    let next = match (owner, us) {
        // sudo, most often.
        (0, _) => format!(
            "A command that ran as root made it, by sudo perhaps: give it back as root (chown -R {us} {}), and run the host \
             without sudo",
            if path.is_dir() {
                path
            } else {
                path.parent().unwrap_or(path)
            }
            .display()
        ),
        (_, 0) => "Run this without sudo, as that user".to_owned(),
        _ => format!("Run this as that user, or give {shown} to uid {us}"),
    };
    format!(
        "{shown} belongs to another user (uid {owner}), and this process runs as uid {us}. {next}; or set stateDir or \
         credentialsPath to a place of its own."
    )
}

/// Says so where access was denied because another user owns the file, or else its folder.
#[cfg(unix)]
pub(super) fn why_denied(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let us = rustix::process::geteuid().as_raw();
    let owner = |path: &Path| Some(path.symlink_metadata().ok()?.uid());
    let (at, its_owner) = path.ancestors().find_map(|at| Some((at, owner(at)?)))?;
    // Only inside of this user's folders: the system's own folders belong to root, and must stay so.
    let is_inside = owner(at.parent()?) == Some(us);
    (its_owner != us && is_inside).then(|| foreign(its_owner, us, at))
}

/// Reports that a test is skipped because only root can set it up, even in the output of passing tests.
#[cfg(all(test, unix))]
pub(crate) fn skipped_without_root() -> bool {
    use std::io::Write as _;
    if rustix::process::geteuid().is_root() {
        return false;
    }
    let current = std::thread::current();
    let line = format!(
        "SKIPPED, needs root: {}\n",
        current.name().unwrap_or_default()
    );
    // Not captured, as what `eprintln!` says would be.
    drop(std::io::stderr().write_all(line.as_bytes()));
    true
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn another_user_is_named() {
        let us = rustix::process::geteuid().as_raw();
        assert!(require_ours(us, "file", Path::new("/a")).is_ok());
        let error = require_ours(us + 1, "file", Path::new("/a")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::StoreIo);
        assert!(error.message().contains(&format!(
            "The file /a belongs to another user (uid {})",
            us + 1
        )));
        for (owner, us, advice) in [
            (
                0,
                1000,
                "as root (chown -R 1000 /home/a/credentials), and run the host without sudo",
            ),
            (1000, 0, "Run this without sudo, as that user"),
            (1001, 1000, "give /home/a/credentials/p.json to uid 1000"),
        ] {
            let told = foreign(owner, us, Path::new("/home/a/credentials/p.json"));
            assert!(told.contains(advice), "{told}");
        }
    }
}
