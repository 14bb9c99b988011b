//! The audit log is append-only: Postgres rejects every deletion outside of `clean_audit`.

use crate::fixture::{database, number, one};
use orch_store::audit::{Deed, record};
use orch_store::clean::{CleanRequest, Goes, Table, clean};
use sqlx::PgConnection;

const ROWS: &str = "select count(*) from audit";

/// Adds one row of today and two old rows.
async fn fill(db: &mut PgConnection) {
    record(db, &Deed { actor: "ada", event: "pause_dag", dag_id: Some("d"), ..Deed::default() })
        .await
        .expect("it is added");
    let old = "insert into audit (at, actor, event) select '2024-08-05', 'ada', 'x' from generate_series(1, 2)";
    sqlx::query(old).execute(&mut *db).await.expect("it is added");
}

#[tokio::test]
async fn a_row_of_the_audit_log_is_neither_changed_nor_deleted() {
    let database = database().await;
    let mut db = one(&database).await;
    fill(&mut db).await;
    for statement in [
        "update audit set actor = 'bob'",
        "update audit set extra = null where at < '2025-01-01'",
        "delete from audit",
        "delete from audit where at < '2025-01-01'",
        "truncate audit",
        "truncate audit restart identity cascade",
        "insert into audit (id, actor, event) overriding system value select id, 'bob', 'x' from audit
            on conflict (id) do update set actor = excluded.actor",
        "with gone as (delete from audit returning *) select count(*) from gone",
    ] {
        let error = sqlx::query(statement).execute(&mut db).await.expect_err(statement);
        let error = error.as_database_error().expect("the server says it");
        assert_eq!(error.code().as_deref(), Some("OR002"), "{statement}: {error}");
    }
    assert_eq!(number(&mut db, "select count(*) from audit where actor = 'ada'").await, 3);
    // `clean_audit` permits deletions only inside itself, not for later statements of the same transaction.
    let mut tx = sqlx::Connection::begin(&mut db).await.unwrap();
    let gone = "select count(*) from clean_audit('2025-01-01', 1, '{}', '{}')";
    assert_eq!(number(&mut tx, gone).await, 1);
    sqlx::query("delete from audit").execute(&mut *tx).await.expect_err("it is closed again");
    tx.rollback().await.unwrap();
    assert_eq!(number(&mut db, ROWS).await, 3);
}

#[tokio::test]
async fn old_rows_of_the_audit_log_go_by_retention() {
    for (goes, how) in [(Goes::Dropped, "deleted"), (Goes::Archived, "archived")] {
        let database = database().await;
        let mut db = one(&database).await;
        fill(&mut db).await;
        let before = "2025-01-01T00:00:00Z".parse().unwrap();
        let wish = CleanRequest { batch: 1, ..CleanRequest::of(&[Table::Audit], before, goes, "scheduler") };
        let mut done = Vec::new();
        clean(&mut db, &wish, &mut |cleaned| done.push((cleaned.how, cleaned.rows))).await.unwrap();
        assert_eq!(done, [(how, Some(2))]);
        assert_eq!(number(&mut db, ROWS).await, 1);
    }
}
