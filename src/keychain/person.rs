//! Whether a person is there.

#[cfg(feature = "keychain")]
use std::time::Duration;

/// Whether a person is there, for the keychain's own windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    /// At a login or a logout.
    Here,
    Away,
}

/// How long a person has to answer them.
#[cfg(feature = "keychain")]
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
