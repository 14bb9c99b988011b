//! What each route does, in one line for people, by groups in the order in which they are read.

use orch_deeds::NOUNS;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Method, path, and what it does.
pub(crate) type Line = (&'static str, &'static str, Cow<'static, str>);

/// Every route, with those of the nouns behind the others of their group.
pub(crate) static GROUPS: LazyLock<Vec<(&'static str, Vec<Line>)>> = LazyLock::new(|| {
    let group = |(group, lines): &Written| {
        let written = lines.iter().map(|(method, path, line)| (*method, *path, Cow::from(*line)));
        let nouns = NOUNS.into_iter().map(|(noun, _)| noun).filter(|noun| noun.group == *group);
        let of_noun = nouns.flat_map(|noun| {
            let routes =
                [noun.path, noun.path_of_one].into_iter().flat_map(|path| METHODS.map(|method| (method, path)));
            routes.filter_map(|(method, path)| Some((method, path, noun.line(method, path)?.into())))
        });
        (*group, written.chain(of_noun).collect())
    };
    WRITTEN.iter().map(group).collect()
});

const METHODS: [&str; 4] = ["GET", "POST", "PATCH", "DELETE"];

/// A group, and lines of it as they are written here.
type Written = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

const WRITTEN: &[Written] = &[
    (
        "Logging in",
        &[
            ("POST", "/auth/token", "A token for a name and a password"),
            ("POST", "/auth/token/cli", "A token that expires sooner, for a person at a terminal"),
            ("GET", "/api/v2/auth/login", "Leads a browser to the login"),
            ("GET", "/api/v2/auth/logout", "Leads a browser to where it logs out"),
        ],
    ),
    (
        "orch's own",
        &[
            (
                "POST",
                "/api/orch/v1/dags/{dag_id}/trigger",
                "Triggers a run, waits for its end, and answers with what its tasks gave",
            ),
            (
                "GET",
                "/api/orch/v1/events",
                "Runs and task instances that come into another state, and troubles with data, as server-sent events",
            ),
            ("GET", "/api/orch/v1/alerts", "Lists who was told what, and who is to be told"),
            ("POST", "/api/orch/v1/alerts/test", "Sends an alert that tells of nothing over a connection"),
            ("GET", "/api/orch/v1/alerts/{alert_id}", "An alert, and why it was not taken"),
            ("POST", "/api/orch/v1/alerts/{alert_id}/retry", "Sends an alert at once that waits or was given up"),
            ("GET", "/api/orch/v1/assets", "Lists assets with how fresh they are"),
            ("GET", "/api/orch/v1/assets/checks", "What contracts found of the data at a URI, newest first"),
            ("GET", "/api/orch/v1/assets/dependencies", "Which DAGs produce which assets, read them and wait for them"),
            ("GET", "/api/orch/v1/assets/{asset_id}", "How fresh an asset is, who waits for it, and its lineage"),
            ("GET", "/api/orch/v1/assets/{asset_id}/checks", "What contracts found of the data of an asset"),
            ("GET", "/api/orch/v1/overview", "How all of it is now: processes, slots, running runs, failing DAGs"),
            (
                "GET",
                "/api/orch/v1/quality",
                "How good the data is: freshness and checks of all assets, the worst first",
            ),
            (
                "POST",
                "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/cancel",
                "Stops a run: it fails, and what runs of it ends",
            ),
            (
                "POST",
                "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/move",
                "Moves a run to the newest version of its DAG",
            ),
            ("GET", "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/lineage", "Which ways data took in a run"),
            (
                "GET",
                "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/deadlines",
                "The deadlines of a run and whether they were met, or all runs with `~`",
            ),
            ("GET", "/api/orch/v1/dags/{dag_id}/deadlineAlerts", "The deadlines that a DAG names for each of its runs"),
            ("GET", "/api/orch/v1/backfills", "Lists backfills with how far they are"),
            ("POST", "/api/orch/v1/backfills/dry_run", "What a backfill would do for each date, and why not"),
            ("GET", "/api/orch/v1/backfills/{backfill_id}", "A backfill with what became of its dates"),
            ("GET", "/api/orch/v1/dags/{dag_id}/diff", "What is different between two versions of a DAG"),
            (
                "GET",
                "/api/orch/v1/dags/{dag_id}/versions",
                "The versions of a DAG with their runs and workers, the newest first",
            ),
            ("GET", "/api/orch/v1/dags/{dag_id}/presets", "Lists the presets of a DAG: params under a name"),
            ("GET", "/api/orch/v1/dags/{dag_id}/presets/{preset_name}", "A preset"),
            ("PUT", "/api/orch/v1/dags/{dag_id}/presets/{preset_name}", "Keeps a preset, in place of one of that name"),
            ("DELETE", "/api/orch/v1/dags/{dag_id}/presets/{preset_name}", "Deletes a preset"),
            ("GET", "/api/orch/v1/dags/{dag_id}/structure", "The whole structure of a DAG, or of a version of it"),
            ("GET", "/api/orch/v1/importErrors", "Lists broken DAG files with all that is wrong, by line and column"),
            (
                "GET",
                "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/tries",
                "The tries of a task instance, each with why it failed",
            ),
            (
                "GET",
                "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/why",
                "Why a task instance is in its state",
            ),
        ],
    ),
    (
        "The lake",
        &[
            ("GET", "/api/orch/v1/dashboards", "Lists dashboards"),
            (
                "GET",
                "/api/orch/v1/dashboards/{dashboard_name}",
                "The rows of each panel of a dashboard, or the problem of its query",
            ),
            ("GET", "/api/orch/v1/lake/tables", "Lists the tables of the lake with their sizes"),
            ("GET", "/api/orch/v1/lake/tables/{namespace}/{table}", "A table: columns, partitions, properties, refs"),
            ("GET", "/api/orch/v1/lake/tables/{namespace}/{table}/files", "The files that a snapshot is made of"),
            ("GET", "/api/orch/v1/lake/tables/{namespace}/{table}/partitions", "What is in each partition"),
            (
                "GET",
                "/api/orch/v1/lake/tables/{namespace}/{table}/snapshots",
                "What was written when, and the run that did, newest first",
            ),
            ("GET", "/api/orch/v1/sql", "Your own queries, newest first"),
            ("POST", "/api/orch/v1/sql", "Asks the lake in SQL"),
            ("DELETE", "/api/orch/v1/sql/{query_id}", "Cancels a query that runs"),
        ],
    ),
    (
        "DAGs",
        &[
            ("GET", "/api/v2/dags", "Lists DAGs"),
            ("PATCH", "/api/v2/dags", "Pauses or unpauses all that a list with the same filters shows"),
            ("GET", "/api/v2/dags/{dag_id}", "A DAG"),
            ("PATCH", "/api/v2/dags/{dag_id}", "Pauses or unpauses a DAG"),
            ("DELETE", "/api/v2/dags/{dag_id}", "Deletes a DAG with all its runs"),
            ("GET", "/api/v2/dags/{dag_id}/details", "A DAG with its params, times and limits"),
            ("POST", "/api/v2/dags/{dag_id}/favorite", "Makes a DAG one of your favorites"),
            ("POST", "/api/v2/dags/{dag_id}/unfavorite", "Makes it none any more"),
            ("GET", "/api/v2/dags/{dag_id}/tasks", "The tasks of a DAG"),
            ("GET", "/api/v2/dags/{dag_id}/tasks/{task_id}", "A task"),
            ("GET", "/api/v2/dags/{dag_id}/dagVersions", "The versions of a DAG, or of all with `~`"),
            ("GET", "/api/v2/dags/{dag_id}/dagVersions/{version_number}", "A version"),
            ("GET", "/api/v2/dagSources/{dag_id}", "The structure of a version, as JSON text"),
            ("GET", "/api/v2/dagStats", "How many runs are in each state"),
            ("GET", "/api/v2/dagTags", "All tags"),
        ],
    ),
    (
        "Runs",
        &[
            ("GET", "/api/v2/dags/{dag_id}/dagRuns", "Lists runs of a DAG, or of all with `~`"),
            ("POST", "/api/v2/dags/{dag_id}/dagRuns", "Triggers a run"),
            ("PATCH", "/api/v2/dags/{dag_id}/dagRuns", "Changes or deletes many runs"),
            ("POST", "/api/v2/dags/{dag_id}/dagRuns/list", "Lists runs, asked for in a body"),
            ("GET", "/api/v2/dags/{dag_id}/dagRuns/list", "The run that is called `list`"),
            ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", "A run"),
            ("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", "Marks a run, or writes a note on it"),
            ("DELETE", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", "Deletes a run that does not run"),
            ("POST", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear", "Lets a run begin anew, or says what would"),
            ("POST", "/api/v2/dags/{dag_id}/clearDagRuns", "Lets many runs begin anew, or says what would"),
            ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait", "Waits for the end of a run"),
        ],
    ),
    (
        "Assets",
        &[
            ("GET", "/api/v2/assets", "Lists assets"),
            ("GET", "/api/v2/assets/{asset_id}", "An asset"),
            ("GET", "/api/v2/assets/aliases", "Lists aliases of assets"),
            ("GET", "/api/v2/assets/aliases/{asset_alias_id}", "An alias"),
            ("GET", "/api/v2/assets/events", "Lists updates of assets with the runs that followed"),
            ("POST", "/api/v2/assets/events", "Says that an asset was updated"),
            ("POST", "/api/v2/assets/{asset_id}/materialize", "Runs the one DAG that produces an asset"),
            ("GET", "/api/v2/assets/{asset_id}/queuedEvents", "What DAGs have not consumed of an asset"),
            ("DELETE", "/api/v2/assets/{asset_id}/queuedEvents", "Forgets what DAGs have not consumed of an asset"),
            ("GET", "/api/v2/dags/{dag_id}/assets/queuedEvents", "What a DAG has not consumed"),
            ("DELETE", "/api/v2/dags/{dag_id}/assets/queuedEvents", "Forgets what a DAG has not consumed"),
            ("GET", "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents", "Whether a DAG has not consumed an asset"),
            (
                "DELETE",
                "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents",
                "Forgets what a DAG has not consumed of an asset",
            ),
            ("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", "The updates that began a run"),
        ],
    ),
    (
        "Backfills",
        &[
            ("GET", "/api/v2/backfills", "Lists backfills of a DAG"),
            ("POST", "/api/v2/backfills", "Creates a backfill: runs for dates that are past"),
            ("POST", "/api/v2/backfills/dry_run", "The runs that a backfill would make or begin anew"),
            ("GET", "/api/v2/backfills/{backfill_id}", "A backfill"),
            ("PUT", "/api/v2/backfills/{backfill_id}/cancel", "Ends a backfill: dates without a run get none"),
            ("PUT", "/api/v2/backfills/{backfill_id}/pause", "Creates no more runs for now"),
            ("PUT", "/api/v2/backfills/{backfill_id}/unpause", "Goes on"),
        ],
    ),
    (
        "Task instances",
        &[
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
                "Lists task instances; `~` for all DAGs or runs",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
                "Marks many task instances, or writes notes on them",
            ),
            (
                "POST",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list",
                "Lists task instances, asked for in a body",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list",
                "The instance of the task that is called `list`",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list",
                "Marks the instance of the task that is called `list`",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
                "A task instance that is not mapped",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
                "Marks a task instance, or writes a note on it",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run",
                "What a mark would change",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
                "An element of a mapped task",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
                "Marks an element, or writes a note on it",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
                "What a mark of an element would change",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
                "The elements of a mapped task",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies",
                "What stands in the way of a task instance",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies",
                "What stands in the way of an element",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries",
                "The tries of a task instance",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}",
                "One try",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries",
                "The tries of an element",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries/{task_try_number}",
                "One try of an element",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}",
                "Marks all instances of a task group, or writes notes on them",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run",
                "What a mark of a group would change",
            ),
            ("POST", "/api/v2/dags/{dag_id}/clearTaskInstances", "Lets task instances begin anew, or says which would"),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails",
                "Lists what tasks ask people, of one run or of all (`~`)",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
                "What a task asks people, and what was answered",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
                "Answers what a task asks; the first answer counts. The users it names may answer, whatever their role; without names, all users",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails/tries/{try_number}",
                "What one try asked, and what was answered",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/links",
                "Links of a task instance: always empty",
            ),
        ],
    ),
    (
        "Logs and outputs",
        &[
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}",
                "The log of a try, as JSON a part at a time or as lines of JSON",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/externalLogUrl/{try_number}",
                "Where else the log stands: nowhere",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
                "Lists what a task gave; `~` for all tasks of the run",
            ),
            (
                "POST",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
                "Writes a value under a new key",
            ),
            (
                "GET",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
                "A value",
            ),
            (
                "PATCH",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
                "Changes a value",
            ),
            (
                "DELETE",
                "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
                "Takes a value away",
            ),
        ],
    ),
    ("Pools", &[]),
    (
        "Topics",
        &[
            (
                "GET",
                "/api/orch/v1/topics/{topic_name}/partitions",
                "Lists the partitions of a topic with their first and next offsets",
            ),
            (
                "GET",
                "/api/orch/v1/topics/{topic_name}/records",
                "Reads records of a partition, in the order of their offsets",
            ),
            ("POST", "/api/orch/v1/topics/{topic_name}/records", "Appends records: all of them, or none"),
            ("GET", "/api/orch/v1/topic-readers", "Lists how far tasks have read topics, partition by partition"),
            ("DELETE", "/api/orch/v1/topic-readers/{reader_name}", "Forgets a reader: it begins as a new one"),
            (
                "POST",
                "/api/orch/v1/topic-readers/{reader_name}/seek",
                "Lets a reader go on from another place of its topic",
            ),
        ],
    ),
    (
        "Streams",
        &[
            ("GET", "/api/orch/v1/streams", "Lists streams with their state and lag"),
            ("GET", "/api/orch/v1/streams/{stream_name}", "A stream with the offsets of its partitions"),
            (
                "DELETE",
                "/api/orch/v1/streams/{stream_name}",
                "Forgets a stream that no bundle declares, and its offsets; its table stays",
            ),
            ("GET", "/api/orch/v1/streams/{stream_name}/minutes", "Records and lag of a stream, minute by minute"),
            ("POST", "/api/orch/v1/streams/{stream_name}/pause", "Pauses a stream"),
            (
                "POST",
                "/api/orch/v1/streams/{stream_name}/reset",
                "Lets a stream go on reading from another place of its topic",
            ),
            (
                "POST",
                "/api/orch/v1/streams/{stream_name}/restart",
                "Begins a stream anew from its last commit, also one that failed",
            ),
            ("POST", "/api/orch/v1/streams/{stream_name}/resume", "Lets a paused stream go on"),
        ],
    ),
    ("Connections and variables", &[("POST", "/api/v2/connections/test", "Tries a connection, if this server may")]),
    (
        "Around them",
        &[
            ("GET", "/healthz", "Is this process up?"),
            ("GET", "/readyz", "Can it work?"),
            ("GET", "/metrics", "How all of orch is, for Prometheus"),
            ("GET", "/api/v2/monitor/health", "How the parts are"),
            ("GET", "/api/v2/version", "Which orch this is"),
            ("GET", "/api/v2/eventLogs", "The audit log: who did what, from where"),
            ("GET", "/api/v2/eventLogs/{event_log_id}", "A line of the audit log"),
            ("GET", "/api/v2/jobs", "Schedulers and workers"),
            ("GET", "/api/v2/config", "What this server was told, secrets masked"),
            ("GET", "/api/v2/config/section/{section}/option/{option}", "One setting"),
            ("GET", "/api/v2/importErrors", "DAG files that cannot be loaded, with line and column"),
            ("GET", "/api/v2/importErrors/{import_error_id}", "One of them"),
            ("GET", "/api/v2/dagWarnings", "Warnings about DAGs: always empty"),
            ("GET", "/api/v2/plugins", "Plugins: always empty"),
            ("GET", "/api/v2/plugins/importErrors", "Plugins that could not be read: always empty"),
            ("GET", "/api/v2/providers", "Providers: always empty"),
            ("GET", "/openapi.json", "This API as a program reads it"),
        ],
    ),
];

/// The group of a route and its line.
pub(crate) fn line(method: &str, path: &str) -> Option<(&'static str, &'static str)> {
    GROUPS.iter().find_map(|(group, lines)| {
        lines.iter().find(|line| line.0 == method && line.1 == path).map(|line| (*group, &*line.2))
    })
}
