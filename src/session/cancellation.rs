//! The caller's `AbortSignal`, seen from Rust.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, ErrorCode};

const PENDING: u8 = 0;
const CANCELLED: u8 = 1;
const COMMITTED: u8 = 2;
/// Cancelled after the point of no return.
const HURRIED: u8 = 3;

/// Either cancelled or committed, never both: a caller that gets `ABORTED` knows that nothing was stored.
#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    state: AtomicU8,
    cancelled: Notify,
}

impl Cancellation {
    /// Asks the operation to stop. False when it is too late: then it skips optional work, and its outcome is kept.
    pub(crate) fn cancel(&self) -> bool {
        let change = |from, to| {
            self.state
                .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        };
        let accepted = change(PENDING, CANCELLED);
        if accepted || change(COMMITTED, HURRIED) {
            self.cancelled.notify_waiters();
        }
        accepted
    }

    /// The point of no return: from here on the operation completes.
    pub(crate) fn commit(&self) -> Result<(), Error> {
        match self
            .state
            .compare_exchange(PENDING, COMMITTED, Ordering::AcqRel, Ordering::Acquire)
        {
            Err(CANCELLED) => Err(aborted()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Runs `work` until it ends or the caller cancels, which drops it.
    pub(crate) async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.until_cancelled(work)
            .await
            .unwrap_or_else(|| Err(aborted()))
    }

    /// Runs optional work: `None` when the caller cancels, committed or not.
    pub(crate) async fn until_cancelled<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let cancelled = self.cancelled.notified();
        tokio::pin!(cancelled);
        // Registered before the state is read: a cancel in between is not missed.
        cancelled.as_mut().enable();
        if matches!(self.state.load(Ordering::Acquire), CANCELLED | HURRIED) {
            return None;
        }
        tokio::select! {
            biased;
            () = cancelled => None,
            outcome = work => Some(outcome),
        }
    }
}

/// The error of a caller that aborted; the binding adds the signal's reason as `cause`.
pub(super) fn aborted() -> Error {
    Error::new(ErrorCode::Aborted, "The operation was aborted.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cancels_what_waits_and_what_comes_later() {
        let cancellation = Cancellation::default();
        let (outcome, accepted) = tokio::join!(
            cancellation.guard(std::future::pending::<Result<(), Error>>()),
            async { cancellation.cancel() }
        );
        assert!(accepted);
        assert_eq!(outcome.unwrap_err().code(), ErrorCode::Aborted);
        let later = cancellation.guard(async { Ok(()) }).await;
        assert_eq!(later.unwrap_err().code(), ErrorCode::Aborted);
    }

    #[test]
    fn what_is_committed_cannot_be_cancelled() {
        let cancellation = Cancellation::default();
        cancellation.commit().unwrap();
        assert!(!cancellation.cancel());
        cancellation.commit().unwrap();
    }

    #[test]
    fn what_is_cancelled_cannot_be_committed() {
        let cancellation = Cancellation::default();
        assert!(cancellation.cancel());
        assert_eq!(
            cancellation.commit().unwrap_err().code(),
            ErrorCode::Aborted
        );
    }
}
