//! Run ids: a time to the millisecond that increases from run to run, and random letters.

/// The letters of the random part, without those easily confused (l, o, 0, 1).
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const DRAWN: usize = 6;

/// Returns the id of a run that begins `millis` after 1970.
pub(super) fn format(millis: u64, random: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let Utc { year, month, day, hour, minute, second } = Utc::from_seconds(seconds);
    let letter = |at: usize| {
        let number = usize::try_from(random >> (5 * at) & 31).expect("five bits fit");
        char::from(LETTERS[number])
    };
    let drawn: String = (0..DRAWN).map(letter).collect();
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}-{millis:03}-{drawn}")
}

/// Returns the time in a run id, in milliseconds since 1970. Ids of earlier builds have whole
/// seconds.
pub(super) fn millis(id: &str) -> Option<u64> {
    let mut parts = id.split('-');
    let (date, time, third) = (parts.next()?, parts.next()?, parts.next());
    let number = |text: &str| text.parse::<u64>().ok();
    let (8, 6) = (date.len(), time.len()) else { return None };
    let days = days_since_1970(number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?)?;
    let (hour, minute) = (number(&time[..2])?, number(&time[2..4])?);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + number(&time[4..])?;
    // With a fourth part, the third has the milliseconds; without, the process.
    let millis = parts.next().and(third).and_then(number).filter(|millis| *millis < 1000);
    Some(seconds * 1000 + millis.unwrap_or(999))
}

/// A time of day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// The year.
    pub year: i64,
    /// The month, from 1.
    pub month: i64,
    /// The day of the month, from 1.
    pub day: i64,
    /// The hour, from 0 to 23.
    pub hour: u64,
    /// The minute.
    pub minute: u64,
    /// The second.
    pub second: u64,
}

impl Utc {
    /// Returns the time `seconds` after 1970.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        let (year, month, day) = civil_date((seconds / 86_400).cast_signed());
        let rest = seconds % 86_400;
        Self { year, month, day, hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60 }
    }
}

/// Returns the civil date `days` after 1970: eras of 400 years, years that begin in March.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// Returns how many days after 1970 a civil date is.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, yoe) = (year / 400, year % 400);
    let mp = (month + 9) % 12;
    let doy = (153 * mp + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    (era * 146_097 + doe).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_time() {
        assert_eq!(format(1_769_903_999_120, 0), "20260131-235959-120-aaaaaa");
        for at in [0, 951_827_696_789, 1_769_903_999_120, 4_102_444_800_000] {
            assert_eq!(millis(&format(at, u64::MAX)), Some(at));
        }
        assert_eq!(millis("20260131-235959-4711"), Some(1_769_903_999_999), "of earlier builds");
        for odd in ["run-0001", "2026013-235959-1", "20261331-235959-1", ""] {
            assert_eq!(millis(odd), None, "{odd}");
        }
    }
}
