//! A year as columns of weeks: a square per day, shaded by its number of runs, in the color of the worst state. Days
//! with a failed run also have a line through the square.

use askama::filters::HtmlSafe;
use chrono::{Datelike as _, Days, NaiveDate, Weekday};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DayCount {
    pub(crate) succeeded: i64,
    pub(crate) failed: i64,
    /// Queued or running runs.
    pub(crate) open: i64,
}

impl DayCount {
    pub(crate) fn all(self) -> i64 {
        self.succeeded + self.failed + self.open
    }

    fn state(self) -> &'static str {
        match self {
            DayCount { failed: 1.., .. } => "failed",
            DayCount { open: 1.., .. } => "running",
            _ => "success",
        }
    }

    /// Returns a text such as `3 runs, 1 failed`.
    pub(crate) fn words(self) -> String {
        let parts = [(self.failed, "failed"), (self.open, "not over")].into_iter().filter(|(count, _)| *count > 0);
        let parts = parts.map(|(count, what)| format!(", {count} {what}"));
        super::counted(self.all(), "run") + &parts.collect::<String>()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Year {
    last: NaiveDate,
    days: BTreeMap<NaiveDate, DayCount>,
    most: i64,
}

const WEEKS: u64 = 53;
const STEP: i64 = 14;
const SIDE: i64 = 12;
/// Margins for the labels of days at the left and of months at the top.
const LEFT: i64 = 30;
const TOP: i64 = 18;
const HEIGHT: i64 = TOP + 7 * STEP;
/// Minimum opacity, so that a day with a single run remains visible.
const FAINTEST: f64 = 0.35;

impl Year {
    /// Returns the weeks up to the one that contains `last`. Days outside of them are omitted.
    pub(crate) fn new(last: NaiveDate, mut days: BTreeMap<NaiveDate, DayCount>) -> Year {
        let first = Year::first(last);
        days.retain(|day, count| (first..=last).contains(day) && count.all() > 0);
        let most = days.values().map(|count| count.all()).max().unwrap_or_default();
        Year { last, days, most }
    }

    /// Returns the Monday of the first week of a year that ends on this day.
    pub(crate) fn first(last: NaiveDate) -> NaiveDate {
        let monday = last.week(Weekday::Mon).first_day();
        monday.checked_sub_days(Days::new((WEEKS - 1) * 7)).unwrap_or(monday)
    }

    pub(crate) fn days(&self) -> &BTreeMap<NaiveDate, DayCount> {
        &self.days
    }

    fn months(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Year::first(self.last);
        let mondays = (0..WEEKS as i64).zip(first.iter_weeks());
        for (week, monday) in mondays.filter(|(week, monday)| monday.day() <= 7 && *week < WEEKS as i64 - 1) {
            let x = LEFT + week * STEP;
            write!(f, r#"<text class="tick" x="{x}" y="11">{}</text>"#, monday.format("%b"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Year {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Year::first(self.last);
        let width = LEFT + WEEKS as i64 * STEP;
        let failed = self.days.values().filter(|count| count.failed > 0).count();
        let runs: i64 = self.days.values().map(|count| count.all()).sum();
        write!(
            f,
            r#"<svg class="year" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{} on {}, {} with a failed run">"#,
            super::counted(runs, "run"),
            super::counted(self.days.len() as i64, "day"),
            super::counted(failed as i64, "day"),
        )?;
        self.months(f)?;
        for (row, word) in [(0, "Mon"), (2, "Wed"), (4, "Fri")] {
            write!(f, r#"<text class="tick" x="0" y="{}">{word}</text>"#, TOP + row * STEP + 10)?;
        }
        for (number, day) in (0..WEEKS as i64 * 7).zip(first.iter_days()).take_while(|(_, day)| *day <= self.last) {
            let (x, y) = (LEFT + number / 7 * STEP, TOP + number % 7 * STEP);
            let square = format!(r#"x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" rx="2""#);
            let Some(count) = self.days.get(&day) else {
                write!(f, r#"<rect class="blank" {square}><title>{day}: no run</title></rect>"#)?;
                continue;
            };
            let share = count.all() as f64 / self.most as f64;
            let (shade, state, words) = (FAINTEST + (1.0 - FAINTEST) * share, count.state(), count.words());
            write!(
                f,
                r#"<rect class="b s-{state}" {square} opacity="{shade:.2}"><title>{day}: {words}</title></rect>"#
            )?;
            if count.failed > 0 {
                let (from, to) = (x + 2, x + SIDE - 2);
                let (low, high) = (y + SIDE - 2, y + 2);
                write!(f, r#"<path class="cross" d="M{from} {low}L{to} {high}"/>"#)?;
            }
        }
        write!(f, "</svg>")
    }
}

impl HtmlSafe for Year {}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_year_is_its_weeks_and_ends_with_its_last_day() {
        assert_eq!(Year::first(day("2026-11-25")), day("2025-11-24"));
        let one = DayCount { succeeded: 1, ..DayCount::default() };
        let bad = DayCount { succeeded: 1, failed: 1, open: 2 };
        let days = [("2025-11-23", one), ("2025-11-24", one), ("2026-11-25", bad), ("2026-11-26", one)];
        let year = Year::new(day("2026-11-25"), days.into_iter().map(|(at, count)| (day(at), count)).collect());
        assert_eq!(year.days().len(), 2, "what lies outside is left out");
        let drawn = year.to_string();
        assert_eq!(drawn.matches("<rect").count(), 52 * 7 + 3, "up to Wednesday");
        assert!(drawn.contains(r#"aria-label="5 runs on 2 days, 1 day with a failed run""#), "{drawn}");
        assert!(drawn.contains("<title>2026-11-25: 4 runs, 1 failed, 2 not over</title>"), "{drawn}");
        assert!(drawn.contains(r#"class="b s-success" x="30" y="18" width="12" height="12" rx="2" opacity="0.51""#));
        assert_eq!((drawn.matches(r#"class="cross""#).count(), drawn.matches(">Jan<").count()), (1, 1));
    }

    #[test]
    fn a_year_without_runs_is_drawn_too() {
        let drawn = Year::new(day("2026-03-01"), BTreeMap::new()).to_string();
        assert!(drawn.contains("0 runs on 0 days") && drawn.contains("2026-03-01: no run"), "{drawn}");
    }
}
