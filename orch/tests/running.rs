//! Execution of tasks: alone, through the function table, and as a whole DAG in memory.

use orch::prelude::*;
use orch::{Call, Input, MemoryHost, TaskError, TaskState, TriggerRule};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Rows {
    count: u64,
}

#[task(retries = 2)]
async fn days() -> TaskResult<Vec<String>> {
    Ok(vec!["mon".into(), "tue".into(), "wed".into()])
}

#[task]
async fn load(ctx: Ctx, day: String) -> TaskResult<Rows> {
    match day.as_str() {
        "tue" => Err(skip("holiday")).context("while loading"),
        _ => Ok(Rows { count: u64::from(ctx.map_index().unwrap_or(9)) }),
    }
}

#[task(trigger_rule = AllDone)]
async fn sum(rows: Vec<Option<Rows>>) -> TaskResult<u64> {
    Ok(rows.iter().flatten().map(|r| r.count).sum())
}

#[task]
async fn strict(rows: Vec<Rows>) -> TaskResult<u64> {
    Ok(rows.len() as u64)
}

#[task]
async fn double(rows: Rows) -> TaskResult<u64> {
    Ok(rows.count * 2)
}

#[task(trigger_rule = AllDone)]
async fn or_zero(rows: Option<Rows>) -> TaskResult<u64> {
    Ok(rows.map_or(0, |r| r.count + 1))
}

/// Tasks can have any number of inputs.
#[expect(clippy::many_single_char_names, reason = "nine names mean nothing here")]
#[task]
async fn nine(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) -> TaskResult<u8> {
    Ok(a + b + c + d + e + f + g + h + i)
}

#[task]
async fn join(a: String, b: u32) -> TaskResult<String> {
    Ok(format!("{a}{b}"))
}

#[tokio::test]
async fn a_mapped_task_runs_for_each_element_and_a_skipped_one_is_none() {
    let dag = dag("week").build(|d| {
        let loaded = d.map(d.add(days()), load);
        d.add(sum(loaded));
        d.add(strict(loaded));
    });
    let run = dag.test().run().await;
    assert_eq!(run.output::<Vec<Option<Rows>>>("load").map(|rows| rows.len()), Some(3));
    assert_eq!(run.output::<u64>("sum"), Some(2));
    assert_eq!(run.state("strict"), TaskState::Skipped);
}

#[tokio::test]
async fn a_map_over_a_mapped_keeps_the_places_after_a_skip() {
    let dag = dag("week").build(|d| {
        let loaded = d.map(d.add(days()), load);
        d.map(loaded, double);
        d.map(loaded, or_zero);
        d.map(loaded.collect(), |rows| double(rows).id("waits_for_all"));
    });
    let run = dag.test().run().await;
    assert_eq!(run.output::<Vec<Option<u64>>>("double"), Some(vec![Some(0), None, Some(4)]));
    assert_eq!(run.output::<Vec<Option<u64>>>("or_zero"), Some(vec![Some(1), Some(0), Some(3)]));
    assert_eq!(run.state("waits_for_all"), TaskState::Skipped);
}

#[tokio::test]
async fn a_map_over_nothing_is_skipped_and_so_is_what_needs_it() {
    let dag = dag("week").build(|d| {
        let loaded = d.map(d.add(days()), load);
        d.map(loaded, double);
        d.add(strict(loaded));
        d.add(sum(loaded));
    });
    let run = dag.test().with("days", Vec::<String>::new()).run().await;
    assert_eq!(["load", "double", "strict"].map(|id| run.state(id)), [TaskState::Skipped; 3]);
    assert_eq!(run.output::<u64>("sum"), Some(0));
    let failed = dag.test().fail("days").run().await;
    assert_eq!(["load", "double", "strict"].map(|id| failed.state(id)), [TaskState::UpstreamFailed; 3]);
}

#[tokio::test]
async fn a_condition_on_the_element_skips_only_that_element() {
    let dag = dag("week").build(|d| {
        let loaded = d.map(["mon".to_string(), "wed".to_string()], |day| load(day).when(day, "wed".to_string()));
        d.add(sum(loaded));
    });
    assert_eq!(dag.test().run().await.output::<u64>("sum"), Some(1));
}

#[tokio::test]
async fn zip_and_cross_give_the_parts() {
    let dag = dag("week").build(|d| {
        let (names, numbers) = (["x", "y"], [1u32, 2]);
        d.map(zip(names, numbers), |(a, b)| join(a, b).id("zip"));
        d.map(cross(names, numbers), |(a, b)| join(a, b).id("cross"));
    });
    let run = dag.test().run().await;
    assert_eq!(run.output::<Vec<String>>("zip"), Some(vec!["x1".into(), "y2".into()]));
    assert_eq!(run.output::<Vec<String>>("cross"), Some(["x1", "x2", "y1", "y2"].map(String::from).into()));
}

#[tokio::test]
async fn a_worker_calls_a_task_by_name_with_json() {
    let bundle = orch::bundle(
        "main",
        [dag("week").build(|d| {
            d.add(nine(1, 2, 3, 4, 5, 6, 7, 8, 9));
        })],
    );
    let bundle = bundle.expect("the DAG is right");
    let nine = &bundle.dag("week").expect("it has this DAG").bodies["nine"];
    let inputs = (1..=9).map(|n| json!(n)).collect();
    assert_eq!(nine.call(Ctx::test(), inputs).await, Ok(Some(json!(45))));
    let wrong = nine.call(Ctx::test(), vec![json!("one")]).await.expect_err("not a number");
    assert_eq!(wrong.to_string(), "input 1 is not a `u8`: invalid type: string \"one\", expected u8");
    assert!(matches!(wrong, TaskError::Fatal { .. }));
    assert!((nine.check_output)(&json!(300)).is_err() && (nine.check_output)(&json!(3)).is_ok());
}

#[tokio::test]
async fn a_task_alone_is_a_unit_test() {
    assert_eq!(load("mon").run_alone(Ctx::test()).await, Ok(Rows { count: 9 }));
    assert_eq!(load("tue").run_alone(Ctx::test()).await, Err(TaskError::skipped("holiday")));
}

/// Uses all capabilities of a context.
#[task]
async fn talkative(ctx: Ctx) -> TaskResult<String> {
    ctx.info("starting");
    ctx.push("rows", 7).await?;
    ctx.asset_event("lake://x", json!({ "rows": 7 }))?;
    let rows: Option<u32> = ctx.pull(ctx.task_id(), "rows").await?;
    ensure!(rows == Some(7), "a push can be pulled");
    ctx.variable("greeting").await
}

#[tokio::test]
async fn what_a_task_does_can_be_looked_at() {
    let host = MemoryHost::new().with_variable("greeting", "hello");
    assert_eq!(talkative().run_alone(host.ctx()).await, Ok("hello".into()));
    let dag = dag("talk").build(|d| {
        d.add(talkative());
    });
    let run = dag.test().host(&host).run().await;
    assert_eq!(run.output::<String>("talkative"), Some("hello".into()));
    assert_eq!((host.logs().len(), host.pushed().len(), host.asset_events().len()), (2, 2, 2));
    let missing = dag.test().run().await;
    assert_eq!(missing.state("talkative"), TaskState::Failed);
    assert!(missing.errors[0].starts_with("talkative: there is no variable `greeting`"), "{:?}", missing.errors);
}

/// Emits assets that are known only at run time, and reads the events that triggered the run.
#[task]
async fn publish(ctx: Ctx) -> TaskResult<usize> {
    let day = ctx.partition_key().unwrap_or("none").to_string();
    ctx.emit(AssetEvent::of(format!("lake://{day}")).through("daily").rows(3))?;
    ctx.asset_event("lake://gold", json!({ "rows": 3 }))?;
    ctx.lineage("lake://silver", "lake://gold", 3)?;
    Ok(ctx.triggering_events().await?.len())
}

#[tokio::test]
async fn updates_of_assets_are_seen_without_a_database() {
    let cause = orch::TriggeringEvent {
        uri: "lake://silver".into(),
        name: "silver".into(),
        extra: json!({}),
        timestamp: "2026-11-20T00:00:00Z".parse().expect("a time"),
        partition_key: None,
        rows: None,
        source_dag_id: None,
        source_run_id: None,
        source_task_id: None,
        source_map_index: None,
    };
    let dag = dag("gold").schedule(asset("lake://silver")).build(|d| {
        d.add(publish().inlet(asset("lake://silver")).outlet(asset("lake://gold")).outlet(alias("daily")));
    });
    let host = MemoryHost::new().with_triggering_event(cause);
    let run = dag.test().host(&host).partition("monday").run().await;
    assert_eq!(run.output::<usize>("publish"), Some(1));
    let gold = AssetEvent::of("lake://gold").extra(json!({ "rows": 3 })).partition("monday");
    let monday = AssetEvent::of("lake://monday").through("daily").rows(3).partition("monday");
    assert_eq!(run.asset_events, [monday, gold]);
    assert_eq!(host.lineage_edges()[0].rows, Some(3));
    let failed = dag.test().fail("publish").run().await;
    assert_eq!(failed.asset_events, [], "a task that failed updated nothing");
}

#[tokio::test]
async fn teardown_runs_although_the_work_failed_but_not_without_its_setup() {
    let dag = dag("week").build(|d| {
        d.with(days().id("create"), |_| days().id("drop"), |d, created| d.map(created, load));
    });
    let run = dag.test().fail("load").run().await;
    assert_eq!((run.state("load"), run.state("drop")), (TaskState::Failed, TaskState::Success));
    let run = dag.test().fail("create").run().await;
    assert_eq!((run.state("load"), run.state("drop")), (TaskState::UpstreamFailed, TaskState::UpstreamFailed));
    let run = dag.test().skip("create").run().await;
    assert_eq!((run.state("load"), run.state("drop")), (TaskState::Skipped, TaskState::Skipped));
}

/// Related tasks can be grouped in a plain function that takes a scope and handles, and returns a handle.
fn week<'d>(d: &orch::Scope<'d>, days: Output<'d, Vec<String>>) -> Mapped<'d, Rows> {
    d.map_group("each", days, |g, day| g.group("inner", |g| g.add(load(day))))
}

#[tokio::test]
async fn a_group_in_a_mapped_group_runs_for_each_element() {
    let dag = dag("week").build(|d| {
        let rows = week(d, d.add(days()));
        d.add(sum(rows));
    });
    let run = dag.test().run().await;
    assert_eq!(run.output::<Vec<Option<Rows>>>("each.inner.load").map(|rows| rows.len()), Some(3));
    assert_eq!(run.output::<u64>("sum"), Some(2));
}

#[tokio::test]
async fn inside_a_mapped_group_only_the_same_element_counts() {
    let dag = dag("week").build(|d| {
        d.map_group("each", d.add(days()), |g, day| {
            let rows = g.add(load(day));
            g.add(double(rows))
        });
    });
    let run = dag.test().run().await;
    assert_eq!(run.output::<Vec<Option<u64>>>("each.double"), Some(vec![Some(0), None, Some(4)]));
}

#[task]
async fn which(pick: Vec<String>) -> TaskResult<Vec<String>> {
    Ok(pick)
}

fn empty<'d>(id: &str) -> Call<'d, u8> {
    nine(0, 0, 0, 0, 0, 0, 0, 0, 0).id(id)
}

#[tokio::test]
async fn a_branch_skips_what_it_does_not_follow_and_what_only_that_reaches() {
    let dag = dag("week").build(|d| {
        let which = d.add(branch(which(Vec::<String>::new())));
        let a = d.add(empty("a").after(which));
        let b = d.add(empty("b").after(which));
        d.add(empty("after_b").after(b));
        d.add(empty("join").after((which, a)).trigger_rule(NoneFailedMinOneSuccess));
    });
    let states =
        |run: &orch::testing::TestRun| ["a", "b", "after_b", "join"].map(|id| run.state(id) == TaskState::Success);
    assert_eq!(states(&dag.test().with("which", ["a"]).run().await), [true, false, false, true]);
    assert_eq!(states(&dag.test().with("which", ["b"]).run().await), [false, true, true, false]);
    assert_eq!(states(&dag.test().run().await), [false; 4]);
}

#[task]
async fn is_open(open: bool) -> TaskResult<bool> {
    Ok(open)
}

#[tokio::test]
async fn a_short_circuit_skips_everything_behind_it() {
    let run = |open: bool| async move {
        let dag = dag("week").build(|d| {
            let first = d.add(empty("a").after(d.add(short_circuit(is_open(open)))));
            d.add(empty("b").after(first).trigger_rule(AllDone));
            let first = d.add(empty("c").after(d.add(short_circuit_directly(is_open(open).id("direct")))));
            d.add(empty("d").after(first).trigger_rule(AllDone));
        });
        let run = dag.test().run().await;
        ["a", "b", "c", "d"].map(|id| run.state(id) == TaskState::Success)
    };
    assert_eq!(run(true).await, [true; 4]);
    assert_eq!(run(false).await, [false, false, false, true]);
}

#[task(retries = 2)]
async fn third_time(ctx: Ctx) -> TaskResult<u32> {
    ensure!(ctx.is_last_try(), "not yet");
    Ok(ctx.try_number())
}

#[tokio::test]
async fn retries_are_used_up_before_a_task_fails() {
    let dag = |retries| {
        dag("week").build(|d| {
            d.add(third_time().retries(retries));
        })
    };
    assert_eq!(dag(2).test().run().await.output::<u32>("third_time"), Some(3));
    assert_eq!(dag(0).test().run().await.output::<u32>("third_time"), Some(1));
}

#[sensor(poll_every = secs(30))]
async fn ready(ctx: Ctx, after: usize) -> TaskResult<Option<usize>> {
    ctx.push("look", 1).await?;
    let looks = ctx.pull::<usize>("looks", "count").await?.unwrap_or(0);
    Ok((looks >= after).then_some(looks))
}

#[tokio::test]
async fn a_sensor_that_never_gives_anything_fails() {
    let dag = dag("week").build(|d| {
        d.add(ready(1));
    });
    assert_eq!(dag.tasks()[0].kind, "sensor");
    let run = dag.test().run().await;
    assert_eq!(run.state("ready"), TaskState::Failed);
    let host = MemoryHost::new().with_pushed("looks", "count", 1);
    assert_eq!(dag.test().host(&host).run().await.output::<usize>("ready"), Some(1));
    assert_eq!(host.pushed().len(), 1);
}

#[tokio::test]
async fn a_rule_decides_by_the_states_of_the_upstreams() {
    use TaskState::{Skipped as Sk, Success as S, UpstreamFailed as Uf};
    // Upstreams: one success and one failure; one success and one skip; both skipped; both failed.
    let cases: [(TriggerRule, [TaskState; 4]); 12] = [
        (AllSuccess, [Uf, Sk, Sk, Uf]),
        (AllFailed, [Sk, Sk, Sk, S]),
        (AllDone, [S, S, S, S]),
        (AllDoneMinOneSuccess, [S, Sk, Sk, Uf]),
        (OneSuccess, [S, S, Sk, Uf]),
        (OneFailed, [S, Sk, Sk, S]),
        (OneDone, [S, S, Sk, S]),
        (NoneFailed, [Uf, S, S, Uf]),
        (NoneSkipped, [S, Sk, Sk, S]),
        (Always, [S, S, S, S]),
        (NoneFailedMinOneSuccess, [Uf, S, Sk, Uf]),
        (AllSkipped, [Sk, Sk, S, Sk]),
    ];
    for (rule, expected) in cases {
        let dag = dag("rules").build(|d| {
            let up = [d.add(empty("a")), d.add(empty("b"))];
            d.add(empty("c").after(up).trigger_rule(rule));
        });
        let states = [
            dag.test().fail("b").run().await,
            dag.test().skip("b").run().await,
            dag.test().skip("a").skip("b").run().await,
            dag.test().fail("a").fail("b").run().await,
        ];
        assert_eq!(states.map(|run| run.state("c")), expected, "{rule:?}");
    }
}

/// A custom task kind is a function that returns a `Call`.
fn sql<'d>(query: &str, minimum: impl orch::Arg<'d, u64>) -> Call<'d, u64> {
    let inputs = vec![Input::new::<u64>("minimum", minimum)];
    Call::of_kind("sql", "sql", json!({ "query": query }), inputs, |_, mut inputs| {
        Box::pin(async move { Ok(inputs.take::<u64>()? + 1) })
    })
}

#[tokio::test]
async fn a_kind_of_ones_own_is_wired_like_any_other() {
    let dag = dag("own").build(|d| {
        d.add(sql("select 1", d.add(sql("select 0", 40u64).id("first"))));
    });
    assert_eq!((dag.tasks()[1].kind.as_str(), dag.tasks()[1].config.clone()), ("sql", json!({ "query": "select 1" })));
    assert_eq!(dag.test().run().await.output::<u64>("sql"), Some(42));
}

#[tokio::test]
async fn a_fake_of_the_wrong_type_is_named() {
    use futures::FutureExt;
    let dag = dag("week").build(|d| {
        d.add(load("mon"));
    });
    let running = std::panic::AssertUnwindSafe(dag.test().with("load", "seven").run()).catch_unwind();
    let said = running.await.expect_err("the test itself is wrong");
    let said = said.downcast_ref::<String>().expect("a panic with words");
    assert!(said.starts_with("the fake output of `load` has the wrong type"), "{said}");
}

#[tokio::test]
async fn waiting_moves_the_clock_of_the_test_and_nothing_else_does() {
    let dag = dag("slow").build(|d| {
        d.add(third_time().id("load").retry_delay(mins(5)));
    });
    let run = dag.test().fail_first("load", 1).run().await;
    assert_eq!((run.tries("load"), run.took()), (3, mins(10)));
    assert_eq!(run.outcome(), orch::RunState::Success);
}
