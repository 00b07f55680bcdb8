//! A small file beside the credentials: waited for, read, and replaced as a whole.

use std::path::Path;
use std::time::Duration;

use crate::blocking::MayBlock;
use crate::error::{Error, ErrorCode};
use crate::fs::atomic_write::Reservation;
use crate::fs::damaged_file;
use crate::fs::lock::Lock;
use crate::store::credential::Stored;
use crate::store::journal::Journal;
use crate::time::UnixMillis;

/// How long another may hold the lock, which it needs for one small write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries for the lock.
const PAUSE: Duration = Duration::from_millis(10);

/// Replaces a small file under its lock; a damaged one is kept beside it.
pub(super) fn put(
    target: &Path,
    bytes: &[u8],
    damaged_at: Option<UnixMillis>,
    may: MayBlock,
) -> Result<(), Error> {
    let mut reservation = Reservation::new(target, bytes.len() as u64, may)?;
    let written = reservation.write(bytes, may).and_then(|()| {
        if let Some(now) = damaged_at {
            damaged_file::set_aside(target, now, may)?;
        }
        Ok(())
    });
    if let Err(error) = written {
        reservation.discard();
        return Err(error);
    }
    reservation.commit(may).map_err(|failed| {
        if let Some(reservation) = failed.reservation {
            reservation.discard();
        }
        failed.error
    })
}

/// Waits for the lock of a small file, and deletes what a killed writer of it has left.
#[expect(
    clippy::disallowed_methods,
    reason = "the store runs on threads that may block, and knows no runtime"
)]
pub(super) fn wait_for_lock(target: &Path, may: MayBlock) -> Result<Lock, Error> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(lock) = Lock::try_acquire(target, may)? {
            Journal::of(target).discard(&Stored::Nothing, may);
            return Ok(lock);
        }
        if waited >= PATIENCE {
            return Err(Error::new(
                ErrorCode::StoreLocked,
                format!(
                    "Another process keeps {} locked. Try again.",
                    target.display()
                ),
            ));
        }
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
}
