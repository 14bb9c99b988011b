//! A simulated world from a seed: workers, schedulers and runs, a period of faults, then a period without faults. In
//! the second period every run must finish soon, and with the result of the core.

mod trouble;
mod users;

use crate::database::tables::Dag;
use crate::database::{Database, pause};
use crate::end;
use crate::faults::{Faults, Mutant};
use crate::gate::Gates;
use crate::node::{Program, process};
use crate::rng::Rng;
use crate::scheduler::scheduler;
use crate::script::Script;
use crate::shape::{POOLS, lines, random_dag, with_one_more};
use crate::trace::Trace;
use orch_core::plan::Plan;
use orch_spec::DagSpec;
use orch_store::hint::{Hint, Hints};
use orch_store::version::Version;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The same lease as in all other tests.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// Maximum time after the end of a lease until work continues, after any fault.
const RECOVERY: Duration = Duration::from_secs(2);
/// Maximum time until all messages sent during the faults have arrived.
const LATEST: Duration = Duration::from_secs(5);
/// Timeout for the period without faults; longer than any work takes.
const PEACE: Duration = Duration::from_mins(5);

/// Options of a simulation.
#[derive(Debug, Clone, Default)]
pub struct SimulationOptions {
    pub seed: u64,
    /// Keeps every line of the trace.
    pub whole_trace: bool,
    pub mutant: Option<Mutant>,
}

/// The result of a simulation.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    /// Hash of the whole trace.
    pub hash: u64,
    pub events: u64,
    pub violation: Option<String>,
    pub trace: Vec<String>,
    /// Duration in simulated time.
    pub took: Duration,
    pub compared: usize,
}

/// Simulates a seed. The same options give the same report.
pub fn simulate(wish: &SimulationOptions) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without any driver but the clock can be made");
    runtime.block_on(async {
        let began = Instant::now();
        let mut world = World::new(wish);
        world.trouble().await;
        world.peace().await;
        let db = world.close();
        let (hash, events) = db.with(|s| (s.trace.hash(), s.trace.count()));
        let (violation, compared) = db.with(|s| (s.books.violation.take(), end::compare(s)));
        let trace = db.with(|s| std::mem::replace(&mut s.trace, Trace::new(false)).into_lines());
        let (violation, compared) = match compared {
            Ok(many) => (violation, many),
            Err(what) => (violation.or(Some(what)), 0),
        };
        Report { seed: wish.seed, hash, events, violation, trace, took: began.elapsed(), compared }
    })
}

/// A machine that runs one worker.
struct Node {
    gates: Gates,
    stop: CancellationToken,
    running: Option<AbortHandle>,
}

struct World {
    db: Arc<Database>,
    rng: Rng,
    script: Script,
    versions: Vec<Arc<Version>>,
    dag_ids: Vec<String>,
    nodes: Vec<Node>,
    schedulers: Vec<Option<AbortHandle>>,
    tasks: JoinSet<()>,
    /// `Some` if all workers and schedulers share hints, as in one process; `None` if hints do not cross processes.
    shared_hints: Option<Hints>,
    runs_to_come: u64,
    /// True if users change runs while they run.
    busy_people: bool,
    /// Nodes that stay dead, frozen or cut off in the period without faults.
    gone: BTreeSet<usize>,
}

impl World {
    fn new(wish: &SimulationOptions) -> World {
        let mut rng = Rng::new(wish.seed);
        let faults = Faults::random(&mut rng, wish.mutant);
        let script = Script(rng.number());
        let db = Database::new(rng.fork(), faults, wish.mutant, Trace::new(wish.whole_trace), script);
        let gated = wish.mutant.map_or_else(|| rng.chance(400), Mutant::is_of_gates);
        if gated {
            let pools = POOLS.map(|(name, most)| (name.to_string(), rng.between(u64::from(most), 4) as i32));
            db.with(|s| s.tables.pools.extend(pools));
        }
        let many = rng.between(1, 2) as i32;
        let mut versions: Vec<Arc<Version>> =
            (1..=many).map(|id| version(&db, id, 1, random_dag(&format!("dag{id}"), gated, &mut rng))).collect();
        let dag_ids = versions.iter().map(|v| v.dag_id.clone()).collect();
        db.with(|s| {
            for version in &versions {
                lines(&version.plan.spec).iter().for_each(|line| s.say("", format_args!("{line}")));
                let max_active_runs = version.plan.spec.max_active_runs.unwrap_or(16) as usize;
                s.tables.dags.insert(version.dag_id.clone(), Dag { version: version.clone(), max_active_runs });
            }
        });
        // Each DAG has a second version in which no run starts; runs are moved to it.
        let one_more =
            |(id, of): (i32, &Arc<Version>)| version(&db, id, 2, with_one_more(&of.plan.spec, gated, &mut rng));
        let others: Vec<_> = (many + 1..).zip(&versions).map(one_more).collect();
        versions.extend(others);
        let mut world = World {
            db,
            script,
            dag_ids,
            versions,
            nodes: Vec::new(),
            schedulers: Vec::new(),
            tasks: JoinSet::new(),
            shared_hints: rng.chance(500).then(Hints::new),
            runs_to_come: rng.between(1, 5),
            busy_people: wish.mutant.map_or_else(|| rng.chance(500), Mutant::is_of_people),
            gone: BTreeSet::new(),
            rng,
        };
        for _ in 0..world.rng.between(1, 4) {
            world.nodes.push(Node { gates: Gates::default(), stop: CancellationToken::new(), running: None });
            world.start(world.nodes.len() - 1);
        }
        for _ in 0..world.rng.between(1, 2) {
            world.schedulers.push(None);
            world.start_scheduler(world.schedulers.len() - 1);
        }
        world
    }

    fn hints(&self) -> Hints {
        self.shared_hints.clone().unwrap_or_default()
    }

    fn start(&mut self, node: usize) {
        let (gates, stop) = (Gates::default(), CancellationToken::new());
        let program = Program {
            node,
            session: self.db.session(format!("n{node}"), Some(node)),
            versions: self.versions.clone(),
            script: self.script,
            lease: LEASE,
            slots: self.rng.pick(&[1, 2, 4, 16]),
            remembered_runs: self.rng.pick(&[1, 3, 1_000]),
            grace: Duration::from_secs(self.rng.between(0, 3)),
            hints: self.hints(),
            gates: gates.clone(),
        };
        let running = self.tasks.spawn(process(program, self.rng.fork(), stop.clone()));
        self.nodes[node] = Node { gates, stop, running: Some(running) };
        self.say(format_args!("node {node} starts"));
    }

    fn start_scheduler(&mut self, which: usize) {
        let session = self.db.session(format!("s{which}"), None);
        let work = scheduler(session, self.dag_ids.clone(), self.hints(), self.rng.fork());
        self.schedulers[which] = Some(self.tasks.spawn(work));
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        self.db.with(|s| s.say("", what));
    }

    async fn create_run(&mut self) {
        if self.runs_to_come == 0 {
            return;
        }
        self.runs_to_come -= 1;
        let dag_id = self.dag_ids[self.rng.below(self.dag_ids.len())].clone();
        // The response may be lost; then the run exists or it does not, and no retry follows.
        if self.db.session("api".into(), None).create_run(&dag_id).await.is_ok()
            && let Some(hints) = &self.shared_hints
        {
            hints.give(Hint::Ready);
        }
    }

    /// Ends all faults. Everything must finish on the nodes that are left.
    async fn peace(&mut self) {
        while self.runs_to_come > 0 && !self.violated() {
            self.create_run().await;
        }
        // At least one node stays.
        let alive = self.rng.below(self.nodes.len());
        for node in (0..self.nodes.len()).filter(|n| *n != alive) {
            if self.rng.chance(300) {
                self.lose(node);
            }
        }
        let gone = self.gone.clone();
        self.db.with(|s| s.faults.heal());
        self.db.mended();
        for node in 0..self.nodes.len() {
            if self.gone.contains(&node) {
                continue;
            }
            self.nodes[node].gates.be_idle();
            self.thaw(node);
            let stopping = self.nodes[node].stop.is_cancelled();
            if stopping || self.nodes[node].running.as_ref().is_none_or(AbortHandle::is_finished) {
                if let Some(running) = self.nodes[node].running.take() {
                    running.abort();
                }
                self.start(node);
            }
        }
        for which in 0..self.schedulers.len() {
            if self.schedulers[which].is_none() {
                self.start_scheduler(which);
            }
        }
        self.say(format_args!("peace; gone are {gone:?}"));
        self.until_all_ended().await;
    }

    async fn until_all_ended(&mut self) {
        let began = Instant::now();
        let mut working = began;
        while !self.violated() {
            self.look_after();
            let now = Instant::now();
            let quiet = self.db.with(|s| s.tables.is_quiet());
            if quiet && now.duration_since(began) > LATEST {
                return self.go_home().await;
            }
            let gone = self.gone.clone();
            let (busy, progress) = self.db.with(|s| {
                let waits = s.tables.waiting.values().any(|w| w.wake_at > now);
                (waits || s.books.bodies.any_awake(|n| gone.contains(&n)), s.books.progress)
            });
            if busy || quiet {
                working = now;
            }
            if now.duration_since(working.max(progress)) > LEASE + RECOVERY {
                let left = self.db.with(|s| end::left(&s.tables));
                return self.fail(format!("nothing goes on although all is well: {left}"));
            }
            if now.duration_since(began) > PEACE {
                let left = self.db.with(|s| end::left(&s.tables));
                return self.fail(format!("it does not end: {left}"));
            }
            pause(Duration::from_millis(50)).await;
        }
    }

    /// Stops all workers, and checks that nothing is left over.
    async fn go_home(&mut self) {
        self.nodes.iter().for_each(|n| n.stop.cancel());
        let until = Instant::now() + LEASE + RECOVERY + Duration::from_secs(3);
        loop {
            let alive = |n: &usize| self.nodes[*n].running.as_ref().is_some_and(|r| !r.is_finished());
            let here = (0..self.nodes.len()).filter(|n| !self.gone.contains(n)).any(|n| alive(&n));
            let left = self.db.with(|s| end::left_at_home(&s.tables));
            match left {
                None if !here => return,
                left if Instant::now() >= until => {
                    return self.fail(format!("workers do not end: {left:?}"));
                }
                _ => pause(Duration::from_millis(50)).await,
            }
        }
    }

    /// Reports tasks that panicked.
    fn look_after(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                self.fail(format!("somebody panicked: {error}"));
            }
        }
    }

    fn violated(&self) -> bool {
        self.db.with(|s| s.books.violation.is_some())
    }

    fn fail(&self, what: String) {
        self.db.with(|s| s.books.fail(what));
    }

    fn close(mut self) -> Arc<Database> {
        self.tasks.abort_all();
        self.db.shut_down();
        self.db.clone()
    }
}

fn version(db: &Database, id: i32, number: i32, spec: DagSpec) -> Arc<Version> {
    let plan = Plan::new(Arc::new(spec)).expect("a random spec is plannable");
    let queues = vec![crate::node::QUEUE; plan.tasks.len()];
    let lines = db.with(|s| s.tables.lines_of(&plan));
    Arc::new(Version::new(id, number, plan, queues, lines))
}
