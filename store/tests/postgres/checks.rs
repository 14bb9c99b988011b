//! What contracts found and how far tries are: kept, read, and gone with the runs of their time.

use crate::fixture::{database, number, one};
use orch_core::asset::{CheckOutcome, CheckPolicy, CheckResult, MAX_SAMPLE_CHARS};
use orch_core::task::Ctx;
use orch_store::asset::{CheckTrail, checks_of_asset, count_checks, keep_checks};
use orch_store::partition::{Retention, drop_old};
use orch_store::progress::{self, NewProgress, Progress};
use sqlx::Connection;
use uuid::Uuid;

fn result(name: &str, bad: u64) -> CheckResult {
    CheckResult {
        name: name.into(),
        kind: "unique".into(),
        policy: CheckPolicy::Warn,
        outcome: if bad == 0 { CheckOutcome::Pass } else { CheckOutcome::Warn },
        rows: 10,
        bad,
        sample: "x\0".repeat(if bad == 0 { 0 } else { 2 * MAX_SAMPLE_CHARS }),
    }
}

#[tokio::test]
async fn checks_are_written_by_the_role_of_steps_which_reads_nothing() {
    let database = database().await;
    let mut db = one(&database).await;
    let trail = CheckTrail::new(&Ctx::test(), "lake://a", vec![result("one", 0), result("two", 3)]);
    let mut tx = db.begin().await.unwrap();
    sqlx::query("set local role orch_lake").execute(&mut *tx).await.unwrap();
    keep_checks(&mut tx, &trail).await.unwrap();
    for table in ["asset_check", "dag_run", "connection", "api_user"] {
        let mut inner = tx.begin().await.unwrap();
        let read = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let refused = sqlx::query(read).execute(&mut *inner).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{table}: {refused}");
    }
    tx.commit().await.unwrap();
    let all = checks_of_asset(&mut db, "lake://a", None, (0, 10)).await.unwrap();
    let names: Vec<_> = all.iter().map(|row| (row.result.name.as_str(), row.result.bad, row.try_no)).collect();
    assert_eq!(names, [("two", 3, 1), ("one", 0, 1)], "newest first");
    assert_eq!(all[0].result.sample, "x".repeat(MAX_SAMPLE_CHARS), "a long sample is cut");
    assert_eq!(count_checks(&mut db, "lake://a", Some(CheckOutcome::Warn)).await.unwrap(), 1);
    assert_eq!(count_checks(&mut db, "lake://b", None).await.unwrap(), 0);
}

#[tokio::test]
async fn the_last_word_of_a_try_is_that_of_its_last_lease() {
    let database = database().await;
    let mut db = one(&database).await;
    let (run, attempt) = (Uuid::now_v7(), Uuid::now_v7());
    let say = |lease_no, rows| {
        let said = Progress { rows, bytes: 10 * rows, after_ms: 1_000 };
        NewProgress { run, attempt, lease_no, said }
    };
    for (lease_no, rows) in [(1, 100), (1, 200), (2, 50), (1, 300)] {
        progress::keep(&mut db, &[say(lease_no, rows)]).await.unwrap();
    }
    let last = progress::of_try(&mut db, run, attempt).await.unwrap();
    assert_eq!(last, Some(Progress { rows: 50, bytes: 500, after_ms: 1_000 }), "a lost worker speaks too late");
    assert_eq!(progress::of_try(&mut db, run, run).await.unwrap(), None);
}

#[tokio::test]
async fn they_go_with_the_runs_of_their_time() {
    let database = database().await;
    let mut db = one(&database).await;
    for age in ["1 day", "100 days"] {
        keep_checks(&mut db, &CheckTrail::new(&Ctx::test(), "lake://a", vec![result("one", 0)])).await.unwrap();
        let said = Progress { rows: 1, bytes: 1, after_ms: 1 };
        let new = NewProgress { run: Uuid::now_v7(), attempt: Uuid::now_v7(), lease_no: 1, said };
        progress::keep(&mut db, &[new]).await.unwrap();
        for table in ["asset_check", "progress"] {
            let older = format!("update {table} set at = now() - $1::interval where at > now() - interval '1 minute'");
            sqlx::query(sqlx::AssertSqlSafe(older)).bind(age.to_owned()).execute(&mut db).await.unwrap();
        }
    }
    drop_old(&mut db, &Retention::default()).await.unwrap();
    assert_eq!(number(&mut db, "select count(*) from asset_check").await, 1);
    assert_eq!(number(&mut db, "select count(*) from progress").await, 1);
}
