//! A small document beside the credentials, in a file or in the store that the plugin gave: read without a lock,
//! changed under one or by its version.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::blocking::{Look, MayBlock};
use crate::error::{Error, ErrorCode};
use crate::fs::identity::Identity;
use crate::fs::private_dir;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::store::plugin_store::{Slot, as_value};
use crate::store::small_file::{put, wait_for_lock};
use crate::time::UnixMillis;

/// Where such a document is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sidecar {
    File(PathBuf),
    Slot(Slot),
}

/// The contents of such a document.
pub(super) trait SmallDocument: Default {
    /// Reads its text; `place` is for people.
    ///
    /// # Errors
    /// `STORE_CORRUPT`, `STORE_VERSION`
    fn parse(text: &[u8], place: &dyn Display) -> Result<Self, Error>;

    /// With the members that this version does not know.
    fn to_json(&self) -> Zeroizing<Vec<u8>>;
}

impl Sidecar {
    /// A missing one is the default.
    ///
    /// # Errors
    /// `STORE_CORRUPT`, `STORE_VERSION`, `STORE_IO`.
    pub(super) fn read<D: SmallDocument>(&self, look: Look) -> Result<D, Error> {
        match self {
            // Nearly always: one system call instead of a dozen.
            Self::File(path) if matches!(Identity::of_path(path), Ok(None)) => Ok(D::default()),
            Self::File(path) => read_file(&symlink::resolve(path, look)?, look),
            Self::Slot(slot) => match slot.store.read_recent(&slot.key, look)? {
                Some(kept) => D::parse(kept.value.expose().as_bytes(), &slot.key),
                None => Ok(D::default()),
            },
        }
    }

    /// Changes it; `edit` says whether there is anything to write, and is called again where another was faster. A
    /// damaged one is kept beside the new one.
    ///
    /// # Errors
    /// `STORE_VERSION`, `STORE_IO`, `STORE_LOCKED`.
    pub(super) fn change<D: SmallDocument>(
        &self,
        now: UnixMillis,
        may: MayBlock,
        mut edit: impl FnMut(&mut D) -> bool,
    ) -> Result<(), Error> {
        match self {
            Self::File(path) => {
                if let Some(folder) = path.parent() {
                    // The folder above is the plugin's, or that of a credentialsPath: not this one's to tighten.
                    private_dir::ensure_ours(folder, may)?;
                }
                let target = symlink::resolve(path, may.into())?;
                let _lock = wait_for_lock(&target, may)?;
                let (mut document, is_damaged) = or_damaged(read_file(&target, may.into()))?;
                if !edit(&mut document) {
                    return Ok(());
                }
                let damaged_at = is_damaged.then_some(now);
                put(&target, &document.to_json(), damaged_at, may)
            }
            Self::Slot(Slot { store, key }) => store.change(key, may, |value| {
                let parsed = value.map_or_else(|| Ok(D::default()), |value| D::parse(value, key));
                let (mut document, is_damaged) = or_damaged(parsed)?;
                if !edit(&mut document) {
                    return Ok(None);
                }
                if is_damaged {
                    store.set_aside(key, value.unwrap_or_default(), now, may)?;
                }
                Ok(Some(as_value(document.to_json())))
            }),
        }
    }
}

fn read_file<D: SmallDocument>(target: &Path, look: Look) -> Result<D, Error> {
    match RegularFile::read(target, look)? {
        // One that is too large for any such document is empty here, and damaged for that.
        Some(file) => D::parse(file.bytes().unwrap_or_default(), &target.display()),
        None => Ok(D::default()),
    }
}

/// The document, or an empty one in place of a damaged one.
fn or_damaged<D: SmallDocument>(read: Result<D, Error>) -> Result<(D, bool), Error> {
    match read {
        Err(error) if error.code() == ErrorCode::StoreCorrupt => Ok((D::default(), true)),
        read => Ok((read?, false)),
    }
}
