//! `orch topics list`, `show`, `create` and `set`.

use super::kept::{listing, no_such};
use crate::api::{ListFlags, TopicsAt};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::FormatFlag;
use orch_deeds::kept::TOPIC;
use serde_json::{Map, Value, json};

/// List topics with how many records they hold
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch topics list\n  orch topics list -o json\n  orch topics list --connection events"
)]
pub(crate) struct ListTopics {
    #[command(flatten)]
    at: TopicsAt,
    #[command(flatten)]
    list: ListFlags,
}

/// Show the partitions of a topic with their offsets
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch topics show weather")]
pub(crate) struct ShowTopic {
    #[arg(value_name = "TOPIC")]
    name: String,
    #[command(flatten)]
    at: TopicsAt,
    #[command(flatten)]
    output: FormatFlag,
}

/// Create a topic
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch topics create weather\n  orch topics create users --partitions 4\n  \
    orch topics create ledger --retention-hours=-1 --description 'kept for ever'")]
pub(crate) struct CreateTopic {
    #[arg(value_name = "TOPIC")]
    name: String,
    #[command(flatten)]
    size: Size,
}

/// Change a topic
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch topics set weather --retention-hours 24\n  orch topics set users --partitions 8"
)]
pub(crate) struct SetTopic {
    #[arg(value_name = "TOPIC")]
    name: String,
    #[command(flatten)]
    size: Size,
}

#[derive(Debug, clap::Args)]
struct Size {
    /// How many partitions; there may be more later, never fewer
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How long a record is kept; -1: for ever
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    retention_hours: Option<i32>,
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

impl Size {
    /// Returns the settings that were given on the command line.
    fn body(&self) -> Map<String, Value> {
        let said = [
            ("partitions", self.partitions.map(Value::from)),
            ("retention_hours", self.retention_hours.map(Value::from)),
            ("description", self.description.as_deref().map(Value::from)),
        ];
        said.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect()
    }
}

impl ListTopics {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if self.at.is_cluster() && !self.list.is_whole() {
            return Err(Failure::new("the topics of a cluster cannot be filtered or sorted")
                .hint("leave out `--where`, `--order-by` and `--limit`"));
        }
        let topics = cx.api().await?.list_topics(&self.at, self.list.query()).await?;
        if self.at.is_cluster() {
            let columns = [("topic", "name"), ("partitions", "partitions"), ("offsets", "offsets")];
            return self.list.print(listing(&topics, columns, "the cluster has no topics"));
        }
        let empty = "no topics: create one with `orch topics create NAME`";
        let columns = [
            ("topic", "name"),
            ("partitions", "partitions"),
            ("records", "records"),
            ("retention_hours", "retention_hours"),
            ("last_record_at", "last_record_at"),
            ("description", "description"),
        ];
        self.list.print(listing(&topics, columns, empty))
    }
}

impl ShowTopic {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let partitions = cx.api().await?.list_partitions(&self.at, &self.name).await?;
        let partitions = partitions.ok_or_else(|| no_such(TOPIC, &self.name))?;
        let columns = ["partition", "first_offset", "next_offset", "last_record_at"].map(|name| (name, name));
        listing(&partitions, columns, "no partitions").print(self.output.format)
    }
}

impl CreateTopic {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut body = self.size.body();
        body.insert("name".into(), json!(self.name));
        if !cx.api().await?.add_kept(TOPIC, &body.into()).await? {
            return Err(Failure::new(format!("there is a topic `{}` already", self.name))
                .hint(format!("change it with `orch topics set {}`", self.name)));
        }
        eprintln!("topic `{}` is created", self.name);
        Ok(Exit::Done)
    }
}

impl SetTopic {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let body = self.size.body();
        if body.is_empty() {
            return Err(
                Failure::new("nothing to change").hint("say `--partitions`, `--retention-hours` or `--description`")
            );
        }
        let changed = cx.api().await?.change_kept(TOPIC, &self.name, &body.into()).await?;
        changed.ok_or_else(|| no_such(TOPIC, &self.name))?;
        eprintln!("topic `{}` is changed", self.name);
        Ok(Exit::Done)
    }
}
