//! The refreshes of this process that are between sent and saved. An exit, and a host that unloads a plugin, wait for
//! them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::mutex::lock;

/// How many there are, of all logins.
#[derive(Default)]
pub(super) struct Settling {
    counts: Mutex<Counts>,
    settled: Condvar,
}

#[derive(Default)]
struct Counts {
    /// Saved by this library.
    ours: usize,
    /// Saved by JavaScript, in a given store.
    by_javascript: usize,
    /// The process is exiting: nothing more is sent.
    is_leaving: bool,
}

impl Settling {
    /// Until the guard is dropped, a refresh token is being spent or a new one waits to be saved. `None` while the
    /// process exits: an answer might not be saved any more.
    pub(super) fn unsettled(self: &Arc<Self>, by_javascript: bool) -> Option<Unsettled> {
        let mut counts = lock(&self.counts);
        if counts.is_leaving {
            return None;
        }
        *counts.saved_by(by_javascript) += 1;
        Some(Unsettled {
            settling: Arc::clone(self),
            by_javascript,
        })
    }

    /// Blocks the thread until nothing is unsettled, for `limit` at most. Where `javascript` no longer runs, what it
    /// would save is not waited for.
    pub(super) fn wait_until_settled(&self, limit: Duration, javascript: bool) {
        let is_unsettled =
            |counts: &mut Counts| counts.ours > 0 || (javascript && counts.by_javascript > 0);
        drop(
            self.settled
                .wait_timeout_while(lock(&self.counts), limit, is_unsettled)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Whether nothing is unsettled.
    pub(super) fn is_settled(&self) -> bool {
        let counts = lock(&self.counts);
        counts.ours == 0 && counts.by_javascript == 0
    }

    /// Whether nothing may be sent any more.
    pub(super) fn set_leaving(&self, is_leaving: bool) {
        lock(&self.counts).is_leaving = is_leaving;
    }
}

impl Counts {
    fn saved_by(&mut self, javascript: bool) -> &mut usize {
        if javascript {
            &mut self.by_javascript
        } else {
            &mut self.ours
        }
    }
}

/// Counts as unsettled until dropped.
pub(super) struct Unsettled {
    settling: Arc<Settling>,
    by_javascript: bool,
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        *lock(&self.settling.counts).saved_by(self.by_javascript) -= 1;
        self.settling.settled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_waits_for_what_was_sent_and_lets_nothing_more_be_sent() {
        let settling = Arc::new(Settling::default());
        // Nothing was sent, so nothing is waited for.
        settling.wait_until_settled(Duration::MAX, true);
        let in_a_given_store = settling.unsettled(true).unwrap();
        assert!(!settling.is_settled());
        settling.wait_until_settled(Duration::MAX, false);
        drop(in_a_given_store);
        let sent = settling.unsettled(false).unwrap();
        settling.set_leaving(true);
        assert!(settling.unsettled(false).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| settling.wait_until_settled(Duration::MAX, true));
            drop(sent);
            waiting.join().unwrap();
        });
        assert!(settling.is_settled());
        settling.set_leaving(false);
        assert!(settling.unsettled(false).is_some());
    }
}
