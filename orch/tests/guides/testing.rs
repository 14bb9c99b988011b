//! The code of `docs/guides/testing.md`.

use orch::prelude::*;
use orch::{Connection, MemoryHost, RunState, TaskError, TaskState};

#[task]
async fn list_files() -> TaskResult<Vec<String>> {
    Ok(vec!["monday.csv".into(), "draft.csv".into()])
}

#[task(retries = 2, retry_delay = mins(1))]
async fn count_orders(ctx: Ctx, file: String) -> TaskResult<u64> {
    if file == ctx.variable("ignored_file").await? {
        return Err(skip("this file is not read"));
    }
    ctx.info(format!("reads {file}"));
    Ok(file.len() as u64)
}

#[task(trigger_rule = AllDone)]
async fn total(counts: Vec<Option<u64>>) -> TaskResult<u64> {
    Ok(counts.iter().flatten().sum())
}

fn orders() -> Dag {
    dag("orders").build(|d| {
        let there = d.add(wait_for("there", wait::file("/in/orders.csv").timeout(hours(1))));
        let files = d.add(list_files().after(there));
        d.add(total(d.map(files, count_orders)));
    })
}

#[tokio::test]
async fn a_task_is_called_with_what_it_finds() {
    let host = MemoryHost::new().with_variable("ignored_file", "draft.csv");
    assert_eq!(count_orders("monday.csv").run_alone(host.ctx()).await, Ok(10));
    assert_eq!(host.logs()[0].message, "reads monday.csv");

    let skipped = count_orders("draft.csv").run_alone(host.ctx()).await;
    assert_eq!(skipped, Err(TaskError::skipped("this file is not read")));
}

#[task]
async fn server_of_the_shop(ctx: Ctx) -> TaskResult<String> {
    ctx.connection("shop").await?.host.context("the shop has no host")
}

#[tokio::test]
async fn a_task_finds_the_connections_of_its_test() {
    let shop = Connection::from_uri("shop", "postgres://reader:secret@db.example.com/shop");
    let host = MemoryHost::new().with_connection(shop.expect("the URI is right"));
    let server = server_of_the_shop().run_alone(host.ctx()).await;
    assert_eq!(server, Ok("db.example.com".to_string()));
}

#[tokio::test]
async fn a_dag_runs_in_memory() {
    let host = MemoryHost::new().with_variable("ignored_file", "draft.csv");
    let dag = orders();
    let run = dag.test().host(&host).run().await;
    assert_eq!(run.output::<Vec<Option<u64>>>("count_orders"), Some(vec![Some(10), None]));
    assert_eq!(run.output::<u64>("total"), Some(10));
    assert_eq!(run.outcome(), RunState::Success);
}

#[tokio::test]
async fn tasks_are_replaced_and_fail_as_scripted() {
    let host = MemoryHost::new().with_variable("ignored_file", "draft.csv");
    let dag = orders();
    let run = dag.test().with("list_files", ["a", "b", "c"]).with("count_orders", 7).run().await;
    assert_eq!(run.output::<u64>("total"), Some(21));

    let run = dag.test().host(&host).fail_first("count_orders", 1).run().await;
    assert_eq!((run.tries("count_orders"), run.took()), (2, mins(1)));

    let run = dag.test().times_out("there").run().await;
    assert_eq!(run.state("list_files"), TaskState::UpstreamFailed);
    assert_eq!(run.errors, ["there: what it waited for was not there in time"]);
}

#[tokio::test]
async fn a_dag_file_is_tested_in_the_same_way() {
    let text = "dag_id: hello\ntasks:\n  greet: {bash: echo hello}\n";
    let dags = orch::dags_of_file("hello.yaml", "", text.as_bytes()).expect("the file is right");
    let run = dags[0].test().run().await;
    assert_eq!(run.output::<String>("greet").as_deref(), Some("hello"));
}
