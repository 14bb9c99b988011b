//! Setup and teardown: a resource that is created before the work and deleted after it, even if the work fails.

use orch::prelude::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cluster {
    name: String,
}

#[task]
async fn create_cluster(ctx: Ctx) -> TaskResult<Cluster> {
    Ok(Cluster { name: format!("cluster-of-{}", ctx.run_id()) })
}

#[task]
async fn train(cluster: Cluster) -> TaskResult<f64> {
    ensure!(!cluster.name.is_empty(), "a cluster has a name");
    Ok(0.93)
}

#[task]
async fn evaluate(cluster: Cluster, score: f64) -> TaskResult<String> {
    Ok(format!("{score:.2} on {}", cluster.name))
}

/// Runs when all the work is over, well or not, if there is a cluster. Its failure does not fail the run.
#[task(retries = 3, retry_delay = secs(10))]
async fn drop_cluster(ctx: Ctx, cluster: Cluster) -> TaskResult<()> {
    ctx.info(format!("{} is gone", cluster.name));
    Ok(())
}

pub(crate) fn example_setup_teardown() -> Dag {
    dag("example_setup_teardown").describe("A cluster that is dropped whatever happens").tags(["example"]).build(|d| {
        d.with(create_cluster(), drop_cluster, |d, cluster| {
            let score = d.add(train(cluster));
            d.add(evaluate(cluster, score));
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::TaskState::{Failed, Success, UpstreamFailed};

    const TASKS: [&str; 4] = ["create_cluster", "train", "evaluate", "drop_cluster"];

    #[tokio::test]
    async fn the_cluster_is_dropped_whatever_happens() {
        let dag = example_setup_teardown();
        let good = dag.test().run().await;
        assert_eq!(TASKS.map(|id| good.state(id)), [Success; 4]);
        assert_eq!(good.output::<String>("evaluate").as_deref(), Some("0.93 on cluster-of-manual__test"));

        let bad = dag.test().fail("train").run().await;
        assert_eq!(TASKS.map(|id| bad.state(id)), [Success, Failed, UpstreamFailed, Success]);

        let none = dag.test().fail("create_cluster").run().await;
        assert_eq!(TASKS.map(|id| none.state(id)), [Failed, UpstreamFailed, UpstreamFailed, UpstreamFailed]);
    }
}
