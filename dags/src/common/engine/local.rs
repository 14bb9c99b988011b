//! The local engine: DataFusion in this process, on one thread. Joins and aggregations may need more memory than a few
//! batches.

use super::RowCounts;
use super::job::{Job, Target};
use futures::TryStreamExt as _;
use orch::{Ctx, TaskResult};
use orch_lake::batches::Batches;
use orch_lake::format::WrittenObject;
use orch_lake::frame::conform;
use orch_lake_sql::Statements;

/// Writes one object for each table of a job.
pub(super) async fn write(ctx: &Ctx, job: &Job) -> TaskResult<RowCounts> {
    let statements = Statements::default();
    for view in &job.views {
        statements.view(view.name, view.schema.clone(), view.open.clone())?;
    }
    let mut rows = RowCounts::new();
    for target in &job.tables {
        let written = write_table(ctx, job, target, &statements).await?;
        rows.insert(target.name.into(), written.rows);
        if !job.views.iter().any(|view| view.name == target.name) {
            statements.keep(target.name, &target.statement).await?;
        }
    }
    Ok(rows)
}

async fn write_table(ctx: &Ctx, job: &Job, target: &Target, statements: &Statements) -> TaskResult<WrittenObject> {
    let (name, schema) = (target.name, target.schema.clone());
    let rows = statements.rows(&target.statement).await?.report_progress(ctx);
    let rows = rows.and_then(move |batch| std::future::ready(conform(&batch, &schema)));
    let rows = rows.map_err(move |error| error.context(format!("table `{name}`")));
    let key = format!("{}/part-00000.{}", job.folder_of(target), job.format.extension());
    job.format.write(&job.bucket, &key, Batches::new(target.schema.clone(), rows)).await
}
