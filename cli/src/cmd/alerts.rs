//! `orch alerts list`, `retry` and `test`.

use crate::api::{Api, FIRST_HUNDRED, ListFlags};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, moment};
use orch_core::alert::{AlertKind, AlertState};
use orch_spec::Notifier;
use orch_spec::ids::ConnectionId;
use orch_spec::template::check_template;
use orch_store::alert::{AlertRow, Retry, by};
use orch_store::list::Search;
use serde_json::json;
use std::time::{Duration, Instant};

/// Timeout for a test alert. A receiver has 10 s to respond, and senders poll every few seconds.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// List who was told what, newest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch alerts list\n  orch alerts list --state waiting\n  orch alerts list --dag-id sales --task-id load -o json"
)]
pub(crate) struct ListAlerts {
    /// Only alerts in that state: waiting, sent, failed
    #[arg(long)]
    state: Option<AlertState>,
    /// Only alerts of that kind: `run_failed`, `deadline_missed`, …
    #[arg(long)]
    kind: Option<AlertKind>,
    /// Only of that DAG
    #[arg(long)]
    dag_id: Option<String>,
    /// Only of runs of that id
    #[arg(long)]
    run_id: Option<String>,
    /// Only of that task
    #[arg(long)]
    task_id: Option<String>,
    #[command(flatten)]
    list: ListFlags<FIRST_HUNDRED>,
}

/// Send an alert at once that waits or was given up
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch alerts retry 42")]
pub(crate) struct RetryAlert {
    #[arg(value_name = "ID")]
    id: i64,
    #[command(flatten)]
    output: FormatFlag,
}

/// Send a test alert over a connection, and wait until it is delivered
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch alerts test team_chat\n  orch alerts test mail --to ops@example.org --message 'hello from {kind}'\n\n\
    A scheduler sends it: one has to run. Off unless the setting `test_connection` says otherwise; addresses that are not \
    public are reached only if `test_networks` of the scheduler names them."
)]
pub(crate) struct TestAlert {
    #[arg(value_name = "CONNECTION")]
    connection: String,
    /// The text, with fields in braces
    #[arg(long)]
    message: Option<String>,
    /// Of an e-mail: to this address; may be given several times
    #[arg(long)]
    to: Vec<String>,
    #[command(flatten)]
    output: FormatFlag,
}

impl ListAlerts {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let ListAlerts { state, kind, dag_id, run_id, task_id, list } = self;
        let search = Search::default()
            .and(state.map(|state| by::STATE.is(state.as_str())))
            .and(kind.map(|kind| by::KIND.is(kind.as_str())))
            .and(dag_id.map(|id| by::DAG_ID.is(id)))
            .and(run_id.map(|id| by::RUN_ID.is(id)))
            .and(task_id.map(|id| by::TASK_ID.is(id)));
        let rows = cx.api().await?.alerts(&list.query_with(&search.parameters())?).await?;
        list.print(listing(&rows))
    }
}

impl RetryAlert {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        match api.retry_alert(self.id).await? {
            Retry::Due => listing(&[found(&api, self.id).await?]).print(self.output.format),
            Retry::AlreadySent => Err(Failure::new(format!("alert {} was sent already", self.id))),
            Retry::NoSuchAlert => Err(no_such_alert(self.id)),
        }
    }
}

impl TestAlert {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        ConnectionId::new(&self.connection)?;
        if let Some(Err(problem)) = self.message.as_deref().map(check_template) {
            return Err(Failure::new(format!("the message cannot be filled in: {problem}")));
        }
        let notifier =
            Notifier { connection: self.connection, message: self.message, to: self.to, ..Notifier::default() };
        let api = cx.api().await?;
        let id = api.test_alert(&notifier).await?;
        let began = Instant::now();
        loop {
            let row = found(&api, id).await?;
            if row.state == AlertState::Sent {
                eprintln!("it was taken");
                return listing(&[row]).print(self.output.format);
            }
            if let Some(problem) = &row.problem {
                let problem = format!("not delivered over connection `{}`: {problem}", row.notifier.connection);
                eprintln!("error: {problem}");
                eprintln!("hint: it is sent again for a day: see `orch alerts list`");
                return Ok(Exit::Failed);
            }
            if began.elapsed() > PATIENCE {
                return Err(Failure::new(format!("alert {id} was not sent within {} s", PATIENCE.as_secs()))
                    .hint("schedulers send alerts: start `orch scheduler` or `orch standalone`"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

async fn found(api: &Api, id: i64) -> Result<AlertRow, Failure> {
    api.alert(id).await?.ok_or_else(|| no_such_alert(id))
}

fn no_such_alert(id: i64) -> Failure {
    Failure::new(format!("there is no alert {id}")).hint("list all with `orch alerts list`")
}

fn listing(rows: &[AlertRow]) -> Listing {
    let columns = [
        "id",
        "at",
        "kind",
        "dag_id",
        "run_id",
        "task_id",
        "count",
        "connection",
        "state",
        "tries",
        "reason",
        "problem",
    ];
    let mut listing = Listing::new(columns, "no alerts");
    for row in rows {
        listing.add([
            json!(row.id),
            moment(Some(row.at)),
            json!(row.kind),
            json!(row.dag_id),
            json!(row.run_id),
            json!(row.facts.task_id),
            json!(row.facts.count()),
            json!(row.notifier.connection),
            json!(row.state),
            json!(row.tries),
            json!(row.facts.reason),
            json!(row.problem),
        ]);
    }
    listing
}
