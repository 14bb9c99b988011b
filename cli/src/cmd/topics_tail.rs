//! `orch topics tail`: the newest records of a topic, and with `-f` also new ones.

use super::kept::no_such;
use crate::api::{Api, ApiObject, ReadFrom, Records, TopicsAt};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::print_line;
use orch_deeds::kept::TOPIC;
use serde_json::Value;

/// Print the newest records of a topic
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch topics tail weather\n  orch topics tail weather -f\n  \
    orch topics tail users --partition 2 --from-offset 1000 -n 50\n  orch topics tail weather --json | jq .value\n  \
    orch topics tail users --partition 0 --key 7\n  \
    orch topics tail weather --connection events --from-time 2026-11-26T06:00:00Z")]
pub(crate) struct Tail {
    #[arg(value_name = "TOPIC")]
    name: String,
    /// How many of each partition
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(i64).range(0..=1_000))]
    records: i64,
    /// Only this partition
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    partition: Option<i64>,
    /// From this offset on instead of the newest
    #[arg(long, value_name = "OFFSET")]
    from_offset: Option<i64>,
    /// From the first record that is not older
    #[arg(long, value_name = "TIME", conflicts_with = "from_offset")]
    from_time: Option<String>,
    /// Only those with this key, among the last 100,000 of a partition
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["from_offset", "from_time", "follow"])]
    key: Option<String>,
    /// Go on with records that come
    #[arg(short, long)]
    follow: bool,
    /// A JSON object for each record
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: TopicsAt,
}

/// Maximum number of records per read while following.
const BATCH: i64 = 1_000;
/// Maximum time that a read waits for a record, in seconds. With several partitions, only one of them is waited for at
/// a time.
const WAIT: u32 = 10;
const WAIT_ONE_OF_MANY: u32 = 1;

impl Tail {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let partitions = api.list_partitions(&self.at, &self.name).await?.ok_or_else(|| no_such(TOPIC, &self.name))?;
        let all = partitions.iter().filter_map(|row| row.get("partition").and_then(Value::as_i64));
        let wanted: Vec<i64> = self.partition.map_or_else(|| all.collect(), |partition| vec![partition]);
        let mut next = Vec::with_capacity(wanted.len());
        for &partition in &wanted {
            let from = ReadFrom {
                partition,
                offset: self.from_offset,
                at: self.from_time.clone(),
                key: self.key.clone(),
                limit: self.records,
                wait: 0,
            };
            next.push(self.read(&api, &from).await?.next_offset);
        }
        if self.follow { self.go_on(&api, &wanted, next).await } else { Ok(Exit::Done) }
    }

    /// Follows the partitions until the command is ended.
    async fn go_on(&self, api: &Api, partitions: &[i64], mut next: Vec<i64>) -> Outcome {
        let patience = if partitions.len() == 1 { WAIT } else { WAIT_ONE_OF_MANY };
        let mut turn = 0;
        loop {
            let mut is_quiet = true;
            for (place, &partition) in partitions.iter().enumerate() {
                // Poll all partitions. If none has new records, the next read waits at one partition, in rotation.
                let from = ReadFrom { partition, offset: Some(next[place]), limit: BATCH, ..ReadFrom::default() };
                let found = self.read(api, &from).await?;
                is_quiet &= found.records.is_empty();
                next[place] = found.next_offset;
            }
            if is_quiet {
                turn = (turn + 1) % partitions.len();
                let (partition, offset) = (partitions[turn], Some(next[turn]));
                let from = ReadFrom { partition, offset, limit: BATCH, wait: patience, ..ReadFrom::default() };
                next[turn] = self.read(api, &from).await?.next_offset;
            }
        }
    }

    async fn read(&self, api: &Api, from: &ReadFrom) -> Result<Records, Failure> {
        let found = api.read_records(&self.at, &self.name, from).await?.ok_or_else(|| no_such(TOPIC, &self.name))?;
        for record in &found.records {
            print_line(&if self.json { Value::Object(record.clone()).to_string() } else { line(record) })?;
        }
        Ok(found)
    }
}

/// Returns a line such as `0:17 2026-11-22T13:00:00Z London {"temp": 11}`.
fn line(record: &ApiObject) -> String {
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    let number = |name: &str| record.get(name).and_then(Value::as_i64).unwrap_or_default();
    let mut line = format!("{}:{} {}", number("partition"), number("offset"), text("timestamp").unwrap_or_default());
    for part in [text("key").or(text("key_base64")), text("value").or(text("value_base64"))].into_iter().flatten() {
        line.push(' ');
        line.extend(part.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    line
}
