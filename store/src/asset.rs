//! Assets: where DAGs name them, what was said of them, who waits for them.
//!
//! A try's events are written by its step (`step/assets.rs`). `distribute` gives each event to the DAGs that wait for it,
//! once; `begin` asks their conditions and creates runs. Both are for any number of schedulers at a time.

mod begin;
mod check;
mod distribute;
mod event;
mod freshness;
mod lineage;
mod list;
mod quality;
mod queue;
mod register;

pub use begin::{begin_triggered_runs, dags_to_ask};
pub use check::{CheckRow, CheckTrail, Finding, checks_of_asset, count_checks, keep_checks};
pub use distribute::distribute;
pub use event::{
    EventFilter, EventOrder, EventRow, NewEvent, TriggeredRun, UriEvent, add_event, add_event_of_uri, count_events,
    list_events, runs_of_events, triggering_events,
};
pub use freshness::{StaleAsset, mark_stale, stale_assets};
pub use lineage::{Edge, edges_of_asset, edges_of_task};
pub use list::{
    AliasRow, AssetFilter, AssetOrder, AssetRow, Dependency, UseRow, aliases_of, count_aliases, count_assets,
    dependencies, find_asset, get_alias, get_asset, list_aliases, list_assets, producers_of, uses_of,
};
pub use quality::{Look, WatchedAsset, findings_since, looks_at, newest_findings, watched_assets};
pub use queue::{QueueFilter, QueuedRow, delete_queued, list_queued, what_dag_waits_for};
pub(crate) use register::put_uses;
