//! The host that runs this process, as far as it decides where logins are kept. JavaScript finds it out
//! (lib/running-host.js) and says it once.

use std::sync::atomic::{AtomicU32, Ordering};

static RUNNING: AtomicU32 = AtomicU32::new(0);

/// The places that the running host reads, as bits: three variables, three folders, and its own logins. No bit is set
/// where no host is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunningHost(u32);

impl RunningHost {
    /// The host keeps its own logins in auth-profiles.json.
    const AUTH_PROFILES: u32 = 64;

    /// The host of this process.
    pub(crate) fn current() -> Self {
        Self(RUNNING.load(Ordering::Relaxed))
    }

    /// Sets the host of this process.
    pub(crate) fn is_now(bits: u32) {
        RUNNING.store(bits, Ordering::Relaxed);
    }

    /// Whether anything is known.
    pub(crate) fn is_known(self) -> bool {
        self.0 != 0
    }

    /// Whether it reads this one of `OPENCLAW_STATE_DIR`, `MOLTBOT_STATE_DIR` and `CLAWDBOT_STATE_DIR`.
    pub(crate) fn heeds_variable(self, index: usize) -> bool {
        !self.is_known() || self.0 >> index & 1 == 1
    }

    /// Whether it reads this one of `~/.openclaw`, `~/.clawdbot` and `~/.moltbot`.
    pub(crate) fn heeds_folder(self, index: usize) -> bool {
        self.heeds_variable(index + 3)
    }

    /// `None` where no host is known.
    pub(crate) fn reads_auth_profiles(self) -> Option<bool> {
        self.is_known().then_some(self.0 & Self::AUTH_PROFILES != 0)
    }

    /// A host that reads these places.
    #[cfg(test)]
    pub(crate) fn of(bits: u32) -> Self {
        Self(bits)
    }
}
