//! Every DAG of this repository, and the connections that they find where nobody has set up others: what the binary `orch`
//! is made of.

pub mod connections;
mod place;
pub mod retail;
pub mod transactions;
mod warehouse;

use orch::Dag;

/// All of them: pipelines, then examples.
pub fn dags() -> Vec<Dag> {
    [retail::pipelines::dags(), transactions::dags(), orch_examples::dags()].into_iter().flatten().collect()
}
