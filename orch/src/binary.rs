//! The entry points of a binary that contains DAGs.

use crate::{Dag, body_of_task, bundle};
use orch_binary::{ArchiveSource, BundleServer, BundleSource, LakeSource, StreamSource};
use orch_sdk::task::{Connection, Installation};
use std::process::ExitCode;

/// Runs a binary with DAGs; call it from `fn main`. The binary is a bundle: `orch standalone --bundle` runs its DAGs,
/// and `orch dev` rebuilds it after each change. The closure is called only when a command needs the DAGs.
///
/// ```no_run
/// # use orch::prelude::*;
/// # fn sales() -> Dag { dag("sales").build(|_| {}) }
/// fn main() -> std::process::ExitCode {
///     orch::main(|| vec![sales()])
/// }
/// ```
pub fn main(dags: impl FnOnce() -> Vec<Dag> + Send + 'static) -> ExitCode {
    Binary::new(dags).main()
}

/// A binary with DAGs and more, such as connections, streams or dashboards.
///
/// ```no_run
/// # use orch::{Binary, Connection};
/// fn main() -> std::process::ExitCode {
///     Binary::new(Vec::new)
///         .connections(|here| {
///             let url = format!("file://{}", here.data_dir.join("buckets").display());
///             Connection::from_uri("buckets", &url).into_iter().collect()
///         })
///         .main()
/// }
/// ```
#[must_use = "end with `.main()`"]
pub struct Binary {
    source: BundleSource,
}

impl Binary {
    pub fn new(dags: impl FnOnce() -> Vec<Dag> + Send + 'static) -> Binary {
        Binary { source: BundleSource::new(|name| bundle(name, dags())).with_file_bodies(body_of_task) }
    }

    /// Adds default connections. They are used if no connection with that id exists in a file, a vault, the
    /// environment or the database. The closure runs on the machine of the binary, because the connections depend on
    /// the installation.
    pub fn connections(self, make: impl Fn(&Installation) -> Vec<Connection> + Send + Sync + 'static) -> Binary {
        Binary { source: self.source.with_connections(make) }
    }

    /// Adds a lake for the pages under `/lake` and for SQL, opened at first use. Without it, these report that the
    /// binary has no lake.
    pub fn lake(self, lake: LakeSource) -> Binary {
        Binary { source: self.source.with_lake(lake) }
    }

    /// Adds streams. Workers of the binary run them next to their tasks.
    pub fn streams(self, streams: StreamSource) -> Binary {
        Binary { source: self.source.with_streams(streams) }
    }

    /// Adds a server, as a command of the binary next to its worker.
    pub fn server(self, server: BundleServer) -> Binary {
        Binary { source: self.source.with_server(server) }
    }

    /// Adds dashboards, each as its file name and its content:
    /// `[("shop.dashboard.yaml", include_str!("shop.dashboard.yaml"))]`.
    pub fn dashboards(self, files: &[(&'static str, &'static str)]) -> Binary {
        Binary { source: self.source.with_dashboards(files) }
    }

    /// Marks the DAGs for which `is_example` returns true, and all streams and dashboards of the binary, as examples.
    /// `ORCH_EXAMPLES=false` and `--no-examples` switch them off.
    pub fn examples(self, is_example: fn(&str) -> bool) -> Binary {
        Binary { source: self.source.with_examples(is_example) }
    }

    /// Opens archives that are not folders, as configured by `ORCH_ARCHIVE`. Without it, the binary rejects such
    /// archives.
    pub fn archive(self, archives: ArchiveSource) -> Binary {
        Binary { source: self.source.with_archives(archives) }
    }

    /// Sets the bundle that standalone and the web server start as a second process, if a binary with this name is in
    /// the same folder or `ORCH_BUNDLE` is set. The bundle provides its DAGs, tables and SQL, so this binary does not
    /// link their libraries.
    pub fn bundle(self, name: &'static str) -> Binary {
        Binary { source: self.source.with_bundle(name) }
    }

    /// Runs the command from the command line: a worker, or the test of a DAG.
    pub fn main(self) -> ExitCode {
        orch_binary::main(self.source)
    }

    /// Returns the source for `orch_cli::main`, which adds the scheduler, the web server and all commands.
    pub fn source(self) -> BundleSource {
        self.source
    }
}
