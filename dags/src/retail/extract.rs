//! Extracts: the objects that an ingest wrote, and the rule that picks the newest extract of a day.

use super::days::Days;
use super::tables::RAW;
use chrono::NaiveDate;
use orch::{TaskResult, fatal};
use serde::{Deserialize, Serialize};

/// An extract of one source table, or of a window of its order dates, in the bucket of raw data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    pub table: String,
    /// Window of order dates; unbounded for a table without dates.
    #[serde(default)]
    pub days: Days,
    /// Parquet object that silver reads.
    pub parquet: String,
    /// CSV object for users.
    pub csv: String,
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracts(pub Vec<Extract>);

/// Tables that grow by the day; the other tables are small and always read completely.
pub const BY_DAY: [&str; 2] = ["orders", "order_items"];

impl Extract {
    /// Returns an extract of these days. The object of a full extract has the plain name of the table.
    pub fn at(table: &str, days: Days) -> Extract {
        let name = if days.is_all() { table.to_owned() } else { format!("{table}/{}", days.label()) };
        let (parquet, csv) = (format!("{name}.parquet"), format!("{name}.csv"));
        Extract { table: table.into(), days, parquet, csv, rows: 0, bytes: 0 }
    }
}

impl Extracts {
    /// Returns the extracts that a full ingest writes.
    pub fn whole() -> Extracts {
        Extracts(RAW.iter().map(|table| Extract::at(table.name, Days::all())).collect())
    }

    /// Groups extracts by the run that wrote them, oldest first. Omits a run that lacks a table, because it is not
    /// finished.
    pub fn by_run(extracts: impl IntoIterator<Item = (String, Extract)>) -> Vec<Extracts> {
        let mut runs: Vec<(String, Vec<Extract>)> = Vec::new();
        for (run, extract) in extracts {
            match runs.iter_mut().find(|(known, _)| *known == run) {
                Some((_, tables)) => tables.push(extract),
                None => runs.push((run, vec![extract])),
            }
        }
        let runs = runs.into_iter().map(|(_, tables)| Extracts(tables));
        runs.filter(|run| RAW.iter().all(|table| run.table(table.name).is_ok())).collect()
    }

    /// Returns the newest extract of a table: a cleared task extracts its table twice.
    pub(super) fn table(&self, name: &str) -> TaskResult<&Extract> {
        let newest = self.0.iter().rfind(|extract| extract.table == name);
        newest.ok_or_else(|| fatal(format!("nothing was extracted of `{name}`\nhint: clear the task that ingests it")))
    }

    /// Returns the days for which both orders and their items were read.
    pub(super) fn days(&self) -> TaskResult<Days> {
        let [orders, items] = BY_DAY.map(|name| self.table(name));
        Ok(orders?.days.intersect(items?.days))
    }
}

/// Returns a SQL condition that selects the days for which an extract is the newest one that has them. `None` selects
/// all days. `windows` has the days of all extracts, oldest first.
pub fn is_newest_of(windows: &[Days], extract: usize) -> Option<String> {
    let own = windows[extract].condition("order_date");
    let later = windows[extract + 1..].iter().map(|days| format!(" AND NOT ({})", days.condition("order_date")));
    let condition = own + &later.collect::<String>();
    (condition != "TRUE").then_some(condition)
}

/// Returns the day up to which the facts are known without a gap, after the facts of some days were replaced. The last
/// day may still grow: the next run reads it again. A window that starts after the known days leaves a gap and does not
/// move this day.
pub fn known_until_after(before: Option<NaiveDate>, replaced: Days, newest: Option<NaiveDate>) -> Option<NaiveDate> {
    match (replaced.from, before) {
        (None, _) if replaced.until.is_none() => newest,
        (Some(from), Some(before)) if from <= before => newest.max(Some(before)),
        _ => before,
    }
}
