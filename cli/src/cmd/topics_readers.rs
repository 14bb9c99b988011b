//! `orch topics readers`, `seek` and `forget`: tasks that read topics, and the offsets at which they continue.

use super::kept::listing;
use super::streams::To;
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::FormatFlag;
use serde_json::json;

/// List how far tasks have read topics
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch topics readers\n  orch topics readers --topic weather -o json")]
pub(crate) struct Readers {
    /// Only of this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    output: FormatFlag,
}

/// Let a task that reads a topic go on from another place
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch topics seek archive --to-earliest\n  orch topics seek archive --to-offset 17 --partition 0\n\n\
    The next try begins there. What a try at work has read is read again."
)]
pub(crate) struct Seek {
    #[arg(value_name = "READER")]
    name: String,
    #[command(flatten)]
    to: To,
    /// Only this partition
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
}

/// Forget a reader: a task that has its name begins with the oldest record
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch topics forget archive")]
pub(crate) struct Forget {
    #[arg(value_name = "READER")]
    name: String,
}

impl Readers {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let empty = "no readers: a task that reads a topic appears here when it has succeeded";
        let columns = ["name", "topic", "partition", "next_offset", "lag", "dag_id", "task_id", "moved_at", "seek_to"];
        let readers = cx.api().await?.list_readers(self.topic.as_deref()).await?;
        listing(&readers, columns.map(|name| (name, name)), empty).print(self.output.format)
    }
}

impl Seek {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let body = json!({ "to": self.to.body(), "partition": self.partition });
        cx.api().await?.seek_reader(&self.name, &body).await?.ok_or_else(|| no_such(&self.name))?;
        eprintln!("reader `{}` goes on from there with its next try", self.name);
        Ok(Exit::Done)
    }
}

impl Forget {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        cx.api().await?.forget_reader(&self.name).await?.ok_or_else(|| no_such(&self.name))?;
        eprintln!("reader `{}` is forgotten", self.name);
        Ok(Exit::Done)
    }
}

fn no_such(name: &str) -> Failure {
    Failure::new(format!("there is no reader `{name}`")).hint("list all with `orch topics readers`")
}
