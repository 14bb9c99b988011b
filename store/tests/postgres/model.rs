//! Model-based test of the store. Random DAGs run with two workers, which claim, end and retry attempts, stop sending
//! heartbeats and record outcomes too late. After each step, the rows must match the model.

use crate::fixture::{Hands, database, one, register};
use crate::shapes::{Shape, outcome, shapes, spec};
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::Run;
use orch_core::transition::{Event, Outcome};
use orch_spec::state::{RunType, TaskState};
use orch_store::doctor::{WhichHistory, verify_history};
use orch_store::locks::Locks;
use orch_store::refold::{Keep, carry_out, fold_loading};
use orch_store::step::{Claimed, EndedTry, Lease, Mode, NextTry, RunAt, Stepper, WorkerStep};
use orch_store::version::Versions;
use orch_store::worker::reap;
use orch_store::{StoreError, due};
use orch_test_support::TestDb;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

type Instance = (TaskIdx, i32);

const LEASE: Duration = Duration::from_mins(10);
/// Number of random cases. They take about 20 s on a busy machine. `ORCH_TEST_LONG` multiplies the number.
const CASES: u32 = 30;

#[test]
fn rows_say_what_the_model_says() {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long it may take")]
    let long: u32 = std::env::var("ORCH_TEST_LONG").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(database());
    let picks = prop::collection::vec(any::<u8>(), 64..512);
    let config = Config { cases: CASES * long, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(shapes(), picks), |(shape, picks)| {
        runtime.block_on(async { ModelCase::begin(&database, &shape).await.play(&picks).await });
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    // The database connections must be dropped on the runtime that created them.
    runtime.block_on(async { drop(database) });
}

struct ModelCase<'a> {
    database: &'a TestDb,
    db: PgConnection,
    version: i32,
    run: Uuid,
    model: Model,
    workers: Vec<Hands>,
    stepper: Stepper,
    /// Claimed instances, each with the index of its worker.
    held: Vec<(usize, Claimed)>,
    /// Outdated leases, each with the index of its worker.
    late: Vec<(usize, Lease)>,
    /// Outcomes that have been recorded but not applied to the run.
    unfolded: Vec<(TaskIdx, i32, Outcome)>,
    /// Revision and state of the run as a worker has cached them. They may be outdated.
    remembered: (i32, Run),
}

impl<'a> ModelCase<'a> {
    async fn begin(database: &'a TestDb, shape: &Shape) -> ModelCase<'a> {
        let mut db = one(database).await;
        let mut dag = spec(shape);
        dag.dag_id = format!("d{}", Uuid::new_v4().simple());
        let plan = Arc::new(Plan::new(Arc::new(dag.clone())).expect("a random spec is plannable"));
        let version = register(&mut db, &[Arc::new(dag.clone())]).await[0].version_id;
        let run = crate::fixture::trigger(&mut db, &mut Versions::default(), &dag.dag_id).await.id;
        let workers =
            vec![Hands::new(database, &[version], LEASE).await, Hands::new(database, &[version], LEASE).await];
        let model = Model::start(plan);
        let remembered = (0, model.run.clone());
        let (held, late, unfolded) = (Vec::new(), Vec::new(), Vec::new());
        let stepper = Stepper::default();
        ModelCase { database, db, version, run, model, workers, stepper, held, late, unfolded, remembered }
    }

    async fn play(mut self, picks: &[u8]) {
        self.check("at the beginning").await;
        // Random actions are followed by fixed ones: otherwise a run that is never folded, or whose workers are always
        // lost, would not end.
        let chance = picks.chunks_exact(2).map(|two| (two[0], two[1]));
        let steady = (0..400_u32).map(|turn| ([0, 7, 7, 10][turn as usize % 4], 253));
        for (action, pick) in chance.chain(steady) {
            if self.model.run.state.is_finished() && self.unfolded.is_empty() {
                return self.end().await;
            }
            match action % 16 {
                0..=2 => self.claim(pick).await,
                3..=6 => self.end_fast(pick).await,
                7..=9 => self.end_and_leave(pick).await,
                10 | 11 => self.fold().await,
                12 => self.try_again(pick).await,
                13 => self.end_late(pick).await,
                14 => self.fall_silent(pick).await,
                _ => self.remember().await,
            }
            self.check(&format!("after {}", action % 16)).await;
            if self.held.is_empty() {
                self.claim(200).await;
            }
        }
        panic!("no end: {:?}", self.model.run);
    }

    async fn claim(&mut self, pick: u8) {
        let worker = usize::from(pick % 2);
        due::wake_waiting(&mut self.db, 100).await.expect("a wake");
        let claimed = self.workers[worker].claim(i32::from(pick / 8) + 1).await;
        if !claimed.is_empty() {
            // A claim returns the current state of the run, so that no worker has an older one cached afterwards.
            self.remember().await;
        }
        for claimed in &claimed {
            self.end_late_of(claimed.lease).await;
        }
        self.held.extend(claimed.into_iter().map(|c| (worker, c)));
    }

    fn take(&mut self, pick: u8) -> Option<(usize, Claimed)> {
        let place = usize::from(pick).checked_rem(self.held.len())?;
        let (worker, claimed) = self.held.remove(place);
        self.late.push((worker, claimed.lease));
        Some((worker, claimed))
    }

    /// Records the outcome, the new state of the run and the follow-up work in one statement, as a worker with an
    /// up-to-date cache does.
    async fn end_fast(&mut self, pick: u8) {
        let Some((worker, claimed)) = self.take(pick) else { return };
        let (outcome, end) = ended(claimed.lease, pick);
        let hands = &mut self.workers[worker];
        let version = hands.versions.get(&mut self.db, self.version).await.expect("a version");
        let event = end.event().expect("it is over");
        let (rev, ledger) = self.remembered.clone();
        let events = [event];
        let (to, effects) = fold_loading(&mut self.db, &version, self.run, &ledger, &events).await.expect("a decision");
        let mut step = WorkerStep { ended: vec![end], ..WorkerStep::default() };
        let at = RunAt { run: self.run, rev, run_type: RunType::Manual };
        carry_out(&mut step, &version, at, to.clone(), effects, Keep::NOTHING);
        let reply = self.stepper.send(&mut hands.db, &step, hands.worker).await.expect("it still counts");
        let [Event::Finished { task, index, .. }] = events else { unreachable!("one outcome") };
        if reply.moved.is_empty() {
            self.unfolded.push((task, index, outcome));
        } else {
            self.remembered = (rev + 1, to);
            self.model.finish(task, index, outcome);
        }
    }

    /// Records only the outcome, as a worker does that loses a race and dies before it applies the outcome to the run.
    async fn end_and_leave(&mut self, pick: u8) {
        let Some((worker, claimed)) = self.take(pick) else { return };
        let (outcome, end) = ended(claimed.lease, pick);
        assert!(self.workers[worker].record(end).await, "it counts");
        self.unfolded.push((claimed.lease.task, claimed.lease.map_index, outcome));
    }

    async fn try_again(&mut self, pick: u8) {
        let Some((worker, claimed)) = self.take(pick) else { return };
        let (_, mut end) = ended(claimed.lease, pick);
        let same = pick.is_multiple_of(2);
        end.state = if same { TaskState::UpForReschedule } else { TaskState::UpForRetry };
        let attempt = if same { claimed.lease.attempt } else { Uuid::now_v7() };
        let wake_in_ms = i64::from(pick / 2 % 2);
        let queue = 1;
        end.next = Some(NextTry { attempt, wake_in_ms, version: self.version, queue, priority: 1, wait: None });
        assert!(self.workers[worker].record(end).await, "it counts");
    }

    async fn fold(&mut self) {
        self.workers[0].fold(self.run).await;
        let unfolded = std::mem::take(&mut self.unfolded);
        if !unfolded.is_empty() {
            self.model.finish_all(&unfolded);
        }
    }

    /// Checks that a worker cannot record anything under an outdated lease.
    async fn end_late(&mut self, pick: u8) {
        let Some(place) = usize::from(pick).checked_rem(self.late.len()) else { return };
        let (worker, lease) = self.late[place];
        self.end_too_late(worker, lease, pick).await;
    }

    /// The instance was requeued, so its earlier leases are outdated.
    async fn end_late_of(&mut self, now: Lease) {
        let same = |l: &&(usize, Lease)| l.1.task == now.task && l.1.map_index == now.map_index;
        for (worker, lease) in self.late.iter().filter(same).copied().collect::<Vec<_>>() {
            self.end_too_late(worker, lease, 0).await;
        }
    }

    async fn end_too_late(&mut self, worker: usize, lease: Lease, pick: u8) {
        let (_, end) = ended(lease, pick);
        assert!(!self.workers[worker].record(end.clone()).await, "a late end counted");
        let step = WorkerStep { ended: vec![end], mode: Mode::Strict, ..WorkerStep::default() };
        let hands = &mut self.workers[worker];
        let strict = self.stepper.send(&mut hands.db, &step, hands.worker).await;
        assert!(matches!(strict, Err(StoreError::FenceLost)), "{strict:?}");
    }

    /// Lets the lease of a worker expire, and replaces the worker.
    async fn fall_silent(&mut self, pick: u8) {
        let worker = usize::from(pick % 2);
        let id = self.workers[worker].worker;
        sqlx::query("update worker set expires_at = now() - interval '1 hour' where id = $1")
            .bind(id)
            .execute(&mut self.db)
            .await
            .expect("it is silent");
        let reaped = reap(&mut self.db, &Locks::begin().runs(), &mut Versions::default()).await.expect("a reaping");
        assert_eq!(reaped.workers, [id]);
        let (lost, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held).into_iter().partition(|h| h.0 == worker);
        assert_eq!(reaped.requeued + self.lost_for_good(&lost), lost.len());
        self.held = kept;
        self.workers.push(Hands::new(self.database, &[self.version], LEASE).await);
        let new = self.workers.len() - 1;
        // Keep the lost worker, so that it can later try to record outcomes under its old leases.
        self.workers.swap(worker, new);
        self.late.iter_mut().filter(|l| l.0 == worker).for_each(|l| l.0 = new);
        self.late.extend(lost.into_iter().map(|(_, claimed)| (new, claimed.lease)));
    }

    /// Updates the model for instances that were lost three times, the default limit: they fail.
    fn lost_for_good(&mut self, lost: &[(usize, Claimed)]) -> usize {
        let failed = lost.iter().filter(|(_, c)| c.lost_no >= 3).map(|(_, c)| (c.lease.task, c.lease.map_index));
        let failed: Vec<_> = failed.map(|(task, index)| (task, index, Outcome::Failed)).collect();
        let many = failed.len();
        self.unfolded.extend(failed);
        many
    }

    async fn remember(&mut self) {
        let (rev, ledger, counters): (i32, Vec<i16>, Vec<i32>) =
            sqlx::query_as("select rev, ledger, counters from dag_run where id = $1")
                .bind(self.run)
                .fetch_one(&mut self.db)
                .await
                .expect("a run");
        self.remembered = (rev, Run { state: self.model.run.state, ledger, counters });
    }

    async fn check(&mut self, when: &str) {
        let (state, ledger, counters): (String, Vec<i16>, Vec<i32>) =
            sqlx::query_as("select state::text, ledger, counters from dag_run where id = $1")
                .bind(self.run)
                .fetch_one(&mut self.db)
                .await
                .expect("a run");
        let run = Run { state: state.parse().expect("a state"), ledger, counters };
        assert_eq!(run, self.model.run, "{when}");
        let rows: Vec<(i16, i32, String)> = sqlx::query_as(
            "select task, map_index, coalesce(state::text, 'none') from task_instance where run = $1
            union all select task, map_index, 'waits' from ready where run = $1
            union all select task, map_index, 'waits' from waiting where run = $1
            union all select task, map_index, 'held' from held where run = $1",
        )
        .bind(self.run)
        .fetch_all(&mut self.db)
        .await
        .expect("rows");
        let unfolded: BTreeSet<Instance> = self.unfolded.iter().map(|u| (u.0, u.1)).collect();
        let (mut over, mut flying, mut held) = (BTreeMap::new(), unfolded.clone(), BTreeSet::new());
        for (task, index, word) in rows {
            let instance = (task as TaskIdx, index);
            match word.as_str() {
                "running" => assert!(flying.insert(instance), "{when}: {instance:?} runs and waits"),
                "waits" => assert!(flying.insert(instance), "{when}: {instance:?} waits twice"),
                "held" => assert!(held.insert(instance)),
                // The row still contains the previous attempt.
                "queued" | "up_for_retry" | "up_for_reschedule" => {}
                word if unfolded.contains(&instance) => {
                    assert!(word.parse::<TaskState>().expect("a state").is_finished());
                }
                word => drop(over.insert(instance, word.parse::<TaskState>().expect("a state"))),
            }
        }
        assert_eq!(flying, self.model.ready, "{when}: in flight");
        assert_eq!(held, self.model.held, "{when}: held");
        assert_eq!(over, self.model.states, "{when}: over");
        self.verify(when).await;
    }

    /// Checks that verification finds no differences in the history of the run.
    async fn verify(&mut self, when: &str) {
        let which = WhichHistory { dag_id: Some(self.model.plan.spec.dag_id.clone()), since: None };
        let found = verify_history(&mut self.db, &mut self.workers[0].versions, &which, None).await.expect("an audit");
        assert!(found.len() == 1 && found[0].replayed && found[0].differences.is_empty(), "{when}: {found:?}");
    }

    async fn end(mut self) {
        for place in 0..self.late.len() {
            self.end_late(place as u8).await;
        }
        self.check("at the end").await;
        for table in ["ready", "held", "waiting", "unfolded"] {
            let left: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table} where run = $1")))
                .bind(self.run)
                .fetch_one(&mut self.db)
                .await
                .expect("a number");
            assert_eq!(left, 0, "{table}");
        }
    }
}

fn ended(lease: Lease, pick: u8) -> (Outcome, EndedTry) {
    let outcome = outcome(pick);
    let (state, list_len) = match &outcome {
        Outcome::Success { list_len, .. } => (TaskState::Success, *list_len),
        Outcome::Failed => (TaskState::Failed, None),
        Outcome::Skipped { .. } => (TaskState::Skipped, None),
    };
    (outcome, EndedTry { list_len, ..EndedTry::new(lease, state) })
}
