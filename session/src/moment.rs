//! Times as people write them (RFC 3339, in UTC) and as the services have them: nanoseconds since 1970.

use std::fmt::Write as _;

const SECOND: u64 = 1_000_000_000;

/// `2026-11-25T16:00:00.5Z` for nanoseconds since 1970, with as many digits as it takes.
pub fn rfc3339(timestamp: u64) -> String {
    let (seconds, nanos) = (timestamp / SECOND, timestamp % SECOND);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanos > 0 {
        let digits = format!("{nanos:09}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Nanoseconds since 1970 of an RFC 3339 time, with any offset; also of a date alone, which is its midnight in UTC.
/// `None` for anything else, and for what is not between 1970 and 2554.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let number = |part: &str, digits: usize| {
        let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<u64>().ok()).flatten()
    };
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let days = days_since_1970(year, month, day)?;
    let Some(time) = time else { return days.checked_mul(86_400 * SECOND) };
    let sign_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(sign_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    // Section 5.6: second 60 is a leap second, which the count since 1970 does not have.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let nanos = number(&format!("{fraction:0<9}"), 9)?;
    let local = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = match zone.split_at(1) {
        ("Z" | "z", "") => Some(local),
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3_600 + minutes * 60;
            match sign {
                "+" => local.checked_sub(offset),
                "-" => local.checked_add(offset),
                _ => None,
            }
        }
    }?;
    seconds.checked_mul(SECOND)?.checked_add(nanos)
}

/// The date of a day, counted from 1970-01-01. Years begin in March here, so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    let (from_march, month_from_march) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let (era, year_of_era) = (from_march / 400, from_march % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-25T16:00:00Z", 1_795_622_400),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(parse_rfc3339(text), Some(seconds * SECOND), "{text}");
            assert_eq!(rfc3339(seconds * SECOND), text);
        }
        assert_eq!(parse_rfc3339("2026-11-25T17:30:00.25+01:30"), Some(1_795_622_400_250_000_000));
        assert_eq!(parse_rfc3339("2026-11-25T11:00:00-05:00"), Some(1_795_622_400 * SECOND));
        assert_eq!(parse_rfc3339("2026-11-25"), Some(1_795_564_800 * SECOND));
        assert_eq!(rfc3339(1_500_000_000), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2026",
            "2026-02-30",
            "2026-13-01",
            "2026-11-25T16:00Z",
            "2026-11-25T16:00:00",
            "+026-11-25",
            "2026-11-25T24:00:00Z",
            "2026-11-25T16:00:00.Zx",
            "2026-11-25T16:00:00+1:00",
            "1969-12-31T00:00:00Z",
            "2026-00-01",
            "2026-01-00",
            "9999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_it_was_written(timestamp in any::<u64>()) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(timestamp)), Some(timestamp));
        }

        #[test]
        fn no_text_does_harm(text in "[0-9TZ:+. -]{0,40}") {
            let _ = parse_rfc3339(&text);
        }
    }
}
