//! Secrets in the system's keychain: Secret Service on Linux, Keychain Services on macOS, Credential Manager on Windows.
//!
//! Every operation ends within [`LIMIT`] and opens no window: a keychain that is locked is an error that says so. Only
//! [`unlock`] opens one, because a person is there. Blocks: not for a thread that others wait for. Only the build with the
//! feature `keychain` can do any of it.

#[cfg(all(feature = "keychain", any(target_os = "macos", windows)))]
mod native;
mod parts;
#[cfg(all(feature = "keychain", target_os = "linux"))]
mod secret_service;

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::secret::Secret;

#[cfg(all(feature = "keychain", any(target_os = "macos", windows)))]
use native::{unlock as unlock_within, within};
#[cfg(all(feature = "keychain", target_os = "linux"))]
use secret_service::{unlock as unlock_within, within};

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

/// How long a person has to type the keychain's password.
#[cfg(feature = "keychain")]
const LIMIT_OF_A_PERSON: Duration = Duration::from_secs(30);

/// What all our entries have in common.
#[cfg(feature = "keychain")]
const SERVICE: &str = "clawdbot-plugin-auth";

/// What [`probe`] writes: no secret, for a crash may leave it.
const TRIAL: &str = "clawdbot-plugin-auth tries whether it can write here";

/// Why the keychain did not do what it was asked. What a person does about it in the program that answers stands at the
/// end, as a sentence after a space, or is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is none, or it does not answer.
    #[cfg(feature = "keychain")]
    Unreachable(String),
    /// It would have to ask a person for a password first. That of Windows is never locked.
    #[cfg(all(feature = "keychain", not(windows)))]
    Locked(String),
    /// It has no keyring for new entries; those that it had may come back.
    #[cfg(all(feature = "keychain", target_os = "linux"))]
    NoKeyring(String),
    /// It asked a person for a permission and did not get it.
    #[cfg(all(feature = "keychain", target_os = "linux"))]
    Declined(String),
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
impl Failure {
    /// What happened, and what to do.
    fn sentence(&self) -> String {
        match self {
            Self::Unreachable(why) => format!(
                "The system's keychain cannot be reached ({why}). Start it in the session of this process ({HOW_TO_START}), \
                 then try again."
            ),
            #[cfg(not(windows))]
            Self::Locked(_) => {
                "The system's keychain is locked. Unlock it, then try again.".to_owned()
            }
            #[cfg(target_os = "linux")]
            Self::NoKeyring(_) => "The system's keychain refused (it has no default keyring). Create or unlock one, then try \
                                   again."
                .to_owned(),
            #[cfg(target_os = "linux")]
            Self::Declined(_) => "The system's keychain asked a person for a permission that it did not get in time. Allow it, \
                                  then try again."
                .to_owned(),
            Self::Refused(why) => format!(
                "The system's keychain refused ({why}). Look at it with the system's own tool for passwords, then try again."
            ),
            Self::TimedOut => format!(
                "The system's keychain did not answer within {} s. It may be waiting for a person: unlock it, then try again.",
                LIMIT.as_secs()
            ),
        }
    }

    fn way_out(&self) -> &str {
        match self {
            #[cfg(not(windows))]
            Self::Locked(way_out) => way_out,
            #[cfg(target_os = "linux")]
            Self::NoKeyring(way_out) | Self::Declined(way_out) => way_out,
            Self::Unreachable(_) | Self::Refused(_) | Self::TimedOut => "",
        }
    }

    /// Without a reason that quotes a part of the secret.
    #[cfg(target_os = "linux")]
    fn without(self, secret: &[u8]) -> Self {
        /// Shorter parts are words and numbers.
        const QUOTED: usize = 8;
        let Self::Refused(why) = self else {
            return self;
        };
        let quotes = why
            .as_bytes()
            .windows(QUOTED)
            .any(|part| secret.windows(QUOTED).any(|other| other == part));
        Self::Refused(if quotes {
            "for a reason that quotes the tokens".to_owned()
        } else {
            why
        })
    }
}

/// What a program says, in one short line of letters, digits and ASCII.
#[cfg(feature = "keychain")]
fn clean(text: &str) -> String {
    /// Enough for a sentence.
    const LENGTH: usize = 200;
    /// Letters that show nothing.
    const BLANK: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];
    let shown = |c: char| c.is_ascii_graphic() || (c.is_alphanumeric() && !BLANK.contains(&c));
    let words: String = text
        .chars()
        .map(|c| if shown(c) { c } else { ' ' })
        .collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join(" ").chars().take(LENGTH).collect()
}

#[cfg(feature = "keychain")]
const HOW_TO_START: &str = if cfg!(target_os = "linux") {
    "a Secret Service such as gnome-keyring or KWallet on the D-Bus session bus that DBUS_SESSION_BUS_ADDRESS names"
} else {
    "on servers, log in with storage: \"file\" instead"
};

impl Failure {
    /// `STORE_IO` in words, or `INVALID_CONFIG` in a build that knows no keychain. `kept` is what the keychain holds the
    /// secrets of, and what stays as it is.
    #[cfg(feature = "keychain")]
    pub(crate) fn explain(&self, kept: Option<&Path>) -> Error {
        let mut sentence = self.sentence();
        if let Some(path) = kept {
            let kept = format!(
                " The login of {}, whose tokens it holds, is kept.",
                path.display()
            );
            sentence.push_str(&kept);
        }
        sentence.push_str(self.way_out());
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

/// What became of secrets that were to be removed.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// The names to be tried again later: those that failed; and from a program that writes later than it says, those that
    /// were there until now.
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

/// Removes the secrets of those names, each as far as that can be done. `spared` stays where the keychain writes later than
/// it says: what has replaced it may not be written yet.
pub(crate) fn remove(names: &[String], spared: Option<&str>) -> Removal {
    if names.is_empty() {
        return Removal::default();
    }
    let (wanted, spared) = (names.to_vec(), spared.map(str::to_owned));
    let removed = within(LIMIT, move |entries| {
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

/// Which of these names the keychain has.
pub(crate) fn held(names: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = names.to_vec();
    within(LIMIT, move |entries| {
        let mut failure = Ok(());
        names.retain(|name| match entries.get(name) {
            Ok(found) => found.is_some(),
            Err(error) => {
                failure = Err(error);
                true
            }
        });
        failure.map(|()| names)
    })
}

/// Asks a person to unlock the keychain, if it is locked, in the keychain's own window. Whether it can be used afterwards is
/// for the next operation to say.
pub(crate) fn unlock() {
    #[cfg(feature = "keychain")]
    let _is_unlocked: Result<(), Failure> = unlock_within(LIMIT_OF_A_PERSON);
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
