//! Where a login of another program is now: in the file that its program uses, or in the one that it used before.

use std::path::PathBuf;

use crate::blocking::{Look, MayBlock};
use crate::error::Error;
use crate::fs::atomic_write;
use crate::fs::symlink;

use super::entry::Entry;
use super::place::Place;

/// Where the login of a place is now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// The path with its links resolved.
    pub(super) file: PathBuf,
    pub(super) entry: Entry,
}

impl Target {
    /// The file that the program uses, or the one that it used before where only that is there.
    pub(super) fn of(place: &Place, look: Look) -> Result<Self, Error> {
        let file = symlink::resolve(place.path(), look)?;
        if let Some(legacy) = place.legacy()
            && !file.exists()
            && legacy.exists()
        {
            return Ok(Self {
                file: symlink::resolve(legacy, look)?,
                entry: Entry::of_legacy(place.profile()),
            });
        }
        let entry = Entry::new(place.format, place.profile());
        Ok(Self { file, entry })
    }
}

/// Whether a killed process may have left a login that its next holder brings in.
pub(in crate::store) fn is_unfinished(place: &Place, may: MayBlock) -> bool {
    Target::of(place, may.into())
        .and_then(|target| atomic_write::leftovers(&target.file, may))
        .is_ok_and(|left| !left.is_empty())
}
