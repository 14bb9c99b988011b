//! The database schema: version guard, partitions, and applying and reverting migrations.

use crate::fixture::{chain, database, number, one, register, trigger};
use orch_core::transition::RunEnd;
use orch_store::clean::{Cleaned, Passes, pass_begins, pass_due, pass_failed, pass_went_well, passes, retire};
use orch_store::duty::duty_due;
use orch_store::guard::{self, SCHEMA_VERSION, Schema};
use orch_store::locks::Locks;
use orch_store::log::{self, LogCursor, NewChunk};
use orch_store::partition::{Retention, make_ahead};
use orch_store::reset::reset;
use orch_store::run::set_run_state;
use orch_store::setting::setting_or_insert;
use orch_store::transaction::oldest_transaction;
use orch_store::user::{NewUser, add_user, get_user};
use orch_store::version::Versions;
use orch_store::{MIGRATOR, StoreError};
use orch_test_support::TestDb;
use sqlx::migrate::Migrator;
use std::borrow::Cow;
use std::time::Duration;
use uuid::Uuid;

/// Migrations run as the owner of the database, who is not a superuser.
#[tokio::test]
async fn the_schema_goes_up_and_down_and_up_again() {
    let database = database().await;
    let mut db = one(&database).await;
    assert_eq!(number(&mut db, "select count(*) from pg_user where usename = current_user and usesuper").await, 0);
    assert_eq!(guard::read_schema(&mut db).await.unwrap(), Schema::Fits);
    MIGRATOR.undo(&mut db, 0).await.unwrap();
    assert_eq!(guard::read_schema(&mut db).await.unwrap(), Schema::Empty);
    assert!(matches!(guard::check(&mut db).await, Err(StoreError::Schema { found: 0, .. })));
    let left =
        "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relname not like '_sqlx%'";
    assert_eq!(number(&mut db, left).await, 0);
    let types = "select count(*) from pg_type t where t.typnamespace = 'public'::regnamespace and t.typtype = 'e'";
    assert_eq!(number(&mut db, types).await, 0);
    assert_eq!(number(&mut db, "select count(*) from pg_proc where pronamespace = 'public'::regnamespace").await, 0);
    guard::migrate(&mut db).await.unwrap();
    assert_eq!(guard::read_schema(&mut db).await.unwrap(), Schema::Fits);
    // Partitions for the coming week exist even on a Sunday and before a scheduler has started.
    let weeks = "select count(*) from pg_inherits where inhparent = 'task_instance'::regclass";
    assert!(number(&mut db, weeks).await > 2);
}

#[tokio::test]
async fn a_database_that_knows_the_old_text_of_an_amended_migration_is_brought_up() {
    let database = database().await;
    let mut db = one(&database).await;
    let before = "update _sqlx_migrations set checksum = decode(
            '0e5279034e8cb518637193d3eb635ad0d15b377acdb9f1d0506d785210b35701e7b7ec659e4704a95c012f05a2deec18', 'hex')
        where version = 202611221600;
        drop function clean_audit";
    MIGRATOR.undo(&mut db, 202_611_270_730).await.unwrap();
    sqlx::raw_sql(before).execute(&mut db).await.unwrap();
    guard::migrate(&mut db).await.unwrap();
    assert_eq!(guard::read_schema(&mut db).await.unwrap(), Schema::Fits);
    assert_eq!(number(&mut db, "select count(*) from clean_audit('2025-01-01', 9, '{}', '{}')").await, 0);
}

/// Schema versions before 40 allowed user names that differ only in case, such as `Ada` and `ada`.
#[tokio::test]
async fn users_whose_names_differ_only_in_case_are_kept_and_no_further_one_is_added() {
    let database = database().await;
    let mut db = one(&database).await;
    MIGRATOR.undo(&mut db, 202_611_302_019).await.unwrap();
    let old = "insert into api_user (name, password_hash, created_at)
        select name, name, now() + n * interval '1 s' from unnest('{bob,Ada,ada}'::text[]) with ordinality as users (name, n)";
    sqlx::raw_sql(old).execute(&mut db).await.unwrap();
    guard::migrate(&mut db).await.unwrap();
    for (name, expected) in [("ada", "ada"), ("Ada", "Ada"), ("ADA", "Ada"), ("BOB", "bob")] {
        let found = get_user(&mut db, name).await.unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.password_hash.as_str()), (expected, expected), "{name}");
        let new = NewUser { name, password_hash: "new", role: "viewer", ..NewUser::default() };
        assert_eq!(add_user(&mut db, &new).await.unwrap().as_deref(), Some(expected), "{name}");
    }
    let mut insert = async |name: &str| {
        let insert = sqlx::query("insert into api_user (name, password_hash) values ($1, '')").bind(name);
        insert.execute(&mut db).await.map_err(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
    };
    assert_eq!(
        insert("BOB").await.unwrap_err(),
        "23505",
        "two requests at the same time: the index refuses the second"
    );
    insert("carol").await.unwrap();
}

#[tokio::test]
async fn a_migration_that_fails_is_named() {
    let empty = TestDb::new(&Migrator { migrations: Cow::Borrowed(&[]), ..Migrator::DEFAULT }).await;
    let mut db = empty.connect().await;
    sqlx::raw_sql("create table dag (id int)").execute(&mut db).await.unwrap();
    let error = guard::migrate(&mut db).await.unwrap_err();
    assert!(matches!(error, StoreError::Migration { version: 202_611_221_330, .. }), "{error}");
}

async fn statement_timeout(db: &mut sqlx::PgConnection) -> String {
    sqlx::query_scalar("show statement_timeout").fetch_one(db).await.expect("a setting of the session")
}

#[tokio::test]
async fn a_migration_and_a_reset_restore_the_statement_timeout() {
    let database = database().await;
    let mut db = one(&database).await;
    let before = statement_timeout(&mut db).await;
    assert_ne!(before, "0");
    MIGRATOR.undo(&mut db, 202_611_302_060).await.unwrap();
    guard::migrate(&mut db).await.unwrap();
    assert_eq!(statement_timeout(&mut db).await, before);
    reset(&mut db).await.unwrap();
    assert_eq!(statement_timeout(&mut db).await, before);
}

/// After the session was terminated, releasing its lock fails too. Only the first error is reported.
#[tokio::test]
async fn the_first_error_of_a_migration_that_lost_its_session_is_reported() {
    let database = database().await;
    let mut db = one(&database).await;
    MIGRATOR.undo(&mut db, 202_611_302_060).await.unwrap();
    // Each migration updates `schema_guard`.
    sqlx::raw_sql(
        "create function terminate_session() returns trigger language plpgsql as
          $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
        create trigger terminate_session before update on schema_guard for each statement execute function terminate_session()",
    )
    .execute(&mut db)
    .await
    .unwrap();
    let error = guard::migrate(&mut db).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable(sqlx::Error::Database(_))), "{error:?}");
    // The caller can repeat the migration on another connection.
    let mut db = one(&database).await;
    sqlx::query("alter table schema_guard disable trigger terminate_session").execute(&mut db).await.unwrap();
    guard::migrate(&mut db).await.unwrap();
    sqlx::query("alter table schema_guard enable trigger terminate_session").execute(&mut db).await.unwrap();
    let error = reset(&mut db).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable(sqlx::Error::Database(_))), "{error:?}");
}

#[tokio::test]
async fn binaries_and_schemas_that_do_not_fit_are_told_apart() {
    let database = database().await;
    let mut db = one(&database).await;
    let set = async |db: &mut sqlx::PgConnection, version: i32, min_binary: i32| {
        sqlx::query("update schema_guard set version = $1, min_binary = $2")
            .bind(version)
            .bind(min_binary)
            .execute(db)
            .await
            .unwrap();
    };
    // A newer schema version that still declares itself compatible with this binary.
    set(&mut db, SCHEMA_VERSION + 1, SCHEMA_VERSION).await;
    assert!(guard::check(&mut db).await.is_ok() && guard::migrate(&mut db).await.is_ok());
    set(&mut db, SCHEMA_VERSION + 2, SCHEMA_VERSION + 1).await;
    assert!(guard::check(&mut db).await.is_err() && guard::migrate(&mut db).await.is_err());
    set(&mut db, SCHEMA_VERSION - 1, 0).await;
    assert_eq!(guard::read_schema(&mut db).await.unwrap(), Schema::Old { version: SCHEMA_VERSION - 1 });
}

#[tokio::test]
async fn a_duty_is_done_by_one_of_many() {
    let database = database().await;
    let mut turns = 0;
    for _ in 0..5 {
        turns += i32::from(duty_due(&mut one(&database).await, "sweep", Duration::from_mins(1)).await.unwrap());
    }
    assert_eq!(turns, 1);
    assert!(duty_due(&mut one(&database).await, "sweep", Duration::ZERO).await.unwrap());
}

#[tokio::test]
async fn all_processes_get_the_setting_that_was_there_first() {
    let database = database().await;
    let mut db = one(&database).await;
    assert_eq!(setting_or_insert(&mut db, "key", "first").await.unwrap(), "first");
    assert_eq!(setting_or_insert(&mut db, "key", "second").await.unwrap(), "first");
}

#[tokio::test]
async fn old_weeks_go_with_their_runs_unless_one_of_them_is_not_over() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    make_ahead(&mut db).await.unwrap();
    let leaves = "select count(*) from pg_class where relname ~ '^task_instance_.*w..$'";
    assert_eq!(number(&mut db, leaves).await, 5);
    register(&mut db, &[chain("d", 1)]).await;
    let run = trigger(&mut db, &mut versions, "d").await.id;
    // Change the creation time in the id, so that the run looks old.
    let old = Uuid::parse_str("0190a000-0000-7000-8000-000000000000").unwrap();
    for sql in [
        "select make_partitions('2024-07-11'), make_partitions('2024-08-11')",
        "update dag_run set id = '0190a000-0000-7000-8000-000000000000'",
        "update ready set run = '0190a000-0000-7000-8000-000000000000'",
    ] {
        sqlx::query(sql).execute(&mut db).await.unwrap();
    }
    assert_ne!(run, old);
    let weeks = |done: &[Cleaned]| done.iter().filter(|one| one.week.is_some()).count();
    let done = retire(&mut db, &Retention::default()).await.unwrap();
    assert_eq!((done.len(), weeks(&done)), (6, 6), "the empty week goes: {done:?}");
    set_run_state(&mut db, &Locks::begin().runs(), &mut versions, old, RunEnd::Failed).await.unwrap();
    let done = retire(&mut db, &Retention::default()).await.unwrap();
    assert!(done.is_empty(), "a run is as old as its end: {done:?}");
    sqlx::query("update dag_run set ended_at = '2024-07-12'").execute(&mut db).await.unwrap();
    let done = retire(&mut db, &Retention::default()).await.unwrap();
    assert_eq!((done.len(), weeks(&done)), (7, 6), "six partitions, and the run: {done:?}");
    assert_eq!(number(&mut db, "select count(*) from dag_run").await, 0);
    assert_eq!(number(&mut db, leaves).await, 5);
}

#[tokio::test]
async fn a_pass_that_failed_or_was_never_heard_of_again_is_followed_by_another_one() {
    let database = database().await;
    let mut db = one(&database).await;
    assert_eq!(passes(&mut db).await.unwrap(), None);
    assert!(!pass_due(&mut db).await.unwrap(), "there was none that could have failed");
    pass_begins(&mut db).await.unwrap();
    assert!(!pass_due(&mut db).await.unwrap(), "it is under way");
    let pause = |times: i32| Duration::from_mins(u64::from(times.unsigned_abs()));
    for times in [1, 2] {
        assert_eq!(pass_failed(&mut db, "the archive is full", pause).await.unwrap(), times);
    }
    let Some(Passes { done_at: None, failing: Some(failing) }) = passes(&mut db).await.unwrap() else {
        panic!("it fails")
    };
    assert_eq!((failing.times, failing.error.as_str()), (2, "the archive is full"));
    let pause = failing.retry_at.unwrap() - failing.since;
    assert!(pause.num_seconds() >= 120 && pause.num_seconds() < 180, "{pause}");
    assert!(!pass_due(&mut db).await.unwrap(), "it is not time yet");
    sqlx::query("update retirement set retry_at = now()").execute(&mut db).await.unwrap();
    let turns = [pass_due(&mut db).await.unwrap(), pass_due(&mut one(&database).await).await.unwrap()];
    assert_eq!(turns, [true, false], "one takes it");
    pass_went_well(&mut db).await.unwrap();
    let well = passes(&mut db).await.unwrap().unwrap();
    assert!(well.done_at.is_some() && well.failing.is_none(), "{well:?}");
    assert!(!pass_due(&mut db).await.unwrap());
}

#[tokio::test]
async fn partitions_are_made_while_the_tables_are_read_and_written() {
    let database = database().await;
    let (mut db, mut other) = (one(&database).await, one(&database).await);
    let leaves = "select count(*) from pg_class where relname ~ '^task_instance_.*w..$'";
    for text in [
        "begin",
        "select count(*) from task_instance",
        "lock table task_instance, attempt, failure, output, output_part, log_chunk in row exclusive mode",
    ] {
        sqlx::query(text).execute(&mut other).await.unwrap();
    }
    make_ahead(&mut db).await.unwrap();
    assert_eq!(number(&mut db, leaves).await, 5);
    let keys = "select count(*) from pg_index i join pg_inherits h on h.inhrelid = i.indexrelid
        join pg_class c on c.oid = i.indrelid where c.relname ~ '^task_instance_.*w..$' and i.indisprimary";
    assert_eq!(number(&mut db, keys).await, 5, "each has its part of the parent's key");
}

#[tokio::test]
async fn a_log_is_read_on_from_a_place_within_a_limit() {
    let database = database().await;
    let mut db = one(&database).await;
    make_ahead(&mut db).await.unwrap();
    let (run, attempt) = (Uuid::now_v7(), Uuid::now_v7());
    let chunk = |lease_no, seq| NewChunk { run, attempt, lease_no, seq, lines: 1, body: "x".repeat(100) };
    let chunks = [chunk(1, 0), chunk(1, 1), chunk(2, 0)];
    log::append(&mut db, &chunks).await.unwrap();
    log::append(&mut db, &chunks[..2]).await.unwrap();
    let places = |chunks: Vec<log::Chunk>| chunks.iter().map(|c| (c.lease_no, c.seq)).collect::<Vec<_>>();
    assert_eq!(
        places(log::read(&mut db, run, attempt, LogCursor::START, 1000).await.unwrap()),
        [(1, 0), (1, 1), (2, 0)]
    );
    assert_eq!(places(log::read(&mut db, run, attempt, LogCursor::START, 150).await.unwrap()), [(1, 0), (1, 1)]);
    assert_eq!(places(log::read(&mut db, run, attempt, LogCursor::START, 0).await.unwrap()), [(1, 0)]);
    let after = LogCursor { lease_no: 1, seq: 1 };
    assert_eq!(places(log::read(&mut db, run, attempt, after, 1000).await.unwrap()), [(2, 0)]);
    assert_eq!(places(log::tail(&mut db, run, attempt, 2).await.unwrap()), [(1, 1), (2, 0)]);
}

#[tokio::test]
async fn a_gap_stands_for_the_chunks_that_are_left_out_and_grows() {
    let database = database().await;
    let mut db = one(&database).await;
    make_ahead(&mut db).await.unwrap();
    let (run, attempt) = (Uuid::now_v7(), Uuid::now_v7());
    let chunks: Vec<_> = (0..9)
        .flat_map(|seq| {
            [1, 2].map(|lease_no| NewChunk { run, attempt, lease_no, seq, lines: 1, body: seq.to_string() })
        })
        .collect();
    log::append(&mut db, &chunks).await.unwrap();
    for (last, lines, text) in [(4, 2, "2 are left out"), (6, 4, "4 are left out")] {
        let gap = log::LeftOut { run, attempt, lease_no: 1, first: 3, last, lines, text: text.into() };
        log::leave_out(&mut db, &gap).await.unwrap();
    }
    let left = log::read(&mut db, run, attempt, LogCursor::START, 1000).await.unwrap();
    let text: Vec<&str> = left.iter().filter(|c| c.lease_no == 1).map(|c| c.body.as_str()).collect();
    assert_eq!(text, ["0", "1", "2", "4 are left out", "7", "8"]);
    assert_eq!(left.iter().filter(|c| c.lease_no == 2).count(), 9);
    // Line numbers after the removed range stay the same.
    let found = log::window(&mut db, run, attempt, 8, 1, 1).await.unwrap();
    assert_eq!((found.before, found.total, found.chunks[0].body.as_str()), (7, 18, "7"));
}

#[tokio::test]
async fn the_oldest_open_transaction_is_found_with_its_session() {
    let database = database().await;
    let (mut db, mut first, mut second) = (one(&database).await, one(&database).await, one(&database).await);
    let first_pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut first).await.unwrap();
    let second_pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut second).await.unwrap();
    sqlx::raw_sql("begin; select 1").execute(&mut first).await.unwrap();
    sqlx::raw_sql("begin; select 1").execute(&mut second).await.unwrap();
    let oldest = oldest_transaction(&mut db).await.unwrap().expect("two are open");
    assert_eq!((oldest.pid, oldest.state.as_str()), (first_pid, "idle in transaction"));
    assert_eq!(oldest.session(), format!("test (pid {first_pid})"));
    assert!(!oldest.user.is_empty() && oldest.age_secs >= 0.0, "{oldest:?}");
    sqlx::raw_sql("rollback").execute(&mut first).await.unwrap();
    let next = oldest_transaction(&mut db).await.unwrap().expect("one is open");
    assert_eq!(next.pid, second_pid);
    sqlx::raw_sql("rollback").execute(&mut second).await.unwrap();
    assert_eq!(oldest_transaction(&mut db).await.unwrap(), None);
}
