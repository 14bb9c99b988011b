//! `orch tasks clear`: instances that are over begin anew, those that run are stopped and begin anew.

use crate::app::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_binary::output::{FormatFlag, Listing};
use orch_binary::person::YesFlag;
use orch_binary::session::Session;
use orch_core::plan::TaskIdx;
use orch_core::select::Selection;
use orch_core::state::TaskState;
use orch_core::transition::Selected;
use orch_store::audit::Deed;
use orch_store::clear::{ClearWish, Cleared, clear_instances, would_clear};
use orch_store::dag::{DagFilter, MOST_DAGS, get_dag, list_dags};
use orch_store::hint::Hint;
use orch_store::run::{Around, MOST_RUNS, MoveRun, RunDetails, RunFilter, Span, list_runs, move_run, runs_around};
use orch_store::step::Stepper;
use orch_store::version::Versions;
use regex_lite::Regex;
use serde_json::json;

/// Clear task instances, so that they run again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch tasks clear my_dag --run-id my_run --only-failed\n  \
    orch tasks clear my_dag -t '^load_' --downstream --run-id my_run --yes\n  \
    orch tasks clear my_dag -s 2026-11-01 -e 2026-11-07 --dry-run")]
pub(crate) struct Clear {
    /// The DAG, by id or alias; with `--dag-regex` all DAGs whose id it finds
    dag_id: String,
    /// The DAG is a regular expression
    #[arg(short = 'R', long)]
    dag_regex: bool,
    /// Only in this run, by id or logical date
    #[arg(short = 'i', long, value_name = "RUN_ID|LOGICAL_DATE")]
    run_id: Option<String>,
    /// Only tasks whose id the regular expression finds
    #[arg(short, long, value_name = "REGEX", value_parser = regex)]
    task_regex: Option<Regex>,
    /// Only in runs for this date or later
    #[arg(short, long, value_name = "MOMENT", value_parser = names::moment)]
    start_date: Option<DateTime<Utc>>,
    /// Only in runs for this date or earlier
    #[arg(short, long, value_name = "MOMENT", value_parser = names::moment)]
    end_date: Option<DateTime<Utc>>,
    #[command(flatten)]
    around: AroundFlags,
    #[command(flatten)]
    related: RelatedFlags,
    #[command(flatten)]
    states: StateFlags,
    /// Go on in the newest version of the DAG
    #[arg(long)]
    run_on_latest_version: bool,
    /// Only say what would be cleared
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    yes: YesFlag,
    #[command(flatten)]
    output: FormatFlag,
}

/// Which runs besides the one that is named.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct AroundFlags {
    /// Also in the runs before it
    #[arg(long)]
    pub(super) past: bool,
    /// Also in the runs after it
    #[arg(long)]
    pub(super) future: bool,
}

/// What else is cleared with a task.
#[derive(Debug, clap::Args)]
struct RelatedFlags {
    /// Also what stands above
    #[arg(short, long)]
    upstream: bool,
    /// Also what stands below
    #[arg(short, long)]
    downstream: bool,
}

/// What is cleared of the tasks.
#[derive(Debug, clap::Args)]
struct StateFlags {
    /// Only what failed
    #[arg(short = 'f', long, conflicts_with = "only_running")]
    only_failed: bool,
    /// Only what runs
    #[arg(short = 'r', long)]
    only_running: bool,
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| error.to_string())
}

/// A run with what would be cleared in it.
struct Planned {
    run: RunDetails,
    wish: ClearWish,
    cleared: Cleared,
}

impl Clear {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if (self.around.past || self.around.future) && self.run_id.is_none() {
            return Err(Failure::new("`--past` and `--future` are seen from a run").hint("name it with `--run-id`"));
        }
        let mut session = cx.session().await?;
        let mut versions = Versions::default();
        let mut planned = Vec::new();
        for dag_id in self.dags(&mut session).await? {
            for run in self.runs(&mut session, &dag_id).await? {
                planned.extend(self.plan(&mut session, &mut versions, run).await?);
            }
        }
        let count: usize = planned.iter().map(|planned| planned.cleared.instances.len()).sum();
        self.print(&mut session, &mut versions, &planned).await?;
        if self.dry_run || count == 0 {
            return Ok(Exit::Done);
        }
        self.yes.agree(&format!("This clears {count} task instances in {} runs.", planned.len()))?;
        let mut stepper = Stepper::default();
        for Planned { run, wish, .. } in &planned {
            let cleared = clear_instances(&mut session.db, &mut stepper, &mut versions, run.id, wish).await?;
            let Some(cleared) = cleared else { continue };
            if self.run_on_latest_version {
                to_latest(&mut session, &mut versions, run).await?;
            }
            let deed = Deed {
                event: "clear_task_instances",
                dag_id: Some(&run.dag_id),
                run_id: Some(&run.run_id),
                extra: Some(json!({ "instances": cleared.instances.len() })),
                ..Deed::default()
            };
            let hints = [Hint::Ready, Hint::Run, Hint::Stop];
            session.did(&deed, &hints[..if cleared.stopping { 3 } else { 2 }]).await?;
        }
        eprintln!("{count} task instances were cleared");
        Ok(Exit::Done)
    }

    async fn dags(&self, session: &mut Session) -> Result<Vec<String>, Failure> {
        if !self.dag_regex {
            return Ok(vec![names::dag_id(&mut session.db, &self.dag_id).await?]);
        }
        let regex = regex(&self.dag_id).map_err(|error| Failure::new(format!("`{}`: {error}", self.dag_id)))?;
        let mut ids = list_dags(&mut session.db, &DagFilter::default(), MOST_DAGS).await?;
        ids.retain(|dag| regex.is_match(&dag.dag_id));
        if ids.is_empty() {
            return Err(
                Failure::new(format!("no dag is like `{}`", self.dag_id)).hint("list all with `orch dags list`")
            );
        }
        Ok(ids.into_iter().map(|dag| dag.dag_id).collect())
    }

    async fn runs(&self, session: &mut Session, dag_id: &str) -> Result<Vec<RunDetails>, Failure> {
        if let Some(name) = &self.run_id {
            let run = names::run(&mut session.db, dag_id, name).await?;
            let around = Around { past: self.around.past, future: self.around.future };
            return Ok(runs_around(&mut session.db, &run, around, MOST_RUNS).await?);
        }
        let mut filter = RunFilter {
            dag_ids: Some(vec![dag_id.into()]),
            run_after: Span { from: self.start_date, to: self.end_date },
            ..RunFilter::default()
        };
        let mut runs = Vec::new();
        loop {
            let page = list_runs(&mut session.db, &filter, MOST_RUNS).await?;
            filter.after = page.last().map(|run| (run.run_after, run.id));
            let is_last = page.len() < MOST_RUNS as usize;
            runs.extend(page);
            if is_last {
                return Ok(runs);
            }
        }
    }

    async fn plan(
        &self,
        session: &mut Session,
        versions: &mut Versions,
        run: RunDetails,
    ) -> Result<Option<Planned>, Failure> {
        let version = versions.get(&mut session.db, run.version).await?;
        let is_meant = |id: &str| self.task_regex.as_ref().is_none_or(|regex| regex.is_match(id));
        let ids = version.plan.spec.tasks.iter().map(|task| task.task_id.as_str());
        let tasks: Vec<Selected> = (0..)
            .zip(ids)
            .filter(|(_, id)| is_meant(id))
            .map(|(task, _): (TaskIdx, _)| Selected { task, index: None })
            .collect();
        let states = match (self.states.only_failed, self.states.only_running) {
            (true, _) => vec![TaskState::Failed, TaskState::UpstreamFailed],
            (_, true) => vec![TaskState::Running],
            _ => Vec::new(),
        };
        let selection = Selection { tasks, upstream: self.related.upstream, downstream: self.related.downstream };
        let wish = ClearWish { selection, version: Some(version.id), states };
        let cleared = would_clear(&mut session.db, versions, run.id, &wish).await?;
        let cleared = cleared.filter(|cleared| !cleared.instances.is_empty());
        Ok(cleared.map(|cleared| Planned { run, wish, cleared }))
    }

    async fn print(&self, session: &mut Session, versions: &mut Versions, planned: &[Planned]) -> Outcome {
        let mut listing = Listing::new(["dag_id", "run_id", "task_id", "map_index", "state"], "nothing to clear");
        for Planned { run, cleared, .. } in planned {
            let version = versions.get(&mut session.db, run.version).await?;
            for (task, map_index, state) in &cleared.instances {
                let task_id = version.plan.task_id(*task);
                listing.add([
                    json!(run.dag_id),
                    json!(run.run_id),
                    json!(task_id),
                    json!(map_index),
                    json!(state.as_str()),
                ]);
            }
        }
        listing.print(self.output.format)
    }
}

/// It goes on in the newest version; where that cannot be, in its own.
async fn to_latest(session: &mut Session, versions: &mut Versions, run: &RunDetails) -> Result<(), Failure> {
    let Some(dag) = get_dag(&mut session.db, &run.dag_id).await? else { return Ok(()) };
    let why = match move_run(&mut session.db, versions, run.id, dag.version).await? {
        MoveRun::CannotMove(why) => why.to_string(),
        MoveRun::Running => "some of its tasks are running".into(),
        MoveRun::Moved | MoveRun::Same | MoveRun::Over(_) | MoveRun::OtherDag | MoveRun::NoSuchRun => return Ok(()),
    };
    eprintln!("run `{}` goes on in its own version: {why}", run.run_id);
    Ok(())
}
