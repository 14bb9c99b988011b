//! `orch variables set`, `list`, `get`, `delete`, `export` and `import`. Airflow and the backend for files read the same files.

use super::kept::{ShowFlags, delete, export, import, no_such, pretty, read};
use crate::cx::Cx;
use crate::kept::{Existing, opened_variable};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{self, FormatFlag, Listing};
use orch_binary::person;
use orch_deeds::kept::{VARIABLE, Variable};
use orch_document::kept::{Document, WrittenVariable, write_variables};
use orch_sdk::secret::{MASK, is_sensitive};
use orch_spec::ids::check_variable_key;
use serde_json::{Value, json};
use std::path::PathBuf;

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

/// List the variables of the database: their keys, and their values with `--show-values`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables list\n  orch variables list --show-values -o json\n\n\
    Variables of files, a vault and the environment cannot be listed; `orch variables get` finds them.")]
pub(crate) struct List {
    #[command(flatten)]
    show: ShowFlags,
    #[command(flatten)]
    output: FormatFlag,
}

/// Print a variable as tasks find it: from files, a vault, the environment or the database
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables get limit\n  orch variables get limit --default 42")]
pub(crate) struct Get {
    key: String,
    /// Printed when no place has the variable
    #[arg(short, long, value_name = "VALUE")]
    default: Option<String>,
    /// The value is JSON: check it and print it readably
    #[arg(short, long)]
    json: bool,
}

/// Delete a variable
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables delete limit")]
pub(crate) struct Delete {
    key: String,
}

/// Write all variables of the database as JSON to a file that only you can read; secrets are in it in the clear
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch variables export variables.json\n  orch variables export -")]
pub(crate) struct Export {
    /// `-` is standard output
    file: PathBuf,
}

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
        let body = body(&self.key, &WrittenVariable { value, description: self.description });
        cx.api().await?.set_kept(VARIABLE, &[body], Existing::Overwrite).await?;
        eprintln!("variable `{}` is set", self.key);
        Ok(Exit::Done)
    }
}

impl List {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let empty = "no variables: set one with `orch variables set`";
        let mut listing = Listing::new(["key", "val", "description"], empty);
        for (key, variable) in cx.variables(self.show.secret_visibility()).await? {
            listing.add([json!(key), json!(variable.value), json!(variable.description)]);
        }
        if !self.show.show_values {
            listing.select(&["key".into()])?;
        }
        listing.print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_variable_key(&self.key)?;
        let found = match cx.remote()? {
            Some(api) => match api.get_kept(VARIABLE, &self.key).await? {
                Some(seen) if seen.get("value").is_none_or(|value| value == MASK) => {
                    let message = format!("the value of variable `{}` is not given over the API", self.key);
                    return Err(Failure::new(message).hint("it is a secret: ask where its database is"));
                }
                found => found.and_then(|seen| Some(seen.get("value")?.as_str()?.to_string())),
            },
            None => {
                let (secrets, _session) = cx.sources().await?;
                secrets.variable(&self.key).await.map_err(|error| Failure::new(error.to_string()))?
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

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        delete(cx, VARIABLE, &self.key).await
    }
}

impl Export {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        export::<Variable, _>(cx, &self.file, opened_variable, write_variables).await
    }
}

impl Import {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let all = Document::of_file(&self.file, &read(&self.file)?)?.variables()?;
        all.keys().try_for_each(|key| check_variable_key(key))?;
        let bodies: Vec<_> = all.iter().map(|(key, variable)| body(key, variable)).collect();
        import(cx, VARIABLE, &bodies, self.action_on_existing_key).await
    }
}

/// As the API takes it: a description that is not sent stays.
fn body(key: &str, variable: &WrittenVariable) -> Value {
    let mut body = json!({ "key": key, "value": variable.value });
    if let Some(description) = &variable.description {
        body["description"] = json!(description);
    }
    body
}
