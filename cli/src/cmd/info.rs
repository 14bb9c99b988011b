//! `orch info`: this binary, its paths and its server, for questions and bug reports.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::found::Standalone;
use orch_binary::output::{FormatFlag, Record};
use serde_json::json;

/// Show this binary, its paths and the server it would speak to
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch info\n  orch info -o json")]
pub(crate) struct Info {
    #[command(flatten)]
    output: FormatFlag,
}

impl Info {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config()?;
        let standalone = Standalone::read(&config.data_dir);
        let state = match &standalone {
            Some(left) if left.is_alive() => format!("process {}", left.pid),
            Some(_) => "not running".into(),
            None => "never started here".into(),
        };
        let binary = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
        let shown = config.masked_settings();
        let database_url = shown.iter().find(|(field, _)| field.key == "database_url").map(|(_, value)| value);
        Record::new([
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("schema_version", json!(orch_store::guard::SCHEMA_VERSION)),
            ("binary", json!(binary)),
            ("system", json!(format!("{} {}", std::env::consts::OS, std::env::consts::ARCH))),
            ("user", json!(orch_binary::person::name())),
            ("data_dir", json!(config.data_dir.display().to_string())),
            ("database_url", json!(database_url)),
            ("standalone", json!(state)),
            ("web", json!(standalone.and_then(|left| left.web))),
        ])
        .print(self.output.format)
    }
}
