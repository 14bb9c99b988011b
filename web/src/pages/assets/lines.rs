//! Updates and ways of data as lines, on the pages of assets, runs and tasks.

use crate::pages::encoded;
use crate::pages::home::task_href;
use crate::parts::{self, Now, dag_href};
use orch_store::asset::{Edge, EventRow, TriggeredRun};

/// An update of an asset.
pub(crate) struct EventLine {
    pub(crate) asset: String,
    pub(crate) asset_href: Option<String>,
    pub(crate) ago: parts::Ago,
    /// Which task said it, and where that is; nobody's from outside.
    pub(crate) source: Option<(String, String)>,
    /// What there is to say of it: rows, partition, extra.
    pub(crate) words: String,
    /// Runs that consumed it.
    pub(crate) runs: Vec<(String, String)>,
}

/// A way data took.
pub(crate) struct EdgeLine {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) rows: String,
    pub(crate) task: (String, String),
    pub(crate) ago: parts::Ago,
}

/// Characters of an extra, in a line.
const MOST_EXTRA: usize = 200;

impl EventLine {
    pub(crate) fn new(row: EventRow, runs: &[TriggeredRun], now: Now) -> EventLine {
        let mine = runs.iter().filter(|run| run.event == row.id);
        let run_href = |dag_id: &str, run_id: &str| format!("{}/runs/{}", dag_href(dag_id), encoded(run_id));
        let runs = mine.map(|run| (run.dag_id.clone(), run_href(&run.dag_id, &run.run_id))).collect();
        let source = row.source_dag_id.as_ref().zip(row.source_run_id.as_ref()).zip(row.source_task_id.as_ref());
        let source = source.map(|((dag_id, run_id), task_id)| {
            let words = format!("{dag_id}.{task_id}");
            (words, task_href(&run_href(dag_id, run_id), task_id, row.source_map_index))
        });
        let mut words = Vec::new();
        words.extend(row.rows.map(|rows| format!("{rows} rows")));
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

impl EdgeLine {
    pub(crate) fn new(edge: Edge, now: Now) -> EdgeLine {
        let run_href = format!("{}/runs/{}", dag_href(&edge.dag_id), encoded(&edge.run_id));
        EdgeLine {
            task: (format!("{}.{}", edge.dag_id, edge.task_id), task_href(&run_href, &edge.task_id, edge.map_index)),
            rows: edge.rows.map_or_else(String::new, |rows| format!("{rows} rows")),
            ago: parts::ago(edge.at, now),
            from: edge.from_uri,
            to: edge.to_uri,
        }
    }
}
