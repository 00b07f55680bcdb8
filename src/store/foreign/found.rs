//! The contents of a program's file.

use std::path::Path;

use crate::blocking::{Look, MayBlock};
use crate::error::{Error, ErrorCode};
use crate::fs::regular_file::RegularFile;
use crate::secret::Secret;
use crate::store::credential::{Snapshot, Stored};
use crate::store::json_text::JsonText;

use super::entry::Entry;
use super::keychain_item::KeychainItem;
use super::layout::{Owner, Wrong};
use super::note;
use super::place::Place;
use super::program::Refusal;
use super::target::Target;

/// The contents of a program's file.
pub(in crate::store) struct Found {
    pub(in crate::store) stored: Stored,
    /// `None` where there is no file.
    pub(in crate::store) file: Option<RegularFile>,
    /// `None` where there is neither file nor item.
    pub(super) text: Option<JsonText>,
    /// The text came from this item of the keychain, or would be written there.
    pub(super) item: Option<KeychainItem>,
}

impl Found {
    /// The owner of the login.
    pub(super) fn owner(&self, target: &Target) -> Owner {
        self.text
            .as_ref()
            .map(|text| target.entry.owner(text))
            .unwrap_or_default()
    }

    /// Whether the program found its refresh token refused, and left its mark instead of the login.
    pub(super) fn is_refused(&self, target: &Target) -> bool {
        match (target.entry.program().refusal, &self.text) {
            (Refusal::EmptyTokens(names), Some(text)) => target.entry.has_empty_tokens(text, names),
            (Refusal::NoFile, None) => true,
            _ => false,
        }
    }

    /// There is nothing to read.
    pub(super) fn is_missing(&self) -> bool {
        self.text.is_none()
    }
}

/// Reads without a lock.
///
/// # Errors
/// `STORE_CORRUPT`, `STORE_IO`.
pub(in crate::store) fn read(place: &Place, look: Look) -> Result<Found, Error> {
    let target = Target::of(place, look)?;
    found(place, &target, look, |item| {
        item.read_recent(&place.clock, look)
    })
}

pub(super) fn look(place: &Place, target: &Target, may: MayBlock) -> Result<Found, Error> {
    found(place, target, may.into(), |item| {
        item.read(&place.clock, may)
    })
}

fn found(
    place: &Place,
    target: &Target,
    look: Look,
    read_item: impl FnOnce(&KeychainItem) -> Result<Option<Secret>, Error>,
) -> Result<Found, Error> {
    (target.entry.program().elsewhere)(&target.file, look)?;
    let item = place.item();
    let held = item.map(read_item).transpose()?.flatten();
    let file = match &held {
        Some(_) => None,
        None => RegularFile::read(&target.file, look)?,
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
    let (text, stored) = parse(&target.entry, bytes, &target.file, |snapshot| {
        note::completed(place, snapshot, look)
    })?;
    Ok(Found {
        stored,
        item: item.filter(|_| file.is_none()).cloned(),
        file,
        text: Some(text),
    })
}

/// Reads the bytes of such a file; `complete` adds values of the login that are kept elsewhere.
pub(super) fn parse(
    entry: &Entry,
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
        Err(Wrong(member)) => Err(damaged(
            target,
            &format!("its member \"{member}\" has the wrong type"),
        )),
    }
}

/// `STORE_CORRUPT` in words. The file is another program's: it is neither moved nor written.
pub(super) fn damaged(path: &Path, why: &str) -> Error {
    Error::new(
        ErrorCode::StoreCorrupt,
        format!(
            "{} cannot be used: {why}. Mend it with the program that it belongs to; it is left as it is.",
            path.display()
        ),
    )
}
