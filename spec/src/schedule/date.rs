//! Parses dates as users write them: `2025-01-01`, `2025-01-01T06:30`, `2025-01-01T06:30:00+01:00`.

use super::is_near;
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// Parses a date. Without a zone it is a wall time in `zone`: skipped times move forward by the gap, and repeated times
/// are the first occurrence. `None` if it is invalid or outside the years 1 to 9999.
pub fn parse_date(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    parse(text, zone).filter(|date| is_near(*date))
}

fn parse(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.to_utc());
    }
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|day| day.and_time(NaiveTime::MIN));
    let wall = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).or_else(midnight)?;
    match zone.from_local_datetime(&wall) {
        LocalResult::Single(date) | LocalResult::Ambiguous(date, _) => Some(date.to_utc()),
        LocalResult::None => {
            // Every gap is at most a day long, so the time one day earlier exists. With the offset of that day, the
            // time is after the gap.
            let before = zone.from_local_datetime(&wall.checked_sub_signed(TimeDelta::days(1))?).earliest()?;
            before.to_utc().checked_add_signed(TimeDelta::days(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, zone: Tz, expected: Option<&str>) {
        assert_eq!(parse_date(text, zone).map(|date| date.to_rfc3339()).as_deref(), expected, "{text} in {zone}");
    }

    #[test]
    fn a_date_without_a_zone_is_on_the_wall_clock_of_the_dag() {
        check("2025-01-01", Tz::UTC, Some("2025-01-01T00:00:00+00:00"));
        check("2025-01-01", Tz::Europe__Berlin, Some("2024-12-31T23:00:00+00:00"));
        check("2025-07-01T06:30", Tz::Europe__Berlin, Some("2025-07-01T04:30:00+00:00"));
        check("2025-07-01 06:30:15", Tz::UTC, Some("2025-07-01T06:30:15+00:00"));
    }

    #[test]
    fn a_date_with_a_zone_keeps_it() {
        check("2025-01-01T00:00:00+01:00", Tz::America__New_York, Some("2024-12-31T23:00:00+00:00"));
        check("2025-01-01T00:00:00Z", Tz::Europe__Berlin, Some("2025-01-01T00:00:00+00:00"));
    }

    #[test]
    fn hours_that_the_clock_skips_or_shows_twice_are_dates_too() {
        check("2025-03-30T02:30", Tz::Europe__Berlin, Some("2025-03-30T01:30:00+00:00"));
        check("2025-10-26T02:30", Tz::Europe__Berlin, Some("2025-10-26T00:30:00+00:00"));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for wrong in [
            "",
            "yesterday",
            "+262000-01-01",
            "-5000-01-01",
            "0000-12-31T00:00:00Z",
            "2025-13-01",
            "2025-02-30",
            "01.02.2025",
            "2025-01-01T25:00",
            "2025-01-01T00:00:00+99:00",
        ] {
            check(wrong, Tz::UTC, None);
        }
    }
}
