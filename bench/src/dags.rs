//! The measured DAGs, each named after its row. They move no data, so only the cost of orch is measured.

use orch::prelude::*;
use orch::{Call, DagBuilder};

use crate::bodies;

/// Variable in which the driver passes a [`Beside`] as JSON.
pub(crate) const BESIDE_VARIABLE: &str = "ORCH_BENCH_BESIDE";
/// Pool with more slots than a chain takes: the gated row measures admission to the pool, not queueing for it.
pub(crate) const POOL: &str = "bench";
/// Concurrency limit that no row reaches, so that all its runs can be active at the same time.
const NO_LIMIT: u32 = 1_000_000;
const FAN_WIDTH: u32 = 1_000;
const IDLE_CHAIN: u32 = 5;
const ASSET: &str = "bench://asset";

/// Additional DAGs beside the measured ones.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// Number of DAGs that have no due run.
    pub(crate) idle: u32,
    /// Number of DAGs that have a run each minute, all at the same instant.
    pub(crate) ticking: u32,
}

#[derive(Clone, Copy)]
enum Body {
    Noop,
    Fib,
    Counted,
}

pub(crate) fn dags() -> Vec<Dag> {
    #[expect(clippy::disallowed_methods, reason = "a word between the driver and its child, not a setting of orch")]
    let beside = std::env::var(BESIDE_VARIABLE).ok().and_then(|text| serde_json::from_str(&text).ok());
    let Beside { idle, ticking } = beside.unwrap_or_default();
    let mut dags = measured();
    dags.extend((0..idle).map(idle_dag));
    dags.extend((0..ticking).map(ticking_dag));
    dags
}

fn measured() -> Vec<Dag> {
    vec![
        chain("light40", "40 light tasks, one after the other", 40, Body::Fib),
        chain("chain100", "100 tasks that do nothing, one after the other", 100, Body::Noop),
        fan("fan1000"),
        chain("run5", "A short chain, many runs of which are submitted", 5, Body::Noop),
        chain("one", "A single task", 1, Body::Noop),
        chain("chain10", "A chain whose tasks are only counted", 10, Body::Counted),
        described("gated100", "The same chain, and all its tasks take a slot of a pool").build(|d| {
            steps(d, 100, || bodies::noop().pool(POOL));
        }),
        described("update", "Updates the asset that `follow` waits for").build(|d| {
            d.add(bodies::noop().id("update").outlet(asset(ASSET)));
        }),
        described("follow", "Runs when the asset was updated").schedule(asset(ASSET)).build(|d| {
            d.add(bodies::noop().id("follow"));
        }),
        map("map"),
        dump("bench_dump"),
        described("queue", "One task, and 16 runs at a time").max_active_runs(16).build(|d| {
            d.add(bodies::noop().id("step_001"));
        }),
        described("talk", "One task that says something 20 times a second").build(|d| {
            d.add(bodies::talk(d.params::<bodies::Talk>()));
        }),
        described("shout", "Tasks that write large logs, in the worker and in a process of their own").build(|d| {
            let size = d.params::<bodies::Shout>();
            d.add(bodies::shout(size));
            d.add(bodies::shout_apart(size));
        }),
    ]
}

fn chain(dag_id: &str, about: &str, length: u32, body: Body) -> Dag {
    described(dag_id, about).build(|d| steps(d, length, || step(body)))
}

fn steps<'d>(d: &Scope<'d>, length: u32, step: impl Fn() -> Call<'d, ()>) {
    let mut last = None;
    for number in 1..=length {
        let step = step().id(format!("step_{number:03}"));
        last = Some(d.add(match last {
            Some(last) => step.after(last),
            None => step,
        }));
    }
}

fn step<'d>(body: Body) -> Call<'d, ()> {
    match body {
        Body::Noop => bodies::noop(),
        Body::Fib => bodies::fib_10(),
        Body::Counted => bodies::counted(),
    }
}

/// Builds a DAG of 1,002 plain tasks, without a map.
fn fan(dag_id: &str) -> Dag {
    described(dag_id, "One task, 1,000 at once, one again").build(|d| {
        let first = d.add(bodies::noop().id("first"));
        let each = (0..FAN_WIDTH).map(|number| d.add(bodies::noop().id(format!("each_{number:04}")).after(first)));
        let each: Vec<_> = each.collect();
        d.add(bodies::noop().id("last").after(each));
    })
}

fn map(dag_id: &str) -> Dag {
    described(dag_id, "One task gives a list, one runs for each element, one ends it").build(|d| {
        let size = d.params::<bodies::MapSize>();
        let each = d.map(d.add(bodies::numbers(size)), bodies::element);
        d.add(bodies::noop().id("join").after(each));
    })
}

fn dump(dag_id: &str) -> Dag {
    described(dag_id, "Writes when bodies began and ended to a file of the driver").build(|d| {
        d.add(bodies::dump(d.params::<bodies::DumpRequest>()));
    })
}

/// Half of the idle DAGs have a schedule, as most DAGs of a real installation do.
fn idle_dag(number: u32) -> Dag {
    let dag = described(&format!("idle_{number:03}"), "Waits for its day");
    let dag = if number.is_multiple_of(2) { dag.schedule(cron("0 3 * * *")).start("2025-01-01") } else { dag };
    dag.build(|d| steps(d, IDLE_CHAIN, bodies::noop))
}

fn ticking_dag(number: u32) -> Dag {
    let dag = described(&format!("tick_{number:03}"), "Has a run each minute").schedule(cron("* * * * *"));
    dag.build(|d| steps(d, 1, bodies::noop))
}

fn described(dag_id: &str, about: &str) -> DagBuilder {
    dag(dag_id).describe(about).tags(["bench"]).max_active_runs(NO_LIMIT).unpaused()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dags_are_a_bundle() {
        let dags: Vec<Dag> =
            measured().into_iter().chain((0..200).map(idle_dag)).chain((0..200).map(ticking_dag)).collect();
        let sizes: Vec<(String, usize)> =
            dags.iter().take(14).map(|dag| (dag.spec().dag_id.clone(), dag.tasks().len())).collect();
        let sizes: Vec<(&str, usize)> = sizes.iter().map(|(id, size)| (id.as_str(), *size)).collect();
        assert_eq!(
            sizes,
            [
                ("light40", 40),
                ("chain100", 100),
                ("fan1000", 1002),
                ("run5", 5),
                ("one", 1),
                ("chain10", 10),
                ("gated100", 100),
                ("update", 1),
                ("follow", 1),
                ("map", 3),
                ("bench_dump", 1),
                ("queue", 1),
                ("talk", 1),
                ("shout", 2)
            ]
        );
        let bundle = orch::bundle("bench", dags).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        });
        assert_eq!(bundle.dags().len(), 414);
    }
}
