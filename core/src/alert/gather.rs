//! Combined alerts about several elements of a mapped task: the number of elements, and a list of the first few.

use super::{AlertKind, Facts};
use serde::{Deserialize, Serialize};

/// Maximum number of elements that one alert lists.
pub const FEW_ELEMENTS: usize = 5;
/// Maximum length of the reason of a single element in characters. Longer reasons are truncated.
const MOST_REASON_CHARS: usize = 200;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elements {
    /// Number of ended attempts. An element that is retried counts once per attempt.
    pub count: i64,
    /// Map indexes of the first few elements, ascending.
    pub first: Vec<i32>,
}

/// Combines the facts of `count` elements into the facts of one alert. `first` contains the elements with the lowest
/// map indexes. The facts of a single element are returned unchanged.
pub fn gathered(count: i64, first: &[Facts]) -> Facts {
    let [one, ..] = first else { return Facts::default() };
    if count <= 1 {
        return one.clone();
    }
    let named = &first[..first.len().min(FEW_ELEMENTS)];
    let mut indexes: Vec<i32> = named.iter().filter_map(|facts| facts.map_index).collect();
    indexes.dedup();
    let mut lines = by_reason(named);
    let more = count - named.len() as i64;
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Facts {
        map_index: None,
        try_number: None,
        reason: lines.join("\n"),
        elements: Some(Elements { count, first: indexes }),
        ..one.clone()
    }
}

/// Returns one line per distinct reason, prefixed with the indexes of the elements that have this reason.
fn by_reason(named: &[Facts]) -> Vec<String> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for facts in named {
        let reason: String = facts.reason.lines().next().unwrap_or_default().chars().take(MOST_REASON_CHARS).collect();
        let element = format!("[{}]", facts.map_index.unwrap_or(-1));
        match found.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, elements)) if elements.contains(&element) => {}
            Some((_, elements)) => elements.push(element),
            None => found.push((reason, vec![element])),
        }
    }
    found.into_iter().map(|(reason, elements)| format!("{} {reason}", elements.join(", ")).trim_end().into()).collect()
}

impl Elements {
    /// Returns the subject of a combined alert: the number of elements, the task and the outcome.
    pub(super) fn words(&self, kind: AlertKind, task: &str) -> String {
        let count = self.count;
        match kind {
            AlertKind::TaskSuccess => format!("{count} elements of {task} succeeded"),
            AlertKind::TaskRetry => format!("{count} tries of elements of {task} failed and are repeated"),
            AlertKind::TaskSkipped => format!("{count} elements of {task} were skipped"),
            _ => format!("{count} elements of {task} failed"),
        }
    }

    /// Returns the listed map indexes as `0, 3, 4, …`.
    pub(super) fn named(&self) -> String {
        let mut named: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        if self.count > named.len() as i64 {
            named.push("…".into());
        }
        named.join(", ")
    }
}
