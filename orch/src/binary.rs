//! The whole of a binary with DAGs in it.

use crate::{Dag, bundle};
use orch_cli::BundleSource;
use std::process::ExitCode;

/// glibc keeps what many threads freed: an idle orch held twice the memory. docs/DECISIONS.md has the figures.
#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `fn main` of a binary with DAGs returns: the `orch` command line with these DAGs. They are described only by
/// commands that need them.
///
/// ```no_run
/// # use orch::prelude::*;
/// # fn sales() -> Dag { dag("sales").build(|_| {}) }
/// fn main() -> std::process::ExitCode {
///     orch::main(|| vec![sales()])
/// }
/// ```
pub fn main(dags: impl FnOnce() -> Vec<Dag> + Send + 'static) -> ExitCode {
    orch_cli::main(BundleSource::new(|name| bundle(name, dags())))
}
