//! Credential files of other programs: a login is read where its program keeps it, and written back there, in that program's
//! own format.
//!
//! What such a file has no place for (what a failed refresh taught, whom the login belongs to) lies in a note of our own.

mod file;
mod formats;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod keychain_item;
mod layout;
mod note;
mod profiles;
mod program;

use std::path::{Path, PathBuf};

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write;
use crate::fs::regular_file::RegularFile;
use crate::fs::symlink;
use crate::secret::Secret;
use crate::store::credential::{Snapshot, Stored};
use crate::store::json_text::JsonText;
use crate::store::location::Location;

use self::program::Refusal;

pub(crate) use self::file::patiently;
pub(super) use self::file::{ForeignFile, Reserved, guard};
pub(crate) use self::keychain_item::KeychainItem;
pub(super) use self::note::SeenNote;
pub(super) use self::profiles::{in_order, of_provider};
pub(crate) use self::program::Format;

/// What a file was found to hold.
pub(super) struct Found {
    pub(super) stored: Stored,
    /// None where there is no file.
    pub(super) file: Option<RegularFile>,
    /// None where there is neither file nor item.
    text: Option<JsonText>,
    /// It came from this item of the keychain, or would go there.
    item: Option<KeychainItem>,
}

impl Found {
    /// Whose login it is.
    fn owner(&self, place: &Place) -> layout::Owner {
        self.text
            .as_ref()
            .map(|text| place.entry.owner(text))
            .unwrap_or_default()
    }

    /// Whether the program found its refresh token refused, and left its mark instead of the login.
    fn is_refused(&self, place: &Place) -> bool {
        match (place.entry.program().refusal, &self.text) {
            (Refusal::EmptyTokens(names), Some(text)) => place.entry.has_empty_tokens(text, names),
            (Refusal::NoFile, None) => true,
            _ => false,
        }
    }

    /// There is nothing to read.
    fn is_missing(&self) -> bool {
        self.text.is_none()
    }
}

/// Where the login of a location lies now.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    target: PathBuf,
    entry: layout::Entry,
}

impl Place {
    /// The file that the program uses, or the one that it used before where only that is there.
    fn of(location: &Location, format: Format) -> Result<Self, Error> {
        let target = symlink::resolve(location.path())?;
        if let Some(legacy) = location.legacy_path()
            && !target.exists()
            && legacy.exists()
        {
            return Ok(Self {
                target: symlink::resolve(legacy)?,
                entry: layout::Entry::of_legacy(location.profile()),
            });
        }
        let entry = layout::Entry::new(format, location.profile());
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

/// Reads without a lock.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_IO`.
pub(super) fn read(
    location: &Location,
    format: Format,
    may: Option<MayBlock>,
) -> Result<Found, Error> {
    let place = Place::of(location, format)?;
    found(location, &place, |item| item.read_recent(may))
}

fn look(location: &Location, place: &Place, may: MayBlock) -> Result<Found, Error> {
    found(location, place, |item| item.read(may))
}

fn found(
    location: &Location,
    place: &Place,
    read_item: impl FnOnce(&KeychainItem) -> Result<Option<Secret>, Error>,
) -> Result<Found, Error> {
    (place.entry.program().elsewhere)(&place.target)?;
    let item = location.keychain_item();
    let held = item.map(read_item).transpose()?.flatten();
    let file = match &held {
        Some(_) => None,
        None => RegularFile::read(&place.target)?,
    };
    let bytes = match (&held, &file) {
        (Some(held), _) => Some(held.expose().as_bytes()),
        (None, Some(file)) => file.bytes(),
        (None, None) => {
            return Ok(Found {
                stored: Stored::Nothing,
                file: None,
                text: None,
                item: item.cloned(),
            });
        }
    };
    let (text, stored) = parse(&place.entry, bytes, &place.target, |snapshot| {
        note::completed(location, snapshot)
    })?;
    Ok(Found {
        stored,
        item: item.filter(|_| file.is_none()).cloned(),
        file,
        text: Some(text),
    })
}

/// What bytes of such a file say; `complete` adds what is known of the login from elsewhere.
fn parse(
    entry: &layout::Entry,
    bytes: Option<&[u8]>,
    target: &Path,
    complete: impl FnOnce(Snapshot) -> Snapshot,
) -> Result<(JsonText, Stored), Error> {
    let Some(bytes) = bytes else {
        return Err(damaged(target, "it is larger than any credential"));
    };
    let Some((text, members)) = JsonText::parse(bytes) else {
        return Err(damaged(target, "it is not a whole JSON object"));
    };
    match entry.login(&members) {
        Ok(None) => Ok((text, Stored::Nothing)),
        Ok(Some(snapshot)) => Ok((text, Stored::Credential(complete(snapshot)))),
        Err(layout::Wrong(member)) => Err(damaged(
            target,
            &format!("its member \"{member}\" has the wrong type"),
        )),
    }
}

/// `STORE_CORRUPT` in words. The file is another program's: it is neither moved nor written.
fn damaged(path: &Path, why: &str) -> Error {
    Error::new(
        ErrorCode::StoreCorrupt,
        format!(
            "{} cannot be used: {why}. Mend it with the program that it belongs to; it is left as it is.",
            path.display()
        ),
    )
}
