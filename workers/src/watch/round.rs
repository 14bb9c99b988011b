//! One round of pokes. Equal conditions of several attempts are polled once, and the result is distributed to all of
//! them.

use super::eyes::WorkerEyes;
use crate::logs::LogLine;
use crate::mask;
use futures::FutureExt;
use orch_sdk::task::{BoxFuture, ConditionResult, Eyes, LogLevel, TaskError, TaskResult, WaitEnd};
use orch_spec::text::{MOST_DEPTH, Text, is_too_deep};
use orch_store::log::NewChunk;
use orch_store::output::MAX_BYTES;
use orch_store::watch::{ConditionOutcome, Watched, WatchedOutcome};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Timeout for a single poke.
const LOOK: Duration = Duration::from_secs(25);
/// Number of consecutive failed pokes after which the wait fails.
const MOST_ERRORS: i32 = 10;
/// First sequence number of log chunks that are written while an attempt is deferred. It is high, so that these chunks
/// sort after the chunks of the task function.
const LATER_SEQ: i32 = 1_000_000_000;
/// Maximum size of the value that a condition returns, which is stored with the attempt. Large data should not be
/// copied.
const MOST_VALUE_BYTES: usize = 256 * 1024;

/// Conditions of one type that are polled together, each with the attempts that wait for it.
pub(super) struct Question {
    kind: String,
    groups: Vec<(Value, Vec<Watched>)>,
}

/// Results of a poke, each with an optional line for the log of its attempt.
pub(super) type Looked = Vec<(WatchedOutcome, Option<NewChunk>)>;

#[derive(Default)]
pub(super) struct Looks {
    running: JoinSet<Looked>,
}

impl Looks {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn begin(&mut self, question: Question, eyes: &WorkerEyes) {
        let eyes = eyes.clone();
        self.running.spawn(async move { ask(question, eyes).await });
    }

    /// Waits for the next poke to finish. Returns `None` if no poke is running.
    pub(super) async fn next(&mut self) -> Option<Looked> {
        // `ask` catches panics, so a poke fails only if it was aborted. Its result is not needed then.
        self.running.join_next().await.map(Result::unwrap_or_default)
    }

    pub(super) fn try_next(&mut self) -> Option<Looked> {
        self.running.try_join_next().map(Result::unwrap_or_default)
    }
}

/// Groups conditions into pokes. If a condition type can poll many configs together, there is one poke per type,
/// otherwise one per config.
pub(super) fn questions(taken: Vec<Watched>, eyes: &WorkerEyes) -> VecDeque<Question> {
    let mut by_kind: BTreeMap<String, BTreeMap<String, Vec<Watched>>> = BTreeMap::new();
    for watched in taken {
        let config = watched.config.clone().unwrap_or_else(|| "null".into());
        by_kind.entry(watched.kind.clone()).or_default().entry(config).or_default().push(watched);
    }
    let mut questions = VecDeque::new();
    for (kind, groups) in by_kind {
        let read = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
        let groups: Vec<(Value, Vec<Watched>)> =
            groups.into_iter().map(|(config, watched)| (read(&config), watched)).collect();
        let configs: Vec<Value> = groups.iter().map(|(config, _)| config.clone()).collect();
        let shared: Arc<dyn Eyes> = Arc::new(eyes.clone());
        let at_once = groups.len() > 1
            && eyes.condition(&kind).is_some_and(|condition| condition.poke_together(&configs, &shared).is_some());
        if at_once {
            questions.push_back(Question { kind, groups });
        } else {
            questions.extend(groups.into_iter().map(|group| Question { kind: kind.clone(), groups: vec![group] }));
        }
    }
    questions
}

async fn ask(question: Question, eyes: WorkerEyes) -> Looked {
    let Question { kind, groups } = question;
    let configs: Vec<Value> = groups.iter().map(|(config, _)| config.clone()).collect();
    let looking = tokio::time::timeout(LOOK, AssertUnwindSafe(poke_all(&kind, configs, eyes)).catch_unwind());
    let seen = match looking.await {
        Ok(Ok(Ok(looks))) if looks.len() == groups.len() => looks,
        Ok(Ok(Ok(_))) => same(groups.len(), "the condition answered another number of questions"),
        Ok(Ok(Err(error))) => {
            let error = TaskError::from(error);
            (0..groups.len()).map(|_| Err(again(&error))).collect()
        }
        Ok(Err(_)) => same(groups.len(), "looking panicked"),
        Err(_) => same(groups.len(), &format!("looking took longer than {LOOK:?}")),
    };
    let mut jitter = Jitter::default();
    let groups = groups.into_iter().map(|(_, watched)| watched).zip(seen);
    groups.flat_map(|(watched, look)| answers(watched, look, &mut jitter)).collect()
}

async fn poke_all(kind: &str, configs: Vec<Value>, eyes: WorkerEyes) -> TaskResult<Vec<ConditionResult>> {
    let shared: Arc<dyn Eyes> = Arc::new(eyes.clone());
    let Some(condition) = eyes.condition(kind).cloned() else {
        anyhow::bail!("no condition of kind `{kind}` is known here");
    };
    if configs.len() > 1
        && let Some(all) = condition.poke_together(&configs, &shared)
    {
        return all.await;
    }
    let looks: Vec<BoxFuture<ConditionResult>> =
        configs.into_iter().map(|config| condition.poke(config, shared.clone())).collect();
    Ok(futures::future::join_all(looks).await)
}

fn same(many: usize, problem: &str) -> Vec<ConditionResult> {
    (0..many).map(|_| Err(anyhow::Error::msg(problem.to_string()))).collect()
}

/// Copies an error, for each config that was polled together.
fn again(error: &TaskError) -> anyhow::Error {
    match error {
        TaskError::Fatal { causes } => orch_sdk::task::fatal(causes.join(": ")),
        TaskError::Skipped { reason } => orch_sdk::task::skip(reason.clone()),
        other => anyhow::Error::msg(other.to_string()),
    }
}

/// Converts the result of one poke to a result for each attempt that waits for it.
fn answers(watched: Vec<Watched>, look: ConditionResult, jitter: &mut Jitter) -> Looked {
    let look = look.map_err(TaskError::from);
    let found = |one: &Watched, jitter: &mut Jitter| match &look {
        Ok(None) => ConditionOutcome::NotYet { next_ms: jitter.after(one.poke_ms) },
        Ok(Some(value)) => ConditionOutcome::End(met(value)),
        Err(TaskError::Skipped { reason }) => ConditionOutcome::End(WaitEnd::Skipped(mask_text(reason))),
        Err(TaskError::Fatal { causes }) => ConditionOutcome::End(failed(causes, true)),
        Err(TaskError::Deferred { .. }) => {
            ConditionOutcome::End(failed(&["a condition cannot be deferred".into()], true))
        }
        Err(TaskError::Retryable { causes }) if one.errors + 1 >= MOST_ERRORS => {
            let times = format!("looking failed {} times in a row", one.errors + 1);
            ConditionOutcome::End(failed(&[&[times], &causes[..]].concat(), false))
        }
        Err(TaskError::Retryable { causes }) => {
            ConditionOutcome::Error { next_ms: jitter.after(one.poke_ms), error: mask_text(&causes.join(": ")) }
        }
    };
    let answer = |one: Watched| {
        let found = found(&one, jitter);
        let line = line(&one, &found);
        (WatchedOutcome { run: one.run, task: one.task, map_index: one.map_index, looks: one.looks, found }, line)
    };
    watched.into_iter().map(answer).collect()
}

/// Returns a line for the log of the waiting attempt if the error differs from the previous one. The line sorts after
/// the lines that were written before the deferral.
fn line(of: &Watched, found: &ConditionOutcome) -> Option<NewChunk> {
    let ConditionOutcome::Error { error, .. } = found else { return None };
    if of.last_error.as_ref() == Some(error) {
        return None;
    }
    let text = format!("looking at what it waits for failed, and is tried again: {error}");
    let line = LogLine::new(LogLevel::Warning, "orch", text, Map::new());
    Some(NewChunk {
        run: of.run,
        attempt: of.attempt,
        lease_no: of.lease_no - 1,
        seq: LATER_SEQ + of.looks,
        lines: 1,
        body: line.to_json() + "\n",
    })
}

fn met(value: &Value) -> WaitEnd {
    if is_too_deep(value) {
        return failed(&[format!("what the condition gave is nested more than {MOST_DEPTH} deep")], true);
    }
    let text = value.to_string();
    if text.len() > MOST_VALUE_BYTES.min(MAX_BYTES) {
        let problem = format!("the condition gave {} bytes, more than {MOST_VALUE_BYTES}", text.len());
        return failed(&[problem], true);
    }
    WaitEnd::Met(value.clone())
}

fn failed(causes: &[String], for_good: bool) -> WaitEnd {
    WaitEnd::Failed { cause: mask_text(&causes.join(": ")), for_good }
}

/// Returns a message in its stored form, for comparison with the previous message.
fn mask_text(text: &str) -> String {
    Text::new(mask::mask(text)).into_string()
}

/// Generates random delays, so that pokes that start together do not stay synchronized.
struct Jitter(u64);

impl Default for Jitter {
    fn default() -> Self {
        Jitter(RandomState::new().build_hasher().finish())
    }
}

impl Jitter {
    /// Returns the poke interval plus up to a tenth of it.
    fn after(&mut self, poke_ms: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let poke = poke_ms.max(1);
        poke.saturating_add((self.0 >> 33) as i64 % (poke / 10 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_sdk::task::{fatal, skip};
    use serde_json::json;
    use uuid::Uuid;

    fn watched(errors: i32) -> Watched {
        Watched {
            run: Uuid::nil(),
            task: 0,
            map_index: -1,
            attempt: Uuid::nil(),
            lease_no: 2,
            looks: 7,
            kind: "test".into(),
            config: None,
            poke_ms: 1_000,
            errors,
            last_error: None,
        }
    }

    fn check(look: ConditionResult, errors: i32, expected: &str) {
        let (answer, line) = answers(vec![watched(errors)], look, &mut Jitter::default()).remove(0);
        assert_eq!(line.is_some(), expected.starts_with("error"));
        let word = match answer.found {
            ConditionOutcome::NotYet { next_ms } if (1_000..=1_100).contains(&next_ms) => "not yet".into(),
            ConditionOutcome::Error { next_ms, error } if (1_000..=1_100).contains(&next_ms) => {
                format!("error: {error}")
            }
            ConditionOutcome::End(end) => serde_json::to_string(&end).expect("it is data"),
            other => format!("{other:?}"),
        };
        assert_eq!(word, expected);
    }

    #[test]
    fn a_look_is_answered() {
        check(Ok(None), 3, "not yet");
        check(Ok(Some(json!(7))), 3, r#"{"met":7}"#);
        check(Err(anyhow::anyhow!("no route")), 0, "error: no route");
        check(Err(skip("holiday")), 0, r#"{"skipped":"holiday"}"#);
        check(Err(fatal("no such table")), 0, r#"{"failed":{"cause":"no such table","for_good":true}}"#);
        let often = r#"{"failed":{"cause":"looking failed 10 times in a row: no route","for_good":false}}"#;
        check(Err(anyhow::anyhow!("no route")), 9, often);
    }
}
