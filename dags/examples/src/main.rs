//! `orch-examples`: orch with the example DAGs, without the lake.

fn main() -> std::process::ExitCode {
    orch::main(orch_examples::dags)
}
