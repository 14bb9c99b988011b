//! Elements of a mapped task that are told of together: how many there are, and a few of them by name.

use super::{AlertKind, Facts};
use serde::{Deserialize, Serialize};

/// So many are named.
pub const FEW_ELEMENTS: usize = 5;
/// Of the reason of each of these.
const MOST_REASON_CHARS: usize = 200;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elements {
    /// Ends of elements: one that is tried again counts each time.
    pub count: i64,
    /// Map indexes of a few, the lowest first.
    pub first: Vec<i32>,
}

/// What an alert says of so many elements, of which these are the first by map index. One alone is told as it is.
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

/// A line for each reason, with the elements that have it before it.
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
    /// What became of them, with how many they are: behind it stands of which task.
    pub(super) fn words(&self, kind: AlertKind, task: &str) -> String {
        let count = self.count;
        match kind {
            AlertKind::TaskSuccess => format!("{count} elements of {task} succeeded"),
            AlertKind::TaskRetry => format!("{count} tries of elements of {task} failed and are repeated"),
            AlertKind::TaskSkipped => format!("{count} elements of {task} were skipped"),
            _ => format!("{count} elements of {task} failed"),
        }
    }

    /// `0, 3, 4, …`
    pub(super) fn named(&self) -> String {
        let mut named: Vec<String> = self.first.iter().map(ToString::to_string).collect();
        if self.count > named.len() as i64 {
            named.push("…".into());
        }
        named.join(", ")
    }
}
