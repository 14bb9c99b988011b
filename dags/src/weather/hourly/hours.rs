//! Hours as the table keeps them: by the UTC clock, so that no clock of a place loses or repeats one; and what that place's
//! clock says beside it.

use chrono::{DateTime, Datelike, DurationRound as _, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

/// The hour that a moment is in.
pub fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::hours(1)).expect("an hour divides every moment that chrono knows")
}

/// So many hours up to that one, oldest first.
pub fn hours_until(last: DateTime<Utc>, count: u32) -> Vec<DateTime<Utc>> {
    (0..count).rev().map(|back| last - TimeDelta::hours(back.into())).collect()
}

/// Those that are not among the found ones, in their order.
pub fn missing(expected: &[DateTime<Utc>], found: &[DateTime<Utc>]) -> Vec<DateTime<Utc>> {
    let found: std::collections::HashSet<_> = found.iter().collect();
    expected.iter().filter(|hour| !found.contains(hour)).copied().collect()
}

/// What a place's clock says at an hour: as the trips of its taxis are dated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub year: i32,
    pub month: i32,
    pub day: i32,
    pub hour: i32,
    /// Monday is 0.
    pub day_of_week: i32,
}

impl Clock {
    pub fn at(hour: DateTime<Utc>, zone: Tz) -> Clock {
        let there = hour.with_timezone(&zone);
        Clock {
            year: there.year(),
            month: there.month() as i32,
            day: there.day() as i32,
            hour: there.hour() as i32,
            day_of_week: there.weekday().num_days_from_monday() as i32,
        }
    }

    pub fn is_weekend(&self) -> bool {
        self.day_of_week > 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn local_hours(day: (i32, i32, i32), from: &str) -> Vec<i32> {
        let zone = chrono_tz::America::New_York;
        let all = hours_until(hour_of(at(from)) + TimeDelta::hours(47), 48);
        let clocks = all.into_iter().map(|hour| Clock::at(hour, zone));
        clocks.filter(|clock| (clock.year, clock.month, clock.day) == day).map(|clock| clock.hour).collect()
    }

    #[test]
    fn a_day_has_23_hours_in_spring_and_25_in_autumn() {
        let spring = local_hours((2025, 3, 9), "2025-03-09T00:30:00Z");
        assert!(spring.len() == 23 && !spring.contains(&2), "{spring:?}");
        let autumn = local_hours((2025, 11, 2), "2025-11-02T00:30:00Z");
        assert_eq!(autumn.iter().filter(|hour| **hour == 1).count(), 2);
        assert_eq!(autumn.len(), 25);
    }

    #[test]
    fn what_is_missing_is_told_in_order() {
        let expected = hours_until(at("2026-01-01T05:00:00Z"), 4);
        let found = [expected[3], expected[1], at("2025-01-01T00:00:00Z")];
        assert_eq!(missing(&expected, &found), [expected[0], expected[2]]);
        assert_eq!(expected[0], at("2026-01-01T02:00:00Z"));
        let sunday = Clock::at(at("2026-01-04T12:00:00Z"), Tz::UTC);
        assert!(sunday.day_of_week == 6 && sunday.is_weekend());
    }
}
