//! Cache of the names of DAGs and tasks for searching. Without it, each search would read the structures of all DAGs.
//! Structures are large, but a version never changes, so only new versions are read.

use orch_store::StoreResult;
use orch_store::dag::{dag_names, task_ids};
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Maximum age of the cache, which is shorter than the time to type a word.
const FRESH: Duration = Duration::from_secs(1);
const MOST_DAGS: i64 = 50_000;
/// Maximum number of structures that one statement reads.
const AT_ONCE: usize = 1_000;

/// A registered DAG.
#[derive(Debug)]
pub(crate) struct KnownDag {
    pub(crate) dag_id: String,
    pub(crate) aliases: Vec<String>,
    version: i32,
    /// One id per line. Ids contain no line breaks.
    pub(crate) task_ids: Arc<str>,
}

#[derive(Debug)]
struct Known {
    at: Instant,
    dags: Arc<[KnownDag]>,
}

/// The cache, one per process.
#[derive(Debug, Default)]
pub(crate) struct KnownNames(Mutex<Option<Known>>);

impl KnownNames {
    /// Returns all DAGs by id, at most a second old. Concurrent callers wait for the one that reads them.
    pub(crate) async fn dags(&self, db: &mut PgConnection) -> StoreResult<Arc<[KnownDag]>> {
        let mut known = self.0.lock().await;
        let mut tasks: HashMap<i32, Arc<str>> = HashMap::new();
        if let Some(known) = &*known {
            if known.at.elapsed() < FRESH {
                return Ok(known.dags.clone());
            }
            tasks.extend(known.dags.iter().map(|dag| (dag.version, dag.task_ids.clone())));
        }
        let names = dag_names(db, MOST_DAGS).await?;
        let unread: Vec<i32> = names.iter().map(|dag| dag.version).filter(|id| !tasks.contains_key(id)).collect();
        for some in unread.chunks(AT_ONCE) {
            let read = task_ids(db, some).await?;
            tasks.extend(read.into_iter().map(|(version, ids)| (version, Arc::<str>::from(ids.join("\n")))));
        }
        let dags = names.into_iter().map(|dag| KnownDag {
            task_ids: tasks.get(&dag.version).cloned().unwrap_or_default(),
            dag_id: dag.dag_id,
            aliases: dag.aliases,
            version: dag.version,
        });
        let dags: Arc<[KnownDag]> = dags.collect();
        *known = Some(Known { at: Instant::now(), dags: dags.clone() });
        Ok(dags)
    }
}
