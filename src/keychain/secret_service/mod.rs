//! The Secret Service of freedesktop.org on the D-Bus session bus: gnome-keyring, oo7, `KWallet`, `KeePassXC`.
//!
//! Through zbus directly, so that every call is cancelled at the limit. Both the transfer and the daemon belong to this
//! user, hence the algorithm "plain".
//!
//! No window is opened but where a person is: to unlock the default keyring, and to remove an entry.
//! - A keyring is searched only while it says that it is not locked. A search through all keyrings makes `KeePassXC` ask for
//!   its password, and a locked one of `KeePassXC` or oo7 names no entries.
//! - `CreateItem` and `Delete` of `KeePassXC` always answer with a prompt. That of `CreateItem` opens no window in an unlocked
//!   keyring, so it is run. That of `Delete` may, by a person's settings: it is run where a person is, and elsewhere an
//!   entry that is spent is used again instead.

mod address;
mod bus;
mod program;
mod service;

use std::collections::HashMap;

use zbus::{ObjectPath, OwnedObjectPath, Variant};
use zeroize::Zeroizing;

use self::bus::{Share, root};
use self::service::Service;
use super::failure::{Failure, LIMIT};
use super::parts::{self, Entries, SERVICE};
use super::person::Person;

/// The attributes of each entry, by which entries are found.
const ATTRIBUTES: [&str; 2] = ["service", "account"];

/// Separates the name of an entry from its keyring. No part of a D-Bus object path contains it.
const HOME: char = '@';

/// Object path, parameters, value, content type.
type Transferred = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);

/// Entries and keyrings, the service's names for items and collections.
type Paths = Vec<OwnedObjectPath>;

/// Runs work that ends by [`LIMIT`], but for what a person takes.
pub(super) fn within<T>(
    person: Person,
    work: impl FnOnce(&mut dyn Entries) -> Result<T, Failure>,
) -> Result<T, Failure> {
    work(&mut SecretService::connect(person)?)
}

/// Asks a person to unlock the default keyring, if it is locked, in the program's own window, which goes away in the
/// end.
pub(super) fn unlock() -> Result<(), Failure> {
    SecretService::connect(Person::Here)?
        .writable(None)
        .map(drop)
}

/// The suffix of the names of new entries, which names the keyring that holds them; empty without a keyring.
pub(super) fn home() -> Result<String, Failure> {
    let keyring = SecretService::connect(Person::Away)?.writable(None)?;
    Ok(last_part(&keyring).map_or_else(String::new, |home| format!("{HOME}{home}")))
}

/// A session with the service.
struct SecretService {
    service: Service,
    session: OwnedObjectPath,
    person: Person,
}

impl SecretService {
    fn connect(person: Person) -> Result<Self, Failure> {
        let (service, session) = Service::connect(LIMIT)?;
        Ok(Self {
            service,
            session,
            person,
        })
    }

    /// Where new entries go, if the service has such a keyring. It may be locked.
    fn aliased(&self) -> Result<Option<OwnedObjectPath>, Failure> {
        let keyring: OwnedObjectPath =
            self.service
                .call(&root(), "Service", "ReadAlias", &("default",))?;
        Ok((keyring.as_str() != "/").then_some(keyring))
    }

    /// The keyring for a new entry: the one that its name says; else the default one; while that is locked, another
    /// that is open and has entries of ours already. `KeePassXC` calls the database the default that a person looks
    /// at.
    fn writable(&self, home: Option<&str>) -> Result<OwnedObjectPath, Failure> {
        let (default, others) = self.keyrings()?;
        let default =
            default.ok_or_else(|| Failure::NoKeyring(self.service.program().way_out()))?;
        let is_open = |keyring: &OwnedObjectPath| {
            self.service
                .is_locked(keyring)
                .map(|is_locked| is_locked == Some(false))
        };
        for keyring in std::iter::once(&default).chain(&others) {
            if home.is_some() && home == last_part(keyring) && is_open(keyring)? {
                return Ok(keyring.clone());
            }
        }
        if !self.is_locked(&default)? {
            return Ok(default);
        }
        let ours = HashMap::from([(ATTRIBUTES[0], SERVICE)]);
        for keyring in others {
            if is_open(&keyring)? && !self.search(&keyring, &ours)?.is_empty() {
                return Ok(keyring);
            }
        }
        if self.unlocks(&default, self.person)? {
            return Ok(default);
        }
        Err(self.locked())
    }

    /// The default keyring, if there is one, and the others.
    fn keyrings(&self) -> Result<(Option<OwnedObjectPath>, Paths), Failure> {
        let default = self.aliased()?;
        let mut others: Paths = self
            .service
            .property(&root(), "Service", "Collections")?
            .unwrap_or_default();
        others.retain(|keyring| Some(keyring) != default.as_ref());
        Ok((default, others))
    }

    /// # Errors
    /// [`Failure::NoKeyring`] if it is not there any more.
    fn is_locked(&self, keyring: &OwnedObjectPath) -> Result<bool, Failure> {
        self.service
            .is_locked(keyring)?
            .ok_or_else(|| Failure::NoKeyring(self.service.program().way_out()))
    }

    fn locked(&self) -> Failure {
        Failure::Locked(self.service.program().way_out())
    }

    /// Unlocks a keyring, and says whether it is unlocked then. One without a password opens by itself, one of
    /// `KWallet` by a prompt without a window.
    fn unlocks(&self, keyring: &OwnedObjectPath, person: Person) -> Result<bool, Failure> {
        let (unlocked, prompt): (Paths, OwnedObjectPath) =
            self.service
                .call(&root(), "Service", "Unlock", &(vec![keyring],))?;
        if unlocked.contains(keyring) {
            return Ok(true);
        }
        let share = match person {
            _ if prompt.as_str() == "/" => return Ok(false),
            Person::Here => Share::OfAPerson,
            Person::Away if self.is_open_kwallet(keyring) => Share::Half,
            Person::Away => {
                self.service.dismiss(&prompt);
                return Ok(false);
            }
        };
        match self.service.run_prompt(&prompt, share) {
            Ok(()) => Ok(!self.is_locked(keyring)?),
            Err(Failure::Declined(_)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// `KWallet` says "locked" for a wallet that the session's login has opened; its prompt completes at once then,
    /// without a window (kwalletd5 5.103).
    fn is_open_kwallet(&self, keyring: &OwnedObjectPath) -> bool {
        let label: Result<Option<String>, Failure> =
            self.service.property(keyring, "Collection", "Label");
        label.is_ok_and(|label| label.is_some_and(|wallet| self.service.has_open_wallet(&wallet)))
    }

    /// All entries of that name in keyrings that are unlocked.
    ///
    /// # Errors
    /// Where there is no such entry, but there may be one in a keyring that is locked, or not there now. To have it
    /// `gone` it is enough that the keyring which has taken it can be asked: a copy in another is none of ours.
    fn find(&self, name: &str, gone: bool) -> Result<Paths, Failure> {
        let (default, others) = self.keyrings()?;
        let mut are_all_there = default.is_some();
        let home = home_in(name);
        let mut is_home_there = home.is_none();
        let mut entries = Vec::new();
        let (mut unlocked, mut locked) = (Vec::new(), Vec::new());
        for keyring in default.into_iter().chain(others) {
            let Some(is_locked) = self.service.is_locked(&keyring)? else {
                // Deleted, but for its alias perhaps.
                are_all_there = false;
                continue;
            };
            is_home_there |= home.is_some() && home == last_part(&keyring);
            if is_locked {
                locked.push(keyring);
            } else {
                entries.extend(self.search(&keyring, &attributes(name))?);
                unlocked.push(keyring);
            }
        }
        if !entries.is_empty() {
            // A copy in a locked keyring is no reason to unlock it.
            return Ok(entries);
        }
        let mut are_all_unlocked = true;
        for keyring in locked {
            if self.unlocks(&keyring, Person::Away)? {
                entries.extend(self.search(&keyring, &attributes(name))?);
                unlocked.push(keyring);
            } else {
                are_all_unlocked = false;
            }
        }
        if !entries.is_empty() {
            return Ok(entries);
        }
        let mut is_home_unlocked = false;
        // One that was locked meanwhile has named no entries.
        for keyring in unlocked {
            let is_unlocked = !self.is_locked(&keyring)?;
            are_all_unlocked &= is_unlocked;
            is_home_unlocked |= is_unlocked && home.is_some() && home == last_part(&keyring);
        }
        match home {
            _ if gone && is_home_unlocked => Ok(entries),
            _ if !are_all_unlocked => Err(self.locked()),
            // Closed, deleted, or of another program than the one that answers now.
            Some(home) if !is_home_there => Err(Failure::Elsewhere(
                home.to_owned(),
                self.service.program().way_out(),
            )),
            // KeePassXC without a database that is open, or gnome-keyring before it was first unlocked.
            _ if !are_all_there => Err(Failure::NoKeyring(self.service.program().way_out())),
            _ => Ok(entries),
        }
    }

    /// The entries with these attributes in a keyring that is unlocked.
    fn search(
        &self,
        keyring: &OwnedObjectPath,
        attributes: &HashMap<&str, &str>,
    ) -> Result<Paths, Failure> {
        let attributes = (attributes,);
        if let Some(entries) =
            self.service
                .call_if_known(keyring, "Collection", "SearchItems", &attributes)?
        {
            return Ok(entries);
        }
        let (unlocked, _locked): (Paths, Paths) =
            self.service
                .call(&root(), "Service", "SearchItems", &attributes)?;
        Ok(unlocked)
    }

    /// Reads the entries of that name, without empty ones and those that are listed but no longer exist.
    fn values(&self, name: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, Failure> {
        let mut values = Vec::new();
        for entry in self.find(name, false)? {
            let found: Option<Transferred> =
                self.service
                    .call_if_there(&entry, "Item", "GetSecret", &(&self.session,))?;
            if let Some((_, _, value, _)) = found
                && !value.is_empty()
            {
                values.push(Zeroizing::new(value));
            }
        }
        Ok(values)
    }

    /// # Errors
    /// [`Failure::Declined`] where only a prompt would say whether it opens a window, and nobody is there.
    fn delete(&self, entry: &OwnedObjectPath) -> Result<(), Failure> {
        let prompt: OwnedObjectPath = self.service.call(entry, "Item", "Delete", &())?;
        match self.person {
            _ if prompt.as_str() == "/" => Ok(()),
            Person::Here => self.service.run_prompt(&prompt, Share::HalfOfAPerson),
            Person::Away => {
                self.service.dismiss(&prompt);
                Err(self.service.declined())
            }
        }
    }

    fn write(&self, entry: &OwnedObjectPath, bytes: &[u8]) -> Result<(), Failure> {
        let content_type = self.service.program().content_type();
        let secret = (&self.session, Vec::<u8>::new(), bytes, content_type);
        self.service
            .call(entry, "Item", "SetSecret", &(secret,))
            .map_err(|failure| failure.without(bytes))
    }

    /// Makes an entry that is spent into one of that name. First its secret: by its old name it is worth no less with
    /// the new one, should this process end.
    fn reuse(&self, entry: &OwnedObjectPath, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.write(entry, bytes)?;
        self.service
            .set(entry, "Item", "Attributes", Variant::from(attributes(name)))?;
        // For a person who looks at it; it is found by its attributes.
        let _may_stay = self
            .service
            .set(entry, "Item", "Label", Variant::from(label(name)));
        Ok(())
    }
}

impl Entries for SecretService {
    fn limit(&self) -> usize {
        // A message of D-Bus holds 128 MiB, a credential file 4 MiB.
        usize::MAX
    }

    fn writes_later(&self) -> bool {
        self.service.program().writes_later()
    }

    fn set(&mut self, name: &str, bytes: &[u8], spent: &[String]) -> Result<(), Failure> {
        let keyring = self.writable(home_in(name))?;
        // By `CreateItem` KeePassXC may ask a person before it replaces an entry.
        if let Some(entry) = self.search(&keyring, &attributes(name))?.first() {
            return self.write(entry, bytes);
        }
        let properties: HashMap<&str, Variant<'_>> = HashMap::from([
            (
                "org.freedesktop.Secret.Item.Label",
                Variant::from(label(name)),
            ),
            (
                "org.freedesktop.Secret.Item.Attributes",
                Variant::from(attributes(name)),
            ),
        ]);
        let content_type = self.service.program().content_type();
        let secret = (&self.session, Vec::<u8>::new(), bytes, content_type);
        let created: Result<(OwnedObjectPath, OwnedObjectPath), Failure> = self.service.call(
            &keyring,
            "Collection",
            "CreateItem",
            &(properties, secret, true),
        );
        let (item, prompt) = created.map_err(|failure| failure.without(bytes))?;
        match (item.as_str(), prompt.as_str()) {
            ("/", "/") => return Err(Failure::Refused("it made no entry".to_owned())),
            ("/", _) => {}
            _ => return Ok(()),
        }
        // Locked meanwhile: then the prompt is for a person's password.
        if self.is_locked(&keyring)? {
            self.service.dismiss(&prompt);
            return Err(self.locked());
        }
        // One that makes entries by prompts removes them by prompts.
        for name_of_spent in spent {
            if let Some(entry) = self.search(&keyring, &attributes(name_of_spent))?.first()
                && self.reuse(entry, name, bytes).is_ok()
            {
                self.service.dismiss(&prompt);
                return Ok(());
            }
        }
        self.service.run_prompt(&prompt, Share::Half)
    }

    fn get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let found = self.values(name);
        let values = match &found {
            Ok(values) if !values.is_empty() => found?,
            // If another process has just removed the entry, or the keyring was just locked, programs answer in many
            // ways, KWallet with an empty secret. The search decides.
            Ok(_) | Err(Failure::Refused(_)) => self.values(name)?,
            Err(_) => found?,
        };
        let is_whole =
            |value: &&Zeroizing<Vec<u8>>| parts::opened(value).is_some_and(|(n, _)| n == 1);
        let value = values.iter().find(is_whole).or_else(|| values.first());
        Ok(value.cloned())
    }

    fn has(&mut self, name: &str) -> Result<bool, Failure> {
        Ok(!self.find(name, true)?.is_empty())
    }

    fn remove(&mut self, name: &str) -> Result<bool, Failure> {
        let entries = self.find(name, true)?;
        let mut failure = None;
        // Try every entry, even if others fail.
        for entry in &entries {
            failure = self.delete(entry).err().or(failure);
        }
        match failure {
            // Not where another process has removed it just now.
            Some(failure) if !self.find(name, true)?.is_empty() => Err(failure),
            _ => Ok(!entries.is_empty()),
        }
    }
}

/// The name of the keyring in which an entry of that name was made, as [`home`] said.
fn home_in(name: &str) -> Option<&str> {
    let (_, home) = name.rsplit_once(HOME)?;
    // Names of older versions have none.
    (!home.contains('/')).then_some(home)
}

/// The part of its path that identifies a keyring.
fn last_part<'a>(keyring: &'a ObjectPath<'_>) -> Option<&'a str> {
    keyring.as_str().rsplit('/').next()
}

fn label(name: &str) -> String {
    format!("{SERVICE}: {name}")
}

fn attributes(name: &str) -> HashMap<&str, &str> {
    ATTRIBUTES.into_iter().zip([SERVICE, name]).collect()
}
