//! `/dags/{dag_id}/code`: the structure of a version as it was registered, the list of versions, and what each
//! changed. orch stores no source code: the structure contains the file and line of each task.

use super::{Head, find};
use crate::extract::{DagPath, Query};
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_document::diff::Diff;
use orch_store::list::Search;
use orch_store::narrow;
use orch_store::version::{VERSIONS, by, spec_of, structure};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Template)]
#[template(path = "pages/dag/code.html")]
struct CodePage {
    shell: Shell,
    head: Head,
    number: i32,
    is_newest: bool,
    place: String,
    /// The structure without its tasks, as JSON.
    whole: String,
    tasks: Vec<TaskCode>,
    more_tasks: usize,
    versions: Vec<VersionLine>,
    more_versions: bool,
    changes: Option<Changes>,
}

struct TaskCode {
    id: String,
    kind: String,
    place: String,
    doc: String,
    json: String,
}

struct VersionLine {
    number: i32,
    href: String,
    bundle: String,
    ago: parts::Ago,
    is_shown: bool,
}

/// Difference from the previous version.
struct Changes {
    before: i32,
    diff: Diff,
}

const MOST_VERSIONS: i64 = 50;
const MOST_TASKS: usize = 200;
/// Maximum number of characters of JSON, for one task and for the rest of the structure.
const MOST_CHARS: usize = 6_000;
const MOST_NAMES: usize = 12;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    query: Query,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let newest = found.row.version_number;
    let number = match query.text("version") {
        None => newest,
        Some(text) => text.parse().map_err(|_| Refusal::bad_request("`version` is a number"))?,
    };
    let missing =
        || Refusal::not_found(format!("`{}` has no version {number}: the newest is {newest}", found.row.dag_id));
    let spec = structure(&mut db, &found.row.dag_id, number).await?.ok_or_else(missing)?;
    let before = if number > 1 { spec_of(&mut db, &found.row.dag_id, number - 1).await? } else { None };
    let diff = before.and_then(|before| Some(Diff::between(&before, &serde_json::from_value(spec.clone()).ok()?)));
    let search = Search::default().and(by::DAG_ID.is(&found.row.dag_id)).by(by::ID.descending());
    let mut versions = VERSIONS.rows(&mut db, &search.page(0, MOST_VERSIONS + 1)).await?;
    let more_versions = versions.len() as i64 > MOST_VERSIONS;
    versions.truncate(narrow::size(MOST_VERSIONS));
    let head = Head::new(&found, "code", shell.now);
    let tasks = tasks_of(&spec);
    let mut whole = spec.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields.remove("tasks");
    }
    let file = spec["location"]["file"].as_str().unwrap_or_default();
    let page = CodePage {
        place: if file.is_empty() { String::new() } else { format!("{file}:{}", spec["location"]["line"]) },
        more_tasks: tasks.len().saturating_sub(MOST_TASKS),
        tasks: tasks.values().take(MOST_TASKS).map(|task| code(task)).collect(),
        whole: parts::cut(format!("{whole:#}"), MOST_CHARS),
        versions: versions
            .into_iter()
            .map(|version| VersionLine {
                href: format!("{}/code?version={}", head.href, version.number),
                is_shown: version.number == number,
                ago: parts::ago(version.created_at, shell.now),
                number: version.number,
                bundle: version.bundle,
            })
            .collect(),
        changes: diff.map(|diff| Changes { before: number - 1, diff }),
        is_newest: number == newest,
        more_versions,
        number,
        head,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the tasks by their index in the DAG.
fn tasks_of(spec: &Value) -> BTreeMap<usize, &Value> {
    spec["tasks"].as_array().into_iter().flatten().enumerate().collect()
}

fn code(task: &Value) -> TaskCode {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let place = [&task["defined"], &task["added"]].into_iter().find(|place| !text(&place["file"]).is_empty());
    TaskCode {
        id: text(&task["task_id"]),
        kind: text(&task["kind"]),
        place: place.map(|place| format!("{}:{}", text(&place["file"]), place["line"])).unwrap_or_default(),
        doc: text(&task["doc"]).lines().next().unwrap_or_default().into(),
        json: parts::cut(format!("{task:#}"), MOST_CHARS),
    }
}

impl Changes {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let named = |names: Vec<&str>| {
            let more = names.len().saturating_sub(MOST_NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{}{more}", names[..names.len().min(MOST_NAMES)].join(", "))
        };
        let Diff { added, removed, changed, .. } = &self.diff;
        let lines = [
            ("New", added.iter().map(String::as_str).collect()),
            ("Gone", removed.iter().map(String::as_str).collect()),
            ("Changed", changed.iter().map(|task| task.task_id.as_str()).collect::<Vec<_>>()),
            ("Of the DAG", self.diff.settings()),
        ];
        lines.into_iter().filter(|(_, names)| !names.is_empty()).map(|(words, names)| (words, named(names))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_spec::DagSpec;
    use serde_json::{from_value, json};

    #[test]
    fn a_version_says_what_it_changed() {
        let task = |id: &str, retries: u32, line: u32| {
            let place = json!({ "file": "a.rs", "line": line });
            json!({ "task_id": id, "kind": "rust", "retries": retries, "added": place })
        };
        let spec = |tasks: Value, catchup: bool| {
            from_value::<DagSpec>(json!({ "dag_id": "d", "catchup": catchup, "tasks": tasks })).unwrap()
        };
        let before = spec(json!([task("same", 0, 1), task("more", 0, 2), task("gone", 0, 3)]), false);
        let now = spec(json!([task("same", 0, 9), task("more", 2, 2), task("new", 0, 3)]), true);
        let changes = Changes { before: 1, diff: Diff::between(&before, &now) };
        let said = |words: &'static str, names: &str| (words, names.to_string());
        assert_eq!(
            changes.lines(),
            [said("New", "new"), said("Gone", "gone"), said("Changed", "more"), said("Of the DAG", "catchup")]
        );
    }
}
