//! The same loops without Postgres, for a simulation that brings its own store, its own heart and its own clock.
//!
//! Driver, pulse and bodies run as in production; only what they stand on is exchanged. There is no database behind
//! the bodies: they may not push, pull or read another task's output, and what they say is not kept.

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

/// Nobody answers there, and nobody is asked.
const NOWHERE: &str = "postgres://nowhere@127.0.0.1:1/nothing";

/// A worker that has just been registered.
#[derive(Debug)]
pub struct Registered {
    pub worker: i32,
    /// Before it was registered: from then on its lease counts.
    pub began: Instant,
    /// Ids of the queues it takes from.
    pub queues: Vec<i32>,
}

/// The two threads of one incarnation, from registration until it stops, is lost, or loses the database: the driver, with
/// whose end its bodies end, and the pulse, which ends after it.
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
