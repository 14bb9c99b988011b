//! `orch dags versions` and `orch dags diff`: the history of the structure of a DAG.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_binary::output::{FormatFlag, Listing, moment, print_line};
use orch_document::diff::Diff as StructureDiff;
use orch_spec::DagSpec;
use serde_json::json;

/// List the versions of a DAG, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags versions example_chain\n  orch dags versions example_chain -o json\n\n\
    Runs are those of the newest 10,000 of the DAG; workers are the living ones that have the version.")]
pub(crate) struct Versions {
    /// The DAG, by id or alias
    dag_id: String,
    #[command(flatten)]
    output: FormatFlag,
}

/// Show what is different between two versions of a DAG
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags diff example_chain           the newest against the one before\n  \
    orch dags diff example_chain 1 3\n  orch dags diff example_chain --local   the DAG of this binary against the newest\n\n\
    Ends with 0 when nothing is different, with 1 when something is.")]
pub(crate) struct Diff {
    /// The DAG, by id or alias
    dag_id: String,
    /// Number of the version to begin with; the one before the other without it
    from: Option<i32>,
    /// Number of the version to end with; the newest without it
    to: Option<i32>,
    /// Against the DAG of this binary and its folder, as it would be registered
    #[arg(short, long, conflicts_with = "to")]
    local: bool,
}

/// Length of a displayed hash, enough to distinguish versions.
const SHORT_HASH: usize = 12;

impl Versions {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let dag = api.dag(&self.dag_id).await?;
        let mut listing =
            Listing::new(["version", "hash", "created_at", "bundle", "runs", "workers", "newest"], "no versions");
        for version in api.versions(&dag.dag_id).await? {
            listing.add([
                json!(version.number),
                json!(version.hash.chars().take(SHORT_HASH).collect::<String>()),
                moment(Some(version.created_at)),
                json!(version.bundle),
                json!(version.runs),
                json!(version.workers),
                json!(version.is_newest),
            ]);
        }
        listing.print(self.output.format)
    }
}

impl Diff {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let (dag, _) = api.structure(&self.dag_id).await?;
        let to = self.to.unwrap_or(dag.version_number);
        let (words, from, after) = if self.local {
            let bundle = cx.local_bundle()?;
            let local = names::local_dag(&bundle, &dag.dag_id).map_err(|_| not_local(&dag.dag_id))?;
            ("the DAG of this binary".to_owned(), self.from.unwrap_or(to), DagSpec::clone(&local.spec))
        } else {
            let after = api.version(&dag.dag_id, to).await?;
            (format!("version {to}"), self.from.unwrap_or(to.saturating_sub(1).max(1)), after)
        };
        let before = api.version(&dag.dag_id, from).await?;
        let diff = StructureDiff::between(&before, &after);
        eprintln!("from version {from} of `{}` to {words}: {}", dag.dag_id, diff.summary());
        for line in diff.lines() {
            print_line(&line)?;
        }
        Ok(if diff.is_empty() { Exit::Done } else { Exit::Failed })
    }
}

/// Returns the failure for a registered DAG that neither this binary nor the folder of DAG files contains.
fn not_local(dag_id: &str) -> Failure {
    Failure::new(format!("neither this binary nor the folder of DAG files contains dag `{dag_id}`")).hint(format!(
        "the DAGs of a project are in its own binary: start its worker, then compare the two newest versions with `orch dags diff {dag_id}`"
    ))
}
