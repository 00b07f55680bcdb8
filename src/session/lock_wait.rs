//! Waiting for the kernel lock (DESIGN 3.5): try-lock with a jittered back-off, looking at the file at each round.

use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::secret::random;
use crate::store::locked::Locked;
use crate::store::location::Location;
use crate::time::BootInstant;

use super::Session;
use super::blocking::blocking;

/// What waiting ended with.
pub(super) enum Waited<T> {
    /// The lock is ours, the credential freshly read.
    Locked(Locked),
    /// What another process wrote in the meantime is all we need.
    Satisfied(T),
}

const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// After this long the holder is slow, and asking it less often costs nobody anything.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENT_WAIT: Duration = Duration::from_millis(50);

impl Session {
    /// Waits until the lock is ours or `satisfied` finds what it wants in the file. Dropping the future gives up.
    pub(super) async fn wait_for_lock<T>(
        &self,
        location: &Location,
        timeout: Duration,
        satisfied: impl Fn() -> Option<T>,
    ) -> Result<Waited<T>, Error> {
        let started = self.clock.boot();
        let mut wait = FIRST_WAIT;
        loop {
            if let Some(locked) = try_lock(location).await? {
                return Ok(Waited::Locked(locked));
            }
            if let Some(value) = satisfied() {
                return Ok(Waited::Satisfied(value));
            }
            let waited = self.clock.boot().since(started);
            if waited >= timeout {
                return Err(locked_out(location, timeout));
            }
            tokio::time::sleep(jittered(wait)?.min(timeout.saturating_sub(waited))).await;
            wait = if waited >= PATIENCE {
                PATIENT_WAIT
            } else {
                (wait * 2).min(LONGEST_WAIT)
            };
        }
    }

    /// Waits for the lock alone.
    pub(super) async fn lock(
        &self,
        location: &Location,
        timeout: Duration,
    ) -> Result<Locked, Error> {
        match self.wait_for_lock(location, timeout, || None::<()>).await? {
            Waited::Locked(locked) => Ok(locked),
            Waited::Satisfied(()) => Err(locked_out(location, timeout)),
        }
    }

    /// What is left of a limit that began at `since`.
    pub(super) fn remaining(&self, since: BootInstant, limit: Duration) -> Duration {
        limit.saturating_sub(self.clock.boot().since(since))
    }
}

pub(super) async fn try_lock(location: &Location) -> Result<Option<Locked>, Error> {
    let location = location.clone();
    blocking(move || Locked::try_acquire(&location)).await?
}

fn locked_out(location: &Location, timeout: Duration) -> Error {
    let holder =
        Locked::holder(location).map_or_else(String::new, |holder| format!(" Held by {holder}."));
    Error::new(
        ErrorCode::StoreLocked,
        format!(
            "Another process kept the lock of {} for {} s.{holder} Try again; if that process hangs, end it.",
            location.path().display(),
            timeout.as_secs_f64()
        ),
    )
}

/// Between half and the whole of it, so that waiters do not come in step.
fn jittered(wait: Duration) -> Result<Duration, Error> {
    let [random] = random::<1>()?;
    Ok(wait.mul_f64(0.5 + f64::from(random) / 510.0))
}
