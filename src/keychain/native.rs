//! The keychains of macOS and Windows, through the stores of keyring.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use keyring_core::api::CredentialStoreApi as _;
use keyring_core::{Entry, Error};
use zeroize::Zeroizing;

use super::parts::Entries;
use super::{Failure, SERVICE};

#[cfg(target_os = "macos")]
use apple_native_keyring_store::keychain::Store;
#[cfg(windows)]
use windows_native_keyring_store::Store;

/// `CRED_MAX_CREDENTIAL_BLOB_SIZE`
#[cfg(windows)]
const ENTRY_LIMIT: usize = 2560;
#[cfg(not(windows))]
const ENTRY_LIMIT: usize = usize::MAX;

/// Runs work that is waited for that long. Neither system can be told to give up: a call that asks a person goes on
/// without us, on its own thread.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce(&mut dyn Entries) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new()
        .name("keychain".to_owned())
        .spawn(move || drop(sender.send(work(&mut Native))))
        .map_err(|error| Failure::Unreachable(error.to_string()))?;
    match receiver.recv_timeout(limit) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(Failure::TimedOut),
        Err(RecvTimeoutError::Disconnected) => {
            Err(Failure::Refused("it stopped unexpectedly".to_owned()))
        }
    }
}

struct Native;

impl Native {
    fn entry(name: &str) -> Result<Entry, Failure> {
        Store::new()
            .and_then(|store| store.build(SERVICE, name, None))
            .map_err(|error| failure(&error))
    }
}

impl Entries for Native {
    fn limit(&self) -> usize {
        ENTRY_LIMIT
    }

    fn set(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
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
        Error::NoStorageAccess(cause) => Failure::Unreachable(cause.to_string()),
        Error::PlatformFailure(cause) => Failure::Refused(cause.to_string()),
        Error::TooLong(..) => Failure::Refused("an entry is too long for it".to_owned()),
        _ => Failure::Refused("it could not do what it was asked".to_owned()),
    }
}
