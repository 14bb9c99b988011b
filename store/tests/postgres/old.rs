//! Inserts rows as if runs had finished long ago.

use crate::fixture::{chain, register};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

/// Start of week 32 of 2024. Cleaning up to the Wednesday of week 33 removes week 32 completely and week 33 partly.
pub(crate) const MONDAY: &str = "2024-08-05T00:00:00Z";
pub(crate) const NEXT_MONDAY: &str = "2024-08-12T00:00:00Z";

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

/// Inserts successful runs of a DAG with two tasks, one minute apart, with rows in every table.
pub(crate) async fn old_runs(db: &mut PgConnection, dag_id: &str, from: &str, many: i32) {
    register(db, &[chain(dag_id, 2)]).await;
    sqlx::query("select make_partitions($1)").bind(at(from)).execute(&mut *db).await.expect("partitions");
    sqlx::query(
        "insert into dag_run (id, version, ledger_format, state, run_type, ledger, counters, dag_id, run_id, run_after,
          created_at, started_at, ended_at, triggered_by)
        select (substr(uuid_of_moment(at)::text, 1, 14) || '7000-8000-' || lpad(to_hex(abs(hashtext($1::text))), 12, '0'))::uuid,
          d.version, 1, 'success', 'manual', '{5,5}', '{}', $1::text, $1::text || ' ' || n || ' ' || $2::timestamptz, at, at, at, at, 'test'
        from dag d, generate_series(1, $3::integer) n, lateral (select $2::timestamptz + n * interval '1 minute' as at) m
        where d.dag_id = $1::text",
    )
    .bind(dag_id)
    .bind(at(from))
    .bind(many)
    .execute(&mut *db)
    .await
    .expect("runs");
    for text in [
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
          select id, id, -1, task, 1, 1, 1, 'success' from dag_run, generate_series(0, 1) task where dag_id = $1
          on conflict do nothing",
        "insert into log_chunk (run, attempt, lease_no, seq, lines, body)
          select id, id, 1, seq, 1, '{\"event\":\"line ' || seq || ' of ' || run_id || '\"}' from dag_run, generate_series(0, 2) seq
          where dag_id = $1 on conflict do nothing",
        "insert into output (run, task, map_index, key, value)
          select id, 0, -1, 'return_value', '42' from dag_run where dag_id = $1 on conflict do nothing",
        "insert into dag_run_detail (run, note) select id, 'a note' from dag_run where dag_id = $1 on conflict do nothing",
    ] {
        sqlx::query(text).bind(dag_id).execute(&mut *db).await.expect("rows of runs");
    }
}

pub(crate) async fn there_and_archived(db: &mut PgConnection, table: &str) -> (i64, i64) {
    let count = async |db: &mut PgConnection, table: &str| -> i64 {
        let text = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(text).fetch_one(db).await.expect("a number")
    };
    let mut archived = 0;
    for found in orch_store::clean::list_archived(db, &[table.to_owned()]).await.expect("a list") {
        archived += count(db, &found.name).await;
    }
    (count(db, table).await, archived)
}
