//! Retry policy for HTTP requests: which failures are retried, and the backoff with jitter.

use anyhow::anyhow;
use orch_sdk::task::fatal;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Maximum delay before a request is retried. If a server requests a longer one, the task attempt fails and the
/// task's own retry policy applies.
const MOST_PAUSE: Duration = Duration::from_mins(2);
/// If a server requests a delay longer than this, the error is fatal. The task's own retries would come too early,
/// within minutes.
const MAX_RETRIED_PAUSE: Duration = Duration::from_hours(1);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) times: u32,
    pub(crate) first: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { times: 5, first: Duration::from_millis(500) }
    }
}

/// What to do after a failed request.
#[derive(Debug)]
pub(super) enum Turn {
    Again(Duration, String),
    GiveUp(anyhow::Error),
    /// The server responded with status 404 or 410.
    NotThere(anyhow::Error),
}

impl Patience {
    pub(super) fn after_status(&self, status: u16, retry_after: Option<&str>, asked: u32, shown: &str) -> Turn {
        let said = format!("`{shown}` answers {status}");
        let may_pass = matches!(status, 408 | 425 | 429) || status >= 500;
        if !may_pass {
            let hint = match status {
                401 | 403 => "\nhint: look at login, password and extra of the connection",
                404 | 410 => "\nhint: is the address right?",
                300..=399 => "\nhint: it is elsewhere now; a request with secrets follows no redirect",
                _ => "",
            };
            let error = fatal(format!("{said}{hint}"));
            return if matches!(status, 404 | 410) { Turn::NotThere(error) } else { Turn::GiveUp(error) };
        }
        let wanted = retry_after.and_then(|after| after.trim().parse().ok()).map(Duration::from_secs);
        if let Some(wanted) = wanted.filter(|wanted| *wanted > MAX_RETRIED_PAUSE) {
            let seconds = wanted.as_secs();
            let what =
                format!("{said} and asks for no request for {seconds} s (`Retry-After`), so the task is not retried");
            return Turn::GiveUp(fatal(format!("{what}\nhint: clear the task after that time")));
        }
        if asked >= self.times || wanted.is_some_and(|wanted| wanted > MOST_PAUSE) {
            return Turn::GiveUp(anyhow!("{said}, asked {} times", asked + 1));
        }
        let pause = self.next(asked);
        Turn::Again(wanted.map_or(pause, |wanted| wanted.max(pause)), said)
    }

    pub(super) fn after_silence(&self, error: reqwest::Error, asked: u32, shown: &str) -> Turn {
        let said = format!("`{shown}` does not answer");
        if asked >= self.times {
            return Turn::GiveUp(anyhow::Error::new(error).context(format!("{said}, asked {} times", asked + 1)));
        }
        Turn::Again(self.next(asked), said)
    }

    /// Returns the delay after `asked` failed requests.
    pub(crate) fn next(&self, asked: u32) -> Duration {
        self.pause(asked, dice())
    }

    /// Returns the backoff delay. It doubles with each failure and is multiplied by a jitter of 0.5 to 1, so that
    /// clients whose requests failed at the same time do not retry at the same time. `dice` is a random number from 0
    /// to 1.
    fn pause(&self, asked: u32, dice: f64) -> Duration {
        let whole = self.first.saturating_mul(2_u32.saturating_pow(asked)).min(MOST_PAUSE);
        whole.mul_f64(0.5 + dice / 2.0)
    }
}

/// Returns a random number from 0 to 1. The randomness comes from the standard library, which seeds each hasher
/// differently.
fn dice() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_sdk::task::TaskError;

    const PATIENCE: Patience = Patience { times: 3, first: Duration::from_secs(1) };

    fn turn(status: u16, retry_after: Option<&str>, asked: u32) -> Option<Duration> {
        match PATIENCE.after_status(status, retry_after, asked, "http://h/x") {
            Turn::Again(pause, _) => Some(pause),
            Turn::GiveUp(_) | Turn::NotThere(_) => None,
        }
    }

    #[test]
    fn what_may_pass_is_asked_again_a_few_times() {
        for status in [408, 429, 500, 503] {
            assert!(turn(status, None, 0).is_some() && turn(status, None, 3).is_none(), "{status}");
        }
        for status in [301, 400, 401, 404] {
            assert!(turn(status, None, 0).is_none(), "{status}");
        }
    }

    #[test]
    fn pauses_double_and_are_not_all_of_one_length() {
        let millis = |asked, dice| PATIENCE.pause(asked, dice).as_millis();
        assert_eq!([millis(0, 0.0), millis(0, 1.0), millis(2, 0.0), millis(2, 1.0)], [500, 1_000, 2_000, 4_000]);
        assert_eq!(PATIENCE.pause(60, 1.0), MOST_PAUSE);
        assert!((0.0..1.0).contains(&dice()));
    }

    #[test]
    fn a_server_is_not_asked_before_it_wants_to_be() {
        assert_eq!(turn(429, Some("7"), 0), Some(Duration::from_secs(7)));
        assert_eq!(turn(503, Some("600"), 0), None);
        let Turn::GiveUp(error) = PATIENCE.after_status(503, Some("86400"), 0, "http://h/x") else {
            panic!("it gives up")
        };
        assert!(error.to_string().contains("86400 s"), "{error}");
        assert!(matches!(TaskError::from(error), TaskError::Fatal { .. }));
        assert!(turn(503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), 0).is_some());
    }
}
