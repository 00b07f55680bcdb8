//! Credentials whose secret members lie in the system's keychain. The file names them and holds the rest:
//! `"storage": "keychain"`, `"secretsId"`, `"refreshable"`, and in `"formerSecrets"` what else may have to be removed.
//!
//! Secrets never change under their name, and the file is what counts:
//! 1. a temp file names the new secrets before there are any: whatever a crash leaves can be found;
//! 2. the keychain gets them;
//! 3. the rename makes them the stored ones;
//! 4. the former ones are removed; their names stay in the file until the next write, should that have failed.
//!
//! A temp file whose secrets the keychain does not have was left between 1 and 2, and is worth nothing.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, ErrorCode};
use crate::keychain;
use crate::secret::{Fingerprint, Secret, hex, random};
use crate::store::credential::{Outline, Secrets, Snapshot};
use crate::store::format::{Document, Members, Wrong, secrets};

/// The members that a keychain keeps.
const SECRET_MEMBERS: [&str; 3] = ["access", "refresh", "idToken"];

const STORAGE: &str = "storage";
const KEYCHAIN: &str = "keychain";
const SECRETS_ID: &str = "secretsId";
const REFRESHABLE: &str = "refreshable";
const FORMER: &str = "formerSecrets";

/// Whether this build can open what is sealed.
pub(crate) const CAN_OPEN: bool = keychain::IS_BUILT_IN;

/// Where secrets are to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the credential file.
    File,
    /// In the system's keychain.
    Keychain,
}

/// What the file says of secrets in a keychain: their name, and whether there is a refresh token among them.
pub(super) fn marker(members: &Members<'_>) -> Result<Option<(String, bool)>, Wrong> {
    match members.text(STORAGE)?.as_deref() {
        None => Ok(None),
        Some(KEYCHAIN) => {
            let name = members.text(SECRETS_ID)?.ok_or(Wrong(SECRETS_ID))?;
            Ok(Some((name, members.flag(REFRESHABLE)?.unwrap_or(false))))
        }
        Some(_) => Err(Wrong(STORAGE)),
    }
}

/// Identifies secrets by their name, which no others ever have.
pub(super) fn identity(name: &str) -> Fingerprint {
    Fingerprint::of(&[KEYCHAIN, name])
}

/// A name that was never used: plugin and profile, for a person who looks through the keychain, and chance.
///
/// # Errors
/// `STORE_IO` without randomness.
pub(super) fn new_name(target: &Path) -> Result<String, Error> {
    Ok(format!("{}/{}", owner(target), hex(&random::<16>()?)))
}

/// Tries whether the keychain takes secrets, before anything depends on it.
///
/// # Errors
/// `STORE_IO`, or `INVALID_CONFIG` in a build that knows no keychain.
pub(super) fn probe(target: &Path) -> Result<(), Error> {
    keychain::probe(&format!("{}/trial", owner(target))).map_err(|failure| failure.explain(None))
}

fn owner(target: &Path) -> String {
    let name = |part: Option<&std::ffi::OsStr>| -> String {
        let name = part.unwrap_or_default().to_string_lossy();
        name.chars().take(128).collect()
    };
    let folder = target.parent().and_then(Path::file_name);
    format!("{}/{}", name(folder), name(target.file_stem()))
}

impl Document {
    /// Takes the secret members out, and names them.
    pub(super) fn sealed(mut self, name: &str) -> (Self, Secret) {
        let mut taken = Self::default();
        for member in SECRET_MEMBERS {
            taken.set(member, self.members().get(member).cloned());
            self.set(member, None);
        }
        let refreshable = taken.members().contains_key("refresh");
        self.set(STORAGE, Some(KEYCHAIN.into()));
        self.set(SECRETS_ID, Some(name.into()));
        self.set(REFRESHABLE, Some(refreshable.into()));
        let mut bytes = taken.to_json();
        // Printed from strings, so it is UTF-8.
        let text = String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_default();
        (self, Secret::new(text))
    }

    /// The same with its secret members back.
    pub(super) fn joined(mut self, taken: &Self) -> Self {
        for (member, value) in taken.members() {
            self.set(member, Some(value.clone()));
        }
        self
    }

    /// Records which secrets are to be removed once this document is stored.
    pub(super) fn set_former(&mut self, names: Vec<String>) {
        self.set(FORMER, (!names.is_empty()).then(|| names.into()));
    }

    /// Removes those secrets. What could not be removed stays on record.
    pub(super) fn forget_former(&mut self) {
        if forget(&self.former()) {
            self.set_former(Vec::new());
        }
    }

    /// The names of the secrets that this document has replaced, as far as they may still be there.
    pub(super) fn former(&self) -> Vec<String> {
        let list = self.members().get(FORMER).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    }

    /// The same, and its own: what a document that takes its place has to remove.
    pub(super) fn superseded(&self) -> Vec<String> {
        let mut names = self.former();
        names.extend(self.secrets_id().map(str::to_owned));
        names
    }

    /// The name of its secrets in the keychain.
    pub(super) fn secrets_id(&self) -> Option<&str> {
        self.members().get(SECRETS_ID).and_then(Value::as_str)
    }
}

/// The secrets of an outline from the keychain, and the members that they came as; none if they are gone.
///
/// # Errors
/// `STORE_IO` if the keychain cannot be asked now; `INVALID_CONFIG` in a build that knows none.
pub(super) fn open(outline: &Outline, path: &Path) -> Result<Option<(Snapshot, Document)>, Error> {
    let Some(name) = &outline.secrets_id else {
        return Ok(None);
    };
    let found = keychain::get(name).map_err(|failure| failure.explain(Some(path)))?;
    Ok(found.and_then(|text| of_text(outline, &text)))
}

/// What was written to the keychain, read back.
pub(super) fn of_text(outline: &Outline, text: &Secret) -> Option<(Snapshot, Document)> {
    let document = Document::from_json(text.expose().as_bytes())?;
    let secrets: Secrets = secrets(&Members(document.members())).ok()?;
    Some((Snapshot::new(outline.clone(), secrets), document))
}

/// The keychain can be asked, and does not have what the file names.
pub(super) fn gone(path: &Path) -> Error {
    Error::new(
        ErrorCode::LoginRequired,
        format!(
            "The system's keychain no longer holds the tokens of {}. If another keychain does, start that one; otherwise log \
             in again.",
            path.display()
        ),
    )
}

/// Removes secrets that nothing names any more; says whether they are gone. Those that stay are named in the file.
pub(super) fn forget(names: &[String]) -> bool {
    names.is_empty() || (keychain::IS_BUILT_IN && keychain::remove(names).is_ok())
}
