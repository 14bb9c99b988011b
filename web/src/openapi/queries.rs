//! What each route reads of its query. Handlers read it name by name; Schemathesis holds this against what they take.

use super::kinds::Kind::{
    Address, Count, Cursor, Flag, Index, Moment, Number, Order, Orders, Place, Seconds, Small, Text, Texts, Token,
    UpTo, Wholes, Word, Words,
};
use super::kinds::{Param, param};
use crate::api::alerts::{self, KINDS};
use crate::api::assets::OUTCOMES;
use crate::api::{hitl, streams};
use orch_deeds::{NOUNS, Noun};
use std::borrow::Cow;

pub(crate) use super::kinds::both_ways;

const STATES: &[&str] = &["queued", "running", "success", "failed"];
const TYPES: &[&str] =
    &["backfill", "scheduled", "manual", "operator_triggered", "asset_triggered", "asset_materialization"];
const TASK_STATES: &[&str] = &[
    "no_status",
    "scheduled",
    "queued",
    "running",
    "restarting",
    "success",
    "failed",
    "skipped",
    "upstream_failed",
    "up_for_retry",
    "up_for_reschedule",
    "deferred",
    "awaiting_input",
    "removed",
];
const DAG_ORDERS: &[&str] =
    &["dag_id", "dag_display_name", "next_dagrun", "state", "last_run_state", "start_date", "last_run_start_date"];
pub(crate) const RUN_ORDERS: &[&str] = &[
    "id",
    "state",
    "dag_id",
    "run_id",
    "dag_run_id",
    "duration",
    "conf",
    "partition_date",
    "run_after",
    "logical_date",
    "start_date",
    "end_date",
    "updated_at",
];
pub(crate) const INSTANCE_ORDERS: &[&str] = &[
    "id",
    "state",
    "duration",
    "start_date",
    "end_date",
    "map_index",
    "rendered_map_index",
    "try_number",
    "logical_date",
    "run_after",
    "data_interval_start",
    "data_interval_end",
    "operator",
    "task_display_name",
    "task_id",
];
const RUN_TIMES: [&str; 5] = ["run_after", "logical_date", "start_date", "end_date", "updated_at"];
const OF_DAGS: &str = "/api/v2/dags";
const OF_RUNS: &str = "/api/v2/dags/{dag_id}/dagRuns";
/// What only orch has of an instance.
const OF_TASK: &str = "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/";

/// By the method in upper case and the path of the route.
pub(crate) fn queries(method: &str, path: &str) -> Vec<Param> {
    if let Some(noun) = NOUNS.iter().find(|noun| [noun.path, noun.path_of_one].contains(&path)) {
        return of_noun(noun, method, path);
    }
    let run = path.strip_prefix("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}");
    if let Some(below) = run {
        return of_run(method, below);
    }
    match (method, path) {
        ("GET" | "PATCH", OF_DAGS) => dags(method),
        ("PATCH", "/api/v2/dags/{dag_id}") => vec![mask(&["is_paused"])],
        ("GET", OF_RUNS) => runs(),
        ("GET", "/api/v2/assets" | "/api/orch/v1/assets") => {
            let mut all = paged(&["id", "name", "uri", "created_at", "updated_at"]);
            patterns(&mut all, &["name", "uri"]);
            all.extend([
                param("dag_ids", Texts, "One of these DAGs names it"),
                param("only_active", Flag, "Only those that a DAG still names; true if not given"),
            ]);
            if path == "/api/orch/v1/assets" {
                all.push(param("stale", Flag, "Only stale ones, or only others"));
            }
            all
        }
        ("GET", "/api/orch/v1/alerts") => {
            let mut all = page().to_vec();
            all.extend([
                param("state", Word(alerts::STATES), "Only alerts in that state"),
                param("kind", Word(KINDS), "Only alerts of that kind"),
                param("dag_id", Text, "Of that DAG"),
                param("dag_run_id", Text, "Of runs of that id"),
                param("task_id", Text, "Of that task"),
            ]);
            all
        }
        ("GET", "/api/orch/v1/assets/checks" | "/api/orch/v1/assets/{asset_id}/checks") => {
            let mut all = page().to_vec();
            all.push(param("outcome", Word(OUTCOMES), "Only checks that ended so"));
            if path == "/api/orch/v1/assets/checks" {
                all.push(Param { required: true, ..param("uri", Text, "Of the data at that URI") });
            }
            all
        }
        ("GET", "/api/v2/assets/aliases") => {
            let mut all = paged(&["id", "name"]);
            patterns(&mut all, &["name"]);
            all
        }
        ("GET", "/api/v2/assets/events") => {
            let mut all = paged(&["source_task_id", "source_dag_id", "source_run_id", "source_map_index", "timestamp"]);
            patterns(&mut all, &["name"]);
            times(&mut all, &["timestamp"]);
            all.extend([
                param("asset_id", Index, "Of that asset"),
                param("source_dag_id", Text, "By a task of that DAG"),
                param("source_task_id", Text, "By that task"),
                param("source_run_id", Text, "In that run"),
                param("source_map_index", Index, "By that element; -1: not mapped"),
            ]);
            all
        }
        (_, path) if path.ends_with("/queuedEvents") => {
            vec![param("before", Moment, "Only what was queued earlier")]
        }
        ("GET", "/api/v2/dags/{dag_id}/dagVersions") => {
            let mut all = paged(&["id", "version_number", "bundle_name", "bundle_version"]);
            all.extend([
                param("version_number", Wholes, "Of that number"),
                param("bundle_name", Text, "Of that bundle"),
                param("bundle_version", Text, "Bundles have no versions: finds nothing"),
            ]);
            all
        }
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
        ("GET", "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/deadlines") => {
            let mut all = page().to_vec();
            all.push(param("missed", Flag, "Only missed ones, or only others"));
            all
        }
        ("GET", "/api/orch/v1/dags/{dag_id}/diff") => vec![
            param("from", Small, "A version's number; that before `to` without it"),
            param("to", Small, "A version's number; the newest without it"),
        ],
        ("GET", "/api/orch/v1/dags/{dag_id}/structure") => {
            vec![param("version_number", Small, "Of that version; of the newest without it")]
        }
        ("GET", "/api/orch/v1/importErrors") => page().into(),
        ("GET", "/api/v2/dagSources/{dag_id}") => vec![param("version_number", Small, "The newest without it")],
        ("GET", "/api/v2/dagStats") => vec![param("dag_ids", Texts, "All without it")],
        ("GET", "/api/v2/dagTags") => {
            let mut all = paged(&["name"]);
            patterns(&mut all, &["tag_name"]);
            all
        }
        ("GET", "/api/v2/backfills") => {
            let mut all = paged(&["id"]);
            all.push(Param { required: true, ..param("dag_id", Text, "Of that DAG") });
            all
        }
        ("PUT", "/api/v2/backfills/{backfill_id}/cancel") => {
            vec![param("stop_running", Flag, "Also ends what runs; without it only what waits")]
        }
        ("GET", "/api/orch/v1/backfills") => {
            let mut all: Vec<Param> = page().into();
            all.extend([param("dag_id", Text, "Of that DAG"), param("active", Flag, "Only those that are not over")]);
            all
        }
        ("GET", "/api/orch/v1/backfills/{backfill_id}") => page().into(),
        ("GET", "/api/v2/config") => vec![param("section", Word(&["orch"]), "There is one section")],
        ("GET", "/api/v2/eventLogs") => event_logs(),
        ("GET", "/api/v2/jobs") => {
            let orders = &[
                "id",
                "dag_id",
                "state",
                "job_type",
                "start_date",
                "end_date",
                "latest_heartbeat",
                "hostname",
                "unixname",
            ];
            let mut all = paged(orders);
            all.push(param("is_alive", Flag, "Only what lives, or what does not"));
            all.extend(
                ["job_type", "job_state", "hostname", "executor_class"].map(|name| param(name, Text, "Exactly that")),
            );
            times(&mut all, &["start_date", "end_date"]);
            all
        }
        ("GET", "/api/v2/importErrors") => {
            let mut all = paged(&["id", "import_error_id", "timestamp", "filename", "bundle_name", "stacktrace"]);
            all.extend([param("filename", Text, "Of that file"), param("bundle_name", Text, "Of that bundle")]);
            patterns(&mut all, &["filename"]);
            all
        }
        ("GET", "/api/v2/dagWarnings") => {
            let mut all = paged(&["dag_id", "warning_type", "message", "timestamp"]);
            let kinds = &["asset conflict", "non-existent pool", "runtime varying value"];
            all.extend([param("dag_id", Text, "Of that DAG"), param("warning_type", Word(kinds), "Of that kind")]);
            all
        }
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
        ("GET", "/api/orch/v1/streams") => {
            let mut all = paged(streams::ORDERS);
            patterns(&mut all, &["name"]);
            all.push(param("state", Words(streams::STATES.into()), "In one of these states"));
            all
        }
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
        ("GET", "/hitlDetails", _) => {
            let mut all = paged(hitl::ORDERS);
            patterns(&mut all, &["dag_id", "task_id"]);
            times(&mut all, &["created_at"]);
            all.extend([
                param("dag_id", Text, "Of that DAG, when all are asked for"),
                param("task_id", Text, "Of that task"),
                map_index(),
                param(
                    "state",
                    Words(TASK_STATES.into()),
                    "Of its instance; `awaiting_input`: only what can be answered now",
                ),
                param("response_received", Flag, "Only what was answered, or only what was not"),
                param("responded_by_user_id", Texts, "Answered by one of these users"),
                param("responded_by_user_name", Texts, "The same"),
                param("subject_search", Text, "That is in the subject, in any case; `|` between alternatives"),
                param("body_search", Text, "That is in the body, in any case; `|` between alternatives"),
            ]);
            all
        }
        ("GET", "/taskInstances", _) => instances(true),
        ("PATCH", "/taskInstances/list", _) | ("PATCH", _, Some("" | "/dry_run")) => {
            vec![map_index(), mask(&["new_state", "note"])]
        }
        ("PATCH", _, Some("/{map_index}" | "/{map_index}/dry_run")) => vec![mask(&["new_state", "note"])],
        ("PATCH", "/taskGroupInstances/{group_id}" | "/taskGroupInstances/{group_id}/dry_run", _) => {
            vec![mask(&["new_state", "note"])]
        }
        ("GET", _, Some("/listMapped")) => instances(false),
        ("GET", _, Some("/logs/{try_number}")) => vec![
            map_index(),
            param("full_content", Flag, "More of it at once"),
            param("token", Token, "Go on where an answer ended"),
        ],
        ("GET", _, Some("/tries" | "/tries/{task_try_number}" | "/dependencies" | "/externalLogUrl/{try_number}")) => {
            vec![map_index()]
        }
        ("GET", _, Some("/links")) => vec![map_index(), param("try_number", Wholes, "Of that try")],
        ("GET", _, Some("/xcomEntries")) => {
            let mut all = paged(&["key", "dag_id", "run_id", "task_id", "map_index", "timestamp", "run_after"]);
            all.extend([
                map_index(),
                param("map_index_filter", Index, "The same"),
                param("xcom_key", Text, "Of that name"),
            ]);
            patterns(&mut all, &["xcom_key", "task_id", "run_id", "dag_display_name"]);
            times(&mut all, &["logical_date", "run_after"]);
            all
        }
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

fn of_noun(noun: &'static Noun, method: &str, path: &str) -> Vec<Param> {
    match method {
        "GET" if path == noun.path => {
            let mut all = paged(noun.orders.iter().map(|(word, _)| *word).collect::<Vec<_>>());
            patterns(&mut all, &[noun.path_key]);
            all
        }
        "PATCH" if path == noun.path_of_one => vec![mask(noun.mask())],
        _ => Vec::new(),
    }
}

fn paged(orders: impl Into<Cow<'static, [&'static str]>>) -> Vec<Param> {
    let mut all = page().to_vec();
    all.push(param("order_by", Orders(orders.into()), "Field to sort by; `-` before it sorts in descending order"));
    all
}

fn map_index() -> Param {
    param("map_index", Index, "Of that element; -1: not mapped")
}

fn mask(fields: impl Into<Cow<'static, [&'static str]>>) -> Param {
    param("update_mask", Words(fields.into()), "Only these fields of the body count")
}

fn times(all: &mut Vec<Param>, names: &[&'static str]) {
    for name in names {
        for (suffix, about) in
            [("gte", "Then or later"), ("gt", "Later"), ("lte", "Then or earlier"), ("lt", "Earlier")]
        {
            all.push(param(format!("{name}_{suffix}"), Moment, about));
        }
    }
}

fn durations(all: &mut Vec<Param>) {
    for (suffix, about) in
        [("gte", "So long or longer"), ("gt", "Longer"), ("lte", "So long or shorter"), ("lt", "Shorter")]
    {
        all.push(param(format!("duration_{suffix}"), Number, about));
    }
}

fn patterns(all: &mut Vec<Param>, names: &[&'static str]) {
    for name in names {
        all.push(param(format!("{name}_pattern"), Text, "That is in it, in any case; `|` between alternatives"));
        all.push(param(format!("{name}_prefix_pattern"), Text, "It begins so; `|` between alternatives"));
    }
}

fn dags(method: &str) -> Vec<Param> {
    let mut all = paged(DAG_ORDERS);
    patterns(&mut all, &["dag_id", "dag_display_name"]);
    all.extend([
        param("tags", Texts, "With these tags"),
        param("tags_match_mode", Word(&["any", "all"]), "One of the tags, or all"),
        param("owners", Texts, "Of one of these owners"),
        param("timetable_type", Texts, "With one of these timetables, such as `CronTriggerTimetable`"),
        param("paused", Flag, "Only paused ones, or only others"),
        param("exclude_stale", Flag, "Without those that no worker has; true without it"),
        param("has_import_errors", Flag, "Their files are broken, or not"),
        param("is_favorite", Flag, "The caller's favorites, or all others"),
        param("has_asset_schedule", Flag, "Assets start their runs, or not"),
        param("bundle_name", Text, "Of that bundle"),
        param("bundle_version", Text, "Bundles here have none"),
        param("asset_dependency", Text, "An asset with that in its name or URI starts its runs or is read by a task"),
        param("last_dag_run_state", Word(STATES), "Of the last run"),
        param("dag_run_state", Words(STATES.into()), "Some run is in one of these"),
    ]);
    times(&mut all, &["dag_run_start_date", "dag_run_end_date"]);
    if method == "PATCH" {
        all.push(mask(&["is_paused"]));
    }
    all
}

fn runs() -> Vec<Param> {
    let mut all = paged(RUN_ORDERS);
    all.push(param("cursor", Cursor, "Page by page: empty, then what the answer says; `offset` does not count"));
    times(&mut all, &RUN_TIMES);
    durations(&mut all);
    patterns(&mut all, &["run_id", "triggering_user_name", "dag_id", "partition_key"]);
    all.extend([
        param("state", Words(STATES.into()), "In one of these states"),
        param("run_type", Words(TYPES.into()), "Of one of these types"),
        param("dag_version", Wholes, "Of one of these versions"),
        param("conf_contains", Text, "That is in its conf"),
        param("bundle_version", Text, "Bundles here have none"),
        param("partition_date_gte", Text, "Runs here have none"),
        param("partition_date_lte", Text, "Runs here have none"),
        param("consuming_asset_pattern", Text, "An asset with that in its name or URI began it"),
    ]);
    all
}

fn instances(many: bool) -> Vec<Param> {
    let mut all = paged(INSTANCE_ORDERS);
    if many {
        all.push(param("cursor", Cursor, "Page by page: empty, then what the answer says; `offset` does not count"));
    }
    times(&mut all, &RUN_TIMES);
    durations(&mut all);
    patterns(
        &mut all,
        &["dag_id", "run_id", "task_display_name", "pool_name", "queue_name", "operator_name", "rendered_map_index"],
    );
    all.extend([
        param("state", Words(TASK_STATES.into()), "In one of these states"),
        param("task_id", Texts, "One of these tasks"),
        param("task_group_id", Texts, "In one of these groups"),
        param("map_index", Wholes, "One of these elements"),
        param("try_number", Wholes, "At one of these tries"),
        param("version_number", Wholes, "Of runs of one of these versions"),
        param("pool", Texts, "In one of these pools"),
        param("queue", Texts, "Of one of these queues"),
        param("operator", Texts, "Of one of these kinds"),
        param("executor", Texts, "orch has no executors: finds nothing"),
    ]);
    all
}

fn event_logs() -> Vec<Param> {
    let mut all = paged(&["id", "when", "dttm", "dag_id", "task_id", "run_id", "owner", "event"]);
    all.extend(["dag_id", "task_id", "run_id", "owner", "event"].map(|name| param(name, Text, "Exactly that")));
    patterns(&mut all, &["dag_id", "task_id", "run_id", "owner", "event"]);
    all.extend([
        param("map_index", Wholes, "Of that element"),
        param("try_number", Index, "The log does not say which try it was: finds nothing"),
        param("included_events", Texts, "Only these"),
        param("excluded_events", Texts, "All but these"),
        param("before", Moment, "Earlier"),
        param("after", Moment, "Later"),
    ]);
    all
}
