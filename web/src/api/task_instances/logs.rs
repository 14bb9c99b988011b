//! `…/logs/{try_number}`: the log of an attempt, as pages of JSON or as lines of JSON.

use super::Instance;
use super::tries::named;
use crate::extract::path_numbers::TRY_NUMBER;
use crate::extract::{Names, Query, query_params};
use crate::openapi::kinds::QueryParamType;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream;
use orch_store::instance::{TryRow, tries};
use orch_store::log::{Chunk, LogCursor, read, tail};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use uuid::Uuid;

/// Maximum size of a log page in JSON. The token in the response continues after it.
const PART_BYTES: i64 = 1 << 20;
/// Like [`PART_BYTES`], with `full_content`.
const FULL_BYTES: i64 = 16 << 20;
/// Workers ship log lines at least once a second. Reporting the end of a log earlier would hide its last lines.
const SHIPPED_WITHIN: TimeDelta = TimeDelta::milliseconds(1_200);
/// Response header with the token that continues a log in lines.
const TOKEN_HEADER: &str = "airflow-continuation-token";

query_params! {
    pub(crate) struct LogParams {
        /// More of it at once
        full_content: bool,
        /// Go on where an answer ended
        token: Option<String> as QueryParamType::Token,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LogPage {
    content: Vec<Value>,
    continuation_token: Option<String>,
}

pub(crate) async fn logs(
    State(app): State<App>,
    names: Names,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = names.number(TRY_NUMBER)?;
    let LogParams { full_content, token } = query.take();
    let token = token.filter(|token| !token.is_empty()).map(|token| parse(&token)).transpose()?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    let in_lines = accept.contains("application/x-ndjson");
    if !in_lines && !["application/json", "*/*", "application/*"].iter().any(|kind| accept.contains(kind)) {
        let text = "Only application/json or application/x-ndjson is supported";
        return Err(Refusal::plain(StatusCode::NOT_ACCEPTABLE, text));
    }
    let instance = named(&app, &names, &mut query).await?;
    let mut db = app.pages().await?;
    // The state is read before the log lines, so no line that was written before the end is missed.
    let found = tries(&mut db, instance.run.id, instance.row.task, instance.row.map_index).await?;
    let Some(one) = found.into_iter().rfind(|one| one.try_no == number) else {
        return not_begun(&instance, number, in_lines);
    };
    let after = match token {
        Some((attempt, place)) if attempt == one.attempt => place,
        // The attempt was restarted and has a new log.
        _ => LogCursor::START,
    };
    let is_over = one.ended_at.is_some() || one.state.is_finished();
    if is_over && let Some(rest) = one.ended_at.and_then(|ended| still_shipping(app.config.clock.now(), ended)) {
        drop(db);
        tokio::time::sleep(rest).await;
    } else {
        drop(db);
    }
    let old = app.recalled(instance.run.id, one.attempt).await?;
    if in_lines {
        return lines(app, instance.run.id, one, after, is_over).await;
    }
    let mut db = app.pages().await?;
    let most = if full_content { FULL_BYTES } else { PART_BYTES };
    let chunks = read(&mut db, instance.run.id, one.attempt, after, most).await?;
    let last = chunks.last().map_or(after, place);
    let more =
        !is_over || (!chunks.is_empty() && !read(&mut db, instance.run.id, one.attempt, last, 1).await?.is_empty());
    let old = old.filter(|_| after == LogCursor::START).map(|old| old.line());
    let content = old.into_iter().chain(chunks.iter().flat_map(|chunk| chunk.body.lines()).map(message)).collect();
    let continuation_token = more.then(|| token_of(one.attempt, last));
    Ok(Json(LogPage { content, continuation_token }).into_response())
}

/// Returns how long log lines of an attempt that has just ended may still be in transit.
fn still_shipping(now: DateTime<Utc>, ended: DateTime<Utc>) -> Option<Duration> {
    let rest = SHIPPED_WITHIN - (now - ended).clamp(TimeDelta::zero(), SHIPPED_WITHIN);
    rest.to_std().ok().filter(|rest| !rest.is_zero())
}

/// Returns an empty log for an attempt that has not started.
fn not_begun(instance: &Instance, number: i16, in_lines: bool) -> Result<Response, Refusal> {
    if number < 1 || number > instance.row.try_no.max(1) {
        return Err(Refusal::not_found("TaskInstance not found"));
    }
    let token = token_of(Uuid::nil(), LogCursor::START);
    if in_lines {
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::empty()).into_response());
    }
    Ok(Json(LogPage { content: Vec::new(), continuation_token: Some(token) }).into_response())
}

/// Streams the current log in parts, so memory use does not depend on the length of the log.
async fn lines(app: App, run: Uuid, one: TryRow, after: LogCursor, is_over: bool) -> Result<Response, Refusal> {
    let end = {
        let mut db = app.pages().await?;
        tail(&mut db, run, one.attempt, 1).await?.last().map_or(after, place)
    };
    let attempt = one.attempt;
    let parts = stream::try_unfold((app, after), move |(app, after)| async move {
        if after >= end {
            return Ok(None);
        }
        let part = async {
            let mut db = app.pages().await?;
            read(&mut db, run, attempt, after, PART_BYTES).await
        };
        let chunks = part.await.map_err(|error| {
            tracing::warn!(%error, "a log broke off");
            std::io::Error::other("the database cannot be used at the moment")
        })?;
        let Some(last) = chunks.last().map(place) else { return Ok(None) };
        let mut text = String::new();
        for line in chunks.iter().take_while(|chunk| place(chunk) <= end).flat_map(|chunk| chunk.body.lines()) {
            text.push_str(&message(line).to_string());
            text.push('\n');
        }
        Ok::<_, std::io::Error>(Some((Bytes::from(text), (app, last))))
    });
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(parts)).into_response();
    if !is_over && let Ok(token) = HeaderValue::from_str(&token_of(attempt, end)) {
        response.headers_mut().insert(TOKEN_HEADER, token);
    }
    Ok(response)
}

fn place(chunk: &Chunk) -> LogCursor {
    LogCursor { lease_no: chunk.lease_no, seq: chunk.seq }
}

/// Returns a log line in the format of Airflow's `StructuredLogMessage`. Other fields of the line are kept next to its
/// fields.
fn message(line: &str) -> Value {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else {
        return json!({ "event": line });
    };
    match fields.get("event") {
        Some(Value::String(_)) => {}
        Some(other) => {
            let words = other.to_string();
            fields.insert("event".into(), words.into());
        }
        None => {
            fields.insert("event".into(), "".into());
        }
    }
    if !fields.get("timestamp").is_none_or(is_moment) {
        fields.remove("timestamp");
    }
    Value::Object(fields.into_iter().collect::<Map<String, Value>>())
}

fn is_moment(value: &Value) -> bool {
    value.as_str().is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok())
}

fn token_of(attempt: Uuid, place: LogCursor) -> String {
    BASE64.encode(format!("{attempt}/{}/{}", place.lease_no, place.seq))
}

fn parse(token: &str) -> Result<(Uuid, LogCursor), Refusal> {
    let read = || {
        let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
        let mut parts = text.split('/');
        let attempt = parts.next()?.parse().ok()?;
        let place = LogCursor { lease_no: parts.next()?.parse().ok()?, seq: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some((attempt, place))
    };
    read().ok_or_else(|| Refusal::bad_request("Bad Signature. Please use only the tokens provided by the API."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_a_place_and_nothing_else_is_one() {
        let (attempt, place) = (Uuid::from_u128(7), LogCursor { lease_no: 2, seq: 40 });
        assert_eq!(parse(&token_of(attempt, place)).ok(), Some((attempt, place)));
        for wrong in ["", "x", "e30", &BASE64.encode("a/1/2"), &BASE64.encode(format!("{attempt}/1/2/3"))] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_end_of_a_log_is_told_when_its_last_lines_have_come() {
        let now = DateTime::from_timestamp(1_000, 0).expect("a moment");
        let ended = |ms| still_shipping(now, now - TimeDelta::milliseconds(ms));
        assert_eq!((ended(1_200), ended(90_000)), (None, None));
        assert_eq!((ended(200), ended(-5_000)), (Some(Duration::from_secs(1)), Some(Duration::from_millis(1_200))));
    }

    #[test]
    fn every_line_is_a_message() {
        assert_eq!(message("no JSON"), json!({ "event": "no JSON" }));
        assert_eq!(message(r#"{"event": 5, "timestamp": "soon"}"#), json!({ "event": "5" }));
        let line = json!({ "event": "a", "timestamp": "2026-11-20T06:00:00Z", "rows": 7 });
        assert_eq!(message(&line.to_string()), line);
    }
}
