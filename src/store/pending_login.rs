//! The login of an account that waits for a person: one at a time, across all processes and copies of this program.
//!
//! Its lock file holds the instructions shown to the person, so that a second caller of the same login shows the same
//! code. Deleting the file ends the login: its holder checks that before it stores anything.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::blocking::MayBlock;
use crate::error::Error;
use crate::fs::lock::Lock;
use crate::fs::private_dir;
use crate::secret::Fingerprint;
use crate::store::format::Document;
use crate::store::location::Location;
use crate::store::members::Members;
use crate::time::UnixMillis;

/// The instructions shown to the person, and the request that they belong to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    /// Server, client and scopes.
    pub(crate) asked_for: Fingerprint,
    /// `user_code`
    pub(crate) user_code: String,
    /// `verification_uri`
    pub(crate) verification_uri: String,
    /// `verification_uri_complete`
    pub(crate) verification_uri_complete: Option<String>,
    /// When it is worth nothing any more.
    pub(crate) expires_at: UnixMillis,
}

/// Held while a login waits for the person. Dropping it lets the next login begin.
#[derive(Clone, Debug)]
pub(crate) struct PendingLogin(Option<Arc<Lock>>);

impl PendingLogin {
    /// Takes its place; none if another login has it. In a given store there is no place, and every login has its own.
    ///
    /// # Errors
    /// `STORE_IO` if the lock file cannot be made.
    pub(crate) fn begin(location: &Location, may: MayBlock) -> Result<Option<Self>, Error> {
        let Some(path) = location.pending() else {
            return Ok(Some(Self(None)));
        };
        private_dir::ensure_exists(path.parent().unwrap_or(Path::new(".")), may)?;
        let lock = Lock::try_acquire_passing(&path, may)?;
        Ok(lock.map(|lock| Self(Some(Arc::new(lock)))))
    }

    /// Says to others what the person is shown. Best effort.
    pub(crate) fn show(&self, shown: &Shown, may: MayBlock) {
        let Some(lock) = &self.0 else {
            return;
        };
        let mut document = Document::versioned();
        let text = |text: &str| Some(Value::from(text));
        document.set("askedFor", text(shown.asked_for.as_str()));
        document.set("userCode", text(&shown.user_code));
        document.set("verificationUri", text(&shown.verification_uri));
        document.set(
            "verificationUriComplete",
            shown.verification_uri_complete.as_deref().map(Value::from),
        );
        document.set("expiresAt", Some(Value::from(shown.expires_at.0)));
        lock.publish(&[&document.to_json()[..], b"\0"].concat(), may);
    }

    /// Hides the instructions again, before the result is stored. Best effort.
    pub(crate) fn hide(&self, may: MayBlock) {
        if let Some(lock) = &self.0 {
            lock.publish(b"\0", may);
        }
    }

    /// The instructions of the running login; `None` before it shows them and once it is being stored.
    pub(crate) fn shown(location: &Location, may: MayBlock) -> Option<Shown> {
        let document = Document::from_json(&Lock::published(&location.pending()?, may)?)?;
        let members = Members(document.members());
        let text = |name| members.text(name).ok().flatten();
        Some(Shown {
            asked_for: Fingerprint::from_stored(&text("askedFor")?),
            user_code: text("userCode")?,
            verification_uri: text("verificationUri")?,
            verification_uri_complete: text("verificationUriComplete"),
            expires_at: members.time("expiresAt").ok()??,
        })
    }

    /// Ends the login that is under way, if there is one: its holder stores nothing any more.
    pub(crate) fn end(location: &Location, may: MayBlock) {
        if let Some(path) = location.pending() {
            Lock::withdraw(&path, may);
        }
    }

    /// Whether a logout ends it. Where it has no place, its holder compares what is stored.
    pub(crate) fn has_place(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it was ended.
    pub(crate) fn is_ended(&self, may: MayBlock) -> bool {
        self.0.as_ref().is_some_and(|lock| lock.is_withdrawn(may))
    }
}
