//! Example DAGs that need no external data. Each one shows one feature, runs within seconds and can be copied.
//!
//! The crate has few dependencies, so the binary with the examples builds without the lake.

mod alerts;
mod approval;
mod assets;
mod branch;
mod chain;
mod diamond;
mod hello;
mod map;
mod operators;
mod params;
mod process;
mod retry;
mod setup_teardown;
mod waiting;

pub use chain::{chain, fan};

use orch::Dag;

pub fn dags() -> Vec<Dag> {
    vec![
        hello::example_hello(),
        chain::example_chain(),
        chain::example_fan(),
        diamond::example_diamond(),
        map::example_map(),
        map::example_mapped_group(),
        branch::example_branch(),
        retry::example_retry(),
        params::example_params(),
        process::example_process(),
        setup_teardown::example_setup_teardown(),
        approval::example_approval(),
        waiting::example_waiting(),
        operators::example_operators(),
        alerts::example_alerts(),
        assets::example_asset_producer(),
        assets::example_asset_consumer(),
        assets::example_asset_alias(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_a_bundle() {
        let bundle = orch::bundle("examples", dags()).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        });
        assert_eq!(bundle.dags().len(), dags().len());
        for dag in bundle.dags() {
            let spec = &dag.spec;
            assert!(spec.dag_id.starts_with("example_"), "{}", spec.dag_id);
            assert!(
                !spec.description.is_empty() && spec.tags.contains(&"example".into()),
                "{} says what it shows",
                spec.dag_id
            );
            assert_eq!(dag.bodies.len(), spec.tasks.len(), "{}: every task has a body", spec.dag_id);
        }
    }
}
