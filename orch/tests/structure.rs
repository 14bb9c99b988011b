//! The structure of a DAG as data.

use orch::prelude::*;
use orch::{AssetCondition, DagSpec, Schedule, TriggerRule};
use orch_spec::{MapSpec, Role, Source, Timetable};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Rows {
    count: u64,
}

/// Lists the days to load.
///
/// - one a line
///     - deeper
#[task(retries = 2)]
async fn days() -> TaskResult<Vec<String>> {
    Ok(vec!["mon".into(), "tue".into()])
}

#[task]
async fn load(day: String) -> TaskResult<Rows> {
    Ok(Rows { count: day.len() as u64 })
}

#[task]
async fn sum(rows: Vec<Rows>) -> TaskResult<u64> {
    Ok(rows.iter().map(|r| r.count).sum())
}

#[task]
async fn copy(rows: Rows) -> TaskResult<Rows> {
    Ok(rows)
}

fn built(dag: &Dag) -> &DagSpec {
    if let Err(problems) = dag.check() {
        panic!("{problems:#?}");
    }
    dag.spec()
}

#[test]
fn structure_is_data() {
    let dag = dag("week").build(|d| {
        let days = d.add(days());
        d.group("load", |g| g.map(days, |day| load(day).pool("mysql")));
    });
    let [first, second] = built(&dag).tasks.as_slice() else { panic!("two tasks") };
    assert_eq!(first.doc, "Lists the days to load.\n\n- one a line\n    - deeper");
    assert_eq!((first.kind.as_str(), first.options.retries), ("rust", Some(2)));
    assert_eq!((second.task_id.as_str(), second.options.pool.as_deref()), ("load.load", Some("mysql")));
    assert_eq!(second.upstreams(), ["days"]);
    assert_eq!(second.inputs[0].source, Source::Element { group: None, part: None });
    assert_eq!((second.inputs[0].type_name.as_str(), second.output_type.as_str()), ("String", "Rows"));
    assert!(second.defined.file.ends_with("structure.rs") && second.defined.line < second.added.line);
}

#[test]
fn everything_about_a_dag_can_be_said() {
    let dag = dag("week")
        .describe("A week")
        .schedule(cron("0 2 * * *").tz("Europe/Berlin"))
        .data_interval()
        .start("2025-01-01")
        .end("2025-12-31T12:00:00+00:00")
        .catchup()
        .tags(["retail", "daily"])
        .owners(vec!["sales".to_string()])
        .alias("old_week")
        .run_timeout(hours(3))
        .max_active_runs(2)
        .max_active_tasks(8)
        .max_consecutive_failed_runs(5)
        .overlap(Overlap::CancelRunning)
        .concurrency("customer", 1)
        .concurrency("order.region", 3)
        .unpaused()
        .on_failure(notify("sales").message("{dag_id}: {reason}").to("sales@example.org"))
        .on_stale(notify("sales"))
        .on_failed_check(notify("sales"))
        .deadline(after_queued(hours(1)).tell(notify("sales")))
        .deadline(after_start(mins(10)))
        .deadline(after_logical_date(hours(6)))
        .on_success(notify("nobody"))
        .build(|_| {});
    let spec = built(&dag);
    assert_eq!(spec.start.map(|date| date.to_rfc3339()).as_deref(), Some("2024-12-31T23:00:00+00:00"));
    assert_eq!(spec.end.map(|date| date.to_rfc3339()).as_deref(), Some("2025-12-31T12:00:00+00:00"));
    assert_eq!((spec.timetable, spec.catchup, spec.run_timeout_ms), (Timetable::DataInterval, true, Some(10_800_000)));
    assert_eq!((spec.max_active_runs, spec.max_active_tasks, spec.max_consecutive_failed_runs), (Some(2), Some(8), 5));
    let keys: Vec<(&str, u32)> = spec.concurrency.iter().map(|limit| (limit.key.as_str(), limit.most)).collect();
    assert_eq!((spec.overlap, keys), (Overlap::CancelRunning, vec![("customer", 1), ("order.region", 3)]));
    assert_eq!(
        (spec.aliases.as_slice(), spec.owners.as_slice()),
        (["old_week".to_string()].as_slice(), ["sales".to_string()].as_slice())
    );
    assert_eq!(
        (spec.paused_at_creation, spec.callbacks.on_failure.len(), spec.callbacks.on_success.len()),
        (Some(false), 1, 1)
    );
    assert_eq!((spec.callbacks.on_stale.len(), spec.callbacks.on_failed_check.len()), (1, 1));
    let deadlines: Vec<String> = spec.deadlines.iter().map(|one| format!("{} {}", one.from, one.after_ms)).collect();
    assert_eq!(deadlines, ["queued 3600000", "started 600000", "logical_date 21600000"]);
    assert!(spec.location.file.ends_with("structure.rs"));
}

#[test]
fn a_date_is_in_the_timezone_of_the_schedule_even_if_that_is_said_later() {
    let berlin = dag("a").start("2025-07-01").schedule(cron("@daily").tz("Europe/Berlin")).build(|_| {});
    assert_eq!(built(&berlin).start.map(|date| date.to_rfc3339()).as_deref(), Some("2025-06-30T22:00:00+00:00"));
    let utc = dag("a").start("2025-07-01").schedule(every(mins(5))).build(|_| {});
    assert_eq!(built(&utc).start.map(|date| date.to_rfc3339()).as_deref(), Some("2025-07-01T00:00:00+00:00"));
}

#[test]
fn schedules_have_words() {
    let of = |dag: orch::DagBuilder| dag.build(|_| {}).spec().schedule.clone();
    assert_eq!(of(dag("a")), Schedule::Manual);
    assert_eq!(of(dag("a").schedule("@once")), Schedule::Once);
    assert_eq!(of(dag("a").schedule("@continuous")), of(dag("a").schedule(continuous())));
    assert_eq!(of(dag("a").schedule(once())), Schedule::Once);
    assert_eq!(of(dag("a").schedule(every(secs(90)))), Schedule::EveryMs(90_000));
    assert_eq!(
        of(dag("a").schedule(on_assets([asset("lake://x")]))),
        Schedule::Assets(AssetCondition::all([asset("lake://x")]))
    );
    let nightly = Schedule::Cron { expression: "0 2 * * *".into(), timezone: "UTC".into() };
    let tree = AssetCondition::Any(vec![asset("a").and(asset("b")), alias("c").into()]);
    assert_eq!(of(dag("a").schedule(asset("a").and(asset("b")).or(alias("c")))), Schedule::Assets(tree.clone()));
    assert_eq!(
        of(dag("a").schedule((asset("a") & asset("b")).or(alias("c")).by_partition())),
        Schedule::AssetPartitions(tree)
    );
    let both = Schedule::AssetsOrTime { assets: asset("a").into(), time: Box::new(nightly.clone()) };
    assert_eq!(of(dag("a").schedule(asset_or_time(asset("a"), "0 2 * * *"))), both);
    assert_eq!(of(dag("a").schedule("0 2 * * *")), nightly);
}

#[test]
fn options_come_from_the_task_then_its_groups_then_the_dag() {
    let dag = dag("week").defaults(defaults().retries(1).pool("small").queue("all")).build(|d| {
        d.group(group("outer").doc("Everything big").pool("big").timeout(mins(5)), |g| {
            g.group(group("inner").timeout(mins(1)), |g| g.add(load("mon").retries(7).on_retry(notify("tell"))));
        });
        d.add(load("tue"));
    });
    let spec = built(&dag);
    let inner = &spec.task("outer.inner.load").expect("the task").options;
    assert_eq!((inner.retries, inner.pool.as_deref(), inner.queue.as_deref()), (Some(7), Some("big"), Some("all")));
    assert_eq!(inner.timeout_ms, Some(60_000));
    let outside = &spec.task("load").expect("the task").options;
    assert_eq!((outside.retries, outside.pool.as_deref(), outside.timeout_ms), (Some(1), Some("small"), None));
    assert_eq!(
        spec.groups.iter().map(|g| (g.group_id.as_str(), g.doc.as_str())).collect::<Vec<_>>(),
        [("outer", "Everything big"), ("outer.inner", "")]
    );
    assert_eq!(spec.task("outer.inner.load").expect("the task").callbacks.on_retry[0].connection, "tell");
}

#[test]
fn whom_a_task_asks_is_told_and_a_choice_leads_somewhere() {
    let told = || notify("team").message("{subject}: {link}");
    let dag = dag("week").build(|d| {
        let asked = choice("Which day?", ["mon", "tue"]).follow("mon", "load").follow("tue", "later");
        let asked = d.add(asked.call().id("which").on_awaiting_input(told()));
        d.add(load("mon").after(asked));
        d.add(load("tue").id("later").after(asked));
    });
    let spec = built(&dag);
    let whom = &spec.task("which").expect("the task").callbacks.on_awaiting_input[0];
    assert_eq!((whom.connection.as_str(), whom.message.as_deref()), ("team", Some("{subject}: {link}")));
    let lost = orch::dag("week").build(|d| {
        let asked = choice("Which day?", ["mon"]).follow("mon", "lod").call().id("which");
        let asked = d.add(asked);
        d.add(load("mon").after(asked));
    });
    let said =
        lost.check().expect_err("it leads nowhere").iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(
        said.contains("for `mon` it follows `lod`, which does not exist") && said.contains("structure.rs:"),
        "{said}"
    );
    assert!(said.ends_with("hint: did you mean `load`?"), "{said}");
}

#[test]
fn a_map_over_a_mapped_is_element_by_element_and_collect_waits_for_all() {
    let dag = dag("week").build(|d| {
        let rows = d.map(["mon", "tue"], load);
        d.map(rows, |r| copy(r).id("each"));
        d.map(rows.collect(), |r| copy(r).id("all"));
        d.add(sum(rows.collect()));
    });
    let spec = built(&dag);
    let map = |id: &str| spec.task(id).and_then(|task| task.map.clone());
    assert_eq!(map("each"), Some(MapSpec::Each(Source::Outputs("load".into()))));
    assert_eq!(map("all"), Some(MapSpec::Each(Source::Collected("load".into()))));
    assert_eq!(spec.task("sum").map(|t| t.inputs[0].source.clone()), Some(Source::Collected("load".into())));
}

#[test]
fn setup_and_teardown_frame_what_is_between() {
    let dag = dag("week").build(|d| {
        let before = d.add(load("before").id("before"));
        d.with(
            days().id("create"),
            |_| days().id("drop"),
            |d, _| {
                let first = d.add(copy(before).id("first"));
                d.add(copy(first).id("second"));
            },
        );
        d.with(days().id("open"), |_| days().id("close"), |_, _| ());
    });
    let spec = built(&dag);
    let task = |id: &str| spec.task(id).expect("the task");
    assert_eq!((task("create").role, task("drop").role, task("first").role), (Role::Setup, Role::Teardown, Role::Work));
    assert_eq!(task("first").upstreams(), ["before", "create"]);
    assert_eq!(task("second").upstreams(), ["first"]);
    assert_eq!(task("drop").upstreams(), ["create", "second"]);
    assert_eq!(task("drop").options.trigger_rule, Some(TriggerRule::AllDoneSetupSuccess));
    assert_eq!(task("close").upstreams(), ["open"]);
}

#[test]
fn builtins_are_kinds() {
    let dag = dag("week").build(|d| {
        let which = d.add(branch(days()));
        let open = d.add(short_circuit(is_open()));
        d.add(shell("/usr/bin/dbt run --full").after((which, open)).inlet(asset("a://x")).outlet(asset("a://y")));
    });
    let kinds: Vec<(&str, &str)> = built(&dag).tasks.iter().map(|t| (t.task_id.as_str(), t.kind.as_str())).collect();
    assert_eq!(kinds, [("days", "branch"), ("is_open", "short_circuit"), ("dbt", "shell")]);
    let shell = &dag.tasks()[2];
    assert_eq!(shell.config, json!({ "command": "/usr/bin/dbt run --full" }));
    assert_eq!(
        (shell.inlets.as_slice(), shell.outlets.as_slice()),
        ([asset("a://x").into()].as_slice(), [asset("a://y").into()].as_slice())
    );
}

#[task]
async fn is_open() -> TaskResult<bool> {
    Ok(true)
}

#[test]
fn describing_a_dag_twice_gives_the_same_data_and_version() {
    let describe = || {
        dag("week").build(|d| {
            let rows = d.map_group("each", d.add(days()), |g, day| g.group("inner", |g| g.add(load(day))));
            d.add(sum(rows));
        })
    };
    let (first, second) = (describe(), describe());
    assert_eq!(serde_json::to_string(first.spec()).expect("JSON"), serde_json::to_string(second.spec()).expect("JSON"));
    let stored = serde_json::to_value(first.spec()).expect("a spec is JSON");
    let read: DagSpec = serde_json::from_value(stored).expect("and reads back");
    assert_eq!(read.version(), first.spec().version());
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Params {
    /// Load only orders from this day on.
    #[serde(default)]
    since: Option<String>,
    #[serde(default)]
    size: Size,
    limit: u32,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
enum Size {
    /// schemars describes a variant with a comment in a `oneOf`.
    #[default]
    Small,
    /// All rows.
    Large,
}

#[task]
async fn show(params: Params) -> TaskResult<u32> {
    Ok(params.limit + u32::from(params.since.is_some()))
}

#[test]
fn params_have_a_schema() {
    let dag = dag("week").build(|d| {
        let params = d.params::<Params>();
        d.add(show(params));
    });
    let schema = built(&dag).params_schema.clone().expect("a schema");
    assert_eq!(schema["properties"]["since"]["description"], "Load only orders from this day on.");
    assert_eq!(schema["required"], json!(["limit"]));
    assert_eq!(schema["$defs"]["Size"]["anyOf"][1]["const"], "Large", "{schema}");
    assert_eq!(dag.tasks()[0].inputs[0].source, Source::Params);
}
