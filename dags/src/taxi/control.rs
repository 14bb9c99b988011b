//! `lake.etl_control`: when each file was loaded, its content hash and its number of rows. The table is in the database
//! of the lake's catalog, so its rows are written in the transaction that publishes the tables.

use super::load::Loaded;
use super::raw::RawFile;
use crate::common::nyc::sources::TRIPS;
use anyhow::anyhow;
use orch::completion::{CompletionStep, step};
use orch::{Ctx, TaskResult, fatal};
use orch_lake::Lake;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;

const RECORD: &str = include_str!("sql/record_file.sql");

/// Opens a session in the database of the lake's catalog.
pub(super) async fn open(lake: &Lake) -> TaskResult<PoolConnection<Postgres>> {
    let Some(catalog) = lake.catalog().postgres() else {
        return Err(fatal(
            "the catalog of the lake is not in Postgres, so there is no database for `lake.etl_control`\n\
             hint: put the catalog into the metadata database of orch",
        ));
    };
    Ok(catalog.pool().acquire().await?)
}

/// Returns another loaded file with the same content.
pub(super) async fn same_content(lake: &Lake, file: &RawFile) -> TaskResult<Option<String>> {
    let other = "select source_file from lake.etl_control
        where table_name = $1 and sha256 = $2 and source_file <> $3 and state <> 'duplicate'";
    let other = sqlx::query_scalar(other).bind(TRIPS).bind(&file.sha256).bind(&file.source_file);
    Ok(other.fetch_optional(&mut *open(lake).await?).await?)
}

/// Records a file in the transaction that publishes its tables. `is_duplicate` is set if another file with the same
/// content is loaded.
pub(super) fn published(ctx: &Ctx, file: &RawFile, loaded: &Loaded, is_duplicate: bool) -> impl CompletionStep {
    let (file, loaded, run_id) = (file.clone(), loaded.clone(), ctx.run_id().to_string());
    let state = if is_duplicate { "duplicate" } else { "published" };
    step(format!("note `{}` in `lake.etl_control`", file.source_file), move |db| {
        let (file, loaded, run_id) = (file.clone(), loaded.clone(), run_id.clone());
        Box::pin(async move { record(db, &file, &loaded, state, &run_id).await })
    })
}

async fn record(db: &mut PgConnection, file: &RawFile, loaded: &Loaded, state: &str, run_id: &str) -> TaskResult<()> {
    let written = sqlx::query(RECORD)
        .bind(TRIPS)
        .bind(&file.source_file)
        .bind(file.month.first())
        .bind(state)
        .bind(&file.sha256)
        .bind(file.bytes.cast_signed())
        .bind(loaded.trips.cast_signed())
        .bind(loaded.quarantined.cast_signed())
        .bind(serde_json::to_value(&loaded.found)?)
        .bind(run_id);
    match written.execute(db).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some("etl_control_content") => {
            Err(anyhow!("another file with the content of `{}` was published meanwhile", file.source_file))
        }
        Err(error) => Err(error.into()),
    }
}

/// Marks files, by name and content, as verified. Skips a file that another run has published again; that run marks it.
pub(super) fn done(files: Vec<(String, String)>) -> impl CompletionStep {
    step(format!("mark {} files as done in `lake.etl_control`", files.len()), move |db| {
        let (names, contents): (Vec<_>, Vec<_>) = files.iter().cloned().unzip();
        let mark = "update lake.etl_control set state = 'done', updated_at = now()
            where table_name = $1 and state = 'published'
                and (source_file, sha256) in (select * from unnest($2::text[], $3::text[]))";
        Box::pin(async move {
            sqlx::query(mark).bind(TRIPS).bind(names).bind(contents).execute(db).await?;
            Ok(())
        })
    })
}

/// Returns the number of rows recorded for a file; `None` if other content of the file has been published since.
pub(super) async fn rows_of(db: &mut PgConnection, source_file: &str, sha256: &str) -> TaskResult<Option<u64>> {
    let entry = "select rows, sha256 from lake.etl_control where table_name = $1 and source_file = $2";
    let entry: Option<(i64, String)> = sqlx::query_as(entry).bind(TRIPS).bind(source_file).fetch_optional(db).await?;
    let (rows, content) = entry.ok_or_else(|| fatal(format!("`lake.etl_control` has no entry for `{source_file}`")))?;
    Ok((content == sha256).then_some(rows.unsigned_abs()))
}
