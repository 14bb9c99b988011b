//! `orch-cluster DATA_DIR`: a private Postgres for scripts and tests. Prints the connection URL when the server accepts
//! connections, and stops the server when its standard input is closed.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(data_dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: orch-cluster DATA_DIR");
        return ExitCode::from(2);
    };
    match orch_cluster::Cluster::open(&PathBuf::from(data_dir)) {
        Ok(cluster) => hold(&cluster),
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn hold(cluster: &orch_cluster::Cluster) -> ExitCode {
    let told = writeln!(std::io::stdout(), "{}", cluster.url()).and_then(|()| std::io::stdout().flush());
    let waited = std::io::stdin().read_to_end(&mut Vec::new());
    if told.is_ok() && waited.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
