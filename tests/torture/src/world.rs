//! A database, its processes, and runs of the DAGs, from the faults to the verdict.

mod database;
mod load;

use crate::check::{self, Verdict};
use crate::ledger;
use crate::role::{Role, ledger_in, processes_of};
use crate::watch::Watch;
use database::Database;
use orch_store::hint::Hints;
use orch_store::version::Versions;
use orch_test_support::rng::Rng;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A worker without a heartbeat for this long is lost.
pub const LEASE: Duration = Duration::from_secs(2);
/// Maximum time until lost tasks run on another worker. Long runs have the machine to themselves; `make test` shares
/// it.
#[expect(clippy::disallowed_methods, reason = "tests have no other settings")]
pub fn recovery() -> Duration {
    Duration::from_secs(if std::env::var_os("ORCH_TEST_LONG").is_some() { 4 } else { 12 })
}

/// Maximum duration of a run on a busy machine.
const LONGEST_RUN: Duration = Duration::from_secs(3);
/// Timeout for everything that must happen.
const NEVER: Duration = Duration::from_mins(1);
/// Timeout for the exit of a process after SIGTERM.
const FAREWELL: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(25);
/// Counts in `World::faults` the workers that were killed after they committed an outcome and before any process folded it.
pub const KILLED_BEFORE_FOLD: &str = "worker killed between commit and fold";

/// Options of a worker that differ from the default.
#[derive(Debug, Clone, Default)]
pub struct WorkerOptions {
    pub version: Option<u32>,
    pub slots: Option<usize>,
    pub grace: Option<Duration>,
    pub ticking_since: Option<String>,
    /// Database URL, for example of a proxy. `None`: the URL of the world.
    pub url: Option<String>,
}

/// Options of a scheduler that differ from the default.
#[derive(Debug, Clone, Default)]
pub struct SchedulerOptions {
    /// Time after which a version without a worker is stale.
    pub stale_after: Option<Duration>,
    pub migrate: bool,
    pub at: Option<Duration>,
    pub url: Option<String>,
    /// Address that it sends alerts to.
    pub tell: Option<String>,
}

/// A triggered run.
#[derive(Debug, Clone)]
pub struct Triggered {
    pub id: Uuid,
    pub dag_id: String,
}

#[derive(Debug, Clone, Copy)]
pub struct Kill {
    pub pid: i32,
    pub at: Duration,
}

/// Whether zombies are allowed in a scenario, for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zombies {
    None,
    /// A stopped or disconnected worker may end a task function after its successor has restarted it.
    Some,
}

#[derive(Debug)]
pub struct World {
    pub seed: u64,
    pub rng: Rng,
    pub workers: Vec<Role>,
    pub schedulers: Vec<Role>,
    pub triggered: Vec<Triggered>,
    pub kills: Vec<Kill>,
    /// Number of injected faults by kind, for the report.
    pub faults: BTreeMap<String, usize>,
    pub zombies: Zombies,
    database: Database,
    pool: PgPool,
    program: String,
    versions: Versions,
    hints: Hints,
    watch: Option<Watch>,
    stop: CancellationToken,
    running: JoinSet<()>,
    started: usize,
    folder: TempDir,
}

impl World {
    /// Creates a world on a database of the shared server.
    pub async fn new(program: &str, seed: u64) -> World {
        World::on(program, seed, Database::shared().await)
    }

    /// Creates a world on a private server, which can be killed.
    pub async fn with_server(program: &str, seed: u64) -> World {
        World::on(program, seed, Database::private().await)
    }

    /// Creates a world on a private server without a schema.
    pub async fn empty(program: &str, seed: u64) -> World {
        World::on(program, seed, Database::empty().await)
    }

    fn on(program: &str, seed: u64, database: Database) -> World {
        let folder = tempfile::Builder::new().prefix("orch-torture-").tempdir().expect("a folder can be made");
        let pool = database.pool();
        let (hints, stop) = (Hints::new(), CancellationToken::new());
        let mut running = JoinSet::new();
        let (carried, url, carrying) = (hints.clone(), database.url(), stop.clone());
        let cold = pool.clone();
        running.spawn(async move { carried.carry(&url, &cold, carrying).await.expect("the URL is right") });
        World {
            seed,
            rng: Rng::new(seed),
            workers: Vec::new(),
            schedulers: Vec::new(),
            triggered: Vec::new(),
            kills: Vec::new(),
            faults: BTreeMap::new(),
            zombies: Zombies::None,
            watch: Some(Watch::start(pool.clone())),
            database,
            pool,
            program: program.to_owned(),
            versions: Versions::default(),
            hints,
            stop,
            running,
            started: 0,
            folder,
        }
    }

    pub fn url(&self) -> String {
        self.database.url()
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn ledger(&self) -> Vec<ledger::Entry> {
        ledger::read(&ledger_in(self.folder.path()))
    }

    pub fn fault(&mut self, name: &str) {
        *self.faults.entry(name.to_owned()).or_default() += 1;
    }

    pub fn worker(&mut self, options: &WorkerOptions) -> usize {
        let mut args = vec!["worker".to_owned(), options.url.clone().unwrap_or_else(|| self.url())];
        let name = self.next_name("worker");
        let mut flag = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
        flag("--name", name.clone());
        flag("--lease-ms", LEASE.as_millis().to_string());
        flag("--version", options.version.unwrap_or(1).to_string());
        if let Some(slots) = options.slots {
            flag("--slots", slots.to_string());
        }
        if let Some(grace) = options.grace {
            flag("--grace-ms", grace.as_millis().to_string());
        }
        if let Some(since) = &options.ticking_since {
            flag("--ticking-since", since.clone());
        }
        self.workers.push(Role::start(&self.program, &name, &args, self.folder.path()));
        self.workers.len() - 1
    }

    pub fn scheduler(&mut self, options: &SchedulerOptions) -> usize {
        let mut args = vec!["scheduler".to_owned(), options.url.clone().unwrap_or_else(|| self.url())];
        let name = self.next_name("scheduler");
        if let Some(after) = options.stale_after {
            let after = after.as_millis().to_string();
            args.extend(["--stale-after-ms".into(), after.clone(), "--upkeep-every-ms".into(), after]);
        }
        if options.migrate {
            args.push("--migrate".into());
        }
        if let Some(tell) = &options.tell {
            args.extend(["--tell".into(), tell.clone()]);
        }
        if let Some(at) = options.at {
            args.extend(["--at-nanos".into(), at.as_nanos().to_string()]);
        }
        self.schedulers.push(Role::start(&self.program, &name, &args, self.folder.path()));
        self.schedulers.len() - 1
    }

    pub fn start_workers(&mut self, many: usize, options: &WorkerOptions) {
        for _ in 0..many {
            self.worker(options);
        }
    }

    pub fn start_schedulers(&mut self, many: usize, options: &SchedulerOptions) {
        for _ in 0..many {
            self.scheduler(options);
        }
    }

    fn next_name(&mut self, role: &str) -> String {
        self.started += 1;
        format!("{role}_{}", self.started)
    }

    /// Kills a worker with all its children, and starts another one.
    pub async fn replace_worker(&mut self, at: usize, after: Duration, options: &WorkerOptions) {
        let mut worker = self.workers.remove(at);
        let pid = worker.pid();
        self.kills.push(Kill { pid, at: worker.kill_9().await });
        self.fault("worker killed");
        if self.left_unfolded(pid).await {
            self.fault(KILLED_BEFORE_FOLD);
        }
        tokio::time::sleep(after).await;
        self.worker(options);
    }

    /// Returns true if the process recorded an outcome that is not folded.
    async fn left_unfolded(&self, pid: i32) -> bool {
        sqlx::query_scalar(
            "select exists (select from unfolded u join task_instance t using (run, task, map_index)
                join worker w on w.id = t.worker where w.pid = $1)",
        )
        .bind(pid)
        .fetch_one(&self.pool)
        .await
        .expect("the server answers")
    }

    /// Kills a scheduler and starts another one.
    pub async fn replace_scheduler(&mut self, at: usize, after: Duration, options: &SchedulerOptions) {
        self.schedulers.remove(at).kill_9().await;
        self.fault("scheduler killed");
        tokio::time::sleep(after).await;
        self.scheduler(options);
    }

    /// Kills every process of the server and restarts it.
    pub async fn crash_server(&mut self, down: Duration) {
        self.database.crash(down).await;
        self.fault("server crashed");
    }

    /// Waits until all workers of the world are registered and alive.
    pub async fn workers_are_up(&self) {
        let many = self.workers.len() as i64;
        let sql = "select count(*) from worker where state = 'running' and expires_at > now()";
        self.until("workers are up", || async move { self.number(sql).await >= many }).await;
    }

    async fn living(&self, pids: &[i32]) -> i64 {
        sqlx::query_scalar("select count(distinct pid) from worker where state = 'running' and pid = any($1)")
            .bind(pids)
            .fetch_one(&self.pool)
            .await
            .expect("the server answers")
    }

    /// Returns the number that a query returns.
    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap_or_else(|error| panic!("`{sql}`: {error}"))
    }

    /// Waits until a condition holds. Returns the time that it took.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) -> Duration {
        let began = Instant::now();
        while !holds().await {
            let patient = began.elapsed() < NEVER;
            assert!(patient, "seed {}: never: {what}\n{}", self.seed, self.dump().await);
            tokio::time::sleep(POLL).await;
        }
        began.elapsed()
    }

    /// Waits until all runs are finished, stops all processes and returns the verdict. Call it after the last fault.
    pub async fn finish(mut self) -> Verdict {
        let open = "select count(*) from dag_run where state in ('queued', 'running')";
        let settled = self.until("every run is over", || async { self.number(open).await == 0 }).await;
        // A replacement must have started before it is stopped, because it cannot handle the signal earlier.
        let pids: Vec<i32> = self.workers.iter().map(Role::pid).collect();
        self.until("every worker is up", || async { self.living(&pids).await == pids.len() as i64 }).await;
        for role in self.workers.iter_mut().chain(&mut self.schedulers) {
            if let Some(status) = role.has_ended() {
                panic!("seed {}: `{}` ended by itself: {status}\n{}", self.seed, role.name, role.tail());
            }
        }
        for worker in &mut self.workers {
            worker.end(FAREWELL).await;
        }
        let left = "select count(*) from worker where state in ('running', 'draining')";
        self.until("the killed are known to be dead", || async { self.number(left).await == 0 }).await;
        for scheduler in &mut self.schedulers {
            scheduler.end(FAREWELL).await;
        }
        let folder = self.folder.path();
        self.until("all processes are gone", || async { processes_of(folder).is_empty() }).await;
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.expect("hints are carried without panics");
        }
        let (mut violations, looks) = self.watch.take().expect("it is ended once").end();
        let roles = self.workers.iter().chain(&self.schedulers);
        violations
            .extend(roles.filter(|r| r.log().contains("panicked at")).map(|r| format!("a panic in {}", r.tail())));
        if settled > recovery() + LONGEST_RUN {
            violations.push(format!("the last run was over {settled:?} after everything was healed"));
        }
        let mut verdict = check::all(&self, settled).await;
        verdict.violations.splice(0..0, violations);
        verdict.looks = looks;
        eprintln!("seed {}: {verdict}, faults {:?}", self.seed, self.faults);
        if !verdict.violations.is_empty() {
            verdict.violations.truncate(40);
            panic!("seed {}: {:#?}\n{}", self.seed, verdict.violations, self.dump().await);
        }
        verdict
    }

    /// Returns logs and rows to debug a failure.
    pub async fn dump(&self) -> String {
        let mut text: String = self.workers.iter().chain(&self.schedulers).map(Role::tail).collect();
        let queries = [
            "select row_to_json(r)::text from (select id, dag_id, run_id, rev, version, state, ledger_words(ledger), counters
                from dag_run where state in ('queued', 'running') order by id limit 6) r",
            "select row_to_json(t)::text from task_instance t join dag_run r on r.id = t.run
                where r.state = 'running' and t.state not in ('success', 'skipped', 'failed') limit 12",
            "select row_to_json(t)::text from ready t limit 6",
            "select row_to_json(t)::text from waiting t limit 6",
            "select row_to_json(t)::text from unfolded t limit 6",
            "select row_to_json(t)::text from worker t order by id desc limit 8",
        ];
        for sql in queries {
            let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap_or_default();
            writeln!(text, "-- {}\n{}", sql.lines().next().unwrap_or_default(), rows.join("\n"))
                .expect("a string can grow");
        }
        text
    }
}
