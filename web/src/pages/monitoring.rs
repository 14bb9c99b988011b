//! `/monitoring`: trends over hours and weeks: throughput, delays, stale assets, failures and resource use.

use super::streams::{self, icon_of};
use super::{Shell, html};
use crate::health::SCHEDULER_SILENT_SECS;
use crate::parts::{self, Chart, ChartType, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use orch_store::asset::{WatchedAsset, watched_assets};
use orch_store::list::Search;
use orch_store::monitor::{AlertCount, CheckWeek, DagWeek, Hour, alert_counts, check_weeks, dag_weeks, hours};
use orch_store::process::{ProcessRow, list_processes};
use orch_store::stream::{StreamRow, StreamState, find_streams};
use orch_store::transaction::{OldestTransaction, oldest_transaction};
use orch_store::worker::{WorkerRow, list_workers};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Template)]
#[template(path = "pages/monitoring.html")]
struct MonitoringPage {
    shell: Shell,
    transaction: Option<TransactionLine>,
    figures: Vec<Figure>,
    charts: Vec<(&'static str, Chart)>,
    dags: Vec<DagLine>,
    weeks: Vec<String>,
    assets: Vec<AssetLine>,
    streams: Vec<StreamLine>,
    processes: Vec<ProcessLine>,
    checks: Vec<CheckLine>,
    alerts: Vec<AlertLine>,
}

/// Session whose transaction has been open for too long.
struct TransactionLine {
    pid: i32,
    user: String,
    application_name: String,
    client: String,
    age: String,
    state: String,
}

/// A number at the top of the page, with its label.
struct Figure {
    words: &'static str,
    number: String,
    /// Icon of a state.
    state: parts::State,
    href: &'static str,
}

/// Weeks of a DAG; `None` for a week without runs.
struct DagLine {
    name: String,
    href: String,
    weeks: Vec<Option<Week>>,
}

struct Week {
    state: parts::State,
    /// Number of runs, such as `142 runs`.
    runs: String,
    /// Problems, such as `3 failed, 1 late`.
    trouble: String,
    p95: String,
}

struct AssetLine {
    name: String,
    state: parts::State,
    said: &'static str,
    updated: Option<parts::Ago>,
    promised: Option<String>,
}

struct StreamLine {
    name: String,
    href: String,
    state: parts::State,
    said: &'static str,
    lag: String,
    records: String,
    committed: Option<parts::Ago>,
}

/// A process. It can have several roles.
#[derive(Debug, Default, PartialEq, Eq)]
struct ProcessLine {
    roles: Vec<String>,
    place: String,
    memory_mb: i32,
    slots: i32,
    running: i32,
}

struct CheckLine {
    week: String,
    state: parts::State,
    checks: String,
    failed: i64,
    quarantined: i64,
}

struct AlertLine {
    what: String,
    alerts: i64,
    lost: i64,
    last: parts::Ago,
}

const HOURS: i64 = 48;
const WEEKS: i64 = 4;
/// Maximum number of assets among which the stalest are selected.
const MOST_WATCHED: i64 = 500;
/// Maximum number of rows in each table of the page.
const MOST_DAGS: i64 = 20;
const MOST_ASSETS: usize = 20;
const MOST_STREAMS: usize = 20;
const MOST_PROCESSES: usize = 20;
/// Age from which an open transaction is shown. After some minutes, runs become measurably slower.
const OLD_TRANSACTION: TimeDelta = TimeDelta::seconds(60);

pub(crate) async fn show(State(app): State<App>, shell: Shell) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let now = shell.now;
    let (since, weeks_since) = (now.at - TimeDelta::hours(HOURS), now.at - TimeDelta::weeks(WEEKS));
    let hours = hours(&mut db, since).await?;
    let weeks = dag_weeks(&mut db, weeks_since, MOST_DAGS).await?;
    let checks = check_weeks(&mut db, weeks_since).await?;
    let alerts = alert_counts(&mut db, weeks_since).await?;
    let assets = watched_assets(&mut db, MOST_WATCHED).await?;
    let streams = find_streams(&mut db, &Search::default()).await?.rows;
    let workers = list_workers(&mut db).await?;
    let processes = list_processes(&mut db).await?;
    // Viewers must not see names of database users and addresses of clients.
    let transaction = if shell.can_operate() { oldest_transaction(&mut db).await? } else { None };
    drop(db);
    let (titles, dags) = levels(&weeks);
    let page = MonitoringPage {
        transaction: transaction.and_then(|oldest| transaction_line(oldest, now)),
        figures: figures(&hours, &assets, &streams, &workers),
        charts: charts(&hours, now),
        weeks: titles,
        dags,
        assets: stalest(assets, now),
        streams: slowest(&streams, now),
        processes: largest(&processes, &workers),
        checks: checks.iter().map(check_line).collect(),
        alerts: alerts.iter().map(|count| alert_line(count, now)).collect(),
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns `None` if the transaction is younger than `OLD_TRANSACTION`.
fn transaction_line(oldest: OldestTransaction, now: ZonedNow) -> Option<TransactionLine> {
    let age = now.at - oldest.started_at;
    let named = |name: String| if name.is_empty() { "unknown".into() } else { name };
    (age >= OLD_TRANSACTION).then(|| TransactionLine {
        pid: oldest.pid,
        user: named(oldest.user),
        application_name: named(oldest.application_name),
        client: oldest.client_address.unwrap_or_else(|| "Unix domain socket".into()),
        age: parts::duration(age),
        state: named(oldest.state),
    })
}

fn figures(hours: &[Hour], assets: &[WatchedAsset], streams: &[StreamRow], workers: &[WorkerRow]) -> Vec<Figure> {
    let day = &hours[hours.len().saturating_sub(24)..];
    let of_day = |of: fn(&Hour) -> i64| day.iter().map(of).sum::<i64>();
    let failed_streams = streams.iter().filter(|row| row.state() == StreamState::Failed).count();
    let stale = assets.iter().filter(|asset| asset.stale_since.is_some()).count();
    let alive = workers.iter().filter(|worker| worker.state == "running");
    let (slots, running) =
        alive.fold((0, 0), |(slots, running), worker| (slots + worker.slots, running + worker.running));
    let good = |is_good: bool| parts::bare(if is_good { "success" } else { "failed" });
    let figure = |words, number, state, href| Figure { words, number, state, href };
    let failed = of_day(|hour| hour.failed);
    let quarantined = of_day(|hour| hour.quarantined);
    vec![
        figure("Rows and records, 24 hours", count(of_day(|hour| hour.rows + hour.records)), good(true), "/assets"),
        figure("Failed runs, 24 hours", count(failed), good(failed == 0), "/runs?state=failed"),
        figure("Stale assets", stale.to_string(), good(stale == 0), "/quality"),
        figure("Failed streams", failed_streams.to_string(), good(failed_streams == 0), "/streams"),
        figure("Quarantined records, 24 hours", count(quarantined), good(quarantined == 0), "/streams"),
        figure("Busy slots", format!("{running} of {slots}"), good(slots > 0), "/workers"),
    ]
}

fn charts(hours: &[Hour], now: ZonedNow) -> Vec<(&'static str, Chart)> {
    let chart = |title: &'static str, of: fn(&Hour) -> i64| {
        if hours.iter().all(|hour| of(hour) == 0) {
            return None;
        }
        let points = hours.iter().map(|hour| (now.written(hour.hour, "%Y-%m-%d %H:%M"), Some(of(hour) as f64)));
        Some((title, Chart::new(ChartType::Bars, title.into(), points.collect())?))
    };
    let all = [
        chart("Rows that tasks wrote, hour by hour", |hour| hour.rows),
        chart("Records that streams published, hour by hour", |hour| hour.records),
        chart("Runs that failed, hour by hour", |hour| hour.failed),
    ];
    all.into_iter().flatten().collect()
}

/// Returns the names of the weeks, and the DAGs with their weeks.
fn levels(rows: &[DagWeek]) -> (Vec<String>, Vec<DagLine>) {
    let mut weeks: Vec<DateTime<Utc>> = rows.iter().map(|row| row.week).collect();
    weeks.sort_unstable();
    weeks.dedup();
    let of_dag = |dag: &[DagWeek]| DagLine {
        name: dag[0].dag_id.clone(),
        href: dag_href(&dag[0].dag_id),
        weeks: weeks.iter().map(|week| dag.iter().find(|row| row.week == *week).map(week_of)).collect(),
    };
    let dags = rows.chunk_by(|one, next| one.dag_id == next.dag_id).map(of_dag).collect();
    (weeks.iter().map(|week| week_name(*week)).collect(), dags)
}

/// Returns the date of a Monday in UTC. In zones west of UTC it would be a Sunday.
fn week_name(monday: DateTime<Utc>) -> String {
    monday.format("%-d %b").to_string()
}

fn week_of(row: &DagWeek) -> Week {
    let trouble = [(row.failed, "failed"), (row.late, "late")];
    let trouble = trouble.iter().filter(|(many, _)| *many > 0).map(|(many, what)| format!("{many} {what}"));
    let word = match (row.failed, row.late) {
        (0, 0) => "success",
        (0, _) => "up_for_retry",
        _ => "failed",
    };
    Week {
        state: parts::bare(word),
        runs: parts::counted(count(row.runs), "run"),
        trouble: trouble.collect::<Vec<_>>().join(", "),
        p95: parts::duration(length(row.p95_seconds)),
    }
}

fn length(seconds: f64) -> TimeDelta {
    let length = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    TimeDelta::from_std(length).unwrap_or_default()
}

/// Returns stale assets first, then the others by age of their last update, oldest first.
fn stalest(mut assets: Vec<WatchedAsset>, now: ZonedNow) -> Vec<AssetLine> {
    assets.retain(|asset| asset.fresh_within_ms.is_some());
    assets.sort_by_key(|asset| (asset.stale_since.is_none(), asset.last_event_at));
    let line = |asset: WatchedAsset| {
        let (state, said) = match (asset.stale_since, asset.last_event_at) {
            (Some(_), _) => ("failed", "stale"),
            (None, Some(_)) => ("success", "fresh"),
            // Until its first update is due, an asset is neither fresh nor stale.
            (None, None) => ("none", "not updated yet"),
        };
        AssetLine {
            state: parts::bare(state),
            said,
            updated: asset.last_event_at.map(|at| parts::ago(at, now)),
            promised: asset.fresh_within_ms.map(|ms| parts::duration(TimeDelta::milliseconds(ms))),
            name: asset.name,
        }
    };
    assets.into_iter().take(MOST_ASSETS).map(line).collect()
}

/// Returns failed streams first, then the others by lag, largest first.
fn slowest(rows: &[StreamRow], now: ZonedNow) -> Vec<StreamLine> {
    let mut rows: Vec<&StreamRow> = rows.iter().filter(|row| row.state() != StreamState::Paused).collect();
    rows.sort_by_key(|row| (row.state() != StreamState::Failed, std::cmp::Reverse(row.lag)));
    let line = |row: &StreamRow| StreamLine {
        name: row.name.clone(),
        href: streams::href(&row.name),
        state: parts::bare(icon_of(row.state())),
        said: row.state().name(),
        // The lag of a capture is in bytes of the source's log.
        lag: if row.capture.is_some() { parts::bytes(row.lag.max(0).cast_unsigned()) } else { count(row.lag) },
        records: count(row.records_last_hour),
        committed: row.last_commit_at.map(|at| parts::ago(at, now)),
    };
    rows.into_iter().take(MOST_STREAMS).map(line).collect()
}

/// Returns the live processes, those that use the most memory first.
fn largest(processes: &[ProcessRow], workers: &[WorkerRow]) -> Vec<ProcessLine> {
    let mut lines: BTreeMap<(&str, i32), ProcessLine> = BTreeMap::new();
    for row in processes.iter().filter(|row| row.silent_secs < SCHEDULER_SILENT_SECS) {
        let line = lines.entry((&row.hostname, row.pid)).or_default();
        line.roles.push(row.role.clone());
        line.memory_mb = line.memory_mb.max(row.memory_mb);
    }
    for row in workers.iter().filter(|row| matches!(row.state.as_str(), "running" | "draining")) {
        let line = lines.entry((&row.hostname, row.pid)).or_default();
        line.roles.push("worker".into());
        line.memory_mb = line.memory_mb.max(row.memory_mb);
        line.slots += row.slots;
        line.running += row.running;
    }
    for ((host, pid), line) in &mut lines {
        line.roles.sort_unstable();
        line.roles.dedup();
        line.place = format!("{host}, process {pid}");
    }
    let mut lines: Vec<ProcessLine> = lines.into_values().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.memory_mb));
    lines.truncate(MOST_PROCESSES);
    lines
}

fn check_line(week: &CheckWeek) -> CheckLine {
    CheckLine {
        week: week_name(week.week),
        state: parts::bare(if week.failed == 0 { "success" } else { "failed" }),
        checks: count(week.checks),
        failed: week.failed,
        quarantined: week.quarantined,
    }
}

fn alert_line(row: &AlertCount, now: ZonedNow) -> AlertLine {
    AlertLine { what: parts::words(&row.kind), alerts: row.alerts, lost: row.lost, last: parts::ago(row.last, now) }
}

fn count(number: i64) -> String {
    parts::count(number.max(0).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_that_a_dag_has_not_are_left_free() {
        let row = |dag: &str, week: i64, failed, late| DagWeek {
            dag_id: dag.into(),
            week: DateTime::UNIX_EPOCH + TimeDelta::weeks(week),
            runs: 20,
            failed,
            late,
            p95_seconds: 61.0,
        };
        let (weeks, dags) = levels(&[row("a", 1, 2, 1), row("a", 2, 0, 0), row("b", 2, 0, 3)]);
        assert_eq!(weeks, ["8 Jan", "15 Jan"]);
        let told: Vec<(&str, Vec<Option<&str>>)> = dags
            .iter()
            .map(|dag| (&*dag.name, dag.weeks.iter().map(|week| week.as_ref().map(|week| &*week.trouble)).collect()))
            .collect();
        assert_eq!(told, [("a", vec![Some("2 failed, 1 late"), Some("")]), ("b", vec![None, Some("3 late")])]);
        assert_eq!(dags[0].weeks[0].as_ref().unwrap().p95, "1 m 01 s");
    }
}
