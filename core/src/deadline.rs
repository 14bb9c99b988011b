//! How a run stands with a time by which it is to be over.

use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::state::UnknownWord;
use orch_spec::words;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

words! {
    /// What became of a deadline.
    DeadlineState {
        /// Its time has not come, or nobody has looked since.
        Open = 1 "open",
        Met = 2 "met",
        Missed = 3 "missed",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts from the start of a run that has not started.
    NoTimeYet,
    /// The run is not over, and has so long.
    Left(TimeDelta),
    /// The run was over so long before; none: it was, and is cleared since.
    Kept(Option<TimeDelta>),
    /// The run was over so much later, or is late by so much already.
    Missed(TimeDelta),
}

/// Of a deadline at `due`, for a run that ended then or has not. What was seen at its time stays, whatever becomes of the run.
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
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::NoTimeYet => "waiting",
            Standing::Left(_) => "open",
            Standing::Kept(_) => "met",
            Standing::Missed(_) => "missed",
        }
    }

    /// How long is left, or by how much it was kept or missed.
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

    /// Due at second 100; `ended` and `now` in seconds.
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
        // Nobody has looked so far.
        check(Open, None, 130, Standing::Missed(secs(30)));
        check(Open, Some(101), 130, Standing::Missed(secs(1)));
        // Cleared afterwards, and at work again.
        check(Met, None, 500, Standing::Kept(None));
        check(Met, Some(600), 700, Standing::Kept(None));
        assert_eq!(standing(Open, None, None, DateTime::UNIX_EPOCH), Standing::NoTimeYet);
    }
}
