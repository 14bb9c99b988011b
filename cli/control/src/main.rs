//! The `orch` binary (control plane): scheduler, web server, CLI, and a worker for DAG files and the example DAGs. Code
//! that moves data is in a separate bundle binary, `orch-pipelines`.

fn main() -> std::process::ExitCode {
    let binary = orch::Binary::new(orch_examples::dags).examples(|_| true);
    orch_cli::main(binary.archive(orch_bucket::archives()).bundle("orch-pipelines").source())
}
