//! Table lines for asset updates, data flows and checks, shared by the pages of assets, runs and tasks.

use crate::pages::encoded;
use crate::pages::home::task_href;
use crate::parts::{self, ZonedNow, dag_href};
use orch_spec::asset::{CheckOutcome, CheckResult};
use orch_store::asset::{CheckRow, Edge, EventRow, Finding, TriggeredRun};
use orch_store::progress::thousands;

pub(crate) struct EventLine {
    pub(crate) asset: String,
    pub(crate) asset_href: Option<String>,
    pub(crate) ago: parts::Ago,
    /// Name and address of the task that reported the update; `None` if the update is external.
    pub(crate) source: Option<(String, String)>,
    /// Details of the update: rows, partition, alias, extra.
    pub(crate) words: String,
    /// Runs that consumed the update.
    pub(crate) runs: Vec<(String, String)>,
}

/// A recorded data flow.
pub(crate) struct EdgeLine {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) rows: String,
    pub(crate) task: (String, String),
    pub(crate) ago: parts::Ago,
}

/// A contract check with its latest and earlier outcomes.
pub(crate) struct CheckLine {
    pub(crate) name: String,
    /// State whose icon represents the outcome.
    pub(crate) state: &'static str,
    pub(crate) outcome: CheckOutcome,
    /// Number of bad rows, such as `3 of 1,200 rows`, and whether they were published.
    pub(crate) words: String,
    pub(crate) sample: String,
    pub(crate) strip: parts::Strip,
    pub(crate) task: (String, String),
    pub(crate) ago: parts::Ago,
}

/// A check that found bad rows, as a line below its asset.
pub(crate) struct FindingLine {
    /// State whose icon represents the outcome.
    pub(crate) state: &'static str,
    pub(crate) words: String,
    pub(crate) sample: String,
}

/// Maximum number of characters of `extra` in a line.
const MOST_EXTRA: usize = 200;
/// Maximum number of characters of a sample in a list of many findings.
const MOST_SAMPLE: usize = 160;

impl EventLine {
    pub(crate) fn new(row: EventRow, runs: &[TriggeredRun], now: ZonedNow) -> EventLine {
        let mine = runs.iter().filter(|run| run.event == row.id);
        let run_href = |dag_id: &str, run_id: &str| format!("{}/runs/{}", dag_href(dag_id), encoded(run_id));
        let runs = mine.map(|run| (run.dag_id.clone(), run_href(&run.dag_id, &run.run_id))).collect();
        let source = row.source_dag_id.as_ref().zip(row.source_run_id.as_ref()).zip(row.source_task_id.as_ref());
        let source = source.map(|((dag_id, run_id), task_id)| {
            let words = format!("{dag_id}.{task_id}");
            (words, task_href(&run_href(dag_id, run_id), task_id, row.source_map_index))
        });
        let mut words = Vec::new();
        words.extend(row.rows.map(|rows| parts::counted(rows, "row")));
        words.extend(row.partition_key.as_ref().map(|key| format!("partition {key}")));
        words.extend(row.alias.as_ref().map(|alias| format!("through alias {alias}")));
        let extra = row.extra.as_ref().filter(|extra| extra.as_object().is_some_and(|extra| !extra.is_empty()));
        words.extend(extra.map(|extra| extra.to_string().chars().take(MOST_EXTRA).collect()));
        EventLine {
            asset_href: row.asset.map(super::href),
            asset: row.name.unwrap_or(row.uri),
            ago: parts::ago(row.at, now),
            source,
            words: words.join(", "),
            runs,
        }
    }
}

impl FindingLine {
    pub(crate) fn new(finding: &Finding) -> FindingLine {
        let found = &finding.check.result;
        FindingLine {
            state: parts::as_state(found.outcome),
            words: format!("not so: {}, {}", found.name, outcome_in_words(found)),
            sample: parts::short(&found.sample, MOST_SAMPLE).into_owned(),
        }
    }
}

/// Returns the number of bad rows and whether they were published.
fn outcome_in_words(found: &CheckResult) -> String {
    let (rows, bad) = (parts::counted(thousands(found.rows), "row"), thousands(found.bad));
    match found.outcome {
        CheckOutcome::Pass => rows,
        CheckOutcome::Warn => format!("{bad} of {rows}, published all the same"),
        CheckOutcome::Fail => format!("{bad} of {rows}, nothing was published"),
        CheckOutcome::Quarantined => format!("{bad} of {rows} put aside"),
    }
}

impl CheckLine {
    /// Returns one line per check, from rows that are sorted newest first. Checks that did not pass come first.
    pub(crate) fn all(rows: &[CheckRow], now: ZonedNow) -> Vec<CheckLine> {
        let mut names: Vec<&str> = Vec::new();
        for row in rows {
            if !names.contains(&row.result.name.as_str()) {
                names.push(&row.result.name);
            }
        }
        let of = |name: &str| CheckLine::new(rows.iter().filter(|row| row.result.name == name), now);
        let mut lines: Vec<CheckLine> = names.into_iter().filter_map(of).collect();
        lines.sort_by_key(|line| line.outcome == CheckOutcome::Pass);
        lines
    }

    fn new<'a>(mut rows: impl Iterator<Item = &'a CheckRow> + Clone, now: ZonedNow) -> Option<CheckLine> {
        let outcomes = rows.clone().map(|row| row.result.outcome);
        let last = rows.next()?;
        let found = &last.result;
        let run_href = format!("{}/runs/{}", dag_href(&last.dag_id), encoded(&last.run_id));
        Some(CheckLine {
            strip: parts::Strip::new(&found.name, outcomes),
            state: parts::as_state(found.outcome),
            outcome: found.outcome,
            name: found.name.clone(),
            sample: found.sample.clone(),
            task: (format!("{}.{}", last.dag_id, last.task_id), task_href(&run_href, &last.task_id, last.map_index)),
            ago: parts::ago(last.at, now),
            words: outcome_in_words(found),
        })
    }
}

impl EdgeLine {
    pub(crate) fn new(edge: Edge, now: ZonedNow) -> EdgeLine {
        let run_href = format!("{}/runs/{}", dag_href(&edge.dag_id), encoded(&edge.run_id));
        EdgeLine {
            task: (format!("{}.{}", edge.dag_id, edge.task_id), task_href(&run_href, &edge.task_id, edge.map_index)),
            rows: edge.rows.map_or_else(String::new, |rows| parts::counted(rows, "row")),
            ago: parts::ago(edge.at, now),
            from: edge.from_uri,
            to: edge.to_uri,
        }
    }
}
