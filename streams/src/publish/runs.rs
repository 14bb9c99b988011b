//! Starts runs of a DAG for records, in the transaction that commits the offsets. While the number of unfinished runs
//! is at its maximum, records wait in the topic.

use super::{Lot, Target};
use crate::declare::Stream;
use crate::runs::{Call, RunsOf, conf, portion, run_id, together};
use crate::sort::PutAside;
use anyhow::anyhow;
use chrono::SecondsFormat;
use orch_sdk::task::TaskResult;
use orch_store::hint::Hint;
use orch_store::locks::{Locks, lock_dag};
use orch_store::stream::{
    Covered, Progress, RecordRun, Started, StartedRun, commit_stream, left_behind, open_runs, set_started, start_run,
    started_runs,
};
use orch_store::topic::{NewRecord, ensure_topic, produce};
use orch_store::version::Versions;
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::time::Duration;

/// Maximum number of runs that one transaction starts.
const MOST_AT_ONCE: usize = 100;
/// Polling interval while the DAG has no free slots, in case the hint that a run has finished is lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Maximum number of records that one transaction quarantines.
const MOST_ASIDE: usize = 10_000;

#[derive(Debug, Clone)]
pub(crate) struct RunsTarget {
    of: RunsOf,
    versions: Versions,
}

struct RunStartOutcome {
    hints: Vec<Hint>,
    is_aside: bool,
}

impl RunsTarget {
    pub(crate) fn new(of: &RunsOf) -> RunsTarget {
        RunsTarget { of: of.clone(), versions: Versions::default() }
    }

    /// Publishes a batch in parts, each time the DAG has free slots.
    pub(super) async fn publish(&self, target: &Target, stream: &Stream, lot: &Lot) -> TaskResult<()> {
        let mut next: BTreeMap<i32, i64> = lot.covered.iter().map(|one| (one.partition, one.from)).collect();
        let mut calls = lot.calls.as_slice();
        loop {
            let many = if calls.is_empty() { 0 } else { portion(calls, self.of.per, self.room(target, stream).await?) };
            let (now, later) = calls.split_at(many);
            let covered = reached(&lot.covered, &next, now, later.is_empty());
            let aside: Vec<_> = lot.aside.iter().filter(|one| is_in(&covered, one.partition, one.offset)).collect();
            let part =
                RunCallBatch { stream, calls: now, aside, covered: &covered, last_record_at: lot.last_record_at };
            let done = self.start(target, part).await?;
            done.hints.into_iter().for_each(|hint| target.hints.give(hint));
            if done.is_aside {
                target.hints.give(Hint::Topic);
            }
            next.extend(covered.iter().map(|one| (one.partition, one.to)));
            calls = later;
            if calls.is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits until the DAG has free slots. Returns their number, at most [`MOST_AT_ONCE`].
    async fn room(&self, target: &Target, stream: &Stream) -> TaskResult<usize> {
        loop {
            let over = target.hints.on(Hint::Run).notified();
            let open = open_runs(&mut *target.pool.acquire().await?, &self.of.dag_id, self.of.most_open).await?;
            let Some(open) = open else { return Err(self.no_such_dag(stream)) };
            let room = usize::try_from(i64::from(self.of.most_open) - open).unwrap_or(0);
            if room > 0 {
                return Ok(room.min(MOST_AT_ONCE));
            }
            tokio::time::timeout(LOOK_AGAIN, over).await.unwrap_or_default();
        }
    }

    /// Builds a non-fatal error, so that the stream retries: the DAG's bundle may be registered after its streams.
    fn no_such_dag(&self, stream: &Stream) -> anyhow::Error {
        let (stream, dag_id) = (&stream.name, &self.of.dag_id);
        anyhow!(
            "stream `{stream}` starts runs of DAG `{dag_id}`, and there is no such DAG\n\
             hint: start a worker of its bundle, or name another DAG: `orch dags list` shows all"
        )
    }

    async fn start(&self, target: &Target, part: RunCallBatch<'_>) -> TaskResult<RunStartOutcome> {
        let RunCallBatch { stream, calls, covered, .. } = &part;
        let name = &target.lease.name;
        let mut tx = target.pool.begin().await?;
        let identity = left_behind(&mut tx, &target.lease).await?.topic_identity.unwrap_or_default();
        let known: BTreeMap<i32, i64> = started_runs(&mut tx, name, &identity)
            .await?
            .into_iter()
            .map(|one| (one.partition, one.next_offset))
            .collect();
        let new: Vec<Call> = calls
            .iter()
            .filter(|call| known.get(&call.partition).is_none_or(|next| call.offset >= *next))
            .cloned()
            .collect();
        let (mut hints, mut refused, mut versions) = (Vec::new(), Vec::new(), self.versions.clone());
        let dag = lock_dag(&mut tx, Locks::begin(), &self.of.dag_id).await?;
        for of_run in together(&new, self.of.per) {
            let wanted = RecordRun {
                run_id: run_id(name, &identity, of_run[0]),
                conf: conf(name, &stream.topic, self.of.per, &of_run),
                stream: name.clone(),
            };
            match start_run(&mut tx, &dag, &mut versions, wanted).await? {
                StartedRun::Started(given) => hints.extend(given),
                StartedRun::Known => {}
                StartedRun::BadConf(why) => refused.extend(of_run.iter().map(|call| call.put_aside(why.clone()))),
                StartedRun::NoSuchDag => return Err(self.no_such_dag(stream)),
            }
        }
        let started: Vec<_> =
            covered.iter().map(|one| Started { partition: one.partition, next_offset: one.to }).collect();
        set_started(&mut tx, name, &identity, &started).await?;
        let aside: Vec<&PutAside> = part.aside.iter().copied().chain(&refused).collect();
        put_aside(&mut tx, stream, &aside).await?;
        let count = |many: usize| i64::try_from(many).unwrap_or(i64::MAX);
        let progress = Progress {
            covered: covered.to_vec(),
            records: count(calls.len() + part.aside.len()),
            quarantined: count(aside.len()),
            last_record_at: part.last_record_at,
            ..Progress::default()
        };
        commit_stream(&mut tx, &target.lease, &progress).await?;
        tx.commit().await?;
        hints.sort_unstable_by_key(|hint| *hint as u16);
        hints.dedup();
        Ok(RunStartOutcome { hints, is_aside: !aside.is_empty() })
    }
}

struct RunCallBatch<'a> {
    stream: &'a Stream,
    calls: &'a [Call],
    aside: Vec<&'a PutAside>,
    covered: &'a [Covered],
    last_record_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Returns the offset ranges that are covered after these calls. The last part covers the whole batch.
fn reached(whole: &[Covered], next: &BTreeMap<i32, i64>, calls: &[Call], is_last: bool) -> Vec<Covered> {
    let moved = |one: &Covered| {
        let from = next.get(&one.partition).copied().unwrap_or(one.from);
        let last = calls.iter().rev().find(|call| call.partition == one.partition);
        let to = if is_last { one.to } else { last.map_or(from, |call| call.offset + 1) };
        Covered { from, to, ..*one }
    };
    whole.iter().map(moved).filter(|one| one.from != one.to).collect()
}

fn is_in(covered: &[Covered], partition: i32, offset: i64) -> bool {
    covered.iter().any(|one| one.partition == partition && (one.from..one.to).contains(&offset))
}

/// Writes quarantined records to a topic of the built-in log, because a stream that starts runs has no table.
async fn put_aside(tx: &mut PgConnection, stream: &Stream, aside: &[&PutAside]) -> TaskResult<()> {
    if aside.is_empty() {
        return Ok(());
    }
    let topic = quarantine_topic(&stream.name);
    ensure_topic(tx, &topic, 1).await?;
    for some in aside.chunks(MOST_ASIDE) {
        let records = some.iter().map(|one| {
            NewRecord::json(&json!({
                "topic": stream.topic,
                "partition": one.partition,
                "offset": one.offset,
                "recorded_at": one.at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
                "key": one.key,
                "value": one.value,
                "value_bytes": one.bytes,
                "quarantine_reason": one.reason,
            }))
        });
        produce(tx, &topic, &records.collect::<TaskResult<Vec<_>>>()?).await?;
    }
    tracing::warn!(stream = stream.name, records = aside.len(), topic, "records that start no run were put aside");
    Ok(())
}

/// Returns the name of the quarantine topic. Stream names may contain characters that topic names may not.
pub(crate) fn quarantine_topic(stream: &str) -> String {
    let may = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    stream.chars().map(may).chain("_quarantine".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Record, Records};
    use crate::runs::calls;

    #[test]
    fn offsets_move_with_the_calls_and_at_last_to_the_end() {
        let mut records = Records::default();
        for (partition, offset) in [(0, 3), (0, 5), (1, 7)] {
            records.push(&Record {
                partition,
                offset,
                at_ms: None,
                key: None,
                value: Some(b"1"),
                old_key: None,
                has_new_key: false,
            });
        }
        let (calls, _) = calls(&records, None);
        let covered = |partition, from, to| Covered { partition, from, to, end_offset: 20 };
        let whole = [covered(0, 2, 9), covered(1, 7, 8), covered(2, 0, 4)];
        let next = whole.iter().map(|one| (one.partition, one.from)).collect();
        assert_eq!(reached(&whole, &next, &calls[..2], false), [covered(0, 2, 6)]);
        let next = [(0, 6), (1, 7), (2, 0)].into();
        assert_eq!(reached(&whole, &next, &calls[2..], true), [covered(0, 6, 9), covered(1, 7, 8), covered(2, 0, 4)]);
    }
}
