//! Response times of pages in a large installation: a million task instances, 2,000 DAGs, one map of 100,000 elements.
//! Each page is requested over HTTP with a session, as a browser does, and measured until its last byte.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::http::Browser;
use super::seed::{self, Seeded};
use super::server::{PASSWORD, Server};
use super::{Bench, Figure, api, stats};
use crate::dags::Beside;

/// Name and path; placeholders are in braces. Pages that do not exist in this version are skipped.
const PAGES: &[(&str, &str)] = &[
    ("home", "/"),
    ("dags", "/dags"),
    ("dags, searched", "/dags?q=idle_1"),
    ("dags, failing", "/dags?state=failing"),
    ("dag grid", "/dags/idle_000"),
    ("dag graph", "/dags/idle_000/graph"),
    ("dag overview", "/dags/idle_000/overview"),
    ("dag calendar", "/dags/idle_000/calendar"),
    ("dag versions", "/dags/idle_000/versions"),
    ("dag backfills", "/dags/idle_000/backfills"),
    ("dag runs", "/dags/idle_000/runs"),
    ("dag runs, failed", "/dags/idle_000/runs?state=failed"),
    ("dag details", "/dags/idle_000/details"),
    ("dag tasks", "/dags/idle_000/tasks"),
    ("dag code", "/dags/idle_000/code"),
    ("trigger form", "/dags/map/trigger"),
    ("large dag grid", "/dags/fan1000"),
    ("large dag graph", "/dags/fan1000/graph"),
    ("wide dag grid", "/dags/map"),
    ("wide run", "/dags/map/runs/{wide}"),
    ("wide run, tasks", "/dags/map/runs/{wide}/tasks"),
    ("wide run, one task", "/dags/map/runs/{wide}?task=element"),
    ("wide run, last page", "/dags/map/runs/{wide}?page=1000"),
    ("wide run, failed", "/dags/map/runs/{wide}?state=failed"),
    ("mapped task", "/dags/map/runs/{wide}/tasks/element"),
    ("one element", "/dags/map/runs/{wide}/tasks/element/70000"),
    ("wide run, clear", "/dags/map/runs/{wide}/clear"),
    ("wide run, mark", "/dags/map/runs/{wide}/mark"),
    ("run", "/dags/idle_000/runs/{run}"),
    ("run, tasks", "/dags/idle_000/runs/{run}/tasks"),
    ("failed run", "/dags/{failed}"),
    ("run, clear", "/dags/idle_000/runs/{run}/clear"),
    ("task", "/dags/idle_000/runs/{run}/tasks/step_002"),
    ("long log", "/dags/idle_000/runs/{run}/tasks/step_001"),
    ("long log, from a line", "/dags/idle_000/runs/{run}/tasks/step_001?from=20000"),
    ("failed task", "/dags/{failed}/tasks/step_004"),
    ("runs", "/runs"),
    ("runs, failed", "/runs?state=failed"),
    ("runs, running", "/runs?state=running"),
    ("runs, searched", "/runs?q=idle_1999"),
    ("runs, nothing found", "/runs?q=nothing-is-called-so"),
    ("palette", "/palette?q=idle"),
    ("monitoring", "/monitoring"),
    ("assets", "/assets"),
    ("one asset", "/assets/{asset}"),
    ("lineage", "/assets/lineage"),
    ("lineage of a table", "/assets/lineage?of=lake%3A%2F%2Fbench%2Ftable_5"),
    ("quality", "/quality"),
    ("backfills", "/backfills"),
    ("one backfill", "/backfills/{backfill}"),
    ("alerts", "/alerts"),
    ("approvals", "/approvals"),
    ("one approval", "/approvals/{approval}"),
    ("audit", "/audit"),
    ("workers", "/workers"),
    ("users", "/users"),
];
const WARM_UP: usize = 3;
const MOST_BYTES: usize = 100_000;

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    bench.stop()?;
    let (times, quick) = (bench.times(60, 20), bench.quick);
    let server = Server::start(&bench.data, Beside { idle: seed::DAGS, ..Beside::default() })?;
    let (wide, seeded) = prepare(&server, quick)?;
    let mut browser = Browser::log_in(&server.url, PASSWORD)?;
    let (mut worst, mut largest, mut all) = (("", 0.0_f64), ("", 0), Vec::new());
    for (name, path) in PAGES {
        let path = path
            .replace("{wide}", &api::encode(&wide))
            .replace("{run}", &api::encode(&seeded.run_id))
            .replace("{failed}", &seeded.failed_run_id.replace('+', "%2B"))
            .replace("{asset}", &seeded.asset.to_string())
            .replace("{backfill}", &seeded.backfill.to_string())
            .replace("{approval}", &seeded.approval);
        let first = browser.get(&path)?;
        if first.status == 404 {
            eprintln!("  {name}: not in this version");
            continue;
        }
        ensure!(first.status == 200, "{path} was answered with {}", first.status);
        let mut took = Vec::with_capacity(times);
        let mut bytes = 0;
        for number in 0..times + WARM_UP {
            let page = browser.get(&path)?;
            if number >= WARM_UP {
                took.push(page.took_ms);
                bytes = bytes.max(page.bytes);
            }
        }
        let p95 = stats::percentile(&took, 0.95);
        eprintln!("  {p95:7.1} ms  {bytes:7} bytes  {name}");
        all.push((name.to_string(), json!({ "p95_ms": (p95 * 10.0).round() / 10.0, "bytes": bytes })));
        if p95 > worst.1 {
            worst = (name, p95);
        }
        if bytes > largest.1 {
            largest = (name, bytes);
        }
    }
    server.stop()?;
    let all: serde_json::Map<_, _> = all.into_iter().collect();
    let p95 = Figure::new("page_p95_ms", worst.1, times).with("page", worst.0).with("instances", seeded.instances);
    let size = Figure::new("page_kb", largest.1 as f64 / 1_000.0, times).with("page", largest.0);
    ensure!(largest.1 <= 10 * MOST_BYTES, "`{}` is {} bytes", largest.0, largest.1);
    Ok(vec![p95.with("pages", all), size])
}

/// Prepares the installation. Returns the id of the run with the wide map, and the seeded data.
fn prepare(server: &Server, quick: bool) -> Result<(String, Seeded)> {
    server.trigger_until_ended("idle_000", &json!({}), 100)?;
    server.trigger_until_ended("fan1000", &json!({}), 200)?;
    let (_, wide) = server.trigger_until_ended("map", &json!({ "elements": 100_000 }), 500)?;
    let seeded = seed::seed(&server.database_url, quick).context("the installation could not be filled")?;
    Ok((wide.run_id, seeded))
}
