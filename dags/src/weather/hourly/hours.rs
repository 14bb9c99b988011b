//! Hours in UTC, so that daylight saving time neither skips nor repeats one, and their local times.

use chrono::{DateTime, Datelike, DurationRound as _, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

/// Returns the start of the hour that contains a time.
pub fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::hours(1)).expect("every time can be truncated to its hour")
}

/// Returns `count` hours up to and including `last`, oldest first.
pub fn hours_until(last: DateTime<Utc>, count: u32) -> Vec<DateTime<Utc>> {
    (0..count).rev().map(|back| last - TimeDelta::hours(back.into())).collect()
}

/// Local time of an hour. The fields are columns of `weather.hourly_weather`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Clock {
    pub year: i32,
    pub month: i32,
    pub day: i32,
    pub hour: i32,
    /// Day of the week from 0 (Monday) to 6.
    pub day_of_week: i32,
    pub is_weekend: bool,
}

impl Clock {
    pub fn at(hour: DateTime<Utc>, zone: Tz) -> Clock {
        let local = hour.with_timezone(&zone);
        let day_of_week = local.weekday().num_days_from_monday() as i32;
        Clock {
            year: local.year(),
            month: local.month() as i32,
            day: local.day() as i32,
            hour: local.hour() as i32,
            day_of_week,
            is_weekend: day_of_week > 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_show_local_time() {
        for (hour, expected) in [("2026-01-05T03:00:00Z", (4, 22, 6, true)), ("2025-11-03T06:00:00Z", (3, 1, 0, false))]
        {
            let clock = Clock::at(hour.parse().expect("a time"), Tz::America__New_York);
            assert_eq!((clock.day, clock.hour, clock.day_of_week, clock.is_weekend), expected, "{hour}");
        }
    }
}
