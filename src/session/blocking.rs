//! Disk work off the runtime's one worker, so that a slow disk stalls neither polling nor other profiles.

use crate::error::{Error, ErrorCode};

/// Runs `work` on a blocking thread. Dropping the future does not stop the work.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Error::new(
            ErrorCode::StoreIo,
            "Work on the credential file stopped unexpectedly. Nothing that was stored is lost; try again.",
        )
    })
}
