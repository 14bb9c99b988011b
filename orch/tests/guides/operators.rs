//! The code of `docs/guides/operators.md`.

use orch::{Connection, task};

async fn refresh(connection: &Connection, dashboard: &str) -> orch::TaskResult<u64> {
    std::future::ready(Ok((connection.id.len() + dashboard.len()) as u64)).await
}

#[task]
async fn newest_order() -> orch::TaskResult<u64> {
    Ok(17)
}

#[test]
fn an_operator_is_a_task_with_all_options() {
    let dag = orch::dag("operators").build(|d| {
        use orch::prelude::*;

        let rows =
            d.add(sql(Sql::new("warehouse", "select * from orders where day = $1").param("2026-03-01")).retries(2));
        let done =
            d.add(http(HttpRequest::below("api", "POST", "/v1/reload").json(json!({ "what": "orders" }))).after(rows));

        d.add(shell("true").after(done));
    });
    assert_eq!(dag.tasks()[1].upstreams(), ["sql"]);
    assert_eq!(dag.check(), Ok(()));
}

#[test]
fn an_operator_takes_outputs_of_other_tasks() {
    use orch::prelude::*;
    let dag = dag("outputs").build(|d| {
        let newest = d.add(newest_order()); // a task function that returns a number
        let orders = d.add(sql(Sql::new("warehouse", "select * from orders where id > $1").param(newest)).id("orders"));
        d.add(http(HttpRequest::below("api", "POST", "/v1/orders").json(orders)));
        d.add(python(Python::file("/srv/report.py").arg("--newest").arg(newest)));
    });
    let upstreams: Vec<Vec<&str>> = dag.tasks().iter().map(orch::TaskSpec::upstreams).collect();
    assert_eq!(upstreams, [vec![], vec!["newest_order"], vec!["orders"], vec!["newest_order"]]);
    assert_eq!(dag.check(), Ok(()));
}

#[test]
fn an_operator_of_your_own_is_a_task() {
    let dag = orch::dag("own").build(|d| {
        use orch::prelude::*;
        use orch::{BoxFuture, Operator};

        #[derive(Clone, Serialize, Deserialize)]
        struct Refresh {
            dashboard: String,
        }

        impl Operator for Refresh {
            const KIND: &'static str = "refresh";
            type Output = u64;

            fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<u64>> {
                Box::pin(async move { refresh(&ctx.connection("bi").await?, &self.dashboard).await })
            }
        }

        d.add(Refresh { dashboard: "sales".into() }.call().retries(3));
    });
    assert_eq!((dag.tasks()[0].kind.as_str(), dag.check()), ("refresh", Ok(())));
}
