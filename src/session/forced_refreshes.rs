//! How often a rejected access token may force a refresh (docs/design.md 3.2): a service that rejects every token must
//! not make us refresh for ever.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::BootInstant;

/// This many forced refreshes in [`WINDOW`] mean that a new token does not help.
const LIMIT: usize = 3;
const WINDOW: Duration = Duration::from_mins(1);

/// The recent forced refreshes of one login.
#[derive(Default)]
pub(super) struct ForcedRefreshes {
    recent: VecDeque<BootInstant>,
    quiet_until: BootInstant,
}

impl ForcedRefreshes {
    /// Whether a refresh may be forced now.
    pub(super) fn may_force(&self, now: BootInstant) -> bool {
        now >= self.quiet_until
    }

    /// Counts a forced refresh that gave a token. Failed ones are limited by the shared back-off.
    pub(super) fn note(&mut self, now: BootInstant, is_same_token: bool) {
        self.recent.retain(|at| now.since(*at) < WINDOW);
        self.recent.push_back(now);
        if is_same_token || self.recent.len() >= LIMIT {
            self.quiet_until = now.plus(WINDOW);
            self.recent.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootInstant {
        BootInstant(Duration::from_secs(seconds))
    }

    #[test]
    fn three_in_a_minute_are_followed_by_a_quiet_one() {
        let mut forced = ForcedRefreshes::default();
        for second in [100, 110, 120] {
            assert!(forced.may_force(at(second)));
            forced.note(at(second), false);
        }
        assert!(!forced.may_force(at(120)));
        assert!(!forced.may_force(at(179)));
        assert!(forced.may_force(at(180)));
        forced.note(at(180), false);
        assert!(forced.may_force(at(180)), "counted from the start");
    }

    #[test]
    fn one_that_gives_the_same_token_is_enough() {
        let mut forced = ForcedRefreshes::default();
        forced.note(at(100), true);
        assert!(!forced.may_force(at(159)));
        assert!(forced.may_force(at(160)));
    }

    #[test]
    fn rare_ones_never_add_up() {
        let mut forced = ForcedRefreshes::default();
        for number in 0..100 {
            assert!(forced.may_force(at(100 + 61 * number)));
            forced.note(at(100 + 61 * number), false);
        }
        assert_eq!(forced.recent.len(), 1);
    }
}
