//! `orch`: the control plane. It has scheduler, web server, commands and a worker for DAG files and the examples. What moves data
//! is in a bundle beside it.

fn main() -> std::process::ExitCode {
    let examples = orch::Binary::new(orch_examples::dags).archive(orch_bucket::archives()).bundle("orch-pipelines");
    orch_cli::main(examples.source())
}
