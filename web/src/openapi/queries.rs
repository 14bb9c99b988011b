//! What each route reads of its query. Handlers read it name by name; Schemathesis holds this against what they take.

use super::kinds::Kind::{
    Address, Count, Cursor, Flag, Index, Moment, Number, Order, Orders, Place, Seconds, Small, Text, Texts, Token,
    UpTo, Wholes, Word, Words,
};
use super::kinds::{Kind, Param, both_ways, param};
use crate::api::task_instances::choice;
use crate::api::{dags, jobs, settings, streams};
use orch_deeds::NOUNS;
use orch_store::alert::ALERTS;
use orch_store::approval::APPROVALS;
use orch_store::asset::{ALIASES, ASSETS, CHECKS, EVENTS, check_by};
use orch_store::audit::AUDIT;
use orch_store::backfill::{self, BACKFILLS};
use orch_store::dag::{DAGS, TAGS};
use orch_store::deadline::DEADLINES;
use orch_store::import_error::IMPORT_ERRORS;
use orch_store::list::{Column, Compare, Filter, Kind as ColumnKind};
use orch_store::output::OUTPUTS;
use orch_store::run::RUNS;
use orch_store::stream;
use orch_store::version::VERSIONS;
use std::borrow::Cow;

/// The words to sort a list with these columns by.
pub(crate) fn orders(columns: &'static [Column]) -> Vec<String> {
    both_ways(&sorted(columns))
}

fn sorted(columns: &'static [Column]) -> Vec<&'static str> {
    columns.iter().filter(|column| column.is_sorted).map(|column| column.name).collect()
}

const OF_DAGS: &str = "/api/v2/dags";
const OF_RUNS: &str = "/api/v2/dags/{dag_id}/dagRuns";
/// What only orch has of an instance.
const OF_TASK: &str = "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/";

/// By the method in upper case and the path of the route.
pub(crate) fn queries(method: &str, path: &str) -> Vec<Param> {
    if let Some((noun, columns)) = NOUNS.iter().find(|(noun, _)| [noun.path, noun.path_of_one].contains(&path)) {
        return match method {
            "GET" if path == noun.path => listed(columns),
            "PATCH" if path == noun.path_of_one => vec![mask(noun.mask())],
            _ => Vec::new(),
        };
    }
    let run = path.strip_prefix("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}");
    if let Some(below) = run {
        return of_run(method, below);
    }
    match (method, path) {
        ("GET" | "PATCH", OF_DAGS) => dags(method),
        ("PATCH", "/api/v2/dags/{dag_id}") => vec![mask(&["is_paused"])],
        ("GET", OF_RUNS) => with_cursor(listed(RUNS.columns)),
        ("GET", "/api/v2/assets" | "/api/orch/v1/assets") => listed(ASSETS.columns),
        ("GET", "/api/orch/v1/alerts") => listed(ALERTS.columns),
        ("GET", "/api/orch/v1/assets/{asset_id}/checks") => listed(CHECKS.columns),
        ("GET", "/api/orch/v1/assets/checks") => listed(check_by::OF_URI),
        ("GET", "/api/v2/assets/aliases") => listed(ALIASES.columns),
        ("GET", "/api/v2/assets/events") => listed(EVENTS.columns),
        (_, path) if path.ends_with("/queuedEvents") => {
            vec![param("before", Moment, "Only what was queued earlier")]
        }
        ("GET", "/api/v2/dags/{dag_id}/dagVersions") => listed(VERSIONS.columns),
        ("GET", "/api/v2/dags/{dag_id}/tasks") => {
            let names = &[
                "task_id",
                "task_display_name",
                "retries",
                "queue",
                "pool",
                "priority_weight",
                "operator_name",
                "trigger_rule",
            ];
            vec![param("order_by", Order(names), "By what; a minus turns it round")]
        }
        ("GET", "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/deadlines") => listed(DEADLINES.columns),
        ("GET", "/api/orch/v1/dags/{dag_id}/diff") => vec![
            param("from", Small, "A version's number; that before `to` without it"),
            param("to", Small, "A version's number; the newest without it"),
        ],
        ("GET", "/api/orch/v1/dags/{dag_id}/structure") => {
            vec![param("version_number", Small, "Of that version; of the newest without it")]
        }
        ("GET", "/api/v2/importErrors" | "/api/orch/v1/importErrors") => listed(IMPORT_ERRORS.columns),
        ("GET", "/api/v2/dagSources/{dag_id}") => vec![param("version_number", Small, "The newest without it")],
        ("GET", "/api/v2/dagStats") => vec![param("dag_ids", Texts, "All without it")],
        ("GET", "/api/v2/dagTags") => listed(TAGS.columns),
        ("GET", "/api/v2/backfills") => listed(backfill::by::OF_DAG),
        ("PUT", "/api/v2/backfills/{backfill_id}/cancel") => {
            vec![param("stop_running", Flag, "Also ends what runs; without it only what waits")]
        }
        ("GET", "/api/orch/v1/backfills") => listed(BACKFILLS.columns),
        ("GET", "/api/orch/v1/backfills/{backfill_id}") => page().into(),
        ("GET", "/api/v2/config") => vec![param("section", Word(&["orch"]), "There is one section")],
        ("GET", "/api/v2/eventLogs") => listed(AUDIT.columns),
        ("GET", "/api/v2/jobs") => listed(jobs::COLUMNS),
        ("GET", "/api/v2/dagWarnings") => listed(settings::WARNING_COLUMNS),
        ("GET", "/api/v2/plugins" | "/api/v2/providers") => page().into(),
        ("GET", "/api/v2/auth/login") => {
            vec![param("next", Address, "To go to afterwards")]
        }
        ("GET", "/api/orch/v1/events") => {
            vec![param("dag_id", Texts, "Only of these DAGs"), param("run_id", Texts, "Only of these runs")]
        }
        ("POST", "/api/orch/v1/dags/{dag_id}/trigger") => vec![
            param("wait", UpTo(300), "So long for the end of the run; 30 without it"),
            param("result", Texts, "Tasks whose outputs come with the end"),
        ],
        ("GET", path) if path.starts_with(OF_TASK) => vec![map_index()],
        ("GET", "/api/orch/v1/sql") => vec![param("limit", Count(50), "At most so many; no more than 200")],
        ("GET", path) if path.starts_with(OF_TABLE) && path != OF_TABLE => {
            let mut all = lake_page().to_vec();
            if path.ends_with("/files") {
                all.push(param("snapshot_id", Wholes, "Of that snapshot; of the newest without it"));
            }
            all
        }
        ("GET", "/api/orch/v1/dashboards/{dashboard_name}") => {
            vec![param("filter", Texts, "The value of a filter, as in `day:2026-11-20`")]
        }
        ("GET", "/api/orch/v1/streams") => listed(stream::by::ALL),
        ("GET", "/api/orch/v1/streams/{stream_name}/minutes") => {
            vec![param("hours", Count(streams::USUAL_HOURS), "Of the last hours; no more than 24")]
        }
        ("GET", "/api/orch/v1/topic-readers") => vec![param("topic_name", Text, "Of this topic")],
        ("GET", "/api/orch/v1/topics/{topic_name}/records") => vec![
            param("partition", Count(0), "Of this partition"),
            param("offset", Place, "From this offset on; the newest records without it"),
            param("at", Moment, "From the first record on that is not older, where no offset is named"),
            param("key", Text, "The newest records with this key, among the last 100,000 of the partition"),
            param("limit", Count(50), "Maximum number of records; no more than 1,000"),
            param("wait", UpTo(20), "Where there is no record yet: seconds to wait for one"),
        ],
        _ => Vec::new(),
    }
}

const OF_TABLE: &str = "/api/orch/v1/lake/tables/{namespace}/{table}";

fn lake_page() -> [Param; 2] {
    [param("limit", Count(100), "At most so many; no more than 1,000"), param("offset", Count(0), "Leave out so many")]
}

/// Below one run.
fn of_run(method: &str, below: &str) -> Vec<Param> {
    let task = below.strip_prefix("/taskInstances/{task_id}");
    match (method, below, task) {
        ("PATCH", "", _) => vec![mask(&["state", "note"])],
        ("GET", "/wait", _) => vec![
            Param { required: true, ..param("interval", Seconds, "Between two lines") },
            param("result", Texts, "Tasks whose outputs come with the end"),
        ],
        ("GET", "/hitlDetails", _) => listed(APPROVALS.columns),
        ("GET", "/taskInstances", _) => with_cursor(listed(choice::COLUMNS)),
        ("PATCH", "/taskInstances/list", _) | ("PATCH", _, Some("" | "/dry_run")) => {
            vec![map_index(), mask(&["new_state", "note"])]
        }
        ("PATCH", _, Some("/{map_index}" | "/{map_index}/dry_run")) => vec![mask(&["new_state", "note"])],
        ("PATCH", "/taskGroupInstances/{group_id}" | "/taskGroupInstances/{group_id}/dry_run", _) => {
            vec![mask(&["new_state", "note"])]
        }
        ("GET", _, Some("/listMapped")) => listed(choice::COLUMNS),
        ("GET", _, Some("/logs/{try_number}")) => vec![
            map_index(),
            param("full_content", Flag, "More of it at once"),
            param("token", Token, "Go on where an answer ended"),
        ],
        ("GET", _, Some("/tries" | "/tries/{task_try_number}" | "/dependencies" | "/externalLogUrl/{try_number}")) => {
            vec![map_index()]
        }
        ("GET", _, Some("/links")) => vec![map_index(), param("try_number", Wholes, "Of that try")],
        ("GET", _, Some("/xcomEntries")) => listed(OUTPUTS.columns),
        ("GET", _, Some("/xcomEntries/{xcom_key}")) => vec![
            map_index(),
            param("stringify", Flag, "The value as text"),
            param("deserialize", Flag, "Values are JSON either way"),
        ],
        ("DELETE", _, Some("/xcomEntries/{xcom_key}")) => vec![map_index()],
        _ => Vec::new(),
    }
}

fn page() -> [Param; 2] {
    [param("limit", Count(50), "At most so many; no more than 100"), param("offset", Count(0), "Leave out so many")]
}

/// What a list with these columns may be asked.
fn listed(columns: &'static [Column]) -> Vec<Param> {
    let mut all = page().to_vec();
    let orders = sorted(columns);
    if !orders.is_empty() {
        all.push(param("order_by", Orders(orders.into()), "Field to sort by; `-` before it sorts in descending order"));
    }
    for column in columns {
        column.filters.iter().for_each(|filter| filtered(&mut all, column, *filter));
    }
    all
}

fn filtered(all: &mut Vec<Param>, column: &Column, filter: Filter) {
    let Column { name, about, .. } = *column;
    let bounds = |kind: &Kind, words: [&'static str; 4]| {
        let named = Compare::ALL.iter().map(|(end, _)| format!("{name}_{end}"));
        named.zip(words).map(|(name, about)| param(name, kind.clone(), about)).collect::<Vec<_>>()
    };
    match (filter, column.kind) {
        (Filter::Is, ColumnKind::Text) => all.push(param(name, Text, about)),
        (Filter::Must, _) => all.push(Param { required: true, ..param(name, Text, about) }),
        (Filter::Is, ColumnKind::Words(words)) => all.push(param(name, Word(words.words), about)),
        (Filter::Is, ColumnKind::Flag) | (Filter::Switch(_), _) => all.push(param(name, Flag, about)),
        (Filter::Is, _) | (Filter::Absent, ColumnKind::Whole) => all.push(param(name, Index, about)),
        (Filter::AnyOf, ColumnKind::Words(words)) => all.push(param(name, Words(said(words.words)), about)),
        (Filter::AnyOf, ColumnKind::Whole) => all.push(param(name, Wholes, about)),
        (Filter::AnyOf | Filter::NoneOf, _) => all.push(param(name, Texts, about)),
        (Filter::Pattern, _) => {
            let about = if about.is_empty() || column.filters.len() > 1 { PATTERN } else { about };
            all.push(param(format!("{name}_pattern"), Text, about));
        }
        (Filter::Prefix, _) => all.push(param(format!("{name}_prefix_pattern"), Text, PREFIX)),
        (Filter::Search | Filter::Absent, _) => all.push(param(name, Text, about)),
        (Filter::Range, ColumnKind::Number) => {
            all.extend(bounds(&Number, ["So long or longer", "Longer", "So long or shorter", "Shorter"]));
        }
        (Filter::Range, _) => all.extend(bounds(&Moment, ["Then or later", "Later", "Then or earlier", "Earlier"])),
        (Filter::Bound(_), _) => all.push(param(name, Moment, about)),
    }
}

const PATTERN: &str = "That is in it, in any case; `|` between alternatives";
const PREFIX: &str = "It begins so; `|` between alternatives";

/// What has no state yet may also be called `no_status`.
fn said(words: &'static [&'static str]) -> Cow<'static, [&'static str]> {
    if words.contains(&"none") { [words, &["no_status"]].concat().into() } else { words.into() }
}

fn with_cursor(mut all: Vec<Param>) -> Vec<Param> {
    all.push(param("cursor", Cursor, "Page by page: empty, then what the answer says; `offset` does not count"));
    all
}

fn map_index() -> Param {
    param("map_index", Index, "Of that element; -1: not mapped")
}

fn mask(fields: impl Into<Cow<'static, [&'static str]>>) -> Param {
    param("update_mask", Words(fields.into()), "Only these fields of the body count")
}

fn dags(method: &str) -> Vec<Param> {
    let mut all = listed(DAGS.columns);
    all.extend([
        param(dags::TAGS, Texts, "With these tags"),
        param(dags::TAGS_MODE, Word(dags::TAGS_MODES), "One of the tags, or all"),
        param(dags::FAVORITE, Flag, "The caller's favorites, or all others"),
    ]);
    if method == "PATCH" {
        all.push(mask(&["is_paused"]));
    }
    all
}
