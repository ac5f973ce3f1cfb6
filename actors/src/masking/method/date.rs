//! Dates without their finer parts.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// What stays of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The year: `2026-11-22T10:00:00Z` becomes `2026-01-01T00:00:00Z`.
    Year,
    /// Year and month.
    Month,
    /// The date without a time.
    Day,
}

/// What numbers count since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// Days, as Avro's `date` does.
    Days,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// How dates are truncated: dates and times of ISO 8601 as text, and numbers if it is said what they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruncateDate {
    /// What stays.
    pub precision: Precision,
    /// What numbers count.
    pub epoch: Option<Epoch>,
}

impl Precision {
    /// The names of all in mask rules.
    pub const NAMES: [&str; 3] = ["year", "month", "day"];

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Year, Self::Month, Self::Day];
        Self::NAMES.iter().zip(all).find(|(known, _)| **known == name).map(|(_, it)| it)
    }
}

impl Epoch {
    /// The names of all in mask rules.
    pub const NAMES: [&str; 4] = ["days", "seconds", "milliseconds", "microseconds"];

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Days, Self::Seconds, Self::Milliseconds, Self::Microseconds];
        Self::NAMES.iter().zip(all).find(|(known, _)| **known == name).map(|(_, it)| it)
    }

    /// How many make a day.
    fn a_day(self) -> i64 {
        match self {
            Self::Days => 1,
            Self::Seconds => 86_400,
            Self::Milliseconds => 86_400_000,
            Self::Microseconds => 86_400_000_000,
        }
    }
}

impl TruncateDate {
    /// Appends the truncated date of a text; `false`, and nothing appended, where it is none.
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let Some((date, time)) = text.split_at_checked(DATE_BYTES) else { return false };
        let parsed = std::str::from_utf8(date).ok().and_then(|date| date.parse::<Date>().ok());
        let (Some(date), Some(time)) = (parsed, midnight(time)) else { return false };
        out.extend_from_slice(self.truncated(date).to_string().as_bytes());
        out.extend_from_slice(&time);
        true
    }

    /// Appends the truncated date of a number; `false`, and nothing appended, where it is none, or not said what it counts.
    pub(super) fn write_number(&self, literal: &[u8], out: &mut Vec<u8>) -> bool {
        let number = std::str::from_utf8(literal).ok().and_then(|text| text.parse().ok());
        let Some(truncated) = number.and_then(|number| self.number(number)) else { return false };
        out.extend_from_slice(truncated.to_string().as_bytes());
        true
    }

    /// The truncated date of a number's decimal text; `None` where it is none, or before 1970.
    pub(in crate::masking) fn number_of(&self, digits: &[u8]) -> Option<u64> {
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        u64::try_from(self.number(number)?).ok()
    }

    /// The truncated date of a number; `None` where it is none, or not said what it counts.
    pub(super) fn number(&self, number: i64) -> Option<i64> {
        let a_day = self.epoch?.a_day();
        let seconds = number.div_euclid(a_day).checked_mul(Epoch::Seconds.a_day())?;
        let date = Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::UTC).date();
        let truncated = self.truncated(date).to_zoned(TimeZone::UTC).ok()?.timestamp();
        truncated.as_second().div_euclid(Epoch::Seconds.a_day()).checked_mul(a_day)
    }

    fn truncated(&self, date: Date) -> Date {
        match self.precision {
            Precision::Year => date.first_of_year(),
            Precision::Month => date.first_of_month(),
            Precision::Day => date,
        }
    }
}

/// The time of a date and time with all its digits 0 and its offset as it is; `None` where it is none. No time is one.
fn midnight(time: &[u8]) -> Option<Vec<u8>> {
    let Some((separator, rest)) = time.split_first() else { return Some(Vec::new()) };
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let offset_at = rest.iter().position(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-'));
    let (clock, offset) = rest.split_at_checked(offset_at.unwrap_or(rest.len()))?;
    // `10:00`, `10:00:00` or `10:00:00.123`.
    let shape: Vec<u8> =
        clock.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
    let (seconds, fraction) = match shape.split_at_checked(SECONDS_BYTES) {
        Some((seconds, fraction)) => (seconds, fraction),
        None => (shape.as_slice(), [].as_slice()),
    };
    let is_fraction = match fraction.split_first() {
        None => true,
        Some((point, digits)) => {
            matches!(point, b'.' | b',')
                && !digits.is_empty()
                && digits.iter().all(|it| *it == b'0')
        }
    };
    let is_offset = match offset {
        [] | [b'Z' | b'z'] => true,
        [_, digits @ ..] => {
            let shape: Vec<u8> =
                digits.iter().map(|it| if it.is_ascii_digit() { b'0' } else { *it }).collect();
            matches!(shape.as_slice(), b"00" | b"0000" | b"00:00")
        }
    };
    if !matches!(seconds, b"00:00" | b"00:00:00") || !is_fraction || !is_offset {
        return None;
    }
    let mut midnight = vec![*separator];
    midnight.extend_from_slice(&shape);
    midnight.extend_from_slice(offset);
    Some(midnight)
}

/// `2026-11-22`.
const DATE_BYTES: usize = 10;
/// `10:00:00`.
const SECONDS_BYTES: usize = 8;
