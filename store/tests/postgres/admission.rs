//! Admission control in Postgres: which attempts are admitted, when slots become free, and how slots of lost workers
//! are recovered.

use crate::fixture::{Hands, dag, database, number, one, register, states, trigger};
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::DagSpec;
use orch_spec::state::{TaskState, TriggeredBy};
use orch_store::admission::{admit, admit_and_recount};
use orch_store::clear::{ClearScope, clear_instances};
use orch_store::kept::{POOL, Record, delete, get, insert, update};
use orch_store::locks::Locks;
use orch_store::mark::mark_instance;
use orch_store::run::{CreateRun, NewRun, cancel_run, create_run, time_out_run};
use orch_store::seal::Keyring;
use orch_store::step::{Claimed, EndedTry, Mode, NextTry, Stepper, WorkerStep};
use orch_store::version::Versions;
use orch_store::watch::{Watcher, take_due};
use orch_store::worker::{heartbeat, reap};
use orch_test_support::TestDb;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_mins(1);

/// Returns the numbers of running, queued, scheduled and open slots of a pool.
fn counted(pool: &Record) -> (i64, i64, i64, i64) {
    let slots = |column: &str| pool.whole(column);
    (slots("running_slots"), slots("queued_slots"), slots("scheduled_slots"), slots("open_slots"))
}

/// A database with DAGs, pools and one worker that the test drives.
struct House {
    database: TestDb,
    db: PgConnection,
    versions: Versions,
    hands: Hands,
    offers: Vec<i32>,
}

impl House {
    async fn new(dags: &[Arc<DagSpec>]) -> House {
        let database = database().await;
        let mut db = one(&database).await;
        let offers: Vec<i32> = register(&mut db, dags).await.iter().map(|r| r.version_id).collect();
        let hands = Hands::new(&database, &offers, LEASE).await;
        House { database, db, versions: Versions::default(), hands, offers }
    }

    async fn pool(&mut self, name: &str, slots: i32) {
        self.set_pool(name, slots, false).await;
    }

    async fn set_pool(&mut self, name: &str, slots: i32, include_deferred: bool) {
        let (keys, columns) =
            (Keyring::default(), vec![("slots", json!(slots)), ("include_deferred", json!(include_deferred))]);
        if !update(&mut self.db, &POOL, name, &columns, &keys).await.expect("a pool") {
            assert!(insert(&mut self.db, &POOL, name, &columns, &keys).await.expect("a pool"));
        }
    }

    async fn trigger(&mut self, dag_id: &str) -> Uuid {
        trigger(&mut self.db, &mut self.versions, dag_id).await.id
    }

    async fn trigger_with(&mut self, dag_id: &str, conf: Value) -> Uuid {
        let new = NewRun { conf: Some(conf), ..NewRun::manual(dag_id, TriggeredBy::Test) };
        match create_run(&mut self.db, Locks::begin(), &mut self.versions, &new).await.expect("it is created") {
            CreateRun::Created(run) => run.id,
            other => panic!("{other:?}"),
        }
    }

    /// Runs one admission round. Returns the number of admitted attempts.
    async fn admit(&mut self) -> usize {
        admit(&mut self.db, &Locks::begin().slots(), &self.versions).await.expect("an admission").many
    }

    /// Runs one admission round of a scheduler that recounts the slots first, because its last recount is long ago.
    async fn recount(&mut self) -> usize {
        sqlx::query("update admission set recounted_at = '-infinity'").execute(&mut self.db).await.expect("an update");
        admit_and_recount(&mut self.db, &Locks::begin().slots(), &self.versions).await.expect("an admission").many
    }

    async fn claim(&mut self) -> Vec<Claimed> {
        self.hands.claim(1_000).await
    }

    /// Ends an attempt as its worker would, which also releases its slots.
    async fn end(&mut self, claimed: &Claimed, state: TaskState) {
        self.end_with(claimed, state, None).await;
    }

    async fn end_with(&mut self, claimed: &Claimed, state: TaskState, next: Option<NextTry>) {
        let ended = EndedTry { next, ..EndedTry::new(claimed.lease, state) };
        let step = WorkerStep { ended: vec![ended], mode: Mode::Record, release: true, ..WorkerStep::default() };
        let worker = self.hands.worker;
        let reply = Stepper::default().send(&mut self.hands.db, &step, worker).await.expect("a step");
        assert_eq!(reply.accepted.len(), 1, "it counts");
        self.hands.fold(claimed.lease.run).await;
    }

    /// Returns the negated id of the line (admission queue) in which the first task's attempts wait.
    async fn place(&mut self, offer: usize) -> i32 {
        self.versions.get(&mut self.db, self.offers[offer]).await.expect("a version").place(0)
    }

    /// Sends a heartbeat that confirms that the worker has carried out all stop orders.
    async fn obey(&mut self) {
        let orders =
            sqlx::query_scalar("select attempt from stop_order").fetch_all(&mut self.db).await.expect("orders");
        heartbeat(&mut self.db, self.hands.worker, 0, LEASE, &orders).await.expect("a heartbeat");
    }

    async fn slots(&mut self) -> i64 {
        number(&mut self.db, "select coalesce(sum(slots), 0)::bigint from slot").await
    }

    async fn parked(&mut self) -> i64 {
        number(&mut self.db, "select count(*) from ready where queue < 0").await
    }
}

/// A DAG with a single task. If `elements` is not 0, the task is mapped over that many elements.
#[expect(clippy::needless_pass_by_value, reason = "`json!(…)` reads better without a borrow")]
fn lone(dag_id: &str, elements: i32, options: Value) -> Arc<DagSpec> {
    let mut task = json!({ "task_id": "t", "kind": "rust" });
    task.as_object_mut().expect("an object").extend(options.as_object().expect("an object").clone());
    if elements > 0 {
        task["map"] = json!({ "each": { "value": (0..elements).collect::<Vec<_>>() } });
    }
    dag(json!({ "dag_id": dag_id, "tasks": [task], "max_active_runs": 100 }))
}

#[tokio::test]
async fn a_pool_lets_in_as_many_as_it_has_slots_and_the_next_when_one_ends() {
    let mut house = House::new(&[lone("d", 5, json!({ "pool": "db" }))]).await;
    house.pool("db", 2).await;
    let run = house.trigger("d").await;
    assert!(house.claim().await.is_empty(), "nobody was let in yet");
    assert_eq!(states(&mut house.db, run).await[0], "t[0] scheduled");
    assert_eq!(house.admit().await, 2);
    assert_eq!(states(&mut house.db, run).await[..3], ["t[0] queued", "t[1] queued", "t[2] scheduled"]);
    let claimed = house.claim().await;
    assert_eq!(claimed.len(), 2);
    assert_eq!(house.admit().await, 0);
    let pool = get(&mut house.db, &POOL, "db").await.unwrap().unwrap();
    assert_eq!(counted(&pool), (2, 0, 3, 0));
    house.end(&claimed[0], TaskState::Success).await;
    assert_eq!(house.slots().await, 1);
    assert_eq!(house.admit().await, 1);
    let pool = get(&mut house.db, &POOL, "db").await.unwrap().unwrap();
    assert_eq!(counted(&pool), (1, 1, 2, 0));
    house.end(&claimed[1], TaskState::Failed).await;
    for _ in 0..3 {
        house.admit().await;
        for claimed in house.claim().await {
            house.end(&claimed, TaskState::Success).await;
        }
    }
    assert_eq!((house.slots().await, house.parked().await), (0, 0));
    assert_eq!(number(&mut house.db, "select count(*) from dag_run where state = 'failed'").await, 1);
}

#[tokio::test]
async fn the_more_urgent_goes_first_and_limits_do_not_block_one_another() {
    let dags = [
        lone("low", 3, json!({ "pool": "db", "priority": 1 })),
        lone("high", 1, json!({ "pool": "db", "priority": 9 })),
        lone("other", 1, json!({ "pool": "free" })),
    ];
    let mut house = House::new(&dags).await;
    house.pool("db", 1).await;
    house.pool("free", 1).await;
    house.trigger("low").await;
    house.trigger("high").await;
    house.trigger("other").await;
    assert_eq!(house.admit().await, 2);
    let claimed = house.claim().await;
    let mut versions: Vec<i32> = claimed.iter().map(|c| c.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, [house.offers[1], house.offers[2]]);
}

#[tokio::test]
async fn a_pool_that_is_not_there_lets_nobody_in_until_it_is() {
    let mut house = House::new(&[lone("d", 0, json!({ "pool": "db" }))]).await;
    house.trigger("d").await;
    assert_eq!(house.admit().await, 0);
    house.pool("db", 1).await;
    assert_eq!(house.admit().await, 1);
    assert!(delete(&mut house.db, &POOL, "db").await.unwrap() && !delete(&mut house.db, &POOL, "db").await.unwrap());
    assert_eq!(house.claim().await.len(), 1);
}

#[tokio::test]
async fn lines_beyond_those_of_one_round_have_their_turn() {
    let mut house =
        House::new(&[lone("d", 0, json!({ "pool": "db" })), lone("full", 0, json!({ "pool": "none" }))]).await;
    house.pool("db", 1).await;
    house.trigger("d").await;
    house.trigger("full").await;
    // Adds 4,000 lines of pools that do not exist, each with one waiting attempt.
    let lines = "with more as (insert into line (queue, gates)
            select queue, replace(gates, '\"none\"', '\"none-' || n || '\"') from line, generate_series(1, 4000) n
            where gates like '%none%' returning id)
        insert into ready (run, attempt, map_index, version, queue, priority, task, try_no, max_tries, lease_no, lost_no)
        select r.run, gen_random_uuid(), more.id, r.version, -more.id, r.priority, r.task, r.try_no, r.max_tries,
            r.lease_no, r.lost_no
        from more, ready r join line on line.id = -r.queue where line.gates like '%none%'";
    let added = sqlx::query(lines).execute(&mut house.db).await.unwrap();
    assert_eq!(added.rows_affected(), 4_000);
    let mut admitted = Vec::new();
    for _ in 0..3 {
        admitted.push(house.admit().await);
    }
    assert_eq!(admitted.iter().sum::<usize>(), 1, "{admitted:?}");
    assert_eq!(house.claim().await.len(), 1);
}

#[tokio::test]
async fn limits_hold_over_dags_and_keys_over_runs() {
    let crm = json!({ "limits": [{ "name": "crm", "most": 2 }] });
    let customer = json!({ "limits": [{ "name": "customer", "most": 1, "key": "customer" }] });
    let mut house = House::new(&[lone("a", 2, crm.clone()), lone("b", 2, crm), lone("c", 2, customer)]).await;
    house.trigger("a").await;
    house.trigger("b").await;
    assert_eq!(house.admit().await, 2);
    house.trigger_with("c", json!({ "customer": "acme" })).await;
    house.trigger_with("c", json!({ "customer": "acme" })).await;
    house.trigger_with("c", json!({ "customer": "initech" })).await;
    house.trigger_with("c", json!({})).await;
    assert_eq!(house.admit().await, 3, "one of each group");
    assert_eq!(house.admit().await, 0);
}

#[tokio::test]
async fn one_task_may_be_limited_over_all_runs() {
    let mut house = House::new(&[lone("d", 0, json!({ "max_active_over_runs": 2 }))]).await;
    for _ in 0..4 {
        house.trigger("d").await;
    }
    assert_eq!(house.admit().await, 2);
    let claimed = house.claim().await;
    house.end(&claimed[0], TaskState::Success).await;
    assert_eq!(house.admit().await, 1);
}

#[tokio::test]
async fn a_rate_lets_in_so_many_and_says_when_the_next_may() {
    let api = json!({ "limits": [{ "name": "api", "most": 2, "per_ms": 60_000 }] });
    let mut house = House::new(&[lone("d", 5, api)]).await;
    house.trigger("d").await;
    let admitted = admit(&mut house.db, &Locks::begin().slots(), &house.versions).await.unwrap();
    assert_eq!(admitted.many, 2);
    for claimed in house.claim().await {
        house.end(&claimed, TaskState::Success).await;
    }
    let admitted = admit(&mut house.db, &Locks::begin().slots(), &house.versions).await.unwrap();
    assert_eq!(admitted.many, 0, "that they ended changes nothing");
    let wait = admitted.again_in.expect("a time").as_secs();
    assert!((50..=60).contains(&wait), "{wait}");
    sqlx::query("update admitted set until = clock_timestamp()").execute(&mut house.db).await.unwrap();
    assert_eq!(house.admit().await, 2);
}

#[tokio::test]
async fn a_retry_gives_its_slot_to_others_and_waits_for_one_again() {
    let mut house = House::new(&[lone("d", 2, json!({ "pool": "db", "retries": 1 }))]).await;
    house.pool("db", 1).await;
    house.trigger("d").await;
    house.admit().await;
    let first = house.claim().await.remove(0);
    let (version, queue) = (house.offers[0], house.place(0).await);
    let next = NextTry { attempt: Uuid::now_v7(), wake_in_ms: 0, version, queue, priority: 1, wait: None };
    house.end_with(&first, TaskState::UpForRetry, Some(next)).await;
    assert_eq!((house.slots().await, house.parked().await), (0, 2));
    assert_eq!(house.admit().await, 1);
    assert_eq!(house.claim().await[0].lease.map_index, 1, "it waited longer");
}

#[tokio::test]
async fn a_deferred_try_keeps_its_slot_only_in_a_pool_that_counts_those() {
    for counts in [false, true] {
        let mut house = House::new(&[lone("d", 2, json!({ "pool": "db" }))]).await;
        house.set_pool("db", 1, counts).await;
        house.trigger("d").await;
        house.admit().await;
        let first = house.claim().await.remove(0);
        let (version, queue) = (house.offers[0], house.place(0).await);
        let next =
            NextTry { attempt: first.lease.attempt, wake_in_ms: 60_000, version, queue, priority: 1, wait: None };
        house.end_with(&first, TaskState::Deferred, Some(next)).await;
        let pool = get(&mut house.db, &POOL, "db").await.unwrap().unwrap();
        assert_eq!((pool.whole("deferred_slots"), pool.whole("occupied_slots")), (1, i64::from(counts)));
        assert_eq!(house.recount().await, usize::from(!counts), "the other one");
        // A worker that serves the queue polls this condition.
        let condition = "update waiting set kind = 'probe', config = '{}', wake_at = now()";
        sqlx::query(condition).execute(&mut house.db).await.unwrap();
        let queues = vec![
            orch_store::version::queue_ids(&mut house.db, ["default".to_string()].into()).await.unwrap()["default"],
        ];
        let watcher = Watcher { worker: house.hands.worker, queues, kinds: vec!["probe".into()], lease: LEASE };
        assert_eq!(take_due(&mut house.db, &watcher, 9).await.unwrap().len(), 1);
        sqlx::query("update waiting set kind = null, looked_by = null").execute(&mut house.db).await.unwrap();
        // The attempt's wait ends. If it kept its slot, it continues immediately; otherwise it must be admitted again.
        sqlx::query("update waiting set wake_at = now()").execute(&mut house.db).await.unwrap();
        orch_store::due::wake_waiting(&mut house.db, 10).await.unwrap();
        assert_eq!(house.recount().await, usize::from(counts));
        assert_eq!(house.slots().await, 1);
    }
}

#[tokio::test]
async fn what_a_lost_worker_ran_keeps_its_slot_and_goes_on_at_once() {
    let mut house = House::new(&[lone("d", 3, json!({ "pool": "db" }))]).await;
    house.pool("db", 2).await;
    house.trigger("d").await;
    house.admit().await;
    let before = house.claim().await;
    sqlx::query("update worker set expires_at = now() - interval '1 second'").execute(&mut house.db).await.unwrap();
    assert_eq!(reap(&mut house.db, &Locks::begin().runs(), &mut house.versions).await.unwrap().requeued, 2);
    assert_eq!((house.parked().await, house.slots().await), (3, 2));
    assert_eq!(house.recount().await, 2);
    assert_eq!(house.slots().await, 2, "the slots are theirs");
    house.hands = Hands::new(&house.database, &house.offers, LEASE).await;
    let after = house.claim().await;
    let attempts = |tries: &[Claimed]| tries.iter().map(|c| (c.lease.attempt, c.lease.map_index)).collect::<Vec<_>>();
    assert_eq!(attempts(&before), attempts(&after));
}

#[tokio::test]
async fn what_is_cancelled_marked_or_cleared_frees_its_slot_when_it_has_stopped() {
    let mut house = House::new(&[lone("d", 0, json!({ "pool": "db" })), lone("e", 0, json!({ "pool": "db" }))]).await;
    house.pool("db", 3).await;
    let runs = [house.trigger("d").await, house.trigger("d").await, house.trigger("d").await];
    assert_eq!(house.admit().await, 3);
    assert_eq!(house.claim().await.len(), 3);
    house.trigger("e").await;
    cancel_run(&mut house.db, &Locks::begin().runs(), &mut house.versions, runs[0]).await.unwrap();
    mark_instance(
        &mut house.db,
        &Locks::begin().runs(),
        &mut house.versions,
        (runs[1], None),
        (0, -1),
        TaskState::Success,
    )
    .await
    .unwrap();
    let selection = Selection { tasks: vec![Selected { task: 0, index: None }], ..Selection::default() };
    let wish = ClearScope { selection, ..ClearScope::default() };
    let cleared = clear_instances(
        &mut house.db,
        &Locks::begin().runs(),
        &mut Stepper::default(),
        &mut house.versions,
        runs[2],
        &wish,
    )
    .await;
    assert!(cleared.unwrap().unwrap().stopping);
    assert_eq!(house.recount().await, 0, "their bodies still run");
    assert_eq!(house.slots().await, 3);
    // A confirmed stop frees its slot without a recount. A restarting attempt keeps its slot until it restarts.
    house.obey().await;
    assert_eq!(house.slots().await, 1, "that which is restarting");
    assert_eq!(house.admit().await, 1);
}

/// Covers attempts that were admitted but not claimed, and deferred attempts that keep their slots.
#[tokio::test]
async fn what_never_begins_frees_its_slot_at_once() {
    for how in
        ["cancelled", "timed out", "marked", "deferred and marked", "deferred and cancelled", "deferred and cleared"]
    {
        let mut house = House::new(&[lone("d", 0, json!({ "pool": "db" }))]).await;
        house.set_pool("db", 1, true).await;
        let run = house.trigger("d").await;
        assert_eq!(house.admit().await, 1);
        if how.starts_with("deferred") {
            let first = house.claim().await.remove(0);
            let (version, queue, attempt) = (house.offers[0], house.place(0).await, first.lease.attempt);
            let next = NextTry { attempt, wake_in_ms: 60_000, version, queue, priority: 1, wait: None };
            house.end_with(&first, TaskState::Deferred, Some(next)).await;
        }
        assert_eq!(house.slots().await, 1, "{how}");
        let (db, versions) = (&mut house.db, &mut house.versions);
        match how.rsplit(' ').next() {
            Some("cancelled") => drop(cancel_run(db, &Locks::begin().runs(), versions, run).await.unwrap()),
            Some("out") => drop(time_out_run(db, &Locks::begin().runs(), versions, run).await.unwrap()),
            Some("cleared") => {
                let selection = Selection { tasks: vec![Selected { task: 0, index: None }], ..Selection::default() };
                let wish = ClearScope { selection, ..ClearScope::default() };
                drop(
                    clear_instances(db, &Locks::begin().runs(), &mut Stepper::default(), versions, run, &wish)
                        .await
                        .unwrap(),
                );
            }
            _ => drop(
                mark_instance(db, &Locks::begin().runs(), versions, (run, None), (0, -1), TaskState::Success)
                    .await
                    .unwrap(),
            ),
        }
        assert_eq!(house.slots().await, 0, "{how}");
    }
}

#[tokio::test]
async fn what_a_worker_was_told_to_stop_when_it_was_lost_frees_its_slot() {
    let mut house = House::new(&[lone("d", 0, json!({ "pool": "db" }))]).await;
    house.pool("db", 1).await;
    let run = house.trigger("d").await;
    house.admit().await;
    assert_eq!(house.claim().await.len(), 1);
    cancel_run(&mut house.db, &Locks::begin().runs(), &mut house.versions, run).await.unwrap();
    assert_eq!(house.slots().await, 1, "its body still runs");
    sqlx::query("update worker set expires_at = now() - interval '1 second'").execute(&mut house.db).await.unwrap();
    reap(&mut house.db, &Locks::begin().runs(), &mut house.versions).await.unwrap();
    assert_eq!(house.slots().await, 0);
}

#[tokio::test]
async fn a_slot_that_somebody_left_behind_is_found_by_counting() {
    let mut house = House::new(&[lone("d", 0, json!({ "pool": "db" }))]).await;
    house.pool("db", 1).await;
    house.trigger("d").await;
    let text = "insert into slot (attempt, limit_name, slots, run, map_index, task)
        select gen_random_uuid(), 'pool:db', 1, id, -1, 0 from dag_run";
    sqlx::query(text).execute(&mut house.db).await.unwrap();
    assert_eq!(house.admit().await, 0, "it is full");
    assert_eq!(house.recount().await, 1);
}

#[tokio::test]
async fn a_default_pool_with_a_size_counts_all_that_name_none() {
    let mut house = House::new(&[lone("d", 3, json!({}))]).await;
    house.trigger("d").await;
    assert_eq!(house.claim().await.len(), 3, "it is infinite");
    house.pool("default_pool", 1).await;
    house.versions = Versions::default();
    house.trigger("d").await;
    assert_eq!((house.parked().await, house.admit().await), (3, 1));
    let pool = get(&mut house.db, &POOL, "default_pool").await.unwrap().unwrap();
    let (running, queued, scheduled, _) = counted(&pool);
    assert_eq!((running, queued, scheduled), (3, 1, 2));
}

#[tokio::test]
async fn a_run_waits_for_the_same_task_of_the_run_before() {
    let spec = json!({ "dag_id": "d", "max_active_runs": 9, "tasks": [
        { "task_id": "a", "kind": "rust", "depends_on_past": true },
        { "task_id": "b", "kind": "rust", "after": ["a"] },
    ] });
    let mut house = House::new(&[dag(spec)]).await;
    let first = house.trigger("d").await;
    let second = house.trigger("d").await;
    assert_eq!(house.admit().await, 1);
    let claimed = house.claim().await;
    assert_eq!(claimed[0].lease.run, first);
    house.end(&claimed[0], TaskState::Failed).await;
    assert_eq!(house.admit().await, 0);
    assert_eq!(states(&mut house.db, second).await[0], "a scheduled");
    mark_instance(
        &mut house.db,
        &Locks::begin().runs(),
        &mut house.versions,
        (first, None),
        (0, -1),
        TaskState::Success,
    )
    .await
    .unwrap();
    assert_eq!(house.admit().await, 1);
    assert_eq!(house.claim().await.iter().filter(|c| c.lease.run == second).count(), 1);
}

#[tokio::test]
async fn of_a_thousand_that_wait_side_by_side_no_two_hold_one_slot() {
    let mut house = House::new(&[lone("d", 1_000, json!({ "pool": "db" }))]).await;
    house.pool("db", 7).await;
    house.trigger("d").await;
    let mut others = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut db = one(&house.database).await;
        others.spawn(async move {
            admit(&mut db, &Locks::begin().slots(), &Versions::default()).await.expect("an admission").many
        });
    }
    let mut all = 0;
    while let Some(many) = others.join_next().await {
        all += many.unwrap();
    }
    assert_eq!((all, house.slots().await), (7, 7));
}
