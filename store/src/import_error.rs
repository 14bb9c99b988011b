//! DAG files that cannot be taken, one row a file. Workers that watch a folder write them; pages, the API and commands
//! show them.

use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_spec::check::FileProblem;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportErrorRow {
    pub id: i32,
    pub bundle: String,
    pub file: String,
    pub at: DateTime<Utc>,
    pub problems: Vec<FileProblem>,
}

impl ImportErrorRow {
    /// All problems, as a command would say them.
    pub fn text(&self) -> String {
        self.problems.iter().fold(String::new(), |mut text, problem| {
            writeln!(text, "{problem}").expect("writing to a string cannot fail");
            text
        })
    }
}

/// Which errors; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct ImportErrorFilter {
    pub id: Option<i32>,
    pub bundle: Option<String>,
}

/// More broken files than one mends at a time.
pub const MOST_IMPORT_ERRORS: i64 = 1_000;

/// From now on these files of the bundle are broken, and no others. One that is broken as before keeps its id and time.
#[boxed]
pub async fn set_import_errors(
    db: &mut PgConnection,
    bundle: &str,
    broken: &BTreeMap<String, Vec<FileProblem>>,
) -> StoreResult<()> {
    let files: Vec<String> = broken.keys().cloned().collect();
    let problems: Vec<String> = broken
        .values()
        // Postgres keeps no NUL in a text.
        .map(|problems| serde_json::to_string(problems).expect("problems are texts").replace("\\u0000", "?"))
        .collect();
    sqlx::query!(
        "with gone as (delete from import_error where bundle = $1 and file <> all($2::text[]))
        insert into import_error as e (bundle, file, problems)
        select $1, b.file, b.problems::json from unnest($2::text[], $3::text[]) as b (file, problems)
        on conflict (bundle, file) do update set problems = excluded.problems, at = now()
        where e.problems::text <> excluded.problems::text",
        bundle,
        &files,
        &problems
    )
    .execute(db)
    .await?;
    Ok(())
}

/// By file.
#[boxed]
pub async fn list_import_errors(db: &mut PgConnection, filter: &ImportErrorFilter) -> StoreResult<Vec<ImportErrorRow>> {
    let rows = sqlx::query!(
        "select id, bundle, file, at, problems from import_error
        where ($1::integer is null or id = $1) and ($2::text is null or bundle = $2) order by file, bundle limit $3",
        filter.id,
        filter.bundle,
        MOST_IMPORT_ERRORS
    );
    let mut found = Vec::new();
    for row in rows.fetch_all(db).await? {
        let problems = |problems: Value| serde_json::from_value::<Vec<FileProblem>>(problems);
        let problems =
            problems(row.problems).map_err(|e| StoreError::corrupt(format!("import error {}: {e}", row.id)))?;
        found.push(ImportErrorRow { id: row.id, bundle: row.bundle, file: row.file, at: row.at, problems });
    }
    Ok(found)
}

/// Bundles and files that are broken.
#[boxed]
pub async fn broken_files(db: &mut PgConnection) -> StoreResult<HashSet<(String, String)>> {
    let rows = sqlx::query!("select bundle, file from import_error limit $1", MOST_IMPORT_ERRORS);
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.bundle, row.file)).collect())
}
