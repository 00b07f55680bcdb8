//! The Secret Service of freedesktop.org on the D-Bus session bus: gnome-keyring, `KWallet`, `KeePassXC`.
//!
//! Through zbus directly: every call is cancelled at the limit, and nothing is ever asked of a person. Both the transfer
//! and the daemon are this user's own, hence the algorithm "plain".

use std::collections::HashMap;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout_at};
use zbus::{Connection, Error, Message, ObjectPath, OwnedObjectPath, OwnedVariant, Variant};
use zeroize::Zeroizing;

use super::parts::Entries;
use super::{Failure, SERVICE};

const BUS_NAME: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";

/// What an attribute of each entry says, so that the entries are found.
const ATTRIBUTES: [&str; 2] = ["service", "account"];

/// Object path, parameters, value, content type.
type Transferred = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);

/// A session with the service.
struct SecretService {
    // Dropped before the runtime that reads for it.
    connection: Connection,
    session: OwnedObjectPath,
    runtime: Runtime,
    deadline: Instant,
}

/// Runs work that ends by then.
pub(super) fn within<T>(
    limit: Duration,
    work: impl FnOnce(&mut dyn Entries) -> Result<T, Failure>,
) -> Result<T, Failure> {
    work(&mut SecretService::connect(limit)?)
}

impl SecretService {
    fn connect(limit: Duration) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        let opened = runtime.block_on(async {
            let deadline = Instant::now() + limit;
            let opening = async {
                let connection = Connection::session().await?;
                let reply = connection
                    .call_method(
                        Some(BUS_NAME),
                        ROOT,
                        Some("org.freedesktop.Secret.Service"),
                        "OpenSession",
                        &("plain", Variant::from("")),
                    )
                    .await?;
                let (_, session): (OwnedVariant, OwnedObjectPath) = reply.body().deserialize()?;
                Ok((connection, session, deadline))
            };
            timeout_at(deadline, opening).await
        });
        let (connection, session, deadline) = opened
            .map_err(|_| Failure::TimedOut)?
            .map_err(|error: Error| unreachable(&error))?;
        Ok(Self {
            connection,
            session,
            runtime,
            deadline,
        })
    }

    fn call<B>(
        &self,
        path: &ObjectPath<'_>,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, Failure>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let interface = format!("org.freedesktop.Secret.{interface}");
        let call = self.connection.call_method(
            Some(BUS_NAME),
            path,
            Some(interface.as_str()),
            method,
            body,
        );
        self.runtime
            .block_on(async { timeout_at(self.deadline, call).await })
            .map_err(|_| Failure::TimedOut)?
            .map_err(|error| refused(&error))
    }

    /// The entry of that name, unlocked.
    fn find(&self, name: &str) -> Result<Option<OwnedObjectPath>, Failure> {
        let reply = self.call(&root(), "Service", "SearchItems", &(attributes(name),))?;
        let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) = read(&reply)?;
        if let Some(found) = unlocked.into_iter().next() {
            return Ok(Some(found));
        }
        match locked.into_iter().next() {
            Some(found) => {
                self.unlock(&found)?;
                Ok(Some(found))
            }
            None => Ok(None),
        }
    }

    /// Where new entries go.
    fn default_collection(&self) -> Result<OwnedObjectPath, Failure> {
        let reply = self.call(&root(), "Service", "ReadAlias", &("default",))?;
        let collection: OwnedObjectPath = read(&reply)?;
        if collection.as_str() == "/" {
            return Err(Failure::Refused("it has no default keyring".to_owned()));
        }
        self.unlock(&collection)?;
        Ok(collection)
    }

    /// Some keyrings open without a person: those without a password. A prompt is not shown.
    fn unlock(&self, object: &OwnedObjectPath) -> Result<(), Failure> {
        let reply = self.call(&root(), "Service", "Unlock", &(vec![object],))?;
        let (unlocked, _prompt): (Vec<OwnedObjectPath>, OwnedObjectPath) = read(&reply)?;
        if unlocked.contains(object) {
            Ok(())
        } else {
            Err(Failure::Locked)
        }
    }
}

impl Entries for SecretService {
    fn limit(&self) -> usize {
        // A message of D-Bus holds 128 MiB, a credential file 4 MiB.
        usize::MAX
    }

    fn set(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let collection = self.default_collection()?;
        let properties: HashMap<&str, Variant<'_>> = HashMap::from([
            (
                "org.freedesktop.Secret.Item.Label",
                Variant::from(format!("{SERVICE}: {name}")),
            ),
            (
                "org.freedesktop.Secret.Item.Attributes",
                Variant::from(attributes(name)),
            ),
        ]);
        let secret = (&self.session, Vec::<u8>::new(), bytes, "text/plain");
        let reply = self.call(
            &collection,
            "Collection",
            "CreateItem",
            &(properties, secret, true),
        )?;
        let (item, _prompt): (OwnedObjectPath, OwnedObjectPath) = read(&reply)?;
        if item.as_str() == "/" {
            return Err(Failure::Locked);
        }
        Ok(())
    }

    fn get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let Some(item) = self.find(name)? else {
            return Ok(None);
        };
        let reply = self.call(&item, "Item", "GetSecret", &(&self.session,))?;
        let (_, _, value, _): Transferred = read(&reply)?;
        Ok(Some(Zeroizing::new(value)))
    }

    fn remove(&mut self, name: &str) -> Result<bool, Failure> {
        let Some(item) = self.find(name)? else {
            return Ok(false);
        };
        let reply = self.call(&item, "Item", "Delete", &())?;
        let prompt: OwnedObjectPath = read(&reply)?;
        if prompt.as_str() == "/" {
            Ok(true)
        } else {
            Err(Failure::Locked)
        }
    }
}

fn attributes(name: &str) -> HashMap<&str, &str> {
    ATTRIBUTES.into_iter().zip([SERVICE, name]).collect()
}

fn root() -> ObjectPath<'static> {
    ObjectPath::from_static_str_unchecked(ROOT)
}

fn read<T>(reply: &Message) -> Result<T, Failure>
where
    T: serde::de::DeserializeOwned + zbus::Type,
{
    reply
        .body()
        .deserialize_ignore_signature()
        .map_err(|error| refused(&error))
}

/// Before there is a session, the service is not there.
fn unreachable(error: &Error) -> Failure {
    Failure::Unreachable(described(error))
}

fn refused(error: &Error) -> Failure {
    match error {
        Error::MethodError(name, ..)
            if name.as_str() == "org.freedesktop.Secret.Error.IsLocked" =>
        {
            Failure::Locked
        }
        Error::InputOutput(_) | Error::Connection(..) => unreachable(error),
        _ => Failure::Refused(described(error)),
    }
}

/// In one line, without what a daemon may have quoted.
fn described(error: &Error) -> String {
    match error {
        Error::MethodError(name, ..) => name.as_str().to_owned(),
        Error::FDO(error) => error.to_string(),
        _ => error.to_string(),
    }
}
