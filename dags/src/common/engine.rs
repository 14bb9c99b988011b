//! Engines: what carries out the statements of a job. The statements are the same on each of them, and so are the tables.
//!
//! An engine writes objects beside the tables; the worker reads them back, so that what is recorded is what is there, and
//! publishes all tables of a job at once (`layer`). An engine that ends in the middle changes no table.

mod hash;
mod job;
mod layer;
mod local;
mod spark;

pub(crate) use job::{Format, Job, Outside, Target, View};
pub(crate) use layer::Layer;

use crate::common::connections::SPARK;
use futures::future::BoxFuture;
use local::Local;
use orch::{Connection, Ctx, SPARK_CONNECT, TaskResult};
use spark::OnSpark;
use std::collections::BTreeMap;

/// The type of the connection that stands for no Spark.
pub(crate) const LOCAL: &str = "local";

/// Rows that an engine says it wrote, by table.
pub(crate) type Rows = BTreeMap<String, u64>;

pub(crate) trait Engine: Send + Sync {
    /// As it is recorded.
    fn name(&self) -> &'static str;

    /// Whether it can carry out a job: why not.
    fn refuses(&self, job: &Job) -> Option<String>;

    /// Writes the objects of each table below [`Job::place`].
    fn write<'a>(&'a self, ctx: &'a Ctx, job: &'a Job) -> BoxFuture<'a, TaskResult<Rows>>;
}

/// The engine for a job: Spark where one is set up and can read what the job reads, else this process.
async fn engine(ctx: &Ctx, job: &Job) -> TaskResult<Box<dyn Engine>> {
    let connection: Connection = ctx.connection(SPARK).await?;
    if connection.conn_type == LOCAL {
        ctx.info(format!("no Spark is set up as connection `{SPARK}`: the local engine runs `{}`", job.name));
        return Ok(Box::new(Local));
    }
    let spark = OnSpark { is_connect: connection.conn_type == SPARK_CONNECT };
    match spark.refuses(job) {
        None => Ok(Box::new(spark)),
        Some(why) => {
            ctx.info(format!("{why}: the local engine runs `{}`", job.name));
            Ok(Box::new(Local))
        }
    }
}
