//! Disk work off the runtime's one worker, so that a slow disk stalls neither polling nor other profiles.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorCode};

use super::lock;

/// Runs `work` on a blocking thread. Dropping the future does not stop the work.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let done = Arc::new(Mutex::new(None));
    let place = Arc::clone(&done);
    run(Box::new(move || *lock(&place) = Some(work()))).await;
    // A panic leaves nothing there.
    let outcome = lock(&done).take();
    outcome.ok_or_else(stopped)
}

/// One kind of task and one kind of channel for all work: each further one would cost kilobytes of tokio.
async fn run(work: Box<dyn FnOnce() + Send>) {
    let (sender, receiver) = oneshot::channel();
    drop(tokio::task::spawn_blocking(move || {
        work();
        let _told: Result<(), ()> = sender.send(());
    }));
    // A panic takes the sender with it.
    drop(receiver.await);
}

fn stopped() -> Error {
    Error::new(
        ErrorCode::StoreIo,
        "Work on the credential file stopped unexpectedly. Nothing that was stored is lost; try again.",
    )
}
