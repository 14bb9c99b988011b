//! Pools, limits, keys and past dates while workers and schedulers are killed: limits are never exceeded, and all runs
//! finish. Concurrency is measured by the outside ledger, not by the database. Only the times of admission by a rate
//! limit, and the full use of all slots, are read from the database.

use super::{PROGRAM, length, seeds};
use chrono::{DateTime, Utc};
use orch_core::gates::DEFAULT_POOL;
use orch_core::plan::Plan;
use orch_torture::limited::{
    self, CRM, DEFAULT_SLOTS, IN_DEFAULT, POOL, RATE, RATE_PER, SLOTS, Stay, most_at_once, stays,
};
use orch_torture::world::{SchedulerOptions, WorkerOptions, World};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

const WORKERS: usize = 4;
const SCHEDULERS: usize = 4;
const KILLS: usize = 8;
const RUNS: usize = 8;
const CUSTOMERS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_never_exceeded_under_kills() {
    for seed in seeds() {
        let mut world = World::new(PROGRAM, seed).await;
        for (name, slots) in [(POOL, SLOTS), (DEFAULT_POOL, DEFAULT_SLOTS)] {
            let sql = "insert into pool (name, slots) values ($1, $2) on conflict (name) do update set slots = excluded.slots";
            sqlx::query(sql).bind(name).bind(slots).execute(world.pool()).await.expect("a pool");
        }
        let (workers, schedulers) = (WorkerOptions::default(), SchedulerOptions::default());
        world.start_workers(WORKERS, &workers);
        world.start_schedulers(SCHEDULERS, &schedulers);
        world.workers_are_up().await;
        let mut kills = world.rng.part("kills");
        let mut customer_of: BTreeMap<Uuid, usize> = BTreeMap::new();
        for round in 0..RUNS * length() {
            for dag_id in ["limited", "limited_too"] {
                let customer = kills.below(CUSTOMERS);
                let run = world.trigger_with(dag_id, json!({ "who": { "name": customer } })).await;
                customer_of.insert(run, customer);
            }
            tokio::time::sleep(kills.millis(300, 900)).await;
            if round < KILLS * length() {
                let after = kills.millis(0, 300);
                if kills.one_in(3) {
                    world.replace_scheduler(kills.below(SCHEDULERS), after, &schedulers).await;
                } else {
                    world.replace_worker(kills.below(WORKERS), after, &workers).await;
                }
            }
        }
        let open = "select count(*) from dag_run where state in ('queued', 'running')";
        world.until("every run is over", || async { world.number(open).await == 0 }).await;
        world.until("every slot is free", || async { world.number("select count(*) from slot").await == 0 }).await;
        let entries = world.ledger();
        let stays = stays(&entries, &world.kills);
        let named = |prefix: &'static str| stays.iter().filter(move |stay| stay.of.task_id.starts_with(prefix));
        let pool = named("pool_")
            .chain(named("flaky_"))
            .chain(named("in_order"))
            .map(|stay| (stay, 1))
            .chain(named("two_").map(|stay| (stay, 2)));
        let pool = most_at_once(pool);
        let crm = most_at_once(named("crm_").map(|stay| (stay, 1)));
        let usual = most_at_once(IN_DEFAULT.into_iter().flat_map(named).map(|stay| (stay, 1)));
        assert!(pool <= SLOTS && crm <= CRM.cast_signed(), "seed {seed}: {pool} in the pool, {crm} under the limit");
        assert!(usual <= DEFAULT_SLOTS, "seed {seed}: {usual} in the default pool");
        for customer in 0..CUSTOMERS {
            let theirs = named("customer_").filter(|stay| customer_of[&stay.of.run] == customer);
            let many = most_at_once(theirs.map(|stay| (stay, 1)));
            assert!(many <= 1, "seed {seed}: {many} at once for customer {customer}");
        }
        let mut used = vec![pool, usual, crm];
        for dag_id in ["limited", "limited_too"] {
            let runs: Vec<Uuid> = world.triggered.iter().filter(|t| t.dag_id == dag_id).map(|t| t.id).collect();
            let lonely = most_at_once(named("lonely").filter(|stay| runs.contains(&stay.of.run)).map(|stay| (stay, 1)));
            assert_eq!(lonely, 1, "seed {seed}: over all runs of {dag_id}");
            in_order(seed, &runs, &stays);
            used.push(lonely);
        }
        rate(seed, &held(&world, &["rate_wide"]).await);
        let full = most_held(&held(&world, &["pool_wide", "in_order", "two_slots", "two_slots"]).await);
        let full_usual = most_held(&held(&world, &["crm_wide", "customer_wide", "lonely", "rate_wide"]).await);
        let lost = stays.iter().filter(|stay| stay.of.lease_no > 1).count();
        eprintln!(
            "seed {seed}: {used:?} of {SLOTS}, {DEFAULT_SLOTS}, {CRM}, 1, 1 at once; {} bodies, {lost} of them again",
            stays.len()
        );
        assert!(full >= SLOTS - 1, "seed {seed}: the pool was never full, only {full}");
        assert!(full_usual >= DEFAULT_SLOTS - 1, "seed {seed}: the default pool was never full, only {full_usual}");
        world.finish().await;
    }
}

/// Checks that a run's task starts after the task of the previous run has ended.
fn in_order(seed: u64, runs: &[Uuid], stays: &[Stay<'_>]) {
    let of = |run: &Uuid| stays.iter().filter(|s| s.of.run == *run && s.of.task_id == "in_order").collect::<Vec<_>>();
    for pair in runs.windows(2) {
        let ended = of(&pair[0]).iter().map(|stay| stay.until).max().expect("it ran");
        let began = of(&pair[1]).iter().map(|stay| stay.of.at).min().expect("it ran");
        assert!(ended <= began, "seed {seed}: run {} overtook {}", pair[1], pair[0]);
    }
}

/// Time of admission, end, and true if the attempt was lost or restarted.
type SlotHold = (DateTime<Utc>, DateTime<Utc>, bool);

/// Returns the admission times of the last attempts of some tasks, by the clock of the database, which decided. A busy
/// machine may start them much later, and all at the same time.
async fn held(world: &World, tasks: &[&str]) -> Vec<SlotHold> {
    let dag = limited::dags().remove(0).into_bundle_dag().expect("the dag is right");
    let plan = Plan::new(dag.spec).expect("it can be planned");
    let mut held = Vec::new();
    for task in tasks {
        let sql = "select queued_at, ended_at, lost_no > 0 or lease_no > 1 from task_instance where task = $1";
        let index = plan.index_of(task).expect("both dags have it") as i16;
        let rows: Vec<SlotHold> = sqlx::query_as(sql).bind(index).fetch_all(world.pool()).await.expect("rows");
        held.extend(rows);
    }
    held
}

/// Returns the maximum number of slots in use at the same time.
fn most_held(held: &[SlotHold]) -> i32 {
    let mut moments: Vec<_> = held.iter().flat_map(|(from, until, _)| [(*from, 1), (*until, -1)]).collect();
    moments.sort_unstable();
    let counts = moments.iter().scan(0, |now, (_, weight)| {
        *now += weight;
        Some(*now)
    });
    counts.max().unwrap_or(0)
}

/// Attempts of a lost worker restart without a new admission by the rate limit, so they are ignored.
fn rate(seed: u64, held: &[SlotHold]) {
    let mut let_in: Vec<_> = held.iter().filter(|(.., lost)| !lost).map(|(at, ..)| *at).collect();
    let_in.sort_unstable();
    let most = RATE as usize;
    for window in let_in.windows(most + 1) {
        let took = (window[most] - window[0]).to_std().unwrap_or_default();
        assert!(took >= RATE_PER, "seed {seed}: {} were let in within {took:?}", most + 1);
    }
}
