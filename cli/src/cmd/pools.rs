//! `orch pools list`, `get`, `set` and `delete`.

use super::kept::{self, no_such};
use crate::api::{Api, ApiObject};
use crate::cx::Cx;
use crate::kept::Existing;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing};
use orch_core::gates::DEFAULT_POOL;
use orch_deeds::kept::POOL;
use serde_json::{Value, json};

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
    /// How many; -1 means no limit
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
        listing(&cx.api().await?.list_kept(POOL).await?).print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let pool = one(&cx.api().await?, &self.name).await?;
        listing(&[pool]).print(self.output.format)
    }
}

impl Set {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_name(&self.name)?;
        let body = body(&self.name, self.slots, Some(&self.description), self.include_deferred);
        let api = cx.api().await?;
        api.set_kept(POOL, &[body], Existing::Overwrite).await?;
        listing(&[one(&api, &self.name).await?]).print(self.output.format)
    }
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let pool = one(&api, &self.name).await?;
        if self.name == DEFAULT_POOL {
            return Err(Failure::new("the default pool is always there")
                .hint("give it a size instead: `orch pools set default_pool 128 'Default pool'`"));
        }
        if !api.delete_kept(POOL, &self.name).await? {
            return Err(no_such(POOL, &self.name));
        }
        listing(&[pool]).print(self.output.format)
    }
}

async fn one(api: &Api, name: &str) -> Result<ApiObject, Failure> {
    api.get_kept(POOL, name).await?.ok_or_else(|| no_such(POOL, name))
}

pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    match orch_core::gates::check_pool_name(name) {
        Ok(()) => Ok(()),
        Err(why) => Err(Failure::new(format!("`{}` cannot be a pool: {why}", name.escape_debug()))),
    }
}

/// As the API takes it. The description of the default pool cannot be changed.
pub(super) fn body(name: &str, slots: i32, description: Option<&str>, include_deferred: bool) -> Value {
    let mut body = json!({ "name": name, "slots": slots, "include_deferred": include_deferred });
    if name != DEFAULT_POOL {
        body["description"] = json!(description);
    }
    body
}

const COLUMNS: [(&str, &str); 9] = [
    ("pool", "name"),
    ("slots", "slots"),
    ("description", "description"),
    ("include_deferred", "include_deferred"),
    ("occupied", "occupied_slots"),
    ("running", "running_slots"),
    ("queued", "queued_slots"),
    ("scheduled", "scheduled_slots"),
    ("open", "open_slots"),
];

fn listing(pools: &[ApiObject]) -> Listing {
    kept::listing(pools, COLUMNS, "no pools")
}

/// Nothing is printed; what was done is told.
pub(super) fn report_pools(many: usize, done: &str) -> Exit {
    eprintln!("{many} {} {done}", if many == 1 { "pool is" } else { "pools are" });
    Exit::Done
}
