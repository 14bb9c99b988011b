//! Ten thousand waiting tasks with real processes, one of which is killed.

use crate::world::World;
use orch_store::hint::Hint;
use sqlx::PgConnection;
use std::time::{Duration, Instant};

/// Number of runs, each with a thousand tasks.
const RUNS: usize = 10;
/// Polls per task, each at least three minutes after the previous one: about an hour in total.
const MOVES: usize = 20;
const PATIENCE: Duration = Duration::from_mins(3);

async fn number(db: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(db).await.unwrap()
}

/// Waits until the number that the query returns satisfies the condition.
async fn until(db: &mut PgConnection, sql: &'static str, is_it: impl Fn(i64) -> bool) {
    let began = Instant::now();
    loop {
        let found = number(db, sql).await;
        if is_it(found) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{sql} is {found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the anonymous memory of the process in MB, without the pages of its program: a debug build has hundreds of
/// megabytes of them.
fn memory_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Moves the wake-up times of waiting tasks back by 200 s, and notifies the watcher.
async fn pass(db: &mut PgConnection) {
    let moved = "update waiting set wake_at = wake_at - interval '200 seconds' where kind is not null";
    sqlx::query(moved).execute(&mut *db).await.unwrap();
    let hint = format!("- {}", Hint::Watch as u8);
    sqlx::query("select pg_notify('orch', $1)").bind(hint).execute(db).await.unwrap();
}

const WAITING: &str = "select count(*) from waiting where state = 'deferred'";
const LOOKED_AT: &str =
    "select count(*) from waiting where state = 'deferred' and looked_by is null and wake_at > now()";
/// Only counts the test DAGs, because other DAGs have schedules.
const RUNNING: &str = "select count(*) from task_instance t join dag_run r on r.id = t.run
    where r.dag_id like 'test_patient%' and t.state in ('running', 'restarting')";
const COMMITS: &str = "select xact_commit from pg_stat_database where datname = current_database()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tasks_wait_for_an_hour_without_a_slot_and_all_wake() {
    let mut world = World::new().await;
    let worker = ["worker", "--lease", "2s", "--paused-at-creation=false"];
    let mut pid = world.start(&worker);
    let scheduler = world.start(&["scheduler"]);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("test_patient"));
    let conf = serde_json::json!({ "folder": world.path() }).to_string();
    let began = Instant::now();
    for run in 0..RUNS {
        let run = format!("wait_{run}");
        assert_eq!(world.run(&["dags", "trigger", "test_patient", "--run-id", &run, "--conf", &conf]).code, 0);
    }
    let mut db = world.db().await;
    let all = (RUNS * 1000) as i64;
    until(&mut db, LOOKED_AT, |n| n == all).await;
    eprintln!("{all} tasks began to wait in {:?}", began.elapsed());
    let (before, started) = (number(&mut db, COMMITS).await, Instant::now());
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for step in 0..MOVES {
        let moved = Instant::now();
        pass(&mut db).await;
        if step == MOVES / 3 {
            // Killed while it polls; its claimed waits are taken over when the clock advances.
            until(&mut db, "select count(*) from waiting where looked_by is not null", |n| n > 0).await;
            world.kill(pid);
            pid = world.start(&worker);
            pass(&mut db).await;
        }
        until(&mut db, LOOKED_AT, |n| n == all).await;
        slowest = slowest.max(moved.elapsed());
        most = most.max(memory_mb(pid) + memory_mb(scheduler));
        assert_eq!(number(&mut db, WAITING).await, all);
        assert_eq!(number(&mut db, RUNNING).await, 0, "a task that waits has a slot");
    }
    let looks = number(&mut db, "select sum(looks) from waiting").await;
    let commits = number(&mut db, COMMITS).await - before;
    eprintln!(
        "an hour: {looks} looks in {:?}, the slowest round {slowest:?}; {commits} transactions with those of this test; \
         worker and scheduler had {most} MB at most",
        started.elapsed()
    );
    assert!(looks >= all * MOVES as i64, "{looks} looks");
    // A batch of 500 costs a few statements, independent of the number of waiting tasks.
    assert!(commits < looks / 20, "{commits} transactions for {looks} looks");

    for gate in 0..100 {
        std::fs::write(world.path().join(format!("gate-{gate}")), "open").unwrap();
    }
    let opened = Instant::now();
    pass(&mut db).await;
    until(&mut db, "select count(*) from dag_run where dag_id = 'test_patient' and state = 'success'", |n| {
        n == RUNS as i64
    })
    .await;
    eprintln!("all went on and ended {:?} after the gates opened", opened.elapsed());
    let odd = "select count(*) from task_instance t join dag_run r on r.id = t.run and r.dag_id = 'test_patient'
        where (t.state, try_no, lease_no, lost_no) <> ('success', 1, 2, 0)";
    assert_eq!(number(&mut db, odd).await, 0);
    assert_eq!(number(&mut db, "select count(*) from waiting").await, 0);
    assert!(most < 100, "worker and scheduler had {most} MB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_process_waits_too_and_ends_meanwhile() {
    let world = World::at_work().await;
    let conf = serde_json::json!({ "folder": world.path() }).to_string();
    assert_eq!(world.run(&["dags", "trigger", "test_patient_child", "--run-id", "c", "--conf", &conf]).code, 0);
    let mut db = world.db().await;
    until(&mut db, "select count(*) from waiting where looks > 1", |n| n == 1).await;
    assert_eq!(number(&mut db, RUNNING).await, 0);
    std::fs::write(world.path().join("gate-1"), "open").unwrap();
    assert_eq!(world.run(&["runs", "wait", "c", "--timeout", "60s"]).code, 0);
    let given = "select o.value from output o join dag_run r on r.id = o.run where r.run_id = 'c'";
    let given: serde_json::Value = sqlx::query_scalar(given).fetch_one(&mut db).await.unwrap();
    assert_eq!(given, serde_json::json!([world.path().join("gate-1")]));
}
