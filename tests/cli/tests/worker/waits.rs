//! Tasks that wait for a condition without a slot, while tasks and watchers fail.

use crate::world::World;
use orch::prelude::*;
use orch::{BoxFuture, Condition, ConditionResult, Eyes};
use orch_core::transition::RunEnd;
use orch_spec::state::{TaskState, TriggeredBy};
use orch_store::hint::Hint;
use orch_store::locks::Locks;
use orch_store::mark::mark_instance;
use orch_store::run::{CreateRun, NewRun, create_run, get_run, set_run_state};
use orch_store::version::Versions;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// State of a gate.
#[derive(Debug, Clone)]
enum Behind {
    Nothing,
    Value(Value),
    Error(&'static str),
    Fatal,
    Panic,
}

/// Gates by name, and the number of polls of each.
static GATES: LazyLock<Mutex<HashMap<String, (Behind, u32)>>> = LazyLock::new(Mutex::default);

fn put(gate: &str, behind: Behind) {
    GATES.lock().unwrap().entry(gate.into()).or_insert((Behind::Nothing, 0)).0 = behind;
}

fn looks(gate: &str) -> u32 {
    GATES.lock().unwrap().get(gate).map_or(0, |gate| gate.1)
}

/// A custom condition of this test, like those that a lake or a queue provides.
struct Gate;

impl Condition for Gate {
    fn kind(&self) -> &'static str {
        "gate"
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        if config.is_string() { Ok(()) } else { Err("a gate has a name".into()) }
    }

    fn poke(&self, config: Value, _: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        let name = config.as_str().unwrap().to_string();
        Box::pin(async move {
            let behind = {
                let mut gates = GATES.lock().unwrap();
                let gate = gates.entry(name).or_insert((Behind::Nothing, 0));
                gate.1 += 1;
                gate.0.clone()
            };
            match behind {
                Behind::Nothing => Ok(None),
                Behind::Value(value) => Ok(Some(value)),
                Behind::Error(text) => bail!("{text}"),
                Behind::Fatal => Err(fatal("there is no such gate")),
                Behind::Panic => panic!("as it says"),
            }
        })
    }
}

#[task]
async fn pass(ctx: Ctx, gate: String) -> TaskResult<Value> {
    match ctx.resumed() {
        None => Err(defer(wait::custom("gate", gate).poke_every(millis(100)))),
        Some(resumed) => Ok(resumed.value_as()?),
    }
}

#[task]
async fn quick() -> TaskResult<u32> {
    Ok(1)
}

fn gate_dag(dag_id: &str, gate: &str) -> Dag {
    dag(dag_id).condition(Gate).build(|d| {
        d.add(pass(gate.to_string()));
    })
}

impl World {
    /// Returns the number that a query returns.
    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.db.connect().await).await.unwrap()
    }

    /// Waits until the number that the query returns satisfies the condition.
    async fn until(&self, sql: &'static str, is_it: impl Fn(i64) -> bool) {
        for _ in 0..3000 {
            if is_it(self.number(sql).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not come about: {sql} {}", self.dump().await);
    }

    async fn failure(&self) -> (String, Vec<String>) {
        let sql = "select kind, causes from failure order by created_at desc limit 1";
        sqlx::query_as(sql).fetch_one(&mut self.db.connect().await).await.unwrap()
    }

    async fn output(&self, task: i16) -> Value {
        let sql = "select coalesce((select value from output where task = $1 and map_index = -1), 'null')";
        sqlx::query_scalar(sql).bind(task).fetch_one(&mut self.db.connect().await).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_waits_without_a_slot_and_goes_on_with_what_it_waited_for() {
    let many = dag("many").condition(Gate).build(|d| {
        d.map((0..200).map(|n| format!("many {}", n % 2)).collect::<Vec<_>>(), pass);
    });
    let chain = dag("chain").build(|d| {
        d.add(quick());
    });
    let world = World::with(vec![many, chain], 1, |config| config.slots = 1).await;
    let run = world.trigger("many", None).await;
    world.until("select count(*) from waiting where state = 'deferred' and looks > 1", |n| n == 200).await;
    assert_eq!(world.number("select count(*) from task_instance where state = 'running'").await, 0);
    let other = world.trigger("chain", None).await;
    assert_eq!(world.end_of("chain", &other).await, "success", "the one slot is free");
    assert!(looks("many 0") < 100, "equal ones are looked at together, not {} times", looks("many 0"));

    put("many 0", Behind::Value(json!({ "rows": 7 })));
    world.until("select count(*) from task_instance where state = 'success' and map_index >= 0", |n| n == 100).await;
    put("many 1", Behind::Value(json!([1, 2])));
    assert_eq!(world.end_of("many", &run).await, "success");
    // The same attempt, under a second lease.
    let odd = "select count(*) from task_instance t join dag_run r on r.id = t.run
        where r.dag_id = 'many' and (t.try_no, t.lease_no) <> (1, 2)";
    assert_eq!(world.number(odd).await, 0);
    let given = "select count(*) from output where value::text in ('{\"rows\":7}', '[1,2]')";
    assert_eq!(world.number(given).await, 200);
    let log = "select count(*) from log_chunk where body like '%deferred: it waits for `gate`%'";
    world.until(log, |n| n > 0).await;
    world.end().await;
}

#[task]
async fn impatient(ctx: Ctx, how: String) -> TaskResult<String> {
    if let Some(resumed) = ctx.resumed() {
        ensure!(resumed.is_timed_out(), "it is there");
        return Ok(format!("without it, {}", resumed.carried));
    }
    let wish = wait::custom("gate", "never").poke_every(millis(100)).timeout(millis(300)).carry(how.clone());
    Err(defer(match how.as_str() {
        "skip" => wish.soft_fail(),
        "resume" => wish.resume_on_timeout(),
        _ => wish,
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_come_in_time_fails_skips_or_is_told() {
    let dags = ["fail", "skip", "resume"].map(|how| {
        dag(how).condition(Gate).build(|d| {
            d.add(impatient(how.to_string()).retries(3));
        })
    });
    let world = World::new(dags.into(), 1).await.watched();
    for (how, state, run_state) in
        [("fail", "failed", "failed"), ("skip", "skipped", "success"), ("resume", "success", "success")]
    {
        let run = world.trigger(how, None).await;
        assert_eq!(world.end_of(how, &run).await, run_state, "{how}: {}", world.dump().await);
        assert_eq!(world.states(&run).await, [(0, -1, state.into(), 1)], "{how}");
    }
    let (kind, causes) = world.failure().await;
    assert_eq!((kind.as_str(), causes), ("timeout", vec!["what it waited for was not there in time".to_string()]));
    assert_eq!(world.output(0).await, json!("without it, \"resume\""));
    world.end().await;
}

#[task]
async fn steps(ctx: Ctx) -> TaskResult<Vec<Value>> {
    let mut seen: Vec<Value> = ctx.resumed().map_or_else(Vec::new, |r| r.carried.as_array().unwrap().clone());
    seen.push(ctx.resumed().and_then(|r| r.value().cloned()).unwrap_or(json!("first")));
    match seen.len() {
        1 => Err(defer(wait::after(millis(50)).carry(&seen))),
        2 => Err(defer(wait::custom("gate", "steps").poke_every(millis(100)).carry(&seen))),
        3 => Err(defer(wait::at(chrono::DateTime::UNIX_EPOCH).carry(&seen))),
        4 => Err(defer(wait::time_of_day("00:00", "UTC").timeout(secs(60)).carry(&seen))),
        _ => Ok(seen),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_may_wait_again_and_again_and_times_need_nobody_who_looks() {
    put("steps", Behind::Value(json!(2)));
    let world = World::new(
        vec![dag("steps").condition(Gate).build(|d| {
            d.add(steps());
        })],
        1,
    )
    .await
    .watched();
    let run = world.trigger("steps", None).await;
    assert_eq!(world.end_of("steps", &run).await, "success", "{}", world.dump().await);
    assert_eq!(world.output(0).await, json!(["first", null, 2, null, null]));
    assert_eq!(looks("steps"), 1);
    assert_eq!(world.number("select lease_no::bigint from task_instance").await, 5);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_fails_is_tried_again_and_not_for_ever() {
    put("trouble", Behind::Error("the gate is stuck"));
    put("none", Behind::Fatal);
    put("panic", Behind::Panic);
    let mut dags: Vec<Dag> = ["trouble", "none", "panic"].map(|gate| gate_dag(gate, gate)).into();
    dags.push(dag("unknown").build(|d| {
        d.add(pass("unknown".to_string()).id("unknown"));
    }));
    dags.push(dag("wrong").condition(Gate).build(|d| {
        d.add(wrong());
    }));
    let world = World::new(dags, 1).await;
    let run = world.trigger("trouble", None).await;
    world
        .until("select count(*) from waiting where errors >= 2 and last_error = 'the gate is stuck'", |n| n == 1)
        .await;
    let log = "select count(*) from log_chunk where body like '%the gate is stuck%'";
    world.until(log, |n| n == 1).await;
    put("trouble", Behind::Value(json!(1)));
    assert_eq!(world.end_of("trouble", &run).await, "success");

    for (dag_id, cause) in [
        ("none", "it cannot wait: there is no such gate"),
        ("panic", "it cannot wait: looking failed 10 times in a row: looking panicked"),
        ("wrong", "it cannot wait for this `gate`: a gate has a name"),
    ] {
        let run = world.trigger(dag_id, None).await;
        assert_eq!(world.end_of(dag_id, &run).await, "failed", "{dag_id}");
        assert_eq!(world.failure().await.1, [cause], "{dag_id}");
    }
    world.end().await;
}

#[task(retries = 3)]
async fn wrong() -> TaskResult<()> {
    Err(defer(wait::custom("gate", 7)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_nobody_knows_is_told_with_those_that_are_known() {
    let world = World::new(
        vec![dag("unknown").build(|d| {
            d.add(pass("unknown".to_string()));
        })],
        1,
    )
    .await;
    let run = world.trigger("unknown", None).await;
    assert_eq!(world.end_of("unknown", &run).await, "failed");
    let cause = world.failure().await.1.remove(0);
    assert!(cause.starts_with("no condition of kind `gate` is known here: it knows all, any, file, "), "{cause}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_can_be_marked_and_cancelled() {
    let after = dag("after").condition(Gate).build(|d| {
        let passed = d.add(pass("closed".to_string()));
        d.add(quick().after(passed));
    });
    let world = World::new(vec![after], 1).await;
    let (mut db, mut versions) = (world.db.connect().await, Versions::default());
    let waits = "select count(*) from waiting where state = 'deferred' and looks > 0";
    let marked = world.trigger("after", None).await;
    world.until(waits, |n| n == 1).await;
    let id = get_run(&mut db, "after", &marked).await.unwrap().unwrap().id;
    mark_instance(&mut db, &Locks::begin().runs(), &mut versions, (id, None), (0, -1), TaskState::Success)
        .await
        .unwrap();
    world.hints.give(Hint::Ready);
    assert_eq!(world.end_of("after", &marked).await, "success");

    let cancelled = world.trigger("after", None).await;
    world.until(waits, |n| n == 1).await;
    let id = get_run(&mut db, "after", &cancelled).await.unwrap().unwrap().id;
    set_run_state(&mut db, &Locks::begin().runs(), &mut versions, id, RunEnd::Failed).await.unwrap();
    let words = ["skipped", "skipped"].map(String::from);
    assert_eq!(world.states(&cancelled).await.into_iter().map(|row| row.2).collect::<Vec<_>>(), words);
    assert_eq!(world.number("select count(*) from waiting").await, 0);
    world.end().await;
}

#[sensor(poll_every = millis(100), timeout = millis(350))]
async fn blind() -> TaskResult<Option<u32>> {
    Ok(None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_of_a_sensor_is_for_all_its_looks() {
    let world = World::new(
        vec![dag("blind").build(|d| {
            d.add(blind().retries(2));
        })],
        1,
    )
    .await
    .watched();
    let run = world.trigger("blind", None).await;
    assert_eq!(world.end_of("blind", &run).await, "failed");
    let (kind, causes) = world.failure().await;
    assert_eq!((kind.as_str(), causes), ("timeout", vec!["the sensor saw nothing in 350ms".to_string()]));
    world.end().await;
}

/// It looks itself once a condition has said that it is worth it.
#[sensor(poll_every = millis(100))]
async fn second_look(ctx: Ctx) -> TaskResult<Option<Value>> {
    let Some(resumed) = ctx.resumed() else {
        return Err(defer(wait::custom("gate", "worth it").poke_every(millis(100))));
    };
    let looked = LOOKED.fetch_add(1, Ordering::Relaxed);
    Ok(resumed.value().filter(|_| looked > 0).cloned())
}

static LOOKED: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_may_wait_for_a_condition_before_it_looks_itself() {
    let second = dag("second").condition(Gate).build(|d| {
        d.add(second_look());
    });
    let world = World::new(vec![second], 1).await.watched();
    let run = world.trigger("second", None).await;
    world.until("select count(*) from waiting where state = 'deferred' and looks > 0", |n| n == 1).await;
    assert_eq!(LOOKED.load(Ordering::Relaxed), 0, "it has no slot while it waits");
    put("worth it", Behind::Value(json!(7)));
    assert_eq!(world.end_of("second", &run).await, "success");
    assert_eq!((LOOKED.load(Ordering::Relaxed), world.output(0).await), (2, json!(7)));
    world.end().await;
}

/// Starts a web server that sends `answer` as the response to every request.
fn web(answer: Arc<Mutex<String>>) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut asked) = (stream.unwrap(), [0; 4096]);
            drop(stream.read(&mut asked));
            let body = answer.lock().unwrap().clone();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            drop(stream.write_all((head + &body).as_bytes()));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_databases_and_servers_are_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pattern = folder.path().join("in-*.csv").display().to_string();
    let answer = Arc::new(Mutex::new(r#"{"job": {"state": "busy"}}"#.to_string()));
    let address = web(answer.clone());
    let soon = millis(150);
    let waiting = dag("waiting").build(|d| {
        let done = || wait::url(&address).pointer("/job/state").equals("done");
        let rows = || wait::sql("db", "select n > $1, n from sources").param(5);
        let file = || wait::file(&pattern).min_bytes(3);
        d.add(wait_for("file", file().poke_every(soon)));
        d.add(wait_for("sql", rows().poke_every(soon)));
        d.add(wait_for("http", done().poke_every(soon)));
        let all = [file().awaited(), rows().awaited(), done().awaited(), wait::after(millis(1)).awaited()];
        d.add(wait_for("all", wait::all(all).poke_every(soon)));
        d.add(wait_for(
            "any",
            wait::any([rows().awaited(), wait::at(chrono::DateTime::UNIX_EPOCH).awaited()]).poke_every(soon),
        ));
        let lost = wait::sql("db", "select * from no_such_table").poke_every(soon);
        d.add(wait_for("refused", lost).trigger_rule(AllDone));
    });
    let url = Arc::new(Mutex::new(String::new()));
    let database = orch_test_support::postgres().await;
    *url.lock().unwrap() = database.url();
    let world = World::with(vec![waiting], 1, |config| {
        let uri = url.lock().unwrap().clone();
        config.secrets.environment.insert("ORCH_CONN_DB".into(), uri);
    })
    .await;
    let mut outside = sqlx::PgPool::connect(&database.url()).await.unwrap().acquire().await.unwrap().detach();
    for sql in ["drop table if exists sources", "create table sources (n integer)"] {
        sqlx::query(sql).execute(&mut outside).await.unwrap();
    }
    let run = world.trigger("waiting", None).await;
    let open = "select count(*) from waiting where state = 'deferred' and looks > 1";
    world.until(open, |n| n == 4).await;
    assert_eq!(world.number("select count(*) from task_instance where state = 'success'").await, 1, "any");
    std::fs::write(folder.path().join("in-1.csv"), "ab").unwrap();
    std::fs::write(folder.path().join("in-2.csv"), "abc").unwrap();
    sqlx::query("insert into sources values (7)").execute(&mut outside).await.unwrap();
    *answer.lock().unwrap() = r#"{"job": {"state": "done"}}"#.into();
    assert_eq!(world.end_of("waiting", &run).await, "failed", "one was refused");
    let mut db = world.db.connect().await;
    let given: Vec<(String, Value)> = sqlx::query_as(
        "select t.task_id, o.value from output o join dag_run r on r.id = o.run join dag_version v on v.id = r.version,
          lateral (select x.value ->> 'task_id' as task_id from json_array_elements(v.spec -> 'tasks') with ordinality x
            where x.ordinality = o.task + 1) t order by 1",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    let given: HashMap<String, Value> = given.into_iter().collect();
    let second = folder.path().join("in-2.csv").display().to_string();
    assert_eq!(given["file"], json!([second]));
    assert_eq!(given["sql"]["n"], 7);
    assert_eq!(given["http"], "done");
    assert_eq!(given["all"][2], "done");
    assert_eq!(given["any"]["index"], 1);
    let (kind, causes) = world.failure().await;
    assert_eq!(kind, "fatal");
    assert!(causes[0].contains("no_such_table"), "{causes:?}");
    sqlx::query("drop table sources").execute(&mut outside).await.unwrap();
    world.end().await;
}

#[task]
async fn by_conf(ctx: Ctx) -> TaskResult<Value> {
    ensure!(ctx.conf()["fail"] != true, "as it says");
    Ok(ctx.conf().clone())
}

fn child() -> Dag {
    dag("child").build(|d| {
        d.add(by_conf().id("work"));
    })
}

fn parent(dag_id: &str, fail: bool) -> Dag {
    dag(dag_id).build(|d| {
        d.add(trigger_dag(TriggerDag::dag("child").conf(json!({ "fail": fail })).and_wait().poke_every(millis(100))));
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_triggered_run_is_started_once_and_waited_for() {
    let world = World::new(vec![child(), parent("well", false), parent("badly", true)], 1).await;
    let run = world.trigger("well", None).await;
    assert_eq!(world.end_of("well", &run).await, "success", "{}", world.dump().await);
    let started = "select count(*) from dag_run where dag_id = 'child' and run_type = 'operator_triggered'
        and triggered_by = 'operator'";
    assert_eq!(world.number(started).await, 1);
    let run = world.trigger("badly", None).await;
    assert_eq!(world.end_of("badly", &run).await, "failed");
    assert!(world.failure().await.1[0].ends_with("of dag `child` ended as failed"));
    assert_eq!(world.number(started).await, 2);
    let audit = "select count(*) from audit where event = 'trigger_dag_run' and dag_id = 'child'
        and extra::text like '%trigger_child%'";
    assert_eq!(world.number(audit).await, 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_another_dag_is_waited_for_by_date_or_by_freshness() {
    let after = dag("after").build(|d| {
        let same = || OtherDag::dag("child").poke_every(millis(100));
        d.add(wait_for_task("work", same()).id("by_date"));
        d.add(wait_for_dag(same().within(hours(1))).id("fresh"));
        d.add(wait_for_task("work", same().within(hours(1))).id("fresh_task"));
    });
    let world = World::new(vec![child(), after], 1).await;
    let date = chrono::DateTime::from_timestamp(1_900_000_000, 0);
    let mut db = world.db.connect().await;
    let create = async |db: &mut sqlx::PgConnection, dag_id: &str, logical_date| {
        let new = NewRun {
            logical_date,
            run_after: chrono::DateTime::from_timestamp(0, 0),
            ..NewRun::manual(dag_id, TriggeredBy::Test)
        };
        let CreateRun::Created(run) = create_run(db, Locks::begin(), &mut Versions::default(), &new).await.unwrap()
        else {
            panic!()
        };
        world.hints.give(Hint::Ready);
        run.run_id
    };
    let waits = create(&mut db, "after", date).await;
    world.until("select count(*) from waiting where state = 'deferred' and looks > 1", |n| n == 3).await;
    // A run without a date ends the waits for a recent run, but not the wait for a run of this date.
    let fresh = create(&mut db, "child", None).await;
    assert_eq!(world.end_of("child", &fresh).await, "success");
    world.until("select count(*) from waiting where state = 'deferred'", |n| n == 1).await;
    create(&mut db, "child", date).await;
    assert_eq!(world.end_of("after", &waits).await, "success");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_gives_its_slot_of_a_pool_back_and_takes_one_to_go_on() {
    put("pool", Behind::Nothing);
    let pooled = dag("pooled").condition(Gate).build(|d| {
        d.map(["pool", "pool", "pool"], |gate| pass(gate).pool("one"));
    });
    let world = World::new(vec![pooled], 1).await.watched();
    let mut db = world.db.connect().await;
    sqlx::query("insert into pool (name, slots) values ('one', 1)").execute(&mut db).await.unwrap();
    let run = world.trigger("pooled", None).await;
    world.until("select count(*) from waiting where state = 'deferred' and looks > 0", |n| n == 3).await;
    assert_eq!(world.number("select count(*) from slot").await, 0);
    put("pool", Behind::Value(json!(1)));
    assert_eq!(world.end_of("pooled", &run).await, "success", "{}", world.dump().await);
    world.end().await;
}

/// No scheduler runs here, so only the watcher can end the wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_end_while_log_lines_cannot_be_stored() {
    let gates: Vec<String> = (0..16).map(|n| format!("unlogged {n}")).collect();
    put(&gates[0], Behind::Value(json!(1)));
    gates[1..].iter().for_each(|gate| put(gate, Behind::Error("no route")));
    let unlogged = dag("unlogged").condition(Gate).build(|d| {
        d.map(gates.clone(), pass);
    });
    let world = World::new(vec![unlogged], 1).await;
    let mut db = world.db.connect().await;
    let refuse = "create function refuse() returns trigger language plpgsql as
          $$ begin raise exception 'refused' using errcode = '40001'; end $$;
        create trigger refuse before insert on log_chunk for each row when (new.body like '%looking at what%')
          execute function refuse()";
    sqlx::raw_sql(refuse).execute(&mut db).await.unwrap();
    let run = world.trigger("unlogged", None).await;
    world.until("select count(*) from task_instance where state = 'success' and map_index = 0", |n| n == 1).await;
    let lines = "select count(*) from log_chunk where body like '%looking at what%'";
    assert_eq!(world.number(lines).await, 0);
    sqlx::raw_sql("drop trigger refuse on log_chunk").execute(&mut db).await.unwrap();
    world.until(lines, |n| n == 15).await;
    gates.iter().for_each(|gate| put(gate, Behind::Value(json!(1))));
    // On a slow machine, the other waits may have failed earlier.
    world.end_of("unlogged", &run).await;
    world.end().await;
}
