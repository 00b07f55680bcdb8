//! Credentials with their secret members in the system's keychain. The file names them and holds the rest: `"storage":
//! "keychain"`, `"secretsId"`, `"refreshable"`, `"bound"`, and in `"formerSecrets"` other entries that may have to be
//! removed.
//!
//! Secrets never change under their name, and the file decides:
//! 1. a temp file names the new secrets before they exist, so that a crash leaves no unknown entry;
//! 2. the keychain gets them;
//! 3. the rename makes them the stored ones;
//! 4. the former ones are removed; if that fails, their names stay in the file until the next write.
//!
//! A temp file with secrets that the keychain does not have was left between 1 and 2, and is worthless.

use std::fmt::Display;
use std::path::Path;

use serde_json::Value;

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::keychain::{self, Person, Reach, Removal};
use crate::secret::{Secret, hex, random};
use crate::store::credential::{Outline, Secrets, Snapshot};
use crate::store::format::{Document, secrets};
use crate::store::marker::{BOUND, KEYCHAIN, PREVIOUS, REFRESHABLE, SECRETS_ID, STORAGE, identity};
use crate::store::members::Members;
use crate::time::UnixMillis;

/// The members that a keychain keeps.
const SECRET_MEMBERS: [&str; 4] = ["access", "refresh", "idToken", "dpopKey"];

const FORMER: &str = "formerSecrets";

/// Whether this build can open what is sealed.
pub(crate) const CAN_OPEN: bool = keychain::IS_BUILT_IN;

/// Where secrets are to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the credential file.
    File,
    /// In the system's keychain.
    Keychain(Reach),
}

/// The name of new secrets in the keychain.
#[derive(Clone, Debug)]
pub(super) struct NewName {
    pub(super) text: String,
    reach: Reach,
}

impl NewName {
    /// One that was never used: plugin and profile, for a person who looks through the keychain, chance, and where it
    /// is kept.
    ///
    /// # Errors
    /// `STORE_IO` without randomness.
    pub(super) fn new(target: &Path, reach: Reach, may: MayBlock) -> Result<Self, Error> {
        let chance = hex(&random::<16>()?);
        let text = format!("{}/{chance}{}", owner(target), keychain::home(may));
        Ok(Self { text, reach })
    }
}

/// Members that came from the keychain.
#[derive(Clone, Debug)]
pub(super) struct OpenedMembers {
    name: String,
    document: Document,
    _reach: Reach,
}

impl OpenedMembers {
    /// Their name there.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A document with these members.
    pub(super) fn joined_to(&self, document: Document) -> Document {
        let mut document = document;
        for (member, value) in self.document.members() {
            document.set(member, Some(value.clone()));
        }
        document
    }
}

/// Tries whether the keychain takes secrets, before anything depends on it.
///
/// # Errors
/// `STORE_IO`, or `INVALID_CONFIG` in a build that knows no keychain.
pub(super) fn probe(target: &Path, may: MayBlock) -> Result<Reach, Error> {
    keychain::probe(&trial(target), may).map_err(|failure| failure.explain(None))
}

/// Removes what such a try may have left.
pub(super) fn forget_trial(target: &Path, may: MayBlock) {
    forget(&[trial(target)], None, Person::Here, may);
}

fn trial(target: &Path) -> String {
    format!("{}/trial", owner(target))
}

/// Asks a person to unlock the keychain, if it is locked, in the keychain's own window.
pub(crate) fn unlock_keychain(may: MayBlock) {
    keychain::unlock(may);
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
    pub(super) fn sealed(mut self, name: &NewName, previous: Option<&str>) -> (Self, Secret) {
        let mut taken = Self::default();
        for member in SECRET_MEMBERS {
            taken.set(member, self.members().get(member).cloned());
            self.set(member, None);
        }
        let refreshable = taken.members().contains_key("refresh");
        let bound = taken.members().contains_key("dpopKey");
        self.set(STORAGE, Some(KEYCHAIN.into()));
        self.set(SECRETS_ID, Some(name.text.as_str().into()));
        self.set(PREVIOUS, previous.map(Into::into));
        self.set(REFRESHABLE, Some(refreshable.into()));
        self.set(BOUND, bound.then_some(true.into()));
        let mut bytes = taken.to_json();
        // Printed from strings, so it is UTF-8.
        let text = String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_default();
        (self, Secret::new(text))
    }

    /// The document without its secrets.
    pub(super) fn without_secrets(mut self) -> Self {
        for member in SECRET_MEMBERS {
            self.set(member, None);
        }
        self
    }

    /// Records which secrets are to be removed once this document is stored.
    pub(super) fn set_former(&mut self, names: Vec<String>) {
        self.set(FORMER, (!names.is_empty()).then(|| names.into()));
    }

    /// Removes those secrets. Secrets that a refresh has just replaced stay in a keychain that reports success before
    /// it has written. Names that could not be removed stay on record. Returns the names left in the keychain.
    pub(super) fn forget_former(&mut self, person: Person, may: MayBlock) -> Vec<String> {
        let former = self.former();
        let removal = forget(&former, self.previous(), person, may);
        if removal.on_record != former {
            self.set_former(removal.on_record);
        }
        removal.left
    }

    /// The name of the secrets that a refresh has replaced by these.
    fn previous(&self) -> Option<&str> {
        self.members().get(PREVIOUS).and_then(Value::as_str)
    }

    /// The names of the secrets that this document has replaced, as far as they may still be there.
    pub(super) fn former(&self) -> Vec<String> {
        let list = self.members().get(FORMER).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    }

    /// The secrets among them that nothing needs once a refresh stores this document.
    pub(super) fn spent(&self) -> Vec<String> {
        let mut spent = self.former();
        spent.retain(|name| self.previous().is_some_and(|previous| previous != name));
        spent
    }

    /// Those secrets and its own: all that a document in its place must remove.
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
/// A keychain that was killed may have lost what it confirmed. Then it has those that they replaced: they count as
/// expired, and the server may still take their refresh token.
///
/// # Errors
/// `STORE_IO` if the keychain cannot be asked now; `INVALID_CONFIG` in a build that knows none.
pub(super) fn open(
    outline: &Outline,
    path: &Path,
    may: MayBlock,
) -> Result<Option<(Snapshot, OpenedMembers)>, Error> {
    let Some(name) = &outline.secrets_id else {
        return Ok(None);
    };
    if let Some(opened) = fetched(outline, name, path, may)? {
        return Ok(Some(opened));
    }
    let Some(previous) = &outline.previous_secrets_id else {
        return Ok(None);
    };
    // It has another identity: the outline of the lost secrets does not apply to these.
    let outline = Outline {
        identity: identity(previous),
        expires: Some(UnixMillis(0)),
        ..outline.clone()
    };
    fetched(&outline, previous, path, may)
}

fn fetched(
    outline: &Outline,
    name: &str,
    path: &Path,
    may: MayBlock,
) -> Result<Option<(Snapshot, OpenedMembers)>, Error> {
    let found = keychain::get(name, may).map_err(|failure| failure.explain(Some(path)))?;
    Ok(Reach::OURS
        .zip(found)
        .and_then(|(reach, text)| opened(outline, &text, name, reach)))
}

/// The secrets written to the keychain under that name, read back from memory.
pub(super) fn written(
    outline: &Outline,
    text: &Secret,
    name: &NewName,
) -> Option<(Snapshot, OpenedMembers)> {
    opened(outline, text, &name.text, name.reach)
}

fn opened(
    outline: &Outline,
    text: &Secret,
    name: &str,
    reach: Reach,
) -> Option<(Snapshot, OpenedMembers)> {
    let document = Document::from_json(text.expose().as_bytes())?;
    let secrets: Secrets = secrets(&Members(document.members())).ok()?;
    let members = OpenedMembers {
        name: name.to_owned(),
        document,
        _reach: reach,
    };
    Some((Snapshot::new(outline.clone(), secrets), members))
}

/// The keychain can be asked, and does not have what the file names.
pub(super) fn gone(place: &dyn Display) -> Error {
    Error::new(
        ErrorCode::LoginRequired,
        format!(
            "The system's keychain no longer holds the tokens of {place}. If another keychain does, start that one; otherwise log \
             in again."
        ),
    )
}

/// The secrets of former logins that the file names and the keychain holds, or may hold; and which of the two.
pub(super) fn left(bytes: &[u8], may: MayBlock) -> Option<(Vec<String>, &'static str)> {
    let document = Document::from_json(bytes)?;
    let mut names = document.former();
    names.retain(|name| Some(name.as_str()) != document.previous());
    if names.is_empty() {
        return None;
    }
    match keychain::held(&names, may) {
        Ok(held) if held.is_empty() => None,
        Ok(held) => Some((held, "The keychain still holds entries of former tokens")),
        Err(_) => Some((
            names,
            "The keychain cannot be asked whether it still holds entries of former tokens",
        )),
    }
}

/// Removes secrets that nothing names any more. Those that stay are named in the file.
pub(super) fn forget(
    names: &[String],
    spared: Option<&str>,
    person: Person,
    may: MayBlock,
) -> Removal {
    if keychain::IS_BUILT_IN {
        keychain::remove(names, spared, person, may)
    } else {
        Removal::failed(names)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files by hand")]
mod tests {
    use super::*;
    use crate::store::credential::Stored;
    use crate::store::credential::tests::sample;
    use crate::store::location::tests::in_state_dir;
    use crate::store::locked::Locked;
    use crate::store::reading;

    const SEALED: &str = r#"{"version":1,"storage":"keychain","secretsId":"demo/default/1","refreshable":true,"expires":1700003600000}"#;

    #[test]
    fn a_sealed_file_is_known_without_its_secrets() {
        let (stored, document) =
            crate::store::format::parse(SEALED.as_bytes(), &"/c.json").unwrap();
        let Stored::Sealed(outline) = &stored else {
            panic!("not sealed");
        };
        assert!(outline.is_refreshable() && outline.is_in_keychain());
        assert_eq!(stored.spendable(), Some(identity("demo/default/1")));
        assert_eq!(document.superseded(), ["demo/default/1"]);
        for wrong in [
            SEALED.replace("\"keychain\"", "\"elsewhere\""),
            SEALED.replace("secretsId", "secrets"),
        ] {
            crate::store::format::parse(wrong.as_bytes(), &"/c.json").unwrap_err();
        }
    }

    #[test]
    fn what_is_superseded_is_on_record_until_it_is_gone() {
        let mut document = Document::from_json(SEALED.as_bytes()).unwrap();
        document.set_former(vec!["older".to_owned()]);
        assert_eq!(document.superseded(), ["older", "demo/default/1"]);
        document.set_former(Vec::new());
        assert_eq!(document.former(), [""; 0]);
    }

    /// The default build's handling of a file that a build with the keychain has written.
    #[test]
    fn who_cannot_open_it_says_so_and_changes_nothing_but_by_a_login() {
        if CAN_OPEN {
            return;
        }
        let folder = tempfile::TempDir::new().unwrap();
        let location = in_state_dir(folder.path(), "demo", "default");
        std::fs::create_dir_all(location.own_folder().unwrap()).unwrap();
        std::fs::write(location.path(), SEALED).unwrap();
        let leftover = location
            .path()
            .with_file_name(".default.json.0123456789abcdef.tmp");
        std::fs::write(
            &leftover,
            SEALED.replace("demo/default/1", "demo/default/2"),
        )
        .unwrap();

        let mut locked = Locked::try_acquire(&location, crate::blocking::MayBlock::in_test())
            .unwrap()
            .unwrap();
        assert_eq!(
            locked
                .open(crate::blocking::MayBlock::in_test())
                .unwrap_err()
                .code(),
            ErrorCode::InvalidConfig
        );
        assert_eq!(
            locked
                .try_keychain(crate::blocking::MayBlock::in_test())
                .unwrap_err()
                .code(),
            ErrorCode::InvalidConfig
        );
        assert!(locked.refresh_token().is_none());
        assert_eq!(std::fs::read_to_string(location.path()).unwrap(), SEALED);
        locked.replace(&sample("a1", Some("r1"))).unwrap();
        let text = std::fs::read_to_string(location.path()).unwrap();
        assert!(
            text.contains("\"formerSecrets\": [\n    \"demo/default/1\""),
            "{text}"
        );
        assert!(
            reading::read(&location, crate::blocking::Look::LONG)
                .unwrap()
                .outline()
                .is_some()
        );
        // It names secrets that only another build can remove.
        assert!(leftover.exists());
    }
}
