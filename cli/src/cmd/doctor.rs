//! `orch doctor`: checks the installation and suggests fixes.

mod history;

use crate::clock::now;
use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{Format, FormatFlag, Listing, counted};
use orch_binary::session::Session;
use orch_store::clean::{Passes, passes};
use orch_store::doctor::{Vitals, vitals};
use orch_store::guard::SCHEMA_VERSION;
use orch_store::parked::ParkedRun;
use orch_store::process::{ProcessRow, list_processes};
use orch_store::stream::{FailedStream, failed_streams};
use orch_store::worker::{WorkerRow, list_workers};
use orch_web::{is_alive, is_worker_alive};
use serde_json::json;

/// Maximum clock difference. A larger one makes logs of several machines hard to read; no decision depends on this
/// clock.
const CLOCK_SECS: f64 = 1.0;
/// Minimum number of future partitions in weeks. Schedulers create them four weeks ahead.
const FEWEST_WEEKS: i64 = 2;
/// Maximum age of a task that is ready to run. An idle worker claims it immediately, a busy one later.
const READY_SECS: f64 = 60.0;
/// Maximum age of an outcome that was not applied. Schedulers apply (fold) leftover outcomes twice a second.
const UNFOLDED_SECS: f64 = 10.0;
/// Maximum delay of a due timer. Schedulers wake waiting tasks within one poll.
const OVERDUE_SECS: f64 = 15.0;
/// Maximum age of an open transaction. It prevents the removal of dead rows, of which the hot tables produce thousands
/// per second.
const TRANSACTION_SECS: f64 = 30.0;
/// Maximum number of streams whose names fit in a line.
const MOST_STREAMS: i64 = 5;
/// Maximum age of the last retention pass in hours. A pass runs every hour, but the first one into an archive may take
/// many hours.
const CLEANED_HOURS: i64 = 26;

/// Check the database, the processes and whether anything is left lying
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch doctor\n  orch doctor -o json\n  \
    orch doctor --verify-history --since 2026-11-01\n\n\
    Exit code: 0 all is well, 1 something is wrong, 2 the database could not be asked.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    history: history::HistoryFlags,
    #[command(flatten)]
    output: FormatFlag,
    /// The same as `-o json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// Result of a check: its name, whether it passed, what was found, and what to do if it failed.
struct Finding(&'static str, bool, String, &'static str);

impl Doctor {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let format = if self.json { Format::Json } else { self.output.format };
        if self.history.verify_history {
            return self.history.run(cx, format).await;
        }
        let mut session = cx.session().await?;
        let before = now();
        let vitals = vitals(&mut session.db).await?;
        let after = now();
        let middle = before + (after - before) / 2;
        let clock_secs = (vitals.now - middle).abs().as_seconds_f64() - (after - before).as_seconds_f64() / 2.0;
        let mut findings = of_database(&vitals, clock_secs.max(0.0));
        findings.extend(of_processes(&mut session).await?);
        findings.extend(of_work(&vitals));
        findings.push(of_streams(&failed_streams(&mut session.db, MOST_STREAMS).await?));
        findings.push(of_retention(passes(&mut session.db).await?, vitals.now));
        print(&findings, format)
    }
}

fn print(findings: &[Finding], format: Format) -> Outcome {
    let mut listing = Listing::new(["check", "result", "found", "advice"], "nothing was checked").whole();
    for Finding(check, is_well, found, advice) in findings {
        let result = if *is_well { "ok" } else { "wrong" };
        listing.add([json!(check), json!(result), json!(found), json!(if *is_well { "" } else { advice })]);
    }
    listing.print(format)?;
    let wrong = findings.iter().filter(|finding| !finding.1).count();
    if wrong == 0 {
        return Ok(Exit::Done);
    }
    eprintln!("{wrong} of {} found something wrong", counted(findings.len(), "check"));
    Ok(Exit::Failed)
}

fn of_database(vitals: &Vitals, clock_secs: f64) -> Vec<Finding> {
    let transaction_secs = vitals.oldest_transaction_secs.unwrap_or(0.0);
    let transaction = match &vitals.oldest_transaction_of {
        Some(who) => format!("{transaction_secs:.1} s, of {who}"),
        None => "none is open".into(),
    };
    vec![
        Finding("database", true, format!("Postgres {}", vitals.server_version), ""),
        Finding("schema", true, format!("version {SCHEMA_VERSION}"), ""),
        Finding(
            "connections",
            vitals.connections * 10 < vitals.max_connections * 9,
            format!("{} of {}", vitals.connections, vitals.max_connections),
            "raise max_connections, or put a pooler between other applications and this server",
        ),
        Finding(
            "clock",
            clock_secs < CLOCK_SECS,
            format!("{clock_secs:.3} s off the database's"),
            "set the clock of this machine by NTP",
        ),
        Finding(
            "partitions",
            vitals.weeks_ahead >= FEWEST_WEEKS,
            format!("ready for {}", counted(vitals.weeks_ahead, "week")),
            "start a scheduler: it makes them",
        ),
        Finding(
            "role of steps",
            true,
            if vitals.steps_have_a_role {
                "steps of `ctx.commit` work as orch_lake, which cannot read orch's tables".into()
            } else {
                "steps of `ctx.commit` have all rights of orch: its user may make no role for them".into()
            },
            "",
        ),
        Finding(
            "oldest transaction",
            transaction_secs < TRANSACTION_SECS,
            transaction,
            "end it: dead rows are kept for it and the hot tables grow",
        ),
    ]
}

fn of_streams(failed: &[FailedStream]) -> Finding {
    let found = match failed {
        [] => "none has failed".to_owned(),
        failed => {
            let names = failed.iter().map(|stream| {
                let what = if stream.waits_for_restart { "waits for a restart" } else { "is tried again" };
                format!("`{}` {what}: {}", stream.name, stream.error.lines().next().unwrap_or_default())
            });
            names.collect::<Vec<_>>().join("; ")
        }
    };
    Finding(
        "streams",
        failed.is_empty(),
        found,
        "`orch streams show NAME` says what to do; then `orch streams restart NAME`",
    )
}

async fn of_processes(session: &mut Session) -> Result<Vec<Finding>, Failure> {
    let workers = list_workers(&mut session.db).await?;
    let alive: Vec<&WorkerRow> =
        workers.iter().filter(|worker| worker.state == "running" && is_worker_alive(worker)).collect();
    let busy: i32 = alive.iter().map(|worker| worker.running).sum();
    let slots: i32 = alive.iter().map(|worker| worker.slots).sum();
    let is_lost = |worker: &&WorkerRow| {
        worker.state == "lost" || (matches!(worker.state.as_str(), "running" | "draining") && !is_worker_alive(worker))
    };
    let lost = workers.iter().filter(is_lost).count();
    let processes = list_processes(&mut session.db).await?;
    let is_scheduler = |process: &&ProcessRow| process.role == "scheduler" && is_alive(process);
    let schedulers = processes.iter().filter(is_scheduler).count();
    let hint = if session.is_alone() {
        "start `orch standalone`"
    } else {
        "start one with `orch worker`, `orch scheduler` or `orch standalone`"
    };
    Ok(vec![
        Finding(
            "workers",
            !alive.is_empty(),
            format!("{} alive, {busy} of {} busy, {lost} lost lately", alive.len(), counted(slots, "slot")),
            hint,
        ),
        Finding("schedulers", schedulers > 0, format!("{schedulers} alive"), hint),
    ])
}

/// Checks that old data is deleted. If it is not, nothing is lost until the disk is full.
fn of_retention(passes: Option<Passes>, now: DateTime<Utc>) -> Finding {
    let secs = |since: DateTime<Utc>| (now - since).num_seconds().max(0);
    let (is_well, found) = match passes {
        None => (true, "nothing was cleaned yet".into()),
        Some(Passes { failing: Some(failing), .. }) => {
            let why = failing.error.lines().next().unwrap_or_default();
            let tries = counted(failing.times, "try");
            (false, format!("{tries} failed in {} s: {why}", secs(failing.since)))
        }
        Some(Passes { done_at: Some(at), .. }) => {
            (secs(at) < CLEANED_HOURS * 3_600, format!("cleaned {} s ago", secs(at)))
        }
        Some(Passes { done_at: None, .. }) => (true, "it is cleaned for the first time".into()),
    };
    let advice =
        "nothing was dropped and it is tried again, but the disk fills: see to the archive, and to a scheduler";
    Finding("retention", is_well, found, advice)
}

fn of_work(vitals: &Vitals) -> Vec<Finding> {
    let lying = |count: i64, secs: Option<f64>| match secs {
        Some(secs) => format!("{count}, the oldest for {secs:.1} s"),
        None => count.to_string(),
    };
    let is_fresh = |secs: Option<f64>, most: f64| secs.is_none_or(|secs| secs < most);
    vec![
        Finding(
            "claimable",
            is_fresh(vitals.oldest_ready_secs, READY_SECS),
            lying(vitals.ready, vitals.oldest_ready_secs),
            "start more workers, or give them more slots",
        ),
        Finding(
            "queues",
            vitals.queues_without_worker.is_empty(),
            match vitals.queues_without_worker.as_slice() {
                [] => "all that have work have a worker".into(),
                queues => format!("no worker for {}", queues.join(", ")),
            },
            "start a worker with `--queues`",
        ),
        Finding(
            "unfolded outcomes",
            is_fresh(vitals.oldest_unfolded_secs, UNFOLDED_SECS),
            lying(vitals.unfolded, vitals.oldest_unfolded_secs),
            "start a scheduler: it folds what dead workers left",
        ),
        Finding(
            "overdue waits",
            is_fresh(vitals.oldest_overdue_secs, OVERDUE_SECS),
            lying(vitals.overdue, vitals.oldest_overdue_secs),
            "start a scheduler: it wakes what waits",
        ),
        Finding(
            "stranded runs",
            vitals.stranded.is_empty(),
            match vitals.stranded.as_slice() {
                [] => "none".into(),
                runs => runs.join(", "),
            },
            "please report this; clear a task of the run to set it going again",
        ),
        Finding(
            "parked runs",
            vitals.parked.is_empty(),
            match vitals.parked.as_slice() {
                [] => "none".into(),
                runs => {
                    let named = |run: &ParkedRun| format!("{} {}: {}", run.dag_id, run.run_id, run.why);
                    runs.iter().map(named).collect::<Vec<_>>().join("; ")
                }
            },
            "they cannot be moved on and are tried again each minute: mend what is named, or stop the run and delete it",
        ),
    ]
}
