//! Invariants under faults: one file for each kind of fault. Each test prints its seed; `TORTURE_SEED=n cargo test -p
//! orch-torture NAME` repeats it.

mod alerts;
mod database;
mod deploy;
mod limits;
mod network;
mod schedulers;
mod workers;

use orch_test_support::rng::Rng;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PROGRAM: &str = env!("CARGO_BIN_EXE_orch-torture");
/// Time between two triggers.
const PAUSE: Duration = Duration::from_millis(60);

/// Returns the number of repetitions: 1 by default, more with `ORCH_TEST_LONG`.
#[expect(clippy::disallowed_methods, reason = "tests have no other settings")]
fn length() -> usize {
    std::env::var("ORCH_TEST_LONG").ok().and_then(|long| long.parse().ok()).unwrap_or(1).max(1)
}

/// Fixed, so that a failure can be repeated.
const USUAL_SEED: u64 = 407_112;

/// A fixed seed, or the one in `TORTURE_SEED`, or several random ones in long runs.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no other settings, and each long run shall find something else"
)]
fn seeds() -> Vec<u64> {
    let asked = std::env::var("TORTURE_SEED").ok().and_then(|seed| seed.parse().ok());
    if asked.is_some() || std::env::var_os("ORCH_TEST_LONG").is_none() {
        return vec![asked.unwrap_or(USUAL_SEED)];
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let mut rng = Rng::new(now.as_nanos() as u64);
    (0..length()).map(|_| rng.number() % 1_000_000).collect()
}
