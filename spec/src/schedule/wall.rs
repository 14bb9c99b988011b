//! Lays wall times on a time zone: when, in UTC, does an expression fire.
//!
//! Airflow's rule. The wall clock decides. A time that the clock skips moves forward by the length of the gap, and of
//! several skipped ones only the first fires. A time that the clock shows twice fires the second time; an expression
//! whose hour field covers every hour fires both times. The answer depends on the instant alone, never on the tick
//! the caller came from, so `previous_before` undoes `next_after`, and both are strictly monotone.

use super::cron::CronExpr;
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// Clocks have skipped a whole day (Apia 2011), never more.
const LONGEST_GAP: TimeDelta = TimeDelta::hours(26);

/// A search goes round again only for ticks that a gap swallowed: one gap, so three rounds would do.
const MAX_ROUNDS: usize = 8;

/// The first tick after `after`. None: the expression never fires (again).
pub fn next_after(expr: &CronExpr, tz: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let local = local(tz, after)?;
    if let Some(moved) = Gap::just_before(tz, after).and_then(|gap| gap.tick(expr)).filter(|tick| *tick > after) {
        return Some(moved);
    }
    let fold = Fold::at(tz, local).filter(|fold| after < fold.second(local));
    let wall = match &fold {
        // The first pass: fixed hours fire in the second one, which shows all of the fold again.
        Some(fold) if !expr.covers_every_hour() => expr.next_wall(before(fold.start))?,
        Some(fold) => match expr.next_wall(local)? {
            wall if wall < fold.end => return Some(fold.first(wall)),
            _ => expr.next_wall(before(fold.start))?,
        },
        None => expr.next_wall(local)?,
    };
    match Fold::at(tz, wall) {
        Some(ahead) if fold.is_none() && expr.covers_every_hour() && ahead.first(wall) > after => {
            Some(ahead.first(wall))
        }
        Some(ahead) => Some(ahead.second(wall)),
        None => instant(tz, wall),
    }
}

/// The last tick before `until`. None: there is none in 50 years.
pub fn previous_before(expr: &CronExpr, tz: Tz, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut cursor = local(tz, until)?;
    if let Some(fold) = Fold::at(tz, cursor) {
        let first_pass = until <= fold.first(cursor);
        if first_pass && !expr.covers_every_hour() {
            cursor = fold.start;
        } else if !first_pass && expr.covers_every_hour() {
            // The second pass so far, else all of the first.
            match expr.previous_wall(cursor)? {
                wall if wall >= fold.start => return Some(fold.second(wall)),
                _ => cursor = fold.end,
            }
        }
    }
    for _ in 0..MAX_ROUNDS {
        let wall = expr.previous_wall(cursor)?;
        if let Some(fold) = Fold::at(tz, wall) {
            let second = fold.second(wall);
            return Some(if second < until { second } else { fold.first(wall) });
        }
        let plain = instant(tz, wall)?;
        let Some(gap) = Gap::at(tz, wall).or_else(|| Gap::just_before(tz, plain)) else { return Some(plain) };
        match gap.tick(expr) {
            // Times between the end of a gap and the tick that moved out of it are no ticks.
            Some(moved) if moved >= plain || wall < gap.end => {
                if moved < until {
                    return Some(moved);
                }
                cursor = gap.start;
            }
            _ => return Some(plain),
        }
    }
    None
}

/// The first tick at or after `from`.
pub fn next_from(expr: &CronExpr, tz: Tz, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
    next_after(expr, tz, from.checked_sub_signed(TimeDelta::nanoseconds(1))?)
}

/// The last tick at or before `until`.
pub fn previous_until(expr: &CronExpr, tz: Tz, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    previous_before(expr, tz, until.checked_add_signed(TimeDelta::nanoseconds(1))?)
}

/// What the clock on the wall shows. None at the ends of the calendar.
fn local(tz: Tz, at: DateTime<Utc>) -> Option<NaiveDateTime> {
    at.naive_utc().checked_add_offset(offset(tz, at))
}

fn offset(tz: Tz, at: DateTime<Utc>) -> chrono::FixedOffset {
    tz.offset_from_utc_datetime(&at.naive_utc()).fix()
}

fn before(wall: NaiveDateTime) -> NaiveDateTime {
    wall - TimeDelta::nanoseconds(1)
}

/// A wall time in UTC; skipped ones move by the length of the gap, repeated ones are the second.
fn instant(tz: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    let offset = match tz.offset_from_local_datetime(&wall) {
        MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(_, offset) => offset.fix(),
        MappedLocalTime::None => Gap::at(tz, wall)?.offset,
    };
    wall.checked_sub_offset(offset).map(|utc| utc.and_utc())
}

/// Wall times that the clock skips: `start` is the first of them, `end` the first that exists again.
struct Gap {
    start: NaiveDateTime,
    end: NaiveDateTime,
    /// Before the gap.
    offset: chrono::FixedOffset,
}

impl Gap {
    fn at(tz: Tz, wall: NaiveDateTime) -> Option<Gap> {
        let gap = GapInfo::new(&wall, &tz)?;
        let (start, offset) = gap.begin?;
        Some(Gap { start, end: gap.end?.naive_local(), offset: offset.fix() })
    }

    /// The gap whose moved times may still lie at or after `at`: by the old offset, `at` is in it.
    fn just_before(tz: Tz, at: DateTime<Utc>) -> Option<Gap> {
        let old = offset(tz, at.checked_sub_signed(LONGEST_GAP)?);
        if old.local_minus_utc() >= offset(tz, at).local_minus_utc() {
            return None;
        }
        Gap::at(tz, at.naive_utc().checked_add_offset(old)?)
    }

    /// The one tick of this gap, moved out of it.
    fn tick(&self, expr: &CronExpr) -> Option<DateTime<Utc>> {
        let wall = expr.next_wall(before(self.start)).filter(|wall| *wall < self.end)?;
        wall.checked_sub_offset(self.offset).map(|utc| utc.and_utc())
    }
}

/// Wall times that the clock shows twice, from `start` until before `end`.
struct Fold {
    start: NaiveDateTime,
    end: NaiveDateTime,
    old: chrono::FixedOffset,
    new: chrono::FixedOffset,
}

impl Fold {
    fn at(tz: Tz, wall: NaiveDateTime) -> Option<Fold> {
        let MappedLocalTime::Ambiguous(old, new) = tz.offset_from_local_datetime(&wall) else { return None };
        let (old, new) = (old.fix(), new.fix());
        // The second at which the offset changes lies after the first showing and not after the second one.
        let (mut low, mut high) = ((wall - old).and_utc().timestamp(), (wall - new).and_utc().timestamp());
        while high - low > 1 {
            let middle = i64::midpoint(low, high);
            if offset(tz, DateTime::from_timestamp(middle, 0)?) == old { low = middle } else { high = middle }
        }
        let change = DateTime::from_timestamp(high, 0)?.naive_utc();
        Some(Fold { start: change + new, end: change + old, old, new })
    }

    fn first(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        (wall - self.old).and_utc()
    }

    fn second(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        (wall - self.new).and_utc()
    }
}
