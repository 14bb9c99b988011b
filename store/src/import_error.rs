//! Errors of DAG files that cannot be loaded, one row per file. Workers that watch a folder write them. Pages, the API
//! and commands show them.

use crate::list::List;
use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_spec::check::FileProblem;
use orch_spec::text::JsonText;
use serde_json::Value;
use sqlx::FromRow;
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
    /// Returns all problems of the file, as commands print them.
    pub fn text(&self) -> String {
        self.problems.iter().fold(String::new(), |mut text, problem| {
            writeln!(text, "{problem}").expect("writing to a string cannot fail");
            text
        })
    }
}

/// Columns that users can filter import errors by.
pub mod by {
    use crate::list::Column;
    use crate::list::Filter::{Is, Pattern, Prefix};

    pub const ID: Column = Column::whole("id", "id").sorted();
    pub const FILE: Column = Column::text("filename", "file").by(&[Is, Pattern, Prefix]).about("Of that file").sorted();

    pub(super) const ALL: &[Column] = &[
        ID,
        Column::whole("import_error_id", "id").sorted(),
        Column::moment("timestamp", "at").sorted(),
        FILE,
        Column::text("bundle_name", "bundle").by(&[Is]).about("Of that bundle").sorted(),
        Column::text("stacktrace", "problems::text").sorted(),
    ];
}

/// Import errors, by default ordered by id.
pub static IMPORT_ERRORS: List<ImportErrorRow> = List {
    select: "id, bundle, file, at, problems",
    from: "import_error",
    joins: &[],
    columns: by::ALL,
    key: "id",
    order: &[],
    read: |row| {
        let (id, bundle, file, at, problems) = <(i32, String, String, DateTime<Utc>, Value)>::from_row(row)?;
        let problems = serde_json::from_value(problems);
        let problems = problems.map_err(|e| StoreError::corrupt(format!("import error {id}: {e}")))?;
        Ok(ImportErrorRow { id, bundle, file, at, problems })
    },
};

/// The bundle name under which import errors of stream files are stored.
pub const STREAM_FILES: &str = "streams-folder";
/// The bundle name under which import errors of endpoints are stored.
pub const ENDPOINT_FILES: &str = "published-queries";

/// Maximum number of broken files that are read.
const MOST_IMPORT_ERRORS: i64 = 1_000;

/// Replaces the import errors of a folder that was just read with the given ones. A file whose problems have not
/// changed keeps its id and time.
#[boxed]
pub async fn set_import_errors(
    db: &mut PgConnection,
    bundle: &str,
    broken: &BTreeMap<String, Vec<FileProblem>>,
) -> StoreResult<()> {
    let files: Vec<String> = broken.keys().cloned().collect();
    let problems: Vec<String> = broken
        .values()
        // Cleaned by `JsonText`, because Postgres cannot extract a JSON string that contains NUL.
        .map(|problems| JsonText::new(serde_json::to_string(problems).expect("problems are texts")).into_string())
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
    .execute(&mut *db)
    .await?;
    let read = "insert into folder_read (bundle) values ($1) on conflict (bundle) do update set at = now()";
    sqlx::query(read).bind(bundle).execute(db).await?;
    Ok(())
}

/// Times at which folders were last read. `None` means never.
#[derive(Debug, Clone, Copy, Default, FromRow)]
pub struct FoldersRead {
    pub stream_files: Option<DateTime<Utc>>,
    pub endpoint_files: Option<DateTime<Utc>>,
}

#[boxed]
pub async fn folders_read(db: &mut PgConnection) -> StoreResult<FoldersRead> {
    let read = sqlx::query_as(
        "select max(at) filter (where bundle = $1) as stream_files, max(at) filter (where bundle = $2) as endpoint_files
        from folder_read",
    );
    Ok(read.bind(STREAM_FILES).bind(ENDPOINT_FILES).fetch_one(db).await?)
}

/// Returns the broken files, each with its bundle.
#[boxed]
pub async fn broken_files(db: &mut PgConnection) -> StoreResult<HashSet<(String, String)>> {
    let rows = sqlx::query!("select bundle, file from import_error limit $1", MOST_IMPORT_ERRORS);
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.bundle, row.file)).collect())
}
