//! What an ingest took out of the source and where it put it; and which of several such extracts make up a whole.

use super::days::Days;
use super::schema::RAW;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// One table of the source, or a window of it, in the bucket of raw data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    pub table: String,
    /// Which order dates: all of a table that has none.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracts {
    tables: Vec<Extract>,
}

/// Only these two grow by the day; the others are small and always read whole.
pub const BY_DAY: [&str; 2] = ["orders", "order_items"];

impl Extract {
    /// Where an extract of these days lies: the object of the whole table has its plain name.
    pub fn at(table: &str, days: Days) -> Extract {
        let place = if days.is_all() { table.to_owned() } else { format!("{table}/{}", days.label()) };
        Extract {
            table: table.into(),
            days,
            parquet: format!("{place}.parquet"),
            csv: format!("{place}.csv"),
            rows: 0,
            bytes: 0,
        }
    }
}

impl Extracts {
    /// What lies in the bucket after a full ingest.
    pub fn whole() -> Extracts {
        Extracts { tables: RAW.iter().map(|table| Extract::at(table.name, Days::all())).collect() }
    }

    /// # Errors
    /// The tables that are missing.
    pub fn of(tables: Vec<Extract>) -> Result<Extracts, String> {
        let missing: Vec<&str> =
            RAW.iter().map(|table| table.name).filter(|name| !tables.iter().any(|one| one.table == *name)).collect();
        if missing.is_empty() { Ok(Extracts { tables }) } else { Err(missing.join("`, `")) }
    }

    /// One extract for each run of the ingest that `said` tells of, oldest first. A run that did not tell of every table
    /// yet is left out: it will.
    pub fn of_runs(said: impl IntoIterator<Item = (String, Extract)>) -> Vec<Extracts> {
        let mut runs: Vec<(String, Vec<Extract>)> = Vec::new();
        for (run, extract) in said {
            match runs.iter_mut().find(|(known, _)| *known == run) {
                Some((_, tables)) => {
                    // Cleared and run again: the last word counts.
                    tables.retain(|one| one.table != extract.table);
                    tables.push(extract);
                }
                None => runs.push((run, vec![extract])),
            }
        }
        runs.into_iter().filter_map(|(_, tables)| Extracts::of(tables).ok()).collect()
    }

    pub fn table(&self, name: &str) -> &Extract {
        self.tables.iter().find(|one| one.table == name).expect("an extract of all tables has each of them")
    }

    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|one| one.rows).sum()
    }

    /// The days that both orders and their items were read of: what is known about other days is not all.
    pub fn days(&self) -> Days {
        let [orders, items] = BY_DAY.map(|name| self.table(name).days);
        orders.and(items)
    }
}

/// Which days each of several extracts, oldest first, has the last word about: whatever a later one holds is its own.
pub fn last_words(days: &[Days], extract: usize, day: NaiveDate) -> bool {
    days[extract].hold(day) && !days[extract + 1..].iter().any(|later| later.hold(day))
}

/// Up to which day the facts are known without a gap, after these days were replaced. The last day may grow: it is read
/// again. A window that begins after what is known leaves a gap, so it moves nothing.
pub fn known_until(before: Option<NaiveDate>, replaced: Days, newest: Option<NaiveDate>) -> Option<NaiveDate> {
    match (replaced.from, before) {
        (None, _) if replaced.until.is_none() => newest,
        (Some(from), Some(before)) if from <= before => newest.max(Some(before)),
        _ => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn days(text: &str) -> Days {
        let part = |text: &str| (!text.is_empty()).then(|| day(text));
        match text.split_once("..") {
            Some((from, until)) => Days { from: part(from), until: part(until) },
            None => Days::only(day(text)),
        }
    }

    #[test]
    fn the_object_of_a_whole_table_has_its_name() {
        for (window, csv) in [
            ("..", "orders.csv"),
            ("2014-01-05", "orders/2014-01-05.csv"),
            ("2014-01-05..", "orders/since-2014-01-05.csv"),
        ] {
            assert_eq!(Extract::at("orders", days(window)).csv, csv);
        }
    }

    #[test]
    fn what_is_known_grows_without_gaps() {
        for (before, replaced, newest, after) in [
            ("", "..", "2014-07-23", "2014-07-23"),
            ("2014-07-23", "..", "2014-07-01", "2014-07-01"),
            ("2014-01-10", "2014-01-10..", "2014-01-12", "2014-01-12"),
            ("2014-01-10", "2014-01-10..", "", "2014-01-10"),
            ("2014-01-10", "2014-01-05", "2014-01-05", "2014-01-10"),
            ("2014-01-10", "2014-01-15", "2014-01-15", "2014-01-10"),
            ("", "2014-01-15", "2014-01-15", ""),
        ] {
            let part = |text: &str| (!text.is_empty()).then(|| day(text));
            assert_eq!(
                known_until(part(before), days(replaced), part(newest)),
                part(after),
                "{before} {replaced} {newest}"
            );
        }
    }

    #[test]
    fn the_last_extract_of_a_day_counts() {
        let read = ["..", "2014-01-05..", "2014-01-07"].map(days);
        for (of, extract) in [("2014-01-04", 0), ("2014-01-05", 1), ("2014-01-07", 2), ("2014-01-08", 1)] {
            let words: Vec<bool> = (0..3).map(|n| last_words(&read, n, day(of))).collect();
            assert_eq!(words.iter().position(|word| *word), Some(extract), "{of}: {words:?}");
            assert_eq!(words.iter().filter(|word| **word).count(), 1, "{of}");
        }
    }

    #[test]
    fn runs_that_told_of_every_table_are_extracts() {
        let of_run = |run: &str, tables: &[&str], window: &str| -> Vec<(String, Extract)> {
            tables.iter().map(|table| (run.into(), Extract::at(table, days(window)))).collect()
        };
        let all = RAW.map(|table| table.name);
        let mut said = of_run("one", &all, "..");
        said.extend(of_run("half", &all[..3], "2014-01-01"));
        said.extend(of_run("two", &all, "2014-01-02"));
        said.extend(of_run("two", &["orders"], "2014-01-02.."));
        let runs = Extracts::of_runs(said);
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0], Extracts::whole());
        assert_eq!(runs[1].days(), days("2014-01-02"), "what both were read of");
        assert_eq!(
            Extracts::of(vec![Extract::at("orders", Days::all())]).expect_err("five are missing").matches(", ").count(),
            4
        );
    }
}
