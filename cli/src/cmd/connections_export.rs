//! `orch connections export`: a file that `import`, Airflow and the backend for files read.

use crate::app::Cx;
use crate::failure::{Exit, Failure, Outcome};
use crate::output;
use crate::secrets::keyring;
use orch_core::task::Connection;
use orch_store::connection::{MOST_CONNECTIONS, list_connections};
use serde_json::{Map, Value};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Write all connections of the database to a file that only you can read; secrets are in it in the clear
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections export connections.json\n  \
    orch connections export - --file-format env --serialization-format json")]
pub(crate) struct Export {
    /// `-` is standard output
    file: PathBuf,
    /// Format of the file; without it the file's ending tells
    #[arg(long, visible_alias = "format", value_enum)]
    file_format: Option<FileFormat>,
    /// How a connection is written in a file for the environment
    #[arg(long, value_enum)]
    serialization_format: Option<Serialization>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FileFormat {
    Json,
    Yaml,
    Env,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Serialization {
    Json,
    Uri,
}

impl Export {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let format = self.format()?;
        if self.serialization_format.is_some() && format != FileFormat::Env {
            return Err(Failure::new("`--serialization-format` is for files for the environment")
                .hint("say `--file-format env`, or leave it out"));
        }
        let keys = keyring(&cx.config()?)?;
        let mut session = cx.session().await?;
        let rows = list_connections(&mut session.db, None, MOST_CONNECTIONS).await?;
        let all = rows.iter().map(|row| row.open(&keys)).collect::<Result<Vec<_>, _>>()?;
        let text = written(&all, format, self.serialization_format.unwrap_or(Serialization::Uri));
        write_privately(&self.file, &text)?;
        eprintln!("{} connections are exported", all.len());
        Ok(Exit::Done)
    }

    fn format(&self) -> Result<FileFormat, Failure> {
        let ending = self.file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match (self.file_format, ending.as_deref()) {
            (Some(format), _) => Ok(format),
            (None, _) if self.file.as_os_str() == "-" => Ok(FileFormat::Json),
            (None, Some("json")) => Ok(FileFormat::Json),
            (None, Some("yaml" | "yml")) => Ok(FileFormat::Yaml),
            (None, Some("env")) => Ok(FileFormat::Env),
            (None, _) => Err(Failure::new(format!("the ending of `{}` tells no format", self.file.display()))
                .hint("name it .json, .yaml or .env, or say `--file-format`")),
        }
    }
}

fn written(all: &[Connection], format: FileFormat, serialization: Serialization) -> String {
    let line = |connection: &Connection| match serialization {
        Serialization::Json => format!("{}={}\n", connection.id, connection.to_json()),
        Serialization::Uri => format!("{}={}\n", connection.id, connection.to_uri()),
    };
    let objects = || {
        let object = |connection: &Connection| (connection.id.clone(), Value::Object(connection.to_object()));
        all.iter().map(object).collect::<Map<String, Value>>()
    };
    match format {
        FileFormat::Env => all.iter().map(line).collect(),
        FileFormat::Json => pretty(&Value::Object(objects())),
        FileFormat::Yaml => output::yaml_of(&objects()),
    }
}

pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON values can be written as JSON") + "\n"
}

/// To standard output, or to a file that nobody else can read: also one that was there before.
pub(super) fn write_privately(path: &Path, text: &str) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        output::print(text)?;
        return Ok(());
    }
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    };
    write().map_err(Failure::io(format!("cannot write `{}`", path.display())))
}
