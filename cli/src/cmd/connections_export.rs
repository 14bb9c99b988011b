//! `orch connections export`: a file that `import`, Airflow and the backend for files read.

use super::kept::{told_of_export, write_privately};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::counted;
use orch_binary::secrets::keyring;
use orch_document::kept::{FileFormat, Serialization, write_connections};
use orch_store::connection::open;
use orch_store::kept::{self, CONNECTION, MOST_KEPT};
use std::path::PathBuf;

/// Write all connections of the database to a file that only you can read; secrets are in it in the clear
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch connections export connections.json\n  \
    orch connections export - --file-format env --serialization-format json")]
pub(crate) struct Export {
    /// `-` is standard output
    file: PathBuf,
    /// Format of the file; without it the file's ending tells
    #[arg(long, visible_alias = "format", value_enum)]
    file_format: Option<FormatName>,
    /// How a connection is written in a file for the environment
    #[arg(long, value_enum)]
    serialization_format: Option<SerializationName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FormatName {
    Json,
    Yaml,
    Env,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SerializationName {
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
        let rows = kept::list(&mut session.db, &CONNECTION, None, MOST_KEPT).await?;
        let all = rows.iter().map(|row| open(row, &keys)).collect::<Result<Vec<_>, _>>()?;
        let serialization = match self.serialization_format {
            Some(SerializationName::Json) => Serialization::Json,
            Some(SerializationName::Uri) | None => Serialization::Uri,
        };
        told_of_export(&mut session, ("export_connections", all.len()), &self.file).await?;
        write_privately(&self.file, &write_connections(&all, format, serialization))?;
        eprintln!("exported {}", counted(all.len(), "connection"));
        Ok(Exit::Done)
    }

    fn format(&self) -> Result<FileFormat, Failure> {
        match self.file_format {
            Some(FormatName::Json) => Ok(FileFormat::Json),
            Some(FormatName::Yaml) => Ok(FileFormat::Yaml),
            Some(FormatName::Env) => Ok(FileFormat::Env),
            None if self.file.as_os_str() == "-" => Ok(FileFormat::Json),
            None => FileFormat::of(&self.file).ok_or_else(|| {
                Failure::new(format!("the ending of `{}` tells no format", self.file.display()))
                    .hint("name it .json, .yaml or .env, or say `--file-format`")
            }),
        }
    }
}
