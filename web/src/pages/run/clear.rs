//! `…/clear?task=…` and `…/clear?pick=…&pick=…`: clears instances of a run, optionally with their upstream or
//! downstream tasks and in earlier or later runs. The page first lists the instances that will restart, and the button
//! repeats their number.

use super::change::{ChangePage, href};
use super::tasks::{picks as picks_of, same_version};
use super::{RunHead, find, the_ledger};
use crate::api::clearing::{Clearing, carry_out};
use crate::extract::{Actor, Form, Query, RunPath, no_such_instance};
use crate::pages::{Shell, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_deeds::instance::ClearOptions;
use orch_spec::state::{RunState, TaskState};
use orch_store::clear::{ClearCount, ClearScope, count_clear};
use orch_store::narrow;
use orch_store::run::{Around, RunDetails, runs_around};
use orch_store::version::Version;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a box of the form, and any of them goes with any other")]
struct Choices {
    task: String,
    map_index: String,
    /// Task indexes in the run's version, and map indexes.
    picks: Vec<(TaskIdx, i32)>,
    /// Version that the task indexes refer to.
    version: Option<i64>,
    upstream: bool,
    downstream: bool,
    only_failed: bool,
    only_running: bool,
    /// Also clears the instances in earlier runs (`past`) and in later runs (`future`).
    past: bool,
    future: bool,
    /// Whether the run continues with the newest version of the DAG.
    latest: bool,
}

/// Effect of a clear on one run.
struct RunToClear {
    run: RunDetails,
    version: Arc<Version>,
    cleared: ClearCount,
}

const SHOWN: usize = 50;
/// Maximum number of commands on the page, so that a selection of many elements does not fill it with commands.
const MAX_COMMANDS: usize = 20;
/// Maximum number of earlier and later runs that are considered.
const MOST_RUNS: i64 = 100;

impl Choices {
    fn read<'a>(
        text: impl Fn(&str) -> Option<&'a str>,
        picks: impl Iterator<Item = &'a str>,
    ) -> Result<Choices, Refusal> {
        let on = |name: &str| text(name).is_some();
        Ok(Choices {
            task: text("task").unwrap_or_default().into(),
            map_index: text("map_index").unwrap_or_default().into(),
            picks: picks_of(picks)?,
            version: text("version").and_then(|version| version.parse().ok()),
            upstream: on("upstream"),
            downstream: on("downstream"),
            only_failed: on("only_failed"),
            only_running: on("only_running"),
            past: on("past"),
            future: on("future"),
            latest: on("latest"),
        })
    }

    /// Returns true if some instances are selected, not the whole run.
    fn is_narrow(&self) -> bool {
        !self.task.is_empty() || !self.picks.is_empty()
    }

    fn options(&self) -> Vec<(&'static str, &'static str, bool)> {
        let mut options = Vec::new();
        if self.is_narrow() {
            options.push(("upstream", "upstream", self.upstream));
            options.push(("downstream", "downstream", self.downstream));
        }
        options.push(("only_failed", "only failed", self.only_failed));
        options.push(("only_running", "only running", self.only_running));
        options.push(("past", "also in earlier runs", self.past));
        options.push(("future", "also in later runs", self.future));
        options.push(("latest", "in the newest version", self.latest));
        options
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if !self.task.is_empty() {
            fields.push(("task", self.task.clone()));
            fields.push(("map_index", self.map_index.clone()));
        }
        fields.extend(self.picks.iter().map(|(task, index)| ("pick", format!("{task}.{index}"))));
        fields.extend(self.version.map(|version| ("version", version.to_string())));
        fields
    }

    /// Returns the selected tasks in the run of the request. `version` is the version of that run.
    fn selected(&self, path: &RunPath, version: &Version) -> Result<Vec<Selected>, Refusal> {
        let of = &version.plan;
        if !self.picks.is_empty() {
            same_version(self.version, version)?;
            let known = self.picks.iter().filter(|(task, _)| usize::from(*task) < of.tasks.len());
            return Ok(known
                .map(|(task, index)| Selected { task: *task, index: Some(*index).filter(|i| *i >= 0) })
                .collect());
        }
        if self.task.is_empty() {
            return Ok((0..narrow::task(of.tasks.len())).map(|task| Selected { task, index: None }).collect());
        }
        let index = self.element();
        let missing = || no_such_instance(path, &self.task, index.unwrap_or(-1));
        Ok(vec![Selected { task: of.index_of(&self.task).ok_or_else(missing)?, index }])
    }

    /// Returns the element of the named task, or `None` for the whole task. A number beyond `i32` must not mean the
    /// whole task, so it becomes an index that no element has.
    fn element(&self) -> Option<i32> {
        let index = self.map_index.parse::<i64>().ok().filter(|index| *index >= 0)?;
        Some(i32::try_from(index).unwrap_or(i32::MAX))
    }

    fn wish(&self, tasks: Vec<Selected>, version: i32) -> ClearScope {
        let mut states = Vec::new();
        if self.only_failed {
            states.extend([TaskState::Failed, TaskState::UpstreamFailed]);
        }
        if self.only_running {
            states.push(TaskState::Running);
        }
        let selection = Selection { tasks, upstream: self.upstream, downstream: self.downstream };
        ClearScope { selection, version: Some(version), states }
    }

    /// Returns the commands that clear the same instances, or an empty string if more than `MAX_COMMANDS` are needed. A
    /// command clears either whole tasks or one map index.
    fn command(&self, run: &RunDetails, plan: &Plan) -> String {
        let flags = [
            (self.upstream, "--upstream"),
            (self.downstream, "--downstream"),
            (self.only_failed, "--only-failed"),
            (self.only_running, "--only-running"),
            (self.past, "--past"),
            (self.future, "--future"),
            (self.latest, "--run-on-latest-version"),
        ];
        let flags: Vec<&str> = flags.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag).collect();
        let command = |(index, names): (i32, Vec<String>)| {
            let mut words = vec![format!("orch tasks clear {}", run.dag_id), format!("--run-id '{}'", run.run_id)];
            match names.as_slice() {
                [] => {}
                [one] => words.push(format!("--task-regex '^{one}$'")),
                many => words.push(format!("--task-regex '^({})$'", many.join("|"))),
            }
            if index >= 0 {
                words.push(format!("--map-index {index}"));
            }
            words.extend(flags.iter().map(|flag| (*flag).to_string()));
            words.join(" \\\n  ")
        };
        let names = self.names_by_index(plan);
        if names.len() > MAX_COMMANDS {
            return String::new();
        }
        names.into_iter().map(command).collect::<Vec<_>>().join("\n")
    }

    /// Returns the escaped ids of the chosen tasks by map index. The index −1 stands for whole tasks, and an entry
    /// without ids for all tasks of the run.
    fn names_by_index(&self, plan: &Plan) -> BTreeMap<i32, Vec<String>> {
        if !self.is_narrow() {
            return BTreeMap::from([(-1, Vec::new())]);
        }
        let mut names: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        let picked = self.picks.iter().filter(|(task, _)| usize::from(*task) < plan.tasks.len());
        let picked = picked.map(|(task, index)| (*index, plan.task_id(*task)));
        let named = (!self.task.is_empty()).then(|| (self.element().unwrap_or(-1), self.task.as_str()));
        for (index, task_id) in picked.chain(named) {
            names.entry(index.max(-1)).or_default().push(task_id.replace('.', r"\."));
        }
        names
    }
}

/// Returns the same tasks in another version. Tasks that it does not have are left out.
fn carried(selected: &[Selected], from: &Plan, to: &Plan) -> Vec<Selected> {
    let carry = |one: &Selected| Some(Selected { task: to.index_of(from.task_id(one.task))?, index: one.index });
    selected.iter().filter_map(carry).collect()
}

/// Returns what to clear in the run and in the selected earlier and later runs.
async fn wishes(
    app: &Inner,
    db: &mut PgConnection,
    path: &RunPath,
    run: &RunDetails,
    choices: &Choices,
) -> Result<Vec<(RunDetails, ClearScope)>, Refusal> {
    let of = the_ledger(app, db, run).await?.version;
    let selected = choices.selected(path, &of)?;
    let around = Around { past: choices.past, future: choices.future };
    let runs = runs_around(db, run, around, MOST_RUNS).await?;
    if runs.len() as i64 > MOST_RUNS {
        let text =
            format!("more than {MOST_RUNS} runs are meant: clear a range of dates with `orch tasks clear -s -e`");
        return Err(Refusal::bad_request(text));
    }
    let mut wishes = Vec::with_capacity(runs.len());
    for run in runs {
        let version = app.versions.get(db, run.version).await?;
        let wish = choices.wish(carried(&selected, &of.plan, &version.plan), version.id);
        wishes.push((run, wish));
    }
    Ok(wishes)
}

async fn preview(
    app: &Inner,
    db: &mut PgConnection,
    path: &RunPath,
    run: &RunDetails,
    choices: &Choices,
) -> Result<Vec<RunToClear>, Refusal> {
    let mut versions = app.versions.clone();
    let mut parts = Vec::new();
    for (run, wish) in wishes(app, db, path, run, choices).await? {
        let version = versions.get(db, run.version).await?;
        if let Some(cleared) = count_clear(db, &mut versions, run.id, &wish, SHOWN as i64).await? {
            parts.push(RunToClear { run, version, cleared });
        }
    }
    Ok(parts)
}

fn count(parts: &[RunToClear]) -> usize {
    parts.iter().map(|part| part.cleared.count).sum()
}

pub(crate) async fn ask(
    State(app): State<App>,
    shell: Shell,
    path: RunPath,
    query: Query,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let head = RunHead::new(&run, shell.now);
    let mut choices = Choices::read(|name| query.text(name), query.all("pick"))?;
    // Defaults for the first view: a task with its downstream tasks, or the failed tasks of a failed run.
    let first = query.text("chosen").is_none();
    if first {
        choices.downstream = choices.is_narrow();
        choices.only_failed = !choices.is_narrow() && run.state == RunState::Failed;
    }
    let mut found = preview(&app, &mut db, &path, &run, &choices).await?;
    if first && choices.only_failed && count(&found) == 0 {
        // The run was stopped or marked as failed, so it has no failed instances.
        choices.only_failed = false;
        found = preview(&app, &mut db, &path, &run, &choices).await?;
    }
    let instances = found.iter().flat_map(|part| part.cleared.first.iter().map(move |instance| (part, instance)));
    let lines = instances.take(SHOWN).map(|(part, (task, index, state))| {
        let id = part.version.plan.task_id(*task);
        let name = if *index >= 0 { format!("{id} [{index}]") } else { id.to_string() };
        let place = if part.run.id == run.id { String::new() } else { format!(" in {}", part.run.run_id) };
        (parts::state(state.as_str()), name + &place)
    });
    let (total, concerned) = (count(&found), found.iter().filter(|part| part.cleared.count > 0).count());
    let revived = found.iter().any(|part| part.cleared.revived && part.cleared.count > 0);
    let stopping = found.iter().any(|part| part.cleared.stopping);
    let sentence = match total {
        0 => "No task instance here is finished or running, so there is nothing to clear.".to_string(),
        _ => format!(
            "{}{} will run again{}{}. Logs and outputs of earlier tries stay until they are overwritten.",
            parts::counted(total, "task instance"),
            if concerned > 1 { format!(" of {concerned} runs") } else { String::new() },
            match (revived, concerned) {
                (false, _) => "",
                (true, 1) => ", and the run restarts",
                _ => ", and the runs restart",
            },
            if stopping { "; running ones are stopped first" } else { "" }
        ),
    };
    let lines = lines.collect();
    let title = match (&choices.task, choices.picks.len()) {
        (_, picks) if picks > 0 => format!("Clear {}?", parts::counted(picks, "task instance")),
        (task, _) if !task.is_empty() => format!("Clear {task}?"),
        _ => "Clear this run?".into(),
    };
    let plan = &the_ledger(&app, &mut db, &run).await?.version.plan.clone();
    let page = ChangePage {
        lines,
        more: total.saturating_sub(SHOWN),
        buttons: if total == 0 { vec![] } else { vec![("clear", format!("Clear {total}"), false)] },
        fields: choices.fields(),
        options: choices.options(),
        command: choices.command(&run, plan),
        ..ChangePage::asking(shell, head, title, sentence, "clear")
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn clear(
    State(app): State<App>,
    actor: Actor,
    path: RunPath,
    form: Form,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let choices = Choices::read(|name| form.text(name), form.all("pick"))?;
    let runs = wishes(&app, &mut db, &path, &run, &choices).await?;
    let options = ClearOptions { whole_run: !choices.is_narrow(), latest: choices.latest, ..ClearOptions::default() };
    let clearing = Clearing { runs, options };
    carry_out(&app, &mut db, &actor, &clearing).await?;
    Ok(see_other(&href(&run)))
}
