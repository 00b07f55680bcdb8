//! A credential written by a clock ahead of this one (docs/design.md 3.2). It is refreshed, because this clock was
//! probably set back. If more such credentials follow, two clocks differ permanently, and each would keep refreshing
//! the other's tokens.

use std::time::Duration;

use crate::secret::Secret;
use crate::time::BootInstant;

/// How long after the first one others are taken as they are.
const TOLERANCE: Duration = Duration::from_hours(1);

/// The credential from the future that was met first for a login.
#[derive(Default)]
pub(super) struct ForeignClock(Option<(Secret, BootInstant)>);

impl ForeignClock {
    /// Whether this credential from the future is to be refreshed for being one.
    pub(super) fn is_worth_a_refresh(&mut self, access: &Secret, now: BootInstant) -> bool {
        match &self.0 {
            Some((first, at)) if now.since(*at) < TOLERANCE => first == access,
            _ => {
                self.0 = Some((access.clone(), now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_refreshed_and_those_that_follow_within_an_hour_are_not() {
        let mut clock = ForeignClock::default();
        let [first, second] = ["t1", "t2"].map(Secret::from);
        let at = |minutes| BootInstant(Duration::from_mins(minutes));
        assert!(clock.is_worth_a_refresh(&first, at(0)));
        assert!(clock.is_worth_a_refresh(&first, at(5)));
        assert!(!clock.is_worth_a_refresh(&second, at(59)));
        assert!(clock.is_worth_a_refresh(&second, at(60)));
    }
}
