//! Calls the service; each failure names the person's next step in the program that answers.

use std::time::Duration;

use zbus::{Error, ObjectPath, OwnedObjectPath, OwnedVariant, Variant};

use super::super::failure::Failure;
use super::bus::{Asked, Bus, ENDED, Share, described, name_of, unreachable};
use super::program::Program;

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const DBUS_ERROR: &str = "org.freedesktop.DBus.Error.";

/// The service on the bus.
pub(super) struct Service {
    bus: Bus,
}

impl Service {
    /// Connects, and opens a session with it.
    pub(super) fn connect(limit: Duration) -> Result<(Self, OwnedObjectPath), Failure> {
        let (bus, session) = Bus::connect(limit)?;
        Ok((Self { bus }, session))
    }

    /// Whether it is a `KWallet` that has opened that wallet for its own protocol already.
    pub(super) fn has_open_wallet(&self, wallet: &str) -> bool {
        self.program().has_open_wallet(&self.bus, wallet)
    }

    /// The program that answers.
    pub(super) fn program(&self) -> Program {
        Program::of(&self.bus)
    }

    /// Calls a method of the service.
    pub(super) fn call<B, T>(
        &self,
        path: &ObjectPath<'_>,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<T, Failure>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: serde::de::DeserializeOwned + zbus::Type,
    {
        self.ask(path, interface, method, body)
            .map_err(|error| self.failure(error))
    }

    /// Calls a method; `None` if the service does not know it.
    pub(super) fn call_if_known<B, T>(
        &self,
        path: &ObjectPath<'_>,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Option<T>, Failure>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: serde::de::DeserializeOwned + zbus::Type,
    {
        self.if_known(self.ask(path, interface, method, body))
    }

    /// Calls a method; `None` if the object does not exist, or no longer.
    pub(super) fn call_if_there<B, T>(
        &self,
        path: &ObjectPath<'_>,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Option<T>, Failure>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: serde::de::DeserializeOwned + zbus::Type,
    {
        match self.ask(path, interface, method, body) {
            Ok(answer) => Ok(Some(answer)),
            Err(Asked::Answered(error)) if is_gone(&name_of(&error)) => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn ask<B, T>(
        &self,
        path: &ObjectPath<'_>,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<T, Asked>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: serde::de::DeserializeOwned + zbus::Type,
    {
        let interface = format!("org.freedesktop.Secret.{interface}");
        self.bus
            .ask(self.bus.service(), path, &interface, method, body)
    }

    /// A property of the service; none if it does not know it.
    pub(super) fn property<T>(
        &self,
        path: &ObjectPath<'_>,
        interface: &str,
        name: &str,
    ) -> Result<Option<T>, Failure>
    where
        T: TryFrom<OwnedVariant>,
    {
        let interface = format!("org.freedesktop.Secret.{interface}");
        let value: Result<OwnedVariant, Asked> = self.bus.ask(
            self.bus.service(),
            path,
            PROPERTIES,
            "Get",
            &(interface, name),
        );
        Ok(self
            .if_known(value)?
            .and_then(|value| T::try_from(value).ok()))
    }

    /// Whether a keyring is locked; none if it is not there, or not any more.
    pub(super) fn is_locked(&self, keyring: &ObjectPath<'_>) -> Result<Option<bool>, Failure> {
        let interface = "org.freedesktop.Secret.Collection";
        let value: Result<OwnedVariant, Asked> = self.bus.ask(
            self.bus.service(),
            keyring,
            PROPERTIES,
            "Get",
            &(interface, "Locked"),
        );
        match value {
            Err(Asked::Answered(error)) if is_gone(&name_of(&error)) => Ok(None),
            value => Ok(Some(
                self.if_known(value)?
                    .and_then(|value| bool::try_from(value).ok())
                    .unwrap_or(false),
            )),
        }
    }

    /// Sets a property of the service.
    pub(super) fn set(
        &self,
        path: &ObjectPath<'_>,
        interface: &str,
        name: &str,
        value: Variant<'_>,
    ) -> Result<(), Failure> {
        let interface = format!("org.freedesktop.Secret.{interface}");
        let set = self.bus.ask(
            self.bus.service(),
            path,
            PROPERTIES,
            "Set",
            &(interface, name, value),
        );
        set.map_err(|error| self.failure(error))
    }

    /// Runs a prompt of the service until it is completed; dismisses it when its time is over.
    ///
    /// # Errors
    /// [`Failure::Declined`] if it was not granted.
    pub(super) fn run_prompt(&self, prompt: &OwnedObjectPath, share: Share) -> Result<(), Failure> {
        match self.bus.run_prompt(prompt, share) {
            Ok(Some(false)) => Ok(()),
            Ok(_) => Err(self.declined()),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Lets a prompt go that is not to be run.
    pub(super) fn dismiss(&self, prompt: &OwnedObjectPath) {
        self.bus.dismiss(prompt);
    }

    pub(super) fn declined(&self) -> Failure {
        Failure::Declined(self.program().way_out())
    }

    fn if_known<T>(&self, answer: Result<T, Asked>) -> Result<Option<T>, Failure> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Asked::Answered(error)) if is_unknown(&name_of(&error)) => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn failure(&self, error: Asked) -> Failure {
        let error = match error {
            Asked::TimedOut => return Failure::TimedOut,
            Asked::Ended => return ended(),
            Asked::Answered(error) => error,
        };
        let name = name_of(&error);
        if name == "org.freedesktop.Secret.Error.IsLocked" {
            return Failure::Locked(self.program().way_out());
        }
        if is_absent(&name) {
            return ended();
        }
        if matches!(error, Error::InputOutput(_) | Error::Connection(..)) {
            return unreachable(&error);
        }
        let reason = described(&error);
        Failure::Refused(match self.program().name().as_str() {
            "" => reason,
            program => format!("{program}: {reason}"),
        })
    }
}

fn ended() -> Failure {
    Failure::Unreachable(ENDED.to_owned())
}

/// The errors by which the D-Bus specification reports a missing method, interface or property.
fn is_unknown(error: &str) -> bool {
    error.strip_prefix(DBUS_ERROR).is_some_and(|error| {
        matches!(
            error,
            "UnknownMethod" | "UnknownInterface" | "UnknownProperty" | "NotSupported"
        )
    })
}

/// For an object that is not there, or not any more.
fn is_gone(error: &str) -> bool {
    error == "org.freedesktop.Secret.Error.NoSuchObject"
        || error
            .strip_prefix(DBUS_ERROR)
            // gnome-keyring 42 says `UnknownMethod`.
            .is_some_and(|error| matches!(error, "UnknownObject" | "UnknownMethod"))
}

/// The connection that has opened the session is closed.
fn is_absent(error: &str) -> bool {
    error
        .strip_prefix(DBUS_ERROR)
        .is_some_and(|error| matches!(error, "ServiceUnknown" | "NameHasNoOwner" | "NoReply"))
}
