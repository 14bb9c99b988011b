//! Decides which waiting attempts may start now: a pure function of the slots in use and the waiting attempts.
//!
//! Under one limit the order is strict: by priority, then by waiting time; an attempt that needs more slots than are
//! free blocks the attempts behind it. Limits do not block one another: an attempt that waits for one limit leaves the
//! slots of the others free.

pub mod past;

use crate::gates::{Gates, Need, Of};
use crate::why::Reason;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{HashMap, HashSet};

/// Sizes and current usage of all pools and limits.
#[derive(Debug, Clone, Default)]
pub struct House {
    pub now: DateTime<Utc>,
    /// Number of slots per existing pool. A negative number means unlimited.
    pub pools: HashMap<String, i32>,
    /// Slots in use, by the name of the pool or limit (`Need::limit`).
    pub taken: HashMap<String, i64>,
    /// Recent admissions under each rate limit: the time at which they stop counting and their number, earliest first.
    pub lately: HashMap<String, Vec<(DateTime<Utc>, i64)>>,
}

#[derive(Debug, Clone)]
pub struct Waiting<'a> {
    /// Slots that the attempt needs in pools and limits, computed from the `conf` of its run.
    pub needs: Vec<Need>,
    /// Names of limits in which the attempt already holds slots, because its worker was lost or because it was deferred
    /// in a pool that counts deferred attempts.
    pub holds: &'a [String],
    /// Reason why the previous run blocks this attempt. `None` if it does not.
    pub past: Option<Reason>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The attempt may start. Contains the slots that it must acquire.
    Go(Vec<Need>),
    Stay(Vec<Reason>),
}

/// Decides about all waiting attempts in order. An earlier attempt in `waiting` takes precedence over later ones.
pub fn decide(mut house: House, waiting: &[Waiting<'_>]) -> Vec<Verdict> {
    let mut closed = HashSet::new();
    waiting.iter().map(|one| house.one(one, &mut closed)).collect()
}

/// Returns the earliest time at which a rate limit admits one of the rejected attempts.
pub fn look_again(verdicts: &[Verdict]) -> Option<DateTime<Utc>> {
    let reasons = verdicts.iter().flat_map(|verdict| match verdict {
        Verdict::Stay(reasons) => reasons.as_slice(),
        Verdict::Go(_) => &[],
    });
    reasons.filter_map(Reason::again_at).min()
}

impl House {
    fn one(&mut self, one: &Waiting<'_>, closed: &mut HashSet<String>) -> Verdict {
        let needs = one.needs.iter().filter(|need| self.counts(need) && !one.holds.contains(&need.limit));
        let needs: Vec<Need> = needs.cloned().collect();
        let mut reasons: Vec<Reason> = one.past.iter().cloned().collect();
        let mut lacks: Vec<&Need> = Vec::new();
        for need in &needs {
            if let Some(reason) = self.refuses(need, closed.contains(&need.limit)) {
                reasons.push(reason);
                lacks.push(need);
            }
        }
        if reasons.is_empty() {
            needs.iter().for_each(|need| self.take(need));
            return Verdict::Go(needs);
        }
        // An attempt that is also blocked for another reason must not block later attempts.
        if let ([need], [reason]) = (lacks.as_slice(), reasons.as_slice())
            && reason.passes()
        {
            closed.insert(need.limit.clone());
        }
        Verdict::Stay(reasons)
    }

    /// Returns true if the usage of this pool or limit is counted. The default pool is not counted while it has no
    /// size.
    fn counts(&self, need: &Need) -> bool {
        match &need.of {
            Of::Pool(pool) => {
                pool != crate::gates::DEFAULT_POOL || self.pools.get(pool).is_some_and(|&slots| slots >= 0)
            }
            _ => true,
        }
    }

    fn taken(&self, limit: &str) -> i64 {
        self.taken.get(limit).copied().unwrap_or(0)
    }

    /// Returns why the attempt cannot acquire these slots now. `closed` is true if an earlier attempt already waits for
    /// this limit.
    fn refuses(&self, need: &Need, closed: bool) -> Option<Reason> {
        let taken = self.taken(&need.limit);
        let wants = need.slots;
        let full = |most: i32| closed || taken + i64::from(wants) > i64::from(most);
        match &need.of {
            Of::Pool(pool) => match self.pools.get(pool).copied() {
                None => Some(Reason::PoolMissing { pool: pool.clone() }),
                Some(slots) if slots < 0 => None,
                Some(slots) if wants > slots => Some(Reason::PoolTooSmall { pool: pool.clone(), slots, wants }),
                Some(slots) => full(slots).then(|| Reason::PoolFull { pool: pool.clone(), slots, taken, wants }),
            },
            Of::Limit { name, key, most } => full(*most).then(|| Reason::LimitFull {
                limit: need.limit.clone(),
                name: name.clone(),
                key: key.clone(),
                most: *most,
            }),
            Of::Task { task, most } => {
                full(*most).then(|| Reason::TaskFull { limit: need.limit.clone(), task: task.clone(), most: *most })
            }
            Of::Rate { name, key, most, per_ms } => {
                let again_at = self.rate_opens(&need.limit, *most)?;
                Some(Reason::RateFull { name: name.clone(), key: key.clone(), most: *most, per_ms: *per_ms, again_at })
            }
        }
    }

    /// Returns when the rate limit admits the next attempt. `None` if it can admit one now.
    fn rate_opens(&self, limit: &str, most: i32) -> Option<DateTime<Utc>> {
        let lately = self.lately.get(limit)?;
        let mut inside: i64 = lately.iter().filter(|(until, _)| *until > self.now).map(|(_, many)| many).sum();
        let mut opens = None;
        for (until, many) in lately.iter().filter(|(until, _)| *until > self.now) {
            if inside < i64::from(most) {
                break;
            }
            inside -= many;
            opens = Some(*until);
        }
        opens
    }

    fn take(&mut self, need: &Need) {
        if let Of::Rate { per_ms, .. } = need.of {
            let per = TimeDelta::milliseconds(i64::try_from(per_ms).unwrap_or(i64::MAX / 2));
            let until = self.now.checked_add_signed(per).unwrap_or(DateTime::<Utc>::MAX_UTC);
            self.lately.entry(need.limit.clone()).or_default().push((until, 1));
        } else {
            *self.taken.entry(need.limit.clone()).or_default() += i64::from(need.slots);
        }
    }

    /// Returns an upper bound on the number of attempts that can be admitted from one queue of attempts with equal
    /// gates. If the gates depend on the run, the bound applies to each run. The caller can skip the queue if the
    /// result is 0.
    pub fn room(&self, gates: &Gates) -> usize {
        let rooms = gates.needs(None).into_iter().filter(|need| self.counts(need)).map(|need| {
            let left = |most: i32| match i64::from(most) - self.taken(&need.limit) {
                left if left <= 0 => 0,
                // An attempt that needs more slots than are free must still be returned, because it blocks later
                // attempts.
                left => (left / i64::from(need.slots.max(1))).max(1),
            };
            match &need.of {
                Of::Pool(pool) => match self.pools.get(pool) {
                    None => 0,
                    Some(slots) if *slots < 0 => i64::MAX,
                    Some(slots) => left(*slots),
                },
                // Each run belongs to one group of the limit, and no group admits more than `most`. The usage per group
                // is not known here.
                Of::Limit { key: Some(_), most, .. } => i64::from(*most),
                Of::Rate { key: Some(_), most, .. } => i64::from(*most) + 1,
                Of::Limit { most, .. } | Of::Task { most, .. } => left(*most),
                // Add one, so that one rejected attempt reports when the rate limit admits again.
                Of::Rate { most, .. } => {
                    let inside: i64 = self.lately.get(&need.limit).into_iter().flatten().map(|(_, many)| many).sum();
                    (i64::from(*most) - inside).max(0) + 1
                }
            }
        });
        usize::try_from(rooms.min().unwrap_or(i64::MAX)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
