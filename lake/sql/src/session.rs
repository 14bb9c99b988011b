//! The catalog of one query: the tables of the lake by namespace, each loaded when it is first referenced. Queries
//! have no access to files, network addresses, or other tables of the engine.

use crate::error::{inside, of_iceberg, of_lake, of_query};
use crate::exact::{ExactIntegers, exact_sum};
use crate::metadata::{MetadataTable, metadata_table};
use crate::scan::{LakeProvider, Looked};
use crate::shown::{ALIAS, CATALOG};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use orch_lake::{Lake, TableName};
use orch_store::lake_view::{LakeError, LakeResult};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Supported table functions. A table with the same name takes precedence.
const FUNCTIONS: [&str; 2] = ["generate_series", "range"];

/// Returns the planning and execution state of one query. `threads` is the number of partitions that are processed in
/// parallel.
pub(crate) async fn session(
    lake: &Lake,
    runtime: Arc<RuntimeEnv>,
    threads: usize,
    looked: &Arc<Looked>,
) -> LakeResult<SessionState> {
    let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in lake.tables(None).await.map_err(of_lake)? {
        tables.entry(name.namespace().into()).or_default().insert(name.name().into());
    }
    // If there is exactly one namespace, unqualified table names refer to it.
    let usual = tables.keys().next().cloned().filter(|_| tables.len() == 1).unwrap_or_else(|| "default".into());
    let config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        // Parses `17.50` as an exact decimal instead of a float.
        .set_bool("datafusion.sql_parser.parse_float_as_decimal", true)
        // The default position of nulls is as in Spark: first in ascending order, last in descending order.
        .set_str("datafusion.sql_parser.default_null_ordering", "nulls_min")
        .with_default_catalog_and_schema(CATALOG, usual);
    let catalogs = Catalogs(Arc::new(Namespaces { lake: lake.clone(), tables, looked: looked.clone() }));
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_catalog_list(Arc::new(catalogs))
        .with_analyzer_rule(Arc::new(ExactIntegers))
        .build();
    state.register_udaf(exact_sum()).map_err(|error| of_query(&error))?;
    // Fixes the time that `now()` returns throughout the query.
    state.mark_start_execution();
    Ok(state)
}

/// Checks that a namespace exists in the lake. The error names the command that lists namespaces.
pub(crate) fn check_namespace(state: &SessionState, name: &str) -> LakeResult<()> {
    let catalog = state.catalog_list().catalog(CATALOG);
    if name == "information_schema" || catalog.is_some_and(|catalog| catalog.schema(name).is_some()) {
        return Ok(());
    }
    Err(LakeError::NotFound(format!(
        "there is no schema `{name}` in the lake\nhint: `show schemas` lists all there are"
    )))
}

/// Catalogs of a query: the catalog of the lake under its own name and under an alias for queries written for Trino.
/// Only the first name is listed, so that no table is shown twice.
#[derive(Debug)]
struct Catalogs(Arc<dyn CatalogProvider>);

impl CatalogProviderList for Catalogs {
    fn as_any(&self) -> &dyn Any {
        self
    }

    /// Ignored, because queries must not register catalogs.
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.into()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        [CATALOG, ALIAS].contains(&name).then(|| self.0.clone())
    }
}

#[derive(Debug)]
struct Namespaces {
    lake: Lake,
    tables: BTreeMap<String, BTreeSet<String>>,
    looked: Arc<Looked>,
}

impl CatalogProvider for Namespaces {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let tables = self.tables.get(name)?.clone();
        let (lake, looked) = (self.lake.clone(), self.looked.clone());
        Some(Arc::new(Namespace { lake, name: name.into(), tables, looked }))
    }
}

#[derive(Debug)]
struct Namespace {
    lake: Lake,
    name: String,
    tables: BTreeSet<String>,
    looked: Arc<Looked>,
}

/// A table name as written in a query, with an optional version (`@`) or metadata table (`$`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct QueriedTable<'a> {
    table: &'a str,
    /// Version of the table: the part of the name after `@`.
    version: Option<&'a str>,
    /// Name of the metadata table: the part of the name after `$`.
    about: Option<&'a str>,
}

fn wanted(name: &str) -> QueriedTable<'_> {
    let (rest, version) = name.split_once('@').map_or((name, None), |(rest, version)| (rest, Some(version)));
    let (table, about) = rest.split_once('$').map_or((rest, None), |(table, about)| (table, Some(about)));
    QueriedTable { table, version, about }
}

#[async_trait]
impl SchemaProvider for Namespace {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_names(&self) -> Vec<String> {
        self.tables.iter().cloned().collect()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.contains(wanted(name).table)
    }

    async fn table_type(&self, name: &str) -> DfResult<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        // The whole name is looked up first, because table names may contain `@` or `$`.
        let asked = if self.tables.contains(name) {
            QueriedTable { table: name, version: None, about: None }
        } else {
            wanted(name)
        };
        if !self.tables.contains(asked.table) {
            if FUNCTIONS.contains(&name) {
                return Ok(None);
            }
            return Err(inside(self.no_table(asked.table)));
        }
        self.provider(&asked).await.map(Some).map_err(inside)
    }
}

impl Namespace {
    async fn provider(&self, asked: &QueriedTable<'_>) -> LakeResult<Arc<dyn TableProvider>> {
        let name = TableName::new(&self.name, asked.table).map_err(of_lake)?;
        let loaded = self.lake.table(&name).await.map_err(of_lake)?;
        let table = loaded.iceberg();
        let snapshot_id = match asked.version {
            None => table.metadata().current_snapshot_id(),
            Some(version) => Some(snapshot_of(table, &name.to_string(), version)?),
        };
        if let Some(about) = asked.about {
            return metadata_table(table, MetadataTable::of(about, &name.to_string())?, snapshot_id).await;
        }
        let shown = asked.version.map_or_else(|| name.to_string(), |version| format!("{name}@{version}"));
        let table = if snapshot_id == table.metadata().current_snapshot_id() {
            loaded.iceberg_now().map_err(of_lake)?
        } else {
            table.clone()
        };
        let provider = LakeProvider::new((&loaded, table), &shown, snapshot_id, self.looked.clone());
        Ok(Arc::new(provider.map_err(of_iceberg)?))
    }

    fn no_table(&self, name: &str) -> LakeError {
        let near = self.tables.iter().min_by_key(|known| distance(known, name));
        let hint = match near.filter(|near| distance(near, name) <= 3) {
            Some(near) => format!("did you mean `{}.{near}`? `show tables` lists all", self.name),
            None => "`show tables` lists all there are".into(),
        };
        LakeError::NotFound(format!("there is no table `{}.{name}` in the lake\nhint: {hint}", self.name))
    }
}

/// Returns the Levenshtein distance, for suggestions in error messages.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let change = before + usize::from(letter != *other);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Returns the snapshot for a version string: `snapshot:123`, `time:2026-11-20 06:00:00`, or the name of a branch or
/// tag.
fn snapshot_of(table: &iceberg::table::Table, name: &str, version: &str) -> LakeResult<i64> {
    let metadata = table.metadata();
    if let Some(id) = version.strip_prefix("snapshot:") {
        let found = id.parse().ok().and_then(|id| metadata.snapshot_by_id(id));
        return found.map(|snapshot| snapshot.snapshot_id()).ok_or_else(|| no_version(name, &format!("snapshot {id}")));
    }
    if let Some(text) = version.strip_prefix("time:") {
        let at = moment(text).ok_or_else(|| {
            LakeError::Refused(format!(
                "`{text}` is no time\nhint: write '2026-11-20 06:00:00', in UTC, or with a zone"
            ))
        })?;
        let log = metadata.history().iter().filter(|entry| entry.timestamp_ms() <= at.timestamp_millis());
        let last = log.max_by_key(|entry| entry.timestamp_ms()).map(|entry| entry.snapshot_id);
        let last = last.filter(|id| metadata.snapshot_by_id(*id).is_some());
        return last.ok_or_else(|| no_version(name, &format!("state of {text} any more")));
    }
    let found = metadata.snapshot_for_ref(version).map(|snapshot| snapshot.snapshot_id());
    found.ok_or_else(|| no_version(name, &format!("branch or tag `{version}`")))
}

fn no_version(name: &str, what: &str) -> LakeError {
    let (namespace, table) = name.rsplit_once('.').unwrap_or(("", name));
    let hint = format!("select snapshot_id, committed_at from {namespace}.\"{table}$snapshots\"");
    LakeError::NotFound(format!("table `{name}` has no {what}\nhint: {hint}"))
}

/// Parses a timestamp. The default offset is UTC; a date without a time is midnight.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(at) = DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1)) {
        return Some(at.to_utc());
    }
    let plain = |form: &str| NaiveDateTime::parse_from_str(text, form).ok();
    let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    forms.into_iter().find_map(plain).or_else(midnight).map(|at| at.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_a_version_and_what_is_asked_about_it() {
        let check =
            |name, table, version, about| assert_eq!(wanted(name), QueriedTable { table, version, about }, "{name}");
        check("orders", "orders", None, None);
        check("orders@snapshot:5", "orders", Some("snapshot:5"), None);
        check("orders$snapshots", "orders", None, Some("snapshots"));
        check("orders$files@audit", "orders", Some("audit"), Some("files"));
    }

    #[test]
    fn times_are_utc_unless_they_say_a_zone() {
        for (text, utc) in [
            ("2026-11-20", Some("2026-11-20T00:00:00+00:00")),
            ("2026-11-20 06:00", Some("2026-11-20T06:00:00+00:00")),
            ("2026-11-20 06:00:00.5", Some("2026-11-20T06:00:00.500+00:00")),
            ("2026-11-20T06:00:00+02:00", Some("2026-11-20T04:00:00+00:00")),
            ("2026-11-20 06:00:00Z", Some("2026-11-20T06:00:00+00:00")),
            ("yesterday", None),
        ] {
            assert_eq!(moment(text).map(|at| at.to_rfc3339()).as_deref(), utc, "{text}");
        }
    }

    #[test]
    fn a_slip_of_the_fingers_is_near() {
        for (a, b, far) in
            [("orders", "orders", 0), ("oders", "orders", 1), ("order_fact", "orders_fact", 1), ("x", "", 1)]
        {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }
}
