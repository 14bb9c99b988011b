//! Runs the loops of a worker without Postgres, for a simulation with its own store, heartbeat and clock.
//!
//! The main loop, the heartbeat and task functions run as in production; only the store, the database operations of the
//! heartbeat and the clock are replaced. Task functions have no database: they must not push, pull or read the output
//! of another task, and their logs are discarded.

pub use crate::heartbeat::Heart;

use crate::body::{PastReader, Shared};
use crate::config::WorkerConfig;
use crate::driver::Driver;
use crate::heartbeat::pulse;
use crate::inputs::Recent;
use crate::logs;
use crate::offer::Offers;
use crate::queues::QueueIds;
use crate::secrets::Secrets;
use crate::watch::Outlook;
use orch_sdk::task::Conditions;
use orch_store::hint::Hints;
use orch_store::hot::Hot;
use orch_store::{StoreResult, connect};
use std::future::Future;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// URL of a database that does not exist and is never queried.
const NOWHERE: &str = "postgres://nowhere@127.0.0.1:1/nothing";

/// A worker immediately after its registration.
#[derive(Debug)]
pub struct Registered {
    pub worker: i32,
    /// Time before the registration, from which the lease is measured.
    pub began: Instant,
    pub queues: Vec<i32>,
}

/// Returns two futures that run a worker from its registration until it stops, is lost, or loses the database. The
/// first is the main loop with its attempts; the second is the heartbeat, which ends after the main loop.
pub fn threads<S: Hot, H: Heart>(
    config: &WorkerConfig,
    offers: &Arc<Offers>,
    hints: &Hints,
    registered: Registered,
    (store, heart): (S, H),
    stop: CancellationToken,
) -> StoreResult<(impl Future<Output = StoreResult<()>>, impl Future<Output = ()>)> {
    let cold = connect::cold(NOWHERE, "simulated", 1)?;
    let (shipper, _) = logs::shipping(cold.clone());
    let shared = Arc::new(Shared {
        recent: Recent::default(),
        completions: cold.clone(),
        cold,
        past: PastReader::unknown(),
        shipper,
        outlook: Outlook { conditions: Arc::new(Conditions::default()), secrets: Secrets::none() },
        hints: hints.clone(),
        process_memory_mb: config.process_memory_mb,
        is_trial: config.is_trial,
    });
    let Registered { worker, began, queues } = registered;
    let (pulse, beat) = pulse(heart, worker, config.lease, began, hints);
    let driver = Driver::new(
        config,
        offers,
        &shared,
        hints,
        &QueueIds { in_process: queues, process: Vec::new() },
        worker,
        store,
    );
    Ok((async move { driver.live(pulse, &stop).await }, beat.beat()))
}
