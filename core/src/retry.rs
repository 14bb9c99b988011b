//! Computes the delay before a retry with Airflow's formula, to the second.
//!
//! The jitter is a hash of the attempt and not a random number, so every process and every replay computes the same
//! delay.

use chrono::{DateTime, Utc};
use std::time::Duration;

/// Upper bound of exponential delays.
pub const MAX_RETRY_DELAY: Duration = Duration::from_hours(24);

/// Returns the delay after attempt `try_no` (the first is 1).
///
/// If `backoff` is 0, 1 or negative, the delay is always `base_ms`, and `max_ms` has no effect. Otherwise it is
/// `base × backoff^(try − 1)` in whole seconds plus jitter of less than the same amount, capped at 24 hours and at
/// `max_ms`. `run_key` is the `logical_date_key` of the run; with it the delays equal Airflow's.
pub fn retry_delay(
    base_ms: u64,
    backoff: f64,
    max_ms: Option<u64>,
    dag_id: &str,
    task_id: &str,
    run_key: &str,
    try_no: u32,
) -> Duration {
    #[expect(clippy::float_cmp, reason = "exactly 1 is what people write to turn it off")]
    if backoff.is_nan() || backoff <= 0.0 || backoff == 1.0 {
        return Duration::from_millis(base_ms);
    }
    let cap = MAX_RETRY_DELAY.as_secs();
    #[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
    let base_seconds = base_ms as f64 / 1000.0;
    let grown = (base_seconds * backoff.powf(f64::from(try_no.max(1) - 1))).ceil();
    // The cast saturates for large values. At the cap the jitter has no effect, and the numbers below stay small.
    let least = (grown as u64).clamp(1, cap);
    let hash = sha1_smol::Sha1::from(format!("{dag_id}#{task_id}#{run_key}#{try_no}")).digest().bytes();
    let jitter = hash.iter().fold(0, |rest, byte| (rest * 256 + u64::from(*byte)) % least);
    let delay = Duration::from_secs((least + jitter).min(cap));
    match max_ms {
        None | Some(0) => delay,
        Some(max_ms) => delay.min(Duration::from_millis(max_ms)),
    }
}

/// Formats a logical date as Python does. Returns the text `None` for runs without one.
pub fn logical_date_key(logical_date: Option<DateTime<Utc>>) -> String {
    logical_date.map_or_else(|| "None".into(), |date| orch_spec::schedule::isoformat(date).replacen('T', " ", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(base_ms: u64, backoff: f64, max_ms: Option<u64>, try_no: u32) -> Duration {
        retry_delay(base_ms, backoff, max_ms, "dag", "task", "None", try_no)
    }

    #[test]
    fn delays_grow_with_jitter_below_twice_the_delay_and_stop_at_a_day() {
        for try_no in 1..40 {
            let (found, exact) = (delay(300_000, 2.0, None, try_no), 300.0 * 2_f64.powi(try_no as i32 - 1));
            assert!(found.as_secs_f64() >= exact.min(86_400.0), "{try_no}: {found:?}");
            assert!(found.as_secs_f64() < 2.0 * exact && found <= MAX_RETRY_DELAY, "{try_no}: {found:?}");
        }
        assert_eq!(delay(300_000, 2.0, Some(1_000), 9), Duration::from_secs(1));
    }

    #[test]
    fn odd_numbers_give_a_delay_and_no_panic() {
        for backoff in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0, 1e-300, 1e300] {
            for base_ms in [0, 1, u64::MAX] {
                for try_no in [0, 1, u32::MAX] {
                    delay(base_ms, backoff, None, try_no);
                }
            }
        }
        assert_eq!(delay(1_500, f64::NAN, None, 3), Duration::from_millis(1_500));
    }
}
