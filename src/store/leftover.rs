//! What a process that died between write and rename has left: perhaps the only copy of a rotated refresh token.
//!
//! Only the holder of the lock may look: a temp file without its lock belongs to a living writer.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write;
use crate::fs::regular_file::RegularFile;
use crate::store::credential::{Snapshot, Stored};
use crate::store::format::{self, Document};

/// A leftover that takes the stored credential's place.
pub(super) struct Successor {
    temp: PathBuf,
    length: u64,
    pub(super) snapshot: Snapshot,
}

/// Finishes the leftover that replaces the stored refresh token and deletes all others. Says whether the file changed.
///
/// # Errors
/// `STORE_IO` if a successor cannot be put in its place, `STORE_VERSION` if a newer version wrote it: in both cases
/// the stored refresh token is spent and must not be sent.
pub(super) fn recover(target: &Path, stored: &Stored) -> Result<bool, Error> {
    let mut best: Option<Successor> = None;
    for temp in atomic_write::leftovers(target)? {
        if !is_ours(&temp) {
            continue;
        }
        let Some(file) = RegularFile::read(&temp)? else {
            continue;
        };
        match successor(&temp, file.bytes(), stored)? {
            Some(found)
                if best.as_ref().is_none_or(|best| {
                    found.snapshot.refreshed_at() > best.snapshot.refreshed_at()
                }) =>
            {
                if let Some(older) = best.replace(found) {
                    delete(&older.temp);
                }
            }
            _ => delete(&temp),
        }
    }
    let Some(best) = best else {
        return Ok(false);
    };
    atomic_write::finish(&best.temp, best.length, target)?;
    Ok(true)
}

/// Deletes all leftovers: a login or a logout has made them worthless.
pub(super) fn discard(target: &Path) {
    for temp in atomic_write::leftovers(target).unwrap_or_default() {
        if is_ours(&temp) {
            delete(&temp);
        }
    }
}

pub(super) fn successor(
    temp: &Path,
    bytes: Option<&[u8]>,
    stored: &Stored,
) -> Result<Option<Successor>, Error> {
    let Some(current) = stored.credential() else {
        return Ok(None);
    };
    let Some(bytes) = bytes.map(format::without_padding) else {
        return Ok(None);
    };
    let replaces = Document::from_json(bytes).and_then(|document| document.replaces());
    let spent = current.refresh().map(crate::secret::Secret::fingerprint);
    if replaces.is_none() || replaces != spent {
        return Ok(None);
    }
    let snapshot = match format::parse(bytes, temp) {
        Ok((Stored::Credential(snapshot), _)) => snapshot,
        Err(error) if error.code() == ErrorCode::StoreVersion => return Err(error),
        Ok(_) | Err(_) => return Ok(None),
    };
    // Where the server does not rotate, an older leftover names the stored token as well.
    let is_rotated = snapshot.refresh() != current.refresh();
    let is_newer = snapshot.refreshed_at() >= current.refreshed_at();
    Ok((is_rotated || is_newer).then(|| Successor {
        temp: temp.to_path_buf(),
        length: bytes.len() as u64,
        snapshot,
    }))
}

/// Best effort: one that stays names no stored token, and is looked at again.
fn delete(temp: &Path) {
    drop(atomic_write::remove(temp));
}

/// What is not a file of ours was not left by us.
fn is_ours(temp: &Path) -> bool {
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
