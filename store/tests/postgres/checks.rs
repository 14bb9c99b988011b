//! Results of data contracts and progress of attempts: storing, reading, and deletion together with their runs.

use crate::fixture::{database, number, one};
use orch_sdk::task::{Ctx, MemoryHost, RunFacts, TryFacts};
use orch_spec::asset::{CheckOutcome, CheckPolicy, CheckResult, MAX_SAMPLE_CHARS};
use orch_store::asset::{
    CHECKS, CheckTrail, QualitySummary, check_by, findings_since, keep_checks, looks_at, newest_findings, outcomes_at,
    watched_assets,
};
use orch_store::clean::retire;
use orch_store::list::Search;
use orch_store::partition::Retention;
use orch_store::progress::{self, NewProgress, Progress};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
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
    let of = |uri: &str| Search::default().and(check_by::URI.is(uri));
    let all = CHECKS.rows(&mut db, &of("lake://a")).await.unwrap();
    let names: Vec<_> = all.iter().map(|row| (row.result.name.as_str(), row.result.bad, row.try_no)).collect();
    assert_eq!(names, [("two", 3, 1), ("one", 0, 1)], "newest first");
    assert_eq!(all[0].result.sample, "x".repeat(MAX_SAMPLE_CHARS), "a long sample is cut");
    let warned = of("lake://a").and(check_by::OUTCOME.is(CheckOutcome::Warn.as_str()));
    assert_eq!(CHECKS.count(&mut db, &warned).await.unwrap(), 1);
    assert_eq!(CHECKS.count(&mut db, &of("lake://b")).await.unwrap(), 0);
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
    retire(&mut db, &Retention::default()).await.unwrap();
    assert_eq!(number(&mut db, "select count(*) from asset_check").await, 1);
    assert_eq!(number(&mut db, "select count(*) from progress").await, 1);
}

/// Stores results of 40 assets with 100 runs of 25 checks each. Every run except the newest has a warning.
async fn much_was_checked(db: &mut PgConnection) {
    let fill = "insert into asset_check (uri, name, kind, policy, outcome, rows, bad, run, dag_id, run_id, task_id,
            map_index, try_no, attempt)
        select uri, 'check ' || number, 'range', 'warn', case when number = 7 and look < 100 then 'warn' else 'pass' end,
            10, 0, gen_random_uuid(), 'd', 'r' || look, 't', -1, 1, md5(uri || look)::uuid
        from generate_series(1, 100) look, generate_series(1, 40) asset, generate_series(1, 25) number,
            lateral (select format('lake://ns/t%s', asset)) named (uri)
        order by look, asset, number";
    // Inserting 100,000 rows exceeded the statement timeout of 5 seconds on a busy machine.
    sqlx::query("set statement_timeout = '60s'").execute(&mut *db).await.expect("a setting of the session");
    sqlx::query(fill).execute(&mut *db).await.expect("rows as a contract keeps them");
    sqlx::query("analyze asset_check").execute(&mut *db).await.expect("the planner learns of them");
}

fn of_each(looks: &[QualitySummary], most: usize) -> Vec<QualitySummary> {
    looks.chunk_by(|one, next| one.uri == next.uri).flat_map(|of_asset| &of_asset[..most]).cloned().collect()
}

#[tokio::test]
async fn how_good_data_is_is_read_along_indexes_and_the_newest_look_counts() {
    let database = database().await;
    let mut db = one(&database).await;
    much_was_checked(&mut db).await;
    for (text, parameters) in [
        (include_str!("../../queries/asset/watched.sql"), "500"),
        (include_str!("../../queries/asset/looks.sql"), "array['lake://ns/t1', 'lake://ns/t2'], 600, 30"),
        (include_str!("../../queries/asset/outcomes.sql"), "array['lake://ns/t1', 'lake://ns/t2'], 600, 30"),
        (include_str!("../../queries/asset/findings.sql"), "array['lake://ns/t1', 'lake://ns/t2'], 1000"),
    ] {
        let types = match parameters.matches(',').count() {
            0 => "bigint",
            2 => "text[], bigint",
            _ => "text[], bigint, bigint",
        };
        sqlx::raw_sql(AssertSqlSafe(format!("prepare q ({types}) as {text}"))).execute(&mut db).await.unwrap();
        let explain = AssertSqlSafe(format!("explain execute q({parameters})"));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut db).await.unwrap();
        assert!(!plan.iter().any(|line| line.contains("Seq Scan on asset_check")), "{plan:#?}");
        sqlx::raw_sql("deallocate q").execute(&mut db).await.unwrap();
    }
    let watched = watched_assets(&mut db, 500).await.unwrap();
    assert_eq!(watched.len(), 40);
    assert_eq!(watched_assets(&mut db, 7).await.unwrap().len(), 7);
    let uris: Vec<String> = watched.into_iter().map(|asset| asset.uri).collect();
    let looks = looks_at(&mut db, &uris, 250, 250).await.unwrap();
    assert_eq!(looks.len(), 400);
    assert_eq!(looks_at(&mut db, &uris, 250, 3).await.unwrap(), of_each(&looks, 3));
    let outcomes = outcomes_at(&mut db, &uris, 250, 3).await.unwrap();
    for of_asset in of_each(&looks, 3).chunk_by(|one, next| one.uri == next.uri) {
        let told: Vec<_> = of_asset.iter().map(QualitySummary::outcome).collect();
        assert_eq!(outcomes[&of_asset[0].uri], told);
    }
    assert_eq!((looks[0].run_id.as_str(), looks[0].outcome()), ("r100", CheckOutcome::Pass));
    assert_eq!((looks[1].run_id.as_str(), looks[1].outcome(), looks[1].checks), ("r99", CheckOutcome::Warn, 25));
    assert_eq!(newest_findings(&mut db, &uris).await.unwrap(), []);
    let attempt = Uuid::now_v7();
    let ctx = MemoryHost::new().ctx_for(RunFacts::test(), TryFacts { attempt, ..TryFacts::test() });
    let trail = CheckTrail::new(&ctx, "lake://ns/t3", vec![result("one", 3), result("two", 0)]);
    keep_checks(&mut db, &trail).await.unwrap();
    let found = newest_findings(&mut db, &uris).await.unwrap();
    assert_eq!(
        found.iter().map(|one| (one.uri.as_str(), one.check.result.bad)).collect::<Vec<_>>(),
        [("lake://ns/t3", 3)]
    );
    let since = found[0].check.at;
    assert_eq!(findings_since(&mut db, since).await.unwrap(), found);
}
