//! A call under way, which its `AbortSignal` can cancel.

use std::sync::Arc;

use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use crate::error::Error;
use crate::http::BoxFuture;
use crate::secret::Secret;
use crate::session::cancellation::Cancellation;

use super::listener::{Listener, ListenerFunction};
use super::options;
use super::payload::Payload;
use super::person::Pasted;
use super::process::{session, spawn};

/// Handle of a call under way. @internal
#[napi]
pub struct Operation(Arc<Cancellation>, Arc<Pasted>);

#[napi]
impl Operation {
    /// Asks the call to stop; false when it is too late to change its outcome.
    #[napi]
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }

    /// Passes on the person's answer to the last question.
    #[napi]
    pub fn paste(&self, text: Unknown<'_>) {
        // Nothing is what is pasted where it cannot be read.
        self.1
            .put(Secret::new(options::text(&text).unwrap_or_default()));
    }
}

/// Runs `work` on the runtime and settles the listener with its result. An error in the arguments is reported the same
/// way, so that no function of the API throws synchronously.
pub(super) fn start<Work, Future>(
    listener: &ListenerFunction<'_>,
    work: Result<Work, Error>,
) -> napi::Result<Operation>
where
    Work: FnOnce(Arc<Cancellation>, Listener) -> Future,
    Future: std::future::Future<Output = Result<Payload, Error>> + Send + 'static,
{
    let pasted = Arc::default();
    let listener = Listener::new(listener, Arc::clone(&pasted))?;
    let cancellation = Arc::new(Cancellation::default());
    let work = work.map(|work| {
        let work: BoxFuture<'static, _> =
            Box::pin(work(Arc::clone(&cancellation), listener.clone()));
        work
    });
    run(listener, work);
    Ok(Operation(cancellation, pasted))
}

/// One kind of task for all operations: each further one would cost kilobytes of tokio.
fn run(listener: Listener, work: Result<BoxFuture<'static, Result<Payload, Error>>, Error>) {
    session().stay();
    let failed = listener.clone();
    let spawned = work.and_then(|work| {
        spawn(Box::pin(async move {
            // A panic ends its own task alone, and still settles the promise.
            let outcome = tokio::spawn(work).await.unwrap_or_else(|_| {
                Err(Error::new(
                    crate::error::ErrorCode::StoreIo,
                    "The operation stopped unexpectedly. Nothing that was stored is lost; try again.",
                ))
            });
            listener.settle(outcome);
        }))
    });
    if let Err(error) = spawned {
        failed.settle(Err(error));
    }
}
