//! Assets: which DAGs use them, their events, and the DAGs that wait for them.
//!
//! The completion step of an attempt writes its events (`step/assets.rs`). `distribute` queues each event once for the
//! DAGs that wait for it. `begin` evaluates the conditions of these DAGs and creates runs. Several schedulers may run
//! `distribute` and `begin` concurrently.

mod begin;
mod check;
mod distribute;
mod event;
mod freshness;
mod heads;
mod lineage;
mod list;
mod quality;
mod queue;
mod register;

pub use begin::{begin_triggered_runs, dags_to_ask};
pub use check::{CHECKS, CheckRow, CheckTrail, Finding, check_by, keep_checks};
pub use distribute::distribute;
pub use event::{
    EVENTS, EventRow, NewEvent, TriggeredRun, UriEvent, add_event, add_event_of_uri, event_by, runs_of_events,
    triggering_events,
};
pub use freshness::{StaleAsset, mark_stale, stale_assets};
pub use lineage::{Edge, Flow, edges_of_asset, edges_of_task, flows};
pub use list::{
    ALIASES, ASSETS, AliasRow, AssetRow, Dependency, UseRow, aliases_of, by, dependencies, find_asset, get_alias,
    get_asset, producers_of, uses_of,
};
pub use quality::{
    QualitySummary, WatchedAsset, findings_since, looks_at, newest_findings, outcomes_at, watched_assets,
};
pub use queue::{QueueFilter, QueuedRow, delete_queued, list_queued, what_dag_waits_for};
pub(crate) use register::put_uses;
