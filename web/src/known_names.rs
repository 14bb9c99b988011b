//! What DAGs and their tasks are called, kept so that finding them by words does not read the structures of all DAGs each time.
//! Structures are large, and a version never changes: only those are read that came since the last look.

use orch_store::StoreResult;
use orch_store::dag::{dag_names, task_ids};
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// They are looked at again after so long: people type a word in less.
const FRESH: Duration = Duration::from_secs(1);
const MOST_DAGS: i64 = 50_000;
/// Structures that are read by one statement.
const AT_ONCE: usize = 1_000;

/// A DAG that a worker has.
#[derive(Debug)]
pub(crate) struct KnownDag {
    pub(crate) dag_id: String,
    pub(crate) aliases: Vec<String>,
    version: i32,
    /// One a line; no id has a line break.
    pub(crate) task_ids: Arc<str>,
}

#[derive(Debug)]
struct Known {
    at: Instant,
    dags: Arc<[KnownDag]>,
}

/// One for each process.
#[derive(Debug, Default)]
pub(crate) struct KnownNames(Mutex<Option<Known>>);

impl KnownNames {
    /// All DAGs by id, as they were a moment ago. Who comes while they are read waits for them.
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
