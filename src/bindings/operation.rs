//! A call under way, which its `AbortSignal` can cancel.

use std::sync::Arc;

use napi_derive::napi;

use crate::error::Error;
use crate::http::BoxFuture;
use crate::session::cancellation::Cancellation;

use super::listener::{Listener, ListenerFunction, Payload};
use super::process::runtime;

/// Handle of a call under way. @internal
#[napi]
pub struct Operation(Arc<Cancellation>);

#[napi]
impl Operation {
    /// Asks the call to stop; false when it is too late and its outcome stands.
    #[napi]
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }
}

/// Runs `work` on the runtime and settles the listener with what comes of it. A refusal of the arguments goes the same
/// way, so that no function of the API ever throws synchronously.
pub(super) fn start<Work, Future>(
    listener: &ListenerFunction<'_>,
    work: Result<Work, Error>,
) -> napi::Result<Operation>
where
    Work: FnOnce(Arc<Cancellation>, Listener) -> Future,
    Future: std::future::Future<Output = Result<Payload, Error>> + Send + 'static,
{
    let listener = Listener::new(listener)?;
    let cancellation = Arc::new(Cancellation::default());
    let work = work.map(|work| {
        let work: BoxFuture<'static, _> =
            Box::pin(work(Arc::clone(&cancellation), listener.clone()));
        work
    });
    run(listener, work);
    Ok(Operation(cancellation))
}

/// One kind of task for all operations: each further one would cost kilobytes of tokio.
fn run(listener: Listener, work: Result<BoxFuture<'static, Result<Payload, Error>>, Error>) {
    match work.and_then(|work| Ok((work, runtime()?))) {
        Ok((work, runtime)) => drop(runtime.spawn(async move {
            // A panic ends its own task alone, and still settles the promise.
            let outcome = tokio::spawn(work).await.unwrap_or_else(|_| {
                Err(Error::new(
                    crate::error::ErrorCode::StoreIo,
                    "The operation stopped unexpectedly. Nothing that was stored is lost; try again.",
                ))
            });
            listener.settle(outcome);
        })),
        Err(error) => listener.settle(Err(error)),
    }
}
