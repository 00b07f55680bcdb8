//! What a process that died between write and rename has left: perhaps the only copy of a rotated refresh token.
//!
//! Only the holder of the lock may look: a temp file without its lock belongs to a living writer.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write;
use crate::fs::regular_file::RegularFile;
use crate::keychain;
use crate::store::credential::{Outline, Stored};
use crate::store::format::{self, Document};
use crate::store::sealed::{self, CAN_OPEN};
use crate::time::UnixMillis;

/// A leftover that takes the stored credential's place.
pub(super) struct Successor {
    temp: PathBuf,
    length: u64,
    pub(super) refreshed_at: UnixMillis,
}

/// What a leftover is worth.
pub(super) enum Leftover {
    Successor(Successor),
    Nothing,
    /// Only the keychain can tell.
    Later,
}

/// Whether the keychain may be asked for the secrets that leftovers name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretsOfLeftovers {
    /// Whoever needs secrets asks; others take the lock without.
    Unasked,
    Asked,
}

/// Finishes the leftover that replaces the stored refresh token and deletes all others. Says whether the file changed.
///
/// # Errors
/// `STORE_IO` if a successor cannot be put in its place, `STORE_VERSION` if a newer version wrote it: in both cases
/// the stored refresh token is spent and must not be sent.
pub(super) fn recover(
    target: &Path,
    stored: &Stored,
    secrets: SecretsOfLeftovers,
) -> Result<bool, Error> {
    let mut best: Option<Successor> = None;
    for temp in atomic_write::leftovers(target)? {
        if !is_ours(&temp) {
            continue;
        }
        let Some(file) = RegularFile::read(&temp)? else {
            continue;
        };
        match successor(&temp, file.bytes(), stored, secrets)? {
            Leftover::Successor(found)
                if best
                    .as_ref()
                    .is_none_or(|best| found.refreshed_at > best.refreshed_at) =>
            {
                if let Some(older) = best.replace(found) {
                    delete(&older.temp, stored);
                }
            }
            Leftover::Later => {}
            _ => delete(&temp, stored),
        }
    }
    let Some(best) = best else {
        return Ok(false);
    };
    atomic_write::finish(&best.temp, best.length, target)?;
    Ok(true)
}

/// Deletes all leftovers: the login or the logout that is stored now has made them worthless.
pub(super) fn discard(target: &Path, stored: &Stored) {
    for temp in atomic_write::leftovers(target).unwrap_or_default() {
        if is_ours(&temp) {
            delete(&temp, stored);
        }
    }
}

pub(super) fn successor(
    temp: &Path,
    bytes: Option<&[u8]>,
    stored: &Stored,
    secrets: SecretsOfLeftovers,
) -> Result<Leftover, Error> {
    let Some(current) = stored.outline() else {
        return Ok(Leftover::Nothing);
    };
    let Some(bytes) = bytes.map(format::without_padding) else {
        return Ok(Leftover::Nothing);
    };
    let replaces = Document::from_json(bytes).and_then(|document| document.replaces());
    if replaces.is_none() || replaces != stored.spendable() {
        return Ok(Leftover::Nothing);
    }
    let found = match format::parse(bytes, temp) {
        Ok((found, _)) => found,
        Err(error) if error.code() == ErrorCode::StoreVersion => return Err(error),
        Err(_) => return Ok(Leftover::Nothing),
    };
    let is_successor = match (&found, stored) {
        (Stored::Credential(found), Stored::Credential(current)) => {
            // Where the server does not rotate, an older leftover names the stored token as well.
            found.refresh() != current.refresh() || found.refreshed_at() >= current.refreshed_at()
        }
        (Stored::Sealed(_), _) if secrets == SecretsOfLeftovers::Unasked => {
            return Ok(Leftover::Later);
        }
        // Without its secrets it was left before the keychain had them.
        (Stored::Sealed(found), _) => CAN_OPEN && sealed::open(found, temp)?.is_some(),
        _ => false,
    };
    let refreshed_at = found
        .outline()
        .map_or(current.refreshed_at(), Outline::refreshed_at);
    Ok(if is_successor {
        Leftover::Successor(Successor {
            temp: temp.to_path_buf(),
            length: bytes.len() as u64,
            refreshed_at,
        })
    } else {
        Leftover::Nothing
    })
}

/// Best effort: one that stays names no stored token, and is looked at again. The secrets that it names go first; where
/// they stay, it stays with them.
fn delete(temp: &Path, stored: &Stored) {
    let named = RegularFile::read(temp).ok().flatten().and_then(|file| {
        let document = Document::from_json(format::without_padding(file.bytes()?))?;
        Some(document.secrets_id()?.to_owned())
    });
    // A note about a failed refresh names the secrets that the file names as well.
    let orphaned = named.filter(|name| {
        stored
            .outline()
            .is_none_or(|current| current.secrets_id.as_ref() != Some(name))
    });
    if orphaned.is_none_or(|name| keychain::remove(&[name]).is_ok()) {
        drop(atomic_write::remove(temp));
    }
}

/// What is not a file of ours was not left by us.
pub(super) fn is_ours(temp: &Path) -> bool {
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
