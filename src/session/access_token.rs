//! The decision table of `getValidAccessToken` (docs/design.md 3): how fresh the stored token is, what is known of it,
//! and who else is at it say what a caller gets. Pure: `token_request` looks, and does what it says.

use std::time::Duration;

use crate::error::Error;

use super::freshness::Freshness;
use super::refusals::is_passing;

/// An advisory refresh may cost its one caller this much at most.
const ADVISORY_WAIT: Duration = Duration::from_secs(5);
/// The least remaining life of a token that is handed out after a wait.
const ADVISORY_MARGIN: Duration = Duration::from_secs(1);

/// The usability of a stored access token, apart from its life.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Nothing against it.
    Nothing,
    /// A service has rejected it.
    Rejected,
    /// The credential is not saved yet, and must not be refreshed before that.
    Unsaved(Error),
    /// The token was refused and cannot be refreshed.
    Refused(Error),
    /// The last refresh failed, and none may be tried now.
    Blocked(Error),
}

/// The next step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Hand it out.
    HandOut,
    /// Fail with this.
    Refuse(Error),
    /// Refresh for at most that long; then hand out the present token, even if the refresh failed.
    RefreshAside(Duration),
    /// Wait for a refresh; where it fails, see [`after_failure`].
    Refresh,
    /// Wait for a refresh that the rejection forces. Where none may be forced, the rejection does not count.
    Replace,
}

/// The table.
pub(super) fn next_step(freshness: Freshness, known: Known, is_being_refreshed: bool) -> Step {
    use Freshness::{Advisory, Expired, Fresh, Mandatory};
    match (freshness, known, is_being_refreshed) {
        (_, Known::Rejected, _) => Step::Replace,
        (_, Known::Refused(error), _)
        | (Expired, Known::Unsaved(error) | Known::Blocked(error), _) => Step::Refuse(error),
        (_, Known::Unsaved(_), _) | (Fresh, ..) => Step::HandOut,
        (Advisory { .. }, Known::Blocked(_), _) | (Advisory { .. }, Known::Nothing, true) => {
            Step::HandOut
        }
        (Advisory { remaining }, Known::Nothing, false) => {
            Step::RefreshAside(ADVISORY_WAIT.min(remaining.saturating_sub(ADVISORY_MARGIN)))
        }
        (Mandatory, Known::Blocked(error), _) => after_failure(freshness, error),
        (Mandatory | Expired, Known::Nothing, _) => Step::Refresh,
    }
}

/// The step after a failed refresh. A transient failure is no reason to withhold a token that is still valid.
pub(super) fn after_failure(freshness: Freshness, error: Error) -> Step {
    if freshness != Freshness::Expired && is_passing(&error) {
        Step::HandOut
    } else {
        Step::Refuse(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn step(freshness: Freshness, known: &Known, is_being_refreshed: bool) -> String {
        match next_step(freshness, known.clone(), is_being_refreshed) {
            Step::HandOut => "hand out".to_owned(),
            Step::Refuse(error) => error.code().as_str().to_owned(),
            Step::RefreshAside(patience) => format!("aside {}", patience.as_secs()),
            Step::Refresh => "refresh".to_owned(),
            Step::Replace => "replace".to_owned(),
        }
    }

    #[test]
    fn the_table() {
        const MINUTE: Duration = Duration::from_mins(1);
        let life = [
            Freshness::Fresh,
            Freshness::Advisory { remaining: MINUTE },
            Freshness::Mandatory,
            Freshness::Expired,
        ];
        let error = |code| Error::new(code, "");
        // Columns: fresh, advisory, advisory while another refreshes, mandatory, expired.
        for (known, expected) in [
            (
                Known::Nothing,
                ["hand out", "aside 5", "hand out", "refresh", "refresh"],
            ),
            (Known::Rejected, ["replace"; 5]),
            (
                Known::Unsaved(error(ErrorCode::StoreLocked)),
                [
                    "hand out",
                    "hand out",
                    "hand out",
                    "hand out",
                    "STORE_LOCKED",
                ],
            ),
            (
                Known::Refused(error(ErrorCode::LoginRequired)),
                ["LOGIN_REQUIRED"; 5],
            ),
            (
                Known::Blocked(error(ErrorCode::Network)),
                ["hand out", "hand out", "hand out", "hand out", "NETWORK"],
            ),
            (
                Known::Blocked(error(ErrorCode::LoginRequired)),
                [
                    "hand out",
                    "hand out",
                    "hand out",
                    "LOGIN_REQUIRED",
                    "LOGIN_REQUIRED",
                ],
            ),
        ] {
            let [fresh, advisory, mandatory, expired] = life;
            let found = [
                step(fresh, &known, false),
                step(advisory, &known, false),
                step(advisory, &known, true),
                step(mandatory, &known, false),
                step(expired, &known, false),
            ];
            assert_eq!(found, expected, "{known:?}");
            // Only beside an advisory refresh does it matter who else refreshes.
            for freshness in [fresh, mandatory, expired] {
                let both = [false, true].map(|busy| step(freshness, &known, busy));
                assert_eq!(both[0], both[1]);
            }
        }
    }

    #[test]
    fn a_wait_beside_a_token_leaves_it_a_second_of_life() {
        for (seconds, patience) in [(60, 5), (6, 5), (4, 3), (1, 0), (0, 0)] {
            let remaining = Duration::from_secs(seconds);
            let advisory = Freshness::Advisory { remaining };
            assert_eq!(
                step(advisory, &Known::Nothing, false),
                format!("aside {patience}")
            );
        }
    }
}
