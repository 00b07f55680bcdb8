//! Disk work off the runtime's one worker, so that a slow disk stalls neither polling nor other profiles.

use tokio::sync::oneshot;

use crate::error::{Error, ErrorCode};

/// Runs `work` on a blocking thread. Dropping the future does not stop the work.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    run(Box::new(move || drop(sender.send(work()))));
    // A panic takes the sender with it.
    receiver.await.map_err(|_| stopped())
}

/// One kind of task for all work: each further one would cost tens of kilobytes of tokio.
fn run(work: Box<dyn FnOnce() + Send>) {
    drop(tokio::task::spawn_blocking(work));
}

fn stopped() -> Error {
    Error::new(
        ErrorCode::StoreIo,
        "Work on the credential file stopped unexpectedly. Nothing that was stored is lost; try again.",
    )
}
