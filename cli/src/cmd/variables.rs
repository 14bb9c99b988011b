//! `orch variables set`, `list`, `get`, `export` and `import`. The file formats are those of Airflow and of the file
//! backend for secrets.

use super::kept::{ShowFlags, export, import, no_such, pretty};
use crate::api::ListFlags;
use crate::cx::Cx;
use crate::kept::Existing;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{self, Listing};
use orch_binary::person;
use orch_deeds::kept::{VARIABLE, Variable};
use orch_document::kept::{FileFormat, Serialization};
use orch_sdk::secret::{MASK, has_masked_password, is_sensitive, masked_variable};
use orch_spec::ids::check_variable_key;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Set a variable, whether it is there or not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables set limit 42\n  orch variables set api_token -\n  \
    orch variables set --json limits '{\"rows\": 42}'")]
pub(crate) struct SetVariable {
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

/// List the variables of the database: their keys, and their values with `--show-values`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables list\n  orch variables list --show-values -o json\n\n\
    Variables of files, a vault and the environment cannot be listed; `orch variables get` finds them.")]
pub(crate) struct ListVariables {
    #[command(flatten)]
    show: ShowFlags,
    #[command(flatten)]
    list: ListFlags,
}

/// Print a variable as tasks find it: from files, a vault, the environment or the database
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables get limit\n  orch variables get limit --default 42")]
pub(crate) struct GetVariable {
    key: String,
    /// Printed when no place has the variable
    #[arg(short, long, value_name = "VALUE")]
    default: Option<String>,
    /// The value is JSON: check it and print it readably
    #[arg(short, long)]
    json: bool,
}

/// Write all variables of the database as JSON to a file that only you can read; secrets are in it in the clear
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables export variables.json\n  orch variables export -")]
pub(crate) struct ExportVariables {
    /// `-` is standard output
    file: PathBuf,
}

/// Set the variables of a file: what `airflow variables export` and `orch variables export` write
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  airflow variables export variables.json && orch variables import variables.json\n  \
    orch variables import variables.yaml -a skip"
)]
pub(crate) struct ImportVariables {
    /// .json, .yaml or .env
    file: PathBuf,
    /// What becomes of variables that are there already
    #[arg(short, long, value_enum, default_value_t)]
    action_on_existing_key: Existing,
}

impl SetVariable {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_variable_key(&self.key)?;
        let is_asked_for = self.value == "-";
        let value = if is_asked_for { person::long_secret(&format!("Value of {}", self.key))? } else { self.value };
        if self.json {
            serde_json::from_str::<Value>(&value).map_err(|error| {
                let message = format!("the value of `{}` is not JSON at column {}", self.key, error.column());
                Failure::new(message).hint("write for example '{\"rows\": 42}', or leave `--json` out")
            })?;
        }
        if is_sensitive(&self.key) && !is_asked_for {
            eprintln!("a secret on a command line can be read by everybody on this machine: `-` asks for it");
        }
        let mut body = json!({ "key": self.key, "value": value });
        if let Some(description) = self.description {
            body["description"] = description.into();
        }
        cx.api().await?.set_kept(VARIABLE, &[body], Existing::Overwrite).await?;
        eprintln!("variable `{}` is set", self.key);
        Ok(Exit::Done)
    }
}

impl ListVariables {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let empty = "no variables: set one with `orch variables set`";
        let mut listing = Listing::new(["key", "val", "description"], empty);
        for (key, variable) in cx.variables(self.show.secret_visibility(), self.list.query()).await? {
            listing.add([json!(key), json!(variable.value), json!(variable.description)]);
        }
        if !self.show.show_values {
            listing.select(&["key".into()])?;
        }
        self.list.print(listing)
    }
}

impl GetVariable {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_variable_key(&self.key)?;
        let found = match cx.remote()? {
            Some(api) => match api.get_kept(VARIABLE, &self.key).await? {
                Some(seen) if seen.get("value").is_none_or(is_masked) => {
                    let message = format!("the value of variable `{}` is not given over the API", self.key);
                    return Err(Failure::new(message).hint("it is a secret: ask where its database is"));
                }
                found => found.and_then(|seen| Some(seen.get("value")?.as_str()?.to_string())),
            },
            None => {
                let (secrets, session) = cx.sources().await?;
                let found = secrets.variable_and_place(&self.key).await;
                let found = found.map_err(|error| Failure::new(error.to_string()))?;
                if let Some((value, place)) = &found
                    && masked_variable(&self.key, value) != *value
                {
                    cx.audit_secret_read(session, VARIABLE, &self.key, place).await?;
                }
                found.map(|(value, _)| value)
            }
        };
        let value = found.or(self.default).ok_or_else(|| no_such(VARIABLE, &self.key))?;
        if !self.json {
            return output::print_line(&value);
        }
        match serde_json::from_str::<Value>(&value) {
            Ok(value) => output::print(&pretty(&value)),
            Err(_) => Err(Failure::new(format!("variable `{}` is not JSON", self.key)).hint("leave `--json` out")),
        }
    }
}

/// Returns true if the value of a response lacks its secret or the password of an address.
fn is_masked(value: &Value) -> bool {
    value == MASK || value.as_str().is_some_and(has_masked_password)
}

impl ExportVariables {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        export::<Variable>(cx, &self.file, FileFormat::Json, Serialization::Json).await
    }
}

impl ImportVariables {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        import::<Variable>(cx, &self.file, self.action_on_existing_key).await
    }
}
