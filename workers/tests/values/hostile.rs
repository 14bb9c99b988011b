//! Asserts that ten thousand attempts can return or report hostile data at every point of the interface.

use crate::world::{BodyResult, Dag, World, body, element, innocent, wide};
use chrono::{DateTime, Utc};
use orch_sdk::task::{
    Awaited, BoxFuture, Condition, ConditionResult, Conditions, Ctx, Deferral, Eyes, LogLevel, OnTimeout, TaskError,
    TaskResult, TriggerRequest, fatal, skip,
};
use orch_sdk::wait::{self, TimeWait, Wait as _};
use orch_spec::approval::{ANSWER, Question};
use orch_spec::asset::{AssetEvent, LineageEdge};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const HOSTILE: u32 = 10_000;
/// Fixed seed, so that each run of this test uses the same data.
const SEED: u64 = 0x5eed_2026;
/// Name of a condition type whose pokes return arbitrary results.
const ODD: &str = "odd";

fn mixed(n: u64) -> u64 {
    let n = (n ^ SEED).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 17
}

/// Returns letters that cannot be compressed, to exceed the maximum size of index entries.
fn noise(n: u64, bytes: usize) -> String {
    (0..)
        .flat_map(|at| format!("{:x}", mixed(n.wrapping_mul(31).wrapping_add(at))).into_bytes())
        .take(bytes)
        .map(char::from)
        .collect()
}

/// Returns one of many hostile texts, selected by `n`.
pub(crate) fn text(n: u64) -> String {
    match n % 14 {
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
        11 => noise(n, 1_500),
        12 => noise(n, 4_000),
        _ => format!("{}\0", "é".repeat(1_000)),
    }
}

/// Returns a hostile value: integer bounds, floats that JSON cannot represent, deep nesting or unusual keys.
fn value(n: u64) -> Value {
    match n % 16 {
        0 => json!(i16::MIN),
        1 => json!(i32::MAX),
        2 => json!(i64::MIN),
        3 => json!(u64::MAX),
        4 => json!(f64::MAX),
        5 => json!(f64::MIN_POSITIVE),
        6 => json!(f64::NAN),
        7 => json!({ "\0": "\0", "": [[[]]] }),
        8 => json!("\u{1F600}\0"),
        9 => deep(100),
        10 => (0..100).fold(json!(1), |inner, _| json!({ "\0": inner })),
        11 => json!(vec![0; 1_000]),
        12 => json!(text(n / 16)),
        // Nested too deeply for JSON parsers.
        13 => deep(126),
        14 => deep(1_000),
        _ => json!({ text(n / 16): text(n / 16 + 1) }),
    }
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| Value::Array(vec![inner]))
}

fn object(n: u64) -> Value {
    json!({ text(n): value(n / 7), "n": n })
}

fn amount(n: u64) -> u64 {
    [0, 1, u64::from(u16::MAX), 1 << 31, i64::MAX.unsigned_abs(), u64::MAX][n as usize % 6]
}

fn moment(n: u64) -> DateTime<Utc> {
    [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, DateTime::UNIX_EPOCH][n as usize % 3]
}

/// Makes one of many hostile reports in addition to the task's result. Some reports are rejected with an error.
async fn says(ctx: &Ctx, of: u64) -> TaskResult<()> {
    let (a, b) = (mixed(of), mixed(of + 1));
    let event = || AssetEvent {
        uri: text(a),
        extra: object(b),
        alias: b.is_multiple_of(2).then(|| text(b / 2)),
        partition_key: b.is_multiple_of(3).then(|| text(b / 3)),
        rows: Some(amount(b)),
    };
    match of % 16 {
        0 | 1 => ctx.emit(event()),
        // Bypasses the checks of the context, as a child process does.
        2 => ctx.host().asset_event(event()),
        3 => ctx.emit(
            AssetEvent::of(noise(a, 1_500)).through(&noise(b, 1_500)).partition(noise(a + b, 1_500)).extra(object(a)),
        ),
        4 => ctx.lineage(&text(a), &text(b), amount(a)),
        5 => ctx.host().lineage(LineageEdge { from: text(a), to: text(b), rows: Some(amount(b)) }),
        6 => ctx.lineage(&noise(a, 1_500), &noise(b, 1_500), amount(b)),
        7 => {
            ctx.progress(amount(a), amount(b));
            Ok(())
        }
        8 => {
            ctx.log(LogLevel::Warning, &text(a), object(b));
            Ok(())
        }
        9 | 10 => ctx.push(&text(a), value(b)).await,
        11 => match of % 3 {
            0 => ctx.pull::<Value>("list", &text(a)).await.map(drop),
            1 => ctx.variable(&text(a)).await.map(drop),
            _ => ctx.connection(&text(a)).await.map(drop),
        },
        12 => {
            let wish = TriggerRequest {
                dag_id: if a.is_multiple_of(8) { text(a) } else { "small".into() },
                run_id: a.is_multiple_of(3).then(|| text(b)),
                logical_date: a.is_multiple_of(5).then(|| moment(b)),
                conf: Some(object(b)),
                note: Some(text(b / 5)),
            };
            ctx.host().trigger(wish).await.map(drop)
        }
        _ => {
            ctx.info(text(a));
            Ok(())
        }
    }
}

/// Returns a deferral with hostile arguments.
fn waits(of: u64) -> Deferral {
    let (a, b) = (mixed(of), mixed(of + 1));
    let odd = |n: u64| Awaited { kind: ODD.into(), config: json!({ "n": n, "t": text(n / 3) }) };
    let soon = |until: Awaited| Deferral::from(until).timeout(Duration::from_millis(20));
    let wish = match of % 9 {
        0 => soon(Awaited { config: json!({ "n": a, "v": value(b) }), ..odd(a) }),
        1 | 2 => Deferral::from(odd(a)).poke_every(Duration::from_millis(1)),
        3 => soon(wait::at(moment(a)).awaited()),
        4 => soon(TimeWait::AfterMs(amount(a)).awaited()),
        5 => {
            let params = if b.is_multiple_of(2) {
                json!({ "properties": { text(a): { "default": value(b) } } })
            } else {
                Value::Null
            };
            let mut question = Question { body: Some(text(b)), params, ..Question::approval(text(a)) };
            question.options = vec![text(a / 3), format!("{}.", text(a / 5))];
            question.defaults = b.is_multiple_of(3).then(|| vec![text(a / 3)]);
            question.assigned_users = vec![text(b / 7)];
            soon(Awaited::new(ANSWER, question))
        }
        6 => soon(Awaited { kind: text(a), config: value(b) }),
        7 => soon(wait::file(text(a)).awaited()),
        _ => soon(wait::any([odd(a), odd(b)])),
    };
    let wish = Deferral { carried: if b.is_multiple_of(3) { value(a) } else { Value::Null }, ..wish };
    let wish = match b % 11 {
        0 => Deferral { timeout_ms: Some(amount(b / 11)), ..wish },
        1 => Deferral { poke_ms: Some(amount(b / 11)), ..wish },
        _ => wish,
    };
    // Keep timeouts short, so that the test does not wait for years.
    let timeout_ms = wish.timeout_ms.filter(|ms| *ms < 1_000 || matches!(of % 9, 1 | 2)).unwrap_or(20);
    let ends = matches!(of % 9, 1 | 2) && wish.poke_ms.is_none_or(|ms| ms < 1_000);
    Deferral {
        timeout_ms: if ends { wish.timeout_ms } else { Some(timeout_ms.min(1_000)) },
        on_timeout: [OnTimeout::Fail, OnTimeout::Skip, OnTimeout::Resume][b as usize / 11 % 3],
        ..wish
    }
}

/// A condition whose pokes return arbitrary values and errors.
struct Odd;

impl Condition for Odd {
    fn kind(&self) -> &'static str {
        ODD
    }

    fn poke(&self, config: Value, _eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        Box::pin(async move {
            let n = config["n"].as_u64().unwrap_or(0);
            let of = mixed(n);
            match n % 8 {
                0..=3 => Ok(Some(value(of))),
                4 => Err(anyhow::Error::msg(text(of))),
                5 => Err(fatal(text(of))),
                6 => Err(skip(text(of))),
                _ if of.is_multiple_of(20) => panic!("{}", text(of)),
                _ => Ok(Some(object(of))),
            }
        })
    }
}

/// Returns the result of an attempt, or a deferral before the result.
fn ends(ctx: &Ctx, of: u64) -> BodyResult {
    // The first error message of element 7 has ten megabytes.
    let causes = vec![if element(ctx) == 7 { "\0x".repeat(5_000_000) } else { text(of / 11) }, text(of / 13)];
    match (of / 7) % 8 {
        _ if element(ctx) == 7 => Err(TaskError::Fatal { causes }),
        // The value is nested too deeply for recursion on any stack.
        _ if element(ctx) == 8 => Ok(Some(deep(10_000))),
        0 => Err(TaskError::Fatal { causes }),
        1 => Err(TaskError::Retryable { causes }),
        2 => Err(TaskError::skipped(text(of / 11))),
        3 if of.is_multiple_of(40) => panic!("{}", text(of / 11)),
        4 if ctx.resumed().is_none() => Err(TaskError::Deferred { deferral: Box::new(waits(of / 11)) }),
        _ => Ok(Some(value(of / 11))),
    }
}

/// A DAG that the attempts trigger with hostile run configurations. It returns its run configuration.
fn small() -> Dag {
    let tell = body(|ctx| async move { Ok(Some(ctx.conf().clone())) });
    let tasks = json!([{ "task_id": "tell", "kind": "rust" }]);
    (json!({ "dag_id": "small", "tasks": tasks, "max_active_runs": 1_000 }), HashMap::from([("tell".into(), tell)]))
}

/// A DAG with the latest possible times: a sensor with the maximum poke interval and a task with the maximum retry
/// delay.
fn late() -> Dag {
    let ten_years_ms = orch_spec::check::MAX_DURATION_MS;
    let blind = body(|_| async { Ok(None) });
    let fails = body(|_| async { Err(TaskError::retryable("\0")) });
    let tasks = json!([
        { "task_id": "blind", "kind": "sensor", "poll_every_ms": ten_years_ms },
        { "task_id": "fails", "kind": "rust", "retries": 3, "retry_delay_ms": ten_years_ms, "retry_backoff": 1e300 },
    ]);
    (json!({ "dag_id": "late", "tasks": tasks }), HashMap::from([("blind".into(), blind), ("fails".into(), fails)]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_outcomes_end_no_worker_and_disturb_no_try_beside_them() {
    let each = body(|ctx| async move {
        let of = mixed(element(&ctx));
        if ctx.resumed().is_none() {
            let said = says(&ctx, of).await;
            if of.is_multiple_of(10) {
                said?;
            }
        }
        ends(&ctx, of)
    });
    let dags = vec![wide("hostile", HOSTILE, each), innocent(500), small(), late()];
    let mut world = World::with(dags, &Conditions::default().with(Arc::new(Odd))).await;
    let (bad, good) = (world.trigger("hostile").await, world.trigger("good").await);
    world.trigger("late").await;
    assert_eq!(world.end_of(&good).await, "success");
    assert_eq!(world.end_of(&bad).await, "failed");
    while let Some(open) = world.open("small").await {
        world.end_of_run("small", &open).await;
    }
    world.some("select count(*) from waiting having count(*) = 2").await;
    let tries = "select count(*) from task_instance t join dag_run r on r.id = t.run where t.map_index >= 0 and";
    let good = format!("{tries} r.dag_id = 'good' and t.state = 'success' and try_no = 1 and lease_no = 1");
    assert_eq!(world.number(&good).await, 500);
    let over = format!("{tries} r.dag_id = 'hostile' and t.state in ('success', 'failed', 'skipped')");
    assert_eq!(world.number(&over).await, i64::from(HOSTILE));
    // Hostile values are sanitized before recording: no outcome is unrecordable, lost or unreadable.
    for none in ["failure where kind in ('unrecordable', 'lost')", "parked_run"] {
        assert_eq!(world.number(&format!("select count(*) from {none}")).await, 0, "{none}");
    }
    let refused =
        "select array_to_string(causes, ': ') from failure where causes::text ~ 'database refused|cannot be read'";
    let refused: Vec<String> = sqlx::query_scalar(refused).fetch_all(&mut world.db).await.unwrap();
    assert_eq!(refused, [""; 0]);
    // The test produced rows in each of these tables, and Postgres can parse each stored value.
    for (some, value) in [
        ("output where parts = 0", "value"),
        ("output where key <> 'return_value'", "value"),
        ("asset_event where distributed", "coalesce(extra, '{}')"),
        ("task_instance where resumed is not null", "resumed"),
        ("approval", "question"),
        ("dag_run_detail where conf is not null", "conf"),
        ("lineage", "to_json(from_uri)"),
        ("progress", "to_json(rows)"),
        ("log_chunk where lines = 1", "(body::json)"),
    ] {
        let read = format!("select count(({value})::jsonb) from {some}");
        assert!(world.number(&read).await > 0, "{some}");
    }
    world.end().await;
}
