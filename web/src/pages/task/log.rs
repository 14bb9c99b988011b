//! The log of a try: a window of it as lines with a number, a level and a time, and the whole of it to download.

use crate::extract::{MappedPath, Query, no_such_instance};
use crate::pages::run::{find, the_ledger};
use crate::parts::Ansi;
use crate::refusal::Refusal;
use crate::state::App;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures::stream::try_unfold;
use orch_store::instance::{TryRow, tries};
use orch_store::log::{Place, length, read, tail, window};
use serde_json::Value;
use sqlx::PgConnection;
use std::fmt::Write;
use uuid::Uuid;

pub(crate) struct Log {
    pub(crate) lines: Vec<Line>,
    /// Of all.
    pub(crate) total: i64,
    /// Number of the first line of the window before and behind this one.
    pub(crate) before: Option<i64>,
    pub(crate) after: Option<i64>,
    pub(crate) first_error: Option<i64>,
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
}

pub(crate) struct Line {
    pub(crate) number: i64,
    pub(crate) class: &'static str,
    pub(crate) level: String,
    /// `2026-11-20T05:37:52.004Z`
    pub(crate) datetime: String,
    pub(crate) time: String,
    pub(crate) text: Ansi,
}

/// What one page shows: some two thousand lines.
const WINDOW_BYTES: i64 = 256 * 1024;
const MOST_LINES: usize = 2_000;
/// One line may be a megabyte; nobody reads that on a page.
const LINE_CHARS: usize = 4_000;
/// Chunks of the end.
const TAIL_CHUNKS: i64 = 40;
const DOWNLOAD_BYTES: i64 = 512 * 1024;

/// `from`: the line to begin with; 0 means all if it is short, else the end.
pub(crate) async fn load(db: &mut PgConnection, run: Uuid, one: &TryRow, from: i64) -> Result<Log, Refusal> {
    let whole = length(db, run, one.attempt).await?;
    let (before, chunks) = if from == 0 && whole.bytes > WINDOW_BYTES {
        let chunks = tail(db, run, one.attempt, TAIL_CHUNKS).await?;
        let mut fits = 0_i64;
        let keep = chunks.iter().rev().take_while(|chunk| {
            fits += chunk.body.len() as i64;
            fits <= WINDOW_BYTES
        });
        let keep = keep.count().max(1).min(chunks.len());
        let chunks: Vec<_> = chunks.into_iter().rev().take(keep).rev().collect();
        let lines: i64 = chunks.iter().map(|chunk| i64::from(chunk.lines)).sum();
        ((whole.lines - lines).max(0), chunks)
    } else {
        window(db, run, one.attempt, from.max(1), WINDOW_BYTES).await?
    };
    let mut lines: Vec<Line> = Vec::new();
    for (place, text) in chunks.iter().flat_map(|chunk| chunk.body.lines()).enumerate().take(MOST_LINES) {
        lines.push(line(before + place as i64 + 1, text));
    }
    let last = before + lines.len() as i64;
    let count = |class| lines.iter().filter(|line| line.class == class).count();
    let page = lines.len().max(500) as i64;
    Ok(Log {
        total: whole.lines.max(last),
        before: (before > 0).then(|| (before - page).max(1)),
        after: (last < whole.lines && !lines.is_empty()).then_some(last + 1),
        first_error: lines.iter().find(|line| line.class == "error").map(|line| line.number),
        errors: count("error"),
        warnings: count("warn"),
        lines,
    })
}

fn line(number: i64, text: &str) -> Line {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else {
        let text = Ansi(short(text));
        return Line {
            number,
            class: "info",
            level: String::new(),
            datetime: String::new(),
            time: String::new(),
            text,
        };
    };
    let mut word = |name: &str| match fields.remove(name) {
        Some(Value::String(word)) => word,
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let (at, level, mut event) = (word("timestamp"), word("level").to_uppercase(), word("event"));
    word("logger");
    for (name, value) in fields {
        match value {
            Value::String(text) => write!(event, " {name}={text}"),
            other => write!(event, " {name}={other}"),
        }
        .expect("a string takes all");
    }
    let class = match level.as_str() {
        "ERROR" | "CRITICAL" | "FATAL" => "error",
        "WARN" | "WARNING" => "warn",
        "DEBUG" | "TRACE" => "debug",
        _ => "info",
    };
    let at = DateTime::parse_from_rfc3339(&at).ok().map(|at| at.with_timezone(&Utc));
    let written = |form: &str| at.map(|at| at.format(form).to_string()).unwrap_or_default();
    Line {
        number,
        class,
        level: level.replace("WARNING", "WARN"),
        datetime: written("%Y-%m-%dT%H:%M:%S%.3fZ"),
        time: written("%H:%M:%S%.3f"),
        text: Ansi(short(&event)),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LINE_CHARS) {
        None => text.into(),
        Some((end, _)) => format!("{} … {} bytes more, in the download", &text[..end], text.len() - end),
    }
}

/// `GET …/tasks/{task_id}/{map_index}/log?try=…`: the whole log as text, read a piece at a time.
pub(crate) async fn download(State(app): State<App>, path: MappedPath, query: Query) -> Result<Response, Refusal> {
    let MappedPath { task, map_index } = path;
    let (run, attempt, name) = {
        let mut db = app.pages().await?;
        let run = find(&mut db, &task.run).await?;
        let ledger = the_ledger(&app, &mut db, &run).await?;
        let missing = || no_such_instance(&task.run, &task.task_id, map_index);
        let index = ledger.version.plan.index_of(&task.task_id).ok_or_else(missing)?;
        let tries = tries(&mut db, run.id, index, map_index).await?;
        let one = super::chosen(&tries, &query).ok_or_else(|| Refusal::not_found("it has no such try"))?;
        (run.id, one.attempt, format!("{}-{}-try{}", run.dag_id, task.task_id, one.try_no))
    };
    let pieces = try_unfold((app, Place::START), move |(app, place)| async move {
        let chunks = {
            let mut db = app.pages().await.map_err(std::io::Error::other)?;
            read(&mut db, run, attempt, place, DOWNLOAD_BYTES).await.map_err(std::io::Error::other)?
        };
        let Some(last) = chunks.last() else { return Ok::<_, std::io::Error>(None) };
        let place = Place { lease_no: last.lease_no, seq: last.seq };
        let mut text = String::new();
        for line in chunks.iter().flat_map(|chunk| chunk.body.lines()) {
            readable(&mut text, line);
        }
        Ok(Some((Bytes::from(text), (app, place))))
    });
    // Ids hold nothing that means something in a header but what is left out here.
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.log\"")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// `2026-11-20T06:00:00.123Z INFO  loaded`
fn readable(text: &mut String, line: &str) {
    match serde_json::from_str(line) {
        Ok(Value::Object(mut fields)) => {
            let mut word = |name: &str| match fields.remove(name) {
                Some(Value::String(word)) => word,
                other => other.map(|other| other.to_string()).unwrap_or_default(),
            };
            let (at, level, event) = (word("timestamp"), word("level").to_uppercase(), word("event"));
            word("logger");
            write!(text, "{at} {level:<7} {event}").expect("a string takes all");
            for (name, value) in fields {
                write!(text, " {name}={value}").expect("a string takes all");
            }
        }
        _ => text.push_str(line),
    }
    text.push('\n');
}

impl Line {
    pub(crate) fn title(&self) -> String {
        self.datetime.replace('T', " ").replace('Z', " UTC")
    }
}

/// What the level of a line is called when it is folded into the words of the page.
pub(crate) fn levels() -> [(&'static str, &'static str); 4] {
    [("error", "Error"), ("warn", "Warn"), ("info", "Info"), ("debug", "Debug")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_from_json_and_anything_else_is_shown_as_it_is() {
        let read = line(7, r#"{"timestamp":"2026-11-20T05:37:52.004123Z","level":"warning","event":"a <b>","rows":3}"#);
        assert_eq!((read.number, read.class, read.level.as_str()), (7, "warn", "WARN"));
        assert_eq!((read.time.as_str(), read.title().as_str()), ("05:37:52.004", "2026-11-20 05:37:52.004 UTC"));
        assert_eq!(read.text.to_string(), "a &#60;b&#62; rows=3");
        let read = line(1, "no json");
        assert_eq!((read.class, read.text.to_string().as_str()), ("info", "no json"));
        let long = line(1, &"é".repeat(LINE_CHARS + 3)).text.to_string();
        assert!(long.ends_with("… 6 bytes more, in the download"), "{long}");
    }
}
