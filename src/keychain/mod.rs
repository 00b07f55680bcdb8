//! Secrets in the system's keychain: Secret Service on Linux, Keychain Services on macOS, Credential Manager on Windows.
//!
//! Every operation ends within [`LIMIT`], and none ever opens a dialog: a keychain that is locked is an error that says
//! so. Blocks: not for a thread that others wait for. Only the build with the feature `keychain` can do any of it.

#[cfg(all(feature = "keychain", any(target_os = "macos", windows)))]
mod native;
mod parts;
#[cfg(all(feature = "keychain", target_os = "linux"))]
mod secret_service;

#[cfg(feature = "keychain")]
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::secret::Secret;

#[cfg(all(feature = "keychain", any(target_os = "macos", windows)))]
use native::within;
#[cfg(all(feature = "keychain", target_os = "linux"))]
use secret_service::within;

#[cfg(not(feature = "keychain"))]
use parts::Entries;

/// Whether this build can reach a keychain at all.
pub(crate) const IS_BUILT_IN: bool = cfg!(feature = "keychain");

/// What holds one of these exists only in a build that can reach a keychain: elsewhere it costs nothing, not even code.
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

/// How long an operation may take.
const LIMIT: Duration = Duration::from_secs(3);

/// What all our entries have in common.
#[cfg(feature = "keychain")]
const SERVICE: &str = "clawdbot-plugin-auth";

/// What [`probe`] writes: no secret, for a crash may leave it.
const TRIAL: &str = "clawdbot-plugin-auth tries whether it can write here";

/// Why the keychain did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is none, or it does not answer.
    #[cfg(feature = "keychain")]
    Unreachable(String),
    /// It would have to ask a person first.
    #[cfg(feature = "keychain")]
    Locked,
    /// It answered with a failure.
    #[cfg(feature = "keychain")]
    Refused(String),
    /// It took longer than [`LIMIT`].
    #[cfg(feature = "keychain")]
    TimedOut,
    /// This build knows none.
    #[cfg(not(feature = "keychain"))]
    NotBuiltIn,
}

#[cfg(feature = "keychain")]
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(
                f,
                "The system's keychain cannot be reached ({why}). Start it in the session of this process ({HOW_TO_START})"
            ),
            Self::Locked => f.write_str("The system's keychain is locked. Unlock it"),
            Self::Refused(why) => write!(
                f,
                "The system's keychain refused ({why}). Look at it with the system's own tool for passwords"
            ),
            Self::TimedOut => write!(
                f,
                "The system's keychain did not answer within {} s. It may be waiting for a person: unlock it",
                LIMIT.as_secs()
            ),
        }
    }
}

#[cfg(feature = "keychain")]
const HOW_TO_START: &str = if cfg!(target_os = "linux") {
    "a Secret Service such as gnome-keyring or KeePassXC on the D-Bus session bus that DBUS_SESSION_BUS_ADDRESS names"
} else {
    "on servers, log in with storage: \"file\" instead"
};

impl Failure {
    /// `STORE_IO` in words, or `INVALID_CONFIG` in a build that knows no keychain. `kept` is what the keychain holds the
    /// secrets of, and what stays as it is.
    #[cfg(feature = "keychain")]
    pub(crate) fn explain(&self, kept: Option<&Path>) -> Error {
        let mut sentence = format!("{self}, then try again.");
        if let Some(path) = kept {
            let kept = format!(
                " The login of {}, whose tokens it holds, is kept.",
                path.display()
            );
            sentence.push_str(&kept);
        }
        Error::new(ErrorCode::StoreIo, sentence).retryable(true)
    }

    #[cfg(not(feature = "keychain"))]
    pub(crate) fn explain(&self, kept: Option<&Path>) -> Error {
        let Self::NotBuiltIn = self;
        let sentence = match kept {
            Some(path) => format!(
                "The tokens of {} lie in the system's keychain, which this call does not look into. Give `storage: \"keychain\"` \
                 in the config and add the package clawdbot-plugin-auth-keychain, or log in again.",
                path.display()
            ),
            None => "The system's keychain takes the package clawdbot-plugin-auth-keychain: add it, or give `storage: \"file\"`."
                .to_owned(),
        };
        Error::new(ErrorCode::InvalidConfig, sentence)
    }
}

/// Keeps a secret under that name, in place of an older one.
pub(crate) fn put(name: &str, secret: &Secret) -> Result<(), Failure> {
    let (name, secret) = (name.to_owned(), secret.clone());
    within(LIMIT, move |entries| {
        parts::put(entries, &name, secret.expose().as_bytes())
    })
}

/// The secret of that name; none if there is none, or none that is whole.
pub(crate) fn get(name: &str) -> Result<Option<Secret>, Failure> {
    let name = name.to_owned();
    within(LIMIT, move |entries| parts::get(entries, &name))
}

/// Removes the secrets of those names, as far as they are there.
pub(crate) fn remove(names: &[String]) -> Result<(), Failure> {
    let names = names.to_vec();
    within(LIMIT, move |entries| {
        names
            .iter()
            .try_for_each(|name| parts::remove(entries, name))
    })
}

/// Tries whether secrets can be kept: writes, reads and removes one that is none.
pub(crate) fn probe(name: &str) -> Result<Reach, Failure> {
    let name = name.to_owned();
    within(LIMIT, move |entries| {
        parts::put(entries, &name, TRIAL.as_bytes())?;
        let found = parts::get(entries, &name)?;
        parts::remove(entries, &name)?;
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
    _limit: Duration,
    _work: impl FnOnce(&mut dyn Entries) -> Result<T, Failure>,
) -> Result<T, Failure> {
    Err(Failure::NotBuiltIn)
}
