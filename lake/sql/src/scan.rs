//! Scans one table: selects the files that can contain matching rows, and reads them.
//!
//! Files are selected during planning. This way `explain` can show how many of the files are read, and a count
//! without a condition is computed from the manifests alone.

use crate::condition::implied_by_all;
use crate::error::{inside, of_iceberg, of_lake};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Result as DfResult, Statistics};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::expr::Predicate;
use iceberg::metadata_columns::RESERVED_COL_NAME_FILE;
use iceberg::scan::FileScanTask;
use iceberg::table::Table;
use orch_lake::table::{MAX_DELETE_KEY_BYTES, read_live};
use orch_store::lake_view::ScanProgress;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of files and bytes that a query has scanned, summed over its tables.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    files: AtomicU64,
    of_files: AtomicU64,
    bytes: AtomicU64,
}

impl Looked {
    pub(crate) fn seen(&self) -> ScanProgress {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        ScanProgress { files: read(&self.files), of_files: read(&self.of_files), bytes: read(&self.bytes) }
    }

    fn at(&self, tasks: &[FileScanTask], of_files: u64) {
        self.files.fetch_add(tasks.len() as u64, Ordering::Relaxed);
        self.of_files.fetch_add(of_files, Ordering::Relaxed);
        self.bytes.fetch_add(tasks.iter().map(|task| task.length).sum(), Ordering::Relaxed);
    }
}

/// A table at one snapshot, as seen by a query. Empty if the table has no snapshot.
#[derive(Debug)]
pub(crate) struct LakeProvider {
    table: Table,
    /// The loaded table, which checks file paths before the files are read.
    loaded: orch_lake::Table,
    name: String,
    snapshot_id: Option<i64>,
    schema: SchemaRef,
    looked: Arc<Looked>,
}

impl LakeProvider {
    pub(crate) fn new(
        (loaded, table): (&orch_lake::Table, Table),
        name: &str,
        snapshot_id: Option<i64>,
        looked: Arc<Looked>,
    ) -> iceberg::Result<LakeProvider> {
        let metadata = table.metadata();
        let snapshot = snapshot_id.and_then(|id| metadata.snapshot_by_id(id));
        let schema = match snapshot {
            Some(snapshot) => snapshot.schema(metadata)?,
            None => metadata.current_schema().clone(),
        };
        let schema = Arc::new(schema_to_arrow_schema(&schema)?);
        Ok(LakeProvider { table, loaded: loaded.clone(), name: name.into(), snapshot_id, schema, looked })
    }

    fn files_of_snapshot(&self) -> u64 {
        let snapshot = self.snapshot_id.and_then(|id| self.table.metadata().snapshot_by_id(id));
        let said = snapshot.and_then(|one| one.summary().additional_properties.get("total-data-files"));
        said.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Checks the path of the manifest list before the list is read.
    fn check_list(&self) -> orch_lake::LakeResult<()> {
        let snapshot = self.snapshot_id.and_then(|id| self.table.metadata().snapshot_by_id(id));
        self.loaded.check_read(snapshot.map(|snapshot| snapshot.manifest_list()))
    }

    async fn tasks(&self, columns: &[String], predicate: Option<Predicate>) -> iceberg::Result<Vec<FileScanTask>> {
        let Some(snapshot_id) = self.snapshot_id else { return Ok(Vec::new()) };
        // Selecting the column with the file name makes the reader match columns by id. See lake/src/table/read.rs
        // for the reason.
        let columns = columns.iter().map(String::as_str).chain([RESERVED_COL_NAME_FILE]);
        let mut scan = self.table.scan().snapshot_id(snapshot_id).select(columns);
        if let Some(predicate) = predicate {
            scan = scan.with_filter(predicate);
        }
        scan.build()?.plan_files().await?.try_collect().await
    }
}

#[async_trait]
impl TableProvider for LakeProvider {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // The filters only skip files and row groups, so the query engine evaluates them again for each row.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(places) => Arc::new(self.schema.project(places)?),
            None => self.schema.clone(),
        };
        let mut columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        if columns.is_empty() {
            // A scan without columns, such as a count, reads one column to determine the number of rows.
            columns.extend(self.schema.fields().first().map(|field| field.name().clone()));
        }
        let predicate = implied_by_all(filters, &self.schema);
        self.check_list().map_err(|error| inside(of_lake(error)))?;
        let tasks = self.tasks(&columns, predicate.clone()).await;
        let mut tasks = tasks.map_err(|error| inside(of_iceberg(error)))?;
        let deletes = tasks.iter().flat_map(|task| &task.deletes).map(|delete| delete.file_path.as_str());
        let checked = self.loaded.check_read(tasks.iter().map(|task| task.data_file_path.as_str()).chain(deletes));
        checked.map_err(|error| inside(of_lake(error)))?;
        if let (Some(limit), None) = (limit, &predicate) {
            keep_enough(&mut tasks, limit);
        }
        self.looked.at(&tasks, self.files_of_snapshot());
        let parts = session.config().target_partitions();
        Ok(Arc::new(LakeScan::new(self, schema, predicate, limit, tasks, parts)))
    }
}

/// Keeps the first files that contain at least `limit` rows in total. Files with deletes count as 0 rows, because
/// their row counts include deleted rows.
fn keep_enough(tasks: &mut Vec<FileScanTask>, limit: usize) {
    let mut rows = 0_u64;
    let enough = tasks.iter().position(|task| {
        rows += if task.deletes.is_empty() { task.record_count.unwrap_or(0) } else { 0 };
        rows >= limit as u64
    });
    if let Some(last) = enough {
        tasks.truncate(last + 1);
    }
}

/// Execution plan for the scan of the selected files. Has as many partitions as threads.
struct LakeScan {
    table: Table,
    name: String,
    schema: SchemaRef,
    predicate: Option<Predicate>,
    limit: Option<usize>,
    parts: Vec<Vec<FileScanTask>>,
    of_files: u64,
    snapshot_id: Option<i64>,
    /// Total number of rows of the files. `None` if a file lacks its row count, or rows are filtered.
    rows: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl LakeScan {
    fn new(
        provider: &LakeProvider,
        schema: SchemaRef,
        predicate: Option<Predicate>,
        limit: Option<usize>,
        tasks: Vec<FileScanTask>,
        parts: usize,
    ) -> LakeScan {
        let count = |task: &FileScanTask| task.record_count.filter(|_| task.deletes.is_empty());
        let rows = tasks.iter().map(count).sum::<Option<u64>>().and_then(|rows| usize::try_from(rows).ok());
        let parts = divided(tasks, parts);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        LakeScan {
            table: provider.table.clone(),
            name: provider.name.clone(),
            of_files: provider.files_of_snapshot(),
            snapshot_id: provider.snapshot_id,
            rows: rows.filter(|_| predicate.is_none() && limit.is_none()),
            properties: Arc::new(properties),
            schema,
            predicate,
            limit,
            parts,
        }
    }
}

/// Distributes files over partitions: assigns the largest files first, each to the partition with the fewest bytes.
/// Returns at least one partition.
fn divided(mut tasks: Vec<FileScanTask>, most: usize) -> Vec<Vec<FileScanTask>> {
    let count = most.min(tasks.len()).max(1);
    let mut parts: Vec<(u64, Vec<FileScanTask>)> = (0..count).map(|_| (0, Vec::new())).collect();
    tasks.sort_by(|a, b| b.length.cmp(&a.length).then_with(|| a.data_file_path.cmp(&b.data_file_path)));
    for task in tasks {
        if let Some((bytes, part)) = parts.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            *bytes += task.length;
            part.push(task);
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

impl fmt::Debug for LakeScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeScan").field("table", &self.name).finish_non_exhaustive()
    }
}

impl DisplayAs for LakeScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: usize = self.parts.iter().map(Vec::len).sum();
        write!(f, "LakeScan: table={}, files={files}/{}", self.name, self.of_files)?;
        if let Some(snapshot_id) = self.snapshot_id {
            write!(f, ", snapshot={snapshot_id}")?;
        }
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, ", columns=[{}]", columns.join(", "))?;
        if let Some(predicate) = &self.predicate {
            write!(f, ", where={predicate}")?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for LakeScan {
    fn name(&self) -> &'static str {
        "LakeScan"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let (Some(rows), None) = (self.rows, partition) {
            statistics.num_rows = Precision::Exact(rows);
        }
        Ok(statistics)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let tasks = self.parts.get(partition).cloned().unwrap_or_default();
        let reader = self
            .table
            .reader_builder()
            .with_batch_size(context.session_config().batch_size())
            .with_data_file_concurrency_limit(1)
            .build();
        let schema = self.schema.clone();
        let max_key_bytes = MAX_DELETE_KEY_BYTES / self.parts.len().max(1);
        let live = read_live(self.table.clone(), reader, tasks, max_key_bytes);
        let batches = live.map(move |batch| Ok(in_schema(&batch.map_err(|error| inside(of_lake(error)))?, &schema)?));
        // The limit need not be applied here. A consumer with a limit stops polling, so at most a few thousand
        // additional rows are read.
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }
}

/// Drops the file name column, and replaces the schema of the batch by one that differs only in field metadata.
fn in_schema(batch: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = batch.columns().iter().take(schema.fields().len()).cloned().collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &rows)
}
