//! Streams that start runs of a DAG: groups records into runs and builds the run configuration of each.

use crate::declare::hash;
use crate::records::{Record, Records};
use crate::sort::PutAside;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Maximum number of records per run. Together with the size limit, it keeps the run configuration below 1 MB.
const MOST_RECORDS: usize = 1_000;
const MOST_BYTES: usize = 512 << 10;
/// Maximum size of a key and its value in bytes, so that they fit into a run configuration as JSON.
const MOST_VALUE_BYTES: usize = 900_000;
/// Maximum length of the stream name in a run id.
const MOST_NAME_CHARS: usize = 150;

/// Determines how records are grouped into runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "`Runs::PerRecord` is said as a whole")]
pub enum Runs {
    /// Each record starts a run.
    PerRecord,
    /// All records since the last commit start one run, with at most 1,000 records or 512 KiB.
    PerBatch,
    /// Like `PerBatch`, but with one run per key.
    PerKey,
}

impl Runs {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Runs::PerRecord => "one for each record",
            Runs::PerBatch => "one for each batch",
            Runs::PerKey => "one for each key of a batch",
        }
    }
}

/// Target of a stream that starts runs: the DAG and its limits.
#[derive(Debug, Clone)]
pub(crate) struct RunsOf {
    pub(crate) dag_id: String,
    pub(crate) per: Runs,
    /// Maximum number of unfinished runs of the DAG. At the limit, the stream waits before it starts more.
    pub(crate) most_open: i32,
}

/// A record that starts a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    at_ms: Option<i64>,
    key: Option<String>,
    value: Value,
    bytes: usize,
}

impl Call {
    pub(crate) fn put_aside(&self, reason: String) -> PutAside {
        let value = self.value.to_string();
        let key = self.key.as_ref().map(String::as_bytes);
        let Call { partition, offset, at_ms, .. } = *self;
        PutAside::of(
            &Record { partition, offset, at_ms, key, value: Some(value.as_bytes()), old_key: None, has_new_key: false },
            reason,
        )
    }
}

/// Converts records to runs to start, and quarantines records that cannot start a run. Ignores records that are not in
/// `kept`.
pub(crate) fn calls(records: &Records, kept: Option<&HashSet<(i32, i64)>>) -> (Vec<Call>, Vec<PutAside>) {
    let (mut calls, mut aside) = (Vec::new(), Vec::new());
    for record in records.iter() {
        if kept.is_some_and(|kept| !kept.contains(&(record.partition, record.offset))) {
            continue;
        }
        match call(&record) {
            Ok(call) => calls.push(call),
            Err(reason) => aside.push(PutAside::of(&record, reason)),
        }
    }
    (calls, aside)
}

fn call(record: &Record<'_>) -> Result<Call, String> {
    let value = record.value.ok_or("it has no value (a tombstone)")?;
    let bytes = value.len() + record.key.map_or(0, <[u8]>::len);
    if bytes > MOST_VALUE_BYTES {
        return Err(format!("it has {bytes} bytes; a run takes {MOST_VALUE_BYTES} at most"));
    }
    Ok(Call {
        partition: record.partition,
        offset: record.offset,
        at_ms: record.at_ms,
        key: record.key.map(|key| String::from_utf8_lossy(key).into_owned()),
        value: serde_json::from_slice(value).map_err(|error| format!("its value is not JSON: {error}"))?,
        bytes,
    })
}

/// Returns how many of the first calls to start in one transaction so that they need at most `room` runs.
pub(crate) fn portion(calls: &[Call], per: Runs, room: usize) -> usize {
    if per == Runs::PerRecord {
        return calls.len().min(room);
    }
    let (mut keys, mut bytes) = (HashSet::new(), 0);
    for (nth, call) in calls.iter().enumerate() {
        bytes += call.bytes;
        keys.insert(call.key.as_deref());
        // A single call is always included, even if it exceeds the limits.
        let is_full = nth > 0 && (nth == MOST_RECORDS || bytes > MOST_BYTES);
        if room == 0 || is_full || (per == Runs::PerKey && keys.len() > room) {
            return nth;
        }
    }
    calls.len()
}

/// Groups calls into runs. Keeps their order.
pub(crate) fn together(calls: &[Call], per: Runs) -> Vec<Vec<&Call>> {
    let mut runs: Vec<Vec<&Call>> = Vec::new();
    for call in calls {
        let same = match per {
            Runs::PerRecord => None,
            Runs::PerBatch => runs.first_mut(),
            Runs::PerKey => runs.iter_mut().find(|run| run[0].key == call.key),
        };
        match same {
            Some(run) => run.push(call),
            None => runs.push(vec![call]),
        }
    }
    runs
}

/// Builds a run id from the stream name, the first record, and a hash of the stream and topic, such as
/// `stream__orders__0:17__1f2e3d4c`.
pub(crate) fn run_id(stream: &str, topic_identity: &str, first: &Call) -> String {
    let may = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let name: String = stream.chars().take(MOST_NAME_CHARS).map(may).collect();
    // The hash keeps ids unique: truncated names can be equal, and a topic that was created again reuses offsets.
    let tail = hash(&format!("{stream}\n{topic_identity}"));
    format!("stream__{name}__{}:{}__{}", first.partition, first.offset, &tail[..8])
}

pub(crate) fn conf(stream: &str, topic: &str, per: Runs, calls: &[&Call]) -> Value {
    let mut conf = Map::from_iter([("stream".into(), json!(stream)), ("topic".into(), json!(topic))]);
    match (per, calls) {
        (Runs::PerRecord, [call, ..]) => conf.extend(record_json(call)),
        (_, calls) => {
            if let (Runs::PerKey, Some(first)) = (per, calls.first()) {
                conf.insert("key".into(), json!(first.key));
            }
            conf.insert("records".into(), calls.iter().map(|call| Value::Object(record_json(call))).collect());
        }
    }
    Value::Object(conf)
}

fn record_json(call: &Call) -> Map<String, Value> {
    let at = call.at_ms.and_then(DateTime::from_timestamp_millis);
    let told = [
        ("partition", json!(call.partition)),
        ("offset", json!(call.offset)),
        ("timestamp", json!(at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)))),
        ("key", json!(call.key)),
        ("value", call.value.clone()),
    ];
    told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(keys: &[&str]) -> Vec<Call> {
        let mut records = Records::default();
        for (offset, key) in (0..).zip(keys) {
            let (key, value) = (Some(key.as_bytes()), Some(&b"{\"n\": 1}"[..]));
            records.push(&Record {
                partition: 0,
                offset,
                at_ms: Some(0),
                key,
                value,
                old_key: None,
                has_new_key: false,
            });
        }
        calls(&records, None).0
    }

    #[test]
    fn no_more_runs_than_there_is_room_for() {
        let calls = some(&["a", "b", "a", "c", "a"]);
        let portions = |per| [0, 1, 2, 9].map(|room| portion(&calls, per, room));
        assert_eq!(portions(Runs::PerRecord), [0, 1, 2, 5]);
        assert_eq!(portions(Runs::PerBatch), [0, 5, 5, 5]);
        // Further records of a key that already has a run are included in that run.
        assert_eq!(portions(Runs::PerKey), [0, 1, 3, 5]);
        let many = some(&["k"; MOST_RECORDS + 5]);
        assert_eq!(portion(&many, Runs::PerBatch, 1), MOST_RECORDS);
    }

    #[test]
    fn a_run_is_told_of_its_records() {
        let calls = some(&["a", "b", "a"]);
        let runs = together(&calls, Runs::PerKey);
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        let of_a = conf("s", "t", Runs::PerKey, &runs[0]);
        assert_eq!((&of_a["key"], &of_a["records"][1]["offset"]), (&json!("a"), &json!(2)));
        let one = conf("s", "t", Runs::PerRecord, &[&calls[1]]);
        let expected = json!({ "stream": "s", "topic": "t", "partition": 0, "offset": 1,
            "timestamp": "1970-01-01T00:00:00.000Z", "key": "b", "value": { "n": 1 } });
        assert_eq!(one, expected);
    }

    #[test]
    fn the_name_of_a_run_is_made_of_its_first_record() {
        let call = &some(&["a"])[0];
        let name = run_id("my orders", "log:1", call);
        assert!(name.starts_with("stream__my-orders__0:0__"), "{name}");
        assert_eq!(name, run_id("my orders", "log:1", call));
        assert_ne!(name, run_id("my orders", "log:2", call), "a topic that was created again");
        assert!(run_id(&"x".repeat(400), "log:1", call).len() < 250);
    }

    #[test]
    fn what_is_not_json_starts_nothing() {
        let mut records = Records::default();
        for (offset, value) in [(0, Some(&b"{"[..])), (1, None), (2, Some(b"7"))] {
            records.push(&Record {
                partition: 0,
                offset,
                at_ms: None,
                key: None,
                value,
                old_key: None,
                has_new_key: false,
            });
        }
        let (found, aside) = calls(&records, None);
        assert_eq!(found.iter().map(|call| call.offset).collect::<Vec<_>>(), [2]);
        assert!(aside[0].reason.contains("not JSON") && aside[1].reason.contains("tombstone"), "{aside:?}");
        assert!(calls(&records, Some(&HashSet::new())).0.is_empty());
    }
}
