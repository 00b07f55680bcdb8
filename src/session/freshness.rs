//! When an access token is due for a refresh (docs/design.md 3.2). Pure: no clock inside.

use std::time::Duration;

use crate::store::credential::Outline;
use crate::time::{BootInstant, UnixMillis};

/// A `refreshedAt` this far in the future means that the clock was wrong when it was written, or is now.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);

/// How much of an access token's life is left, in the terms that decide what a caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Handed out as it is.
    Fresh,
    /// Handed out as it is, while one caller refreshes.
    Advisory {
        /// Life left.
        remaining: Duration,
    },
    /// Every caller waits for the refresh; after a transient failure the present token is handed out anyway.
    Mandatory,
    /// Not handed out.
    Expired,
}

/// The life of an access token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    /// Wall time of the end; none: valid until a resource server rejects it.
    pub(super) expires: Option<UnixMillis>,
    /// Wall time of the refresh or login that gave it.
    pub(super) refreshed_at: UnixMillis,
    /// The end on the boot clock.
    pub(super) deadline: Option<BootInstant>,
    /// The deadline was counted from the server's own answer: wall time has no say.
    pub(super) exact: bool,
    /// Whether and when it is refreshed.
    pub(super) renewal: Renewal,
    /// Must be refreshed because the clock that wrote it was ahead of this one.
    pub(super) from_the_future: bool,
}

/// Whether and when an access token is refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// There is no refresh token.
    Never,
    /// Other programs refresh it too and ignore this library's lock: it is left to them until it has expired.
    OnceEnded,
    /// Before it ends.
    Ahead,
}

impl Renewal {
    /// The freshness of a stored credential.
    pub(super) fn of(credential: &Outline) -> Self {
        match (credential.is_refreshable(), credential.is_refreshed_ahead()) {
            (false, _) => Self::Never,
            (true, false) => Self::OnceEnded,
            (true, true) => Self::Ahead,
        }
    }
}

/// Whether our clock, or the one that gave this time, is wrong.
pub(super) fn is_from_the_future(refreshed_at: UnixMillis, now: UnixMillis) -> bool {
    refreshed_at > now.plus(CLOCK_TOLERANCE)
}

/// A freshness, and how long it holds on either clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assessment {
    pub(super) freshness: Freshness,
    /// Wall time at which a fresh token needs another look; none: never.
    pub(super) due: Option<UnixMillis>,
    /// The due time on the boot clock.
    pub(super) due_on_boot_clock: Option<BootInstant>,
}

impl Assessment {
    /// Expired, on any clock.
    pub(super) const EXPIRED: Self = Self {
        freshness: Freshness::Expired,
        due: None,
        due_on_boot_clock: None,
    };
}

pub(super) fn assess(
    lifetime: &Lifetime,
    buffer: Duration,
    now: UnixMillis,
    boot: BootInstant,
) -> Assessment {
    let is_ahead = lifetime.renewal == Renewal::Ahead;
    let from_the_future = is_ahead && lifetime.from_the_future;
    let Some(expires) = lifetime.expires else {
        return Assessment {
            freshness: if from_the_future {
                Freshness::Advisory {
                    remaining: Duration::MAX,
                }
            } else {
                Freshness::Fresh
            },
            due: None,
            due_on_boot_clock: None,
        };
    };
    let total = expires.since(lifetime.refreshed_at);
    let (advisory, mandatory) = if is_ahead {
        // A token with a life shorter than the buffer must not be refreshed at every call.
        (
            buffer.min(total / 4),
            Duration::from_mins(1).min(total / 10),
        )
    } else {
        (Duration::ZERO, Duration::ZERO)
    };
    let by_wall = expires.since(now);
    let by_boot = lifetime.deadline.map(|deadline| deadline.since(boot));
    let remaining = match by_boot {
        Some(remaining) if lifetime.exact => remaining,
        Some(remaining) => remaining.min(by_wall),
        None => by_wall,
    };
    let window = advisory.max(mandatory);
    let freshness = if remaining.is_zero() {
        Freshness::Expired
    } else if remaining <= mandatory {
        Freshness::Mandatory
    } else if remaining <= advisory || from_the_future {
        Freshness::Advisory { remaining }
    } else {
        Freshness::Fresh
    };
    Assessment {
        freshness,
        due: (!lifetime.exact).then(|| expires.minus(window)),
        due_on_boot_clock: lifetime
            .deadline
            .map(|deadline| BootInstant(deadline.0.saturating_sub(window))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUFFER: Duration = Duration::from_mins(5);
    const BOOT: BootInstant = BootInstant(Duration::from_hours(10));

    fn token(seconds: i64) -> Lifetime {
        Lifetime {
            expires: Some(UnixMillis(seconds * 1000)),
            refreshed_at: UnixMillis(0),
            deadline: None,
            exact: false,
            renewal: Renewal::Ahead,
            from_the_future: false,
        }
    }

    fn at(lifetime: &Lifetime, seconds: i64) -> Freshness {
        assess(lifetime, BUFFER, UnixMillis(seconds * 1000), BOOT).freshness
    }

    #[test]
    fn an_hour_long_token_is_due_in_its_last_five_minutes_and_waited_for_in_the_last() {
        let hour = token(3600);
        assert_eq!(at(&hour, 3299), Freshness::Fresh);
        assert!(matches!(at(&hour, 3300), Freshness::Advisory { .. }));
        assert!(matches!(at(&hour, 3539), Freshness::Advisory { .. }));
        assert_eq!(at(&hour, 3540), Freshness::Mandatory);
        assert_eq!(at(&hour, 3600), Freshness::Expired);
    }

    #[test]
    fn a_token_that_lives_shorter_than_the_buffer_is_not_always_due() {
        let short = token(100);
        assert_eq!(at(&short, 74), Freshness::Fresh);
        assert!(matches!(at(&short, 75), Freshness::Advisory { .. }));
        assert_eq!(at(&short, 90), Freshness::Mandatory);
    }

    #[test]
    fn what_others_refresh_without_our_lock_is_left_to_them_until_it_ends() {
        let shared = Lifetime {
            renewal: Renewal::OnceEnded,
            ..token(3600)
        };
        assert_eq!(at(&shared, 3599), Freshness::Fresh);
        assert_eq!(at(&shared, 3600), Freshness::Expired);
    }

    #[test]
    fn without_a_refresh_token_it_is_handed_out_to_the_end() {
        let fixed = Lifetime {
            renewal: Renewal::Never,
            ..token(100)
        };
        assert_eq!(at(&fixed, 99), Freshness::Fresh);
        assert_eq!(at(&fixed, 100), Freshness::Expired);
    }

    #[test]
    fn without_an_expiry_it_is_fresh() {
        let open = Lifetime {
            expires: None,
            ..token(1)
        };
        assert_eq!(at(&open, 1_000_000), Freshness::Fresh);
    }

    #[test]
    fn a_refresh_from_the_future_is_repeated() {
        let future = Lifetime {
            from_the_future: true,
            ..token(10_000)
        };
        assert!(matches!(at(&future, 0), Freshness::Advisory { .. }));
        let fixed = Lifetime {
            renewal: Renewal::Never,
            ..future
        };
        assert_eq!(at(&fixed, 0), Freshness::Fresh);
        let clock = UnixMillis(1000);
        assert!(is_from_the_future(UnixMillis(301_001), clock));
        assert!(!is_from_the_future(UnixMillis(301_000), clock));
    }

    #[test]
    fn the_boot_clock_of_the_refreshing_process_outranks_the_wall_clock() {
        let exact = Lifetime {
            deadline: Some(BOOT.plus(Duration::from_hours(1))),
            exact: true,
            ..token(3600)
        };
        // Wall clock seven hours ahead: not dead early.
        assert_eq!(at(&exact, 7 * 3600), Freshness::Fresh);
        // Boot deadline reached though the wall clock went back: dead.
        let over = Lifetime {
            deadline: Some(BOOT),
            ..exact
        };
        assert_eq!(at(&over, 0), Freshness::Expired);
    }

    #[test]
    fn a_loaded_deadline_bounds_the_wall_clock() {
        let loaded = Lifetime {
            deadline: Some(BOOT.plus(Duration::from_secs(10))),
            ..token(3600)
        };
        assert_eq!(at(&loaded, 0), Freshness::Mandatory);
    }

    proptest! {
        #[test]
        fn a_fresh_token_is_fresh_until_it_is_due(
            total in 1_i64..10_000_000, age in 0_i64..10_000_000, buffer in 0_u64..1_000_000,
        ) {
            let lifetime = Lifetime { expires: Some(UnixMillis(total)), ..token(0) };
            let buffer = Duration::from_millis(buffer);
            let assessment = assess(&lifetime, buffer, UnixMillis(age), BOOT);
            let due = assessment.due.unwrap();
            prop_assert_eq!(assessment.freshness == Freshness::Fresh, UnixMillis(age) < due);
            // Never due in the first three quarters of its life.
            prop_assert!(due.0 >= total - total / 4 - 1);
        }
    }
}
