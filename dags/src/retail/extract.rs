//! Extracts: the objects that an ingest wrote, and the rule that picks the newest extract of a day.

use super::days::Days;
use super::tables::RAW;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// One table of the source, or a window of it, in the bucket of raw data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    pub table: String,
    /// The order dates; all of them for a table without dates.
    #[serde(default)]
    pub days: Days,
    /// The object that silver reads.
    pub parquet: String,
    /// The object that people read.
    pub csv: String,
    pub rows: u64,
    pub bytes: u64,
}

/// The six tables of one ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracts(Vec<Extract>);

/// The tables that grow by the day; the others are small and always read whole.
pub const BY_DAY: [&str; 2] = ["orders", "order_items"];

impl Extract {
    /// An extract of these days. The object of a whole table has the plain name of the table.
    pub fn at(table: &str, days: Days) -> Extract {
        let name = if days.is_all() { table.to_owned() } else { format!("{table}/{}", days.label()) };
        let (parquet, csv) = (format!("{name}.parquet"), format!("{name}.csv"));
        Extract { table: table.into(), days, parquet, csv, rows: 0, bytes: 0 }
    }
}

impl Extracts {
    /// The objects that a full ingest leaves in the bucket.
    pub fn whole() -> Extracts {
        Extracts(RAW.iter().map(|table| Extract::at(table.name, Days::all())).collect())
    }

    /// # Errors
    /// Returns the names of the tables that are missing.
    pub fn of(tables: Vec<Extract>) -> Result<Extracts, String> {
        let missing: Vec<&str> =
            RAW.iter().map(|table| table.name).filter(|name| !tables.iter().any(|one| one.table == *name)).collect();
        if missing.is_empty() { Ok(Extracts(tables)) } else { Err(missing.join("`, `")) }
    }

    /// Groups extracts by the run that made them, oldest first. A run that lacks a table is left out: it is not finished.
    pub fn by_run(extracts: impl IntoIterator<Item = (String, Extract)>) -> Vec<Extracts> {
        let mut runs: Vec<(String, Vec<Extract>)> = Vec::new();
        for (run, extract) in extracts {
            match runs.iter_mut().find(|(known, _)| *known == run) {
                Some((_, tables)) => {
                    // A task that was cleared ran twice: its last extract counts.
                    tables.retain(|one| one.table != extract.table);
                    tables.push(extract);
                }
                None => runs.push((run, vec![extract])),
            }
        }
        runs.into_iter().filter_map(|(_, tables)| Extracts::of(tables).ok()).collect()
    }

    pub fn table(&self, name: &str) -> &Extract {
        self.0.iter().find(|one| one.table == name).expect("an extract of all tables has each of them")
    }

    /// The days that both orders and their items were read of.
    pub fn days(&self) -> Days {
        let [orders, items] = BY_DAY.map(|name| self.table(name).days);
        orders.intersect(items)
    }
}

/// Returns a SQL condition that selects the days for which an extract is the newest one that has them. `None` selects all days.
/// `windows` has the days of all extracts, oldest first.
pub fn is_newest_of(windows: &[Days], extract: usize) -> Option<String> {
    let own = windows[extract].condition("order_date");
    let later = windows[extract + 1..].iter().map(|days| format!(" AND NOT ({})", days.condition("order_date")));
    let condition = own + &later.collect::<String>();
    (condition != "TRUE").then_some(condition)
}

/// Up to which day the facts are known without a gap, after the facts of some days were replaced. The last day may grow: the
/// next run reads it again. A window that begins after the known days leaves a gap and moves nothing.
pub fn known_until_after(before: Option<NaiveDate>, replaced: Days, newest: Option<NaiveDate>) -> Option<NaiveDate> {
    match (replaced.from, before) {
        (None, _) if replaced.until.is_none() => newest,
        (Some(from), Some(before)) if from <= before => newest.max(Some(before)),
        _ => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Option<NaiveDate> {
        (!text.is_empty()).then(|| text.parse().expect("a day"))
    }

    fn days(text: &str) -> Days {
        match text.split_once("..") {
            Some((from, until)) => Days { from: day(from), until: day(until) },
            None => Days::only(day(text).expect("a day")),
        }
    }

    #[test]
    fn the_known_days_grow_without_gaps() {
        for (before, replaced, newest, after) in [
            ("", "..", "2014-07-23", "2014-07-23"),
            ("2014-07-23", "..", "2014-07-01", "2014-07-01"),
            ("2014-01-10", "2014-01-10..", "2014-01-12", "2014-01-12"),
            ("2014-01-10", "2014-01-10..", "", "2014-01-10"),
            ("2014-01-10", "2014-01-05", "2014-01-05", "2014-01-10"),
            ("2014-01-10", "2014-01-15", "2014-01-15", "2014-01-10"),
            ("", "2014-01-15", "2014-01-15", ""),
        ] {
            let known = known_until_after(day(before), days(replaced), day(newest));
            assert_eq!(known, day(after), "{before} {replaced} {newest}");
        }
    }

    #[test]
    fn each_day_comes_from_its_newest_extract() {
        let windows = ["..", "2014-01-05..", "2014-01-07"].map(days);
        let conditions = [0, 1, 2].map(|extract| is_newest_of(&windows, extract).unwrap_or_default());
        assert_eq!(conditions.map(|condition| condition.matches("NOT").count()), [2, 1, 0]);
        assert_eq!(is_newest_of(&windows[..1], 0), None);
        let whole = RAW.map(|table| ("one".to_owned(), Extract::at(table.name, Days::all())));
        let half = whole.clone().into_iter().take(3).map(|(_, extract)| ("half".into(), extract));
        assert_eq!(Extracts::by_run(whole.into_iter().chain(half)), [Extracts::whole()]);
    }
}
