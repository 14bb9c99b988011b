//! The DAG of `README.md`.

use orch::prelude::*;

/// Lists the files of a day.
#[task(retries = 3, retry_delay = secs(30))]
async fn list_files(ctx: Ctx) -> TaskResult<Vec<String>> {
    ctx.info("looking");
    Ok(vec!["orders.csv".into(), "customers.csv".into()])
}

#[task(timeout = mins(10))]
async fn count_rows(file: String) -> TaskResult<u64> {
    Ok(file.len() as u64)
}

#[task]
async fn report(rows: Vec<u64>) -> TaskResult<String> {
    Ok(format!("{} rows", rows.iter().sum::<u64>()))
}

fn sales() -> Dag {
    dag("sales").schedule(cron("0 2 * * *").tz("Europe/Berlin")).start("2025-01-01").build(|d| {
        let files = d.add(list_files());
        let rows = d.map(files, count_rows); // once for each file, however many there are
        d.add(report(rows));
    })
}

#[tokio::test]
async fn the_dag_of_the_readme_runs_as_printed() {
    let dag = sales();
    let run = dag.test().run().await;
    let files = ["orders.csv", "customers.csv"].map(String::from).to_vec();
    assert_eq!(run.output::<Vec<String>>("list_files"), Some(files));
    assert_eq!(run.output::<Vec<u64>>("count_rows"), Some(vec![10, 13]));
    assert_eq!(run.output::<String>("report").as_deref(), Some("23 rows"));
    assert_eq!(run.outcome(), orch::RunState::Success, "{:?}", run.errors);
}
