//! Every DAG of this repository: the composition root of the binary `orch`.

use orch::Dag;

/// All of them; pipelines join the examples here.
pub fn dags() -> Vec<Dag> {
    orch_examples::dags()
}
