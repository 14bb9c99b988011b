//! `orch db clean`, `export-archived` and `drop-archived`: deletes old rows, by default after it has moved them to
//! archive tables.

use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_binary::output::{Format, FormatFlag, Listing, counted, with_progress};
use orch_binary::person::{self, YesFlag};
use orch_binary::session::Session;
use orch_store::archive::{Folder, export};
use orch_store::audit::Deed;
use orch_store::clean::{
    Archived, CleanRequest, Cleaned, Goes, Table, clean, count_old, drop_archived, list_archived, take_time,
};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Delete old runs, logs and other rows; whole weeks go as partitions, nothing that is not over is touched
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db clean --clean-before-timestamp 2026-08-01 --dry-run\n  \
    orch db clean --clean-before-timestamp 2026-08-01 --yes\n  \
    orch db clean --clean-before-timestamp 2026-08-01 --dag-ids noisy,noisier --skip-archive --yes\n\n\
    What goes is kept in tables `archived__…` unless it is skipped: see `orch db export-archived`. A cleaning that is\n\
    stopped has lost nothing; the same command goes on.")]
pub(crate) struct Clean {
    /// Rows from before this moment go; runs count from when they were made
    #[arg(long, value_name = "MOMENT", value_parser = names::moment)]
    clean_before_timestamp: DateTime<Utc>,
    /// Only these tables, with commas: `dag_run` (with all of its tasks), `log_chunk`, `audit` (or `log`), `asset_event`,
    /// `asset_check`, lineage, progress, alert
    #[arg(short, long, value_delimiter = ',', value_name = "A,B")]
    tables: Vec<Table>,
    /// Only rows of these DAGs, with commas
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    dag_ids: Vec<String>,
    /// No rows of these DAGs, with commas
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    exclude_dag_ids: Vec<String>,
    /// Count what would go, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete for good, without a copy
    #[arg(long)]
    skip_archive: bool,
    /// Runs, or rows of other tables, in one transaction
    #[arg(long, value_name = "ROWS", default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    batch_size: i64,
    /// Fail when a table cannot be cleaned (always so; taken for Airflow's sake)
    #[arg(long, hide = true)]
    error_on_cleanup_failure: bool,
    #[command(flatten)]
    yes: YesFlag,
    #[command(flatten)]
    output: FormatFlag,
}

/// Write what `db clean` left behind into files: CSV under gzip, with a manifest of rows and checksums
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db export-archived --output-path /backup/orch\n  \
    orch db export-archived --output-path /backup/orch --tables dag_run,task_instance --drop-archives --yes")]
pub(crate) struct ExportArchived {
    /// Folder to write to; each table gets one of its own in it
    #[arg(long, value_name = "FOLDER")]
    output_path: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    export_format: ExportFormat,
    /// Only archives of these tables, with commas
    #[arg(short, long, value_delimiter = ',', value_name = "A,B")]
    tables: Vec<String>,
    /// Drop each that was written
    #[arg(long)]
    drop_archives: bool,
    #[command(flatten)]
    yes: YesFlag,
    #[command(flatten)]
    output: FormatFlag,
}

/// How files are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    #[default]
    Csv,
}

/// Drop what `db clean` left behind
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db drop-archived --yes\n  orch db drop-archived --tables audit --yes")]
pub(crate) struct DropArchived {
    /// Only archives of these tables, with commas
    #[arg(short, long, value_delimiter = ',', value_name = "A,B")]
    tables: Vec<String>,
    #[command(flatten)]
    yes: YesFlag,
}

impl Clean {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let actor = person::name();
        let wish = self.wish(&actor);
        if self.dry_run {
            let mut listing = Listing::new(["table", "rows"], "nothing");
            for count in count_old(&mut session.db, &wish).await? {
                listing.add([json!(count.table), json!(count.rows)]);
            }
            return listing.print(self.output.format);
        }
        let kept = if self.skip_archive { "for good" } else { "into tables `archived__…`" };
        let before = self.clean_before_timestamp.to_rfc3339();
        self.yes.agree(&format!("This takes everything that is over and from before {before}, {kept}."))?;
        let extra = json!({ "before": before, "tables": wish.tables.iter().map(|t| t.as_str()).collect::<Vec<_>>(),
            "dag_ids": wish.only, "exclude_dag_ids": wish.except, "archive": !self.skip_archive });
        session.did(&Deed { event: "clean_db", extra: Some(extra), ..Deed::default() }).await?;
        let mut done: Vec<Cleaned> = Vec::new();
        let is_for_people = self.output.format == Format::Table;
        let mut tell = |cleaned: &Cleaned| {
            if is_for_people {
                eprintln!("{}", words(cleaned));
            }
            done.push(cleaned.clone());
        };
        clean(&mut session.db, &wish, &mut tell).await?;
        listing(&done).print(self.output.format)
    }

    fn wish(&self, actor: &str) -> CleanRequest {
        let tables = if self.tables.is_empty() { &Table::ALL[..] } else { &self.tables };
        let goes = if self.skip_archive { Goes::Dropped } else { Goes::Archived };
        CleanRequest {
            only: self.dag_ids.clone(),
            except: self.exclude_dag_ids.clone(),
            batch: self.batch_size,
            ..CleanRequest::of(tables, self.clean_before_timestamp, goes, actor)
        }
    }
}

/// Returns a line such as `task_instance, week of 2026-08-17: archived`.
fn words(cleaned: &Cleaned) -> String {
    let week = cleaned.week.map_or_else(String::new, |week| format!(", week of {week}"));
    let rows = cleaned.rows.map_or_else(String::new, |rows| format!(", {}", counted(rows, "row")));
    format!("{}{week}: {}{rows}", cleaned.table, cleaned.how)
}

fn listing(done: &[Cleaned]) -> Listing {
    let mut listing = Listing::new(["table", "week", "how", "rows", "place"], "nothing was old enough");
    for one in done {
        let week = one.week.map_or(Value::Null, |week| json!(week.to_string()));
        listing.add([json!(one.table), week, json!(one.how), json!(one.rows), json!(one.place)]);
    }
    listing
}

impl ExportArchived {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let ExportFormat::Csv = self.export_format;
        if self.drop_archives {
            self.yes.agree("This drops each archived table that was written.")?;
        }
        take_time(&mut session.db).await?;
        let folder = Folder::at(&self.output_path);
        let mut listing = Listing::new(["table", "rows", "parts", "bytes", "folder"], "nothing is archived");
        let all = list_archived(&mut session.db, &self.tables).await?;
        if !all.is_empty() {
            let extra = json!({ "tables": names(&all), "folder": self.output_path.display().to_string(),
                "drops": self.drop_archives });
            session.did(&Deed { event: "export_archived", extra: Some(extra), ..Deed::default() }).await?;
        }
        for (before, archived) in all.iter().enumerate() {
            let so_far = |took: Duration| exporting(archived, before + 1, all.len(), took);
            let exported = with_progress(export(&mut session.db, &archived.name, &folder, ""), so_far).await?;
            let place = self.output_path.join(&exported.folder).display().to_string();
            listing.add([
                json!(exported.table),
                json!(exported.rows),
                json!(exported.parts),
                json!(exported.bytes),
                json!(place),
            ]);
            if self.drop_archives {
                drop_archived(&mut session.db, &person::name(), archived).await?;
            }
        }
        listing.print(self.output.format)
    }
}

/// Returns a line such as `table 3 of 12, archived__log_chunk_2026w41__7 (34.5 MB): 4 s`.
fn exporting(archived: &Archived, number: usize, all: usize, took: Duration) -> String {
    let size = archived.bytes as f64 / 1e6;
    format!("table {number} of {all}, {} ({size:.1} MB): {} s", archived.name, took.as_secs())
}

impl DropArchived {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let found = list_archived(&mut session.db, &self.tables).await?;
        if found.is_empty() {
            eprintln!("nothing is archived");
            return Ok(Exit::Done);
        }
        self.yes.agree(&format!("This drops for good: {}.", names(&found).join(", ")))?;
        let extra = json!({ "tables": names(&found) });
        session.did(&Deed { event: "drop_archived", extra: Some(extra), ..Deed::default() }).await?;
        for archived in &found {
            drop_one(&mut session, archived).await?;
        }
        let are = if found.len() == 1 { "is" } else { "are" };
        eprintln!("{} {are} dropped", counted(found.len(), "archived table"));
        Ok(Exit::Done)
    }
}

async fn drop_one(session: &mut Session, archived: &Archived) -> Result<(), Failure> {
    Ok(drop_archived(&mut session.db, &person::name(), archived).await?)
}

fn names(archived: &[Archived]) -> Vec<&str> {
    archived.iter().map(|one| one.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_told_in_words() {
        let cleaned = |rows| Cleaned { table: "audit".into(), week: None, how: "archived", rows, place: None };
        assert_eq!(words(&cleaned(Some(1))), "audit: archived, 1 row");
        assert_eq!(words(&cleaned(Some(2))), "audit: archived, 2 rows");
        assert_eq!(words(&cleaned(None)), "audit: archived");
    }

    #[test]
    fn an_export_says_which_table_of_how_many_it_writes() {
        let archived = Archived { name: "archived__audit__7".into(), of: "audit".into(), bytes: 34_500_000 };
        let said = exporting(&archived, 3, 12, Duration::from_millis(4_200));
        assert_eq!(said, "table 3 of 12, archived__audit__7 (34.5 MB): 4 s");
    }
}
