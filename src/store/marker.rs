//! The part of a credential file that names secrets in the system's keychain.

use crate::secret::Fingerprint;
use crate::store::members::{Members, Wrong};

pub(super) const STORAGE: &str = "storage";
pub(super) const KEYCHAIN: &str = "keychain";
pub(super) const SECRETS_ID: &str = "secretsId";
pub(super) const REFRESHABLE: &str = "refreshable";
pub(super) const BOUND: &str = "bound";
pub(super) const PREVIOUS: &str = "previousSecretsId";

/// The names of secrets in a keychain.
pub(super) struct Marker {
    pub(super) name: String,
    /// The name of the secrets that a refresh has replaced by these.
    pub(super) previous: Option<String>,
    /// There is a refresh token among them.
    pub(super) refreshable: bool,
    /// There is a key among them that the tokens are bound to.
    pub(super) bound: bool,
}

/// Reads whether secrets are in a keychain, and their names.
pub(super) fn marker(members: &Members<'_>) -> Result<Option<Marker>, Wrong> {
    match members.text(STORAGE)?.as_deref() {
        None => Ok(None),
        Some(KEYCHAIN) => {
            let name = members.text(SECRETS_ID)?.ok_or(Wrong(SECRETS_ID))?;
            Ok(Some(Marker {
                name,
                previous: members.text(PREVIOUS)?,
                refreshable: members.flag(REFRESHABLE)?.unwrap_or(false),
                bound: members.flag(BOUND)?.unwrap_or(false),
            }))
        }
        Some(_) => Err(Wrong(STORAGE)),
    }
}

/// Identifies secrets by their name, which no others ever have.
pub(super) fn identity(name: &str) -> Fingerprint {
    Fingerprint::of(&[KEYCHAIN, name])
}
