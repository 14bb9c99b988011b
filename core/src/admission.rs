//! Who of those that wait at gates may go now: a pure function of what is taken and who waits.
//!
//! Under one limit the order is strict: by priority, then by who waited longer; whoever finds too little room keeps those
//! behind it out of that room. Limits do not block one another: who waits for one leaves the others to the rest.

pub mod past;

use crate::gates::{Gates, Need, Of};
use crate::why::Reason;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{HashMap, HashSet};

/// What is taken of what.
#[derive(Debug, Clone, Default)]
pub struct House {
    pub now: DateTime<Utc>,
    /// Slots of the pools there are; below zero: infinite.
    pub pools: HashMap<String, i32>,
    /// Slots taken, by the name under which they are counted (`Need::limit`).
    pub taken: HashMap<String, i64>,
    /// How many each rate let in, and when these stop counting, the soonest first.
    pub lately: HashMap<String, Vec<(DateTime<Utc>, i64)>>,
}

/// A try that waits.
#[derive(Debug, Clone)]
pub struct Waiting<'a> {
    /// Needs of the attempt, by the `conf` of its run.
    pub needs: Vec<Need>,
    /// What it was given already: its worker was lost, or it was deferred in a pool that counts those.
    pub holds: &'a [String],
    /// What of the run before stands in its way.
    pub past: Option<Reason>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What it takes and does not have yet.
    Go(Vec<Need>),
    /// Everything that stands in its way.
    Stay(Vec<Reason>),
}

/// Decides about all of them, in the order in which they are to be served.
pub fn decide(mut house: House, waiting: &[Waiting<'_>]) -> Vec<Verdict> {
    let mut closed = HashSet::new();
    waiting.iter().map(|one| house.one(one, &mut closed)).collect()
}

/// When one that stays may go without anybody ending: a rate lets in again.
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
        // One that would not go anyway, for another reason, keeps nobody out.
        if let ([need], [reason]) = (lacks.as_slice(), reasons.as_slice())
            && reason.passes()
        {
            closed.insert(need.limit.clone());
        }
        Verdict::Stay(reasons)
    }

    /// Slots of the default pool are counted once it has a size.
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

    /// Why it cannot have it now. `closed`: somebody before it waits for the room that is left.
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

    /// When the rate lets the next one in; `None`: now.
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

    /// How many tries of a line can go at most, as far as that follows from what its tries have in common; of a line whose
    /// tries are decided run by run, how many of each run. 0: it need not be looked at.
    pub fn room(&self, gates: &Gates) -> usize {
        let rooms = gates.needs(None).into_iter().filter(|need| self.counts(need)).map(|need| {
            let left = |most: i32| match i64::from(most) - self.taken(&need.limit) {
                left if left <= 0 => 0,
                // One that wants more than is left is looked at: nobody may pass it.
                left => (left / i64::from(need.slots.max(1))).max(1),
            };
            match &need.of {
                Of::Pool(pool) => match self.pools.get(pool) {
                    None => 0,
                    Some(slots) if *slots < 0 => i64::MAX,
                    Some(slots) => left(*slots),
                },
                // A run is in one group, and no group lets in more; what is taken of each is not known here.
                Of::Limit { key: Some(_), most, .. } => i64::from(*most),
                Of::Rate { key: Some(_), most, .. } => i64::from(*most) + 1,
                Of::Limit { most, .. } | Of::Task { most, .. } => left(*most),
                // One more, so that somebody hears when it opens.
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
