//! `orch variables export`: a file that `import`, Airflow and the backend for files read.

use super::connections_export::{pretty, write_privately};
use crate::app::Cx;
use crate::failure::{Exit, Outcome};
use crate::secrets::keyring;
use orch_store::variable::{MOST_VARIABLES, list_variables};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Write all variables of the database as JSON to a file that only you can read; secrets are in it in the clear
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables export variables.json\n  orch variables export -")]
pub(crate) struct Export {
    /// `-` is standard output
    file: PathBuf,
}

impl Export {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let keys = keyring(&cx.config()?)?;
        let mut session = cx.session().await?;
        let mut all = Map::new();
        for row in list_variables(&mut session.db, None, MOST_VARIABLES).await? {
            let text = row.open(&keys)?;
            // What is JSON is written as such, and a text that would be read as JSON stays one: as Airflow does.
            let value = match serde_json::from_str(&text) {
                Ok(Value::String(_)) | Err(_) => Value::String(text),
                Ok(value) => value,
            };
            let has_value = value.as_object().is_some_and(|fields| fields.contains_key("value"));
            let entry = if row.description.is_some() || has_value {
                json!({ "value": value, "description": row.description })
            } else {
                value
            };
            all.insert(row.key, entry);
        }
        let many = all.len();
        write_privately(&self.file, &pretty(&Value::Object(all)))?;
        eprintln!("{many} variables are exported");
        Ok(Exit::Done)
    }
}
