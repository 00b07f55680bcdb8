//! When to ask again (RFC 8628 §3.5): pure, without a clock.

use std::time::Duration;

use crate::time::BootInstant;

/// RFC 8628 has no lower limit; a server that says 0 does not mean a flood.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const SLOW_DOWN_STEP: Duration = Duration::from_secs(5);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// The result of a poll that did not end the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollOutcome {
    /// `authorization_pending`
    Pending,
    /// `slow_down`, with the server's new interval and its `Retry-After`.
    SlowDown {
        interval: Option<Duration>,
        retry_after: Option<Duration>,
    },
    /// Not an OAuth response: connection error, timeout, 5xx, 408 or 429.
    Failed { retry_after: Option<Duration> },
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait so long, then poll.
    Wait(Duration),
    /// The code ends before the next poll would be allowed.
    Expired,
}

/// The schedule of one device code.
#[derive(Clone, Debug)]
pub(crate) struct PollSchedule {
    interval: Duration,
    /// The last wait of a row of failures.
    backoff: Option<Duration>,
    deadline: BootInstant,
}

impl PollSchedule {
    /// A schedule with the server's interval, until the code expires.
    pub(crate) fn new(interval: Duration, deadline: BootInstant) -> Self {
        Self {
            interval: interval.max(SHORTEST_INTERVAL),
            backoff: None,
            deadline,
        }
    }

    /// The present base interval: grows, never shrinks.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Before the first poll. RFC 8628 §3.5: "the client MUST wait at least the number of seconds specified by the
    /// 'interval' parameter between polling requests"; the person needs longer than nothing, too.
    pub(crate) fn first(&self, now: BootInstant) -> Next {
        self.after(self.interval, now)
    }

    /// After a poll that ended at `now`.
    pub(crate) fn next(&mut self, outcome: PollOutcome, now: BootInstant) -> Next {
        let wait = match outcome {
            PollOutcome::Pending => {
                self.backoff = None;
                self.interval
            }
            // RFC 8628 §3.5: "the interval MUST be increased by 5 seconds for this and all subsequent requests"
            PollOutcome::SlowDown {
                interval,
                retry_after,
            } => {
                self.backoff = None;
                let increased = self.interval.saturating_add(SLOW_DOWN_STEP);
                self.interval = interval.map_or(increased, |interval| interval.max(increased));
                self.interval.max(obeyed(retry_after))
            }
            // RFC 8628 §3.5: "doubling the polling interval on each such connection timeout, is RECOMMENDED"
            PollOutcome::Failed { retry_after } => {
                let doubled = self.backoff.unwrap_or(self.interval).saturating_mul(2);
                let backoff = doubled.min(LONGEST_BACKOFF).max(self.interval);
                self.backoff = Some(backoff);
                backoff.max(obeyed(retry_after))
            }
        };
        self.after(wait, now)
    }

    fn after(&self, wait: Duration, now: BootInstant) -> Next {
        let is_allowed = |wait| now.plus(wait) <= self.deadline;
        if is_allowed(wait) {
            Next::Wait(wait)
        } else if is_allowed(self.interval) {
            // The person may have decided by the end: one last poll that the interval allows, with time for its answer.
            let left = self.deadline.since(now).saturating_sub(self.interval);
            Next::Wait(left.max(self.interval))
        } else {
            Next::Expired
        }
    }
}

/// RFC 9110 §10.2.3 Retry-After, as far as a person at a login may be kept waiting.
fn obeyed(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAILED: PollOutcome = PollOutcome::Failed { retry_after: None };

    fn schedule(interval: u64) -> PollSchedule {
        PollSchedule::new(Duration::from_secs(interval), BootInstant(Duration::MAX))
    }

    fn waits(interval: u64, outcomes: &[PollOutcome]) -> Vec<u64> {
        let mut schedule = schedule(interval);
        outcomes
            .iter()
            .map(
                |outcome| match schedule.next(*outcome, BootInstant::default()) {
                    Next::Wait(wait) => wait.as_secs(),
                    Next::Expired => panic!("there is no deadline"),
                },
            )
            .collect()
    }

    fn slow_down(interval: Option<u64>) -> PollOutcome {
        PollOutcome::SlowDown {
            interval: interval.map(Duration::from_secs),
            retry_after: None,
        }
    }

    #[test]
    fn a_wait_that_reaches_beyond_the_end_leaves_the_last_poll_that_the_interval_allows() {
        let seconds = |seconds| BootInstant(Duration::from_secs(seconds));
        let busy = PollOutcome::Failed {
            retry_after: Some(Duration::from_mins(1)),
        };
        for (outcome, left, expected) in [
            (busy, 61, Some(60)),
            (busy, 59, Some(54)),
            (FAILED, 9, Some(5)),
            (FAILED, 5, Some(5)),
            (busy, 4, None),
            (PollOutcome::Pending, 4, None),
        ] {
            let mut schedule = PollSchedule::new(Duration::from_secs(5), seconds(100));
            let next = schedule.next(outcome, seconds(100 - left));
            let expected =
                expected.map_or(Next::Expired, |wait| Next::Wait(Duration::from_secs(wait)));
            assert_eq!(next, expected, "{left} s before the end");
        }
    }

    #[test]
    fn an_interval_of_nothing_is_a_second() {
        assert_eq!(
            schedule(0).first(BootInstant::default()),
            Next::Wait(Duration::from_secs(1))
        );
    }

    #[test]
    fn slow_down_adds_five_seconds_for_good() {
        use PollOutcome::Pending;
        assert_eq!(
            waits(5, &[slow_down(None), Pending, slow_down(None), Pending]),
            [10, 10, 15, 15]
        );
        assert_eq!(
            waits(
                5,
                &[slow_down(Some(30)), Pending, slow_down(Some(1)), Pending]
            ),
            [30, 30, 35, 35]
        );
        assert_eq!(waits(5, &[slow_down(Some(7))]), [10]);
    }

    #[test]
    fn failures_double_the_wait_up_to_thirty_seconds() {
        use PollOutcome::Pending;
        assert_eq!(
            waits(5, &[FAILED, FAILED, FAILED, FAILED, Pending, FAILED]),
            [10, 20, 30, 30, 5, 10]
        );
        assert_eq!(waits(1, &[FAILED; 7]), [2, 4, 8, 16, 30, 30, 30]);
        // a base interval beyond the limit stays
        assert_eq!(waits(45, &[FAILED, FAILED, slow_down(None)]), [45, 45, 50]);
    }

    #[test]
    fn retry_after_is_obeyed_up_to_a_minute() {
        let failed = |seconds| PollOutcome::Failed {
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(
            waits(5, &[failed(40), failed(3600), failed(0)]),
            [40, 60, 30]
        );
        let slow = PollOutcome::SlowDown {
            interval: None,
            retry_after: Some(Duration::from_secs(20)),
        };
        assert_eq!(waits(5, &[slow, PollOutcome::Pending]), [20, 10]);
    }

    #[test]
    fn the_last_poll_is_the_last_that_the_interval_allows() {
        let at = |seconds| BootInstant(Duration::from_secs(seconds));
        let mut schedule = PollSchedule::new(Duration::from_secs(5), at(100));
        assert_eq!(
            schedule.next(PollOutcome::Pending, at(95)),
            Next::Wait(Duration::from_secs(5))
        );
        assert_eq!(schedule.next(PollOutcome::Pending, at(96)), Next::Expired);
        assert_eq!(schedule.next(PollOutcome::Pending, at(3000)), Next::Expired);
    }

    fn duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            (0..200_000_u64).prop_map(Duration::from_millis),
            Just(Duration::ZERO),
            Just(Duration::MAX),
        ]
    }

    fn outcome() -> impl Strategy<Value = PollOutcome> {
        let maybe = || proptest::option::of(duration());
        prop_oneof![
            Just(PollOutcome::Pending),
            (maybe(), maybe()).prop_map(|(interval, retry_after)| PollOutcome::SlowDown {
                interval,
                retry_after
            }),
            maybe().prop_map(|retry_after| PollOutcome::Failed { retry_after }),
        ]
    }

    proptest! {
        #[test]
        fn never_too_early_and_never_too_late(
            interval in duration(),
            deadline in duration(),
            outcomes in proptest::collection::vec((outcome(), 0..60_000_u64), 0..60),
        ) {
            let deadline = BootInstant(deadline);
            let mut schedule = PollSchedule::new(interval, deadline);
            let mut now = BootInstant::default();
            prop_assert!(schedule.interval() >= SHORTEST_INTERVAL.max(interval));
            for (outcome, request_took) in outcomes {
                now = now.plus(Duration::from_millis(request_took));
                let before = schedule.interval();
                let next = schedule.next(outcome, now);
                let base = schedule.interval();
                prop_assert!(base >= before, "the interval shrank");
                if let PollOutcome::SlowDown { interval, .. } = outcome {
                    prop_assert!(base >= before.saturating_add(SLOW_DOWN_STEP));
                    prop_assert!(base >= interval.unwrap_or_default());
                } else {
                    prop_assert_eq!(base, before);
                }
                match next {
                    Next::Wait(wait) => {
                        prop_assert!(wait >= base, "polled before the interval was over");
                        prop_assert!(wait <= base.max(LONGEST_RETRY_AFTER), "waited for nothing");
                        now = now.plus(wait);
                        prop_assert!(now <= deadline, "polled after the end");
                        if outcome == PollOutcome::Pending {
                            prop_assert_eq!(wait, base, "did not return to the base interval");
                        }
                    }
                    Next::Expired => prop_assert!(
                        now.plus(base) > deadline,
                        "gave up while polls were allowed"
                    ),
                }
            }
        }
    }
}
