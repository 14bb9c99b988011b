//! Determines whether a run has met or missed its deadline.

use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::state::UnknownWord;
use orch_spec::words;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

words! {
    DeadlineState {
        /// The deadline is in the future, or it has passed but has not been checked yet.
        Open = 1 "open",
        Met = 2 "met",
        Missed = 3 "missed",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The deadline is relative to the start of the run, and the run has not started.
    NoTimeYet,
    /// The run has not finished. Contains the time until its deadline.
    Left(TimeDelta),
    /// The run met its deadline. Contains the time between its end and the deadline; `None` if the run was cleared
    /// later.
    Kept(Option<TimeDelta>),
    /// The run, finished or not, missed its deadline. Contains the delay.
    Missed(TimeDelta),
}

/// Compares a run with its deadline `due`. `ended` is `None` if the run has not finished. A stored result stays valid
/// after the run is cleared.
pub fn standing(
    state: DeadlineState,
    due: Option<DateTime<Utc>>,
    ended: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Standing {
    let Some(due) = due else { return Standing::NoTimeYet };
    let late = || Standing::Missed((ended.unwrap_or(now) - due).max(TimeDelta::zero()));
    match (state, ended) {
        (DeadlineState::Missed, _) => late(),
        (_, Some(ended)) if ended <= due => Standing::Kept(Some(due - ended)),
        (DeadlineState::Met, _) => Standing::Kept(None),
        (DeadlineState::Open, None) if now <= due => Standing::Left(due - now),
        (DeadlineState::Open, _) => late(),
    }
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::NoTimeYet => "waiting",
            Standing::Left(_) => "open",
            Standing::Kept(_) => "met",
            Standing::Missed(_) => "missed",
        }
    }

    /// Returns the time until the deadline, or the time by which the run met or missed it.
    pub fn by(self) -> Option<TimeDelta> {
        match self {
            Standing::NoTimeYet => None,
            Standing::Left(by) | Standing::Missed(by) => Some(by),
            Standing::Kept(by) => by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The deadline is at second 100. `ended` and `now` are in seconds.
    fn check(state: DeadlineState, ended: Option<i64>, now: i64, expected: Standing) {
        let at = |secs: i64| DateTime::from_timestamp(secs, 0).expect("a moment");
        assert_eq!(standing(state, Some(at(100)), ended.map(at), at(now)), expected, "{state} {ended:?} at {now}");
    }

    #[test]
    fn a_deadline_is_ahead_kept_or_missed() {
        use DeadlineState::{Met, Missed, Open};
        let secs = TimeDelta::seconds;
        check(Open, None, 40, Standing::Left(secs(60)));
        check(Open, None, 100, Standing::Left(secs(0)));
        check(Open, Some(70), 80, Standing::Kept(Some(secs(30))));
        check(Met, Some(100), 500, Standing::Kept(Some(secs(0))));
        check(Missed, None, 130, Standing::Missed(secs(30)));
        check(Missed, Some(160), 900, Standing::Missed(secs(60)));
        // The deadline has not been checked yet.
        check(Open, None, 130, Standing::Missed(secs(30)));
        check(Open, Some(101), 130, Standing::Missed(secs(1)));
        // The run was cleared after it met its deadline.
        check(Met, None, 500, Standing::Kept(None));
        check(Met, Some(600), 700, Standing::Kept(None));
        assert_eq!(standing(Open, None, None, DateTime::UNIX_EPOCH), Standing::NoTimeYet);
    }
}
