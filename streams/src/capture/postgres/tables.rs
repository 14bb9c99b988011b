//! Resolves the tables of a Postgres capture. The tables must exist, be published, and be the same tables that the
//! snapshot has read.

use crate::capture::Capture;
use anyhow::anyhow;
use orch_lake::source::postgres::replication::{CaughtTable, Relation, Source};
use orch_sdk::task::{TaskResult, fatal};
use std::collections::BTreeMap;

/// Current tables by the names that the capture declares.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) found: BTreeMap<String, CaughtTable>,
    pub(super) missing: Vec<String>,
}

impl Tables {
    /// Returns the OID of each table, by name.
    pub(super) fn numbers(&self) -> BTreeMap<String, u32> {
        self.found.iter().map(|(name, table)| (name.clone(), table.oid)).collect()
    }
}

/// Finds the tables and adds unpublished tables to the publication.
///
/// # Errors
/// Returns a retryable error if a table does not exist or cannot be published.
pub(super) async fn published(source: &mut Source, capture: &Capture, stream: &str) -> TaskResult<Tables> {
    let (publication, known) = (capture.publication_of(stream), &BTreeMap::new());
    let tables = resolve_tables(source, capture, &publication, known).await?;
    check_all(&tables, &capture.connection)?;
    let is_there = source.publication(&publication).await?;
    let unpublished: Vec<_> = tables.found.values().filter(|table| !table.is_published).cloned().collect();
    let sends_old_rows = is_there.is_none_or(|publication| publication.sends_old_rows);
    // Once such a table is published, the server would reject updates of its rows.
    let unfit = tables.found.values().find(|table| sends_old_rows && !table.can_be_changed());
    if let Some(table) = unfit {
        let name = table.full_name();
        return Err(anyhow!(
            "table `{name}` has nothing that tells its rows apart, so Postgres could not tell of updates and deletes, and would refuse \
             them\n\
             hint: give it a primary key, or `alter table {name} replica identity full`; it is looked for again by itself"
        ));
    }
    if unpublished.is_empty() {
        return Ok(tables);
    }
    match is_there {
        None => source.create_publication(&publication, &unpublished).await?,
        Some(_) => source.add_to_publication(&publication, &unpublished).await?,
    }
    tracing::info!(stream, publication, tables = unpublished.len(), "tables were published");
    // The publication determines the columns and row filters.
    resolve_tables(source, capture, &publication, known).await
}

/// Finds the tables that an earlier snapshot has read. A renamed table is found by its OID.
///
/// # Errors
/// Returns a fatal error if the topics lack rows or changes of a table.
pub(super) async fn followed(
    source: &mut Source,
    capture: &Capture,
    stream: &str,
    known: &BTreeMap<String, u32>,
) -> TaskResult<Tables> {
    let tables = resolve_tables(source, capture, &capture.publication_of(stream), known).await?;
    check_known(&tables, known, stream)?;
    if !tables.missing.is_empty() {
        let gone = tables.missing.join(", ");
        tracing::warn!(stream, tables = gone, "tables are gone from the source: nothing comes of them");
    }
    Ok(tables)
}

async fn resolve_tables(
    source: &mut Source,
    capture: &Capture,
    publication: &str,
    known: &BTreeMap<String, u32>,
) -> TaskResult<Tables> {
    let names: Vec<&str> = capture.tables.iter().map(String::as_str).collect();
    let numbers: Vec<u32> = known.values().copied().collect();
    let found = source.tables(publication, &names, &numbers).await?;
    Ok(named(&capture.tables, &found, known))
}

/// Matches tables by OID if the OID is known, otherwise by name.
fn named(names: &[String], found: &[CaughtTable], known: &BTreeMap<String, u32>) -> Tables {
    let mut tables = Tables::default();
    for name in names {
        let by_number = known.get(name).and_then(|number| found.iter().find(|table| table.oid == *number));
        match by_number.or_else(|| found.iter().find(|table| table.full_name() == *name)) {
            Some(table) => drop(tables.found.insert(name.clone(), table.clone())),
            None => tables.missing.push(name.clone()),
        }
    }
    tables
}

fn check_all(tables: &Tables, connection: &str) -> TaskResult<()> {
    match tables.missing.first() {
        Some(name) => Err(anyhow!(
            "the database of connection `{connection}` has no table `{name}`\n\
             hint: create it, or take it out of the declaration; it is looked for again by itself"
        )),
        None => Ok(()),
    }
}

fn check_known(tables: &Tables, known: &BTreeMap<String, u32>, stream: &str) -> TaskResult<()> {
    let unread = tables.found.iter().find(|(name, table)| known.get(*name) != Some(&table.oid));
    let unpublished = tables.found.iter().find(|(_, table)| !table.is_published);
    let what = match (unread, unpublished) {
        (Some((name, _)), _) => format!(
            "table `{name}` was declared or created after the tables were read, so the rows that it had are in no topic"
        ),
        (None, Some((name, _))) => {
            format!("table `{name}` was taken out of the publication, so its changes since then are in no topic")
        }
        (None, None) => return Ok(()),
    };
    Err(fatal(format!("{what}\nhint: read all tables anew with `orch streams reset {stream} --to-earliest`")))
}

/// Sets the key columns of a relation. With REPLICA IDENTITY FULL, the server reports all columns as the identity, so
/// the key is taken from the current catalog instead. Key columns are matched by name, then by position if they were
/// renamed, then by the previous relation.
///
/// # Errors
/// Returns a fatal error if the key cannot be determined.
pub(super) fn with_key(
    relation: Relation,
    table: Option<&CaughtTable>,
    before: Option<&Relation>,
    stream: &str,
) -> TaskResult<Relation> {
    if relation.identity != b'f' {
        return Ok(relation);
    }
    let Some(table) = table else { return Ok(without_key(relation)) };
    let now = table.relation();
    let by_place = (now.columns.len() == relation.columns.len()).then(|| places(&now));
    let key = by_name(&now, &relation).or(by_place).or_else(|| by_name(before?, &relation));
    let Some(key) = key else {
        return Err(fatal(format!(
            "the key of table `{}` was changed while the stream was behind, and old changes cannot be told apart by it\n\
             hint: read all tables anew with `orch streams reset {stream} --to-earliest`",
            table.full_name()
        )));
    };
    let mut relation = without_key(relation);
    key.into_iter().for_each(|place| relation.columns[place].is_key = true);
    Ok(relation)
}

fn places(relation: &Relation) -> Vec<usize> {
    (0..relation.columns.len()).filter(|place| relation.columns[*place].is_key).collect()
}

/// Returns the indexes in `relation` of the key columns of `known`, or `None` if a column is missing.
fn by_name(known: &Relation, relation: &Relation) -> Option<Vec<usize>> {
    let place = |key: usize| relation.columns.iter().position(|column| column.name == known.columns[key].name);
    places(known).into_iter().map(place).collect()
}

/// Clears the key of a table that was dropped. Only old changes of such a table remain.
fn without_key(mut relation: Relation) -> Relation {
    relation.columns.iter_mut().for_each(|column| column.is_key = false);
    relation
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_lake::source::postgres::replication::Column;

    fn table(oid: u32, name: &str, columns: &[(&str, bool)]) -> CaughtTable {
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, is_key)| serde_json::json!({ "name": name, "type_oid": 23, "is_key": is_key }))
            .collect();
        let told = serde_json::json!({
            "oid": oid, "schema": "a", "name": name, "identity": "f", "columns": columns, "is_published": true, "filter": null,
        });
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn a_renamed_table_is_the_same_and_one_that_was_created_again_is_not() {
        let names = ["a.x".to_string(), "a.y".to_string(), "a.z".to_string()];
        let known: BTreeMap<String, u32> = [("a.x".into(), 1), ("a.y".into(), 2), ("a.z".into(), 3)].into();
        let tables = named(&names, &[table(1, "renamed", &[]), table(9, "y", &[])], &known);
        assert_eq!((tables.numbers().get("a.x"), tables.numbers().get("a.y")), (Some(&1), Some(&9)));
        assert_eq!(tables.missing, ["a.z"]);
        let error = check_known(&tables, &known, "s").unwrap_err().to_string();
        assert!(error.contains("table `a.y`") && error.contains("orch streams reset s"), "{error}");
        assert!(check_all(&tables, "db").unwrap_err().to_string().contains("no table `a.z`"));
    }

    #[test]
    fn the_key_of_whole_rows_is_known_by_its_place() {
        let relation = |names: &[&str]| Relation {
            id: 1,
            schema: "a".into(),
            name: "x".into(),
            identity: b'f',
            columns: names.iter().map(|name| Column { name: (*name).into(), type_oid: 23, is_key: true }).collect(),
        };
        let keys = |names: &[&str], table: Option<&CaughtTable>| {
            let before = without_key(relation(&["id", "v"]));
            let before = Relation {
                columns: before.columns.into_iter().map(|one| Column { is_key: one.name == "id", ..one }).collect(),
                ..relation(&[])
            };
            let known = with_key(relation(names), table, Some(&before), "s").map_err(|error| error.to_string())?;
            Ok::<_, String>(
                known.columns.into_iter().filter(|column| column.is_key).map(|one| one.name).collect::<Vec<_>>(),
            )
        };
        let now = table(1, "x", &[("v", false), ("number", true)]);
        assert_eq!(keys(&["v", "number"], Some(&now)), Ok(vec!["number".to_string()]));
        assert_eq!(keys(&["number", "v", "more"], Some(&now)), Ok(vec!["number".to_string()]));
        // These changes precede the rename of the column.
        assert_eq!(keys(&["v", "id"], Some(&now)), Ok(vec!["id".to_string()]));
        assert_eq!(keys(&["v", "id", "more"], Some(&now)), Ok(vec!["id".to_string()]));
        assert!(keys(&["v", "other", "more"], Some(&now)).is_err());
        assert_eq!(keys(&["v"], None), Ok(vec![]));
    }
}
