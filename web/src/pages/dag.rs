//! Shared parts of the pages of one DAG: header with the pause switch, facts and tabs.

pub(crate) mod backfills;
pub(crate) mod calendar;
pub(crate) mod code;
pub(crate) mod details;
pub(crate) mod graph;
pub(crate) mod grid;
pub(crate) mod overview;
pub(crate) mod runs;
pub(crate) mod tasks;
pub(crate) mod trigger;
pub(crate) mod versions;

use crate::extract::no_such_dag;
use crate::pages::assets::asset::in_words;
use crate::parts::{self, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::Inner;
use orch_core::asset::Waiting;
use orch_spec::Schedule;
use orch_spec::ids::DagId;
use orch_store::asset::what_dag_waits_for;
use orch_store::dag::{DagRow, get_dag, resolve};
use orch_store::overview::{Places, RunMark, last_runs, places};
use orch_store::version::Version;
use sqlx::PgConnection;
use std::sync::Arc;

/// Returns the number of workers that can run a DAG as text: `1 offers it`, `3 offer it`.
pub(crate) fn offering(workers: i64) -> String {
    match workers {
        0 => "none offers it".into(),
        1 => "1 offers it".into(),
        many => format!("{many} offer it"),
    }
}

/// Header above every page of a DAG.
pub(crate) struct Head {
    pub(crate) dag_id: String,
    pub(crate) href: String,
    pub(crate) is_paused: bool,
    pub(crate) description: String,
    pub(crate) schedule: String,
    /// True if the DAG has no schedule, so that runs start only on request.
    pub(crate) is_manual: bool,
    pub(crate) next: Option<parts::Moment>,
    pub(crate) owners: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) tasks: usize,
    pub(crate) version_number: i32,
    pub(crate) tab: &'static str,
    /// State of the last run; empty if the DAG has no runs.
    pub(crate) state: &'static str,
    /// Prefix of the title of the DAG's main pages, which shows the state of the last run.
    pub(crate) sign: &'static str,
    /// Updated assets, if assets start the DAG, such as `2 of 3 assets updated`.
    pub(crate) waits: Option<String>,
    /// Why no new runs start, if that is the case.
    pub(crate) hint: Option<String>,
}

pub(crate) struct LoadedDag {
    pub(crate) row: DagRow,
    pub(crate) version: Arc<Version>,
    pub(crate) places: Places,
    pub(crate) last: Option<RunMark>,
    /// Assets that the DAG waits for, if assets start it.
    pub(crate) waiting: Vec<Waiting>,
}

/// Finds a DAG by id or alias.
pub(crate) async fn find(app: &Inner, db: &mut PgConnection, dag_id: &DagId) -> Result<LoadedDag, Refusal> {
    let mut row = get_dag(db, dag_id).await?;
    if row.is_none()
        && let Some(named) = resolve(db, dag_id).await?
    {
        row = get_dag(db, &named).await?;
    }
    let row = row.ok_or_else(|| no_such_dag(dag_id))?;
    let version = app.versions.get(db, row.version).await?;
    let places = places(db, &row.dag_id).await?;
    let last = last_runs(db, std::slice::from_ref(&row.dag_id), 1).await?.pop();
    let waiting = match version.plan.spec.schedule.assets() {
        Some(_) => what_dag_waits_for(db, &mut app.versions.clone(), &row.dag_id).await?,
        None => Vec::new(),
    };
    Ok(LoadedDag { row, version, places, last, waiting })
}

impl Head {
    pub(crate) fn new(found: &LoadedDag, tab: &'static str, now: ZonedNow) -> Head {
        let LoadedDag { row, version, places, last, waiting } = found;
        let state = last.as_ref().map_or("", |run| run.state.as_str());
        let tags = row.tags.iter().map(|tag| (tag.clone(), format!("/dags?q=tag:{}", super::encoded(tag))));
        Head {
            href: dag_href(&row.dag_id),
            dag_id: row.dag_id.clone(),
            is_paused: row.is_paused,
            description: row.description.clone(),
            schedule: row.schedule_text.clone(),
            is_manual: matches!(version.plan.spec.schedule, Schedule::Manual),
            next: row.next_run_after.filter(|_| !row.is_paused).map(|at| parts::moment(at, now)),
            owners: row.owners.join(", "),
            tags: tags.collect(),
            tasks: version.plan.tasks.len(),
            version_number: row.version_number,
            tab,
            state,
            sign: if state.is_empty() { "" } else { parts::sign(state) },
            waits: (!waiting.is_empty()).then(|| in_words(waiting)),
            hint: hint(row, *places),
        }
    }
}

fn hint(row: &DagRow, places: Places) -> Option<String> {
    let waiting = match places.queued {
        0 => String::new(),
        1 => " One run waits.".into(),
        many => format!(" {many} runs wait."),
    };
    if row.is_paused && places.queued > 0 {
        return Some(format!("The DAG is paused, so no run begins.{waiting} Switch it on to let them begin."));
    }
    if places.workers == 0 {
        return Some(format!("No living worker has this DAG: what is triggered waits for one.{waiting}"));
    }
    let most = i64::from(row.max_active_runs);
    (places.queued > 0 && places.running >= most)
        .then(|| format!("The DAG has no place for another run: it may run {most} at a time.{waiting}"))
}
