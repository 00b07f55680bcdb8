//! The fast path of `getValidAccessToken`, on the caller's thread: a token that is fresh is handed out at once.

use std::time::Duration;

use crate::blocking::{Glance, Look};
use crate::secret::Secret;
use crate::store::cache::{Cache, SlotId, Watch};
use crate::store::credential::Stored;
use crate::time::BootInstant;

use super::Session;
use super::accounts::Chosen;
use super::config::AuthConfig;
use super::freshness::Freshness;
use super::last_refresh::refused_access_token;
use super::ownership;

/// A token, and what the fast path needs to hand it out again.
pub(crate) struct FreshToken {
    pub(crate) token: Secret,
    /// To a key: it is of no use without a proof.
    pub(crate) is_bound: bool,
    pub(crate) slot: SlotId,
    pub(crate) generation: u32,
    /// `None`: the next call has to read the file again.
    pub(crate) watch: Option<Watch>,
    /// When the watch expires: at most [`TRUST`] from now. Then config, environment, folders and wall clock are read
    /// again.
    pub(crate) due: BootInstant,
}

/// How long the fast path relies on where the credential was found, and on the wall clock's going on steadily.
const TRUST: Duration = Duration::from_secs(1);

impl Session {
    /// The fast path's first half, on the caller's thread: a fresh token, or none if there is more to do.
    pub(crate) fn fresh_token(&self, config: &AuthConfig, glance: Glance) -> Option<FreshToken> {
        let look = Look::Short(glance);
        let Chosen {
            config, location, ..
        } = &self.choose(config, look).ok()?;
        if self.logins.unsaved(&location.key()).is_some() {
            return None;
        }
        let told = Cache::watch_store(location);
        let (stored, generation) = self.cache.read(location, look, self.clock.boot()).ok()?;
        let Stored::Credential(credential) = stored else {
            return None;
        };
        ownership::check(config, &credential).ok()?;
        ownership::names_a_server(config, &credential).ok()?;
        let assessment = self.assess(location, &credential, config.refresh_buffer);
        if assessment.freshness != Freshness::Fresh
            || refused_access_token(&credential, self.clock.now()).is_some()
        {
            return None;
        }
        let (now, boot) = (self.clock.now(), self.clock.boot());
        let by_wall = assessment.due.map_or(TRUST, |due| due.since(now));
        let trusted = boot.plus(by_wall.min(TRUST));
        let slot = self.cache.slot(location);
        Some(FreshToken {
            token: credential.access().clone(),
            is_bound: credential.is_bound(),
            slot,
            generation,
            watch: told.or_else(|| self.cache.watch(slot, generation)),
            due: assessment
                .due_on_boot_clock
                .map_or(trusted, |due| due.min(trusted)),
        })
    }
}
