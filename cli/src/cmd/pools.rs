//! `orch pools list`, `get`, `set` and `delete`.

use crate::app::Cx;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{FormatFlag, Listing};
use crate::session::{did_in, did_in_and_hint};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::pool::{DeletePool, NewPool, PoolRow, delete_pool, get_pool, list_pools, set_pool};
use serde_json::json;
use sqlx::Connection as _;

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
        let mut session = cx.session().await?;
        listing(&list_pools(&mut session.db).await?).print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let pool = get_pool(&mut session.db, &self.name).await?.ok_or_else(|| no_such_pool(&self.name))?;
        listing(&[pool]).print(self.output.format)
    }
}

impl Set {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_name(&self.name)?;
        let new = NewPool {
            name: self.name,
            slots: self.slots,
            description: Some(self.description),
            include_deferred: self.include_deferred,
        };
        let mut session = cx.session().await?;
        let mut transaction = session.db.begin().await?;
        put(&mut transaction, &new, "set_pool").await?;
        transaction.commit().await?;
        let pool = get_pool(&mut session.db, &new.name).await?.ok_or_else(|| no_such_pool(&new.name))?;
        listing(&[pool]).print(self.output.format)
    }
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let mut transaction = session.db.begin().await?;
        let pool = get_pool(&mut transaction, &self.name).await?.ok_or_else(|| no_such_pool(&self.name))?;
        match delete_pool(&mut transaction, &self.name).await? {
            DeletePool::Deleted => {}
            DeletePool::NoSuchPool => return Err(no_such_pool(&self.name)),
            DeletePool::Default => {
                return Err(Failure::new("the default pool is always there")
                    .hint("give it a size instead: `orch pools set default_pool 128 'Default pool'`"));
            }
        }
        let extra = Some(json!({ "name": self.name }));
        did_in(&mut transaction, &Deed { event: "delete_pool", extra, ..Deed::default() }).await?;
        transaction.commit().await?;
        listing(&[pool]).print(self.output.format)
    }
}

/// In a transaction of the caller.
pub(super) async fn put(db: &mut sqlx::PgConnection, new: &NewPool, event: &str) -> Result<(), Failure> {
    set_pool(db, new).await?;
    let extra = json!({ "name": new.name, "slots": new.slots, "include_deferred": new.include_deferred });
    // There may be room: schedulers look once it is committed.
    did_in_and_hint(db, &Deed { event, extra: Some(extra), ..Deed::default() }, &[Hint::Due]).await
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
