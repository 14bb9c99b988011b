//! A cron expression as sets, and the search for its wall times.
//!
//! Crate `cron` 0.17 is not used because it requires seconds in the first field, ANDs the two day fields, counts Sunday
//! as 1 and returns times out of order when clocks are set back. This module has no time zones: `wall` maps the times
//! to a zone.

mod describe;
mod parse;

pub use parse::CronError;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Weekday};
use std::{fmt, str::FromStr};

/// An expression without a date in this number of years never fires. It is croniter's limit, and covers a full cycle of
/// leap years.
const MAX_YEARS_AHEAD: i32 = 50;

/// Bit in `DayOfWeek::nth` for the last one of a month. Bits 1 to 5 are the first to fifth.
const LAST_OF_MONTH: u8 = 1 << 6;

const SECONDS_A_DAY: u32 = 24 * 60 * 60;

/// Five fields with Airflow's meaning, or six with seconds in the last.
#[derive(Debug, Clone)]
pub struct CronExpr {
    text: String,
    seconds: u64,
    minutes: u64,
    hours: u32,
    months: u16,
    /// True if the hour field covers every hour. Repeated hours then fire twice.
    every_hour: bool,
    day: DayOfMonth,
    weekday: DayOfWeek,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DayOfMonth {
    days: u32,
    last: bool,
    nearest: Option<u8>,
    any: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DayOfWeek {
    days: u8,
    nth: [u8; 7],
    any: bool,
}

impl CronExpr {
    /// Parses five or six fields or a preset (`@daily`). Case is ignored.
    pub fn parse(text: &str) -> Result<CronExpr, CronError> {
        parse::parse(text)
    }

    /// Returns the expression as written, with single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns false for a date that never occurs, such as 30 February.
    pub fn ever_fires(&self) -> bool {
        self.next_wall(DateTime::UNIX_EPOCH.naive_utc()).is_some()
    }

    pub(super) fn covers_every_hour(&self) -> bool {
        self.every_hour
    }

    /// Returns the first wall time after `from`. `None` if there is none in 50 years.
    pub(super) fn next_wall(&self, from: NaiveDateTime) -> Option<NaiveDateTime> {
        let mut date = from.date();
        let mut second = from.num_seconds_from_midnight() + 1;
        let end = date.year().checked_add(MAX_YEARS_AHEAD)?;
        while date.year() <= end {
            if !self.in_month(date) {
                date = first_of_next_month(date)?;
            } else if let Some(time) = self.time_from(second).filter(|_| self.on_day(date)) {
                return Some(date.and_time(time));
            } else {
                date = date.checked_add_days(Days::new(1))?;
            }
            second = 0;
        }
        None
    }

    /// Returns the last wall time before `until`. `None` if there is none in 50 years.
    pub(super) fn previous_wall(&self, until: NaiveDateTime) -> Option<NaiveDateTime> {
        let mut date = until.date();
        let mut second = (until.num_seconds_from_midnight() + u32::from(until.nanosecond() > 0)).checked_sub(1);
        let end = date.year().checked_sub(MAX_YEARS_AHEAD)?;
        while date.year() >= end {
            if !self.in_month(date) {
                date = date.with_day(1)?.checked_sub_days(Days::new(1))?;
            } else if let Some(time) = second.and_then(|second| self.time_until(second)).filter(|_| self.on_day(date)) {
                return Some(date.and_time(time));
            } else {
                date = date.checked_sub_days(Days::new(1))?;
            }
            second = Some(SECONDS_A_DAY - 1);
        }
        None
    }

    fn in_month(&self, date: NaiveDate) -> bool {
        self.months & (1 << date.month()) != 0
    }

    /// If both day fields are restricted, one match is enough. A `#` or `W` takes precedence over a plain field, as in
    /// croniter.
    fn on_day(&self, date: NaiveDate) -> bool {
        let (day, weekday) = (self.day.holds(date), self.weekday.holds(date));
        if self.day.any || self.weekday.any {
            return day && weekday;
        }
        match (self.day.nearest.is_some(), self.weekday.has_places()) {
            (false, false) => day || weekday,
            (true, false) => day,
            (false, true) => weekday,
            (true, true) => day && weekday,
        }
    }

    /// Returns the first time of the day at or after `second`, in seconds of the day.
    fn time_from(&self, second: u32) -> Option<NaiveTime> {
        let (minute, second) = (second / 60, second % 60);
        if self.minute_from(minute) == Some(minute)
            && let Some(found) = lowest(self.seconds & (u64::MAX << second))
        {
            return NaiveTime::from_hms_opt(minute / 60, minute % 60, found);
        }
        let later = self.minute_from(minute + 1)?;
        NaiveTime::from_hms_opt(later / 60, later % 60, lowest(self.seconds)?)
    }

    /// Returns the first minute of the day at or after `minute`.
    fn minute_from(&self, minute: u32) -> Option<u32> {
        let (hour, minute) = (minute / 60, minute % 60);
        if hour < 24
            && self.hours & (1 << hour) != 0
            && let Some(found) = lowest(self.minutes & (u64::MAX << minute))
        {
            return Some(hour * 60 + found);
        }
        let later = u64::from(self.hours) & (u64::MAX << (hour + 1));
        Some(lowest(later)? * 60 + lowest(self.minutes)?)
    }

    /// Returns the last time of the day at or before `second`, in seconds of the day.
    fn time_until(&self, second: u32) -> Option<NaiveTime> {
        let (minute, second) = (second / 60, second % 60);
        if self.minute_until(minute) == Some(minute)
            && let Some(found) = highest(self.seconds & (u64::MAX >> (63 - second)))
        {
            return NaiveTime::from_hms_opt(minute / 60, minute % 60, found);
        }
        let earlier = self.minute_until(minute.checked_sub(1)?)?;
        NaiveTime::from_hms_opt(earlier / 60, earlier % 60, highest(self.seconds)?)
    }

    /// Returns the last minute of the day at or before `minute`.
    fn minute_until(&self, minute: u32) -> Option<u32> {
        let (hour, minute) = (minute / 60, minute % 60);
        if self.hours & (1 << hour) != 0
            && let Some(found) = highest(self.minutes & (u64::MAX >> (63 - minute)))
        {
            return Some(hour * 60 + found);
        }
        let earlier = u64::from(self.hours) & ((1 << hour) - 1);
        Some(highest(earlier)? * 60 + highest(self.minutes)?)
    }
}

impl DayOfMonth {
    fn holds(self, date: NaiveDate) -> bool {
        let last_day = u32::from(date.num_days_in_month());
        match self.nearest {
            _ if self.any => true,
            Some(wanted) => date.day() == nearest_weekday(date, u32::from(wanted).min(last_day), last_day),
            None => self.days & (1 << date.day()) != 0 || (self.last && date.day() == last_day),
        }
    }
}

impl DayOfWeek {
    fn has_places(self) -> bool {
        self.nth != [0; 7]
    }

    fn holds(self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_sunday();
        if self.has_places() {
            let places = self.nth[weekday as usize];
            let place = (date.day() - 1) / 7 + 1;
            let is_last = date.day() + 7 > u32::from(date.num_days_in_month());
            return places & (1 << place) != 0 || (is_last && places & LAST_OF_MONTH != 0);
        }
        self.any || self.days & (1 << weekday) != 0
    }
}

/// Returns the working day closest to `day` in the month of `date`, never in another month.
fn nearest_weekday(date: NaiveDate, day: u32, last_day: u32) -> u32 {
    match date.with_day(day).map(|d| d.weekday()) {
        Some(Weekday::Sat) if day > 1 => day - 1,
        Some(Weekday::Sat) => day + 2,
        Some(Weekday::Sun) if day < last_day => day + 1,
        Some(Weekday::Sun) => day - 2,
        _ => day,
    }
}

fn first_of_next_month(date: NaiveDate) -> Option<NaiveDate> {
    let (year, month) = if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1)
}

fn lowest(set: u64) -> Option<u32> {
    (set != 0).then(|| set.trailing_zeros())
}

fn highest(set: u64) -> Option<u32> {
    set.checked_ilog2()
}

/// Expressions with the same times are equal, regardless of their spelling.
impl PartialEq for CronExpr {
    fn eq(&self, other: &CronExpr) -> bool {
        let times = |e: &CronExpr| (e.seconds, e.minutes, e.hours, e.months, e.every_hour, e.day, e.weekday);
        times(self) == times(other)
    }
}

impl Eq for CronExpr {}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for CronExpr {
    type Err = CronError;
    fn from_str(text: &str) -> Result<Self, CronError> {
        CronExpr::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, from: &str) -> String {
        let expr = CronExpr::parse(text).expect("a valid expression");
        expr.next_wall(from.parse().expect("a date"))
            .map_or("never".into(), |at| at.format("%Y-%m-%dT%H:%M").to_string())
    }

    fn error(text: &str) -> String {
        CronExpr::parse(text).expect_err("an invalid expression").to_string()
    }

    #[test]
    fn restricted_day_fields_are_ored() {
        // 2026-03-13 is a Friday.
        assert_eq!(next("0 0 1 * fri", "2026-03-12T00:00:00"), "2026-03-13T00:00");
        assert_eq!(next("0 0 1 * fri", "2026-03-28T00:00:00"), "2026-04-01T00:00");
        assert_eq!(next("0 0 13 * *", "2026-03-12T00:00:00"), "2026-03-13T00:00");
    }

    #[test]
    fn leap_days_and_days_that_never_come_are_told_apart() {
        assert_eq!(next("0 0 29 2 *", "2026-01-01T00:00:00"), "2028-02-29T00:00");
        assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00"), "2104-02-29T00:00");
        assert_eq!(next("0 0 30 2 *", "2026-01-01T00:00:00"), "never");
        let fires = |text| CronExpr::parse(text).expect("a valid expression").ever_fires();
        assert!(fires("0 0 29 2 *") && !fires("0 0 30 2 *") && !fires("0 0 31 4,6 *"));
        assert_eq!(next("* * * * *", "2099-12-31T23:59:00"), "2100-01-01T00:00");
        assert_eq!(next("* * * * *", "+262142-12-31T23:59:00"), "never");
    }

    #[test]
    fn errors_name_the_field_and_the_way_out() {
        assert_eq!(
            error("60 * * * *"),
            "cron `60 * * * *`: minute `60` is not valid\nhint: the minute must be from 0 to 59"
        );
        assert_eq!(
            error("0 0 12 * * * 2026"),
            "cron `0 0 12 * * * 2026` has 7 fields, not 5 or 6\nhint: years are not supported: the fields are minute, \
             hour, day of month, month, weekday: `30 6 * * mon-fri`; seconds may follow"
        );
        assert!(error("@fortnightly").contains("presets are @hourly, @daily"));
        assert!(error("every day at 2").contains("seconds may follow; or write a preset: @hourly, @daily"));
        assert!(error("0 0 * * 5L").ends_with("hint: the last one of a month is written `L5`, with a number"));
        assert!(error("0 0 * * 1#6").contains("places are 1 to 5"));
        assert!(error("0 0 * * 1#1,5").contains("mixes plain days"));
        assert!(error("H 4 * * *").contains("not supported"));
        assert!(error("").contains("empty"));
        assert_eq!(
            error(&"1,".repeat(500_000)),
            "cron `1,1,1,1,1,1,1,1,1,1,…` is longer than 1000 characters\nhint: name less: ranges and steps are shorter than lists"
        );
        // Characters are counted, not bytes.
        assert!(error(&"é".repeat(1_000)).contains("is neither a cron expression nor a preset"));
        assert!(error(&"é".repeat(1_001)).contains("is longer than 1000 characters"));
    }

    #[test]
    fn spellings_of_the_same_times_are_equal() {
        let parse = |text| CronExpr::parse(text).expect("a valid expression");
        assert_eq!(parse("@daily"), parse("0   0 *\t* ?"));
        assert_eq!(parse("0 */1 * * 0-7"), parse("0 * * * *"));
        assert_eq!(parse(" 5 4 * * SUN ").to_string(), "5 4 * * SUN");
        assert_ne!(parse("0 0 1 * 1"), parse("0 0 1 * *"));
        assert_eq!(parse("0 5 * * * 0"), parse("0 5 * * *"));
        assert_ne!(parse("0 5 * * * 1"), parse("0 5 * * *"));
    }
}
