//! The number of series of `/metrics` depends on processes and pools, and never on DAGs or runs.

use crate::fixture::Web;

/// The statements copy a row that the server created.
const DAGS: &str = "insert into dag select made.* from dag d, generate_series(1, 2000) n,
    lateral jsonb_populate_record(null::dag, to_jsonb(d) || jsonb_build_object('dag_id', 'bounded_' || n)) made
    where d.dag_id = 'chain'";
/// Every second run has failed.
const RUNS: &str = "insert into dag_run select made.* from dag_run r, dag d,
    lateral jsonb_populate_record(null::dag_run, to_jsonb(r) || jsonb_build_object('dag_id', d.dag_id,
      'id', left(r.id::text, 24) || left(md5(d.dag_id), 12),
      'state', case when right(d.dag_id, 1)::integer % 2 = 0 then 'failed' else 'running' end)) made
    where r.dag_id = 'chain' and d.dag_id like 'bounded\\_%'";
const POOLS: &str = "insert into pool (name, slots) select 'pool_' || n, 1 from generate_series(1, 1500) n";
const PROCESSES: &str =
    "insert into process (role, hostname, pid) select 'web', 'host_' || n, n from generate_series(1, 1500) n";

async fn series(web: &Web) -> Vec<String> {
    let text = web.get("/metrics").await.body;
    let lines = text.as_str().expect("it is text").lines();
    lines.filter(|line| !line.starts_with('#')).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn two_thousand_dags_add_no_series() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let before = series(&web).await;
    let mut db = web.db().await;
    for (copies, expected) in [(DAGS, 2_000), (RUNS, 2_000)] {
        let made = sqlx::query(copies).execute(&mut db).await.unwrap();
        assert_eq!(made.rows_affected(), expected, "{copies}");
    }
    let after = series(&web).await;
    for line in ["orch_dags 2004", "orch_dags_failing 1000"] {
        assert!(after.iter().any(|found| found == line), "{line}: {after:?}");
    }
    let names = |series: &[String]| -> Vec<String> {
        series.iter().map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
    };
    assert_eq!(names(&after), names(&before));
    assert!(!after.iter().any(|line| ["bounded_", "chain", &run].iter().any(|id| line.contains(id))), "{after:?}");
}

#[tokio::test]
async fn a_thousand_of_each_thing_have_series_and_no_more() {
    let web = Web::new().await;
    let mut db = web.db().await;
    for copies in [POOLS, PROCESSES] {
        sqlx::query(copies).execute(&mut db).await.unwrap();
    }
    let series = series(&web).await;
    let of = |name: &str| series.iter().filter(|line| line.starts_with(&format!("{name}{{"))).count();
    assert_eq!(of("orch_pool_slots"), 1_000);
    assert!((1..=1_000).contains(&of("orch_process_memory_bytes")), "{}", of("orch_process_memory_bytes"));
    assert!(series.len() <= 7_000, "{}", series.len());
}

#[tokio::test]
async fn the_age_of_the_oldest_open_transaction_is_a_metric() {
    let web = Web::new().await;
    let mut db = web.db().await;
    sqlx::raw_sql("begin; select 1").execute(&mut db).await.unwrap();
    let series = series(&web).await;
    let age = series.iter().find_map(|line| line.strip_prefix("orch_database_oldest_transaction_seconds "));
    assert!(age.expect("it is a series").parse::<f64>().unwrap() > 0.0, "{age:?}");
}
