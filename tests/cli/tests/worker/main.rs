//! Workers on a real database: runs end as the model predicts, also with failures, waits and lost connections.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod alerts;
mod commits;
mod queues;
mod topics;
mod waits;
mod world;

use orch::prelude::*;
use orch_store::hint::Hint;
use orch_store::locks::Locks;
use orch_store::run::get_run;
use orch_store::version::Versions;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_ends_well() {
    // Delayed retries need a scheduler, a test binary cannot run child processes (`cli/children.rs`), and no user
    // responds to approvals here (`cli/approvals.rs`).
    let others = ["example_retry", "example_process", "example_alerts", "example_approval"];
    let dags = orch_examples::dags().into_iter().filter(|d| !others.contains(&d.spec().dag_id.as_str()));
    let dags: Vec<Dag> = dags.collect();
    let ids: Vec<String> = dags.iter().map(|d| d.spec().dag_id.clone()).collect();
    let world = World::new(dags, 1).await;
    for id in ids {
        let run = world.trigger(&id, None).await;
        let state = world.end_of(&id, &run).await;
        assert_eq!(state, "success", "{id}: {:?} {}", world.states(&run).await, world.dump().await);
    }
    world.end().await;
}

/// The asset update of one example triggers the next one, which receives the metadata of the update.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn examples_follow_each_other_by_their_assets() {
    let by_assets = |dag: &Dag| dag.spec().dag_id.starts_with("example_asset_");
    let world = World::new(orch_examples::dags().into_iter().filter(by_assets).collect(), 1).await;
    let run = world.trigger("example_asset_producer", None).await;
    assert_eq!(world.end_of("example_asset_producer", &run).await, "success");
    let mut connection = world.db.connect().await;
    let (mut versions, mut begun) = (Versions::default(), Vec::new());
    // Does what a scheduler does: starts the consumer first, then the DAGs that its own update triggers.
    while begun.len() < 3 {
        orch_store::asset::distribute(&mut connection, 100).await.unwrap();
        for dag_id in orch_store::asset::dags_to_ask(&mut connection, 10).await.unwrap() {
            begun.extend(
                orch_store::asset::begin_triggered_runs(&mut connection, Locks::begin(), &mut versions, &dag_id)
                    .await
                    .unwrap(),
            );
        }
        world.hints.give(Hint::Ready);
        for run in &begun {
            assert_eq!(world.end_of(&run.dag_id, &run.run_id).await, "success", "{}", world.dump().await);
        }
    }
    let ids: Vec<&str> = begun.iter().map(|run| run.dag_id.as_str()).collect();
    assert_eq!(ids, ["example_asset_alias", "example_asset_consumer", "example_asset_alias"]);
    let told: Vec<String> = sqlx::query_scalar(
        "select o.value #>> '{}' from output o join dag_run r on r.id = o.run where r.dag_id = 'example_asset_alias'
        order by r.run_after",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(told, ["example://shop/archive/2026-10, example://shop/archive/2026-11", "example://shop/revenue"]);
    let ways: Vec<(String, Option<i64>)> = sqlx::query_as(
        "select from_uri || ' -> ' || to_uri, rows from lineage where dag_id = 'example_asset_consumer'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(ways, [("example://shop/orders -> example://shop/revenue".to_string(), Some(1_200))]);
    drop(connection);
    world.end().await;
}

#[task]
async fn list() -> TaskResult<Vec<u64>> {
    Ok((0..2500).collect())
}

#[task]
async fn double(n: u64) -> TaskResult<u64> {
    Ok(n * 2)
}

#[task]
async fn total(numbers: Vec<u64>) -> TaskResult<u64> {
    Ok(numbers.iter().sum())
}

#[task(retries = 2, retry_delay = secs(0))]
async fn third_time(ctx: Ctx) -> TaskResult<u32> {
    ensure!(ctx.try_number() == 3, "not yet: {}", ctx.try_number());
    Ok(ctx.try_number())
}

#[task]
async fn panics() -> TaskResult<()> {
    panic!("as it says")
}

#[task(timeout = std::time::Duration::from_millis(50))]
async fn sleeps(ctx: Ctx) -> TaskResult<()> {
    ctx.info("sleeping");
    std::future::pending().await
}

/// Number of starts.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

#[task(on_lost = OnLost::Fail)]
async fn only_once(n: u64) -> TaskResult<u64> {
    BEGUN.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(n % 7)).await;
    Ok(n)
}

#[task]
async fn nothing() -> TaskResult<()> {
    Ok(())
}

fn hard() -> Vec<Dag> {
    vec![
        dag("thousand").build(|d| {
            for n in 0..1000 {
                d.add(nothing().id(format!("t{n}")));
            }
        }),
        dag("patient").build(|d| {
            let mut last = d.add(nothing().id("t0").weight_rule(WeightRule::Absolute));
            for n in 1..400 {
                last = d.add(nothing().id(format!("t{n}")).weight_rule(WeightRule::Absolute).after(last));
            }
        }),
        dag("urgent").build(|d| {
            d.add(nothing().priority(1000));
        }),
        dag("once").build(|d| {
            let numbers = d.add(list());
            let same = d.map(numbers, only_once);
            d.add(total(same));
        }),
        dag("lists").build(|d| {
            let numbers = d.add(list());
            let doubled = d.map(numbers, double);
            d.add(total(doubled));
        }),
        dag("retries").build(|d| {
            d.add(third_time());
        }),
        dag("bad").build(|d| {
            d.add(panics());
            d.add(sleeps());
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_are_mapped_and_reduced_by_four_workers() {
    let world = World::new(hard(), 4).await;
    let run = world.trigger("lists", None).await;
    assert_eq!(world.end_of("lists", &run).await, "success");
    let mut connection = world.db.connect().await;
    let total: Value =
        sqlx::query_scalar("select value from output where task = 2").fetch_one(&mut connection).await.unwrap();
    assert_eq!(total, json!(2499 * 2500));
    world.end().await;
}

/// A run has one row: workers that lose the race for it must not write it repeatedly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_of_one_run_write_its_row_hardly_more_often_than_they_end_tasks() {
    let world = World::new(hard(), 4).await;
    let run = world.trigger("thousand", None).await;
    assert_eq!(world.end_of("thousand", &run).await, "success");
    let mut connection = world.db.connect().await;
    // All rows of one statement have the same time.
    let (writes, batches, workers): (i64, i64, i64) = sqlx::query_as(
        "select max(r.rev)::bigint, count(distinct (t.worker, t.ended_at)), count(distinct t.worker)
        from dag_run r join task_instance t on t.run = r.id where r.run_id = $1",
    )
    .bind(&run)
    .fetch_one(&mut connection)
    .await
    .unwrap();
    eprintln!("{writes} writes of the run's row for {batches} batches of {workers} workers");
    assert!(workers > 1 && batches > 10, "{workers} workers ended the tasks in {batches} batches");
    assert!(writes as f64 <= 1.3 * batches as f64, "{writes} writes for {batches} batches");
    world.end().await;
}

/// With one slot, a worker stays on its own chain for up to 100 ms, which is hundreds of tasks, unless another task is
/// more urgent. A busy machine is notified some tasks later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_makes_way_for_what_is_more_urgent() {
    let world = World::with(hard(), 1, |config| config.slots = 1).await;
    let patient = world.trigger("patient", None).await;
    let mut connection = world.db.connect().await;
    for _ in 0..3 {
        let urgent = world.trigger("urgent", None).await;
        assert_eq!(world.end_of("urgent", &urgent).await, "success");
        let overtook: i64 = sqlx::query_scalar(
            "select count(*) from task_instance t, dag_run r, task_instance u, dag_run ur
            where r.run_id = $1 and t.run = r.id and ur.run_id = $2 and u.run = ur.id
                and t.started_at > u.queued_at and t.started_at < u.started_at",
        )
        .bind(&patient)
        .bind(&urgent)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert!(overtook <= 60, "{overtook} tasks of the chain went first");
    }
    assert_eq!(world.end_of("patient", &patient).await, "success");
    world.end().await;
}

/// The lease stays valid, so no running task restarts, and tasks that must not start twice do not fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_connection_breaks_goes_on() {
    let world = World::new(hard(), 2).await;
    let run = world.trigger("once", None).await;
    let mut connection = world.db.connect().await;
    let cut = "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
        where application_name = 'orch worker' and datname = current_database()";
    let mut cuts = 0;
    while world.states(&run).await.iter().filter(|row| row.2 == "success").count() < 2000 {
        let ended: i64 = sqlx::query_scalar(cut).fetch_one(&mut connection).await.unwrap();
        cuts += ended;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(cuts >= 2, "{cuts} connections were cut");
    assert_eq!(world.end_of("once", &run).await, "success", "{}", world.dump().await);
    assert_eq!(BEGUN.load(Ordering::Relaxed), 2500);
    let total: Value =
        sqlx::query_scalar("select value from output where task = 2").fetch_one(&mut connection).await.unwrap();
    assert_eq!(total, json!(1249 * 2500 + 1250));
    let workers: i64 = sqlx::query_scalar("select count(*) from worker").fetch_one(&mut connection).await.unwrap();
    assert_eq!(workers, 2, "each is still itself");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_try_is_tried_again_and_kept_as_history() {
    let world = World::new(hard(), 1).await;
    let run = world.trigger("retries", None).await;
    assert_eq!(world.end_of("retries", &run).await, "success");
    assert_eq!(world.states(&run).await, [(0, -1, "success".into(), 3)]);
    let mut connection = world.db.connect().await;
    let tries: Vec<(i16, String)> =
        sqlx::query_as("select try_no, state::text from attempt order by 1").fetch_all(&mut connection).await.unwrap();
    assert_eq!(tries, [(1, "up_for_retry".into()), (2, "up_for_retry".into())]);
    let causes: Vec<String> = sqlx::query_scalar("select causes[1] from failure order by created_at, 1")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(causes, ["not yet: 1", "not yet: 2"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_and_timeouts_are_failed_tries_with_their_reason() {
    let world = World::new(hard(), 1).await;
    let run = world.trigger("bad", None).await;
    assert_eq!(world.end_of("bad", &run).await, "failed");
    let mut connection = world.db.connect().await;
    let why: Vec<(String, String)> =
        sqlx::query_as("select kind, causes[1] from failure order by 1").fetch_all(&mut connection).await.unwrap();
    assert_eq!(why[0], ("panic".into(), "it panicked: as it says".into()));
    assert_eq!(why[1], ("timeout".into(), "it took longer than its timeout of 50ms".into()));
    world.end().await;
}

#[task]
async fn waits(ctx: Ctx) -> TaskResult<u32> {
    if ctx.try_number() == 1 {
        ctx.cancelled().await;
    }
    Ok(ctx.try_number())
}

#[task]
async fn after_it(n: u32) -> TaskResult<u32> {
    Ok(n)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cleared_tasks_run_again_and_a_running_one_is_stopped_first() {
    use orch_store::clear::{ClearScope, clear_instances};
    let world = World::new(
        vec![dag("again").build(|d| {
            let first = d.add(third_time());
            let stopped = d.add(waits().after(first));
            d.add(after_it(stopped));
        })],
        1,
    )
    .await;
    let run = world.trigger("again", None).await;
    let mut db = world.db.connect().await;
    let running = "select exists (select from task_instance where task = 1 and state = 'running')";
    while !sqlx::query_scalar::<_, bool>(running).fetch_one(&mut db).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let id = get_run(&mut db, "again", &run).await.unwrap().unwrap().id;
    let wish = |task| ClearScope {
        selection: orch_core::select::Selection {
            tasks: vec![orch_core::transition::Selected { task, index: None }],
            downstream: true,
            ..Default::default()
        },
        ..ClearScope::default()
    };
    let mut stepper = orch_store::step::Stepper::default();
    let cleared =
        clear_instances(&mut db, &Locks::begin().runs(), &mut stepper, &mut Versions::default(), id, &wish(1))
            .await
            .unwrap()
            .unwrap();
    assert!(cleared.stopping && !cleared.revived);
    world.hints.give(Hint::Stop);
    assert_eq!(world.end_of("again", &run).await, "success");
    assert_eq!(
        world.states(&run).await,
        [(0, -1, "success".into(), 3), (1, -1, "success".into(), 2), (2, -1, "success".into(), 1)]
    );

    let cleared =
        clear_instances(&mut db, &Locks::begin().runs(), &mut stepper, &mut Versions::default(), id, &wish(0))
            .await
            .unwrap()
            .unwrap();
    assert!(cleared.revived && cleared.instances.len() == 3);
    world.hints.give(Hint::Ready);
    assert_eq!(world.end_of("again", &run).await, "failed"); // its third attempt is over; the fourth is the last
    world.end().await;
}

#[task]
async fn counts(ctx: Ctx, so_far: u32) -> TaskResult<u32> {
    let _ = ctx;
    Ok(so_far + 1)
}

#[task]
async fn breaks(ctx: Ctx) -> TaskResult<u32> {
    let _ = ctx;
    Err(fatal("it breaks"))
}

/// Entering and leaving the queue of a pool costs the worker two additional round trips, and no scheduler is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gated_tasks_follow_one_another_without_a_scheduler() {
    let chain = dag("chain").unpaused().build(|d| {
        let mut last = d.add(counts(0).id("start"));
        for number in 0..40 {
            last = d.add(counts(last).id(format!("t{number}")).pool("one"));
        }
        let list = d.add(numbers_to(30).id("list").after(last));
        d.map(list, |number| counts(number).id("wide").limit(limit("three", 3)).pool("one"));
    });
    let world = World::new(vec![chain], 2).await;
    let mut db = world.db.connect().await;
    sqlx::query("insert into pool (name, slots) values ('one', 1)").execute(&mut db).await.unwrap();
    let began = std::time::Instant::now();
    let run_id = world.trigger("chain", None).await;
    assert_eq!(world.end_of("chain", &run_id).await, "success");
    eprintln!("73 tasks, 70 of them let in one after the other: {:?}", began.elapsed());
    let slots: i64 = sqlx::query_scalar("select count(*) from slot").fetch_one(&mut db).await.unwrap();
    assert_eq!(slots, 0, "whoever ended has freed its slot");
    world.end().await;
}

#[task]
async fn numbers_to(ctx: Ctx, end: u32) -> TaskResult<Vec<u32>> {
    let _ = ctx;
    Ok((0..end).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dag_is_paused_by_the_transaction_that_ends_its_last_failure() {
    let failing = dag("failing").unpaused().max_consecutive_failed_runs(2).build(|d| {
        d.add(breaks());
    });
    let world = World::new(vec![failing], 1).await;
    let mut db = world.db.connect().await;
    // The trigger writes these rows in the commit of each end.
    let notes = "create table ended (at timestamptz default clock_timestamp(), was_paused boolean);
        create function note() returns trigger language plpgsql as $$ begin
            insert into ended (was_paused) select is_paused from dag where dag_id = new.dag_id;
            return null;
        end $$;
        create constraint trigger note after update on dag_run deferrable initially deferred
            for each row when (new.state = 'failed' and old.state = 'running') execute function note()";
    sqlx::raw_sql(notes).execute(&mut db).await.unwrap();
    for paused in [false, true] {
        let run_id = world.trigger("failing", None).await;
        assert_eq!(world.end_of("failing", &run_id).await, "failed");
        let now = orch_store::dag::get_dag(&mut db, "failing").await.unwrap().unwrap().is_paused;
        assert_eq!(now, paused);
    }
    let ended = "select array_agg(was_paused order by at) from ended";
    let ended: Vec<bool> = sqlx::query_scalar(ended).fetch_one(&mut db).await.unwrap();
    assert_eq!(ended, [false, true], "a worker that is killed right after the end loses no pause");
    world.end().await;
}
