//! Values that do not fit and rows that cannot be read affect only the run or row that contains them.

use crate::fixture::{Hands, chain, check_run, database, later, number, one, register, states, trigger};
use orch_spec::check::FileProblem;
use orch_spec::state::TaskState;
use orch_spec::text::JsonText;
use orch_store::doctor::vitals;
use orch_store::hot::{Hot, PgHot};
use orch_store::import_error::{IMPORT_ERRORS, set_import_errors};
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::refold::{Keep, fold_run};
use orch_store::run::{EndRun, cancel_run};
use orch_store::run_lock::left_unfolded;
use orch_store::step::{EndedTry, Failure, Stepper};
use orch_store::version::Versions;
use orch_store::worker::reap;
use orch_store::{StoreError, guard};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

const LONG: Duration = Duration::from_mins(1);

async fn say(db: &mut PgConnection, text: String) {
    sqlx::query(AssertSqlSafe(text)).execute(db).await.expect("it is done");
}

/// A smallint can count 22 days of one poke per minute, or 4 days of one poke every ten seconds. This attempt's
/// lease number exceeds that maximum by one.
#[tokio::test]
async fn a_try_that_changed_hands_more_often_than_a_smallint_counts_goes_on() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let mut worker = Hands::new(&database, &[version], LONG).await;
    let mut lease = worker.claim(1).await[0].lease;
    say(&mut db, "update task_instance set lease_no = 32767, lost_no = 32767".into()).await;
    lease.lease_no = 32_767;
    let mut next = later(lease.attempt, version, None);
    next.wake_in_ms = 0;
    assert!(worker.record(EndedTry { next: Some(next), ..EndedTry::new(lease, TaskState::UpForReschedule) }).await);
    let again = Hands::new(&database, &[version], Duration::ZERO).await.claim(1).await[0];
    assert_eq!(again.lease.lease_no, 32_768);
    // The attempt is also taken over from a lost worker, whose loss count may have reached its maximum too.
    let reaped = reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap();
    assert_eq!(reaped.requeued + reaped.unfolded.len(), 1, "{reaped:?}");
    for run in reaped.unfolded {
        fold_run(
            &mut db,
            &Locks::begin().runs(),
            &mut Stepper::default(),
            &mut Versions::default(),
            run,
            0,
            Keep::NOTHING,
        )
        .await
        .unwrap();
    }
    check_run(&mut db, run).await;
}

#[tokio::test]
async fn lost_tries_that_cannot_be_given_to_others_do_not_hold_back_the_rest() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(trigger(&mut db, &mut Versions::default(), "d").await.id);
    }
    Hands::new(&database, &[version], Duration::ZERO).await.claim(5).await;
    let bad = runs[2];
    say(&mut db, format!("alter table ready add constraint poison check (run <> '{bad}') not valid")).await;
    let reaped = reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap();
    assert_eq!((reaped.workers.len(), reaped.requeued), (1, 4));
    let parked = vitals(&mut db).await.unwrap().parked;
    assert_eq!(parked.len(), 1);
    assert!(parked[0].why.contains("poison"), "{}", parked[0].why);
    // After the row can be written again, it is requeued like the others.
    say(&mut db, "alter table ready drop constraint poison".into()).await;
    assert_eq!(reap(&mut db, &Locks::begin().runs(), &mut Versions::default()).await.unwrap().requeued, 1);
    let mut worker = Hands::new(&database, &[version], LONG).await;
    worker.work_off().await;
    for run in runs {
        check_run(&mut db, run).await;
        assert_eq!(states(&mut db, run).await, ["t0 success"]);
    }
    assert!(vitals(&mut db).await.unwrap().parked.is_empty());
}

/// Creates a run whose first task has ended, but whose outcome has not been applied to the run.
async fn unfolded(worker: &mut Hands, db: &mut PgConnection) -> Uuid {
    let run = trigger(db, &mut Versions::default(), "d").await.id;
    let lease = worker.claim(1).await[0].lease;
    assert!(worker.record(EndedTry::new(lease, TaskState::Success)).await);
    run
}

#[tokio::test]
async fn a_run_whose_ledger_cannot_be_read_is_parked_until_it_can() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 2)]).await[0].version_id;
    let mut worker = Hands::new(&database, &[version], LONG).await;
    let mut versions = Versions::default();
    for (harm, words) in [
        ("ledger = '{}'", "0 tasks"),
        ("ledger_format = 9", "has format 9, this orch reads 0 and 1"),
        ("ledger[1] = 77", "unknown state 77"),
    ] {
        let run = unfolded(&mut worker, &mut db).await;
        let ledger: Vec<i16> =
            sqlx::query_scalar("select ledger from dag_run where id = $1").bind(run).fetch_one(&mut db).await.unwrap();
        say(&mut db, format!("update dag_run set {harm} where id = '{run}'")).await;
        assert!(
            fold_run(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut versions, run, 0, Keep::NOTHING)
                .await
                .unwrap()
                .is_none()
        );
        let parked = vitals(&mut db).await.unwrap().parked;
        assert!(parked.iter().any(|parked| parked.why.contains(words)), "{harm}: {parked:?}");
        // Schedulers do not retry the parked run for a while.
        assert!(!left_unfolded(&mut db, Duration::ZERO, 100).await.unwrap().contains(&run), "{harm}");
        say(&mut db, "update parked_run set tried_at = now() - interval '1 hour'".into()).await;
        assert!(left_unfolded(&mut db, Duration::ZERO, 100).await.unwrap().contains(&run), "{harm}");
        let mend = "update dag_run set ledger = $2, ledger_format = 1 where id = $1";
        sqlx::query(mend).bind(run).bind(ledger).execute(&mut db).await.unwrap();
        assert!(
            fold_run(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut versions, run, 0, Keep::NOTHING)
                .await
                .unwrap()
                .is_some()
        );
        assert!(vitals(&mut db).await.unwrap().parked.is_empty(), "{harm}");
        check_run(&mut db, run).await;
        worker.work_off().await;
    }
}

#[tokio::test]
async fn a_parked_run_can_be_cancelled() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 2)]).await[0].version_id;
    let mut worker = Hands::new(&database, &[version], LONG).await;
    let run = unfolded(&mut worker, &mut db).await;
    say(&mut db, "update dag_run set ledger = '{1,2,3}'".into()).await;
    fold_run(&mut db, &Locks::begin().runs(), &mut Stepper::default(), &mut Versions::default(), run, 0, Keep::NOTHING)
        .await
        .unwrap();
    assert!(matches!(
        cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.unwrap(),
        EndRun::Ended(_)
    ));
    assert_eq!(number(&mut db, "select count(*) from parked_run").await, 0);
}

#[tokio::test]
async fn what_was_restored_from_another_cluster_is_folded() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 2)]).await[0].version_id;
    let mut worker = Hands::new(&database, &[version], LONG).await;
    let run = unfolded(&mut worker, &mut db).await;
    // Such a value occurs after a dump is restored from a server with a higher transaction counter.
    say(&mut db, "update dag_run set fold_xmin = '900000000000'".into()).await;
    say(&mut db, "update setting set value = '1' where key = 'cluster'".into()).await;
    say(&mut db, "insert into setting values ('cluster', '1') on conflict do nothing".into()).await;
    guard::check(&mut db).await.unwrap();
    worker.fold(run).await;
    assert_eq!(states(&mut db, run).await, ["t0 success", "t1 queued"]);
    let here = "select count(*) from setting, pg_control_system() c where key = 'cluster' and value = c.system_identifier::text";
    assert_eq!(number(&mut db, here).await, 1);
}

/// Any output, error or log text of a task can be stored.
#[tokio::test]
async fn what_bodies_say_can_be_written_whatever_it_is() {
    let database = database().await;
    let mut db = one(&database).await;
    let version = register(&mut db, &[chain("d", 1)]).await[0].version_id;
    let mut worker = Hands::new(&database, &[version], LONG).await;
    let deep = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    let values = [
        r#""a\u0000b""#,
        r#"{"\u0000":"\ud800","x":"\udc00\ud800"}"#,
        "1e400",
        "-1e-400",
        "9223372036854775808",
        &deep,
    ];
    for value in values {
        trigger(&mut db, &mut Versions::default(), "d").await;
        let lease = worker.claim(1).await[0].lease;
        let outputs = vec![("key\0".into(), JsonText::new(value))];
        assert!(worker.record(EndedTry { outputs, ..EndedTry::new(lease, TaskState::Success) }).await, "{value}");
        worker.fold(lease.run).await;
    }
    // Postgres can read every stored value.
    let read = "select count(*) from output where value #>> '{}' is not null and key = 'key\u{FFFD}'";
    assert_eq!(number(&mut db, read).await, values.len() as i64);
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let lease = worker.claim(1).await[0].lease;
    let causes = ["\0".to_string(), "x".repeat(10_000_000)].into_iter().chain((0..1_000).map(|n| n.to_string()));
    let failure = Some(Failure::new("fatal", causes));
    assert!(worker.record(EndedTry { failure, ..EndedTry::new(lease, TaskState::Failed) }).await);
    worker.fold(run).await;
    let causes: Vec<String> = sqlx::query_scalar("select causes from failure").fetch_one(&mut db).await.unwrap();
    assert_eq!((causes[0].as_str(), causes.len()), ("\u{FFFD}", 64));
    assert!(causes[1].ends_with(" … (10000000 bytes in all)") && causes[1].len() < 70_000);
}

#[tokio::test]
async fn a_database_without_its_tables_is_no_item_to_go_round() {
    let database = database().await;
    let mut store = PgHot::connect(&database.url(), "test").await.unwrap();
    say(&mut store.db, "drop table parked_run".into()).await;
    let error = store.park(Uuid::nil(), "why").await.unwrap_err();
    assert_eq!(error.policy(), orch_store::Policy::Stop, "{error}");
    assert!(matches!(error, StoreError::Sql(_)));
}

#[tokio::test]
async fn import_errors_keep_escapes_and_lose_nul() {
    let database = database().await;
    let mut db = one(&database).await;
    let problem = |message: &str| FileProblem {
        file: "a.yaml".into(),
        line: 1,
        column: 1,
        message: message.into(),
        hint: String::new(),
    };
    let problems = vec![problem(r"`\u0000` is not a name"), problem("`a\0b` is not a name")];
    set_import_errors(&mut db, "folder", &BTreeMap::from([("a.yaml".to_string(), problems)])).await.unwrap();
    let stored = IMPORT_ERRORS.rows(&mut db, &Search::default()).await.unwrap();
    let messages: Vec<&str> = stored[0].problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, [r"`\u0000` is not a name", "`a\u{FFFD}b` is not a name"]);
}
