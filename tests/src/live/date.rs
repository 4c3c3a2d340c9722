//! Dates in UTC as playlists write them. Any other form is no date.

use super::playlist::seconds;

/// Microseconds since 1970 of an ISO 8601 date in UTC.
pub(super) fn unix_micros(date: &str) -> Option<u64> {
    let (day, time) = date.split_once('T')?;
    let time = time.strip_suffix('Z').or_else(|| time.strip_suffix("+00:00"))?;
    let mut numbers = day.split('-').map(|n| n.parse::<u64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let mut fields = time.splitn(3, ':');
    let (hour, minute) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    let within = (hour * 60 + minute) * 60_000_000 + seconds(fields.next()?).ok()?;
    Some(days(year, month, day)? * 86_400_000_000 + within)
}

/// Days since 1970-01-01 by the proleptic Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * m + 2) / 5 + day - 1;
    Some(y * 365 + y / 4 - y / 100 + y / 400 + of_year - 719_468)
}
