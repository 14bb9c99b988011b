//! `/pools`: the slots that tasks share, and how many of them are in use.

use super::Shell;
use super::kept::list::{Cell, Head, Lists};
use crate::state::App;
use orch_deeds::Pool;
use orch_store::kept::Record;

impl Lists for Pool {
    const ABOUT: &'static str = "Slots that tasks of all DAGs share. A task that finds no free slot waits; the most urgent \
        one goes first.";
    const CAPTION: &'static str = "Pools, in slots";
    const HEADS: &'static [Head] = &[
        Head::new("Pool", "", ""),
        Head::count("Slots", "slots"),
        Head::count("Open", "open"),
        Head::count("Running", "running"),
        Head::count("Queued", "queued"),
        Head::count("Waiting", "waiting"),
        Head::new("Deferred", "num only-wide", "num only-wide"),
    ];

    fn cells(record: &Record, _: &App, _: &Shell) -> Vec<Cell> {
        let is_infinite = record.whole("slots") < 0;
        let slots = |column: &str| if is_infinite { "∞".into() } else { record.whole(column).max(0).to_string() };
        let is_full = !is_infinite && record.whole("open_slots") <= 0;
        let waits = is_full && record.whole("scheduled_slots") > 0;
        vec![
            Cell::Text(slots("slots")),
            if waits { Cell::Queued(slots("open_slots")) } else { Cell::Text(slots("open_slots")) },
            Cell::Count(record.whole("running_slots")),
            Cell::Count(record.whole("queued_slots")),
            Cell::Count(record.whole("scheduled_slots")),
            Cell::Count(record.whole("deferred_slots")),
        ]
    }
}
