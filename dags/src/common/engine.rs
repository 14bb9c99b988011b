//! Engines that run the SQL statements of a job: Spark, a Spark Connect server, or this process. All engines produce
//! the same rows.
//!
//! An engine writes objects into the folder of the attempt. The worker reads them back, checks them against the
//! contracts (`check`), and publishes all tables of the job together (`layer`). An engine that fails changes no table.

mod check;
mod hash;
mod job;
mod layer;
mod local;
mod spark;

pub(crate) use job::{Format, Job, Outside, Target, View};
pub(crate) use layer::Layer;

use crate::common::connections::SPARK;
use orch::{Ctx, SPARK_CONNECT, TaskResult};
use std::collections::BTreeMap;

/// Connection type of `spark_default` if no Spark is set: jobs run in this process.
pub(crate) const LOCAL: &str = "local";

/// Number of rows of each table, as reported by an engine.
type RowCounts = BTreeMap<String, u64>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Local,
    Spark,
    SparkConnect,
}

impl Engine {
    /// Returns the engine of the connection `spark_default`, or the local engine if that engine cannot read a view of
    /// the job.
    async fn choose(ctx: &Ctx, job: &Job) -> TaskResult<Engine> {
        let connection = ctx.connection(SPARK).await?;
        let engine = match connection.conn_type.as_str() {
            LOCAL => Engine::Local,
            SPARK_CONNECT => Engine::SparkConnect,
            _ => Engine::Spark,
        };
        let from_mysql = job.views.iter().find(|view| matches!(view.outside, Some(Outside::MySql { .. })));
        let why_local = match (engine, from_mysql) {
            (Engine::Local, _) => format!("no Spark is set up as connection `{SPARK}`"),
            (Engine::SparkConnect, Some(view)) => {
                format!("a Spark Connect server may have no driver for MySQL, where `{}` is", view.name)
            }
            _ => return Ok(engine),
        };
        ctx.info(format!("{why_local}: the local engine runs `{}`", job.name));
        Ok(Engine::Local)
    }

    /// The name in the output of a task.
    fn name(self) -> &'static str {
        match self {
            Engine::Local => LOCAL,
            Engine::Spark => "spark",
            Engine::SparkConnect => "spark_connect",
        }
    }

    /// Writes the objects of each table into [`Job::folder_of`].
    async fn write(self, ctx: &Ctx, job: &Job) -> TaskResult<RowCounts> {
        match self {
            Engine::Local => local::write(ctx, job).await,
            Engine::Spark | Engine::SparkConnect => spark::write(ctx, job).await,
        }
    }
}
