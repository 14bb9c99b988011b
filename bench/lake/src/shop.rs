//! The source: the retail sample in a MariaDB and as CSV files, 20 times as large where a copy must take seconds.

use anyhow::Result;
use orch::Connection;
use orch_dags::retail::days::Days;
use orch_dags::retail::sample::Sample;
use orch_dags::retail::tables::RAW;
use orch_lake::TableSpec;
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Options};
use orch_lake::format::csv::{self, Csv};
use orch_test_lake::MariaDb;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The table definitions for MySQL, which `deploy/` also uses in Docker.
const TABLES: &str = include_str!("../../../deploy/mysql/1-tables.sql");
pub(crate) const LARGE: u32 = 20;

pub(crate) struct Shop {
    pub(crate) connection: Connection,
    /// Stops the server on drop.
    _server: MariaDb,
}

/// Writes the CSV files of all tables to a folder.
pub(crate) async fn files(folder: &Path, scale: u32) -> Result<Bucket> {
    std::fs::create_dir_all(folder)?;
    // The server that loads the files may run as another user.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    let bucket = Bucket::open(&format!("file://{}", folder.display()), &Options::default())?;
    for table in &RAW {
        csv::write(&bucket, &key(table), rows(table, scale), Csv::default()).await?;
    }
    Ok(bucket)
}

pub(crate) fn key(table: &TableSpec) -> String {
    format!("{}.csv", table.name)
}

fn rows(table: &'static TableSpec, scale: u32) -> Batches {
    let rows = Sample { scale, ..Sample::default() }.rows(table, Days::all());
    Batches::new(table.schema(), futures::stream::iter(rows.map(|batch| Ok(batch?))))
}

impl Shop {
    pub(crate) async fn start(files: &Path) -> Shop {
        let server = MariaDb::start().await;
        let connection = server.database().await;
        server.run_statements(&connection, TABLES).await;
        for table in &RAW {
            let load = format!(
                "load data infile '{}' into table {} character set utf8mb4 fields terminated by ',' \
                 optionally enclosed by '\"' escaped by '' lines terminated by '\\n' ignore 1 lines",
                files.join(key(table)).display(),
                table.name
            );
            server.run_statements(&connection, &load).await;
        }
        Shop { connection, _server: server }
    }
}
