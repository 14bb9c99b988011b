//! `orch announcements list` and `set`.

use super::kept::listing;
use crate::api::ListFlags;
use crate::cx::Cx;
use crate::kept::Existing;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Outcome};
use orch_binary::names;
use orch_deeds::kept::ANNOUNCEMENT;
use serde_json::json;

/// List announcements
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch announcements list\n  orch announcements list -o json")]
pub(crate) struct ListAnnouncements {
    #[command(flatten)]
    list: ListFlags,
}

/// Show everyone a message on the home page, or change one
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch announcements set maintenance 'The warehouse is closed on **Saturday**.' --until 2026-12-05T18:00\n  \
    orch announcements set late 'The shop delivers late today, see [status](https://status.example.org).'"
)]
pub(crate) struct SetAnnouncement {
    #[arg(value_name = "NAME")]
    name: String,
    /// In Markdown
    message: String,
    /// When it disappears; without it when it is deleted
    #[arg(long, value_name = "MOMENT", value_parser = names::moment)]
    until: Option<DateTime<Utc>>,
}

impl ListAnnouncements {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let empty = "no announcements: make one with `orch announcements set NAME MESSAGE`";
        let columns = [("announcement", "name"), ("until", "until"), ("message", "message")];
        let found = cx.api().await?.list_kept(ANNOUNCEMENT, self.list.query()).await?;
        self.list.print(listing(&found, columns, empty))
    }
}

impl SetAnnouncement {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let body = json!({ "name": self.name, "message": self.message, "until": self.until });
        cx.api().await?.set_kept(ANNOUNCEMENT, &[body], Existing::Overwrite).await?;
        eprintln!("announcement `{}` is set", self.name);
        Ok(Exit::Done)
    }
}
