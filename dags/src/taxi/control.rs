//! `lake.etl_control`: which file was loaded when, with which content and how many rows. It lies beside the catalog of
//! the lake, so that a row of it is written in the transaction that publishes the tables.

use super::clean::CleaningCounts;
use super::raw::RawFile;
use crate::common::nyc::sources::TRIPS;
use anyhow::anyhow;
use chrono::{DateTime, Utc};
use orch::completion::{CompletionStep, step};
use orch::{Ctx, TaskResult, fatal};
use orch_lake::Lake;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::{Acquire as _, Postgres};

/// Two who make it at once: one waits.
const MAKE: &str = "
    select pg_advisory_xact_lock(7276135509);
    create table if not exists lake.etl_control (
        table_name text not null,
        source_file text not null,
        month date not null,
        -- published: its rows are in the table; done: that was looked at again; duplicate: another file has its content
        state text not null check (state in ('published', 'done', 'duplicate')),
        sha256 text not null,
        bytes bigint not null,
        rows bigint not null,
        quarantined bigint not null,
        found jsonb not null,
        run_id text not null,
        updated_at timestamptz not null default now(),
        primary key (table_name, source_file)
    );
    create unique index if not exists etl_control_content
        on lake.etl_control (table_name, sha256) where state <> 'duplicate';
    do $$
    begin
        if exists (select from pg_roles where rolname = 'orch_lake') then
            grant select, insert, update on lake.etl_control to orch_lake;
        end if;
    end $$";
const CONTENT: &str = "etl_control_content";

/// What became of a file.
#[derive(Debug, Clone)]
pub struct Entry {
    pub file: RawFile,
    /// In the table.
    pub rows: u64,
    pub quarantined: u64,
    pub found: CleaningCounts,
    /// Another file has the same content, and is in the table.
    pub is_duplicate: bool,
}

/// A session at the database of the lake's catalog. The table is there.
///
/// # Errors
/// The server cannot be reached, or this user may not make the table.
pub async fn open(lake: &Lake) -> TaskResult<PoolConnection<Postgres>> {
    let Some(catalog) = lake.catalog().postgres() else {
        return Err(fatal(
            "the catalog of the lake is not in Postgres, so `lake.etl_control` has no place\n\
             hint: put the catalog into the metadata database of orch",
        ));
    };
    let mut db = catalog.pool().acquire().await?;
    let is_there = sqlx::query_scalar("select to_regclass('lake.etl_control') is not null");
    if !is_there.fetch_one(&mut *db).await? {
        let mut tx = db.begin().await?;
        sqlx::raw_sql(MAKE).execute(&mut *tx).await?;
        tx.commit().await?;
    }
    Ok(db)
}

/// The time of the database: a run of a backfill has an old one of its own.
///
/// # Errors
/// The server cannot be asked.
pub async fn now(db: &mut PgConnection) -> TaskResult<DateTime<Utc>> {
    Ok(sqlx::query_scalar("select now()").fetch_one(db).await?)
}

/// The file that is in the table with the same content under another name.
///
/// # Errors
/// The server cannot be asked.
pub async fn same_content(db: &mut PgConnection, file: &RawFile) -> TaskResult<Option<String>> {
    let other = "select source_file from lake.etl_control
        where table_name = $1 and sha256 = $2 and source_file <> $3 and state <> 'duplicate'";
    let other = sqlx::query_scalar(other).bind(TRIPS).bind(&file.sha256).bind(&file.source_file);
    Ok(other.fetch_optional(db).await?)
}

/// Writes down what is published in the same transaction.
pub fn published(ctx: &Ctx, entry: Entry) -> impl CompletionStep {
    let run_id = ctx.run_id().to_string();
    step(format!("note `{}` in `lake.etl_control`", entry.file.source_file), move |db| {
        let (entry, run_id) = (entry.clone(), run_id.clone());
        Box::pin(async move { note(db, &entry, &run_id).await })
    })
}

async fn note(db: &mut PgConnection, entry: &Entry, run_id: &str) -> TaskResult<()> {
    let write = "insert into lake.etl_control
            (table_name, source_file, month, state, sha256, bytes, rows, quarantined, found, run_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (table_name, source_file) do update set month = excluded.month, state = excluded.state,
            sha256 = excluded.sha256, bytes = excluded.bytes, rows = excluded.rows, quarantined = excluded.quarantined,
            found = excluded.found, run_id = excluded.run_id, updated_at = now()";
    let Entry { file, rows, quarantined, found, is_duplicate } = entry;
    let written = sqlx::query(write)
        .bind(TRIPS)
        .bind(&file.source_file)
        .bind(file.month.first())
        .bind(if *is_duplicate { "duplicate" } else { "published" })
        .bind(&file.sha256)
        .bind(file.bytes.cast_signed())
        .bind(rows.cast_signed())
        .bind(quarantined.cast_signed())
        .bind(serde_json::to_value(found)?)
        .bind(run_id)
        .execute(db)
        .await;
    match written {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(CONTENT) => {
            Err(anyhow!("another file with the content of `{}` was published meanwhile", file.source_file))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says that the rows of these files were looked at again: the last month moves on. Files that another run has
/// published anew since are left to that run.
pub fn done(files: Vec<(String, String)>) -> impl CompletionStep {
    step(format!("mark {} files as done in `lake.etl_control`", files.len()), move |db| {
        let files = files.clone();
        Box::pin(async move {
            let mark = "update lake.etl_control set state = 'done', updated_at = now()
                where table_name = $1 and source_file = $2 and sha256 = $3 and state = 'published'";
            for (source_file, sha256) in files {
                sqlx::query(mark).bind(TRIPS).bind(source_file).bind(sha256).execute(&mut *db).await?;
            }
            Ok(())
        })
    })
}

/// How many rows of a file are said to be in the table; `None`: another content of it has been published since.
///
/// # Errors
/// Nothing is known of the file, or the server cannot be asked.
pub async fn rows_of(db: &mut PgConnection, source_file: &str, sha256: &str) -> TaskResult<Option<u64>> {
    let found = "select rows, sha256 from lake.etl_control where table_name = $1 and source_file = $2";
    let found: Option<(i64, String)> =
        sqlx::query_as(found).bind(TRIPS).bind(source_file).fetch_optional(&mut *db).await?;
    let (rows, content) = found.ok_or_else(|| fatal(format!("`lake.etl_control` knows nothing of `{source_file}`")))?;
    Ok((content == sha256).then_some(rows.unsigned_abs()))
}
