//! Waits for other processes.

use std::time::{Duration, Instant};

/// Timeout for everything that a test waits for.
const PATIENCE: Duration = Duration::from_mins(3);
/// Delay between two polls. Each poll may start a process.
const PAUSE: Duration = Duration::from_millis(50);

/// Polls `look` until it returns a value; an error describes the state for the failure message.
///
/// # Panics
/// Panics after the timeout.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "processes of their own send no events")]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(began.elapsed() < PATIENCE, "{what} does not come: {seen}"),
        }
        std::thread::sleep(PAUSE);
    }
}
