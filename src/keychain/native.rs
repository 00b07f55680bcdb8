//! The keychains of macOS and Windows, through the stores of keyring. That of Windows was run under Wine, that of
//! macOS linked alone (docs/operations/platforms.md).
//!
//! macOS opens its windows by itself, so they are switched off for this process while work is done, except in
//! [`unlock`]. Windows opens none.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};

use keyring_core::api::CredentialStoreApi as _;
use keyring_core::{Entry, Error};
use zeroize::Zeroizing;

use super::failure::{Failure, LIMIT, clean};
use super::parts::{Entries, SERVICE};
#[cfg(target_os = "macos")]
use super::person::PATIENCE;
use super::person::Person;

#[cfg(target_os = "macos")]
use apple_native_keyring_store::keychain::Store;
#[cfg(target_os = "macos")]
use security_framework::os::macos::keychain::SecKeychain;
#[cfg(windows)]
use windows_native_keyring_store::Store;

/// `CRED_MAX_CREDENTIAL_BLOB_SIZE`
#[cfg(windows)]
const ENTRY_LIMIT: usize = 2560;
#[cfg(not(windows))]
const ENTRY_LIMIT: usize = usize::MAX;

/// Runs `work` and waits that long for it. Neither system can cancel a call: one that asks a person goes on by itself,
/// on its own thread.
pub(super) fn within<T: Send + 'static>(
    _person: Person,
    work: impl FnOnce(&mut dyn Entries) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new()
        .name("keychain".to_owned())
        .spawn(move || {
            // Where that fails, the limit is still kept.
            #[cfg(target_os = "macos")]
            let _no_windows = SecKeychain::disable_user_interaction();
            drop(sender.send(work(&mut Native)));
        })
        .map_err(|error| Failure::Unreachable(error.to_string()))?;
    match receiver.recv_timeout(LIMIT) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(Failure::TimedOut),
        Err(RecvTimeoutError::Disconnected) => {
            Err(Failure::Refused("it stopped unexpectedly".to_owned()))
        }
    }
}

/// Asks a person to unlock the default keychain of macOS, if it is locked. That of Windows is never locked.
#[cfg(target_os = "macos")]
pub(super) fn unlock() -> Result<(), Failure> {
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new()
        .name("keychain".to_owned())
        .spawn(move || {
            let unlocked = SecKeychain::default().and_then(|mut keychain| keychain.unlock(None));
            let _nobody_may_wait = sender.send(unlocked.is_ok());
        })
        .map_err(|error| Failure::Unreachable(error.to_string()))?;
    if receiver.recv_timeout(PATIENCE) != Ok(true) {
        return Err(Failure::Locked(String::new()));
    }
    Ok(())
}

struct Native;

impl Native {
    fn entry(name: &str) -> Result<Entry, Failure> {
        // Not "enterprise", which roams with the profile to machines that have no file for it.
        #[cfg(windows)]
        let modifiers = std::collections::HashMap::from([("persistence", "local")]);
        #[cfg(windows)]
        let modifiers = Some(&modifiers);
        #[cfg(not(windows))]
        let modifiers = None;
        Store::new()
            .and_then(|store| store.build(SERVICE, name, modifiers))
            .map_err(|error| failure(&error))
    }
}

impl Entries for Native {
    fn limit(&self) -> usize {
        ENTRY_LIMIT
    }

    fn set(&mut self, name: &str, bytes: &[u8], _spent: &[String]) -> Result<(), Failure> {
        Self::entry(name)?
            .set_secret(bytes)
            .map_err(|error| failure(&error))
    }

    fn get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        match Self::entry(name)?.get_secret() {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }

    fn remove(&mut self, name: &str) -> Result<bool, Failure> {
        match Self::entry(name)?.delete_credential() {
            Ok(()) => Ok(true),
            Err(Error::NoEntry) => Ok(false),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// Without the values that some of keyring's errors hold.
fn failure(error: &Error) -> Failure {
    match error {
        #[cfg(target_os = "macos")]
        Error::PlatformFailure(cause) if wants_a_person(&**cause) => Failure::Locked(
            " macOS asks about it at the next login of this plugin: log in again where a person is.".to_owned(),
        ),
        Error::NoStorageAccess(cause) => Failure::Unreachable(clean(&cause.to_string())),
        Error::PlatformFailure(cause) => Failure::Refused(clean(&cause.to_string())),
        Error::TooLong(..) => Failure::Refused("an entry is too long for it".to_owned()),
        _ => Failure::Refused("it could not do what it was asked".to_owned()),
    }
}

/// The call would have asked a person: errSecAuthFailed, errSecInteractionNotAllowed, errSecInteractionRequired.
#[cfg(target_os = "macos")]
fn wants_a_person(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = cause.downcast_ref::<security_framework::base::Error>();
    error.is_some_and(|error| matches!(error.code(), -25293 | -25308 | -25315))
}

#[cfg(test)]
#[cfg(windows)]
mod tests {
    use super::*;

    /// In the form that a reader finds, even if this version would write another.
    fn persistence(name: &str) -> String {
        let found = Store::new().unwrap().build(SERVICE, name, None).unwrap();
        found.get_attributes().unwrap()["persistence"].clone()
    }

    #[test]
    fn an_entry_stays_on_this_machine_and_is_gone_when_removed() {
        let name = format!("test {}", std::process::id());
        let mut entries = Native;
        entries.set(&name, b"secret", &[]).unwrap();
        // CRED_PERSIST_LOCAL_MACHINE: "enterprise" would roam to machines that have no file for it.
        assert_eq!(persistence(&name), "Local");
        assert_eq!(entries.get(&name).unwrap().unwrap().as_slice(), b"secret");
        assert!(entries.remove(&name).unwrap());
        assert!(entries.get(&name).unwrap().is_none());
        assert!(!entries.remove(&name).unwrap());
    }
}
