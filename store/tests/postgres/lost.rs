//! Lost workers: their leases expire, and other workers take over their attempts.

use crate::fixture::{Hands, chain, check_run, dag, database, number, one, register, states, trigger};
use chrono::{DateTime, Utc};
use orch_spec::state::TaskState;
use orch_store::due::{After, poll_due};
use orch_store::hot::{Hot, PgHot};
use orch_store::instance::tries;
use orch_store::locks::Locks;
use orch_store::log::{LogCursor, NewChunk, append, read};
use orch_store::refold::{Keep, fold_run};
use orch_store::step::Stepper;
use orch_store::version::Versions;
use orch_store::worker::{Reaped, heartbeat, list_workers, reap, reap_since, release, sweep_orphans};
use serde_json::{Value, json};
use std::time::Duration;

const LONG: Duration = Duration::from_mins(1);
/// A lease that expires immediately.
const NONE: Duration = Duration::ZERO;

#[tokio::test]
async fn what_a_lost_worker_ran_is_run_by_another_as_the_same_try() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut lost = Hands::new(&database, &[version], NONE).await;
    let before = lost.claim(1).await[0];
    let reaped = reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap();
    assert_eq!(reaped, Reaped { workers: vec![lost.worker], requeued: 1, unfolded: vec![] });
    assert!(heartbeat(&mut db, lost.worker, 1, LONG, &[]).await.unwrap().lost);
    assert_eq!(list_workers(&mut db).await.unwrap()[0].state, "lost");
    assert_eq!(states(&mut db, run).await, ["t0 queued"]);

    let mut other = Hands::new(&database, &[version], LONG).await;
    assert!(heartbeat(&mut db, other.worker, 0, LONG, &[]).await.unwrap().ready_waiting);
    let after = other.claim(1).await[0];
    assert_eq!((after.lease.attempt, after.try_no, after.lost_no), (before.lease.attempt, 1, 1));
    assert_eq!(after.lease.lease_no, before.lease.lease_no + 1);
    // The lost worker resumes and records an outcome, which is rejected.
    assert!(!lost.end(before.lease, TaskState::Failed).await);
    assert!(other.end(after.lease, TaskState::Success).await);
    assert!(!lost.end(before.lease, TaskState::Failed).await);
    check_run(&mut db, run).await;
    assert_eq!(states(&mut db, run).await, ["t0 success"]);
    assert_eq!(reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap(), Reaped::default());
}

/// While the scheduler or the server was paused, workers could not renew their leases. After the pause, each worker is
/// trusted for one lease of its usual length, and `poll_due` returns when the first of these leases ends.
#[tokio::test]
async fn after_a_pause_a_worker_is_trusted_for_one_lease_of_its_own() {
    let database = database().await;
    let mut db = one(&database).await;
    let short = Hands::new(&database, &[], Duration::from_secs(2)).await.worker;
    let long = Hands::new(&database, &[], LONG).await.worker;
    let silent = "update worker set heartbeat_at = now() - interval '1 hour',
        expires_at = now() - interval '1 hour' + (expires_at - heartbeat_at)";
    sqlx::query(silent).execute(&mut db).await.unwrap();
    let ago = async |db: &mut sqlx::PgConnection, secs: f64| -> DateTime<Utc> {
        let moment = sqlx::query_scalar("select now() - $1 * interval '1 second'").bind(secs);
        moment.fetch_one(db).await.unwrap()
    };
    let started: DateTime<Utc> =
        sqlx::query_scalar("select pg_postmaster_start_time()").fetch_one(&mut db).await.unwrap();
    let awake = ago(&mut db, 0.5).await.max(started);
    assert_eq!(
        reap_since(&mut db, &Locks::begin().runs(), &mut Versions::default(), awake).await.unwrap(),
        Reaped::default()
    );
    let secs = Duration::from_mins(1);
    let after = After { fold: secs, stale: secs, queued: secs, awake: Some(awake) };
    let due = poll_due(&mut db, 0, &json!({}), &after).await.unwrap();
    assert_eq!((due.workers, due.shortest_lease_secs), (false, Some(2.0)));
    assert_eq!(due.next_at, Some(awake + Duration::from_secs(2)), "the shorter lease, from the end of the pause");
    // Wait until the server has been running for that long too, because its start also extends the leases.
    let lived =
        "select greatest(0, extract(epoch from pg_postmaster_start_time() + interval '3 seconds' - now()))::float8";
    let wait: f64 = sqlx::query_scalar(lived).fetch_one(&mut db).await.unwrap();
    tokio::time::sleep(Duration::from_secs_f64(wait)).await;
    let awake = ago(&mut db, 3.0).await;
    let reaped = reap_since(&mut db, &Locks::begin().runs(), &mut Versions::default(), awake).await.unwrap();
    assert_eq!(reaped.workers, [short], "the lease of {long} is longer");
}

#[tokio::test]
async fn an_instance_that_is_lost_too_often_fails_and_says_why() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust", "on_lost": { "retry": 1 } }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    for _ in 0..2 {
        Hands::new(&database, &[version], NONE).await.claim(1).await;
        let mut versions = Versions::default();
        let reaped = reap(&mut db, &Locks::begin().runs(), &mut versions).await.unwrap();
        for run in reaped.unfolded {
            fold_run(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut versions, run, 0, Keep::NOTHING)
                .await
                .unwrap();
        }
    }
    check_run(&mut db, run).await;
    assert_eq!(states(&mut db, run).await, ["a failed"]);
    let tries = tries(&mut db, run, 0, -1).await.unwrap();
    assert_eq!((tries.len(), tries[0].lost_no), (1, 2));
    assert_eq!(
        (tries[0].failure.as_deref(), tries[0].causes.as_slice()),
        (Some("lost"), &["the worker was lost 2 times".to_string()][..])
    );
}

#[tokio::test]
async fn the_log_of_an_attempt_contains_that_its_worker_was_lost_and_what_follows() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust", "on_lost": { "retry": 1 } }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut attempts = Vec::new();
    for _ in 0..2 {
        let lease = Hands::new(&database, &[version], NONE).await.claim(1).await[0].lease;
        let line = json!({ "level": "info", "event": "working" }).to_string() + "\n";
        let chunk = NewChunk { run, attempt: lease.attempt, lease_no: lease.lease_no, seq: 0, lines: 1, body: line };
        append(&mut db, &[chunk]).await.unwrap();
        reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap();
        attempts.push(lease.attempt);
    }
    assert_eq!(attempts[0], attempts[1]);
    let chunks = read(&mut db, run, attempts[0], LogCursor::START, 1 << 20).await.unwrap();
    let lines: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(&chunk.body).unwrap()).collect();
    let found: Vec<(i32, &str, &str)> = chunks
        .iter()
        .zip(&lines)
        .map(|(chunk, line)| {
            let event = line["event"].as_str().unwrap();
            let end = event.rsplit("; ").next().unwrap();
            (chunk.lease_no, line["level"].as_str().unwrap(), end)
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, "info", "working"),
            (1, "warning", "the attempt starts again"),
            (2, "info", "working"),
            (2, "error", "the attempt failed")
        ]
    );
    assert!(lines[1]["event"].as_str().unwrap().contains(" was lost: "), "{}", lines[1]);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_does_not_keep_tasks_of_a_lost_worker_from_running_again() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    Hands::new(&database, &[version], NONE).await.claim(1).await;
    let refuse =
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
        create trigger refuse before insert on log_chunk for each row execute function refuse()";
    sqlx::raw_sql(refuse).execute(&mut db).await.unwrap();
    assert_eq!(reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap().requeued, 1);
    assert_eq!(states(&mut db, run).await, ["t0 queued"]);
}

#[tokio::test]
async fn a_worker_that_goes_gives_back_what_it_has_and_nothing_counts_as_lost() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    trigger(&mut db, &mut Versions::default(), "d").await;
    let mut first = Hands::new(&database, &[version], LONG).await;
    first.claim(1).await;
    assert_eq!(
        release(&mut db, &Locks::begin().runs(), &mut Versions::default(), first.worker).await.unwrap().requeued,
        1
    );
    let again = Hands::new(&database, &[version], LONG).await.claim(1).await[0];
    assert_eq!((again.lost_no, again.lease.lease_no), (0, 2));
    assert_eq!(list_workers(&mut db).await.unwrap().iter().filter(|w| w.state == "stopped").count(), 1);
}

/// The worker shuts down gracefully, but it may have started the attempt already.
#[tokio::test]
async fn what_must_not_begin_twice_does_not_even_when_its_worker_gives_it_back() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust", "on_lost": "fail" }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut worker = Hands::new(&database, &[version], LONG).await;
    worker.claim(1).await;
    let mut versions = Versions::default();
    let released = release(&mut db, &Locks::begin().runs(), &mut versions, worker.worker).await.unwrap();
    assert_eq!((released.requeued, released.unfolded.as_slice()), (0, &[run][..]));
    fold_run(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut versions, run, 0, Keep::NOTHING)
        .await
        .unwrap();
    check_run(&mut db, run).await;
    assert_eq!(states(&mut db, run).await, ["a failed"]);
}

#[tokio::test]
async fn a_lost_worker_is_given_nothing() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let mut frozen = Hands::new(&database, &[version], NONE).await;
    reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap();
    trigger(&mut db, &mut Versions::default(), "d").await;
    assert!(frozen.claim(1).await.is_empty());
    assert_eq!(number(&mut db, "select count(*) from ready").await, 1);
}

/// The worker was declared lost while its claim was in progress.
#[tokio::test]
async fn what_a_worker_took_while_it_was_lost_is_found() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    trigger(&mut db, &mut Versions::default(), "d").await;
    Hands::new(&database, &[version], NONE).await.claim(1).await;
    sqlx::query("update worker set state = 'lost'").execute(&mut db).await.unwrap();
    let found = reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap();
    assert_eq!((found.workers.len(), found.requeued), (0, 1));

    // Long after the worker was lost, the attempt counts as an orphan.
    Hands::new(&database, &[version], NONE).await.claim(1).await;
    let an_hour_ago = "update worker set state = 'lost', expires_at = now() - interval '1 hour'";
    sqlx::query(an_hour_ago).execute(&mut db).await.unwrap();
    assert_eq!(reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap(), Reaped::default());
    assert_eq!(sweep_orphans(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap().requeued, 1);
    assert_eq!(number(&mut db, "select count(*) from ready").await, 1);
}

/// A connection was lost before the worker received the response to a step. The old session is terminated before a new
/// one is used. Attempts of which the worker is not aware are requeued, even those that must not start twice.
#[tokio::test]
async fn a_worker_that_lost_its_connection_gives_back_what_it_does_not_know_of() {
    let database = database().await;
    let mut db = one(&database).await;
    let task = |id: &str| json!({ "task_id": id, "kind": "rust", "on_lost": "fail" });
    let spec = dag(json!({ "dag_id": "d", "tasks": [task("known"), task("unheard")] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut worker = Hands::new(&database, &[version], LONG).await;
    let claimed = worker.claim(2).await;

    let mut store = PgHot::connect(&database.url(), "test").await.unwrap();
    let old: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut store.db).await.unwrap();
    let unfolded = store.resume(worker.worker, &[claimed[0].lease.attempt]).await.unwrap();
    assert!(unfolded.is_empty());
    let left: i64 = sqlx::query_scalar("select count(*) from pg_stat_activity where pid = $1")
        .bind(old)
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(left, 0, "the old session says nothing more");
    assert_eq!(states(&mut db, run).await, ["known running", "unheard queued"]);

    let again = worker.claim(2).await;
    assert_eq!((again.len(), again[0].lease.attempt, again[0].lost_no), (1, claimed[1].lease.attempt, 0));
    assert!(!worker.end(claimed[1].lease, TaskState::Failed).await);
    assert!(worker.end(claimed[0].lease, TaskState::Success).await);
    assert!(worker.end(again[0].lease, TaskState::Success).await);
    check_run(&mut db, run).await;
}

#[tokio::test]
async fn a_restarting_instance_of_a_lost_worker_begins_anew() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut lost = Hands::new(&database, &[version], NONE).await;
    let before = lost.claim(1).await[0];
    // The instance was cleared while it was running.
    sqlx::query("update task_instance set state = 'restarting'").execute(&mut db).await.unwrap();
    sqlx::query("update dag_run set clear_number = 1").execute(&mut db).await.unwrap();
    let mut versions = Versions::default();
    let reaped = reap(&mut db, &Locks::begin().runs(), &mut versions).await.unwrap();
    assert_eq!((reaped.requeued, reaped.unfolded.as_slice()), (0, &[run][..]));
    fold_run(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut versions, run, 0, Keep::NOTHING)
        .await
        .unwrap();
    let mut other = Hands::new(&database, &[version], LONG).await;
    let after = other.claim(1).await[0];
    assert_ne!(after.lease.attempt, before.lease.attempt);
    assert_eq!((after.try_no, after.lost_no), (2, 0));
    assert!(other.end(after.lease, TaskState::Success).await);
    let history: Vec<_> = tries(&mut db, run, 0, -1).await.unwrap().iter().map(|t| (t.try_no, t.state)).collect();
    assert_eq!(history, [(1, TaskState::Failed), (2, TaskState::Success)]);
    check_run(&mut db, run).await;
}
