//! Work that may wait, off the runtime's one worker: a slow disk, keychain or store of a plugin stalls neither polling
//! nor other logins.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorCode};

/// Proof that this thread may wait. Only [`blocking`] makes it, and tests; it cannot be taken to another thread.
///
/// Everything that reads or changes a disk, a keychain or a plugin's store asks for it, or for a [`Look`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MayBlock(PhantomData<*const ()>);

/// Proof that this is a thread of JavaScript. It waits for nothing, but may look at a local file: that costs less than
/// to ask another thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance(PhantomData<*const ()>);

/// How a thread may read the store. The runtime's own thread has neither proof.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// For as long as it takes.
    Long(MayBlock),
    /// Once at a local file, else at what was read just now.
    Short(Glance),
}

impl Look {
    /// The proof that this thread may wait, if it may.
    pub(crate) fn may_block(self) -> Option<MayBlock> {
        match self {
            Self::Long(may) => Some(may),
            Self::Short(_) => None,
        }
    }
}

impl From<MayBlock> for Look {
    fn from(may: MayBlock) -> Self {
        Self::Long(may)
    }
}

impl Glance {
    /// Only a thread of JavaScript has an environment.
    #[cfg(not(fuzzing))]
    pub(crate) fn of_javascript(_: napi::Env) -> Self {
        Self(PhantomData)
    }

    /// The thread of a test.
    #[cfg(test)]
    pub(crate) fn in_test() -> Self {
        Self(PhantomData)
    }
}

impl MayBlock {
    /// The thread of a test.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn in_test() -> Self {
        Self(PhantomData)
    }
}

#[cfg(test)]
impl Look {
    /// The thread of a test that may wait.
    pub(crate) const LONG: Self = Self::Long(MayBlock(PhantomData));
    /// The thread of a test that may not.
    pub(crate) const SHORT: Self = Self::Short(Glance(PhantomData));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Does not compile where `T` is `Send`: then either of two would be meant.
    trait Stays<A> {
        fn on_its_thread() {}
    }

    struct Else;

    impl<T> Stays<()> for T {}
    impl<T: Send> Stays<Else> for T {}

    #[test]
    fn a_proof_is_about_its_own_thread() {
        <MayBlock as Stays<_>>::on_its_thread();
        <Glance as Stays<_>>::on_its_thread();
        <Look as Stays<_>>::on_its_thread();
    }
}
