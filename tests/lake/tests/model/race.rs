//! Decides which changes must both commit although they are based on the same state of the table. It compares the
//! files that they reference, independently of orch's own conflict check.

use std::collections::BTreeSet;

use iceberg::spec::{DataFile, Datum};
use orch_lake::Change;
use orch_lake::table::File;

use super::steps::{ModelStep, RowPredicate, Write};

/// A step and its prepared change.
pub(crate) type Racer<'a> = (&'a ModelStep, &'a Change);

/// Returns true if the second change must commit after the first: they share no file, and no file that the first adds
/// can contain a row that the second read.
pub(crate) fn are_separate((one, first): Racer<'_>, (other, second): Racer<'_>) -> bool {
    match (one, other) {
        (ModelStep::Evolve(_), ModelStep::Evolve(_)) => return false,
        // Changes of columns or partitions affect no rows.
        (ModelStep::Evolve(_), _) | (_, ModelStep::Evolve(_)) => return true,
        _ => {}
    }
    let gone: BTreeSet<&str> = first.remove.iter().map(File::path).collect();
    let mut needed = second.remove.iter().map(File::path).chain(second.points_into.iter().map(String::as_str));
    if needed.any(|path| gone.contains(path)) {
        return false;
    }
    let (data, deletes): (Vec<&File>, Vec<&File>) = first.add.iter().partition(|file| file.is_data());
    let replaced = || second.remove.iter().filter(|file| file.is_data());
    if deletes.iter().any(|delete| replaced().any(|file| can_apply(delete, file))) {
        return false;
    }
    match (one, other) {
        // A compaction only rewrites existing rows.
        (ModelStep::Compact(_), _) => true,
        (_, ModelStep::Write(Write::Delete { which } | Write::Overwrite { which, .. })) => {
            data.iter().all(|file| !can_hold(which, &file.data, second))
        }
        // Rows that the first change rewrote are in a file that it removed.
        (ModelStep::Write(one), ModelStep::Write(Write::Upsert { rows })) => {
            one.rows().iter().all(|(new, _)| rows.iter().all(|(key, _)| key != new))
        }
        _ => true,
    }
}

fn can_apply(delete: &File, file: &File) -> bool {
    delete.spec_id == file.spec_id
        && delete.data.partition() == file.data.partition()
        && delete.data.referenced_data_file().is_none_or(|path| path == file.path())
}

fn can_hold(which: &RowPredicate, file: &DataFile, change: &Change) -> bool {
    let within = |column: &str, least: Option<Datum>, greatest: Datum| {
        let id = change.base.schema().field_id_by_name(column).expect("the base has the columns of the change");
        if file.null_value_counts().get(&id) == Some(&file.record_count()) {
            return false;
        }
        let is_above = least.is_some_and(|least| file.upper_bounds().get(&id).is_some_and(|upper| *upper < least));
        !is_above && file.lower_bounds().get(&id).is_none_or(|lower| *lower <= greatest)
    };
    let is = |column: &str, value: Datum| within(column, Some(value.clone()), value);
    match which {
        RowPredicate::Below(limit) => within("id", None, Datum::long(limit - 1)),
        RowPredicate::Key(key) => is("id", Datum::long(*key)),
        RowPredicate::Is { name, value, .. } => is(name, Datum::string(value)),
        RowPredicate::KeyWith { key, name, value, .. } => is("id", Datum::long(*key)) && is(name, Datum::string(value)),
    }
}
