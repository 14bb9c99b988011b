//! `orch topics produce`: appends a record, or each line of standard input, to a topic.

use super::kept::no_such;
use crate::api::TopicsAt;
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::counted;
use orch_deeds::kept::TOPIC;
use serde_json::{Value, json};
use std::io::BufRead as _;

/// Append records to a topic: one, or each line of standard input
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch topics produce weather '{\"city\": \"London\", \"temp\": 11}'\n  \
    orch topics produce users --key 7 '{\"name\": \"Ada\"}'\n  orch topics produce weather < readings.jsonl\n  \
    orch topics produce users --key-separator ':' < keyed.txt\n  \
    orch topics produce weather '{\"temp\": 11}' --connection events")]
pub(crate) struct Produce {
    #[arg(value_name = "TOPIC")]
    name: String,
    /// The record; without it each line of standard input is one
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<String>,
    /// Records with one key stay in order
    #[arg(long, value_name = "TEXT", requires = "value")]
    key: Option<String>,
    /// What stands before this in a line is its key
    #[arg(long, value_name = "TEXT", conflicts_with = "value")]
    key_separator: Option<String>,
    /// The partition; without it the key decides
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i16>,
    #[command(flatten)]
    at: TopicsAt,
}

/// Maximum number of records in a request, and of bytes in their values. A request body may have about 1 MB.
const MOST_RECORDS: usize = 1_000;
const MOST_BYTES: usize = 512 * 1024;

impl Produce {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let send = async |records: &[Value]| {
            let appended = api.produce(&self.at, &self.name, records).await?;
            appended.ok_or_else(|| no_such(TOPIC, &self.name))
        };
        if let Some(value) = &self.value {
            let appended = send(&[self.record(self.key.as_deref(), value)]).await?;
            return Ok(report_appended(appended, &self.name));
        }
        let (mut batch, mut bytes, mut appended) = (Vec::new(), 0, 0);
        for (number, line) in std::io::stdin().lock().lines().enumerate() {
            let line = line.map_err(|error| {
                Failure::new(format!("line {} of standard input cannot be read: {error}", number + 1))
                    .hint(format!("appended before it: {}", counted(appended, "record")))
            })?;
            if line.is_empty() {
                continue;
            }
            let (key, value) = self.split(number + 1, &line)?;
            bytes += line.len();
            batch.push(self.record(key, value));
            if batch.len() == MOST_RECORDS || bytes >= MOST_BYTES {
                appended += send(&batch).await?;
                (batch, bytes) = (Vec::new(), 0);
            }
        }
        if !batch.is_empty() {
            appended += send(&batch).await?;
        }
        Ok(report_appended(appended, &self.name))
    }

    fn split<'a>(&self, number: usize, line: &'a str) -> Result<(Option<&'a str>, &'a str), Failure> {
        let Some(separator) = &self.key_separator else { return Ok((None, line)) };
        let Some((key, value)) = line.split_once(separator.as_str()) else {
            return Err(Failure::new(format!("line {number} has no `{separator}` between a key and a value")));
        };
        Ok((Some(key), value))
    }

    fn record(&self, key: Option<&str>, value: &str) -> Value {
        json!({ "key": key, "value": value, "partition": self.partition })
    }
}

fn report_appended(appended: usize, topic: &str) -> Exit {
    eprintln!("{appended} {} appended to `{topic}`", if appended == 1 { "record is" } else { "records are" });
    Exit::Done
}
