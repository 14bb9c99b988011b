//! Declaration of time windows. The module `late` rejects records that are too late, and `fold` aggregates the others.

mod fold;
mod late;

pub(crate) use fold::fold;
pub(crate) use late::EventTime;

use serde_json::{Value, json};
use std::time::Duration;

/// Start of the window: a column of each window row, next to its keys and measures.
pub(crate) const WINDOW_START: &str = "window_start";
pub(crate) const WINDOW_END: &str = "window_end";

/// Time windows by event time, with their measures. The table has a row for each key and window, with the columns
/// `window_start` and `window_end`. It is up to date after each commit: a window changes until no more records for it
/// arrive.
///
/// ```
/// # use orch_streams::Windows;
/// # use std::time::Duration;
/// Windows::tumbling(Duration::from_mins(5))
///     .by(&["city"])
///     .at("event_ts")
///     .allow_late(Duration::from_mins(10))
///     .average("temp", "avg_temp")
///     .count("n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "hand it to `Stream::windows`"]
pub struct Windows {
    pub(crate) shape: Shape,
    pub(crate) by: Vec<String>,
    pub(crate) at: String,
    pub(crate) late: Duration,
    pub(crate) measures: Vec<Measure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Tumbling { size: Duration },
    Hopping { size: Duration, every: Duration },
    Session { gap: Duration },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Name of the measure's column in the table.
    pub(crate) name: String,
    /// Aggregated column of the rows; `None` counts rows.
    pub(crate) of: Option<String>,
    pub(crate) kind: MeasureKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MeasureKind {
    Count,
    Sum,
    Least,
    Greatest,
    Average,
}

impl Windows {
    fn new(shape: Shape) -> Windows {
        let (by, at) = (Vec::new(), String::new());
        Windows { shape, by, at, late: Duration::ZERO, measures: Vec::new() }
    }

    /// Creates consecutive windows without overlap. They start at multiples of `size` since the Unix epoch in UTC.
    pub fn tumbling(size: Duration) -> Windows {
        Windows::new(Shape::Tumbling { size })
    }

    /// Creates overlapping windows of this size that start every `every`. Each timestamp belongs to several windows.
    pub fn hopping(size: Duration, every: Duration) -> Windows {
        Windows::new(Shape::Hopping { size, every })
    }

    /// Creates session windows: records of which each follows within `gap` of the previous one. A window ends `gap`
    /// after its last record.
    pub fn session(gap: Duration) -> Windows {
        Windows::new(Shape::Session { gap })
    }

    /// Groups windows by these columns: each combination of values has its own windows.
    pub fn by(self, columns: &[&str]) -> Windows {
        Windows { by: columns.iter().map(|&column| column.to_owned()).collect(), ..self }
    }

    /// Sets the column with the event time, which must be a timestamp.
    pub fn at(self, column: impl Into<String>) -> Windows {
        Windows { at: column.into(), ..self }
    }

    /// Sets how late a record may arrive. A window accepts records until the event time of their partition is later
    /// than the window's end plus this duration. Later records are quarantined.
    pub fn allow_late(self, late: Duration) -> Windows {
        Windows { late, ..self }
    }

    /// Adds a measure: the number of records in the window.
    pub fn count(self, name: impl Into<String>) -> Windows {
        self.measure(MeasureKind::Count, None, name.into())
    }

    pub fn sum(self, of: &str, name: impl Into<String>) -> Windows {
        self.measure(MeasureKind::Sum, Some(of), name.into())
    }

    pub fn least(self, of: &str, name: impl Into<String>) -> Windows {
        self.measure(MeasureKind::Least, Some(of), name.into())
    }

    pub fn greatest(self, of: &str, name: impl Into<String>) -> Windows {
        self.measure(MeasureKind::Greatest, Some(of), name.into())
    }

    pub fn average(self, of: &str, name: impl Into<String>) -> Windows {
        self.measure(MeasureKind::Average, Some(of), name.into())
    }

    fn measure(mut self, kind: MeasureKind, of: Option<&str>, name: String) -> Windows {
        self.measures.push(Measure { name, of: of.map(str::to_owned), kind });
        self
    }

    /// Returns the key columns of the window table.
    pub(crate) fn key(&self) -> Vec<String> {
        self.by.iter().cloned().chain([WINDOW_START.to_owned()]).collect()
    }

    /// Returns the first problem found in the declaration, phrased as the end of a sentence about the stream.
    pub(crate) fn wrong(&self, key: Option<&[String]>) -> Option<String> {
        let is_zero = match self.shape {
            Shape::Tumbling { size } => size.is_zero(),
            Shape::Hopping { size, every } => every.is_zero() || every > size,
            Shape::Session { gap } => gap.is_zero(),
        };
        let mut wanted = self.key();
        wanted.sort_unstable();
        let mut found = key.unwrap_or_default().to_vec();
        found.sort_unstable();
        match () {
            () if is_zero => Some("has windows of no length, or with gaps between them".into()),
            () if self.at.is_empty() => Some("does not say which column its windows are of: call `.at(…)`".into()),
            () if self.measures.is_empty() => Some("measures nothing in its windows: call `.count(…)`".into()),
            () if wanted != found => Some(format!(
                "has windows, so its table needs `.upsert(…)` or `.upsert_postgres(…)` with the key {:?}",
                self.key()
            )),
            () => None,
        }
    }

    /// Returns the fields of the registered spec that describe the windows in the UI.
    pub(crate) fn spec(&self) -> [(&'static str, Value); 5] {
        let shape = match self.shape {
            Shape::Tumbling { size } => format!("tumbling, {}", format_duration(size)),
            Shape::Hopping { size, every } => {
                format!("hopping, {} each {}", format_duration(size), format_duration(every))
            }
            Shape::Session { gap } => format!("session, gap {}", format_duration(gap)),
        };
        let measures: Vec<_> = self.measures.iter().map(|one| format!("{} ({})", one.name, one.kind.name())).collect();
        [
            ("windows", shape.into()),
            ("windows_by", json!(self.by)),
            ("event_time", self.at.as_str().into()),
            ("allowed_late", format_duration(self.late).into()),
            ("measures", json!(measures)),
        ]
    }
}

/// Formats a duration like `5 min`, in the largest unit without a remainder.
fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
    let (unit, size) =
        units.into_iter().find(|(_, size)| millis > 0 && millis.is_multiple_of(*size)).unwrap_or(("ms", 1));
    format!("{} {unit}", millis / size)
}

impl MeasureKind {
    fn name(self) -> &'static str {
        match self {
            MeasureKind::Count => "count",
            MeasureKind::Sum => "sum",
            MeasureKind::Least => "least",
            MeasureKind::Greatest => "greatest",
            MeasureKind::Average => "average",
        }
    }
}

impl Shape {
    /// Returns the start and end of each window that contains a timestamp, oldest first, in microseconds since the
    /// epoch.
    fn windows(self, at: i64) -> impl Iterator<Item = (i64, i64)> {
        let (size, every) = match self {
            Shape::Tumbling { size } => (micros(size), micros(size)),
            Shape::Hopping { size, every } => (micros(size), micros(every)),
            // Each record starts its own session, which is then merged with the sessions that it overlaps.
            Shape::Session { gap } => (micros(gap), 0),
        };
        let last = if every == 0 { at } else { at.div_euclid(every) * every };
        let before = if every == 0 { 0 } else { (size - (at - last) - 1).div_euclid(every) };
        (0..=before).rev().map(move |nth| (last - nth * every, last - nth * every + size))
    }

    /// Returns how long the state of a closed window is kept. A later record may overlap a closed session and still be
    /// on time for a new session.
    fn kept(self) -> Duration {
        match self {
            Shape::Tumbling { .. } | Shape::Hopping { .. } => Duration::ZERO,
            Shape::Session { gap } => gap,
        }
    }
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn windows(shape: Shape, at: i64) -> Vec<(i64, i64)> {
        shape.windows(at * 1_000_000).map(|(start, end)| (start / 1_000_000, end / 1_000_000)).collect()
    }

    #[test]
    fn a_moment_is_in_the_windows_around_it() {
        let tumbling = Shape::Tumbling { size: secs(300) };
        assert_eq!(windows(tumbling, 299), [(0, 300)]);
        assert_eq!(windows(tumbling, 300), [(300, 600)]);
        assert_eq!(windows(tumbling, -1), [(-300, 0)]);
        let hopping = Shape::Hopping { size: secs(10), every: secs(5) };
        assert_eq!(windows(hopping, 12), [(5, 15), (10, 20)]);
        assert_eq!(windows(hopping, 10), [(5, 15), (10, 20)]);
        let uneven = Shape::Hopping { size: secs(10), every: secs(4) };
        assert_eq!(windows(uneven, 9), [(0, 10), (4, 14), (8, 18)]);
        assert_eq!(windows(uneven, 10), [(4, 14), (8, 18)]);
        assert_eq!(windows(Shape::Session { gap: secs(30) }, 7), [(7, 37)]);
    }

    #[test]
    fn people_read_lengths_in_round_units() {
        let shown = |millis| super::format_duration(Duration::from_millis(millis));
        assert_eq!([0, 90_000, 300_000, 86_400_000, 1_500].map(shown), ["0 ms", "90 s", "5 min", "1 d", "1500 ms"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let fine = Windows::tumbling(secs(60)).by(&["city"]).at("ts").count("n");
        let key = ["window_start".to_owned(), "city".to_owned()];
        assert_eq!(fine.wrong(Some(&key)), None);
        for (windows, key, expected) in [
            (fine.clone(), None, "city"),
            (fine.clone().at(""), Some(&key[..]), ".at("),
            (Windows { measures: vec![], ..fine.clone() }, Some(&key[..]), ".count("),
            (Windows { shape: Shape::Hopping { size: secs(1), every: secs(2) }, ..fine }, Some(&key[..]), "gaps"),
        ] {
            let wrong = windows.wrong(key).expect("it does not fit");
            assert!(wrong.contains(expected), "{wrong}");
        }
    }
}
