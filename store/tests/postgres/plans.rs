//! Hot SQL statements have good query plans on tables that are empty, filled without statistics, and analyzed.

use crate::fixture::{Hands, dag, database, hot, one, register, trigger};
use orch_store::leaf::Leaf;
use orch_store::step::text_variants;
use orch_store::version::Versions;
use orch_test_support::TestDb;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// Tables whose size grows with the number of runs.
const GROWING: [&str; 13] = [
    "alert",
    "alert_part",
    "task_instance",
    "dag_run",
    "ready",
    "unfolded",
    "waiting",
    "held",
    "output",
    "attempt",
    "asset",
    "asset_event",
    "lineage",
];

#[tokio::test]
async fn hot_statements_never_scan_a_growing_table() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust" }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let run = trigger(&mut db, &mut Versions::default(), "d").await.id;
    let leaf = Leaf::of(run);
    // Use a single session for the whole test, as a worker does. Its plans are cached while the tables are empty.
    let mut old = hot(&database).await;
    prepare(&mut old, leaf).await;
    check(&mut old, "on empty tables").await;
    fill(&mut db, version).await;
    check(&mut old, "planned on empty tables, run on full ones").await;
    let mut fresh = hot(&database).await;
    prepare(&mut fresh, leaf).await;
    check(&mut fresh, "on full tables that nobody analysed").await;
    sqlx::query("analyze").execute(&mut db).await.unwrap();
    check(&mut old, "on full tables").await;
    time_a_step(&database, version).await;
}

/// Inserts queued runs of one DAG, and many other runs with a long history.
const QUEUED: &str =
    "insert into dag_run (id, version, ledger_format, state, run_type, ledger, counters, dag_id, run_id,
      run_after, triggered_by)
    select overlay(uuid_of_moment(now())::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, $1, 1,
      case when n % 2 = 0 then 'queued' else 'success' end::run_state, 'manual', '{5}', '{1024,0,0}', 'd', 'many_' || n,
      now() - interval '1 minute', 'test' from generate_series(1, 40000) n";
/// Maximum number of database pages that starting runs may read, including indexes and the catalog. The table of runs
/// has over 3,000 pages.
const MOST_PAGES: i64 = 1_000;

#[tokio::test]
async fn queued_runs_begin_and_are_looked_for_without_reading_those_that_wait() {
    let database = database().await;
    let mut db = one(&database).await;
    let spec = dag(json!({ "dag_id": "d", "tasks": [{ "task_id": "a", "kind": "rust" }] }));
    let version = register(&mut db, &[spec]).await[0].version_id;
    let mut sessions = [hot(&database).await, one(&database).await];
    let names = without_marks(include_str!("../../queries/run/queued.sql"));
    let texts = [
        ("queued (text, bigint, bigint)", names.as_str(), "queued('d', 16, 256)"),
        ("room", "select * from dags_with_room()", "room"),
        ("active (text, integer)", "select active_runs($1, $2)", "active('d', 16)"),
    ];
    for session in &mut sessions {
        for (name, text, _) in texts {
            sqlx::raw_sql(AssertSqlSafe(format!("prepare {name} as {text}"))).execute(&mut *session).await.unwrap();
        }
    }
    sqlx::query(QUEUED).bind(version).execute(&mut db).await.unwrap();
    for when in ["that nobody analysed", "that were analysed"] {
        for session in &mut sessions {
            for (_, text, call) in texts {
                let explain = format!("explain (analyze, buffers, format json) execute {call}");
                let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut *session).await.unwrap();
                let top = &plan[0]["Plan"];
                let pages = ["Shared Hit Blocks", "Shared Read Blocks"].map(|kind| top[kind].as_i64().unwrap_or(0));
                assert!(pages.iter().sum::<i64>() < MOST_PAGES, "of runs {when}: {pages:?}\n{text}\n{plan:#}");
            }
        }
        sqlx::query("analyze dag_run").execute(&mut db).await.unwrap();
    }
}

/// Removes markers of the sqlx macros (`as "name!"`), which Postgres does not accept.
fn without_marks(text: &str) -> String {
    text.replace(['!', '?'], "")
}

async fn prepare(db: &mut PgConnection, leaf: Leaf) {
    for (i, text) in variants(leaf).into_iter().enumerate() {
        sqlx::raw_sql(AssertSqlSafe(format!("prepare step_{i} (integer) as {text}")))
            .execute(&mut *db)
            .await
            .expect("it prepares");
    }
}

/// Returns the SQL text for a single weekly partition, and the text for a batch of runs from several weeks.
fn variants(leaf: Leaf) -> Vec<String> {
    text_variants(Some(leaf)).into_iter().chain(text_variants(None)).collect()
}

async fn check(db: &mut PgConnection, when: &str) {
    for (i, text) in variants(Leaf::of(Uuid::now_v7())).iter().enumerate() {
        let parameters = 1 + (2..100).take_while(|n| text.contains(&format!("${n}::"))).count();
        let nulls = vec!["null"; parameters].join(", ");
        let explain = format!("explain (format json) execute step_{i}({nulls})");
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut *db).await.expect("a plan");
        let wrong = wrong_in(&plan[0]["Plan"]);
        assert!(wrong.is_empty(), "{when}: {wrong:?}\n{text}\n{plan:#}");
    }
}

/// Returns the bad parts of a plan: sequential scans of growing tables, and nested loops over two parameter lists,
/// which take quadratic time.
fn wrong_in(plan: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let node = plan["Node Type"].as_str().unwrap_or_default();
    let table = plan["Relation Name"].as_str().unwrap_or_default();
    if node == "Seq Scan" && GROWING.iter().any(|t| table == *t || table.starts_with(&format!("{t}_2"))) {
        wrong.push(format!("Seq Scan on {table}"));
    }
    let children = plan["Plans"].as_array().cloned().unwrap_or_default();
    let joined = children.iter().filter(|c| ["Outer", "Inner"].iter().any(|side| c["Parent Relationship"] == *side));
    if node == "Nested Loop" && joined.filter(|c| c["Node Type"] == "CTE Scan").count() == 2 {
        wrong.push("Nested Loop over two CTEs".into());
    }
    wrong.extend(children.iter().flat_map(wrong_in));
    wrong
}

/// Inserts the rows of a busy day. All of them are in the same week.
async fn fill(db: &mut PgConnection, version: i32) {
    for sql in [
        "insert into dag_run (id, version, ledger_format, state, run_type, ledger, counters, dag_id, run_id, run_after,
            triggered_by)
        select overlay(uuid_of_moment(now())::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, $1, 1,
          case when n % 10 = 0 then 'running' else 'success' end::run_state, 'manual', '{5}', '{1024,0,0}', 'd',
          'filled_' || n, now(), 'test' from generate_series(1, 2000) n",
        "insert into task_instance (run, task, map_index, attempt, try_no, max_tries, lease_no, state)
        select r.id, t, -1, gen_random_uuid(), 1, 0, 1, 'success' from dag_run r, generate_series(0, 19) t
        where r.run_id like 'filled%' and $1 > 0",
        "insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no)
        select r.id, 0, n, gen_random_uuid(), $1, 1, 1, 1, 0, 1, 0 from dag_run r, generate_series(1, 10) n
        where r.run_id like 'filled%'",
        "insert into held (run, task, map_index, attempt, version, queue, priority, max_tries)
        select r.id, 0, n, gen_random_uuid(), $1, 1, 1, 0 from dag_run r, generate_series(1, 5) n where r.run_id like 'filled%'",
        "insert into unfolded (run, task, map_index, state)
        select r.id, 0, n, 5 from dag_run r, generate_series(1, 5) n where r.run_id like 'filled%' and $1 > 0",
    ] {
        sqlx::query(sql).bind(version).execute(&mut *db).await.expect("rows");
    }
}

/// Checks that a claim is fast in a large table, because it finds its rows by index.
async fn time_a_step(database: &TestDb, version: i32) {
    let mut hands = Hands::new(database, &[version], Duration::from_mins(1)).await;
    assert_eq!(hands.claim(100).await.len(), 100);
}
