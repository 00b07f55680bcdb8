//! Credentials that a clock ahead of ours has written (DESIGN 3.2): one is refreshed for that, because our clock was set
//! back; if others follow, two clocks differ for good, and each would refresh what the other has written for ever.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::secret::Secret;
use crate::time::BootInstant;

use super::lock;

/// How long after the first one others are taken as they are.
const TOLERANCE: Duration = Duration::from_hours(1);

/// The credentials from the future that were met first, by file.
#[derive(Default)]
pub(super) struct ForeignClocks(Mutex<HashMap<PathBuf, Met>>);

struct Met {
    access: Secret,
    at: BootInstant,
}

impl ForeignClocks {
    /// Whether this credential from the future is to be refreshed for being one.
    pub(super) fn is_worth_a_refresh(
        &self,
        path: &Path,
        access: &Secret,
        now: BootInstant,
    ) -> bool {
        let mut table = lock(&self.0);
        if let Some(met) = table.get(path)
            && now.since(met.at) < TOLERANCE
        {
            return met.access == *access;
        }
        let met = Met {
            access: access.clone(),
            at: now,
        };
        table.insert(path.to_owned(), met);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_refreshed_and_those_that_follow_within_an_hour_are_not() {
        let clocks = ForeignClocks::default();
        let [path, other] = ["a", "b"].map(Path::new);
        let [first, second] = ["t1", "t2"].map(Secret::from);
        let at = |minutes| BootInstant(Duration::from_mins(minutes));
        assert!(clocks.is_worth_a_refresh(path, &first, at(0)));
        assert!(clocks.is_worth_a_refresh(path, &first, at(5)));
        assert!(!clocks.is_worth_a_refresh(path, &second, at(59)));
        assert!(clocks.is_worth_a_refresh(other, &second, at(59)));
        assert!(clocks.is_worth_a_refresh(path, &second, at(60)));
    }
}
