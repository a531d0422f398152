//! What a command line says of places, ages and sizes.

use std::time::{Duration, SystemTime};

use sinew::{Position, parse_rfc3339};

/// Nanoseconds since 1970, now.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// `start`, `end`, an offset, an age such as `10m`, or a time such as `2026-01-31T12:00:00Z`.
pub(crate) fn place(text: &str) -> Result<Position, String> {
    match text {
        "start" => return Ok(Position::Start),
        "end" => return Ok(Position::End),
        _ => {}
    }
    if let Ok(offset) = text.parse() {
        return Ok(Position::Offset(offset));
    }
    if let Ok(age) = age(text) {
        return Ok(Position::Time(now().saturating_sub(age.as_nanos() as u64)));
    }
    parse_rfc3339(text).map(Position::Time).ok_or_else(|| {
        "write start, end, an offset, an age such as 10m or 2h, or a time such as 2026-01-31T12:00:00Z".to_owned()
    })
}

/// A whole number with a unit: `45s`, `10m`, `2h`, `7d`, `2w`.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let seconds = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some('w') => 604_800,
        _ => 0_u64,
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|number| number.parse::<u64>().ok());
    match number.and_then(|number| number.checked_mul(seconds)) {
        // What is longer does not fit in nanoseconds since 1970.
        Some(seconds @ 1..=9_000_000_000) => Ok(Duration::from_secs(seconds)),
        _ => Err("write a number and a unit: s, m, h, d or w, such as 7d".into()),
    }
}

/// A whole number of bytes, with or without a unit: `4096`, `64MiB`, `10GB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1_u64 << 40,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(bytes @ 1..) => Ok(bytes),
        _ => Err("write a number of bytes, such as 4096, 64MiB or 10GB".into()),
    }
}

/// A bound that can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound<T> {
    None,
    Some(T),
}

impl<T> From<Bound<T>> for Option<T> {
    fn from(bound: Bound<T>) -> Self {
        match bound {
            Bound::None => None,
            Bound::Some(value) => Some(value),
        }
    }
}

fn bound<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Bound<T>, String> {
    if text == "none" { Ok(Bound::None) } else { read(text).map(Bound::Some) }
}

pub(crate) fn age_bound(text: &str) -> Result<Bound<Duration>, String> {
    bound(text, age)
}

pub(crate) fn bytes_bound(text: &str) -> Result<Bound<u64>, String> {
    bound(text, bytes)
}

pub(crate) fn count_bound(text: &str) -> Result<Bound<u64>, String> {
    bound(text, |text| match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("write a number from 1 on, or none".into()),
    })
}

/// A size for people: three digits and a unit of 1,000.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            let digits = if unit == "B" || value >= 99.95 { 0 } else { 1 };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1_000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        assert_eq!(place("start"), Ok(Position::Start));
        assert_eq!(place("end"), Ok(Position::End));
        assert_eq!(place("17"), Ok(Position::Offset(17)));
        assert_eq!(place("1970-01-01T00:00:01.5Z"), Ok(Position::Time(1_500_000_000)));
        assert!(matches!(place("10m"), Ok(Position::Time(time)) if now() - time >= 600_000_000_000));
        for wrong in ["", "middle", "-1", "10", "10x", "2026-02-30", "2026-1", "2026-01-31T25:00:00Z", "m"] {
            assert_eq!(place(wrong).is_ok(), wrong == "10", "{wrong}");
        }
    }

    #[test]
    fn ages_and_sizes() {
        assert_eq!(age("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(bytes("10GB"), Ok(10_000_000_000));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("4096"), Ok(4_096));
        for wrong in ["", "d", "0d", "1.5d", "7", "99999999999999999999d", "7 d", "ü"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "GB", "0", "1.5GB", "10gb", "99999999999TB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(age_bound("none"), Ok(Bound::None));
        assert_eq!(count_bound("5"), Ok(Bound::Some(5)));
        assert!(count_bound("0").is_err() && bytes_bound("none").is_ok());
        assert_eq!([0, 999, 1_000, 99_960, 1_234_567_890].map(size), ["0 B", "999 B", "1.0 kB", "100 kB", "1.2 GB"]);
    }
}
