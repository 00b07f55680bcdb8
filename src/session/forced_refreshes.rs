//! How often a rejected access token may force a refresh (DESIGN 3.2): a service that rejects every token must not make us
//! refresh for ever.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::time::BootInstant;

use super::lock;

/// So many forced refreshes in [`WINDOW`] mean that a new token does not help.
const LIMIT: usize = 3;
const WINDOW: Duration = Duration::from_mins(1);

/// What forced refreshes brought lately, by credential file.
#[derive(Default)]
pub(super) struct ForcedRefreshes(Mutex<HashMap<PathBuf, Forced>>);

#[derive(Default)]
struct Forced {
    recent: VecDeque<BootInstant>,
    quiet_until: BootInstant,
}

impl ForcedRefreshes {
    /// Whether a refresh may be forced now.
    pub(super) fn may_force(&self, path: &Path, now: BootInstant) -> bool {
        lock(&self.0)
            .get(path)
            .is_none_or(|forced| now >= forced.quiet_until)
    }

    /// A forced refresh gave a token. One that fails is no matter of ours: the shared back-off limits those.
    pub(super) fn note(&self, path: &Path, now: BootInstant, is_same_token: bool) {
        let mut table = lock(&self.0);
        for forced in table.values_mut() {
            forced.recent.retain(|at| now.since(*at) < WINDOW);
        }
        table.retain(|_, forced| !forced.recent.is_empty() || now < forced.quiet_until);
        let forced = table.entry(path.to_owned()).or_default();
        forced.recent.push_back(now);
        if is_same_token || forced.recent.len() >= LIMIT {
            forced.quiet_until = now.plus(WINDOW);
            forced.recent.clear();
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
        let forced = ForcedRefreshes::default();
        let path = Path::new("/a");
        for second in [100, 110, 120] {
            assert!(forced.may_force(path, at(second)));
            forced.note(path, at(second), false);
        }
        assert!(!forced.may_force(path, at(120)));
        assert!(!forced.may_force(path, at(179)));
        assert!(
            forced.may_force(Path::new("/b"), at(120)),
            "other logins are not concerned"
        );
        assert!(forced.may_force(path, at(180)));
        forced.note(path, at(180), false);
        assert!(forced.may_force(path, at(180)), "counted anew");
    }

    #[test]
    fn one_that_gives_the_same_token_is_enough() {
        let forced = ForcedRefreshes::default();
        let path = Path::new("/a");
        forced.note(path, at(100), true);
        assert!(!forced.may_force(path, at(159)));
        assert!(forced.may_force(path, at(160)));
    }

    #[test]
    fn rare_ones_never_add_up_and_leave_nothing_behind() {
        let forced = ForcedRefreshes::default();
        for number in 0..100 {
            let path = PathBuf::from(format!("/{}", number % 50));
            assert!(forced.may_force(&path, at(100 + 61 * number)));
            forced.note(&path, at(100 + 61 * number), false);
        }
        assert_eq!(lock(&forced.0).len(), 1);
    }
}
