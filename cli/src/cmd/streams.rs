//! `orch streams list`, `show`, `pause`, `resume`, `restart`, `reset`, `skip` and `delete`.

use super::kept::listing;
use crate::api::ListFlags;
use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{Format, FormatFlag, Record};
use orch_binary::person::{AcceptedYesFlag, YesFlag};
use serde_json::{Value, json};

/// List streams with their state and lag
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch streams list\n  orch streams list --state failed\n  orch streams list -o json"
)]
pub(crate) struct ListStreams {
    /// Only streams in that state; may be given several times
    #[arg(long, value_parser = ["running", "paused", "failed", "unassigned"])]
    state: Vec<String>,
    #[command(flatten)]
    list: ListFlags,
}

/// Show a stream: where it is in each partition, and why it stopped
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "status",
    after_help = "Examples:\n  orch streams show weather\n  orch streams show weather -o yaml"
)]
pub(crate) struct ShowStream {
    #[arg(value_name = "STREAM")]
    name: String,
    #[command(flatten)]
    output: FormatFlag,
}

/// Pause a stream: what it read and did not commit is read again later
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch streams pause weather")]
pub(crate) struct PauseStream {
    #[arg(value_name = "STREAM")]
    name: String,
}

/// Let a paused stream go on where it was
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch streams resume weather")]
pub(crate) struct ResumeStream {
    #[arg(value_name = "STREAM")]
    name: String,
}

/// Begin a stream anew from its last commit, also one that failed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch streams restart weather\n  orch streams restart weather --share 1")]
pub(crate) struct RestartStream {
    #[arg(value_name = "STREAM")]
    name: String,
    /// Only this share of a stream that several processes read; the others read on
    #[arg(long, value_name = "NUMBER")]
    share: Option<u16>,
}

/// Let a stream go on reading from another place of its topic
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch streams reset weather --to-earliest --empty-table\n  orch streams reset weather --to-offset 17 --partition 0\n  \
    orch streams reset weather --to-time 2026-11-22T06:00:00Z\n\nWhat lies before the new place is not read. What was read before and lies \
    behind it is read again, and an append writes it a second time."
)]
pub(crate) struct ResetStream {
    #[arg(value_name = "STREAM")]
    name: String,
    #[command(flatten)]
    to: To,
    /// Only this partition
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Also empty the table, in the moment in which the stream begins anew
    #[arg(long, conflicts_with = "partition")]
    empty_table: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct To {
    /// From the oldest record that is kept
    #[arg(long)]
    to_earliest: bool,
    /// Only what comes from now on
    #[arg(long)]
    to_latest: bool,
    /// From this offset; of a topic with several partitions with `--partition`
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// From the first record that is not older
    #[arg(long, value_name = "TIME")]
    to_time: Option<DateTime<Utc>>,
}

/// Quarantine one record that stops a stream, and restart the stream
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch streams show weather\n  orch topics tail weather --partition 0 --from-offset 17 -n 1\n  \
    orch streams skip weather --partition 0 --offset 17\n\nThe error of a stopped stream names the partition and the offset. The command shows what it \
    will do and asks; `--yes` does not ask. The record goes to the quarantine table, and a replay skips it again."
)]
pub(crate) struct SkipRecord {
    #[arg(value_name = "STREAM")]
    name: String,
    /// Partition of the record
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: i32,
    /// Offset of the record
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
    #[command(flatten)]
    yes: YesFlag,
}

/// Forget a stream that no bundle declares any more; its table stays
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch streams delete weather")]
pub(crate) struct DeleteStream {
    #[arg(value_name = "STREAM")]
    name: String,
    #[command(flatten)]
    yes: AcceptedYesFlag,
}

impl ListStreams {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let empty = "no streams: a bundle declares them, and they appear when a worker of it starts";
        let columns = ["name", "state", "topic", "table", "lag", "records_last_hour", "last_commit_at"];
        let columns = columns.map(|name| (name, name));
        let own: Vec<_> = self.state.iter().map(|state| ("state".to_owned(), state.clone())).collect();
        let asked = self.list.query_with(&own)?;
        self.list.print(listing(&cx.api().await?.list_streams(&asked).await?, columns, empty))
    }
}

/// The fields of a stream that are printed, in this order.
const FIELDS: [&str; 21] = [
    "name",
    "state",
    "topic",
    "topic_note",
    "table",
    "bundle",
    "process",
    "lag",
    "records",
    "records_last_hour",
    "quarantined",
    "commits",
    "last_commit_at",
    "last_record_at",
    "failures",
    "error",
    "next_try_at",
    "waits_for_restart",
    "reset_to",
    "partitions",
    "capture",
];

impl ShowStream {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let found = cx.api().await?.get_stream(&self.name).await?.ok_or_else(|| no_such(&self.name))?;
        let is_optional = |field: &str| matches!(field, "capture" | "topic_note");
        let is_told = |field: &&str| !is_optional(field) || found.get(*field).is_some_and(|value| !value.is_null());
        let is_for_people = matches!(self.output.format, Format::Table | Format::Plain);
        let words = FIELDS.into_iter().filter(is_told).map(|field| {
            let value = found.get(field).cloned().unwrap_or_default();
            let value = if is_for_people && field == "partitions" { in_words(&value) } else { value };
            (field, value)
        });
        Record::new(words.collect::<Vec<_>>()).print(self.output.format)
    }
}

/// Returns the position of a stream in each partition, and the worker that reads it.
fn in_words(partitions: &Value) -> Value {
    let said = partitions.as_array().into_iter().flatten().map(|one| {
        let worker = one["process"].as_str().and_then(|process| process.rsplit_once(':'));
        let by = worker.map(|(worker, _)| format!(" by {worker}")).unwrap_or_default();
        format!("{}: {} of {}{by}", one["partition"], one["next_offset"], one["end_offset"])
    });
    said.collect::<Vec<_>>().join(", ").into()
}

impl PauseStream {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        steer(cx, &self.name, ("pause", None), "is paused").await
    }
}

impl ResumeStream {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        steer(cx, &self.name, ("resume", None), "goes on").await
    }
}

impl RestartStream {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let name = &self.name;
        let Some(share) = self.share else {
            return steer(cx, name, ("restart", None), "is restarted").await;
        };
        let verb = format!("shares/{share}/restart");
        cx.api().await?.steer_stream(name, &verb, None).await?.ok_or_else(|| no_such(name))?;
        eprintln!("share {share} of stream `{name}` is restarted");
        Ok(Exit::Done)
    }
}

impl To {
    pub(super) fn body(self) -> Value {
        match self {
            To { to_offset: Some(offset), .. } => json!({ "offset": offset }),
            To { to_time: Some(at), .. } => json!({ "time": at }),
            To { to_earliest: true, .. } => json!("earliest"),
            To { .. } => json!("latest"),
        }
    }
}

impl ResetStream {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let body = json!({ "to": self.to.body(), "partition": self.partition, "empty_table": self.empty_table });
        steer(cx, &self.name, ("reset", Some(&body)), "goes on from there when it runs again").await
    }
}

impl SkipRecord {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let SkipRecord { name, partition, offset, yes } = self;
        let found = cx.api().await?.get_stream(&name).await?.ok_or_else(|| no_such(&name))?;
        if let Some(error) = found.get("error").and_then(Value::as_str) {
            eprintln!("stream `{name}` stopped: {error}");
        }
        let topic = found.get("topic").and_then(Value::as_str).unwrap_or_default();
        yes.agree(&format!(
            "This quarantines the record at offset {offset} of partition {partition} of topic `{topic}` and restarts the stream."
        ))?;
        let body = json!({ "partition": partition, "offset": offset });
        steer(cx, &name, ("skip", Some(&body)), "is restarted and skips the record").await
    }
}

impl DeleteStream {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if !cx.api().await?.delete_stream(&self.name).await? {
            return Err(no_such(&self.name));
        }
        eprintln!("stream `{}` is deleted", self.name);
        Ok(Exit::Done)
    }
}

async fn steer(cx: &Cx, name: &str, (verb, body): (&str, Option<&Value>), done: &str) -> Outcome {
    cx.api().await?.steer_stream(name, verb, body).await?.ok_or_else(|| no_such(name))?;
    eprintln!("stream `{name}` {done}");
    Ok(Exit::Done)
}

fn no_such(name: &str) -> Failure {
    Failure::new(format!("there is no stream `{name}`")).hint("list all with `orch streams list`")
}
