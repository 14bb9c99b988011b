//! Names of the weekly partitions (leaves) that contain a run's rows. Hot statements name the partition directly,
//! because planning a statement over the parent table opens every partition.

use chrono::{DateTime, Datelike, Utc};
use std::fmt;
use uuid::Uuid;

/// An ISO week, formatted as in partition names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Leaf {
    year: i32,
    week: u32,
}

impl Leaf {
    /// Returns the week in which a run was created, from the timestamp in the run's UUID (v7).
    pub fn of(run: Uuid) -> Leaf {
        Leaf::at(Leaf::moment(run))
    }

    /// Returns the time at which a run was created, from the timestamp in the run's UUID (v7).
    pub(crate) fn moment(run: Uuid) -> DateTime<Utc> {
        let millis = (run.as_u128() >> 80) as i64;
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }

    pub fn at(moment: DateTime<Utc>) -> Leaf {
        let week = moment.iso_week();
        Leaf { year: week.year(), week: week.week() }
    }

    /// Returns the week in which all of the runs were created, or `None` if they were created in different weeks.
    pub fn shared(runs: impl IntoIterator<Item = Uuid>) -> Option<Leaf> {
        let mut leaves = runs.into_iter().map(Leaf::of);
        let first = leaves.next()?;
        leaves.all(|leaf| leaf == first).then_some(first)
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}w{:02}", self.year, self.week)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_lives_in_the_week_its_uuid_was_made() {
        let run = Uuid::parse_str("019a9f60-8c00-7000-8000-000000000000").expect("a uuid"); // 2025-11-20
        assert_eq!(Leaf::of(run).to_string(), "2025w47");
        let new_year: DateTime<Utc> = "2027-01-01T00:00:00Z".parse().expect("a date");
        assert_eq!(Leaf::at(new_year).to_string(), "2026w53");
    }
}
