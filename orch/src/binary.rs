//! The whole of a binary with DAGs in it.

use crate::{Dag, body_of_task, bundle};
use orch_binary::{ArchiveSource, BundleServer, BundleSource, LakeSource, StreamSource};
use orch_sdk::task::{Connection, Installation};
use std::process::ExitCode;

/// What `fn main` of a binary with DAGs returns. The binary is a bundle: `orch standalone --bundle` runs its DAGs, `orch dev`
/// builds it again with each change. It describes them only when a command needs them.
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

/// A binary with more than DAGs.
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

    /// Connections that tasks find when nobody has set up one of that name: not in a file or a vault, the environment or
    /// the database. They are made where the binary works, for what is there.
    pub fn connections(self, make: impl Fn(&Installation) -> Vec<Connection> + Send + Sync + 'static) -> Binary {
        Binary { source: self.source.with_connections(make) }
    }

    /// A lake for the pages under `/lake` and for SQL, opened when somebody first looks. Binaries without one say so.
    pub fn lake(self, lake: LakeSource) -> Binary {
        Binary { source: self.source.with_lake(lake) }
    }

    /// Streams that the workers of the binary run beside their tasks.
    pub fn streams(self, streams: StreamSource) -> Binary {
        Binary { source: self.source.with_streams(streams) }
    }

    /// A server that is a command of the binary, beside its worker.
    pub fn server(self, server: BundleServer) -> Binary {
        Binary { source: self.source.with_server(server) }
    }

    /// Dashboards, each as the name of its file and its text:
    /// `[("shop.dashboard.yaml", include_str!("shop.dashboard.yaml"))]`.
    pub fn dashboards(self, files: &[(&'static str, &'static str)]) -> Binary {
        Binary { source: self.source.with_dashboards(files) }
    }

    /// Marks the DAGs for which `is_example` returns true, and all streams and dashboards of the binary, as examples.
    /// `ORCH_EXAMPLES=false` and `--no-examples` switch them off.
    pub fn examples(self, is_example: fn(&str) -> bool) -> Binary {
        Binary { source: self.source.with_examples(is_example) }
    }

    /// What opens the archive that `ORCH_ARCHIVE` names when it is no folder. Binaries without one refuse such names.
    pub fn archive(self, archives: ArchiveSource) -> Binary {
        Binary { source: self.source.with_archives(archives) }
    }

    /// The bundle that standalone and web server start beside themselves when this binary of it is in the same folder, or
    /// `ORCH_BUNDLE` names one: its DAGs, tables and SQL are there without its libraries being here.
    pub fn bundle(self, name: &'static str) -> Binary {
        Binary { source: self.source.with_bundle(name) }
    }

    /// Does what the command line says: it runs a worker, or tests a DAG.
    pub fn main(self) -> ExitCode {
        orch_binary::main(self.source)
    }

    /// For `orch_cli::main`, which makes a whole orch of it: scheduler, web server and every command.
    pub fn source(self) -> BundleSource {
        self.source
    }
}
