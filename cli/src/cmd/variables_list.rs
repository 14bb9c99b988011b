//! `orch variables list` and `orch variables get`.

use super::connections_list::ShowFlags;
use super::variables_set::no_such_variable;
use crate::app::Cx;
use crate::failure::{Failure, Outcome};
use crate::output::{FormatFlag, Listing, print_line};
use crate::secrets::{keyring, sources_of_server};
use orch_core::ids::check_variable_key;
use orch_core::secret::MASK;
use orch_store::variable::{MOST_VARIABLES, list_variables};
use orch_workers::Secrets;
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
        let keys = keyring(&cx.config()?)?;
        let mut session = cx.session().await?;
        let rows = list_variables(&mut session.db, None, MOST_VARIABLES).await?;
        let empty = "no variables: set one with `orch variables set`";
        if !self.show.show_values {
            let mut listing = Listing::new(["key"], empty);
            rows.iter().for_each(|row| listing.add([json!(row.key)]));
            return listing.print(self.output.format);
        }
        let mut listing = Listing::new(["key", "val", "description"], empty);
        for row in &rows {
            let value = if self.show.hide_sensitive { MASK.to_string() } else { row.open(&keys)? };
            listing.add([json!(row.key), json!(value), json!(row.description)]);
        }
        listing.print(self.output.format)
    }
}

impl Get {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        check_variable_key(&self.key)?;
        let config = cx.config_of_database()?;
        // A standalone that does not run is started for this question; it ends with the session.
        let mut session = None;
        let mut sources = sources_of_server(&config)?;
        if sources.database_url.is_none() {
            let opened = cx.session().await?;
            sources.database_url = opened.url();
            session = Some(opened);
        }
        let secrets = Secrets::new(&sources, None).map_err(|error| Failure::told(&error))?;
        let found = secrets.variable(&self.key).await.map_err(|error| Failure::new(error.to_string()))?;
        drop(session);
        let value = found.or(self.default).ok_or_else(|| no_such_variable(&self.key))?;
        if !self.json {
            return print_line(&value);
        }
        match serde_json::from_str::<Value>(&value) {
            Ok(value) => print_line(super::connections_export::pretty(&value).trim_end()),
            Err(_) => Err(Failure::new(format!("variable `{}` is no JSON", self.key)).hint("leave `--json` out")),
        }
    }
}
