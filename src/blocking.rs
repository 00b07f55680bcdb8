//! Work that may wait, off the runtime's one worker: a slow disk, keychain or store of a plugin stalls neither polling nor other
//! logins.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorCode};

/// Proof that this thread may wait. Only [`blocking`] makes it, and tests; it cannot be taken to another thread.
///
/// What may wait (a lock, a keychain, a plugin's store, a program that is writing its file) asks for it. What can also be answered
/// from memory or by one look at a local file asks for an `Option` of it: without a proof it does not wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MayBlock(PhantomData<*const ()>);

impl MayBlock {
    /// The thread of a test.
    #[cfg(test)]
    pub(crate) fn in_test() -> Self {
        Self(PhantomData)
    }
}

/// Runs `work` on a blocking thread. Dropping the future does not stop the work.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce(MayBlock) -> T + Send + 'static,
{
    let done = Arc::new(Mutex::new(None));
    let place = Arc::clone(&done);
    run(Box::new(move || {
        let outcome = work(MayBlock(PhantomData));
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }))
    .await;
    // A panic leaves nothing there.
    let outcome = done.lock().unwrap_or_else(PoisonError::into_inner).take();
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
