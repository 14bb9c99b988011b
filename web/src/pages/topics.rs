//! `/topics`: the topics of the built-in log, and links to the topics of Kafka clusters.

pub(crate) mod cluster;
pub(crate) mod topic;

use super::kept::list::{Cell, Extras, Head, Lists, page};
use super::kept::{Pages, listed};
use super::{Shell, encoded};
use crate::api::topics::READS_RECORDS;
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use orch_deeds::Topic;
use orch_store::kept::Record;

fn href(name: &str) -> String {
    format!("/topics/{}/records", encoded(name))
}

/// Lists the topics, with links to the clusters.
pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let listed = listed::<Topic>(&app, query, shell.now).await?;
    let clusters = if shell.can(READS_RECORDS) { cluster::known(&mut *app.pages().await?).await? } else { Vec::new() };
    page::<Topic>(&app, shell, listed, Extras { clusters, ..Extras::default() })
}

impl Lists for Topic {
    const ABOUT: &'static str = "Logs of records that tasks and programs append to, and streams read.";
    const CAPTION: &'static str = "Topics";
    const HEADS: &'static [Head] = &[
        Head::new("Topic", "", ""),
        Head::count("Partitions", "partitions"),
        Head::count("Records", "records"),
        Head::new("Kept", "", ""),
        Head::new("Newest record", "", ""),
    ];
    const WHEN_EMPTY: &'static str = "Create one with `orch topics create events`, append records with `orch topics produce \
        events`, and a task appends them with `ctx.produce(\"events\", records)`.";
    const VERB: &'static str = "Edit";

    fn cells(record: &Record, _: &App, shell: &Shell) -> Vec<Cell> {
        let newest = record.moment("last_record_at").map(|at| parts::ago(at, shell.now));
        vec![
            Cell::Count(record.whole("partitions")),
            Cell::Count(record.whole("records")),
            Cell::Text(kept(record.whole("retention_hours"))),
            newest.map_or_else(|| Cell::Meta("none".into()), Cell::Ago),
        ]
    }

    fn name_href(name: &str, _: bool) -> Option<String> {
        Some(href(name))
    }

    fn verb_href(name: &str) -> Option<String> {
        Some(Self::href(name))
    }
}

/// Returns the retention as text, such as `7 days`.
fn kept(hours: i64) -> String {
    match hours {
        -1 => "for ever".into(),
        hours if hours % 24 == 0 => parts::counted(hours / 24, "day"),
        hours => parts::counted(hours, "hour"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_records_are_kept_is_said_in_days_where_it_is_whole_days() {
        assert_eq!([168, 24, 36, 1, -1].map(kept), ["7 days", "1 day", "36 hours", "1 hour", "for ever"]);
    }
}
