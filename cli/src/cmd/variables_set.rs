//! `orch variables set` and `orch variables delete`.

use super::kept::delete;
use crate::cx::Cx;
use crate::kept::Existing;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::person;
use orch_deeds::kept::VARIABLE;
use orch_sdk::secret::is_sensitive;
use orch_spec::ids::check_variable_key;
use serde_json::{Value, json};

/// Set a variable, whether it is there or not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables set limit 42\n  orch variables set api_token -\n  \
    orch variables set --json limits '{\"rows\": 42}'")]
pub(crate) struct Set {
    key: String,
    /// `-` asks for it, or reads standard input
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    /// What it is for; without it an old description stays
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The value is JSON: check it
    #[arg(short, long)]
    json: bool,
}

/// Delete a variable
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables delete limit")]
pub(crate) struct Delete {
    key: String,
}

impl Set {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_variable_key(&self.key)?;
        let is_asked_for = self.value == "-";
        let value = if is_asked_for { person::long_secret(&format!("Value of {}", self.key))? } else { self.value };
        if self.json {
            serde_json::from_str::<Value>(&value)
                .map_err(|error| Failure::new(format!("the value is not JSON at column {}", error.column())))?;
        }
        if is_sensitive(&self.key) && !is_asked_for {
            eprintln!("a secret on a command line can be read by everybody on this machine: `-` asks for it");
        }
        let mut body = json!({ "key": self.key, "value": value });
        if let Some(description) = &self.description {
            body["description"] = json!(description);
        }
        cx.api().await?.set_kept(VARIABLE, &[body], Existing::Overwrite).await?;
        eprintln!("variable `{}` is set", self.key);
        Ok(Exit::Done)
    }
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        delete(cx, VARIABLE, &self.key).await
    }
}
