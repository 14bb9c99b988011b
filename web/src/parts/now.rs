//! The current time of a page and the reader's time zone. The zone only affects formatted times.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use orch_wire::timestamp::moment_from;
use std::ops::{Add, Sub};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ZonedNow {
    pub(crate) at: DateTime<Utc>,
    pub(crate) zone: Tz,
}

impl ZonedNow {
    #[cfg(test)]
    pub(crate) fn utc(at: DateTime<Utc>) -> ZonedNow {
        ZonedNow { at, zone: Tz::UTC }
    }

    /// Converts a time to the reader's time zone.
    pub(crate) fn local(&self, at: DateTime<Utc>) -> DateTime<Tz> {
        at.with_timezone(&self.zone)
    }

    pub(crate) fn written(&self, at: DateTime<Utc>, form: &str) -> String {
        self.local(at).format(form).to_string()
    }

    /// Formats a time with date, seconds and zone.
    pub(crate) fn exactly(&self, at: DateTime<Utc>) -> String {
        format!("{} {}", self.written(at, "%Y-%m-%d %H:%M:%S"), self.suffix(at))
    }

    /// Parses a date or time that the reader typed.
    pub(crate) fn typed(&self, text: &str) -> Option<TypedTime> {
        typed(text, self.zone)
    }

    /// Formats a time for a `datetime-local` input.
    pub(crate) fn field(&self, at: DateTime<Utc>) -> String {
        self.written(at, "%Y-%m-%dT%H:%M:%S")
    }

    /// Returns `UTC` or the offset from it, such as `+02:00`.
    fn suffix(&self, at: DateTime<Utc>) -> String {
        if self.zone == Tz::UTC { "UTC".into() } else { self.written(at, "%:z") }
    }

    /// Returns the zone and its offset: `UTC`, `Berlin +1`, `Kolkata +5:30`.
    pub(crate) fn place(&self) -> String {
        let name = self.zone.name();
        let minutes = self.zone.offset_from_utc_datetime(&self.at.naive_utc()).fix().local_minus_utc() / 60;
        let city = name.rsplit('/').next().unwrap_or(name).replace('_', " ");
        let sign = if minutes < 0 { '−' } else { '+' };
        let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
        match (self.zone, rest) {
            (Tz::UTC, _) => "UTC".into(),
            (_, 0) => format!("{city} {sign}{hours}"),
            _ => format!("{city} {sign}{hours}:{rest:02}"),
        }
    }
}

/// A parsed input: the first and the last microsecond of a date, or a time in both fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypedTime {
    pub(crate) first: DateTime<Utc>,
    pub(crate) last: DateTime<Utc>,
}

/// Parses a date or time as users type it and browsers send it, in this zone unless the text contains an offset.
pub(crate) fn typed(text: &str, zone: Tz) -> Option<TypedTime> {
    let text = text.trim();
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        let first = instant(day.and_time(NaiveTime::MIN), zone)?;
        let next = instant(day.succ_opt()?.and_time(NaiveTime::MIN), zone)?;
        return Some(TypedTime { first, last: next - TimeDelta::microseconds(1) });
    }
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let at = match forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()) {
        Some(naive) => instant(naive, zone)?,
        // In the API, a number of seconds is a valid timestamp. Here it is more likely a year or a typo.
        None if text.parse::<f64>().is_ok() => return None,
        None => moment_from(text).ok()?,
    };
    Some(TypedTime { first: at, last: at })
}

/// Returns the first instant at which clocks of the zone show this time. If they skip it, the time is moved forward by
/// full hours. `None` outside the years 1 to 10000.
fn instant(naive: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    if !(1..=10_000).contains(&naive.year()) {
        return None;
    }
    let at = |hours| zone.from_local_datetime(&(naive + TimeDelta::hours(hours))).earliest();
    Some((0..=24).find_map(at)?.with_timezone(&Utc))
}

impl Sub<DateTime<Utc>> for ZonedNow {
    type Output = TimeDelta;

    fn sub(self, earlier: DateTime<Utc>) -> TimeDelta {
        self.at - earlier
    }
}

impl Sub<ZonedNow> for DateTime<Utc> {
    type Output = TimeDelta;

    fn sub(self, now: ZonedNow) -> TimeDelta {
        self - now.at
    }
}

impl Sub<TimeDelta> for ZonedNow {
    type Output = DateTime<Utc>;

    fn sub(self, by: TimeDelta) -> DateTime<Utc> {
        self.at - by
    }
}

impl Add<TimeDelta> for ZonedNow {
    type Output = DateTime<Utc>;

    fn add(self, by: TimeDelta) -> DateTime<Utc> {
        self.at + by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_where_the_reader_is() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).expect("a moment");
        for (zone, written, place) in [
            ("UTC", "2027-01-15 08:00:00 UTC", "UTC"),
            ("Europe/Berlin", "2027-01-15 09:00:00 +01:00", "Berlin +1"),
            ("Asia/Kolkata", "2027-01-15 13:30:00 +05:30", "Kolkata +5:30"),
            ("America/New_York", "2027-01-15 03:00:00 -05:00", "New York −5"),
        ] {
            let now = ZonedNow { at, zone: zone.parse().expect("a zone") };
            assert_eq!((now.exactly(at).as_str(), now.place().as_str()), (written, place));
        }
    }

    #[test]
    fn what_is_typed_is_where_the_reader_is_and_a_date_is_the_whole_day() {
        for (zone, text, first, last) in [
            ("UTC", "2026-11-20", "2026-11-20 00:00:00 UTC", "2026-11-20 23:59:59.999999 UTC"),
            ("Europe/Berlin", "2026-11-20", "2026-11-19 23:00:00 UTC", "2026-11-20 22:59:59.999999 UTC"),
            ("Europe/Berlin", "2026-10-25", "2026-10-24 22:00:00 UTC", "2026-10-25 22:59:59.999999 UTC"),
            ("Europe/Berlin", "2026-11-20T08:30", "2026-11-20 07:30:00 UTC", "2026-11-20 07:30:00 UTC"),
            ("Europe/Berlin", "2026-11-20 08:30:05", "2026-11-20 07:30:05 UTC", "2026-11-20 07:30:05 UTC"),
            ("Europe/Berlin", "2026-11-20T08:30Z", "2026-11-20 08:30:00 UTC", "2026-11-20 08:30:00 UTC"),
            ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29 01:30:00 UTC", "2026-03-29 01:30:00 UTC"),
            ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25 00:30:00 UTC", "2026-10-25 00:30:00 UTC"),
        ] {
            let found = typed(text, zone.parse().expect("a zone")).expect("it is a time");
            assert_eq!(
                (found.first.to_string().as_str(), found.last.to_string().as_str()),
                (first, last),
                "{zone} {text}"
            );
        }
        for text in ["", "yesterday", "2026", "99999-01-01", "2026-13-01", "0000-01-01T00:00"] {
            assert_eq!(typed(text, Tz::UTC), None, "{text}");
        }
    }
}
