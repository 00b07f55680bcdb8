//! Waiting for the kernel lock (docs/design.md 3.5): try-lock with a jittered back-off, looking at the file at each
//! round.

use std::sync::Arc;
use std::time::Duration;

use crate::blocking::{MayBlock, blocking};
use crate::error::{Error, ErrorCode};
use crate::secret::random;
use crate::store::credential::Snapshot;
use crate::store::location::Location;
use crate::store::locked::Locked;

use super::Session;

/// The end of a wait.
pub(super) enum Waited<L, T> {
    /// The lock is taken, and the credential was read under it.
    Locked(L),
    /// The credential that another process has written is enough.
    Satisfied(T),
}

const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(10);
/// After this long the holder is slow, and asking it less often costs nobody anything.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENT_WAIT: Duration = Duration::from_millis(50);

/// The condition that ends a wait, checked by a thread that may block.
pub(super) type Satisfied = Arc<dyn Fn(MayBlock) -> Option<Snapshot> + Send + Sync>;

impl Session {
    /// Waits until the lock is taken or the file meets `satisfied`. Dropping the future gives up.
    pub(super) async fn wait_for_lock(
        &self,
        location: &Location,
        timeout: Duration,
        satisfied: Satisfied,
    ) -> Result<Waited<Locked, Snapshot>, Error> {
        let started = self.clock.boot();
        let mut wait = FIRST_WAIT;
        loop {
            // Both in one turn of a thread, because many processes may be waiting. After a wait the condition mostly
            // holds, and reading costs a fraction of a try at the lock.
            let (whose, look) = (location.clone(), Arc::clone(&satisfied));
            let has_waited = wait > FIRST_WAIT;
            let turn = blocking(move |may| -> Result<_, Error> {
                if has_waited && let Some(found) = look(may) {
                    return Ok(Some(Waited::Satisfied(found)));
                }
                Ok(match Locked::try_acquire(&whose, may)? {
                    Some(locked) => Some(Waited::Locked(locked)),
                    None if has_waited => None,
                    None => look(may).map(Waited::Satisfied),
                })
            });
            match turn.await?? {
                Some(Waited::Locked(locked)) => {
                    self.note_lock(location, locked.is_local_fallback());
                    return Ok(Waited::Locked(locked));
                }
                Some(satisfied) => return Ok(satisfied),
                None => {}
            }
            let waited = self.clock.boot().since(started);
            if waited >= timeout {
                return Err(locked_out(location, timeout).await);
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
        match self
            .wait_for_lock(location, timeout, Arc::new(|_| None))
            .await?
        {
            Waited::Locked(locked) => Ok(locked),
            Waited::Satisfied(_) => Err(locked_out(location, timeout).await),
        }
    }

    /// Takes the lock, or none if another holds it.
    pub(super) async fn try_lock(&self, location: &Location) -> Result<Option<Locked>, Error> {
        let whose = location.clone();
        let locked = blocking(move |may| Locked::try_acquire(&whose, may)).await??;
        if let Some(locked) = &locked {
            self.note_lock(location, locked.is_local_fallback());
        }
        Ok(locked)
    }

    /// `status` reports a lock that excludes less than it should.
    pub(super) fn note_lock(&self, location: &Location, is_local: bool) {
        let now = self.clock.now();
        self.logins.of(&location.key(), |login| {
            login.local_lock = is_local.then(|| login.local_lock.unwrap_or(now));
        });
    }
}

async fn locked_out(location: &Location, timeout: Duration) -> Error {
    let whose = location.clone();
    let holder = blocking(move |may| Locked::holder(&whose, may)).await;
    let holder = holder
        .ok()
        .flatten()
        .map_or_else(String::new, |holder| format!(" Held by {holder}."));
    Error::new(
        ErrorCode::StoreLocked,
        format!(
            "Another process kept the lock of {} for {} s.{holder} Try again; if that process hangs, end it.",
            location,
            timeout.as_secs_f64()
        ),
    )
}

/// Between half and the whole of it, so that waiters do not come in step.
fn jittered(wait: Duration) -> Result<Duration, Error> {
    let [random] = random::<1>()?;
    Ok(wait.mul_f64(0.5 + f64::from(random) / 510.0))
}
