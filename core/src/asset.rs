//! What follows from updates of assets: which runs begin, and what is stale.
//!
//! Pure. Schedulers ask what events start; the store carries it out.

mod freshness;
mod trigger;

pub use freshness::{Freshness, freshness};
pub use trigger::{Queued, Trigger, Waiting, triggers, waiting_for};
