//! What bodies say may be anything. A value that the database does not take is one failed try; the worker, and what runs beside
//! it, do not notice.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use orch_core::spec::DagSpec;
use orch_core::state::TriggeredBy;
use orch_core::task::{Ctx, TaskError, TaskFn};
use orch_store::hint::{Hint, Hints};
use orch_store::registry::{NewBundle, prepare, register_bundle};
use orch_store::run::{CreateRun, NewRun, RunRow, cancel_run, create_run, get_run};
use orch_store::version::Versions;
use orch_test_support::TestDb;
use orch_workers::{Offers, WorkerConfig};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Given = Result<Option<Value>, TaskError>;

/// A body that asks nothing but which element it is.
fn body<F, R>(run: F) -> TaskFn
where
    F: Fn(Ctx) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Given> + Send + 'static,
{
    TaskFn::untyped(move |ctx, _| Box::pin(run(ctx)))
}

fn element(ctx: &Ctx) -> u64 {
    ctx.map_index().map_or(0, u64::from)
}

/// A DAG `dag_id` whose one task is run for each of so many elements.
fn wide(dag_id: &str, many: u32, each: TaskFn) -> (Value, HashMap<String, TaskFn>) {
    let list = body(move |_| async move { Ok(Some((0..many).collect())) });
    let tasks = json!([
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
    ]);
    (json!({ "dag_id": dag_id, "tasks": tasks }), HashMap::from([("list".into(), list), ("each".into(), each)]))
}

/// Elements that take a while and give their number.
fn innocent(many: u32) -> (Value, HashMap<String, TaskFn>) {
    let each = body(|ctx| async move {
        tokio::time::sleep(Duration::from_millis(element(&ctx) % 20)).await;
        Ok(Some(json!(element(&ctx))))
    });
    wide("good", many, each)
}

/// A database and one worker, which must live through it all.
struct World {
    db: PgConnection,
    _database: TestDb,
    hints: Hints,
    stop: CancellationToken,
    worker: JoinSet<orch_store::StoreResult<()>>,
}

impl World {
    async fn new(dags: Vec<(Value, HashMap<String, TaskFn>)>) -> World {
        let database = TestDb::new(&orch_store::MIGRATOR).await;
        let mut db = database.connect().await;
        let spec = |dag: &Value| Arc::new(serde_json::from_value::<DagSpec>(dag.clone()).unwrap());
        let bundle = NewBundle { name: "test".into(), dags: dags.iter().map(|dag| spec(&dag.0)).collect() };
        let registered = register_bundle(&mut db, &bundle, false).await.unwrap();
        let mut offers = Offers::new("test");
        for (version, (_, bodies)) in prepare(&mut db, &bundle, &registered).await.unwrap().into_iter().zip(&dags) {
            offers.add(Arc::new(version), bodies);
        }
        let (hints, stop) = (Hints::new(), CancellationToken::new());
        let config = WorkerConfig { slots: 64, lease: Duration::from_secs(10), ..WorkerConfig::new(database.url()) };
        let mut worker = JoinSet::new();
        worker.spawn(orch_workers::run(config, Arc::new(offers), hints.clone(), stop.clone()));
        World { db, _database: database, hints, stop, worker }
    }

    async fn say(&mut self, text: &str) {
        sqlx::query(AssertSqlSafe(text.to_string())).execute(&mut self.db).await.unwrap();
    }

    async fn number(&mut self, text: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(text.to_string())).fetch_one(&mut self.db).await.unwrap()
    }

    /// Until the number is not zero.
    async fn some(&mut self, text: &str) {
        while self.number(text).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn trigger(&mut self, dag_id: &str) -> RunRow {
        let new = NewRun::manual(dag_id, TriggeredBy::Test);
        let CreateRun::Created(run) = create_run(&mut self.db, &mut Versions::default(), &new).await.unwrap() else {
            panic!("the run was not created")
        };
        self.hints.give(Hint::Ready);
        run
    }

    async fn end_of(&mut self, run: &RunRow) -> String {
        loop {
            let changed = self.hints.on(Hint::Run).notified();
            let now = get_run(&mut self.db, &run.dag_id, &run.run_id).await.unwrap().unwrap();
            if now.state.is_finished() {
                return now.state.to_string();
            }
            drop(tokio::time::timeout(Duration::from_millis(20), changed).await);
        }
    }

    /// The worker is the one that began, and ends well.
    async fn end(mut self) {
        assert_eq!(self.number("select count(*) from worker").await, 1, "the worker began again");
        self.stop.cancel();
        while let Some(ended) = self.worker.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nul_in_a_failure_is_one_failed_try() {
    let bad = body(|_| async { Err(TaskError::fatal("the server answered 400: a\0b")) });
    let mut world = World::new(vec![wide("bad", 1, bad), innocent(20)]).await;
    let (bad, good) = (world.trigger("bad").await, world.trigger("good").await);
    assert_eq!(world.end_of(&bad).await, "failed");
    assert_eq!(world.end_of(&good).await, "success");
    let causes: Vec<String> = sqlx::query_scalar("select causes from failure").fetch_one(&mut world.db).await.unwrap();
    assert_eq!(causes, ["the server answered 400: a\u{FFFD}b"]);
    world.end().await;
}

/// The database refuses some outputs, as it may refuse what nobody foresaw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_the_database_refuses_is_failed_and_those_beside_it_are_as_they_ended() {
    let gives = body(|ctx| async move {
        let n = element(&ctx);
        Ok(Some(if n % 37 == 5 { json!("poison") } else { json!(n) }))
    });
    let mut world = World::new(vec![wide("mixed", 200, gives)]).await;
    world.say("alter table output add constraint refused check (value::text not like '%poison%')").await;
    let run = world.trigger("mixed").await;
    assert_eq!(world.end_of(&run).await, "failed");
    let bad: Vec<i32> = sqlx::query_scalar(
        "select t.map_index from task_instance t join failure f on f.attempt = t.attempt
        where f.kind = 'unrecordable' and t.state = 'failed' order by 1",
    )
    .fetch_all(&mut world.db)
    .await
    .unwrap();
    assert_eq!(bad, [5, 42, 79, 116, 153, 190]);
    assert_eq!(world.number("select count(*) from task_instance where state = 'success' and try_no = 1").await, 195);
    let words = "select count(*) from failure where causes[1] like '%does not fit the database'";
    assert_eq!(world.number(words).await, 6);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_cannot_be_read_is_parked_and_its_worker_goes_on_with_others() {
    let go = Arc::new(Notify::new());
    let told = go.clone();
    let waits = body(move |_| {
        let told = told.clone();
        async move {
            told.notified().await;
            Ok(Some(json!(1)))
        }
    });
    let mut world = World::new(vec![wide("harmed", 1, waits), innocent(20)]).await;
    let harmed = world.trigger("harmed").await;
    world.some("select count(*) from task_instance where state = 'running' and map_index = 0").await;
    world.say("update dag_run set ledger = '{5}', rev = rev + 1 where dag_id = 'harmed'").await;
    go.notify_one();
    world.some("select count(*) from parked_run").await;
    let good = world.trigger("good").await;
    assert_eq!(world.end_of(&good).await, "success");
    // People can still end it.
    cancel_run(&mut world.db, &mut Versions::default(), harmed.id).await.unwrap();
    assert_eq!(world.end_of(&harmed).await, "failed");
    world.end().await;
}

const HOSTILE: u32 = 10_000;
/// Fixed: the gate asks the same each time.
const SEED: u64 = 0x5eed_2026;

/// Texts that somebody outside may send, by a number.
fn text(n: u64) -> String {
    match n % 12 {
        0 => "\0".into(),
        1 => "a\0b\0".into(),
        2 => "\u{FFFF}\u{202E}\u{0}\u{1}".into(),
        3 => r"\u0000\ud800".into(),
        4 => "'; drop table dag_run; --".into(),
        5 => "{{ conf }} ${x} %s \\".into(),
        6 => "x".repeat(20_000),
        7 => String::new(),
        8 => "\r\n\t\u{7f}\u{85}".into(),
        9 => "😀".repeat(100),
        10 => "9".repeat(400),
        _ => format!("{}\0", "é".repeat(1_000)),
    }
}

/// Values: bounds of integers, floats that JSON has no word for, what is deep, what has odd keys.
fn value(n: u64) -> Value {
    match n % 14 {
        0 => json!(i16::MIN),
        1 => json!(i32::MAX),
        2 => json!(i64::MIN),
        3 => json!(u64::MAX),
        4 => json!(f64::MAX),
        5 => json!(f64::MIN_POSITIVE),
        6 => json!(f64::NAN),
        7 => json!({ "\0": "\0", "": [[[]]] }),
        8 => json!("\u{1F600}\0"),
        9 => (0..100).fold(json!(1), |inner, _| json!([inner])),
        10 => (0..100).fold(json!(1), |inner, _| json!({ "\0": inner })),
        11 => json!(vec![0; 1_000]),
        12 => json!(text(n / 14)),
        _ => json!({ text(n / 14): text(n / 14 + 1) }),
    }
}

/// Each element ends in another way, and says something hostile in each place where a body can.
fn hostile(ctx: &Ctx) -> (String, Given) {
    let n = (element(ctx) ^ SEED).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let of = (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 17;
    // One of ten megabytes.
    let causes = vec![if element(ctx) == 7 { "\0x".repeat(5_000_000) } else { text(of / 11) }, text(of / 13)];
    let given = match (of / 7) % 6 {
        _ if element(ctx) == 7 => Err(TaskError::Fatal { causes }),
        0 => Err(TaskError::Fatal { causes }),
        1 => Err(TaskError::Retryable { causes }),
        2 => Err(TaskError::skipped(text(of / 11))),
        3 if of.is_multiple_of(40) => panic!("{}", text(of / 11)),
        _ => Ok(Some(value(of / 11))),
    };
    (text(of), given)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_outcomes_end_no_worker_and_disturb_no_try_beside_them() {
    let each = body(|ctx| async move {
        let (line, given) = hostile(&ctx);
        ctx.info(line);
        if element(&ctx).is_multiple_of(50) {
            ctx.push("said", value(element(&ctx))).await.map_err(TaskError::from)?;
        }
        given
    });
    let mut world = World::new(vec![wide("hostile", HOSTILE, each), innocent(500)]).await;
    let (bad, good) = (world.trigger("hostile").await, world.trigger("good").await);
    assert_eq!(world.end_of(&good).await, "success");
    assert_eq!(world.end_of(&bad).await, "failed");
    let tries = "select count(*) from task_instance t join dag_run r on r.id = t.run where t.map_index >= 0 and";
    let good = format!("{tries} r.dag_id = 'good' and t.state = 'success' and try_no = 1 and lease_no = 1");
    assert_eq!(world.number(&good).await, 500);
    let over = format!("{tries} r.dag_id = 'hostile' and t.state in ('success', 'failed', 'skipped')");
    assert_eq!(world.number(&over).await, i64::from(HOSTILE));
    // All of it passed the border: nothing had to be left out, and Postgres reads each value.
    assert_eq!(world.number("select count(*) from failure where kind = 'unrecordable'").await, 0);
    let read = "select count(*) from output where parts > 0 or value #>> '{}' is not null";
    assert!(world.number(read).await > i64::from(HOSTILE) / 4);
    world.end().await;
}
