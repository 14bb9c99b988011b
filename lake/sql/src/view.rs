//! Serves web pages and queries of the lake on dedicated threads.

use crate::error::of_lake;
use crate::files::{files, partitions};
use crate::run::{Means, Rows};
use crate::source::Opened;
use crate::tables::{Reads, reads_of};
use crate::{describe, error};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use futures::{StreamExt as _, stream};
use orch_lake::{Lake, Table, TableName};
use orch_sdk::task::BoxFuture;
use orch_store::lake_view::{
    DataFile, LakeError, LakePage, LakeResult, LakeTable, LakeView, PartitionRow, Query, QueryRows, SnapshotRow,
    Sources, TableId, TableRow, TableTotals,
};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, ready};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Maximum number of tables whose metadata is read concurrently.
const AT_ONCE: usize = 8;
/// Number of threads for blocking file I/O.
const FILE_THREADS: usize = 4;
/// Keep-alive of the file threads, effectively forever. If threads ended and restarted, the amount of mapped memory
/// would change.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);
/// Stack size of the planning threads. A plan can be as deep as `bounds.rs` allows, and each level may use 256 kB,
/// which is several times the largest stack frames of the planner, the optimizer and destructors in a debug build.
/// Only touched pages use physical memory.
pub(crate) const STACK_BYTES: usize = 256 << 20;

/// Resource limits shared by all queries of a process.
#[derive(Debug, Clone, Copy)]
pub struct SqlLimits {
    /// Memory limit in bytes for sorting, grouping and joining. Results of functions and batches in flight are not
    /// counted.
    pub memory_bytes: usize,
    /// Number of partitions that a query processes in parallel.
    pub threads: usize,
}

impl Default for SqlLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        SqlLimits { memory_bytes: 128 << 20, threads: cores.div_ceil(2) }
    }
}

/// Handle to the lake for web pages and commands.
pub struct SqlLake {
    lake: Lake,
    place: String,
    threads: usize,
    memory: Arc<RuntimeEnv>,
    handle: Handle,
    /// Taken out when this value is dropped, because dropping a runtime inside another runtime would block.
    runtime: Option<Runtime>,
}

impl SqlLake {
    /// Opens a lake on dedicated threads. Connections that `open` creates use these threads too.
    ///
    /// # Errors
    /// Returns the error of `open`, converted to a form that can be shown to users.
    pub async fn open(
        limits: SqlLimits,
        open: impl Future<Output = anyhow::Result<Opened>> + Send + 'static,
    ) -> LakeResult<Arc<SqlLake>> {
        let threads = limits.threads.max(1);
        let broken =
            |error: &dyn std::fmt::Display| LakeError::Unavailable(format!("the lake cannot be opened: {error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // One additional thread, so that reads make progress while queries keep the other threads busy with
            // computation.
            .worker_threads(threads + 1)
            .max_blocking_threads(FILE_THREADS)
            .thread_keep_alive(FOR_EVER)
            .thread_name("orch-sql")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| broken(&error))?;
        let handle = runtime.handle().clone();
        start_file_threads(&handle).await;
        let opened = handle.spawn(open).await;
        // Dropping a runtime inside another runtime would block, so after an error it is shut down in the background.
        let Opened { lake, place } = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                runtime.shutdown_background();
                return Err(broken(&error::chain(error.as_ref())));
            }
            Err(error) => {
                runtime.shutdown_background();
                return Err(broken(&error));
            }
        };
        // Queries never spill to disk. A query that exceeds the memory limit fails.
        let memory = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc();
        let memory = match memory {
            Ok(memory) => memory,
            Err(error) => {
                runtime.shutdown_background();
                return Err(broken(&error));
            }
        };
        Ok(Arc::new(SqlLake { lake, place, threads, memory, handle, runtime: Some(runtime) }))
    }

    /// Runs work on the dedicated threads of the lake.
    fn there<T: Send + 'static>(
        &self,
        work: impl Future<Output = LakeResult<T>> + Send + 'static,
    ) -> BoxFuture<LakeResult<T>> {
        let handle = self.handle.clone();
        Box::pin(async move {
            let mut set = JoinSet::new();
            set.spawn_on(work, &handle);
            match set.join_next().await {
                Some(Ok(done)) => done,
                _ => Err(LakeError::Unavailable("looking at the lake broke off".into())),
            }
        })
    }
}

impl Drop for SqlLake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Starts all threads immediately, so that their stacks are mapped before the memory of this process is limited.
async fn start_file_threads(handle: &Handle) {
    let all_are_there = Arc::new(Barrier::new(FILE_THREADS));
    let mut started = JoinSet::new();
    for _ in 0..FILE_THREADS {
        let all_are_there = all_are_there.clone();
        started.spawn_blocking_on(move || all_are_there.wait().is_leader(), handle);
    }
    started.join_all().await;
}

async fn find(lake: &Lake, id: &TableId) -> LakeResult<Table> {
    let name = TableName::new(&id.namespace, &id.name).map_err(|error| LakeError::NotFound(error.to_string()))?;
    lake.table(&name).await.map_err(of_lake)
}

/// Returns the row for one table in the list of tables. If the table cannot be read, its row contains the error, so
/// that other tables are still listed.
async fn row(lake: &Lake, name: TableName) -> TableRow {
    let id = TableId::new(name.namespace(), name.name());
    match lake.table(&name).await.map_err(of_lake) {
        Ok(table) => describe::row(id, table.iceberg()),
        Err(error) => {
            let problem = Some(error.to_string());
            TableRow { id, totals: TableTotals::default(), snapshots: 0, last: None, problem }
        }
    }
}

fn part<T>(all: Vec<T>, page: LakePage) -> Vec<T> {
    all.into_iter().skip(page.skip).take(page.most).collect()
}

impl LakeView for SqlLake {
    fn place(&self) -> BoxFuture<LakeResult<String>> {
        Box::pin(ready(Ok(self.place.clone())))
    }

    fn tables(&self) -> BoxFuture<LakeResult<Vec<TableRow>>> {
        let lake = self.lake.clone();
        self.there(async move {
            let names = lake.tables(None).await.map_err(of_lake)?;
            let rows = stream::iter(names).map(|name| row(&lake, name)).buffered(AT_ONCE);
            Ok(rows.collect().await)
        })
    }

    fn table(&self, id: TableId) -> BoxFuture<LakeResult<LakeTable>> {
        let lake = self.lake.clone();
        self.there(async move {
            let table = find(&lake, &id).await?;
            Ok(describe::whole(id, table.iceberg()))
        })
    }

    fn snapshots(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<SnapshotRow>>> {
        let lake = self.lake.clone();
        self.there(async move { Ok(part(describe::snapshots(find(&lake, &id).await?.iceberg()), page)) })
    }

    fn files(&self, id: TableId, snapshot: Option<i64>, page: LakePage) -> BoxFuture<LakeResult<Vec<DataFile>>> {
        let lake = self.lake.clone();
        self.there(async move {
            let table = find(&lake, &id).await?;
            let table = table.iceberg();
            if let Some(snapshot) = snapshot.filter(|snapshot| table.metadata().snapshot_by_id(*snapshot).is_none()) {
                return Err(LakeError::NotFound(format!("table `{id}` has no snapshot {snapshot}")));
            }
            let snapshot = snapshot.or(table.metadata().current_snapshot_id());
            Ok(part(files(table, snapshot).await?, page))
        })
    }

    fn partitions(&self, id: TableId, page: LakePage) -> BoxFuture<LakeResult<Vec<PartitionRow>>> {
        let lake = self.lake.clone();
        self.there(async move {
            let table = find(&lake, &id).await?;
            let table = table.iceberg();
            Ok(part(partitions(table, table.metadata().current_snapshot_id()).await?, page))
        })
    }

    fn sources(&self, queries: Vec<Query>) -> BoxFuture<LakeResult<Vec<LakeResult<Sources>>>> {
        let lake = self.lake.clone();
        self.there(async move {
            let read: Vec<_> = queries.iter().map(|query| reads_of(&query.sql, &query.values)).collect();
            // The locations of all tables in all queries are looked up in a single call.
            let named: BTreeSet<&TableName> = read.iter().flatten().flat_map(|reads| &reads.tables).collect();
            let named: Vec<TableName> = named.into_iter().cloned().collect();
            let places = lake.catalog().locations(&named).await.map_err(of_lake)?;
            let places: BTreeMap<TableName, Option<String>> = named.into_iter().zip(places).collect();
            let sources = |reads: Reads| {
                let place = |table: &TableName| places.get(table).cloned().flatten();
                let tables =
                    reads.tables.iter().map(|table| (TableId::new(table.namespace(), table.name()), place(table)));
                Sources { tables: tables.collect(), changing: reads.changing }
            };
            Ok(read.into_iter().map(|reads| reads.map(sources)).collect())
        })
    }

    fn query(&self, query: Query, stop: CancellationToken) -> BoxFuture<LakeResult<Box<dyn QueryRows>>> {
        let (lake, memory, threads) = (self.lake.clone(), self.memory.clone(), self.threads);
        let handle = self.handle.clone();
        Box::pin(async move {
            let means = Means { lake, memory, threads, looked: Arc::default() };
            let rows: Box<dyn QueryRows> = Box::new(Rows::begin(means, query, stop, &handle).await?);
            Ok(rows)
        })
    }
}
