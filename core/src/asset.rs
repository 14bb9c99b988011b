//! Consequences of asset updates: which runs start, and which assets are stale. Pure: schedulers call these functions,
//! and the store applies the result.

mod freshness;
mod trigger;

pub use freshness::{Freshness, freshness};
pub use trigger::{Queued, Trigger, Waiting, triggers, waiting_for};
