//! `orch tasks clear`: reruns task instances. Running ones are stopped first.

use crate::api::{Api, ClearRequest, ListQuery, WouldClear};
use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_binary::output::{FormatFlag, Listing, counted};
use orch_binary::person::YesFlag;
use orch_store::list::{Column, Compare, Search};
use orch_store::run::{RunDetails, by, place_in_time};
use regex_lite::Regex;
use serde_json::json;
use std::collections::HashMap;

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
    /// Element of a mapped task, from 0; requires `--task-regex`
    #[arg(long, value_name = "NUMBER", requires = "task_regex", value_parser = clap::value_parser!(i32).range(0..))]
    map_index: Option<i32>,
    /// Only in runs with this logical date or a later one
    #[arg(short, long, value_name = "MOMENT", value_parser = names::moment)]
    start_date: Option<DateTime<Utc>>,
    /// Only in runs with this logical date or an earlier one
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
    Regex::new(text).map_err(|error| format!("{error}: write for example `^load_`"))
}

struct Planned {
    run: RunDetails,
    request: ClearRequest,
    would: WouldClear,
}

/// Task ids of each DAG version, by DAG id and version number.
type TaskIds = HashMap<(String, i32), Vec<String>>;

impl Clear {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if (self.around.past || self.around.future) && self.run_id.is_none() {
            return Err(Failure::new("`--past` and `--future` are seen from a run").hint("name it with `--run-id`"));
        }
        let api = cx.api().await?;
        let mut task_ids = TaskIds::default();
        let mut planned = Vec::new();
        for dag_id in self.dags(&api).await? {
            for run in self.runs(&api, &dag_id).await? {
                planned.extend(self.plan(&api, &mut task_ids, run).await?);
            }
        }
        let count: usize = planned.iter().map(|planned| planned.would.count).sum();
        self.print(&planned)?;
        if self.dry_run || count == 0 {
            return Ok(Exit::Done);
        }
        self.yes.agree(&format!(
            "This clears {} in {}.",
            counted(count, "task instance"),
            counted(planned.len(), "run")
        ))?;
        for Planned { run, request, .. } in &planned {
            if let Some(why) = api.clear(run, request).await? {
                eprintln!("run `{}` stays in its own version: {why}", run.run_id);
            }
        }
        eprintln!("{} cleared", counted(count, "task instance"));
        Ok(Exit::Done)
    }

    async fn dags(&self, api: &Api) -> Result<Vec<String>, Failure> {
        if !self.dag_regex {
            return Ok(vec![api.dag_id(&self.dag_id).await?]);
        }
        let regex = regex(&self.dag_id).map_err(|error| Failure::new(format!("`{}`: {error}", self.dag_id)))?;
        let mut dags = api.dags(ListQuery::all()).await?;
        dags.retain(|dag| regex.is_match(&dag.dag_id));
        if dags.is_empty() {
            return Err(
                Failure::new(format!("no dag is like `{}`", self.dag_id)).hint("list all with `orch dags list`")
            );
        }
        Ok(dags.into_iter().map(|dag| dag.dag_id).collect())
    }

    async fn runs(&self, api: &Api, dag_id: &str) -> Result<Vec<RunDetails>, Failure> {
        let named = match &self.run_id {
            Some(name) => Some(api.run_of(dag_id, name).await?),
            None => None,
        };
        let between = |column: Column, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>| {
            let from = from.map(|at| column.compare(Compare::AtLeast, at));
            Search::default().and(from).and(to.map(|at| column.compare(Compare::AtMost, at)))
        };
        let Some(run) = named else {
            // A run without a logical date is selected by the earliest time at which it could start.
            let by_date = between(by::LOGICAL_DATE, self.start_date, self.end_date);
            let mut runs = api.runs(Some(dag_id), ListQuery::of(&by_date)).await?;
            if self.start_date.is_some() || self.end_date.is_some() {
                let by_start = between(by::RUN_AFTER, self.start_date, self.end_date);
                let others = api.runs(Some(dag_id), ListQuery::of(&by_start)).await?;
                runs.extend(others.into_iter().filter(|run| run.logical_date.is_none()));
            }
            return Ok(runs);
        };
        if !self.around.past && !self.around.future {
            return Ok(vec![run]);
        }
        // Returns the given run first, then the others, earliest first.
        let (column, date) = place_in_time(&run);
        let search = between(column, (!self.around.past).then_some(date), (!self.around.future).then_some(date));
        let mut runs = api.runs(Some(dag_id), ListQuery::of(&search.by(column.descending()))).await?;
        runs.retain(|other| other.run_id != run.run_id);
        runs.push(run);
        runs.reverse();
        Ok(runs)
    }

    async fn plan(&self, api: &Api, known: &mut TaskIds, run: RunDetails) -> Result<Option<Planned>, Failure> {
        let request = ClearRequest {
            task_ids: self.task_ids(api, known, &run).await?,
            map_index: self.map_index,
            upstream: self.related.upstream,
            downstream: self.related.downstream,
            only_failed: self.states.only_failed,
            only_running: self.states.only_running,
            latest: self.run_on_latest_version,
        };
        if request.task_ids.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let would = api.would_clear(&run, &request).await?;
        Ok((would.count > 0).then_some(Planned { run, request, would }))
    }

    /// Returns the tasks in the run's version that match the regular expression. `None` selects all tasks.
    async fn task_ids(&self, api: &Api, known: &mut TaskIds, run: &RunDetails) -> Result<Option<Vec<String>>, Failure> {
        let Some(regex) = &self.task_regex else { return Ok(None) };
        let version = (run.dag_id.clone(), run.version_number);
        if let Some(found) = known.get(&version) {
            return Ok(Some(found.clone()));
        }
        let spec = api.version(&run.dag_id, run.version_number).await?;
        let found: Vec<String> =
            spec.tasks.into_iter().map(|task| task.task_id).filter(|id| regex.is_match(id)).collect();
        known.insert(version, found.clone());
        Ok(Some(found))
    }

    /// Returns the message for an empty result, with the flags that restrict it.
    fn nothing(&self) -> String {
        let run = self.run_id.as_ref().map(|run| format!("`--run-id {run}`"));
        let tasks = self.task_regex.as_ref().map(|regex| format!("`--task-regex '{}'`", regex.as_str()));
        let flags = [
            run,
            tasks,
            self.start_date.map(|_| "`--start-date`".to_owned()),
            self.end_date.map(|_| "`--end-date`".to_owned()),
            self.states.only_failed.then(|| "`--only-failed`".to_owned()),
            self.states.only_running.then(|| "`--only-running`".to_owned()),
        ];
        let flags: Vec<String> = flags.into_iter().flatten().collect();
        let with = if flags.is_empty() { String::new() } else { format!(" with {}", flags.join(", ")) };
        let message = format!("nothing to clear: dag `{}` has no such task instances{with}", self.dag_id);
        let hint = "`orch tasks list` lists tasks, and `orch tasks states-for-dag-run` the states in a run";
        format!("{message}\nhint: {hint}")
    }

    fn print(&self, planned: &[Planned]) -> Outcome {
        let mut listing = Listing::new(["dag_id", "run_id", "task_id", "map_index", "state"], self.nothing());
        for instance in planned.iter().flat_map(|planned| &planned.would.instances) {
            listing.add([
                json!(instance.dag_id),
                json!(instance.run_id),
                json!(instance.task_id),
                json!(instance.map_index),
                json!(instance.state.as_str()),
            ]);
        }
        let printed = listing.print(self.output.format);
        for Planned { run, would, .. } in
            planned.iter().filter(|planned| planned.would.count > planned.would.instances.len())
        {
            let more = would.count - would.instances.len();
            eprintln!("{more} more of run `{}` are not listed", run.run_id);
        }
        printed
    }
}
