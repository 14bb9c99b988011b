//! Computes when, in UTC, an expression fires in a time zone.
//!
//! The wall clock decides, as in Airflow. A time that the clock skips moves forward by the length of the gap, and of
//! several skipped times only the first fires. A time that the clock shows twice fires the second time; an expression
//! whose hour field covers every hour fires both times. The result depends on the instant alone, never on the tick that
//! the caller came from, so `previous_before` inverts `next_after`, and both are strictly monotonic.

use super::cron::CronExpr;
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// Upper bound of a gap: clocks have skipped a whole day (Apia 2011), never more.
const LONGEST_GAP: TimeDelta = TimeDelta::hours(26);

/// A search repeats only for ticks that a gap removed. There is at most one gap, so three rounds would be enough.
const MAX_ROUNDS: usize = 8;

/// Returns the first tick after `after`. `None`: the expression never fires (again).
pub fn next_after(expr: &CronExpr, tz: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let local = local(tz, after)?;
    if let Some(moved) = Gap::just_before(tz, after).and_then(|gap| gap.tick(expr)).filter(|tick| *tick > after) {
        return Some(moved);
    }
    let fold = Fold::at(tz, local).filter(|fold| after < fold.second(local));
    let wall = match &fold {
        // The first pass: fixed hours fire in the second pass, which repeats the whole fold.
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

/// Returns the last tick before `until`. `None` if there is none in 50 years.
pub fn previous_before(expr: &CronExpr, tz: Tz, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut cursor = local(tz, until)?;
    if let Some(fold) = Fold::at(tz, cursor) {
        let first_pass = until <= fold.first(cursor);
        if first_pass && !expr.covers_every_hour() {
            cursor = fold.start;
        } else if !first_pass && expr.covers_every_hour() {
            // Search the second pass up to here, then the whole first pass.
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
            // Times between the end of a gap and the tick that moved out of it are not ticks.
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

/// Returns the first tick at or after `from`.
pub fn next_from(expr: &CronExpr, tz: Tz, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
    next_after(expr, tz, from.checked_sub_signed(TimeDelta::nanoseconds(1))?)
}

/// Returns the last tick at or before `until`.
pub fn previous_until(expr: &CronExpr, tz: Tz, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    previous_before(expr, tz, until.checked_add_signed(TimeDelta::nanoseconds(1))?)
}

/// Returns the wall time. `None` at the ends of the calendar.
fn local(tz: Tz, at: DateTime<Utc>) -> Option<NaiveDateTime> {
    at.naive_utc().checked_add_offset(offset(tz, at))
}

fn offset(tz: Tz, at: DateTime<Utc>) -> chrono::FixedOffset {
    tz.offset_from_utc_datetime(&at.naive_utc()).fix()
}

fn before(wall: NaiveDateTime) -> NaiveDateTime {
    wall - TimeDelta::nanoseconds(1)
}

/// Converts a wall time to UTC. A skipped time moves by the length of the gap, and a repeated time is the second
/// occurrence.
fn instant(tz: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    let offset = match tz.offset_from_local_datetime(&wall) {
        MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(_, offset) => offset.fix(),
        MappedLocalTime::None => Gap::at(tz, wall)?.offset,
    };
    wall.checked_sub_offset(offset).map(|utc| utc.and_utc())
}

/// Wall times that the clock skips, from `start` (inclusive) to `end` (exclusive).
struct Gap {
    start: NaiveDateTime,
    end: NaiveDateTime,
    /// UTC offset before the gap.
    offset: chrono::FixedOffset,
}

impl Gap {
    fn at(tz: Tz, wall: NaiveDateTime) -> Option<Gap> {
        let gap = GapInfo::new(&wall, &tz)?;
        let (start, offset) = gap.begin?;
        Some(Gap { start, end: gap.end?.naive_local(), offset: offset.fix() })
    }

    /// Returns the gap whose moved times may be at or after `at`: with the old offset, `at` is inside the gap.
    fn just_before(tz: Tz, at: DateTime<Utc>) -> Option<Gap> {
        let old = offset(tz, at.checked_sub_signed(LONGEST_GAP)?);
        if old.local_minus_utc() >= offset(tz, at).local_minus_utc() {
            return None;
        }
        Gap::at(tz, at.naive_utc().checked_add_offset(old)?)
    }

    /// Returns the only tick of this gap, moved out of it.
    fn tick(&self, expr: &CronExpr) -> Option<DateTime<Utc>> {
        let wall = expr.next_wall(before(self.start)).filter(|wall| *wall < self.end)?;
        wall.checked_sub_offset(self.offset).map(|utc| utc.and_utc())
    }
}

/// Wall times that the clock shows twice, from `start` (inclusive) to `end` (exclusive).
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
        // The offset changes after the first occurrence of `wall`, and at the latest at the other occurrence.
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
