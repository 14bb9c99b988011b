//! Cleaning deletes old rows by week or in batches, with or without an archive, and can be killed at any time.

use crate::fixture::{chain, database, number, one, register, trigger};
use crate::old::{MONDAY, NEXT_MONDAY, at, old_runs, there_and_archived};
use orch_store::StoreError;
use orch_store::archive::{Folder, export};
use orch_store::clean::{
    CleanRequest, Cleaned, Count, Goes, Table, clean, count_old, drop_archived, list_archived, list_cleanups,
};
use orch_store::version::Versions;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnection;
use std::time::Duration;

const WEDNESDAY: &str = "2024-08-14T00:00:00Z";
/// Id of the advisory lock that the cleaning session holds.
const CLEAN_LOCK: i64 = 0x6f72_6368_636c;

async fn cleaned(db: &mut PgConnection, wish: &CleanRequest) -> Vec<String> {
    let mut done = Vec::new();
    let mut tell = |cleaned: &Cleaned| {
        let week = cleaned.week.map_or_else(String::new, |week| format!(" {week}"));
        done.push(format!("{}{week} {}", cleaned.table, cleaned.how));
    };
    clean(db, wish, &mut tell).await.expect("it cleans");
    done
}

fn runs_before(before: &str, goes: Goes) -> CleanRequest {
    CleanRequest { batch: 7, ..CleanRequest::of(&[Table::DagRun], at(before), goes, "ada") }
}

async fn session_settings(db: &mut PgConnection) -> (String, String) {
    let settings = "select current_setting('statement_timeout'), current_setting('synchronize_seqscans')";
    sqlx::query_as(settings).fetch_one(db).await.expect("settings")
}

/// After the session was terminated, resetting its settings fails too. Only the first error is reported.
#[tokio::test]
async fn the_first_error_of_a_lost_session_is_reported() {
    let database = database().await;
    let mut db = one(&database).await;
    sqlx::raw_sql(
        "create function terminate_session() returns trigger language plpgsql as
          $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
        create trigger terminate_session before delete on progress for each statement execute function terminate_session()",
    )
    .execute(&mut db)
    .await
    .unwrap();
    let wish = CleanRequest::of(&[Table::Progress], at(WEDNESDAY), Goes::Dropped, "ada");
    let error = clean(&mut db, &wish, &mut |_| {}).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable(sqlx::Error::Database(_))), "{error:?}");
}

#[tokio::test]
async fn whole_weeks_are_cut_off_and_the_rest_is_moved() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 20).await;
    old_runs(&mut db, "a", NEXT_MONDAY, 30).await;
    old_runs(&mut db, "a", "2024-08-15T00:00:00Z", 3).await;
    let wish = runs_before(WEDNESDAY, Goes::Archived);
    let before = session_settings(&mut db).await;
    let counted = count_old(&mut db, &wish).await.unwrap();
    assert_eq!(session_settings(&mut db).await, before);
    let rows = |table: &str, rows| Count { table: table.into(), rows };
    assert_eq!(counted[..2], [rows("dag_run", 50), rows("task_instance", 100)]);
    assert_eq!(there_and_archived(&mut db, "dag_run").await, (53, 0), "counting takes nothing");
    let done = cleaned(&mut db, &wish).await;
    assert_eq!(session_settings(&mut db).await, before);
    assert!(done.contains(&"task_instance 2024-08-05 archived".into()), "{done:?}");
    assert!(done.contains(&"task_instance archived".into()), "{done:?}");
    // An empty partition is not archived.
    assert!(done.contains(&"attempt 2024-08-05 dropped".into()), "{done:?}");
    for (table, there, archived) in [
        ("dag_run", 3, 50),
        ("task_instance", 6, 100),
        ("log_chunk", 9, 150),
        ("output", 3, 50),
        ("dag_run_detail", 3, 50),
    ] {
        assert_eq!(there_and_archived(&mut db, table).await, (there, archived), "{table}");
    }
    assert_eq!(number(&mut db, "select count(*) from pg_class where relname = 'task_instance_2024w32'").await, 0);
    assert_eq!(number(&mut db, "select count(*) from pg_class where relname ~ '^archived__instance_note'").await, 0);
    assert_eq!(cleaned(&mut db, &wish).await, [""; 0], "there is nothing left to do");
    let noted = list_cleanups(&mut db, 100).await.unwrap();
    let moved = noted.iter().find(|row| row.table_name == "dag_run").unwrap();
    assert_eq!((moved.actor.as_str(), moved.how.as_str(), moved.rows), ("ada", "archived", Some(50)));
}

/// Log and progress rows reach the archive along with their runs and, separately, when they are old themselves. Both
/// exports of a table go to the same place.
#[tokio::test]
async fn all_tables_are_archived_at_once_and_the_next_time_too() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", NEXT_MONDAY, 10).await;
    sqlx::raw_sql(
        "update dag_run set state = 'running' where run_id like 'a 3 %';
        insert into progress (run, attempt, lease_no, rows, bytes, after_ms, at)
          select id, id, 1, 1, 1, 1, '2024-08-12' from dag_run",
    )
    .execute(&mut db)
    .await
    .unwrap();
    let all =
        |before: &str| CleanRequest { batch: 7, ..CleanRequest::of(&Table::ALL, at(before), Goes::Archived, "ada") };
    let done = cleaned(&mut db, &all(WEDNESDAY)).await;
    assert!(done.contains(&"log_chunk archived".into()) && done.contains(&"progress archived".into()), "{done:?}");
    assert_eq!(there_and_archived(&mut db, "log_chunk").await, (3, 27), "those of the run that is not over stay");
    sqlx::query("update dag_run set state = 'failed'").execute(&mut db).await.unwrap();
    assert!(cleaned(&mut db, &all(WEDNESDAY)).await.contains(&"dag_run archived".into()));
    assert_eq!(there_and_archived(&mut db, "log_chunk").await, (0, 30));
    assert_eq!(cleaned(&mut db, &all(WEDNESDAY)).await, [""; 0], "and nothing empty is left behind");
    for archived in list_archived(&mut db, &[]).await.unwrap() {
        let rows = sqlx::AssertSqlSafe(format!("select count(*) from {}", archived.name));
        assert!(sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut db).await.unwrap() > 0, "{}", archived.name);
    }
}

/// The age of a log is determined by the last attempt of its run, not by the first.
#[tokio::test]
async fn an_old_run_that_was_cleared_lately_keeps_its_log_and_itself() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 10).await;
    let cleared = "update dag_run set ended_at = now() where id = (select id from dag_run order by id limit 1)";
    sqlx::query(cleared).execute(&mut db).await.unwrap();
    for table in [Table::LogChunk, Table::DagRun] {
        let wish = CleanRequest::of(&[table], at(NEXT_MONDAY), Goes::Dropped, "ada");
        let counted = count_old(&mut db, &wish).await.unwrap();
        assert!(counted.iter().any(|count| [9, 27].contains(&count.rows)), "{counted:?}");
        cleaned(&mut db, &wish).await;
        assert_eq!(there_and_archived(&mut db, "log_chunk").await, (3, 0), "after {table:?}");
    }
    assert_eq!(there_and_archived(&mut db, "dag_run").await, (1, 0));
}

#[tokio::test]
async fn only_some_dags_are_cleaned_and_no_run_that_is_not_over() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 10).await;
    old_runs(&mut db, "b", MONDAY, 10).await;
    let only = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>();
    let of_a = CleanRequest { only: only(&["a"]), ..runs_before(NEXT_MONDAY, Goes::Dropped) };
    assert!(cleaned(&mut db, &of_a).await.contains(&"dag_run deleted".into()));
    assert_eq!(there_and_archived(&mut db, "task_instance").await, (20, 0), "those of b are there");
    let not_b = CleanRequest { except: only(&["b"]), ..runs_before(NEXT_MONDAY, Goes::Dropped) };
    assert_eq!(cleaned(&mut db, &not_b).await, [""; 0]);
    sqlx::query("update dag_run set state = 'running' where run_id like 'b 3 %'").execute(&mut db).await.unwrap();
    cleaned(&mut db, &runs_before(NEXT_MONDAY, Goes::Dropped)).await;
    assert_eq!(there_and_archived(&mut db, "dag_run").await, (1, 0), "one is not over");
    assert_eq!(there_and_archived(&mut db, "task_instance").await, (2, 0));
    sqlx::query("update dag_run set state = 'failed'").execute(&mut db).await.unwrap();
    let done = cleaned(&mut db, &runs_before(NEXT_MONDAY, Goes::Dropped)).await;
    assert!(done.contains(&"task_instance 2024-08-05 dropped".into()), "{done:?}");
}

#[tokio::test]
async fn a_cleaning_that_is_killed_anywhere_goes_on_and_loses_nothing() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 60).await;
    old_runs(&mut db, "a", NEXT_MONDAY, 60).await;
    let wish = CleanRequest { batch: 5, ..runs_before(WEDNESDAY, Goes::Archived) };
    let (mut kills, mut millis) = (0, 1);
    loop {
        let mut own = one(&database).await;
        let mut tell = |_: &Cleaned| {};
        let ended = tokio::time::timeout(Duration::from_millis(millis), clean(&mut own, &wish, &mut tell)).await;
        drop(own);
        // The server may still be executing the last statement of the closed session, so rows are counted only after
        // that session has ended.
        sqlx::query("select pg_advisory_lock($1)").bind(CLEAN_LOCK).execute(&mut db).await.unwrap();
        for (table, all) in [("dag_run", 120), ("task_instance", 240), ("log_chunk", 360), ("output", 120)] {
            let (there, archived) = there_and_archived(&mut db, table).await;
            assert_eq!(there + archived, all, "{table}: {there} there, {archived} archived");
        }
        match ended {
            Ok(Ok(())) => break,
            Ok(Err(error)) => panic!("{error}: {}", error.source_text()),
            Err(_) => (kills, millis) = (kills + 1, millis + 3),
        }
        sqlx::query("select pg_advisory_unlock($1)").bind(CLEAN_LOCK).execute(&mut db).await.unwrap();
    }
    assert!(kills > 3, "only {kills} were killed");
    assert_eq!(there_and_archived(&mut db, "dag_run").await, (0, 120));
}

#[tokio::test]
async fn a_transaction_takes_so_many_rows_and_no_run_in_two() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", NEXT_MONDAY, 60).await;
    // Elements per run: few at first, then 20,000 (two runs fit into a batch), then 60,000 (more than a batch).
    let more = "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
        select r.id, r.id, i, 1, 1, 1, 1, 'success' from (select id, row_number() over (order by id) as n from dag_run) r,
          generate_series(0, case when n between 20 and 24 then 19999 when n = 30 then 59999 else -1 end) i";
    sqlx::query(more).execute(&mut db).await.unwrap();
    let wish = CleanRequest { batch: 1_000, ..runs_before(WEDNESDAY, Goes::Archived) };
    cleaned(&mut db, &wish).await;
    assert_eq!(there_and_archived(&mut db, "task_instance").await, (0, 120 + 5 * 20_000 + 60_000));
    let [archived] = &list_archived(&mut db, &["task_instance".into()]).await.unwrap()[..] else { panic!("one table") };
    // Rows with the same `xmin` were written by the same transaction.
    let text = format!(
        "select array_agg(rows order by first_run) from (select count(*) as rows, min(run::text) as first_run
          from {} group by xmin::text) t",
        archived.name
    );
    let rows: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&mut db).await.unwrap();
    assert_eq!(rows, [40_042, 40_004, 20_012, 60_002, 60], "whole runs, as many as fit");
}

#[tokio::test]
async fn two_do_not_clean_at_once() {
    let database = database().await;
    let (mut db, mut other) = (one(&database).await, one(&database).await);
    sqlx::query("select pg_advisory_lock($1)").bind(CLEAN_LOCK).execute(&mut other).await.unwrap();
    let mut tell = |_: &Cleaned| {};
    let refused = clean(&mut db, &runs_before(WEDNESDAY, Goes::Dropped), &mut tell).await;
    assert!(matches!(refused, Err(StoreError::CleaningElsewhere)), "{refused:?}");
}

#[tokio::test]
async fn rows_with_a_time_of_their_own_go_when_they_may() {
    let database = database().await;
    let (mut db, mut versions) = (one(&database).await, Versions::default());
    register(&mut db, &[chain("d", 1)]).await;
    trigger(&mut db, &mut versions, "d").await;
    sqlx::raw_sql(
        "insert into audit (at, actor, event, dag_id) select '2024-08-05', 'ada', 'x', d from unnest(array['d', 'e', null]) d;
        insert into asset_event (uri, at, distributed, source_dag_id) values ('a', '2024-08-05', true, 'd'), ('a', '2024-08-05', false, 'd');
        insert into alert (key, kind, notifier, facts, at) values ('k', 'test', '{}', '{}', '2024-08-05')",
    )
    .execute(&mut db)
    .await
    .unwrap();
    let tables = [Table::Audit, Table::AssetEvent, Table::Alert];
    let except = vec!["e".to_owned()];
    let wish = CleanRequest { batch: 1, except, ..CleanRequest::of(&tables, at(WEDNESDAY), Goes::Archived, "ada") };
    assert_eq!(cleaned(&mut db, &wish).await, ["audit archived", "asset_event archived"]);
    assert_eq!(there_and_archived(&mut db, "audit").await, (1, 2), "that of `e` stays");
    assert_eq!(there_and_archived(&mut db, "asset_event").await, (1, 1), "what nobody was told of yet stays");
    assert_eq!(there_and_archived(&mut db, "alert").await, (1, 0), "what is to be sent stays");
}

#[tokio::test]
async fn what_is_archived_is_exported_with_a_manifest_and_then_dropped() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 20).await;
    cleaned(&mut db, &runs_before(NEXT_MONDAY, Goes::Archived)).await;
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::at(home.path());
    let archived = list_archived(&mut db, &["task_instance".into()]).await.unwrap();
    let [of_tasks] = &archived[..] else { panic!("{archived:?}") };
    assert_eq!(of_tasks.of, "task_instance");
    let exported = export(&mut db, &of_tasks.name, &folder, "tables").await.unwrap();
    assert_eq!((exported.rows, exported.parts), (40, 1));
    let read = |name: &str| std::fs::read(home.path().join(&exported.folder).join(name)).unwrap();
    let manifest: Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let part = &manifest["parts"][0];
    let packed = read(part["name"].as_str().unwrap());
    assert_eq!((&manifest["rows"], &part["rows"]), (&40.into(), &40.into()));
    let sum = Sha256::digest(&packed).iter().fold(String::new(), |sum, byte| format!("{sum}{byte:02x}"));
    assert_eq!(part["sha256"], sum.as_str());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&packed[..]), &mut text).unwrap();
    assert_eq!(text.lines().count(), 41, "a line of names, and one for each row");
    assert!(text.starts_with("run,attempt,map_index,"), "{text}");
    drop_archived(&mut db, "ada", of_tasks).await.unwrap();
    assert_eq!(list_archived(&mut db, &["task_instance".into()]).await.unwrap(), []);
}
