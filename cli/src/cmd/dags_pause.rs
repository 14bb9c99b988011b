//! `orch dags pause` and `orch dags unpause`: DAGs by name, or all that match a regular expression.

use crate::api::{Api, ListQuery};
use crate::cx::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, counted};
use orch_binary::person::YesFlag;
use regex_lite::Regex;
use serde_json::json;

/// Pause a DAG: no runs begin until it is unpaused; those that run go on
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch dags pause my_dag other_dag\n  orch dags pause 'example_.*' --treat-dag-id-as-regex -y"
)]
pub(crate) struct PauseDag {
    #[command(flatten)]
    which: WhichDags,
}

/// Unpause a DAG: runs that wait begin
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags unpause my_dag other_dag")]
pub(crate) struct UnpauseDag {
    #[command(flatten)]
    which: WhichDags,
}

#[derive(Debug, clap::Args)]
struct WhichDags {
    /// The DAGs, each by id or alias
    #[arg(value_name = "DAG_ID", required = true)]
    dag_ids: Vec<String>,
    /// All DAGs whose whole id matches one of the regular expressions
    #[arg(long)]
    treat_dag_id_as_regex: bool,
    #[command(flatten)]
    yes: YesFlag,
    #[command(flatten)]
    output: FormatFlag,
}

impl PauseDag {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        self.which.set_paused(cx, true, "pauses").await
    }
}

impl UnpauseDag {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        self.which.set_paused(cx, false, "unpauses").await
    }
}

impl WhichDags {
    async fn set_paused(&self, cx: &Cx, is_paused: bool, verb: &str) -> Outcome {
        let api = cx.api().await?;
        let ids = self.ids(&api, verb).await?;
        for dag_id in &ids {
            api.set_paused(dag_id, is_paused).await?;
        }
        self.print(&ids, is_paused)
    }

    async fn ids(&self, api: &Api, verb: &str) -> Result<Vec<String>, Failure> {
        if !self.treat_dag_id_as_regex {
            // Resolve all names first, so that an unknown one changes nothing.
            let mut ids = Vec::new();
            for name in &self.dag_ids {
                ids.push(api.dag_id(name).await?);
            }
            return Ok(ids);
        }
        let whole: Vec<Regex> = self.dag_ids.iter().map(|text| whole_id(text)).collect::<Result<_, _>>()?;
        let dags = api.dags(ListQuery::all()).await?;
        let is_meant = |id: &String| whole.iter().any(|regex| regex.is_match(id));
        let ids: Vec<String> = dags.into_iter().map(|dag| dag.dag_id).filter(is_meant).collect();
        if ids.is_empty() {
            let patterns = self.dag_ids.join("`, `");
            return Err(Failure::new(format!("no dag matches `{patterns}`")).hint("list all with `orch dags list`"));
        }
        self.yes.agree(&format!("This {verb} {}: {}.", counted(ids.len(), "dag"), ids.join(", ")))?;
        Ok(ids)
    }

    fn print(&self, ids: &[String], is_paused: bool) -> Outcome {
        let mut listing = Listing::new(["dag_id", "is_paused"], "no dags");
        ids.iter().for_each(|id| listing.add([json!(id), json!(is_paused)]));
        listing.print(self.output.format)
    }
}

/// Compiles a regular expression that matches only complete ids.
fn whole_id(text: &str) -> Result<Regex, Failure> {
    Regex::new(&format!("^(?:{text})$")).map_err(|error| {
        Failure::new(format!("`{text}` is not a regular expression: {error}"))
            .hint("write one for the whole id, for example `example_.*`")
    })
}
