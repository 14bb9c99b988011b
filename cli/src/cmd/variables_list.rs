//! `orch variables list` and `orch variables get`.

use super::connections_list::ShowFlags;
use super::kept::{no_such, pretty};
use crate::cx::Cx;
use crate::kept::SecretVisibility;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, print_line};
use orch_deeds::kept::VARIABLE;
use orch_sdk::secret::MASK;
use orch_spec::ids::check_variable_key;
use serde_json::{Value, json};

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
    /// Printed when there is none
    #[arg(short, long, value_name = "VALUE")]
    default: Option<String>,
    /// The value is JSON: check it and print it readably
    #[arg(short, long)]
    json: bool,
}

impl List {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let (look, empty) = (self.show.secret_visibility(), "no variables: set one with `orch variables set`");
        let all = cx.variables(look).await?;
        if !self.show.show_values {
            let mut listing = Listing::new(["key"], empty);
            all.iter().for_each(|(key, ..)| listing.add([json!(key)]));
            return listing.print(self.output.format);
        }
        let mut listing = Listing::new(["key", "val", "description"], empty);
        for (key, value, description) in &all {
            let value = if look == SecretVisibility::Closed { MASK } else { value.as_deref().unwrap_or(MASK) };
            listing.add([json!(key), json!(value), json!(description)]);
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
            return print_line(&value);
        }
        match serde_json::from_str::<Value>(&value) {
            Ok(value) => print_line(pretty(&value).trim_end()),
            Err(_) => Err(Failure::new(format!("variable `{}` is not JSON", self.key)).hint("leave `--json` out")),
        }
    }
}
