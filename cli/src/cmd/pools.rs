//! `orch pools list`, `get`, `set` and `delete`; `export` and `import` with Airflow's file, an object of pools by name.

use super::kept::{self, get, no_such, pretty, read, write_privately};
use crate::api::ApiObject;
use crate::cx::Cx;
use crate::kept::Existing;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, counted};
use orch_core::gates::{DEFAULT_POOL, check_pool_name};
use orch_deeds::kept::POOL;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// Write all pools as JSON to a file, as `airflow pools export` does
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch pools export pools.json\n  orch pools export -")]
pub(crate) struct Export {
    /// `-` is standard output
    #[arg(value_name = "FILEPATH")]
    file: PathBuf,
}

/// Set the pools of a file: what `airflow pools export` and `orch pools export` write
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch pools import pools.json\n  airflow pools export pools.json && orch pools import pools.json"
)]
pub(crate) struct Import {
    #[arg(value_name = "FILEPATH")]
    file: PathBuf,
}

/// A pool in the file.
#[derive(Debug, Deserialize)]
struct PoolFileEntry {
    slots: i32,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    include_deferred: bool,
}

impl List {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        listing(&cx.api().await?.list_kept(POOL).await?).print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        listing(&[get(&cx.api().await?, POOL, &self.name).await?]).print(self.output.format)
    }
}

impl Set {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let body = body(&self.name, self.slots, Some(&self.description), self.include_deferred)?;
        let api = cx.api().await?;
        api.set_kept(POOL, &[body], Existing::Overwrite).await?;
        listing(&[get(&api, POOL, &self.name).await?]).print(self.output.format)
    }
}

impl Delete {
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

impl Export {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let pools = cx.api().await?.list_kept(POOL).await?;
        let named = |pool: &ApiObject| Some((pool.get("name")?.as_str()?.to_string(), written(pool)));
        let all: Map<String, Value> = pools.iter().filter_map(named).collect();
        write_privately(&self.file, &pretty(&Value::Object(all)))?;
        Ok(report(pools.len(), "exported"))
    }
}

impl Import {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let wrong = |why: String| {
            Failure::new(format!("`{}` does not hold pools: {why}", self.file.display()))
                .hint("it is an object of pools by name: {\"mysql\": {\"slots\": 4, \"description\": \"\"}}")
        };
        let all: BTreeMap<String, PoolFileEntry> =
            serde_json::from_str(&read(&self.file)?).map_err(|error| wrong(error.to_string()))?;
        let new = |(name, pool): (&String, &PoolFileEntry)| {
            let body = body(name, pool.slots, pool.description.as_deref(), pool.include_deferred)?;
            if pool.slots < -1 {
                return Err(wrong(format!("pool `{name}` has {}", counted(pool.slots, "slot"))));
            }
            Ok(body)
        };
        let bodies = all.iter().map(new).collect::<Result<Vec<_>, Failure>>()?;
        cx.api().await?.set_kept(POOL, &bodies, Existing::Overwrite).await?;
        Ok(report(bodies.len(), "imported"))
    }
}

/// As the API takes it. The description of the default pool cannot be changed.
fn body(name: &str, slots: i32, description: Option<&str>, include_deferred: bool) -> Result<Value, Failure> {
    let bad_name = |why: &str| Failure::new(format!("`{}` cannot be a pool: {why}", name.escape_debug()));
    check_pool_name(name).map_err(bad_name)?;
    let mut body = json!({ "name": name, "slots": slots, "include_deferred": include_deferred });
    if name != DEFAULT_POOL {
        body["description"] = json!(description);
    }
    Ok(body)
}

/// As it stands in the file.
fn written(pool: &ApiObject) -> Value {
    let fields = ["slots", "description", "include_deferred"];
    fields.iter().map(|field| (String::from(*field), pool.get(*field).cloned().unwrap_or_default())).collect()
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

/// Says on standard error how many pools were exported or imported.
fn report(many: usize, done: &str) -> Exit {
    eprintln!("{many} {} {done}", if many == 1 { "pool is" } else { "pools are" });
    Exit::Done
}
