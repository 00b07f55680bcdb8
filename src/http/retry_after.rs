//! The `Retry-After` header (RFC 9110 §10.2.3), in both of its forms.

use std::time::Duration;

use crate::time::{UnixMillis, days_since_1970};

/// How long to wait. `date` is the answer's own `Date` header: it beats our clock, which may be wrong.
pub(crate) fn parse(value: &str, date: Option<&str>, now: UnixMillis) -> Option<Duration> {
    let value = value.trim();
    // RFC 9110 §10.2.3: "Retry-After = HTTP-date / delay-seconds"
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(
            value.parse().unwrap_or(u64::from(u32::MAX)),
        ));
    }
    let until = http_date(value)?;
    let now = date.and_then(http_date).unwrap_or(now);
    Some(until.since(now))
}

/// RFC 9110 §5.6.7: a recipient "MUST accept all three HTTP-date formats".
pub(super) fn http_date(text: &str) -> Option<UnixMillis> {
    let (_day_name, rest) = text.trim().split_once([',', ' '])?;
    let parts: Vec<&str> = rest.split_ascii_whitespace().collect();
    let (year, month, day, time) = match *parts.as_slice() {
        // Sun, 06 Nov 1994 08:49:37 GMT, or Sun Nov  6 08:49:37 1994
        [day, month, year, time, "GMT"] | [month, day, time, year] => {
            (year.parse().ok()?, month, day, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        [date, time, "GMT"] => {
            let mut date = date.split('-');
            let (day, month) = (date.next()?, date.next()?);
            let year: i64 = date.next()?.parse().ok()?;
            // RFC 9110 §5.6.7 asks for a sliding window of fifty years; no server sends 19xx today.
            (year.saturating_add(2000), month, day, time)
        }
        _ => return None,
    };
    let month = month_number(month)?;
    let day: i64 = day.parse().ok()?;
    let mut clock = time.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let plausible = (1..=31).contains(&day)
        && (0..=23).contains(&hour)
        && (0..=59).contains(&minute)
        && (0..=60).contains(&second)
        && (1970..=9999).contains(&year)
        && clock.next().is_none();
    plausible.then(|| {
        let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        UnixMillis(seconds * 1000)
    })
}

fn month_number(name: &str) -> Option<i64> {
    const NAMES: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let index = NAMES.split(' ').position(|month| month == name)?;
    i64::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(784_111_777_000);

    #[test]
    fn seconds() {
        let parse = |value| parse(value, None, NOW);
        assert_eq!(parse("120"), Some(Duration::from_mins(2)));
        assert_eq!(parse(" 0 "), Some(Duration::ZERO));
        assert!(parse("99999999999999999999999").unwrap() > Duration::from_hours(24));
        for bad in ["", "-1", "1.5", "soon", "1 2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_three_date_formats() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(http_date(text), Some(NOW), "{text}");
        }
        assert_eq!(
            http_date("Friday, 01-Mar-24 00:00:00 GMT"),
            Some(UnixMillis(1_709_251_200_000))
        );
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 23:59:60 GMT", 1_709_251_200),
            ("Fri, 31 Dec 2100 00:00:00 GMT", 4_133_894_400),
        ] {
            assert_eq!(http_date(text), Some(UnixMillis(seconds * 1000)), "{text}");
        }
        for bad in [
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sunday, 06-Nov-9223372036854775807 08:49:37 GMT",
            "tomorrow",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_servers_own_date_beats_our_clock() {
        let until = "Sun, 06 Nov 1994 08:50:37 GMT";
        let date = "Sun, 06 Nov 1994 08:50:07 GMT";
        assert_eq!(parse(until, None, NOW), Some(Duration::from_mins(1)));
        assert_eq!(parse(until, Some(date), NOW), Some(Duration::from_secs(30)));
        assert_eq!(
            parse(until, Some("nonsense"), NOW),
            Some(Duration::from_mins(1))
        );
        assert_eq!(
            parse(until, None, UnixMillis(NOW.0 + 3_600_000)),
            Some(Duration::ZERO)
        );
    }
}
