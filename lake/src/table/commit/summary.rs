//! Builds the summary of a snapshot: the number of files and rows that were added and removed, and the totals after
//! it.

use crate::table::{Change, Table};
use iceberg::spec::{SnapshotSummaryCollector, Summary};
use std::collections::HashMap;

/// Names of a total, of the number that is added to it, and of the number that is subtracted.
const TOTALS: [(&str, &str, &str); 6] = [
    ("total-data-files", "added-data-files", "deleted-data-files"),
    ("total-delete-files", "added-delete-files", "removed-delete-files"),
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    ("total-position-deletes", "added-position-deletes", "removed-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes", "removed-equality-deletes"),
];

pub(super) fn summary(change: &Change, base: &Table, parent: Option<&Summary>) -> HashMap<String, String> {
    let metadata = base.metadata();
    let mut collected = SnapshotSummaryCollector::default();
    for (files, add) in [(&change.add, true), (&change.remove, false)] {
        for file in files {
            let Some(spec) = metadata.partition_spec_by_id(file.spec_id) else { continue };
            let schema = metadata.current_schema().clone();
            if add {
                collected.add_file(&file.data, schema, spec.clone());
            } else {
                collected.remove_file(&file.data, schema, spec.clone());
            }
        }
    }
    let mut summary = collected.build();
    let number = |of: &HashMap<String, String>, key| of.get(key).and_then(|number| number.parse::<i64>().ok());
    for (total, added, removed) in TOTALS {
        let before = match parent {
            None => Some(0),
            // If the parent snapshot lacks the total because its writer omitted it, the total stays unknown.
            Some(parent) => number(&parent.additional_properties, total),
        };
        if let Some(before) = before {
            let now = before + number(&summary, added).unwrap_or(0) - number(&summary, removed).unwrap_or(0);
            summary.insert(total.to_owned(), now.max(0).to_string());
        }
    }
    summary.extend(change.properties.clone());
    summary
}
