//! Branches at run time: by a typed value (`when`), by task name (`branch`), or by skipping the rest (`short_circuit`).

use orch::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Size {
    Small,
    Large,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Params {
    /// More than 1,000 is large; none at all ends the run early.
    #[serde(default = "usual_rows")]
    rows: u64,
}

fn usual_rows() -> u64 {
    250
}

/// With `false` everything after it is skipped.
#[task]
async fn any_rows(params: Params) -> TaskResult<bool> {
    Ok(params.rows > 0)
}

/// Gives the answer; who runs on which answer is said where the DAG is built.
#[task]
async fn measure(params: Params) -> TaskResult<Size> {
    Ok(if params.rows > 1_000 { Size::Large } else { Size::Small })
}

#[task]
async fn in_memory() -> TaskResult<String> {
    Ok("in memory".into())
}

#[task]
async fn on_cluster() -> TaskResult<String> {
    Ok("on the cluster".into())
}

/// One of the two is `None`: its way was not taken.
#[task(trigger_rule = NoneFailedMinOneSuccess)]
async fn load(small: Option<String>, large: Option<String>) -> TaskResult<String> {
    small.or(large).context("neither way gave anything")
}

/// Gives the ids of the tasks to follow, as in Airflow.
#[task]
async fn choose_channels(params: Params) -> TaskResult<Vec<String>> {
    let mut channels = vec!["mail".to_string()];
    if params.rows > 1_000 {
        channels.push("pager".into());
    }
    Ok(channels)
}

#[task]
async fn mail(what: String) -> TaskResult<String> {
    Ok(format!("mailed: loaded {what}"))
}

#[task]
async fn pager(what: String) -> TaskResult<String> {
    Ok(format!("paged: loaded {what}"))
}

pub(crate) fn example_branch() -> Dag {
    dag("example_branch").describe("Choices at run time: when, branch and short circuit").tags(["example"]).build(|d| {
        let params = d.params::<Params>();
        let any = d.add(short_circuit(any_rows(params)));
        let size = d.add(measure(params).after(any));
        let small = d.add(in_memory().when(size, Size::Small));
        let large = d.add(on_cluster().when(size, Size::Large));
        let loaded = d.add(load(small, large));
        d.group("notify", |g| {
            let channels = g.add(branch(choose_channels(params)).after(loaded));
            g.add(mail(loaded).after(channels));
            g.add(pager(loaded).after(channels));
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::TaskState::{Skipped, Success};

    const WAYS: [&str; 5] = ["in_memory", "on_cluster", "load", "notify.mail", "notify.pager"];

    #[tokio::test]
    async fn the_number_of_rows_decides_the_way() {
        let dag = example_branch();
        let small = dag.test().params(Params { rows: 5 }).run().await;
        assert_eq!(WAYS.map(|id| small.state(id)), [Success, Skipped, Success, Success, Skipped]);
        assert_eq!(small.output::<String>("notify.mail").as_deref(), Some("mailed: loaded in memory"));

        let large = dag.test().params(Params { rows: 5_000 }).run().await;
        assert_eq!(WAYS.map(|id| large.state(id)), [Skipped, Success, Success, Success, Success]);

        let none = dag.test().params(Params { rows: 0 }).run().await;
        assert_eq!(WAYS.map(|id| none.state(id)), [Skipped; 5]);
    }
}
