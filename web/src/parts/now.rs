//! The moment for which a page is drawn, and the zone in which its reader wants to read times. Durations are taken with
//! it like with any other moment; only what is written for people asks for the zone.

use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
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

    /// A moment as clocks show it where the reader is.
    pub(crate) fn local(&self, at: DateTime<Utc>) -> DateTime<Tz> {
        at.with_timezone(&self.zone)
    }

    pub(crate) fn written(&self, at: DateTime<Utc>, form: &str) -> String {
        self.local(at).format(form).to_string()
    }

    /// Day, time to the second, and where clocks show it.
    pub(crate) fn exactly(&self, at: DateTime<Utc>) -> String {
        format!("{} {}", self.written(at, "%Y-%m-%d %H:%M:%S"), self.suffix(at))
    }

    /// `UTC`, or how far from it: `+02:00`.
    fn suffix(&self, at: DateTime<Utc>) -> String {
        if self.zone == Tz::UTC { "UTC".into() } else { self.written(at, "%:z") }
    }

    /// `UTC`, `Berlin +1`, `Kolkata +5:30`.
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
}
