//! `/dags/{dag_id}/versions`: the versions of a DAG with their runs and the workers that have them, and the
//! differences between any two.

use super::{Head, find};
use crate::api::version_history::between;
use crate::extract::{DagPath, Query};
use crate::pages::filters::Filters;
use crate::pages::turned::Turned;
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_document::diff::{Diff, FieldChange};
use orch_store::version::{MOST_COUNTED, VERSIONS, by, runs_by_version, workers_by_version};

#[derive(Template)]
#[template(path = "pages/dag/versions.html")]
struct VersionsPage {
    shell: Shell,
    head: Head,
    /// Address of the list without filters, with the same comparison.
    list_href: String,
    filters: Filters,
    lines: Vec<VersionLine>,
    before: Option<String>,
    after: Option<String>,
    from: i32,
    to: i32,
    /// Versions that can be selected for a comparison.
    numbers: Vec<i32>,
    compared: Option<Compared>,
    most_counted: i64,
}

struct VersionLine {
    number: i32,
    hash: String,
    bundle: String,
    ago: parts::Ago,
    runs: i64,
    workers: String,
    is_newest: bool,
}

/// Comparison of two versions.
struct Compared {
    summary: String,
    /// Changed fields of the DAG, then of its tasks: owner, field, value before, value after.
    fields: Vec<[String; 4]>,
    added: Vec<String>,
    removed: Vec<String>,
    edges_added: Vec<(String, String)>,
    edges_removed: Vec<(String, String)>,
    /// Number of lines that are not shown.
    more: usize,
}

const OF_A_PAGE: i64 = 100;
/// Number of newest versions in the selection. The query parameters accept all versions.
const MOST_CHOICES: i32 = 300;
/// Maximum number of lines of each kind.
const MOST_LINES: usize = 200;
/// Number of hash characters shown, enough to distinguish hashes.
const SHORT_HASH: usize = 12;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    mut query: Query,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let newest = found.row.version_number;
    let number = |name: &str, otherwise: i32| match query.text(name).filter(|text| !text.is_empty()) {
        None => Ok(otherwise),
        Some(text) => text.parse::<i32>().map_err(|_| Refusal::bad_request(format!("`{name}` is a number"))),
    };
    let to = number("to", newest)?;
    let from = number("from", to.saturating_sub(1).max(1))?;
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let (search, filters) = Filters::read(query, VERSIONS.columns, &[], shell.now)?;
    let filters = filters.alone().without_order(by::ID.name);
    let search = search.and(by::DAG_ID.is(&found.row.dag_id)).by(by::ID.descending());
    let mut versions = VERSIONS.rows(&mut db, &search.page(turned.skip(), turned.most())).await?;
    let head = Head::new(&found, "code", shell.now);
    let (before, after) =
        turned.cut(&mut versions, |page| format!("{}/versions?page={page}{}", head.href, filters.rest(&[])));
    let runs = runs_by_version(&mut db, &found.row.dag_id).await?;
    let ids: Vec<i32> = versions.iter().map(|version| version.id).collect();
    let workers = workers_by_version(&mut db, &ids).await?;
    let compared =
        if from == to { None } else { Some(Compared::of(&between(&mut db, &found.row.dag_id, (from, to)).await?)) };
    let oldest = (newest - MOST_CHOICES + 1).max(1);
    let mut numbers: Vec<i32> = (oldest..=newest).chain([from, to]).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    numbers.dedup();
    let lines = versions.into_iter().map(|version| VersionLine {
        number: version.number,
        hash: version.hash.chars().take(SHORT_HASH).collect(),
        ago: parts::ago(version.created_at, shell.now),
        runs: runs.get(&version.id).copied().unwrap_or(0),
        workers: workers.get(&version.id).map_or_else(String::new, |names| names.join(", ")),
        is_newest: version.number == newest,
        bundle: version.bundle,
    });
    let page = VersionsPage {
        lines: lines.collect(),
        list_href: format!("{}/versions?from={from}&to={to}", head.href),
        filters,
        before,
        after,
        numbers,
        head,
        most_counted: MOST_COUNTED,
        shell,
        from,
        to,
        compared,
    };
    html(StatusCode::OK, &page)
}

impl Compared {
    fn of(diff: &Diff) -> Compared {
        let line = |whose: &str, change: &FieldChange| {
            let (before, after) = change.texts();
            [whose.to_owned(), change.field.clone(), before, after]
        };
        let of_dag = diff.dag.iter().map(|change| line("", change));
        let of_tasks = diff.changed.iter().flat_map(|task| task.fields.iter().map(|one| line(&task.task_id, one)));
        let mut compared = Compared {
            summary: diff.summary(),
            fields: of_dag.chain(of_tasks).collect(),
            added: diff.added.clone(),
            removed: diff.removed.clone(),
            edges_added: diff.edges_added.iter().map(|edge| (edge.from.clone(), edge.to.clone())).collect(),
            edges_removed: diff.edges_removed.iter().map(|edge| (edge.from.clone(), edge.to.clone())).collect(),
            more: 0,
        };
        let Compared { fields, added, removed, edges_added, edges_removed, more, .. } = &mut compared;
        *more = cut(fields) + cut(added) + cut(removed) + cut(edges_added) + cut(edges_removed);
        compared
    }
}

/// Truncates `lines` to `MOST_LINES` and returns the number of removed lines.
fn cut<T>(lines: &mut Vec<T>) -> usize {
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    more
}
