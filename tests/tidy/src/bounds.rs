//! Every read must be bounded: its statement has a `limit`, or the reason is listed here.

use std::collections::BTreeMap;
use std::path::Path;

use crate::literals::string_literals;
use crate::workspace::{Text, assert_none, contains_word, texts};

/// Statements that are fetched completely without a `limit`: the reason why they return few rows, with the number of
/// such statements in each file.
const WITHOUT_LIMIT: [(&str, &[(&str, usize)]); 8] = [
    (
        "the text of the statement is composed elsewhere, with a `limit`",
        &[("store/src/overview.rs", 1), ("store/src/rollover.rs", 1)],
    ),
    (
        "a row for each argument, or a few, and callers bound the arguments",
        &[
            ("dags/src/weather/events/told.rs", 1),
            ("lake/src/catalog/postgres.rs", 1),
            ("lake/src/catalog/postgres/namespaces.rs", 1),
            ("store/src/backfill/create.rs", 1),
            ("store/src/backup.rs", 1),
            ("store/src/clean/archived.rs", 1),
            ("store/src/dag.rs", 1),
            ("store/src/dag/folder.rs", 1),
            ("store/src/dag/names.rs", 1),
            ("store/src/dashboard.rs", 1),
            ("store/src/deadline/list.rs", 1),
            ("store/src/instance.rs", 1),
            ("store/src/instance/of_runs.rs", 1),
            ("store/src/line.rs", 2),
            ("store/src/live.rs", 1),
            ("store/src/mark.rs", 2),
            ("store/src/registry.rs", 2),
            ("store/src/run/delete.rs", 1),
            ("store/src/run/list.rs", 1),
            ("store/src/step/bind.rs", 1),
            ("store/src/stream.rs", 2),
            ("store/src/stream/share.rs", 2),
            ("store/src/stream/window.rs", 1),
            ("store/src/timing.rs", 1),
            ("store/src/topic.rs", 1),
            ("store/src/topic/produce.rs", 1),
            ("store/src/version.rs", 2),
            ("store/src/version/list.rs", 1),
            ("store/src/watch.rs", 1),
            ("store/src/worker.rs", 1),
            ("store/src/worker/retire.rs", 1),
        ],
    ),
    (
        "what people and bundles declare: DAGs, assets, streams, topics and their partitions, tables of the lake, users, schemas",
        &[
            ("lake/src/catalog/postgres.rs", 2),
            ("store/src/alert/tell.rs", 1),
            ("store/src/asset/distribute.rs", 1),
            ("store/src/asset/event.rs", 1),
            ("store/src/asset/list.rs", 2),
            ("store/src/backup.rs", 1),
            ("store/src/dag.rs", 2),
            ("store/src/dag/folder.rs", 2),
            ("store/src/stream.rs", 2),
            ("store/src/stream/people.rs", 2),
            ("store/src/stream/runs.rs", 1),
            ("store/src/stream/share.rs", 1),
            ("store/src/stream/skip.rs", 1),
            ("store/src/topic.rs", 1),
            ("store/src/topic/reader.rs", 1),
            ("store/src/topic/retention.rs", 2),
            ("store/src/user.rs", 1),
        ],
    ),
    (
        "rows of one run, or of runs that the caller has counted, bounded by `max_map_elements`",
        &[
            ("store/src/clear.rs", 2),
            ("store/src/doctor/history.rs", 2),
            ("store/src/instance.rs", 2),
            ("store/src/instance/of_runs.rs", 1),
            ("store/src/run/quiet.rs", 2),
            ("store/src/run_lock.rs", 2),
        ],
    ),
    (
        "what runs at a time: slots of workers, and `max_active_runs` of a backfill",
        &[("store/src/backfill/change.rs", 1), ("store/src/worker/reap.rs", 4)],
    ),
    (
        "a row for each hour, minute or week of a period, or for each kind of alert",
        &[("store/src/monitor.rs", 3), ("store/src/partition.rs", 2), ("store/src/stream/people.rs", 1)],
    ),
    ("columns of a table", &[("store/src/clean/archived.rs", 1)]),
    ("parts of one output, which has at most `output::MAX_BYTES`", &[("store/src/output.rs", 1)]),
];

#[test]
fn every_fetch_all_has_a_bound() {
    let queries: BTreeMap<&Path, &Text> = texts().iter().map(|file| (file.path.as_path(), file)).collect();
    let listed: Vec<(&str, usize)> = WITHOUT_LIMIT.iter().flat_map(|(_, files)| files.iter().copied()).collect();
    let mut allowed: BTreeMap<&str, usize> = BTreeMap::new();
    for (file, count) in listed {
        *allowed.entry(file).or_default() += count;
    }
    let mut offenders = Vec::new();
    for file in texts().iter().filter(|file| file.is_rust() && !file.is_test()) {
        let found = fetches_without_limit(file, &queries);
        let name = file.name();
        let allowed = allowed.remove(name.as_str()).unwrap_or(0);
        if found.len() > allowed {
            offenders.push(format!(
                "{name}: {} statements without `limit` are fetched whole, in lines {found:?}, and {allowed} have a reason: add a \
                 `limit`, read the rows with `fetch` into a `Collected`, or add a reason to WITHOUT_LIMIT",
                found.len()
            ));
        } else if found.len() < allowed {
            offenders.push(format!(
                "{name}: {allowed} statements have a reason in WITHOUT_LIMIT, and {} need one",
                found.len()
            ));
        }
    }
    offenders.extend(allowed.keys().map(|name| format!("{name}: WITHOUT_LIMIT names a file that does not exist")));
    assert_none("statements that may return any number of rows", &offenders);
}

/// Returns the lines of `fetch_all` whose statement has no `limit`.
fn fetches_without_limit(file: &Text, queries: &BTreeMap<&Path, &Text>) -> Vec<usize> {
    let source = file.product();
    let fetches = source.match_indices("fetch_all").map(|(at, _)| at);
    let open = fetches.filter(|at| !has_limit(statement_before(source, *at), &file.path, queries));
    open.map(|at| source[..at].matches('\n').count() + 1).collect()
}

/// Returns the source from the last call of a query function to `end`.
fn statement_before(source: &str, end: usize) -> &str {
    let start = source[..end].rfind("query").map_or(0, |at| source[..at].rfind('\n').unwrap_or(0));
    &source[start..end]
}

/// Returns true if the statement in this source, or in the file that it names, has a `limit`.
fn has_limit(source: &str, path: &Path, queries: &BTreeMap<&Path, &Text>) -> bool {
    string_literals(source).into_iter().any(|(_, literal)| {
        let package = path.components().next().map(|part| Path::new(part.as_os_str()).join(literal));
        let query = package.and_then(|path| queries.get(path.as_path()));
        let text = query.map_or(literal, |query| &query.content);
        text.lines().any(|line| !line.trim_start().starts_with("--") && contains_word(line, "limit"))
    })
}

#[test]
fn a_limit_is_one_of_the_statement() {
    let limited = |source: &str| has_limit(source, Path::new("store/src/run.rs"), &BTreeMap::new());
    assert!(limited("query(\"select 1 limit $1\").bind(most).fetch_all"));
    assert!(!limited("query(\"select 1\").bind(limit) // limit\n.fetch_all"));
    assert!(!limited("query(\"select limit_name from slot\").fetch_all"));
}
