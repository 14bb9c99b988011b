//! Tests of one and of several concurrent schedulers against a real Postgres.

use chrono::{DateTime, TimeDelta, Utc};
use orch_scheduler::{Scheduler, SchedulerConfig, SchedulerError};
use orch_spec::DagSpec;
use orch_spec::state::{TaskState, TriggeredBy};
use orch_store::hint::{Hint, Hints};
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::{CreateRun, NewRun, create_run};
use orch_store::step::{Claim, Claimed, EndedTry, Mode, NextTry, Stepper, WorkerStep};
use orch_store::version::Versions;
use orch_store::worker::{NewWorker, reap, register_worker};
use orch_store::{MIGRATOR, connect};
use orch_test_support::TestDb;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Timeout of test waits. Longer than any step of these tests takes.
const PATIENCE: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_millis(300);

/// A test database with one or more schedulers.
struct House {
    database: TestDb,
    db: PgConnection,
    hints: Hints,
    stop: CancellationToken,
    stale_after: Duration,
    look_every: Duration,
    fold_after: Duration,
    schedulers: JoinSet<Result<(), SchedulerError>>,
}

impl House {
    async fn new() -> House {
        let database = TestDb::new(&MIGRATOR).await;
        let db = connect::one(&database.url(), "test").await.expect("the server is there");
        let (hints, stop) = (Hints::new(), CancellationToken::new());
        let (look_every, fold_after) = (Duration::from_millis(200), Duration::from_millis(50));
        House { database, db, hints, stop, stale_after: PATIENCE, look_every, fold_after, schedulers: JoinSet::new() }
    }

    fn start(&mut self, schedulers: usize) {
        let config = SchedulerConfig {
            look_every: self.look_every,
            fold_after: self.fold_after,
            stale_after: self.stale_after,
            upkeep_every: Duration::from_millis(100),
            ..SchedulerConfig::new(self.database.url())
        };
        for _ in 0..schedulers {
            let cold = connect::cold(&self.database.url(), "orch scheduler", 4).expect("the URL is right");
            self.schedulers.spawn(Scheduler::run_loops(config.clone(), cold, self.hints.clone(), self.stop.clone()));
        }
    }

    /// Stops all schedulers and asserts that they end without an error.
    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.schedulers.join_next().await {
            ended.expect("no panic").expect("no error");
        }
        assert_eq!(self.number("select count(*) from process").await, 0, "they said good-bye");
    }

    async fn register(&mut self, spec: Value) -> i32 {
        let spec: DagSpec = serde_json::from_value(spec).expect("a spec");
        let bundle = NewBundle { name: "test".into(), dags: vec![Arc::new(spec)] };
        register_bundle(&mut self.db, &bundle, false).await.expect("it registers")[0].version_id
    }

    async fn trigger(&mut self) -> Uuid {
        let new = NewRun::manual("d", TriggeredBy::Test);
        match create_run(&mut self.db, Locks::begin(), &mut Versions::default(), &new).await.expect("it is created") {
            CreateRun::Created(run) => run.id,
            other => panic!("{other:?}"),
        }
    }

    async fn number(&mut self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.db).await.expect("a number")
    }

    /// Waits until a query returns `expected`.
    async fn until(&mut self, sql: &'static str, expected: i64) {
        let began = Instant::now();
        loop {
            let found = self.number(sql).await;
            if found == expected {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "`{sql}` gives {found}, not {expected}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn worker(&mut self, version: i32, lease: Duration) -> Hands {
        let queues = vec![1];
        let new = NewWorker {
            name: "hands".into(),
            hostname: "here".into(),
            pid: 1,
            bundle: "test".into(),
            binary_version: "0".into(),
            queues: queues.clone(),
            versions: vec![version],
            slots: 16,
            lease,
        };
        let mut db = connect::hot(&self.database.url(), "test").await.expect("the server is there");
        let id = register_worker(&mut db, &new).await.expect("it registers");
        Hands { db, id, stepper: Stepper::default(), version }
    }
}

struct Hands {
    db: PgConnection,
    id: i32,
    stepper: Stepper,
    version: i32,
}

impl Hands {
    async fn claim(&mut self) -> Vec<Claimed> {
        let claim = Claim { most: 100, queues: Arc::new([1]), versions: Arc::new([self.version]) };
        let step = WorkerStep { claim: Some(claim), ..WorkerStep::default() };
        self.stepper.send(&mut self.db, &step, self.id).await.expect("a claim").claimed
    }

    /// Records an outcome without folding it (applying it to the run), like a worker that dies after the commit.
    async fn record(&mut self, claimed: &Claimed, state: TaskState, next: Option<NextTry>) {
        let ended = EndedTry { next, ..EndedTry::new(claimed.lease, state) };
        let step = WorkerStep { ended: vec![ended], mode: Mode::Record, ..WorkerStep::default() };
        let reply = self.stepper.send(&mut self.db, &step, self.id).await.expect("a record");
        assert_eq!(reply.accepted.len(), 1);
    }
}

fn task(id: &str, after: &[&str]) -> Value {
    json!({ "task_id": id, "kind": "rust", "after": after })
}

async fn dates(pool: &PgPool) -> Vec<DateTime<Utc>> {
    sqlx::query_scalar("select logical_date from dag_run where dag_id = 'd' order by logical_date")
        .fetch_all(pool)
        .await
        .expect("dates")
}

#[tokio::test]
async fn schedulers_side_by_side_create_each_tick_once() {
    let mut house = House::new().await;
    let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&mut house.db).await.unwrap();
    let start = (now - TimeDelta::hours(100)).to_rfc3339();
    let cron = json!({ "cron": { "expression": "0 * * * *", "timezone": "UTC" } });
    house
        .register(json!({ "dag_id": "d", "schedule": cron, "start": start, "catchup": true, "max_active_runs": 1000,
            "tasks": [task("a", &[])] }))
        .await;
    house.start(3);
    house.until("select count(*) from dag where next_run_after > now()", 1).await;
    let dates = dates(&house.database.pool()).await;
    assert!((99..=101).contains(&dates.len()), "{} runs", dates.len());
    assert!(dates.windows(2).all(|pair| pair[1] - pair[0] == TimeDelta::hours(1)), "{dates:?}");
    let next: DateTime<Utc> =
        sqlx::query_scalar("select next_logical_date from dag").fetch_one(&mut house.db).await.unwrap();
    assert_eq!(next - *dates.last().unwrap(), TimeDelta::hours(1));
    assert_eq!(house.number("select count(*) from dag_run where state = 'running'").await, dates.len() as i64);
    house.end().await;
}

#[tokio::test]
async fn a_backlog_is_created_as_fast_as_runs_end() {
    let mut house = House::new().await;
    let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&mut house.db).await.unwrap();
    let start = (now - TimeDelta::hours(5)).to_rfc3339();
    let cron = json!({ "cron": { "expression": "0 * * * *", "timezone": "UTC" } });
    let version = house
        .register(json!({ "dag_id": "d", "schedule": cron, "start": start, "catchup": true, "max_active_runs": 2,
            "tasks": [task("a", &[])] }))
        .await;
    house.start(2);
    house.until("select count(*) from dag_run", 2).await;
    let mut hands = house.worker(version, PATIENCE).await;
    let began = Instant::now();
    while house.number("select count(*) from dag where next_run_after > now()").await == 0 {
        for claimed in hands.claim().await {
            hands.record(&claimed, TaskState::Success, None).await;
        }
        assert!(house.number("select count(*) from dag_run where state in ('queued', 'running')").await <= 2);
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((5..=6).contains(&dates(&house.database.pool()).await.len()));
    house.end().await;
}

#[tokio::test]
async fn a_continuous_dag_has_one_run_after_the_other() {
    let mut house = House::new().await;
    let version = house
        .register(json!({ "dag_id": "d", "schedule": "continuous", "start": "2025-01-01T00:00:00Z", "tasks": [task("a", &[])] }))
        .await;
    house.start(2);
    let mut hands = house.worker(version, PATIENCE).await;
    let began = Instant::now();
    while house.number("select count(*) from dag_run where state = 'success'").await < 5 {
        for claimed in hands.claim().await {
            hands.record(&claimed, TaskState::Success, None).await;
        }
        assert!(house.number("select count(*) from dag_run where state in ('queued', 'running')").await <= 1);
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.end().await;
}

#[tokio::test]
async fn what_waits_is_claimable_at_its_time() {
    let mut house = House::new().await;
    let version = house.register(json!({ "dag_id": "d", "tasks": [task("a", &[])] })).await;
    house.trigger().await;
    let mut hands = house.worker(version, PATIENCE).await;
    let first = hands.claim().await[0];
    let next = NextTry { attempt: Uuid::now_v7(), wake_in_ms: 150, version, queue: 1, priority: 1, wait: None };
    house.start(1);
    hands.record(&first, TaskState::UpForRetry, Some(next.clone())).await;
    house.hints.give(Hint::Due);
    let began = Instant::now();
    house.until("select count(*) from ready", 1).await;
    let late: f64 = sqlx::query_scalar(
        "select extract(epoch from r.queued_at - t.ended_at)::float8 from ready r join task_instance t on t.run = r.run",
    )
    .fetch_one(&mut house.db)
    .await
    .unwrap();
    assert!(late >= 0.15 && began.elapsed() < PATIENCE, "{late}");
    let again = hands.claim().await[0];
    assert_eq!((again.lease.attempt, again.try_no), (next.attempt, 2));
    house.end().await;
}

#[tokio::test]
async fn outcomes_that_a_dead_worker_left_are_folded() {
    let mut house = House::new().await;
    let version = house.register(json!({ "dag_id": "d", "tasks": [task("a", &[]), task("b", &["a"])] })).await;
    house.trigger().await;
    house.start(2);
    for _ in 0..2 {
        house.until("select count(*) from ready", 1).await;
        let mut hands = house.worker(version, PATIENCE).await;
        let claimed = hands.claim().await[0];
        hands.record(&claimed, TaskState::Success, None).await;
    }
    house.until("select count(*) from dag_run where state = 'success'", 1).await;
    house.end().await;
}

#[tokio::test]
async fn an_outcome_whose_worker_died_right_after_its_commit_is_folded_within_a_second() {
    let mut house = House::new().await;
    let config = SchedulerConfig::new("");
    (house.look_every, house.fold_after) = (config.look_every, config.fold_after);
    let version =
        house.register(json!({ "dag_id": "d", "tasks": [task("a", &[]), task("b", &["a"]), task("c", &["b"])] })).await;
    let (url, hints, stop) = (house.database.url(), house.hints.clone(), house.stop.clone());
    let cold = connect::cold(&url, "orch scheduler", 1).expect("the URL is right");
    let mut hearing = JoinSet::new();
    hearing.spawn(async move { hints.carry(&url, &cold, stop).await });
    house.start(1);
    house.trigger().await;
    house.hints.give(Hint::Due);
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        house.until("select count(*) from ready", 1).await;
        let mut hands = house.worker(version, PATIENCE).await;
        let claimed = hands.claim().await[0];
        // Polls that other hints have caused are finished after this second. Only the statement's own hint causes a
        // poll then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        hands.record(&claimed, TaskState::Success, None).await;
        drop(hands);
        let recorded = Instant::now();
        house.until("select count(*) from unfolded", 0).await;
        quickest = quickest.min(recorded.elapsed());
        assert!(recorded.elapsed() < config.look_every / 2, "no hint came: {:?}", recorded.elapsed());
    }
    // A busy machine may delay some outcomes, so check only the fastest one.
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    house.until("select count(*) from dag_run where state = 'success'", 1).await;
    house.end().await;
    hearing.join_next().await.expect("it runs").expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_silent_worker_is_lost_and_its_work_goes_on() {
    let mut house = House::new().await;
    let version = house.register(json!({ "dag_id": "d", "tasks": [task("a", &[])] })).await;
    house.trigger().await;
    let first = house.worker(version, LEASE).await.claim().await[0];
    house.start(2);
    house.until("select count(*) from worker where state = 'lost'", 1).await;
    house.until("select count(*) from ready", 1).await;
    let mut frozen = house.worker(version, Duration::ZERO).await;
    let mut hands = house.worker(version, PATIENCE).await;
    let again = hands.claim().await[0];
    assert_eq!((again.lease.attempt, again.lost_no), (first.lease.attempt, 1));
    // The worker `frozen` is declared lost, resumes, and then claims a task.
    house.until("select count(*) from worker where state = 'lost'", 2).await;
    house.trigger().await;
    frozen.claim().await;
    house.until("select count(*) from ready", 1).await;
    assert!(reap(&mut house.db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap().workers.is_empty());
    house.end().await;
}

#[tokio::test]
async fn a_run_out_of_time_ends_and_the_next_begins() {
    let mut house = House::new().await;
    let version = house
        .register(json!({ "dag_id": "d", "run_timeout_ms": 300, "max_active_runs": 1, "tasks": [task("a", &[])] }))
        .await;
    house.trigger().await;
    house.trigger().await;
    let mut hands = house.worker(version, PATIENCE).await;
    assert_eq!(hands.claim().await.len(), 1);
    house.start(1);
    house.until("select count(*) from dag_run where state = 'failed'", 2).await;
    assert_eq!(house.number("select count(*) from task_instance where state = 'skipped'").await, 2);
    assert_eq!(house.number("select count(*) from stop_order where why = 'timed_out'").await, 1);
    house.end().await;
}

#[tokio::test]
async fn a_run_whose_version_nobody_offers_goes_on_in_the_newest() {
    let mut house = House::new().await;
    house.stale_after = Duration::from_millis(500);
    let old = house.register(json!({ "dag_id": "d", "tasks": [task("a", &[]), task("b", &["a"])] })).await;
    house.trigger().await;
    let mut hands = house.worker(old, Duration::ZERO).await;
    let first = hands.claim().await[0];
    hands.record(&first, TaskState::Success, None).await;
    let new =
        house.register(json!({ "dag_id": "d", "tasks": [task("z", &[]), task("a", &[]), task("b", &["a"])] })).await;
    let mut hands = house.worker(new, PATIENCE).await;
    house.start(2);
    house.until("select count(*) from dag_run r join dag d on d.version = r.version", 1).await;
    let claimed = hands.claim().await;
    assert_eq!(claimed.iter().map(|c| c.lease.task).collect::<Vec<_>>(), [2, 0]);
    // No user requested the move of the run to another version, so the audit log must contain it.
    house.until("select count(*) from audit where event = 'move_dag_run' and actor = 'scheduler'", 1).await;
    house.end().await;
}

#[tokio::test]
async fn a_dag_that_nobody_offers_rests() {
    let mut house = House::new().await;
    house.stale_after = Duration::from_millis(500);
    let cron = json!({ "cron": { "expression": "* * * * *", "timezone": "UTC" } });
    let spec = json!({ "dag_id": "d", "schedule": cron, "tasks": [task("a", &[])] });
    house.register(spec.clone()).await;
    house.start(1);
    house.until("select count(*) from dag where is_stale", 1).await;
    house.register(spec).await;
    assert_eq!(house.number("select count(*) from dag where is_stale").await, 0);
    house.end().await;
}

#[tokio::test]
async fn a_scheduler_survives_the_loss_of_its_connections() {
    let mut house = House::new().await;
    let version = house.register(json!({ "dag_id": "d", "max_active_runs": 100, "tasks": [task("a", &[])] })).await;
    house.start(2);
    for round in 1..=5 {
        house.trigger().await;
        let mut hands = house.worker(version, PATIENCE).await;
        let claimed = hands.claim().await[0];
        hands.record(&claimed, TaskState::Success, None).await;
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'orch scheduler%'
            and datname = current_database()",
        )
        .execute(&mut house.db)
        .await
        .unwrap();
        let done = match round {
            1 => "select case when count(*) = 1 then 1 else 0 end::bigint from dag_run where state = 'success'",
            _ => "select case when count(*) > 1 then 1 else 0 end::bigint from dag_run where state = 'success'",
        };
        house.until(done, 1).await;
        house.until("select count(*) from unfolded", 0).await;
    }
    assert_eq!(house.number("select count(*) from dag_run where state = 'success'").await, 5);
    house.end().await;
}

#[tokio::test]
async fn an_update_of_an_asset_begins_a_run_at_once() {
    let mut house = House::new().await;
    let assets = json!({ "assets": [{ "uri": "a", "fresh_within_ms": 200 }] });
    house.register(json!({ "dag_id": "d", "schedule": assets, "tasks": [task("a", &[])] })).await;
    house.start(2);
    house.until("select count(*) from process", 2).await;
    let mut fastest = Duration::MAX;
    for said in 1..=10_i64 {
        let began = Instant::now();
        let new = orch_store::asset::NewEvent { asset: 1, partition_key: None, extra: json!({}) };
        orch_store::asset::add_event(&mut house.db, &new).await.expect("it is said").expect("it is known");
        house.hints.give(Hint::Asset);
        while house.number("select count(*) from ready").await < said {
            assert!(began.elapsed() < PATIENCE);
        }
        fastest = fastest.min(began.elapsed());
    }
    // Without the hint, each run would wait for the next poll. Checking the fastest of ten tolerates a busy machine.
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    house.until("select count(*) from dag_run where run_type = 'asset_triggered'", 10).await;
    // The asset receives no further event and becomes stale.
    house.until("select count(*) from asset where stale_since is not null", 1).await;
    // On a busy machine, the asset may also have been stale between two updates. Each stale period is recorded once.
    let told_of_the_last = "select count(*) from audit where event = 'asset_stale'
        and extra->>'since' = (select max(extra->>'since') from audit where event = 'asset_stale')";
    house.until(told_of_the_last, 1).await;
    house.end().await;
}

#[tokio::test]
async fn each_duty_of_the_retention_fails_alone() {
    let mut house = House::new().await;
    let old = "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$;
        create trigger refuse before delete on alert for each statement execute function refuse();
        insert into alert (key, kind, notifier, facts, state, at, ended_at)
            values ('a', 'test', '{}', '{}', 'sent', now() - interval '1000 days', now() - interval '1000 days');
        insert into audit (at, actor, event) values (now() - interval '1000 days', 'ada', 'old');
        insert into topic (name) values ('events');
        insert into topic_partition (topic_no, partition, next_offset, last_at)
            select topic_no, 0, 1, now() - interval '1000 days' from topic;
        insert into topic_record (topic_no, partition, record_offset, at, value)
            select topic_no, 0, 0, now() - interval '1000 days', 'old' from topic";
    sqlx::raw_sql(old).execute(&mut house.db).await.expect("old rows");
    house.start(1);
    house.until("select count(*) from retirement where error like 'alert: %broken%' and failures = 1", 1).await;
    assert_eq!(house.number("select count(*) from alert").await, 1);
    assert_eq!(house.number("select count(*) from audit where event = 'old'").await, 0);
    assert_eq!(house.number("select count(*) from topic_record").await, 0);
    sqlx::raw_sql("drop trigger refuse on alert; update retirement set retry_at = now()")
        .execute(&mut house.db)
        .await
        .expect("it is repaired");
    house.until("select count(*) from alert", 0).await;
    house.until("select count(*) from retirement where error is null and failures = 0", 1).await;
    house.end().await;
}

#[tokio::test]
async fn runs_that_cannot_be_created_do_not_keep_others_from_being_started_or_ended() {
    let mut house = House::new().await;
    let backlog = json!({ "dag_id": "backlog", "schedule": { "cron": { "expression": "* * * * *", "timezone": "UTC" } }, "catchup": true,
        "start": "2026-01-01T00:00:00Z", "tasks": [task("a", &[])] });
    house.register(backlog).await;
    let version = house
        .register(json!({ "dag_id": "d", "run_timeout_ms": 300, "max_active_runs": 1, "tasks": [task("a", &[])] }))
        .await;
    house.trigger().await;
    house.trigger().await;
    // The trigger has the same effect as a backlog that exceeds the time limit of a round.
    let refuse = "create function refuse() returns trigger language plpgsql as $$ begin
            raise exception 'too slow' using errcode = 'query_canceled';
        end $$;
        create trigger refuse before insert on dag_run for each statement execute function refuse()";
    sqlx::raw_sql(refuse).execute(&mut house.db).await.expect("a trigger");
    let mut hands = house.worker(version, PATIENCE).await;
    assert_eq!(hands.claim().await.len(), 1);
    house.start(1);
    house.until("select count(*) from dag_run where state = 'failed'", 2).await;
    house.end().await;
}
