//! The engine of this process: the lake's SQL over what the views read, on one thread, in bounded memory but for joins and sums.

use super::job::{Format, Job, Target};
use super::{Engine, Rows};
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use orch::{Ctx, TaskResult};
use orch_lake::batches::Batches;
use orch_lake::format::csv::{self, Csv};
use orch_lake::format::{WrittenObject, parquet};
use orch_lake::frame::conform;
use orch_lake_sql::Statements;

pub(super) struct Local;

impl Engine for Local {
    fn name(&self) -> &'static str {
        super::LOCAL
    }

    fn refuses(&self, _: &Job) -> Option<String> {
        None
    }

    fn write<'a>(&'a self, ctx: &'a Ctx, job: &'a Job) -> BoxFuture<'a, TaskResult<Rows>> {
        async move {
            let statements = Statements::default();
            for view in &job.views {
                statements.view(view.name, view.schema.clone(), view.open.clone())?;
            }
            let mut rows = Rows::new();
            for target in &job.tables {
                let written = write(ctx, job, target, &statements).await?;
                rows.insert(target.name.into(), written.rows);
                if !job.views.iter().any(|view| view.name == target.name) {
                    statements.keep(target.name, &target.statement).await?;
                }
            }
            Ok(rows)
        }
        .boxed()
    }
}

async fn write(ctx: &Ctx, job: &Job, target: &Target, statements: &Statements) -> TaskResult<WrittenObject> {
    let rows = statements.rows(&target.statement).await?.report_progress(ctx);
    let schema = target.schema.clone();
    let fit = move |batch| {
        let fits = conform(&batch, &schema);
        std::future::ready(fits)
    };
    let name = target.name;
    let rows = rows.and_then(fit).map_err(move |error| error.context(format!("table `{name}`")));
    let rows = Batches::new(target.schema.clone(), rows);
    let key = format!("{}/part-00000.{}", job.place_of(target), job.format.suffix());
    match job.format {
        Format::Csv => csv::write(&job.bucket, &key, rows, Csv::default()).await,
        Format::Parquet => parquet::write(&job.bucket, &key, rows).await,
    }
}
