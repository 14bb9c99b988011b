//! Workers are killed, or paused until others have taken over their tasks.

use super::{PAUSE, PROGRAM, length, seeds};
use nix::sys::signal::Signal;
use orch_spec::state::TaskState;
use orch_store::StoreError;
use orch_store::hot::{Hot, PgHot};
use orch_store::step::{EndedTry, Lease, Mode, WorkerStep};
use orch_torture::ledger::Word;
use orch_torture::world::{KILLED_BEFORE_FOLD, LEASE, SchedulerOptions, WorkerOptions, World, Zombies};
use std::time::Duration;
use uuid::Uuid;

const WORKERS: usize = 3;
const KILLS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_workers_lose_nothing() {
    let mut before_fold = 0;
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        let options = WorkerOptions::default();
        world.start_workers(WORKERS, &options);
        world.scheduler(&SchedulerOptions::default());
        world.workers_are_up().await;
        world.trigger_all().await;
        let (mut load, mut kills) = (world.rng.part("load"), world.rng.part("kills"));
        for _ in 0..KILLS * length() {
            world.load(kills.millis(250, 900), PAUSE, &mut load).await;
            let victim = kills.below(world.workers.len());
            world.replace_worker(victim, kills.millis(0, 300), &options).await;
        }
        before_fold += world.faults.get(KILLED_BEFORE_FOLD).copied().unwrap_or_default();
        let verdict = world.finish().await;
        assert!(verdict.recoveries.len() >= KILLS * length() / 2, "too few kills hit something: {verdict}");
        assert!(verdict.lost >= KILLS && verdict.runs >= 30, "too little happened: {verdict}");
    }
    // The time between commit and fold is a few milliseconds, so a few kills may all miss it.
    assert!(length() == 1 || before_fold > 0, "no worker was killed between commit and fold");
}

/// Tasks of a killed worker must become claimable after its lease ends, at most 2 s later by the database clock. The
/// server has just been started, and that must not extend the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_worker_ran_waits_for_others_no_longer_than_its_lease() {
    for seed in seeds() {
        let mut world = World::with_server(PROGRAM, seed).await;
        let options = WorkerOptions::default();
        world.scheduler(&SchedulerOptions::default());
        world.worker(&options);
        world.workers_are_up().await;
        world.trigger("slow").await;
        let began = "select count(*) from task_instance where state = 'running'";
        world.until("long bodies run", || async { world.number(began).await >= 2 }).await;
        world.replace_worker(0, Duration::ZERO, &options).await;
        let taken = "select count(*) from task_instance t join worker w on w.id = t.worker
            where t.lost_no > 0 and w.state = 'running'";
        world.until("another one has taken over", || async { world.number(taken).await > 0 }).await;
        let late: f64 = sqlx::query_scalar(
            "select extract(epoch from max(t.queued_at) - (select expires_at from worker where state = 'lost'))::float8
            from task_instance t where t.lost_no > 0",
        )
        .fetch_one(world.pool())
        .await
        .expect("both are known");
        assert!(
            (0.0..2.0).contains(&late),
            "seed {seed}: claimable only {late:.1} s after the lease of the dead worker"
        );
        world.finish().await;
    }
}

/// It resumes long after its successor has started, and must not change anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_cannot_overwrite_its_successor() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        world.zombies = Zombies::Some;
        let options = WorkerOptions { slots: Some(32), ..WorkerOptions::default() };
        world.worker(&options);
        world.scheduler(&SchedulerOptions::default());
        world.workers_are_up().await;
        let (mut rng, mut lost) = (world.rng.part("stop"), 0);
        for _ in 0..length() {
            // The only worker, so that it runs all long tasks.
            for _ in 0..3 {
                world.trigger("long").await;
            }
            world.trigger("handover").await;
            // Its successor is still running this task when the first worker resumes.
            world.trigger("slow").await;
            let began = "select count(*) from task_instance where state = 'running' and lease_no = 1";
            world.until("long bodies run", || async { world.number(began).await >= 14 }).await;
            tokio::time::sleep(rng.millis(0, 100)).await;
            let frozen = world.workers[0].pid();
            world.workers[0].send(Signal::SIGSTOP);
            world.fault("worker stopped");
            let stale = leases_of(&world, frozen).await;
            let stopped = std::time::Instant::now();
            world.worker(&options);
            let moved = "select count(*) from task_instance where lost_no > 0";
            lost += stale.len() as i64;
            world.until("others have taken over", || async { world.number(moved).await >= lost }).await;
            let took = stopped.elapsed();
            refuses(&world, &stale, seed).await;
            assert!(took <= LEASE + Duration::from_secs(2), "seed {seed}: taken over only after {took:?}");
            tokio::time::sleep((2 * LEASE).saturating_sub(stopped.elapsed()) + rng.millis(100, 500)).await;
            refuses(&world, &stale, seed).await;
            world.workers[0].send(Signal::SIGCONT);
            // It detects the loss by itself, and works again under another id.
            let before = world.ledger().len();
            let works =
                |world: &World| world.ledger()[before..].iter().any(|e| e.pid == frozen && e.word == Word::Start);
            let woke = std::time::Instant::now();
            while !works(&world) {
                // The other worker may finish a run before this one is back.
                assert!(woke.elapsed() < Duration::from_mins(1), "seed {seed}: it never works again");
                world.trigger("fan").await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let lives = "select count(*) from worker group by pid order by 1 desc limit 1";
            assert!(world.number(lives).await > 1, "seed {seed}: it went on as if nothing had been");
            let open = "select count(*) from dag_run where state = 'running'";
            world.until("everything is over", || async { world.number(open).await == 0 }).await;
            world.workers.remove(1).end(Duration::from_secs(10)).await;
        }
        let verdict = world.finish().await;
        assert!(verdict.lost + verdict.stale_ends > 0, "nothing ran when it was stopped: {verdict}");
    }
}

/// Counts sessions that are in the middle of committing a completion step.
const COMMITTING: &str = "select count(*) from pg_stat_activity where datname = current_database()
    and application_name = 'orch worker completions' and wait_event = 'PgSleep'";

/// Effects that a task commits with its success exist once or not at all (`check/run.rs`), even if the kill hits the
/// commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_in_the_middle_of_a_commit_publishes_nothing_twice() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        // Enough slots for everything that its predecessors left.
        let options = WorkerOptions { slots: Some(128), ..WorkerOptions::default() };
        world.worker(&options);
        world.scheduler(&SchedulerOptions::default());
        world.workers_are_up().await;
        let mut rng = world.rng.part("commits");
        for _ in 0..3 * length() {
            for _ in 0..2 {
                world.trigger("publishing").await;
            }
            world.until("something is committed", || async { world.number(COMMITTING).await >= 2 }).await;
            tokio::time::sleep(rng.millis(0, 150)).await;
            world.replace_worker(0, Duration::ZERO, &options).await;
        }
        let verdict = world.finish().await;
        assert!(verdict.starts > verdict.ended, "no kill found anybody at work: {verdict}");
    }
}

/// Its successor has published when it resumes in the middle of a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_in_the_middle_of_a_commit_publishes_nothing() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        world.zombies = Zombies::Some;
        let options = WorkerOptions::default();
        world.worker(&options);
        world.scheduler(&SchedulerOptions::default());
        world.workers_are_up().await;
        for _ in 0..4 {
            world.trigger("publishing").await;
        }
        world.until("something is committed", || async { world.number(COMMITTING).await >= 2 }).await;
        world.workers[0].send(Signal::SIGSTOP);
        world.fault("worker stopped");
        world.worker(&options);
        let taken_over = "select count(*) from lake.published where lease_no > 1";
        world.until("others have published", || async { world.number(taken_over).await >= 4 }).await;
        world.workers[0].send(Signal::SIGCONT);
        let verdict = world.finish().await;
        assert!(verdict.lost + verdict.stale_ends > 0, "nothing ran when it was stopped: {verdict}");
    }
}

/// Returns the leases of a process according to the database.
async fn leases_of(world: &World, pid: i32) -> Vec<Lease> {
    let rows: Vec<(Uuid, i16, i32, Uuid, i32)> = sqlx::query_as(
        "select t.run, t.task, t.map_index, t.attempt, t.lease_no from task_instance t join worker w on w.id = t.worker
        where w.pid = $1 and t.state = 'running'",
    )
    .bind(pid)
    .fetch_all(world.pool())
    .await
    .expect("the rows can be read");
    let lease = |(run, task, map_index, attempt, lease_no): (Uuid, i16, i32, Uuid, i32)| Lease {
        run,
        task: task as u16,
        map_index,
        attempt,
        lease_no,
    };
    rows.into_iter().map(lease).collect()
}

/// Sends what the stopped worker would send, and checks that all of it is rejected.
async fn refuses(world: &World, stale: &[Lease], seed: u64) {
    assert!(!stale.is_empty(), "seed {seed}: nothing ran when the worker was stopped");
    let mut store = PgHot::connect(&world.url(), "orch torture zombie").await.expect("the server answers");
    let ended = stale.iter().map(|&lease| EndedTry {
        rev: 1,
        outputs: vec![("return_value".into(), "\"stale\"".into())],
        ..EndedTry::new(lease, TaskState::Failed)
    });
    let mut step = WorkerStep { ended: ended.collect(), ..WorkerStep::default() };
    let strict = store.step(&step, 0).await;
    assert!(matches!(strict, Err(StoreError::FenceLost)), "seed {seed}: {strict:?}");
    step.mode = Mode::Record;
    let recorded = store.step(&step, 0).await.expect("it is only refused");
    assert_eq!(recorded.accepted, [], "seed {seed}: an outcome of a lost lease was taken");
    for lease in stale {
        let mut db = world.pool().acquire().await.expect("the server answers");
        let put =
            orch_store::output::put(&mut db, *lease, "pushed", &"stale".into()).await.expect("it is only refused");
        assert!(!put, "seed {seed}: an output of a lost lease was taken");
    }
    let stale = "select count(*) from output where value::text = '\"stale\"'";
    assert_eq!(world.number(stale).await, 0, "seed {seed}: a stale output is there");
}
