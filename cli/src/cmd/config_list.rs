//! `orch config list` and `orch config get-value`: every setting with its value and its source.

use crate::cx::Cx;
use crate::standalone::PAUSED_AT_CREATION;
use orch_binary::config::{Config, LoadedFrom, RoleFlags};
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, print_line};
use orch_deeds::setting::{OWN_SECTION, own_setting};
use orch_spec::names::closest;
use serde_json::json;

/// List all settings with their values and where these come from; secrets are masked
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch config list\n  orch config list -d\n  ORCH_PORT=9000 orch config list -o json"
)]
pub(crate) struct ListSettings {
    #[command(flatten)]
    roles: RoleFlags,
    /// Also say what each setting is about
    #[arg(short = 'd', long)]
    include_descriptions: bool,
    #[command(flatten)]
    output: FormatFlag,
}

/// Print the value of one setting
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch config get-value data_dir\n  orch config get-value core dags_folder\n\n\
    Exit code: 0 it was printed, 2 there is no such setting.")]
pub(crate) struct GetValue {
    /// A setting; or a section and an option, as in Airflow
    #[arg(value_name = "SECTION OPTION", num_args = 1..=2, required = true)]
    key: Vec<String>,
}

impl ListSettings {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_with(|given| self.roles.add_to(given))?;
        let mut listing = Listing::new(["key", "value", "source", "variable", "description"], "no settings");
        for (field, value) in config.masked_settings() {
            let source = &config.sources[field.key];
            let source = match PAUSED_AT_CREATION {
                (key, other) if key == field.key && *source == LoadedFrom::Default => {
                    format!("{source} ({other} in standalone and dev)")
                }
                _ => source.to_string(),
            };
            listing.add([json!(field.key), json!(value), json!(source), json!(field.env), json!(field.about.trim())]);
        }
        if !self.include_descriptions {
            listing.select(&["key", "value", "source", "variable"].map(String::from))?;
        }
        listing.print(self.output.format)
    }
}

impl GetValue {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config()?;
        let asked = self.key.join("/");
        let key = match self.key.as_slice() {
            [section, option] => {
                let own = own_setting(section, option);
                own.unwrap_or_else(|| if section == OWN_SECTION { option.replace('-', "_") } else { asked.clone() })
            }
            words => words.concat().replace('-', "_"),
        };
        match config.masked_settings().into_iter().find(|(field, _)| field.key == key) {
            Some((_, value)) => print_line(&value),
            None => {
                let hint = match closest(&key, Config::FIELDS.iter().map(|field| field.key)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "list all with `orch config list`".into(),
                };
                Err(Failure::new(format!("there is no setting `{asked}`")).hint(hint))
            }
        }
    }
}
