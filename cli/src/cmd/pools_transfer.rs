//! `orch pools export` and `import`: Airflow's file, an object of pools by name.

use super::kept::{pretty, read, write_privately};
use super::pools::{body, check_name, report_pools};
use crate::api::ApiObject;
use crate::cx::Cx;
use crate::kept::Existing;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::counted;
use orch_deeds::kept::POOL;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// As it stands in the file.
#[derive(Debug, Deserialize)]
struct PoolFileEntry {
    slots: i32,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    include_deferred: bool,
}

impl Export {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let pools = cx.api().await?.list_kept(POOL).await?;
        let named = |pool: &ApiObject| Some((pool.get("name")?.as_str()?.to_string(), written(pool)));
        let all: Map<String, Value> = pools.iter().filter_map(named).collect();
        write_privately(&self.file, &pretty(&Value::Object(all)))?;
        Ok(report_pools(pools.len(), "exported"))
    }
}

fn written(pool: &ApiObject) -> Value {
    let fields = ["slots", "description", "include_deferred"];
    fields.iter().map(|field| (String::from(*field), pool.get(*field).cloned().unwrap_or_default())).collect()
}

impl Import {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let text = read(&self.file)?;
        let wrong = |why: String| {
            Failure::new(format!("`{}` does not hold pools: {why}", self.file.display()))
                .hint("it is an object of pools by name: {\"mysql\": {\"slots\": 4, \"description\": \"\"}}")
        };
        let all: BTreeMap<String, PoolFileEntry> =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        for (name, pool) in &all {
            check_name(name)?;
            if pool.slots < -1 {
                return Err(wrong(format!("pool `{name}` has {}", counted(pool.slots, "slot"))));
            }
        }
        let new = |(name, pool): (&String, &PoolFileEntry)| {
            body(name, pool.slots, pool.description.as_deref(), pool.include_deferred)
        };
        let bodies: Vec<Value> = all.iter().map(new).collect();
        cx.api().await?.set_kept(POOL, &bodies, Existing::Overwrite).await?;
        Ok(report_pools(all.len(), "imported"))
    }
}
