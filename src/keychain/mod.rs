//! Secrets in the system's keychain: Secret Service on Linux, Keychain Services on macOS, Credential Manager on
//! Windows.
//!
//! Every operation ends within [`failure::LIMIT`] and opens no window: a keychain that is locked is an error that says
//! so. Only [`unlock`] and [`remove`] may open one, where a [`Person`] is. Blocks: not for a thread that others wait
//! for. Only the build with the feature `keychain` can do any of it.

mod failure;
#[cfg(all(feature = "keychain", any(target_os = "macos", windows)))]
mod native;
mod parts;
mod person;
#[cfg(all(feature = "keychain", target_os = "linux"))]
mod secret_service;

use crate::blocking::MayBlock;
use crate::secret::Secret;
use failure::Failure;

pub(crate) use person::Person;

#[cfg(all(feature = "keychain", target_os = "macos"))]
use native::unlock as unlock_with_a_person;
#[cfg(all(feature = "keychain", any(target_os = "macos", windows)))]
use native::within;
#[cfg(all(feature = "keychain", target_os = "linux"))]
use secret_service::{home as home_of_new_entries, unlock as unlock_with_a_person, within};

#[cfg(not(feature = "keychain"))]
use parts::Entries;

/// Whether this build can reach a keychain at all.
pub(crate) const IS_BUILT_IN: bool = cfg!(feature = "keychain");

/// Proof that this build can reach a keychain. In other builds the type has no value, so the code that needs one is
/// left out.
#[cfg(feature = "keychain")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach;
#[cfg(not(feature = "keychain"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {}

impl Reach {
    #[cfg(feature = "keychain")]
    pub(crate) const OURS: Option<Self> = Some(Self);
    #[cfg(not(feature = "keychain"))]
    pub(crate) const OURS: Option<Self> = None;
}

/// The value that [`probe`] writes. It is no secret, because a crash may leave it behind.
const TRIAL: &str = "clawdbot-plugin-auth tries whether it can write here";

/// The suffix of the names of new secrets. On Linux it names the keyring, because the keyring may be closed, or belong
/// to a program that is not running, when the secret is read.
pub(crate) fn home(_: MayBlock) -> String {
    #[cfg(all(feature = "keychain", target_os = "linux"))]
    return home_of_new_entries().unwrap_or_default();
    #[cfg(not(all(feature = "keychain", target_os = "linux")))]
    String::new()
}

/// Keeps a secret under that name, in place of an older one. A program that asks a person before it removes an entry
/// makes one of `spent` into it.
pub(crate) fn put(
    name: &str,
    secret: &Secret,
    spent: &[String],
    _: MayBlock,
) -> Result<(), Failure> {
    let (name, secret, spent) = (name.to_owned(), secret.clone(), spent.to_vec());
    within(Person::Away, move |entries| {
        parts::put(entries, &name, secret.expose().as_bytes(), &spent)
    })
}

/// Reads the secret of that name; `None` if there is none, or it is incomplete.
pub(crate) fn get(name: &str, _: MayBlock) -> Result<Option<Secret>, Failure> {
    let name = name.to_owned();
    within(Person::Away, move |entries| parts::get(entries, &name))
}

/// The result of removing secrets.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// The names to be tried again later: those that failed; and from a program that writes later than it says, those
    /// that were there until now.
    pub(crate) on_record: Vec<String>,
    /// The names that are there still, or may be.
    pub(crate) left: Vec<String>,
}

impl Removal {
    /// Nothing could be removed.
    pub(crate) fn failed(names: &[String]) -> Self {
        Self {
            on_record: names.to_vec(),
            left: names.to_vec(),
        }
    }
}

/// Removes the secrets of those names, as far as possible. `spared` stays where the keychain reports success before it
/// has written: its replacement may not be written yet. A program that asks a person first keeps all of them in a
/// session without a person.
pub(crate) fn remove(
    names: &[String],
    spared: Option<&str>,
    person: Person,
    _: MayBlock,
) -> Removal {
    if names.is_empty() {
        return Removal::default();
    }
    let (wanted, spared) = (names.to_vec(), spared.map(str::to_owned));
    let removed = within(person, move |entries| {
        let mut removal = Removal::default();
        let writes_later = entries.writes_later();
        for name in wanted {
            if writes_later && spared.as_ref() == Some(&name) {
                removal.on_record.push(name);
                continue;
            }
            match parts::remove(entries, &name) {
                Ok(was_there) if was_there && writes_later => removal.on_record.push(name),
                Ok(_) => {}
                Err(_) => {
                    removal.on_record.push(name.clone());
                    removal.left.push(name);
                }
            }
        }
        Ok(removal)
    });
    removed.unwrap_or_else(|_| Removal::failed(names))
}

/// Lists which of these names the keychain has.
pub(crate) fn held(names: &[String], _: MayBlock) -> Result<Vec<String>, Failure> {
    let mut names = names.to_vec();
    within(Person::Away, move |entries| {
        let mut failure = Ok(());
        names.retain(|name| match entries.has(name) {
            Ok(is_there) => is_there,
            Err(error) => {
                failure = Err(error);
                true
            }
        });
        failure.map(|()| names)
    })
}

/// Asks a person to unlock the keychain, if it is locked, in the keychain's own window. Whether it can be used
/// afterwards is for the next operation to say.
pub(crate) fn unlock(_: MayBlock) {
    #[cfg(all(feature = "keychain", not(windows)))]
    let _is_unlocked: Result<(), Failure> = unlock_with_a_person();
}

/// Checks whether secrets can be kept: writes, reads and removes a test value. The value stays with a program that
/// asks a person before it removes an entry.
pub(crate) fn probe(name: &str, _: MayBlock) -> Result<Reach, Failure> {
    let name = name.to_owned();
    within(Person::Away, move |entries| {
        parts::put(entries, &name, TRIAL.as_bytes(), &[])?;
        let found = parts::get(entries, &name)?;
        match parts::remove(entries, &name) {
            #[cfg(all(feature = "keychain", target_os = "linux"))]
            Err(Failure::Declined(_)) => {}
            removed => drop(removed?),
        }
        match (found, Reach::OURS) {
            (Some(found), Some(reach)) if found.expose() == TRIAL => Ok(reach),
            #[cfg(feature = "keychain")]
            _ => Err(Failure::Refused(
                "it does not give back what it was given".to_owned(),
            )),
            #[cfg(not(feature = "keychain"))]
            _ => Err(Failure::NotBuiltIn),
        }
    })
}

#[cfg(not(feature = "keychain"))]
fn within<T>(
    _person: Person,
    _work: impl FnOnce(&mut dyn Entries) -> Result<T, Failure>,
) -> Result<T, Failure> {
    Err(Failure::NotBuiltIn)
}
