//! What we know of a login that its own file has no place for. It holds no secret, and only counts for the very login that it
//! was written about; to lose it costs a back-off.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::identity::Identity;
use crate::fs::private_dir;
use crate::fs::regular_file::RegularFile;
use crate::secret::Fingerprint;
use crate::store::credential::{LastRefresh, NewCredential, Snapshot, Stored};
use crate::store::format::{self, Document};
use crate::store::journal::Journal;
use crate::store::location::Location;
use crate::store::members::Members;
use crate::store::small_file::put;

/// The login that it is about.
const IDENTITY: &str = "identity";

/// A login with what the note adds, if it is about that one.
pub(super) fn completed(location: &Location, login: Snapshot) -> Snapshot {
    let Some(document) = of(location, &login.identity) else {
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

/// What the note was when a login was read.
#[derive(Clone)]
pub(in crate::store) struct SeenNote {
    path: PathBuf,
    identity: Option<Identity>,
}

impl SeenNote {
    /// As it is now; none where there are no notes.
    pub(in crate::store) fn of(location: &Location) -> Option<Self> {
        let path = location.note_path()?.to_owned();
        let identity = Identity::of_path(&path).ok().flatten();
        Some(Self { path, identity })
    }

    /// Whether it has to be read again.
    pub(in crate::store) fn has_changed(&self) -> bool {
        Identity::of_path(&self.path).ok().flatten() != self.identity
    }
}

/// Writes it for a login that was just stored.
pub(super) fn keep(location: &Location, credential: &NewCredential) -> Result<(), Error> {
    let mut document =
        Document::of_credential(Document::default(), credential, None, None).without_secrets();
    document.set(
        IDENTITY,
        Some(credential.snapshot().identity.as_str().into()),
    );
    write(location, &document)
}

/// Adds what a failed refresh taught.
pub(super) fn record(
    location: &Location,
    identity: &Fingerprint,
    last_refresh: &LastRefresh,
) -> Result<(), Error> {
    let document = of(location, identity).unwrap_or_else(|| {
        let mut document = Document::versioned();
        document.set(IDENTITY, Some(identity.as_str().into()));
        document
    });
    write(location, &document.with_last_refresh(last_refresh))
}

fn of(location: &Location, identity: &Fingerprint) -> Option<Document> {
    let path = location.note_path()?;
    let file = RegularFile::read(path).ok()??;
    let document = Document::from_json(file.bytes()?)?;
    format::require_version(document.members(), path).ok()?;
    let about = document.members().get(IDENTITY)?.as_str()?;
    (about == identity.as_str()).then_some(document)
}

/// Removes what a killed writer has left. Only the holder of the login's lock may.
pub(super) fn discard_leftovers(location: &Location) {
    if let Some(path) = location.note_path() {
        Journal::of(path).discard(&Stored::Nothing);
    }
}

fn write(location: &Location, document: &Document) -> Result<(), Error> {
    let Some(path) = location.note_path() else {
        return Ok(());
    };
    private_dir::ensure_ours(path.parent().unwrap_or(Path::new(".")))?;
    put(path, &document.to_json(), None)
}
