//! `orch approvals list` and `answer`.

use crate::api::{ApprovalAnswer, ApprovalRequest, FIRST_HUNDRED, ListFlags};
use crate::cx::Cx;
use orch_binary::conf::ConfFlag;
use orch_binary::failure::{Exit, Outcome};
use orch_binary::names::MapIndexFlag;
use orch_binary::output::{Listing, moment};
use orch_spec::approval::ApprovalInput;
use orch_spec::state::TaskState;
use orch_store::approval::by;
use orch_store::list::Search;
use serde_json::{Map, Value, json};

/// List what tasks ask people, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch approvals list\n  orch approvals list --all --dag-id report -o json")]
pub(crate) struct ListApprovals {
    /// Also what was answered or is over
    #[arg(long)]
    all: bool,
    /// Only of that DAG
    #[arg(long)]
    dag_id: Option<String>,
    #[command(flatten)]
    list: ListFlags<FIRST_HUNDRED>,
}

/// Answer what a task asks; the first answer counts
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch approvals answer report publish my_run Approve\n  \
    orch approvals answer report limits my_run OK --conf '{\"rows\": 10}'")]
pub(crate) struct AnswerApproval {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The run, by its id
    run_id: String,
    /// What is chosen of the options; several where that is asked for
    #[arg(value_name = "OPTION", required = true)]
    options: Vec<String>,
    #[command(flatten)]
    map_index: MapIndexFlag,
    /// What is typed in
    #[command(flatten)]
    input: ConfFlag,
}

impl ListApprovals {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let search = Search::default()
            .and((!self.all).then(|| by::STATE.is(TaskState::AwaitingInput.as_str())))
            .and(self.dag_id.map(|id| by::DAG_ID.is(id)));
        let rows = cx.api().await?.approvals(self.list.query_with(&search.parameters())?).await?;
        self.list.print(listing(&rows))
    }
}

impl AnswerApproval {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let params_input = match self.input.read()? {
            Some(Value::Object(typed)) => typed,
            _ => Map::new(),
        };
        let request = ApprovalAnswer {
            dag_id: self.dag_id,
            run_id: self.run_id,
            task_id: self.task_id,
            map_index: self.map_index.map_index.unwrap_or(-1),
            given: ApprovalInput { chosen_options: self.options, params_input },
        };
        let chosen = cx.api().await?.answer_approval(&request).await?;
        eprintln!("task `{}` of run `{}` continues with: {}", request.task_id, request.run_id, chosen.join(", "));
        Ok(Exit::Done)
    }
}

fn listing(rows: &[ApprovalRequest]) -> Listing {
    let columns =
        ["asked_at", "dag_id", "run_id", "task_id", "map_index", "try", "subject", "options", "asks", "chosen", "by"];
    let mut listing = Listing::new(columns, "nothing is asked");
    for row in rows {
        listing.add([
            moment(Some(row.asked_at)),
            json!(row.dag_id),
            json!(row.run_id),
            json!(row.task_id),
            json!(row.map_index),
            json!(row.try_no),
            json!(row.subject),
            json!(row.options.join(", ")),
            json!(row.asked.join(", ")),
            json!(row.chosen.as_ref().map(|chosen| chosen.join(", "))),
            json!(row.by),
        ]);
    }
    listing
}
