//! Whose a file is. Another user's file is never read as a credential and never replaced, not even by root.

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
        format!(
            "The {what} {} belongs to another user (uid {owner}), and this process runs as uid {us}. \
             Run it as that user, or give the {what} to this one, or set stateDir or credentialsPath to a place of its own.",
            path.display()
        ),
    ))
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
    }
}
