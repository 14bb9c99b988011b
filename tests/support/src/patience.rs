//! Waiting for what processes of their own do.

use std::time::{Duration, Instant};

/// Nothing a test waits for takes so long.
const PATIENCE: Duration = Duration::from_mins(3);
/// Between two looks: each may be a process that starts.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until it is there; until then `look` says what it saw.
///
/// # Panics
/// It does not come.
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
