//! A monotonic clock shared by all processes of this machine, so that times noted by the driver and by task functions
//! in other processes can be compared.

use nix::time::{ClockId, clock_gettime};

/// Returns the nanoseconds since the machine started.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every system that runs orch has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

pub(crate) fn millis_between(start: u64, end: u64) -> f64 {
    (end as f64 - start as f64) / 1e6
}

pub(crate) fn seconds_between(start: u64, end: u64) -> f64 {
    millis_between(start, end) / 1e3
}
