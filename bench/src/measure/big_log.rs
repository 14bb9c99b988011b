//! Memory for a log of 1 GB with a line of 100 MB, written in the worker and on the standard output of a process, and
//! the time until the end of the log is shown.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::http::Browser;
use super::process::{self, Processes};
use super::server::PASSWORD;
use super::{Bench, Figure, api, stats};

const MB: u32 = 1_000;
const LINE_MB: u32 = 100;
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (times, quick) = (bench.times(60, 20), bench.quick);
    bench.fresh()?;
    let server = bench.running()?;
    let pid = server.pid();
    process::forget_peak(pid)?;
    let (mb, line_mb) = if quick { (100, 20) } else { (MB, LINE_MB) };
    let run = server.api.trigger("shout", &json!({ "mb": mb, "line_mb": line_mb }))?;
    server.api.wait(&run, Duration::from_millis(500), PATIENCE)?;
    let (mut browser, mut tails, mut searches) = (Browser::log_in(&server.url, PASSWORD)?, Vec::new(), Vec::new());
    let mut largest = 0;
    for task in ["shout", "shout_apart"] {
        let page = format!("/dags/shout/runs/{}/tasks/{task}", api::encode(&run.run_id));
        ensure!(browser.text(&page)?.contains("the last line"), "the end of the log of `{task}` is not shown");
        for _ in 0..times {
            let shown = browser.get(&page)?;
            largest = largest.max(shown.bytes);
            tails.push(shown.took_ms);
        }
        for _ in 0..3 {
            searches.push(browser.get(&format!("{page}?q=the+last+line"))?.took_ms);
        }
        largest = largest.max(browser.get(&format!("{page}?from=1"))?.bytes);
    }
    let peak = Processes::of(pid)?.peak_mb()?;
    Ok(vec![
        Figure::new("big_log_tail_p95_ms", stats::percentile(&tails, 0.95), tails.len())
            .with("search_ms", stats::median(&searches))
            .with("page_kb", largest as f64 / 1_000.0),
        // The task builds the line of 100 MB in this process.
        Figure::new("big_log_rss_mb", peak, 1).with("log_mb", mb).with("line_mb", line_mb),
    ])
}
