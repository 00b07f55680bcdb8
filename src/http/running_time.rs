//! A limit that counts only the time in which this process runs.
//!
//! A process that was stopped (SIGSTOP, a frozen container, a paused machine) finds the answer waiting in its socket
//! when it goes on. A plain timeout would throw it away, and with it perhaps the only rotated refresh token.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::time::thread_time;

/// Time is counted in steps of this.
const STEP: Duration = Duration::from_millis(250);

/// Resolves to the result of the work, or to `None` once it has taken that long.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        outcome = work => Some(outcome),
        () = passed(limit) => None,
    }
}

async fn passed(limit: Duration) {
    let mut left = limit;
    let mut may_look_again = true;
    let mut worked = thread_time();
    while !left.is_zero() {
        let step = left.min(STEP);
        let began = Instant::now();
        sleep_until(began + step).await;
        let passed = began.elapsed();
        let worked_before = std::mem::replace(&mut worked, thread_time());
        // A thread that is kept busy finds the end of a step late, and it was no stop.
        let ran = step.max(worked.saturating_sub(worked_before).min(passed));
        left = left.saturating_sub(ran);
        let was_stopped = passed.saturating_sub(ran) > STEP;
        if was_stopped && left < STEP && may_look_again {
            // However little was left: the sockets have not been looked at since. Once: where the system does not say it,
            // a server that keeps this thread busy looks like a stop as well.
            left = STEP;
            may_look_again = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_kept() {
        for millis in [0, 1, 250, 251, 30_000] {
            let limit = Duration::from_millis(millis);
            let started = Instant::now();
            assert_eq!(within(limit, std::future::pending::<()>()).await, None);
            assert_eq!(started.elapsed(), limit);
        }
        let early = within(STEP * 2, sleep(STEP)).await;
        assert_eq!(early, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_process_was_stopped_does_not_count() {
        let started = Instant::now();
        let limit = tokio::spawn(within(STEP * 4, std::future::pending::<()>()));
        tokio::task::yield_now().await;
        advance(Duration::from_hours(1)).await;
        assert_eq!(limit.await.unwrap(), None);
        assert_eq!(started.elapsed(), Duration::from_hours(1) + STEP * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_keeps_the_thread_busy_ends_all_the_same() {
        let busy = async {
            for _ in 0..1000 {
                advance(STEP * 3).await;
            }
        };
        assert_eq!(within(STEP * 4, busy).await, None);
    }

    #[cfg(unix)]
    #[test]
    fn what_keeps_the_thread_busy_counts_in_full() {
        let turns = Cell::new(0);
        let busy = async {
            loop {
                turns.set(turns.get() + 1);
                let began = thread_time();
                while thread_time().saturating_sub(began) < STEP * 2 {}
                tokio::task::yield_now().await;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .event_interval(1)
            .enable_time()
            .build()
            .unwrap();
        assert_eq!(runtime.block_on(within::<()>(STEP * 4, busy)), None);
        // Two turns are the limit, one comes before it and two where this thread had to wait for a processor. Counted in
        // steps it is nine.
        assert!(turns.get() <= 5, "{} turns", turns.get());
    }

    #[tokio::test(start_paused = true)]
    async fn stopped_in_the_last_moment_there_is_time_to_look_at_the_answer() {
        let started = Instant::now();
        let limit = tokio::spawn(within(STEP, std::future::pending::<()>()));
        tokio::task::yield_now().await;
        advance(Duration::from_hours(1)).await;
        assert_eq!(limit.await.unwrap(), None);
        assert_eq!(started.elapsed(), Duration::from_hours(1) + STEP);
    }
}
