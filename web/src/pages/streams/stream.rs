//! `/streams/{stream_name}`: the progress of a stream in each partition, its activity in the last hours, the reason
//! why it stopped, and the buttons that control it.

use super::{count, href, icon_of};
use crate::api::streams::{USUAL_HOURS, declared, forget, named, steer, topic_note};
use crate::extract::{Actor, Form, Names};
use crate::pages::topics::cluster;
use crate::pages::{Shell, encoded, html, lake, see_other};
use crate::parts::{self, Chart, ChartType, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use orch_deeds::stream::Steer;
use orch_store::lake_view::TableId;
use orch_store::stream::{
    CapturePhase, CapturePosition, PartitionOfStream, Reset, ResetTo, StreamMinute, StreamRow, StreamState,
    minutes_of_stream, partitions_of_stream,
};
use std::collections::HashMap;

#[derive(Template)]
#[template(path = "pages/streams/stream.html")]
struct StreamPage {
    shell: Shell,
    row: StreamRow,
    href: String,
    state: parts::State,
    said: &'static str,
    sign: &'static str,
    /// `None` if the topic is a file or not known yet.
    topic_href: Option<String>,
    /// Target of the stream: a table, or a DAG whose runs it starts.
    target: &'static str,
    table_href: Option<String>,
    quarantine_href: Option<String>,
    started: Option<parts::Ago>,
    figures: Vec<(&'static str, String)>,
    committed: Option<parts::Ago>,
    newest: Option<parts::Ago>,
    failed: Option<parts::Ago>,
    again: Option<parts::Ago>,
    /// Position at which the stream continues when it runs again.
    waits: Option<String>,
    /// Other settings from the bundle.
    spec: Vec<(String, String)>,
    partitions: Vec<PartitionOfStream>,
    charts: Option<[(&'static str, Chart); 2]>,
    hours: i64,
    topic_note: Option<String>,
    /// Why the form was rejected, and its values.
    problem: Option<String>,
    wish: StreamResetForm,
}

/// Values of the form that resets the stream's position.
#[derive(Default)]
struct StreamResetForm {
    to: String,
    offset: String,
    time: String,
    partition: String,
    empty_table: bool,
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    page(&app, shell, names.get("stream_name"), (StreamResetForm::default(), None)).await
}

/// `POST`: pauses, resumes, restarts, resets or forgets the stream.
pub(crate) async fn steer_it(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let name = names.get("stream_name");
    let wanted = match form.text("do") {
        Some("pause") => Steer::Pause,
        Some("resume") => Steer::Resume,
        Some("restart") => Steer::Restart,
        Some("reset") => {
            let text = |name| form.text(name).unwrap_or_default().trim().to_string();
            let [to, offset, time, partition] = ["to", "offset", "time", "partition"].map(text);
            let wish = StreamResetForm { to, offset, time, partition, empty_table: form.text("empty_table").is_some() };
            let refused = match wish.read(shell.now) {
                Ok(reset) => match steer(&app, &actor, name, &Steer::Reset(reset)).await {
                    Ok(_) => return Ok(see_other(&href(name))),
                    Err(Refusal::Plain { status: StatusCode::CONFLICT, text }) => text.into_owned(),
                    Err(refusal) => return Err(refusal),
                },
                Err(why) => why.into(),
            };
            return page(&app, shell, name, (wish, Some(refused))).await;
        }
        Some("delete") => {
            forget(&app, &actor, name).await?;
            return Ok(see_other("/streams"));
        }
        _ => return Err(Refusal::bad_request("do is one of pause, resume, restart, reset and delete")),
    };
    steer(&app, &actor, name, &wanted).await?;
    Ok(see_other(&href(name)))
}

impl StreamResetForm {
    fn read(&self, now: ZonedNow) -> Result<Reset, &'static str> {
        let to = match self.to.as_str() {
            "earliest" => ResetTo::Earliest,
            "latest" => ResetTo::Latest,
            "offset" => {
                let offset = self.offset.parse().ok().filter(|offset| *offset >= 0);
                ResetTo::Offset(offset.ok_or("an offset is a whole number from 0 on")?)
            }
            "time" => ResetTo::Time(now.typed(&self.time).ok_or("a time is written as 2026-11-22T06:00")?.first),
            _ => return Err("choose where it goes on reading"),
        };
        let partition = match self.partition.as_str() {
            "" => None,
            number => Some(number.parse().map_err(|_| "a partition is a number from 0 on")?),
        };
        Ok(Reset { partition, to, empty_table: self.empty_table })
    }
}

async fn page(
    app: &App,
    shell: Shell,
    name: &str,
    (wish, problem): (StreamResetForm, Option<String>),
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let row = named(&mut db, name).await?;
    let partitions = partitions_of_stream(&mut db, name).await?;
    let minutes = minutes_of_stream(&mut db, name, i32::try_from(USUAL_HOURS * 60).unwrap_or(i32::MAX)).await?;
    let topic_note = topic_note(&mut db, &row, &partitions).await?;
    // The first commit creates the table.
    let has_table = row.commits > 0 && app.config.lake.is_there();
    let table: Option<TableId> = row.lake_table().and_then(|table| table.parse().ok()).filter(|_| has_table);
    let ago = |at: Option<DateTime<Utc>>| at.map(|at| parts::ago(at, shell.now));
    let state = row.state();
    let icon = icon_of(state);
    let dag = row.spec["starts_runs_of"].as_str();
    let beside = row.spec["quarantine_topic"].as_str().map(|topic| format!("/topics/{}/records", encoded(topic)));
    let told = ["topic", "table", "starts_runs_of", "quarantine_topic"];
    let spec = declared(&row).filter(|(name, _)| !told.contains(&name.as_str()));
    let spec = spec.map(|(name, text)| (title(name), text)).chain(captured(&row)).collect();
    let page = StreamPage {
        href: href(name),
        state: parts::bare(icon),
        said: state.name(),
        sign: parts::sign(icon),
        topic_href: match row.cluster() {
            Some(id) => Some(cluster::topic_href(id, row.topic())).filter(|_| !row.is_capture()),
            None => row.reads_log().then(|| format!("/topics/{}/records", encoded(row.topic()))),
        },
        target: if dag.is_some() { "Runs of" } else { "Table" },
        table_href: dag.map(|dag| format!("/dags/{}", encoded(dag))).or_else(|| table.as_ref().map(lake::href)),
        quarantine_href: beside
            .or_else(|| table.map(|id| lake::href(&id.quarantine())))
            .filter(|_| row.quarantined > 0),
        started: ago(row.started_at.filter(|_| state == StreamState::Running)),
        figures: vec![
            (if row.is_capture() { "Lag in bytes" } else { "Lag" }, count(row.lag)),
            ("Records in the last hour", count(row.records_last_hour)),
            ("Records in all", count(row.records)),
            ("In quarantine", count(row.quarantined)),
        ],
        committed: ago(row.last_commit_at),
        newest: ago(row.last_record_at),
        failed: ago(row.failed_at),
        again: ago(row.retry_at.filter(|_| state == StreamState::Failed)),
        waits: row.reset_to.clone().and_then(|to| serde_json::from_value(to).ok()).map(|to| place(&to, shell.now)),
        spec,
        charts: charts(&minutes, &row, shell.now),
        hours: USUAL_HOURS,
        partitions,
        topic_note,
        problem,
        wish,
        row,
        shell,
    };
    let status = if page.problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    html(status, &page)
}

/// Returns the position of a capture in the log of its source.
fn captured(row: &StreamRow) -> Vec<(String, String)> {
    let Some(position) = row.capture.clone().and_then(|at| serde_json::from_value::<CapturePosition>(at).ok()) else {
        return Vec::new();
    };
    let phase = match position.phase {
        CapturePhase::Snapshot => "reads the rows that were there",
        CapturePhase::Changes => "follows the changes",
    };
    let mut told = vec![("Phase", phase.to_string()), ("Position", position.format_position())];
    told.extend(position.lag_ms.map(|lag| ("Delay", format!("{} s at its last commit", seconds(lag)))));
    if !position.missing.is_empty() {
        told.push(("Tables that are gone", position.missing.join(", ")));
    }
    told.into_iter().map(|(name, text)| (name.to_string(), text)).collect()
}

fn seconds(ms: i64) -> String {
    format!("{}.{}", ms / 1_000, ms % 1_000 / 100)
}

/// Returns the label of a field: `commit_every_ms` becomes `Commit every ms`.
fn title(field: &str) -> String {
    let words = field.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Returns the position at which a reset stream continues, as text.
fn place(reset: &Reset, now: ZonedNow) -> String {
    let from = match &reset.to {
        ResetTo::Earliest => "the oldest record that is kept".to_string(),
        ResetTo::Latest => "what came since then".into(),
        ResetTo::Offset(offset) => format!("offset {offset}"),
        ResetTo::Time(at) => format!("the first record from {} on", now.exactly(*at)),
    };
    match reset.partition {
        Some(partition) => format!("{from} of partition {partition}"),
        None if reset.empty_table => format!("{from}, with an empty table"),
        None => from,
    }
}

/// Returns charts of records and lag per minute. A minute without a commit has no records and the previous lag.
fn charts(minutes: &[StreamMinute], row: &StreamRow, now: ZonedNow) -> Option<[(&'static str, Chart); 2]> {
    let first = minutes.first()?.minute;
    let known: HashMap<DateTime<Utc>, &StreamMinute> = minutes.iter().map(|minute| (minute.minute, minute)).collect();
    let last = now.at.duration_trunc(TimeDelta::minutes(1)).ok()?.max(first);
    let (mut records, mut lags) = (Vec::new(), Vec::new());
    let (mut at, mut lag) = (first, 0);
    while at <= last {
        let minute = known.get(&at);
        // The current minute has the current lag, which includes records that arrived since the last commit.
        lag = if at == last { row.lag } else { minute.map_or(lag, |minute| minute.lag) };
        let word = now.written(at, "%Y-%m-%d %H:%M");
        records.push((word.clone(), Some(minute.map_or(0, |minute| minute.records) as f64)));
        lags.push((word, Some(lag as f64)));
        at += TimeDelta::minutes(1);
    }
    Some([
        ("Records a minute", Chart::new(ChartType::Bars, "Records a minute".into(), records)?),
        ("Lag", Chart::new(ChartType::Line, "Records not yet in the table, minute by minute".into(), lags)?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_where_to_go_on_or_what_is_wrong_with_it() {
        let read = |to: &str, value: &str, partition: &str| {
            let text = String::from;
            let wish =
                StreamResetForm { to: text(to), offset: text(value), time: text(value), ..StreamResetForm::default() };
            StreamResetForm { partition: text(partition), ..wish }.read(ZonedNow::utc(DateTime::UNIX_EPOCH))
        };
        let six = DateTime::from_timestamp(1_795_327_200, 0).expect("it is a time");
        for (to, value, partition, meant) in [
            ("earliest", "", "", Ok((None, ResetTo::Earliest))),
            ("latest", "x", "2", Ok((Some(2), ResetTo::Latest))),
            ("offset", "17", "0", Ok((Some(0), ResetTo::Offset(17)))),
            ("offset", "-1", "0", Err("an offset")),
            ("offset", "", "0", Err("an offset")),
            ("time", "2026-11-22T06:00", "", Ok((None, ResetTo::Time(six)))),
            ("time", "2026-11-22T06:00:00.000", "", Ok((None, ResetTo::Time(six)))),
            ("time", "yesterday", "", Err("a time")),
            ("earliest", "", "a", Err("a partition")),
            ("", "", "", Err("choose")),
        ] {
            match (read(to, value, partition), meant) {
                (Ok(reset), Ok((partition, to))) => assert_eq!(reset, Reset { partition, to, empty_table: false }),
                (Err(why), Err(words)) => assert!(why.starts_with(words), "{why}"),
                (found, _) => panic!("{to} {value} {partition}: {found:?}"),
            }
        }
    }
}
