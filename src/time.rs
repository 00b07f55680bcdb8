//! The two clocks: wall time for what is stored, boot time for what must survive clock changes and suspend.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Wall-clock time as Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixMillis(pub(crate) i64);

impl UnixMillis {
    /// The time `duration` later; stops at the end of time instead of wrapping.
    #[must_use]
    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// The time `duration` earlier.
    #[must_use]
    pub(crate) fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 §5.6 `date-time`, in UTC with milliseconds.
pub(crate) fn rfc3339(at: UnixMillis) -> String {
    let (days, millis) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000));
    // Days are counted from 1 March of the year 0, so that leap days come last: the proleptic Gregorian calendar
    // repeats after 146,097 of them.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (millis / 1000, millis % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// RFC 3339 §5.6 `date-time`, leniently: a space for the T, and UTC where no offset is given.
pub(crate) fn parse_rfc3339(text: &str) -> Option<UnixMillis> {
    let (date, rest) = text.trim().split_once(['T', 't', ' '])?;
    let at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at_checked(at)?;
    let mut numbers = date.split('-').chain(time.split([':', '.'])).map(|part| {
        let is_short = part.len() <= 9;
        part.parse::<i64>()
            .ok()
            .filter(|number| is_short && *number >= 0)
    });
    let mut next = || numbers.next().flatten();
    let (year, month, day, hour, minute, second) =
        (next()?, next()?, next()?, next()?, next()?, next()?);
    let ahead = match zone.split_at_checked(1) {
        None | Some(("Z" | "z", _)) => 0,
        Some((sign, offset)) => {
            let (hours, minutes) = offset.split_once(':')?;
            let minutes =
                i64::from(hours.parse::<u8>().ok()?) * 60 + i64::from(minutes.parse::<u8>().ok()?);
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let is_plausible = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && (-1440..1440).contains(&ahead);
    is_plausible.then(|| {
        let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - ahead;
        UnixMillis((minutes * 60 + second) * 1000)
    })
}

/// Days of the proleptic Gregorian calendar, counting years from March so that leap days come last.
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Time since boot, suspend included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootInstant(pub(crate) Duration);

impl BootInstant {
    /// The time `duration` later.
    #[must_use]
    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where time comes from; injected so that tests can turn it.
pub(crate) trait Clock: Send + Sync {
    /// Wall-clock time: may jump.
    fn now(&self) -> UnixMillis;
    /// Boot time: never jumps, goes on during suspend.
    fn boot(&self) -> BootInstant;
}

/// A clock that many hold. Two things that differ by it alone are the same.
#[derive(Clone)]
pub(crate) struct SharedClock(Arc<dyn Clock>);

impl From<Arc<dyn Clock>> for SharedClock {
    fn from(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }
}

impl Deref for SharedClock {
    type Target = dyn Clock;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for SharedClock {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SharedClock {}

impl Hash for SharedClock {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedClock")
    }
}

#[cfg(any(test, fuzzing))]
impl SharedClock {
    /// For a test that time is nothing to.
    pub(crate) fn of_system() -> Self {
        Self(Arc::new(SystemClock))
    }
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

/// Seconds that the tests of a plugin have let pass at once (plugin/testing/clock.ts).
static SKIPPED: AtomicU32 = AtomicU32::new(0);

/// What [`SystemClock::boot_or_soon`] answered last, and when.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) struct Answered(Cell<(Duration, BootInstant)>);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Answered {
    pub(crate) const fn nothing() -> Self {
        Self(Cell::new((Duration::MAX, BootInstant(Duration::ZERO))))
    }
}

/// Nothing: elsewhere each answer is the clock's.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) struct Answered;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Answered {
    pub(crate) const fn nothing() -> Self {
        Self
    }
}

impl SystemClock {
    /// Puts both clocks that many seconds ahead of the machine's.
    pub(crate) fn skip(seconds: u32) {
        SKIPPED.store(seconds, Ordering::Relaxed);
    }

    fn skipped() -> u64 {
        SKIPPED.load(Ordering::Relaxed).into()
    }

    /// The boot time, or one that is at most 60 ms later. On Linux it costs a fifth of `boot`: for 50 ms of wall time
    /// the answer stays the same. A wall clock that is set back into these has left them as soon.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn boot_or_soon(self, answered: &Answered) -> BootInstant {
        // The kernel writes this clock down at each tick, at least each 10 ms: reading it asks no hardware.
        let wall = of_timespec(rustix::time::clock_gettime(
            rustix::time::ClockId::RealtimeCoarse,
        ));
        let (since, answer) = answered.0.get();
        if Self::skipped() == 0
            && wall
                .checked_sub(since)
                .is_some_and(|passed| passed < Duration::from_millis(50))
        {
            return answer;
        }
        let answer = self.boot().plus(Duration::from_millis(60));
        answered.0.set((wall, answer));
        answer
    }

    /// The boot time.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn boot_or_soon(self, _: &Answered) -> BootInstant {
        self.boot()
    }
}

#[cfg(unix)]
fn of_timespec(time: rustix::time::Timespec) -> Duration {
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// How long this thread has run; a process that is stopped does not. Nothing where the system does not say it.
pub(crate) fn thread_time() -> Duration {
    #[cfg(unix)]
    let time = of_timespec(rustix::time::clock_gettime(
        rustix::time::ClockId::ThreadCPUTime,
    ));
    #[cfg(not(unix))]
    let time = Duration::ZERO;
    time
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one home of the wall clock"
    )]
    fn now(&self) -> UnixMillis {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        UnixMillis(millis(since_epoch)).plus(Duration::from_secs(Self::skipped()))
    }

    #[cfg(unix)]
    fn boot(&self) -> BootInstant {
        // Linux stops CLOCK_MONOTONIC during suspend; macOS lets it run on.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
        BootInstant(of_timespec(rustix::time::clock_gettime(CLOCK)))
            .plus(Duration::from_secs(Self::skipped()))
    }

    #[cfg(not(unix))]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one home of the boot clock; on Windows Instant goes on during suspend"
    )]
    fn boot(&self) -> BootInstant {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        BootInstant(
            START
                .get_or_init(std::time::Instant::now)
                .elapsed()
                .saturating_add(Duration::from_hours(1)),
        )
        .plus(Duration::from_secs(Self::skipped()))
    }
}

/// A clock for tests: it follows tokio's clock, which tests pause, and tests move its wall time.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct TestClock {
    start: tokio::time::Instant,
    wall: std::sync::atomic::AtomicI64,
}

#[cfg(test)]
impl TestClock {
    /// Starts at that wall time; call inside a tokio runtime.
    pub(crate) fn starting_at(wall: UnixMillis) -> Self {
        Self {
            start: tokio::time::Instant::now(),
            wall: std::sync::atomic::AtomicI64::new(wall.0),
        }
    }

    /// Moves the wall clock by that many milliseconds, as a person or NTP would.
    pub(crate) fn jump(&self, millis: i64) {
        self.wall
            .fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.wall.load(std::sync::atomic::Ordering::SeqCst)).plus(self.start.elapsed())
    }

    fn boot(&self) -> BootInstant {
        BootInstant(Duration::from_hours(1).saturating_add(self.start.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheap_boot_time_is_never_early_and_at_most_60_ms_late() {
        let answered = Answered::nothing();
        let (mut answers, mut last) = (0, BootInstant::default());
        while answers < 4 {
            let before = SystemClock.boot();
            let soon = SystemClock.boot_or_soon(&answered);
            let after = SystemClock.boot();
            assert!(before <= soon && soon <= after.plus(Duration::from_millis(60)));
            answers += u32::from(soon != last);
            last = soon;
        }
    }
}
