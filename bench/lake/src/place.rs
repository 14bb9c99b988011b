//! Location of the tables: the warehouse is in the data folder of the installation, the catalog in its Postgres.

use anyhow::Result;
use orch_bench::Bench;
use orch_lake::bucket::Options;
use orch_lake::{Lake, LakeConfig};
use sqlx::postgres::PgPoolOptions;
use std::future::Future;
use std::path::PathBuf;

/// Runs the measurement on a multi-threaded runtime, as a worker has.
pub(crate) fn on_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Creates the folder of a row, which is removed with the installation.
pub(crate) fn folder(bench: &Bench, name: &str) -> Result<PathBuf> {
    let folder = bench.data().root().join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Returns the database URL of the running installation's catalog.
pub(crate) fn catalog(bench: &mut Bench) -> Result<String> {
    Ok(bench.running()?.database_url.clone())
}

pub(crate) async fn lake(database_url: &str, folder: &std::path::Path) -> Result<Lake> {
    lake_called("bench", database_url, folder).await
}

/// Opens a lake. Lakes with different catalog names may have tables of the same name.
pub(crate) async fn lake_called(name: &str, database_url: &str, folder: &std::path::Path) -> Result<Lake> {
    let catalog = PgPoolOptions::new().max_connections(4).connect(database_url).await?;
    let warehouse = format!("file://{}", folder.display());
    Ok(Lake::open(LakeConfig { catalog, name: name.into(), warehouse, storage: Options::default() })?)
}
