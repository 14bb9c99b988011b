//! `orch pools export` and `import`: Airflow's file, an object of pools by name.

use super::connections_export::{pretty, write_privately};
use super::connections_import::read;
use super::pools::{check_name, told};
use crate::app::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_store::pool::{NewPool, PoolRow};
use serde::Deserialize;
use serde_json::{Value, json};
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
struct Written {
    slots: i32,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    include_deferred: bool,
}

impl Export {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let pools = cx.api().await?.pools().await?;
        let all: serde_json::Map<String, Value> = pools.iter().map(|pool| (pool.name.clone(), written(pool))).collect();
        write_privately(&self.file, &pretty(&Value::Object(all)))?;
        Ok(told(pools.len(), "exported"))
    }
}

fn written(pool: &PoolRow) -> Value {
    json!({ "slots": pool.slots, "description": pool.description, "include_deferred": pool.include_deferred })
}

impl Import {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let text = read(&self.file)?;
        let wrong = |why: String| {
            Failure::new(format!("`{}` does not hold pools: {why}", self.file.display()))
                .hint("it is an object of pools by name: {\"mysql\": {\"slots\": 4, \"description\": \"\"}}")
        };
        let all: BTreeMap<String, Written> = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        for (name, pool) in &all {
            check_name(name)?;
            if pool.slots < -1 {
                return Err(wrong(format!("pool `{name}` has {} slots", pool.slots)));
            }
        }
        let new = |(name, Written { slots, description, include_deferred })| NewPool {
            name,
            slots,
            description,
            include_deferred,
        };
        let all: Vec<NewPool> = all.into_iter().map(new).collect();
        cx.api().await?.set_pools(&all).await?;
        Ok(told(all.len(), "imported"))
    }
}
