//! Operator fields that are outputs of other tasks: the edges that they add, and the values that operators receive.

use orch::prelude::*;
use orch::{Database, MemoryHost, PythonOutput, Rows, RunState, Statement, TaskState};
use serde_json::Value;

/// A database that returns the params of a statement.
#[derive(Debug, Clone, Copy)]
struct Echo;

type EchoStatement = Statement<Echo>;

impl Database for Echo {
    const KIND: &'static str = "echo";

    async fn ask(statement: &Statement<Self>, _: &Ctx) -> TaskResult<Rows> {
        let row = json!({ "params": statement.params });
        Ok(Rows { columns: vec!["params".into()], rows: vec![row], more: false, affected: 1 })
    }
}

#[task]
async fn count() -> TaskResult<u64> {
    Ok(3)
}

#[task]
async fn day() -> TaskResult<String> {
    Ok("mon".into())
}

#[task]
async fn length(word: String) -> TaskResult<usize> {
    Ok(word.len())
}

#[task]
async fn conf(rows: u64) -> TaskResult<Value> {
    Ok(json!({ "rows": rows }))
}

/// Returns the inputs of a task as stored.
fn inputs(dag: &Dag, task: usize) -> Value {
    serde_json::to_value(&dag.tasks()[task].inputs).expect("inputs are JSON")
}

fn params(rows: Option<Rows>) -> Value {
    rows.expect("the task succeeded").rows[0]["params"].clone()
}

#[tokio::test]
async fn a_param_of_a_statement_is_the_output_of_another_task() {
    let dag = dag("load").build(|d| {
        let counted = d.add(count());
        let statement = EchoStatement::new("db", "select $1, $2, $3").param("mon").param(counted).param(7);
        d.add(statement.most_rows(5).call().retries(1));
    });
    let echo = &dag.tasks()[1];
    assert_eq!(echo.upstreams(), ["count"], "the edge is added");
    assert_eq!((&echo.config["params"], &echo.config["most_rows"]), (&json!(["mon", null, 7]), &json!(5)));
    assert_eq!(inputs(&dag, 1), json!([{ "name": "params/1", "type": "u64", "source": { "output": "count" } }]));
    let run = dag.test().run().await;
    assert_eq!(params(run.output("echo")), json!(["mon", 3, 7]));
    let run = dag.test().with("count", 40).run().await;
    assert_eq!(params(run.output("echo")), json!(["mon", 40, 7]));
    let run = dag.test().fail("count").run().await;
    assert_eq!(run.state("echo"), TaskState::UpstreamFailed);
}

#[tokio::test]
async fn elements_lists_and_params_of_the_run_are_params_of_a_statement() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Load {
        limit: u32,
    }
    let dag = dag("maps").build(|d| {
        let lengths = d.map(["a", "bcd"], length);
        d.map(["x", "y"], |word| EchoStatement::new("db", "one").param(word).call().id("each"));
        let load = d.params::<Load>();
        d.add(EchoStatement::new("db", "all").param(lengths).param(load).call().id("all"));
    });
    let run = dag.test().params(json!({ "limit": 2 })).run().await;
    assert_eq!(params(run.output("all")), json!([[1, 3], { "limit": 2 }]));
    let each: Vec<Rows> = run.output("each").expect("both elements succeeded");
    assert_eq!(each.iter().map(|rows| &rows.rows[0]["params"]).collect::<Vec<_>>(), [&json!(["x"]), &json!(["y"])]);
}

/// DAG files behave the same.
#[tokio::test]
async fn a_param_is_null_if_the_trigger_rule_allows_that_its_task_gave_nothing() {
    let dag = dag("lenient").build(|d| {
        let counted = d.add(count());
        d.add(EchoStatement::new("db", "select $1").param(counted).call().trigger_rule(AllDone));
    });
    let run = dag.test().skip("count").run().await;
    assert_eq!(params(run.output("echo")), json!([null]));
}

#[tokio::test]
async fn arguments_and_variables_of_a_script_are_outputs_as_text() {
    let script = "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.environ['DAY']]))";
    let dag = dag("script").build(|d| {
        let script = Python::script(script).arg("x").arg(d.add(count())).env("DAY", d.add(day()));
        d.add(python(script));
    });
    let mut upstreams = dag.tasks()[2].upstreams();
    upstreams.sort_unstable();
    assert_eq!(upstreams, ["count", "day"]);
    let run = dag.test().run().await;
    let printed: PythonOutput = run.output("python").expect("the script succeeded");
    assert_eq!(printed.value, json!([["x", "3"], "mon"]));
}

#[tokio::test]
async fn the_conf_of_a_triggered_run_is_the_output_of_another_task() {
    let host = MemoryHost::new();
    let dag = dag("trigger").build(|d| {
        let rows = d.add(conf(3u64));
        d.add(trigger_dag(TriggerDag::dag("other").conf(rows).note("by a test")));
    });
    let run = dag.test().host(&host).run().await;
    assert_eq!(run.outcome(), RunState::Success);
    assert_eq!(host.triggered()[0].conf, Some(json!({ "rows": 3 })));
    assert_eq!(host.triggered()[0].note.as_deref(), Some("by a test"));
}

#[test]
fn the_body_of_a_request_is_the_output_of_another_task() {
    let dag = dag("send").build(|d| {
        let rows = d.add(conf(3u64));
        d.add(http(HttpRequest::below("api", "POST", "/rows").json(rows).header("X-Team", "data")));
    });
    assert!(dag.check().is_ok(), "{:?}", dag.check());
    assert_eq!(inputs(&dag, 1), json!([{ "name": "body", "type": "Value", "source": { "output": "conf" } }]));
}

#[test]
fn the_value_that_is_set_last_counts() {
    let dag = dag("twice").build(|d| {
        let (first, second) = (d.add(conf(1u64).id("first")), d.add(conf(2u64).id("second")));
        let request = || HttpRequest::to("POST", "https://example.com/").json(first);
        d.add(http(request().json(second)).id("output"));
        d.add(http(request().json(json!({ "rows": 0 }))).id("constant"));
    });
    assert_eq!(dag.tasks()[2].upstreams(), ["second"]);
    assert!(dag.tasks()[3].upstreams().is_empty());
    assert_eq!(dag.tasks()[3].config["body"], json!({ "rows": 0 }));
}
