//! The page of the web server that an alert links to.

use super::{AlertKind, Facts};
use std::fmt::Write as _;

/// Returns the path of the page that shows what the alert is about: a question, a stream, a task instance, a run, an
/// asset, a DAG, or the list of alerts for a test.
pub fn path(kind: AlertKind, facts: &Facts, run_id: Option<&str>) -> String {
    if let Some(asked) = &facts.asked {
        return format!("/approvals/{}", asked.id);
    }
    if let Some(stream) = &facts.stream {
        return format!("/streams/{}", encoded(&stream.name));
    }
    let dag = format!("/dags/{}", encoded(&facts.dag_id));
    match (run_id, &facts.asset) {
        _ if facts.dag_id.is_empty() => "/alerts".into(),
        (Some(run), _) => of_run(kind, facts, format!("{dag}/runs/{}", encoded(run))),
        (None, Some(uri)) => format!("/assets?q={}", encoded(uri)),
        (None, None) => dag,
    }
}

fn of_run(kind: AlertKind, facts: &Facts, run: String) -> String {
    match (&facts.task_id, &facts.elements, facts.map_index) {
        (None, ..) => run,
        (Some(task), Some(_), _) => format!("{run}?task={}{}", encoded(task), state_filter(kind)),
        (Some(task), None, Some(index)) => format!("{run}/tasks/{}/{index}", encoded(task)),
        (Some(task), None, None) => format!("{run}/tasks/{}", encoded(task)),
    }
}

/// Returns the query parameter with which the page of a run shows only the elements of a combined alert.
fn state_filter(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::TaskFailed => "&state=failed",
        AlertKind::TaskSuccess => "&state=success",
        AlertKind::TaskSkipped => "&state=skipped",
        _ => "",
    }
}

/// Percent-encodes one segment of a path or one value of a query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string can grow");
        }
    }
    out
}
