//! Why a keychain did not do what it was asked, and what a person does about it.

use std::path::Path;
#[cfg(feature = "keychain")]
use std::time::Duration;

use crate::error::{Error, ErrorCode};

/// How long an operation may take.
#[cfg(feature = "keychain")]
pub(super) const LIMIT: Duration = Duration::from_secs(3);

/// Why a request to the keychain failed. The last part is the person's next step in the program that answers: a
/// sentence after a space, or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no keychain, or it does not answer.
    #[cfg(feature = "keychain")]
    Unreachable(String),
    /// The keychain would have to ask a person for a password first. That of Windows is never locked.
    #[cfg(all(feature = "keychain", not(windows)))]
    Locked(String),
    /// There is no keyring for new entries; earlier keyrings may come back.
    #[cfg(all(feature = "keychain", target_os = "linux"))]
    NoKeyring(String),
    /// The keyring of this name, which holds the entry, is not there now.
    #[cfg(all(feature = "keychain", target_os = "linux"))]
    Elsewhere(String, String),
    /// The keychain asked a person for permission and did not get it.
    #[cfg(all(feature = "keychain", target_os = "linux"))]
    Declined(String),
    /// The keychain answered with a failure.
    #[cfg(feature = "keychain")]
    Refused(String),
    /// The call took longer than [`LIMIT`].
    #[cfg(feature = "keychain")]
    TimedOut,
    /// This build knows none.
    #[cfg(not(feature = "keychain"))]
    NotBuiltIn,
}

#[cfg(feature = "keychain")]
impl Failure {
    /// A sentence: the failure, and the next step.
    fn sentence(&self) -> String {
        match self {
            Self::Unreachable(why) => format!(
                "The system's keychain cannot be reached ({why}). Start it in the session of this process ({HOW_TO_START}), or \
                 log in with `storage: \"file\"` where there is none, then try again."
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
            Self::Elsewhere(keyring, _) => format!(
                "The system's keychain does not have the keyring \"{keyring}\" now, which holds the tokens. Start the program that \
                 it belongs to, or open it, then try again. If it is gone, log in again."
            ),
            #[cfg(target_os = "linux")]
            Self::Declined(_) => "The system's keychain asked a person for a permission that it did not get in time. Allow it, \
                                  then try again."
                .to_owned(),
            Self::Refused(why) => format!(
                "The system's keychain refused ({why}). Look at it with the system's own tool for passwords, then try again."
            ),
            Self::TimedOut => format!(
                "The system's keychain did not answer within {} s. It may be waiting for a person, or hang: unlock it, or start it \
                 again, then try again.",
                LIMIT.as_secs()
            ),
        }
    }

    fn way_out(&self) -> &str {
        match self {
            #[cfg(not(windows))]
            Self::Locked(way_out) => way_out,
            #[cfg(target_os = "linux")]
            Self::NoKeyring(way_out) | Self::Elsewhere(_, way_out) | Self::Declined(way_out) => {
                way_out
            }
            Self::Unreachable(_) | Self::Refused(_) | Self::TimedOut => "",
        }
    }

    /// Without a reason that quotes a part of the secret.
    #[cfg(target_os = "linux")]
    pub(super) fn without(self, secret: &[u8]) -> Self {
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

/// Shortens a program's message to one line of letters, digits and ASCII.
#[cfg(feature = "keychain")]
pub(super) fn clean(text: &str) -> String {
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
    "that of a person who is logged in"
};

impl Failure {
    /// `STORE_IO` in words, or `INVALID_CONFIG` in a build that knows no keychain. `kept` is what the keychain holds
    /// the secrets of, and what stays as it is.
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
