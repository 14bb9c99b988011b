//! Calendar features of an hour. An hour is the number of hours since 1970 in local wall-clock time, without a time
//! zone.

use chrono::{Datelike as _, NaiveDate, TimeDelta, Weekday};

pub const DAY: i64 = 24;
pub const WEEK: i64 = 168;

pub fn hour_of_day(hour: i64) -> i64 {
    hour.rem_euclid(DAY)
}

pub fn date(hour: i64) -> NaiveDate {
    NaiveDate::default() + TimeDelta::days(hour.div_euclid(DAY))
}

/// Returns the number of the first hour of a day.
pub fn midnight(day: NaiveDate) -> i64 {
    (day - NaiveDate::default()).num_days() * DAY
}

/// Returns the hour of the week; 0 is Monday at midnight.
pub fn hour_of_week(hour: i64) -> i64 {
    i64::from(date(hour).weekday().num_days_from_monday()) * DAY + hour_of_day(hour)
}

pub fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

/// Returns true for days on which the city works less: Christmas Eve, New Year's Eve, and the federal holidays on which
/// most offices are closed.
pub fn is_holiday(day: NaiveDate) -> bool {
    let week_of_month = day.day0() / 7 + 1;
    let is_last = day.month() != (day + TimeDelta::days(7)).month();
    match (day.month(), day.day(), day.weekday()) {
        (1 | 12, 31, _) => day.month() == 12,
        (1, 1, _) | (7, 4, _) | (12, 24 | 25, _) => true,
        (5, _, Weekday::Mon) => is_last,
        (1 | 2, _, Weekday::Mon) => week_of_month == 3,
        (9, _, Weekday::Mon) => week_of_month == 1,
        (11, _, Weekday::Thu) => week_of_month == 4,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holidays_are_those_of_the_year() {
        let year = NaiveDate::from_ymd_opt(2019, 1, 1).expect("a day");
        let found: Vec<String> = year
            .iter_days()
            .take(365)
            .filter(|day| is_holiday(*day))
            .map(|day| day.format("%m-%d").to_string())
            .collect();
        assert_eq!(found, ["01-01", "01-21", "02-18", "05-27", "07-04", "09-02", "11-28", "12-24", "12-25", "12-31"]);
    }

    #[test]
    fn hours_count_from_monday() {
        let monday = NaiveDate::from_ymd_opt(2019, 3, 4).expect("a day");
        let hour = midnight(monday) + 30;
        assert_eq!((hour_of_week(hour), hour_of_day(hour), date(hour)), (30, 6, monday + TimeDelta::days(1)));
    }
}
