//! Whether a person is there.

#[cfg(all(feature = "keychain", not(windows)))]
use std::time::Duration;

/// Whether a person is there, for the keychain's own windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    /// At a login or a logout.
    Here,
    Away,
}

/// How long a person has to answer them. Windows opens none.
#[cfg(all(feature = "keychain", not(windows)))]
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
