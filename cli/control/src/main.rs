//! `orch`: the control plane. It has scheduler, web server, commands and a worker for DAG files and the examples. What moves data
//! is in a bundle beside it.

fn main() -> std::process::ExitCode {
    let binary = orch::Binary::new(orch_examples::dags).examples(|_| true);
    orch_cli::main(binary.archive(orch_bucket::archives()).bundle("orch-pipelines").source())
}
