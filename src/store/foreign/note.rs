//! A note with the values of a login that its file has no place for. It holds no secret, and applies only to the login
//! that it was written for; losing it costs a back-off.

use std::path::Path;

use crate::blocking::{Look, MayBlock};
use crate::error::Error;
use crate::fs::private_dir;
use crate::fs::regular_file::RegularFile;
use crate::secret::Fingerprint;
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::format::{self, Document};
use crate::store::journal::Journal;
use crate::store::members::Members;
use crate::store::small_file::put;

use super::place::Place;

/// The login that it is about.
const IDENTITY: &str = "identity";

/// A login with what the note adds, if it is about that one.
pub(super) fn completed(place: &Place, login: Snapshot, look: Look) -> Snapshot {
    let Some(document) = of(place, &login.identity, look) else {
        return login;
    };
    let Ok(noted) = format::outline(&Members(document.members()), login.identity.clone()) else {
        return login;
    };
    let mut outline = noted;
    outline.expires = login.expires();
    outline.refreshable = login.is_refreshable();
    outline.is_refreshed_ahead = login.is_refreshed_ahead();
    outline.is_refreshed_in_json = login.is_refreshed_in_json();
    outline.scopes = login.scopes().map(<[String]>::to_vec).or(outline.scopes);
    outline.client_id = login.client_id().map(str::to_owned).or(outline.client_id);
    login.with_outline(&outline)
}

/// Writes it for a login that was just stored.
pub(super) fn keep(place: &Place, credential: &NewCredential, may: MayBlock) -> Result<(), Error> {
    let mut document =
        Document::of_credential(Document::default(), credential, None, None).without_secrets();
    document.set(
        IDENTITY,
        Some(credential.snapshot().identity.as_str().into()),
    );
    write(place, &document, may)
}

/// Adds what a failed refresh taught.
pub(super) fn record(
    place: &Place,
    identity: &Fingerprint,
    last_refresh: &LastRefresh,
    may: MayBlock,
) -> Result<(), Error> {
    let document = of(place, identity, may.into()).unwrap_or_else(|| {
        let mut document = Document::versioned();
        document.set(IDENTITY, Some(identity.as_str().into()));
        document
    });
    write(place, &document.with_last_refresh(last_refresh), may)
}

fn of(place: &Place, identity: &Fingerprint, look: Look) -> Option<Document> {
    let path = place.note();
    let file = RegularFile::read(path, look).ok()??;
    let document = Document::from_json(file.bytes()?)?;
    format::require_version(document.members(), &path.display()).ok()?;
    let about = document.members().get(IDENTITY)?.as_str()?;
    (about == identity.as_str()).then_some(document)
}

/// Removes what a killed writer has left. Only the holder of the login's lock may.
pub(super) fn discard_leftovers(place: &Place, may: MayBlock) {
    Journal::of(place.note()).discard(&Stored::Nothing, may);
}

fn write(place: &Place, document: &Document, may: MayBlock) -> Result<(), Error> {
    let path = place.note();
    private_dir::ensure_ours(path.parent().unwrap_or(Path::new(".")), may)?;
    put(path, &document.to_json(), None, may)
}
