//! Delays of restarts after unexpected exits. The first restart is immediate; if the worker exits again soon, the delay
//! doubles. Without a delay, a binary that crashes at its start would be started ten times a second, and its messages
//! would scroll by.

use std::time::Duration;

/// Running time after which an exit is not caused by the start, so the delay is reset.
const LASTS: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Crashes {
    in_a_row: u32,
}

impl Crashes {
    /// Returns the delay before the next start of a worker that ran for `lived`.
    pub(super) fn pause(&mut self, lived: Duration) -> Duration {
        if lived >= LASTS {
            self.in_a_row = 0;
        }
        let before = self.in_a_row;
        self.in_a_row = before.saturating_add(1);
        match before {
            0 => Duration::ZERO,
            _ => FIRST_PAUSE.saturating_mul(1 << (before - 1).min(10)).min(LONGEST_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_not_last_is_started_later_each_time() {
        let mut crashes = Crashes::default();
        let lived = [90, 1, 0, 0, 0, 0, 0, 0, 3_600, 1];
        let pauses = lived.map(|secs| crashes.pause(Duration::from_secs(secs)).as_secs());
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30, 0, 1]);
    }
}
