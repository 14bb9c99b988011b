//! `orch variables import`: Airflow's exports and ours.

use super::kept::{imported, read};
use crate::cx::Cx;
use crate::kept::Existing;
use orch_binary::failure::{Failure, Outcome};
use orch_deeds::kept::VARIABLE;
use orch_document::kept::{Document, WrittenVariable};
use orch_spec::ids::check_variable_key;
use serde_json::json;
use std::path::PathBuf;

/// Set the variables of a file: what `airflow variables export` and `orch variables export` write
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  airflow variables export variables.json && orch variables import variables.json\n  \
    orch variables import variables.yaml -a skip"
)]
pub(crate) struct Import {
    /// .json, .yaml or .env
    file: PathBuf,
    /// What becomes of variables that are there already
    #[arg(short, long, value_enum, default_value_t)]
    action_on_existing_key: Existing,
}

impl Import {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let text = read(&self.file)?;
        let all = Document::of_file(&self.file, &text).and_then(|file| file.variables());
        let all = all.map_err(|error| Failure::from_error(&error))?;
        all.keys().try_for_each(|key| check_variable_key(key))?;
        let body = |(key, variable): (&String, &WrittenVariable)| {
            let mut body = json!({ "key": key, "value": variable.value });
            if let Some(description) = &variable.description {
                body["description"] = json!(description);
            }
            body
        };
        let bodies: Vec<_> = all.iter().map(body).collect();
        let existing = cx.api().await?.set_kept(VARIABLE, &bodies, self.action_on_existing_key).await?;
        if self.action_on_existing_key == Existing::Fail && !existing.is_empty() {
            return Err(Failure::new(format!("these variables are there already: {}", existing.join(", ")))
                .hint("say `-a skip` to leave them or `-a overwrite` to set them anew"));
        }
        Ok(imported(VARIABLE, all.len(), &existing))
    }
}
