//! DAG versions: immutable snapshots of the structure of a DAG, stored as data. Workers register versions, and all
//! processes read them.

mod list;

pub use list::{
    MOST_COUNTED, VERSIONS, VersionRow, by, runs_by_version, spec_of, structure, version_of, workers_by_version,
};

use crate::{
    StoreError, StoreResult, boxed,
    leaf::Leaf,
    line::{self, QueueLine, line_ids},
    narrow,
    step::{NewTry, RunAt},
};
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::{DagSpec, Isolation};
use sqlx::postgres::PgConnection;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A DAG version, loaded and prepared for scheduling its runs.
#[derive(Debug)]
pub struct Version {
    pub id: i32,
    pub number: i32,
    pub dag_id: String,
    pub plan: Arc<Plan>,
    /// Queue id of each task, in task order.
    pub queues: Vec<i32>,
    /// Ids of the lines (admission queues) in which attempts of the tasks wait for free pool slots or limits.
    lines: Vec<i32>,
    /// True if the default pool has a size. Tasks without a pool use the default pool, which is unlimited until a user
    /// sets its size.
    default_pool_has_size: AtomicBool,
}

impl Version {
    pub fn new(id: i32, number: i32, plan: Plan, queues: Vec<i32>, lines: Vec<i32>) -> Version {
        let (dag_id, default_pool_has_size) = (plan.spec.dag_id.clone(), AtomicBool::new(false));
        Version { id, number, dag_id, plan: Arc::new(plan), queues, lines, default_pool_has_size }
    }

    /// Returns true if the task needs admission: a worker may claim its attempts only after they have got slots in
    /// pools or under limits.
    pub fn is_gated(&self, task: TaskIdx) -> bool {
        !self.plan.task(task).gates.are_open() || self.default_pool_has_size.load(Ordering::Relaxed)
    }

    /// Returns true if any task of the version needs admission (see `is_gated`).
    pub fn has_gates(&self) -> bool {
        (0..self.plan.tasks.len()).any(|task| self.is_gated(narrow::task(task)))
    }

    /// Returns the id of the queue in which attempts of the task wait. For a task that needs admission, returns the
    /// negated id of its line (admission queue) instead.
    pub fn place(&self, task: TaskIdx) -> i32 {
        let task_no = usize::from(task);
        match self.lines.get(task_no) {
            Some(line) if self.is_gated(task) => -line,
            _ => self.queues[task_no],
        }
    }

    /// Creates the first attempt of an instance that becomes ready in a run of this version.
    pub fn new_try(&self, of: RunAt, (task, map_index): (TaskIdx, i32)) -> NewTry {
        let planned = self.plan.task(task);
        NewTry {
            run: of.run,
            task,
            map_index,
            attempt: Uuid::now_v7(),
            version: self.id,
            queue: self.place(task),
            priority: of.run_type.priority(planned.priority),
            retries: planned.retries.min(1000) as i16,
            rev: of.rev,
        }
    }
}

/// Loads and prepares the version with this id.
#[boxed]
pub async fn load(db: &mut PgConnection, id: i32) -> StoreResult<Version> {
    let mut loaded = load_all(db, &[id]).await?;
    loaded.pop().ok_or_else(|| sqlx::Error::RowNotFound.into())
}

/// Loads and prepares versions, in the order of `ids`.
#[boxed]
pub async fn load_all(db: &mut PgConnection, ids: &[i32]) -> StoreResult<Vec<Version>> {
    let rows = sqlx::query!(
        "select v.id, v.dag_id, v.number, v.spec from unnest($1::integer[]) with ordinality as w (id, place)
        join dag_version v on v.id = w.id order by w.place",
        ids
    )
    .fetch_all(&mut *db)
    .await?;
    let mut plans = Vec::with_capacity(rows.len());
    for row in rows {
        let corrupt =
            |e: &dyn std::fmt::Display| StoreError::corrupt(format!("version {} of dag `{}`: {e}", row.id, row.dag_id));
        let spec: DagSpec = serde_json::from_value(row.spec).map_err(|e| corrupt(&e))?;
        plans.push((row.id, row.number, Plan::new(Arc::new(spec)).map_err(|e| corrupt(&e))?));
    }
    prepare(db, plans).await
}

/// Prepares versions from plans, each with the id and number of its version. Creates queues and lines (admission
/// queues) that do not exist yet.
pub(crate) async fn prepare(db: &mut PgConnection, plans: Vec<(i32, i32, Plan)>) -> StoreResult<Vec<Version>> {
    let names = plans.iter().flat_map(|(_, _, plan)| queue_names(plan)).collect();
    let queues = queue_ids(db, names).await?;
    let of = |plan: &Plan| -> Vec<(i32, String)> {
        queue_names(plan).map(|name| queues[&name]).zip(line::gates_of(plan)).collect()
    };
    let lines = line_ids(db, &plans.iter().flat_map(|(_, _, plan)| of(plan)).collect()).await?;
    let version = |(id, number, plan): (i32, i32, Plan)| {
        let places = of(&plan);
        let lines = places.iter().map(|place| lines[place]).collect();
        Version::new(id, number, plan, places.into_iter().map(|(queue, _)| queue).collect(), lines)
    };
    Ok(plans.into_iter().map(version).collect())
}

/// Returns the queue name of each task of a plan.
fn queue_names(plan: &Plan) -> impl Iterator<Item = String> + '_ {
    plan.tasks.iter().map(|task| lane(&task.queue, task.isolation))
}

/// Returns the internal name of a queue. Tasks that run in child processes have separate slots on a worker, so each
/// queue has a second, internal queue for them.
pub fn lane(queue: &str, isolation: Isolation) -> String {
    match isolation {
        Isolation::InProcess => queue.to_string(),
        Isolation::Process => format!("{queue}{PROCESS_LANE}"),
    }
}

/// Suffix of the internal queues for tasks in child processes. It is unambiguous, because names of queues contain no
/// slash.
const PROCESS_LANE: &str = "/process";

/// Returns the ids of queues by name. Creates queues that do not exist.
#[boxed]
pub async fn queue_ids(db: &mut PgConnection, names: BTreeSet<String>) -> StoreResult<HashMap<String, i32>> {
    let names: Vec<String> = names.into_iter().collect();
    let found = known_queues(db, &names).await?;
    if found.len() == names.len() {
        return Ok(found);
    }
    sqlx::query!("insert into queue (name) select unnest($1::text[]) on conflict do nothing", &names)
        .execute(&mut *db)
        .await?;
    known_queues(db, &names).await
}

async fn known_queues(db: &mut PgConnection, names: &[String]) -> StoreResult<HashMap<String, i32>> {
    let rows = sqlx::query!("select name, id from queue where name = any($1)", names).fetch_all(db).await?;
    Ok(rows.into_iter().map(|r| (r.name, r.id)).collect())
}

/// Cache of DAG versions. Versions are immutable, so entries never become outdated; the cache is cleared when it is
/// full. Clones share one cache, for example across concurrent requests to a web server.
#[derive(Debug, Default, Clone)]
pub struct Versions {
    inner: Arc<Mutex<VersionCache>>,
}

#[derive(Debug, Default)]
struct VersionCache {
    versions: HashMap<i32, Arc<Version>>,
    /// Newest known version of each DAG. It may be outdated, so code that creates a run verifies it.
    newest: HashMap<String, i32>,
    /// Weeks for which a committed transaction has created the partitions.
    leaves: HashSet<Leaf>,
    lines: HashMap<i32, Arc<QueueLine>>,
    default_pool_has_size: bool,
    /// Time of the last query for `default_pool_has_size`.
    pools_read: Option<Instant>,
    /// True if `set_default_pool` is called on each change of the default pool, which makes queries for its size
    /// unnecessary.
    is_told: bool,
    /// Line (admission queue) after which the next admission round continues, as a negative queue id. 0 starts at the
    /// first line.
    admitted_to: i32,
}

/// Minimum interval between queries for the size of the default pool. For this long after a user sets a size, attempts
/// of tasks without a pool may still be created without a limit.
const POOLS_EVERY: Duration = Duration::from_secs(1);

/// Maximum number of cached versions: enough for 2,000 DAGs with two versions each. A version takes a few kilobytes.
const MOST_VERSIONS: usize = 4_000;

impl Versions {
    #[boxed]
    pub async fn get(&self, db: &mut PgConnection, id: i32) -> StoreResult<Arc<Version>> {
        if self.should_ask() {
            let has_size = crate::admission::default_pool_has_size(db).await?;
            self.set_default_pool(has_size);
        }
        if let Some(version) = self.known(id) {
            return Ok(version);
        }
        let version = Arc::new(load(db, id).await?);
        self.put(version.clone());
        Ok(version)
    }

    /// Loads all versions that are not cached yet with one query.
    #[boxed]
    pub async fn warm(&self, db: &mut PgConnection, ids: &[i32]) -> StoreResult<()> {
        let unknown: BTreeSet<i32> = ids.iter().copied().filter(|&id| self.known(id).is_none()).collect();
        if !unknown.is_empty() {
            let unknown: Vec<i32> = unknown.into_iter().collect();
            load_all(db, &unknown).await?.into_iter().for_each(|version| self.put(Arc::new(version)));
        }
        Ok(())
    }

    pub fn put(&self, version: Arc<Version>) {
        let mut known = self.lock();
        if known.versions.len() >= MOST_VERSIONS {
            known.versions.clear();
        }
        version.default_pool_has_size.store(known.default_pool_has_size, Ordering::Relaxed);
        known.versions.insert(version.id, version);
    }

    /// Disables queries for the size of the default pool. The caller must call `set_default_pool` on each change from
    /// now on.
    pub(crate) fn will_be_told(&self) {
        self.lock().is_told = true;
    }

    fn should_ask(&self) -> bool {
        let known = self.lock();
        !known.is_told && known.pools_read.is_none_or(|read| read.elapsed() >= POOLS_EVERY)
    }

    /// Stores whether the default pool has a size, and updates all cached versions.
    pub fn set_default_pool(&self, has_size: bool) {
        let mut known = self.lock();
        (known.default_pool_has_size, known.pools_read) = (has_size, Some(Instant::now()));
        known.versions.values().for_each(|v| v.default_pool_has_size.store(has_size, Ordering::Relaxed));
    }

    /// Returns lines (admission queues) by their ids, from a cache that is cleared when it is full.
    pub(crate) async fn lines(&self, db: &mut PgConnection, ids: &[i32]) -> StoreResult<Vec<Arc<QueueLine>>> {
        let unknown: Vec<i32> = {
            let known = self.lock();
            ids.iter().copied().filter(|id| !known.lines.contains_key(id)).collect()
        };
        if !unknown.is_empty() {
            let read = line::load(db, &unknown).await?;
            let mut known = self.lock();
            if known.lines.len() + read.len() > MOST_VERSIONS {
                known.lines.clear();
            }
            known.lines.extend(read.into_iter().map(|line| (line.id, Arc::new(line))));
        }
        let known = self.lock();
        Ok(ids.iter().filter_map(|id| known.lines.get(id).cloned()).collect())
    }

    pub(crate) fn admitted_to(&self) -> i32 {
        self.lock().admitted_to
    }

    pub(crate) fn set_admitted_to(&self, queue: i32) {
        self.lock().admitted_to = queue;
    }

    pub fn known(&self, id: i32) -> Option<Arc<Version>> {
        self.lock().versions.get(&id).cloned()
    }

    pub(crate) fn newest(&self, dag_id: &str) -> Option<i32> {
        self.lock().newest.get(dag_id).copied()
    }

    /// Caches the newest version of a DAG, which saves a query when a run is created. Run creation detects an outdated
    /// value.
    pub fn set_newest(&self, dag_id: &str, id: i32) {
        let mut known = self.lock();
        if let Some(newest) = known.newest.get_mut(dag_id) {
            *newest = id;
            return;
        }
        if known.newest.len() >= MOST_VERSIONS {
            known.newest.clear();
        }
        known.newest.insert(dag_id.into(), id);
    }

    /// Creates the partitions for the week in which `run` was created, unless they exist. Only partitions from a
    /// transaction that has already committed are cached as existing, because the caller may roll back the transaction
    /// that creates new ones.
    pub(crate) async fn make_leaf(&self, db: &mut PgConnection, run: Uuid) -> StoreResult<()> {
        let leaf = Leaf::of(run);
        if self.lock().leaves.contains(&leaf) {
            return Ok(());
        }
        // `make_partitions` creates `log_chunk` last. The age of its catalog row is 0 or less if this transaction or a
        // later one has written the row. This query takes a hundredth of the time of `make_partitions`.
        let is_older: Option<bool> =
            sqlx::query_scalar("select age(xmin) > 0 from pg_class where oid = to_regclass($1)")
                .bind(format!("log_chunk_{leaf}"))
                .fetch_optional(&mut *db)
                .await?;
        match is_older {
            Some(true) => drop(self.lock().leaves.insert(leaf)),
            Some(false) => {}
            None => {
                sqlx::query!("select make_partitions($1)", Leaf::moment(run)).execute(db).await?;
            }
        }
        Ok(())
    }

    /// Locks the cache. The lock is held only for a lookup, never across an `await`.
    fn lock(&self) -> MutexGuard<'_, VersionCache> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
