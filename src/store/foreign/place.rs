//! Where the login of a location lies now: in the file that its program uses, or in the one that it used before.

use std::path::PathBuf;

use crate::error::Error;
use crate::fs::atomic_write;
use crate::fs::symlink;
use crate::store::location::Location;

use super::entry::Entry;
use super::format::Format;

/// Where the login of a location lies now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) target: PathBuf,
    pub(super) entry: Entry,
}

impl Place {
    /// The file that the program uses, or the one that it used before where only that is there.
    pub(super) fn of(location: &Location, format: Format) -> Result<Self, Error> {
        let target = symlink::resolve(location.path())?;
        if let Some(legacy) = location.legacy_path()
            && !target.exists()
            && legacy.exists()
        {
            return Ok(Self {
                target: symlink::resolve(legacy)?,
                entry: Entry::of_legacy(location.profile()),
            });
        }
        let entry = Entry::new(format, location.profile());
        Ok(Self { target, entry })
    }
}

/// Whether a killed process may have left a login that its next holder brings in.
pub(crate) fn is_unfinished(location: &Location) -> bool {
    let Some(format) = location.foreign_format() else {
        return false;
    };
    Place::of(location, format)
        .and_then(|place| atomic_write::leftovers(&place.target))
        .is_ok_and(|left| !left.is_empty())
}
