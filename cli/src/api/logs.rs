//! Requests about the attempts of a task instance and their logs.

use super::{Api, ApiReply, Query, ask, encoded, refused};
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_spec::state::TaskState;
use orch_store::instance::InstanceRow;
use orch_store::run::RunDetails;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Field of the first line that contains the location of an archived log.
const ARCHIVE: &str = "orch.archive";

/// An attempt, and its error if it failed.
#[derive(Debug, Deserialize)]
pub(crate) struct TaskTry {
    /// Unique, unlike the number: an attempt that is restarted keeps its number.
    pub(crate) attempt_id: Uuid,
    pub(crate) try_number: i16,
    pub(crate) state: Option<TaskState>,
    end_date: Option<DateTime<Utc>>,
    /// Kind of failure: `retryable`, `fatal`, …
    pub(crate) failure: Option<String>,
    pub(crate) causes: Vec<String>,
}

impl TaskTry {
    pub(crate) fn is_over(&self) -> bool {
        self.end_date.is_some() || self.state.is_some_and(TaskState::is_finished)
    }
}

/// Position in a log where the next read starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogPlace {
    Start,
    /// Continuation token of the previous response.
    Behind(String),
    /// The attempt has finished and its log was read completely.
    End,
}

#[derive(Debug)]
pub(crate) struct LogPart {
    pub(crate) old: Option<OldLog>,
    pub(crate) lines: Vec<Map<String, Value>>,
    pub(crate) next: LogPlace,
}

/// Location of a log that was moved from the database to an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OldLog {
    /// The server has read it from this location.
    Read(String),
    /// The log is at this location, but the server cannot read it.
    Away(String),
}

impl Api {
    /// Lists the attempts of an instance, oldest first.
    pub(crate) async fn tries(&self, run: &RunDetails, instance: &InstanceRow) -> Result<Vec<TaskTry>, Failure> {
        let (dag_id, run_id, task_id) = (encoded(&run.dag_id), encoded(&run.run_id), encoded(&instance.task_id));
        let path = format!("dags/{dag_id}/runs/{run_id}/tasks/{task_id}/tries?map_index={}", instance.map_index);
        match self.get_extra(&path).await? {
            ApiReply::Found(found) => Vec::deserialize(&found["tries"]).map_err(|_| self.strange()),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Returns the next part of a log, about 1 MB. No lines mean that there are no more lines so far.
    pub(crate) async fn log(
        &self,
        run: &RunDetails,
        instance: &InstanceRow,
        try_number: i16,
        place: &LogPlace,
    ) -> Result<LogPart, Failure> {
        let query = Query::default().with("map_index", instance.map_index);
        let query = match place {
            LogPlace::Behind(token) => query.with("token", token),
            LogPlace::Start | LogPlace::End => query,
        };
        let path = format!("{}/{}/logs/{try_number}", ask::of_run(run), encoded(&instance.task_id));
        match self.get(&path, &query).await? {
            ApiReply::Found(found) => part(found).ok_or_else(|| self.strange()),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}

#[derive(Deserialize)]
struct Page {
    content: Vec<Map<String, Value>>,
    continuation_token: Option<String>,
}

fn part(found: Value) -> Option<LogPart> {
    let Page { content: mut lines, continuation_token } = Page::deserialize(found).ok()?;
    let old = lines.first().and_then(old_log);
    if old.is_some() {
        lines.remove(0);
    }
    Some(LogPart { old, lines, next: continuation_token.map_or(LogPlace::End, LogPlace::Behind) })
}

fn old_log(line: &Map<String, Value>) -> Option<OldLog> {
    let word = |name| line.get(name).and_then(Value::as_str);
    let place = word("place").filter(|_| word("logger") == Some(ARCHIVE))?.to_owned();
    Some(if word("level") == Some("error") { OldLog::Away(place) } else { OldLog::Read(place) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_an_old_log_was_found_is_no_line_of_it() {
        let archived = |level: &str| json!({ "event": "…", "level": level, "logger": ARCHIVE, "place": "file:///a" });
        for (first, expected) in [
            (archived("info"), Some(OldLog::Read("file:///a".into()))),
            (archived("error"), Some(OldLog::Away("file:///a".into()))),
            (json!({ "event": "said", "place": "file:///a" }), None),
        ] {
            let found = json!({ "content": [first, { "event": "loaded" }], "continuation_token": null });
            let part = part(found).expect("it is a page");
            assert_eq!(part.lines.len(), 1 + usize::from(expected.is_none()));
            assert_eq!((part.old, part.next), (expected, LogPlace::End));
        }
    }
}
