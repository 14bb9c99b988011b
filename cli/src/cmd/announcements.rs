//! `orch announcements list`, `set` and `delete`.

use super::kept::{delete, listing};
use crate::cx::Cx;
use crate::kept::Existing;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Outcome};
use orch_binary::names;
use orch_binary::output::FormatFlag;
use orch_deeds::kept::ANNOUNCEMENT;
use serde_json::json;

/// List announcements
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch announcements list\n  orch announcements list -o json")]
pub(crate) struct List {
    #[command(flatten)]
    output: FormatFlag,
}

/// Show everyone a message on the home page, or change one
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch announcements set maintenance 'The warehouse is closed on **Saturday**.' --until 2026-12-05T18:00\n  \
    orch announcements set late 'The shop delivers late today, see [status](https://status.example.org).'"
)]
pub(crate) struct Set {
    #[arg(value_name = "NAME")]
    name: String,
    /// In Markdown
    message: String,
    /// When it disappears; without it when it is deleted
    #[arg(long, value_name = "MOMENT", value_parser = names::moment)]
    until: Option<DateTime<Utc>>,
}

/// Delete an announcement
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch announcements delete maintenance")]
pub(crate) struct Delete {
    #[arg(value_name = "NAME")]
    name: String,
}

impl List {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let empty = "no announcements: make one with `orch announcements set NAME MESSAGE`";
        let columns = [("announcement", "name"), ("until", "until"), ("message", "message")];
        listing(&cx.api().await?.list_kept(ANNOUNCEMENT).await?, columns, empty).print(self.output.format)
    }
}

impl Set {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let body = json!({ "name": self.name, "message": self.message, "until": self.until });
        cx.api().await?.set_kept(ANNOUNCEMENT, &[body], Existing::Overwrite).await?;
        eprintln!("announcement `{}` is set", self.name);
        Ok(Exit::Done)
    }
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        delete(cx, ANNOUNCEMENT, &self.name).await
    }
}
