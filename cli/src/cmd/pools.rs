//! `orch pools list`, `get`, `set` and `delete`; `export` and `import` with Airflow's file, an object of pools by name.

use super::kept::{self, get, import, no_such, pretty, write_privately};
use crate::api::{ApiObject, ListFlags, ListQuery};
use crate::cx::Cx;
use crate::kept::Existing;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, counted};
use orch_binary::person::AcceptedYesFlag;
use orch_core::gates::{DEFAULT_POOL, check_pool_name};
use orch_deeds::kept::{POOL, Pool};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// List pools with what is in them, in slots
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools list\n  orch pools list -o json")]
pub(crate) struct ListPools {
    #[command(flatten)]
    list: ListFlags,
}

/// Show one pool
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools get mysql")]
pub(crate) struct GetPool {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    output: FormatFlag,
}

/// Set a pool, whether it is there or not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools set mysql 4 'connections of the shop'\n  \
    orch pools set default_pool 128 'Default pool'\n  orch pools set lake -1 'as many as you like'")]
pub(crate) struct SetPool {
    #[arg(value_name = "NAME")]
    name: String,
    /// How many; -1 means no limit
    #[arg(allow_negative_numbers = true, value_parser = slots)]
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
pub(crate) struct DeletePool {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    yes: AcceptedYesFlag,
    #[command(flatten)]
    output: FormatFlag,
}

/// Write all pools as JSON to a file, as `airflow pools export` does
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools export pools.json\n  orch pools export -")]
pub(crate) struct ExportPools {
    /// `-` is standard output
    #[arg(value_name = "FILEPATH")]
    file: PathBuf,
}

/// Set the pools of a file: what `airflow pools export` and `orch pools export` write
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch pools import pools.json\n  airflow pools export pools.json && orch pools import pools.json"
)]
pub(crate) struct ImportPools {
    #[arg(value_name = "FILEPATH")]
    file: PathBuf,
}

fn slots(text: &str) -> Result<i32, String> {
    let slots = text.parse::<i32>().ok().filter(|slots| *slots >= -1);
    slots.ok_or_else(|| "write a whole number, 0 or more, or -1 for no limit".into())
}

impl ListPools {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let pools = cx.api().await?.list_kept(POOL, self.list.query()).await?;
        self.list.print(listing(&pools))
    }
}

impl GetPool {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        listing(&[get(&cx.api().await?, POOL, &self.name).await?]).print(self.output.format)
    }
}

impl SetPool {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let bad_name = |why: &str| Failure::new(format!("`{}` cannot be a pool: {why}", self.name.escape_debug()));
        check_pool_name(&self.name).map_err(bad_name)?;
        let mut body = json!({ "name": self.name, "slots": self.slots, "include_deferred": self.include_deferred });
        // The description of the default pool cannot be changed.
        if self.name != DEFAULT_POOL {
            body["description"] = json!(self.description);
        }
        let api = cx.api().await?;
        api.set_kept(POOL, &[body], Existing::Overwrite).await?;
        listing(&[get(&api, POOL, &self.name).await?]).print(self.output.format)
    }
}

impl DeletePool {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let pool = get(&api, POOL, &self.name).await?;
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

impl ExportPools {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let pools = cx.api().await?.list_kept(POOL, ListQuery::all()).await?;
        let field = |pool: &ApiObject, field: &str| (field.to_string(), pool.get(field).cloned().unwrap_or_default());
        let written = |pool: &ApiObject| POOL.mask().into_iter().map(|name| field(pool, name)).collect::<Value>();
        let named = |pool: &ApiObject| Some((pool.get("name")?.as_str()?.to_string(), written(pool)));
        let all: Map<String, Value> = pools.iter().filter_map(named).collect();
        write_privately(&self.file, &pretty(&Value::Object(all)))?;
        eprintln!("exported {}", counted(pools.len(), "pool"));
        Ok(Exit::Done)
    }
}

impl ImportPools {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        import::<Pool>(cx, &self.file, Existing::Overwrite).await
    }
}

fn listing(pools: &[ApiObject]) -> Listing {
    let columns = [
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
    kept::listing(pools, columns, "no pools")
}
