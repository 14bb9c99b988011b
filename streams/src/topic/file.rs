//! Reads a file of JSON lines, plain or compressed with gzip, as a topic. The file is loaded whole, and again after
//! each change.

use super::{Bounds, Most, Position, TopicReader};
use crate::declare::hash;
use crate::records::{NEW_KEY, OLD_KEY, Record, Records};
use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use flate2::read::MultiGzDecoder;
use futures::future::BoxFuture;
use orch_sdk::task::{Connection, TaskResult, fatal};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep_until};

/// Maximum size of a decompressed file in bytes. The file is held in memory.
const MOST_BYTES: u64 = 1 << 30;
/// Polling interval for changes of the file.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A topic whose records are the lines of a file.
#[derive(Debug)]
pub struct FileTopic {
    path: PathBuf,
    topic: String,
    form: Form,
    held: Option<LoadedFile>,
    /// Next offset by partition.
    next: BTreeMap<i32, i64>,
}

/// Meaning of a line in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Each line is a value in partition 0. Its offset is the line number, starting at 0.
    Lines,
    /// Each line is an object with `partition`, `offset`, `value`, and optionally `key`, `ts_ms`, `headers` and
    /// `topic`.
    Records,
}

/// Content of the file as of the last load.
#[derive(Debug)]
struct LoadedFile {
    seen: FileStamp,
    records: Records,
    /// (offset, record index) pairs by partition.
    places: BTreeMap<i32, Vec<(i64, usize)>>,
}

type FileStamp = (u64, Option<SystemTime>);

impl FileTopic {
    /// Opens a file as a topic without reading it.
    ///
    /// # Errors
    /// Returns a fatal error if the connection does not name a file or if the file has an unknown format.
    pub fn open(connection: &Connection, topic: &str) -> TaskResult<FileTopic> {
        let text = |name: &str| connection.extra_field(name).and_then(|value| value.as_str().map(str::to_owned));
        let id = &connection.id;
        let path = text("path").ok_or_else(|| {
            fatal(format!(
                "connection `{id}` names no file\nhint: say it in its extra: {{\"path\": \"/data/users.jsonl.gz\"}}"
            ))
        })?;
        let form = match text("format").as_deref() {
            None | Some("lines") => Form::Lines,
            Some("records") => Form::Records,
            Some(other) => {
                return Err(fatal(format!("connection `{id}` has the format `{other}`\nhint: `lines` or `records`")));
            }
        };
        Ok(FileTopic { path: path.into(), topic: topic.into(), form, held: None, next: BTreeMap::new() })
    }

    /// Loads the file if it has changed, and returns its content.
    async fn reload_if_changed(&mut self) -> TaskResult<&LoadedFile> {
        let (path, topic, form) = (self.path.clone(), self.topic.clone(), self.form);
        let known = self.held.as_ref().map(|held| held.seen);
        let found = tokio::task::spawn_blocking(move || {
            let seen = seen(&path)?;
            let is_new = known != Some(seen);
            TaskResult::Ok(if is_new { Some(hold(&path, &topic, form, seen)?) } else { None })
        });
        if let Some(held) = found.await.context("reading a file ended early")?? {
            let first = |held: &LoadedFile| held.records.get(0).and_then(|first| Some(first.value?.to_vec()));
            if self.held.as_ref().is_some_and(|before| first(before).is_some() && first(before) != first(&held)) {
                return Err(anyhow!("file `{}` was replaced while it was read", self.path.display()));
            }
            self.held = Some(held);
        }
        self.held.as_ref().ok_or_else(|| anyhow!("`{}` was not read", self.path.display()))
    }

    /// Adds records of the loaded file. Returns false if no further records exist.
    fn take(&mut self, into: &mut Records, most: Most) -> bool {
        let Some(held) = &self.held else { return false };
        let had = into.len();
        for (partition, next) in &mut self.next {
            let places = held.places.get(partition).map(Vec::as_slice).unwrap_or_default();
            let from = places.partition_point(|(offset, _)| offset < next);
            for (offset, nth) in &places[from..] {
                if into.len() - had >= most.records.max(1) || into.bytes() >= most.bytes.max(1) {
                    break;
                }
                if let Some(record) = held.records.get(*nth) {
                    into.push(&record);
                }
                *next = offset + 1;
            }
        }
        into.len() > had
    }
}

fn seen(path: &Path) -> TaskResult<FileStamp> {
    let found = std::fs::metadata(path).with_context(|| format!("file `{}` cannot be read", path.display()))?;
    Ok((found.len(), found.modified().ok()))
}

fn hold(path: &Path, topic: &str, form: Form, seen: FileStamp) -> TaskResult<LoadedFile> {
    let cannot = || format!("file `{}` cannot be read", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    let is_packed = path.extension().is_some_and(|end| end == "gz");
    let many = if is_packed {
        MultiGzDecoder::new(file).take(MOST_BYTES + 1).read_to_end(&mut bytes)
    } else {
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes)
    };
    if many.with_context(cannot)? as u64 > MOST_BYTES {
        return Err(fatal(format!("file `{}` has more than {MOST_BYTES} bytes\nhint: split it", path.display())));
    }
    let mut held = LoadedFile { seen, records: Records::default(), places: BTreeMap::new() };
    for (number, line) in (0..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let text = line.trim_ascii();
        // The last line may be incomplete because the file is still being written.
        let is_whole = line.ends_with(b"\n") || serde_json::from_slice::<Value>(text).is_ok();
        if text.is_empty() || !is_whole {
            continue;
        }
        match form {
            Form::Lines => held.add(&Record {
                partition: 0,
                offset: number,
                at_ms: None,
                key: None,
                value: Some(text),
                old_key: None,
                has_new_key: false,
            }),
            Form::Records => held.add_recorded(text, topic),
        }
        .map_err(|why| fatal(format!("line {} of file `{}` {why}", number + 1, path.display())))?;
    }
    Ok(held)
}

impl LoadedFile {
    fn add(&mut self, record: &Record<'_>) -> Result<(), String> {
        let places = self.places.entry(record.partition).or_default();
        if places.last().is_some_and(|(last, _)| *last >= record.offset) {
            let Record { partition, offset, .. } = record;
            return Err(format!("has offset {offset} of partition {partition} behind a later one"));
        }
        places.push((record.offset, self.records.len()));
        self.records.push(record);
        Ok(())
    }

    /// Adds the record of a line. Ignores records of other topics.
    fn add_recorded(&mut self, line: &[u8], topic: &str) -> Result<(), String> {
        let line: Value = serde_json::from_slice(line).map_err(|error| format!("is not JSON: {error}"))?;
        if line["topic"].as_str().is_some_and(|of| of != topic) {
            return Ok(());
        }
        let number = |name: &str| line[name].as_i64().filter(|number| *number >= 0);
        let partition = number("partition").and_then(|number| i32::try_from(number).ok());
        let (Some(partition), Some(offset)) = (partition, number("offset")) else {
            return Err("has no `partition` and `offset`: they are numbers from 0 on".into());
        };
        let bytes = |name: &str| match &line[name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone().into_bytes()),
            other => Some(other.to_string().into_bytes()),
        };
        let (key, value) = (bytes("key"), bytes("value"));
        let at_ms = line["ts_ms"].as_i64();
        let header = |name: &str| line["headers"].get(name).and_then(Value::as_str).map(str::as_bytes);
        let (old_key, has_new_key) = (header(OLD_KEY), header(NEW_KEY).is_some());
        self.add(&Record {
            partition,
            offset,
            at_ms,
            key: key.as_deref(),
            value: value.as_deref(),
            old_key,
            has_new_key,
        })
    }

    fn bounds(&self) -> Vec<Bounds> {
        let bounds = self.places.iter().filter_map(|(&partition, places)| {
            Some(Bounds { partition, first: places.first()?.0, next: places.last()?.0 + 1 })
        });
        bounds.collect()
    }
}

impl TopicReader for FileTopic {
    fn identity(&mut self) -> BoxFuture<'_, TaskResult<String>> {
        Box::pin(async {
            // The first record identifies the file, because it stays the same when lines are appended.
            let first =
                self.reload_if_changed().await?.records.get(0).and_then(|first| first.value.map(<[u8]>::to_vec));
            let Some(first) = first else {
                return Err(anyhow!("file `{}` has no records of topic `{}`", self.path.display(), self.topic));
            };
            Ok(format!("file:{}#{}", self.path.display(), hash(&String::from_utf8_lossy(&first))))
        })
    }

    fn bounds(&mut self) -> BoxFuture<'_, TaskResult<Vec<Bounds>>> {
        Box::pin(async { Ok(self.reload_if_changed().await?.bounds()) })
    }

    fn offset_at(&mut self, partition: i32, at: DateTime<Utc>) -> BoxFuture<'_, TaskResult<i64>> {
        Box::pin(async move {
            let held = self.reload_if_changed().await?;
            let places = held.places.get(&partition).map(Vec::as_slice).unwrap_or_default();
            let is_since =
                |nth: usize| held.records.get(nth).and_then(|record| record.at()).is_some_and(|its| its >= at);
            let found = places.iter().find(|(_, nth)| is_since(*nth)).map(|(offset, _)| *offset);
            Ok(found.or_else(|| Some(places.last()?.0 + 1)).unwrap_or(0))
        })
    }

    fn seek<'a>(&'a mut self, positions: &'a [Position]) -> BoxFuture<'a, TaskResult<()>> {
        self.next = positions.iter().map(|at| (at.partition, at.offset)).collect();
        Box::pin(std::future::ready(Ok(())))
    }

    fn read<'a>(&'a mut self, into: &'a mut Records, most: Most, until: Instant) -> BoxFuture<'a, TaskResult<()>> {
        Box::pin(async move {
            while !self.take(into, most) {
                self.reload_if_changed().await?;
                if self.take(into, most) || Instant::now() >= until {
                    break;
                }
                sleep_until(until.min(Instant::now() + LOOK_AGAIN)).await;
            }
            Ok(())
        })
    }

    fn positions(&self) -> Vec<Position> {
        self.next.iter().map(|(&partition, &offset)| Position { partition, offset }).collect()
    }
}
