//! `orch pools list`, `get`, `set` and `delete`.

use crate::app::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing};
use orch_store::pool::{DeletePool, NewPool, PoolRow};
use serde_json::json;

/// List pools with what is in them, in slots
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools list\n  orch pools list -o json")]
pub(crate) struct List {
    #[command(flatten)]
    output: FormatFlag,
}

/// Show one pool
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools get mysql")]
pub(crate) struct Get {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    output: FormatFlag,
}

/// Set a pool, whether it is there or not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools set mysql 4 'connections of the shop'\n  \
    orch pools set default_pool 128 'Default pool'\n  orch pools set lake -1 'as many as you like'")]
pub(crate) struct Set {
    #[arg(value_name = "NAME")]
    name: String,
    /// How many; -1: as many as you like
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    slots: i32,
    description: String,
    /// Deferred tasks keep their slots
    #[arg(long)]
    include_deferred: bool,
    #[command(flatten)]
    output: FormatFlag,
}

/// Delete a pool; tasks that name it wait for a new one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools delete mysql")]
pub(crate) struct Delete {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    output: FormatFlag,
}

impl List {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        listing(&cx.api().await?.pools().await?).print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let pool = cx.api().await?.pool(&self.name).await?.ok_or_else(|| no_such_pool(&self.name))?;
        listing(&[pool]).print(self.output.format)
    }
}

impl Set {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_name(&self.name)?;
        let new = NewPool {
            name: self.name.clone(),
            slots: self.slots,
            description: Some(self.description),
            include_deferred: self.include_deferred,
        };
        let api = cx.api().await?;
        api.set_pools(&[new]).await?;
        let pool = api.pool(&self.name).await?.ok_or_else(|| no_such_pool(&self.name))?;
        listing(&[pool]).print(self.output.format)
    }
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let pool = api.pool(&self.name).await?.ok_or_else(|| no_such_pool(&self.name))?;
        match api.delete_pool(&self.name).await? {
            DeletePool::Deleted => listing(&[pool]).print(self.output.format),
            DeletePool::NoSuchPool => Err(no_such_pool(&self.name)),
            DeletePool::Default => Err(Failure::new("the default pool is always there")
                .hint("give it a size instead: `orch pools set default_pool 128 'Default pool'`")),
        }
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    match orch_core::gates::check_pool_name(name) {
        Ok(()) => Ok(()),
        Err(why) => Err(Failure::new(format!("`{}` cannot be a pool: {why}", name.escape_debug()))),
    }
}

fn listing(pools: &[PoolRow]) -> Listing {
    let columns =
        ["pool", "slots", "description", "include_deferred", "occupied", "running", "queued", "scheduled", "open"];
    let mut listing = Listing::new(columns, "no pools");
    for pool in pools {
        listing.add([
            json!(pool.name),
            json!(pool.slots),
            json!(pool.description),
            json!(pool.include_deferred),
            json!(pool.occupied()),
            json!(pool.running),
            json!(pool.queued),
            json!(pool.scheduled),
            json!(pool.open()),
        ]);
    }
    listing
}

fn no_such_pool(name: &str) -> Failure {
    Failure::new(format!("there is no pool `{name}`")).hint("list all with `orch pools list`")
}

/// Nothing is printed; what was done is told.
pub(super) fn told(many: usize, done: &str) -> Exit {
    eprintln!("{many} {} {done}", if many == 1 { "pool is" } else { "pools are" });
    Exit::Done
}
