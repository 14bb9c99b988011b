//! Start delays and busy slots of recent task instances by interval. Pure function of its arguments.

use crate::parts::{self, Chart, ChartType, Sample, Series, ZonedNow};
use chrono::{DateTime, TimeDelta, Utc};
use orch_store::monitor::Start;

/// Possible lengths of an interval in seconds. The shortest one that needs at most `MOST_INTERVALS` intervals is used.
const LENGTHS: [i64; 8] = [1, 5, 15, 60, 300, 900, 1_800, 3_600];
const MOST_INTERVALS: i64 = 60;

#[derive(Debug)]
pub(super) struct Pace {
    /// Summary, such as `median 3 ms, 95 % within 12 ms`.
    pub(super) words: String,
    pub(super) delays: Chart,
    pub(super) legend: Vec<(Sample, &'static str)>,
    pub(super) busy: Chart,
}

#[derive(Debug, PartialEq)]
struct Interval {
    at: DateTime<Utc>,
    /// Sorted start delays of the instances that started in the interval.
    delays: Vec<TimeDelta>,
    /// Average number of busy slots.
    busy: f64,
}

/// Returns `None` if no instance has started.
pub(super) fn pace(starts: &[Start], now: ZonedNow) -> Option<Pace> {
    let intervals = intervals(starts, now.at);
    let mut all: Vec<TimeDelta> = intervals.iter().flat_map(|interval| interval.delays.iter().copied()).collect();
    all.sort_unstable();
    let said = |percent| percentile(&all, percent).map(parts::duration);
    let words = || intervals.iter().map(|interval| now.written(interval.at, "%Y-%m-%d %H:%M:%S")).collect();
    let delays = |name: &str, percent| Series {
        name: name.into(),
        values: intervals.iter().map(|interval| percentile(&interval.delays, percent).map(millis)).collect(),
        band: Vec::new(),
    };
    let busy = Series { values: intervals.iter().map(|interval| Some(interval.busy)).collect(), ..Series::default() };
    let both = vec![delays("median", 50), delays("95 %", 95)];
    Some(Pace {
        words: format!("median {}, 95 % within {}", said(50)?, said(95)?),
        delays: Chart::of_series(ChartType::Line, "Milliseconds until a task began".into(), words(), both)?,
        legend: vec![(Sample::of(ChartType::Line, 0), "median"), (Sample::of(ChartType::Line, 1), "95 %")],
        busy: Chart::of_series(ChartType::Bars, "Busy slots, on average".into(), words(), vec![busy])?,
    })
}

/// Returns the intervals from the first start until now. The last one ends now.
fn intervals(starts: &[Start], now: DateTime<Utc>) -> Vec<Interval> {
    let Some(first) = starts.iter().map(|start| start.started_at).min().filter(|first| *first <= now) else {
        return Vec::new();
    };
    let seconds = (now - first).num_seconds();
    let fits = |length: &&i64| seconds / **length < MOST_INTERVALS - 1;
    let length = LENGTHS.iter().find(fits).copied().unwrap_or(seconds / (MOST_INTERVALS - 1) + 1);
    let begin = first.timestamp().div_euclid(length);
    let count = usize::try_from(now.timestamp().div_euclid(length) - begin + 1).unwrap_or(0);
    let at = |place: usize| DateTime::from_timestamp((begin + place as i64) * length, 0).unwrap_or(first);
    let mut intervals: Vec<Interval> =
        (0..count).map(|place| Interval { at: at(place), delays: Vec::new(), busy: 0.0 }).collect();
    let place_of = |moment: DateTime<Utc>| usize::try_from(moment.timestamp().div_euclid(length) - begin).unwrap_or(0);
    for start in starts.iter().filter(|start| start.started_at <= now) {
        let end = start.ended_at.unwrap_or(now).clamp(start.started_at, now);
        intervals[place_of(start.started_at)].delays.push(start.started_at - start.ready_at);
        for interval in &mut intervals[place_of(start.started_at)..=place_of(end)] {
            let over = (interval.at + TimeDelta::seconds(length)).min(now);
            let share = end.min(over) - start.started_at.max(interval.at);
            interval.busy += millis(share) / millis(over - interval.at).max(1.0);
        }
    }
    for interval in &mut intervals {
        interval.delays.sort_unstable();
    }
    intervals
}

fn millis(length: TimeDelta) -> f64 {
    length.max(TimeDelta::zero()).as_seconds_f64() * 1_000.0
}

/// Returns the smallest value that at least `percent` % of the values do not exceed. `sorted`: ascending.
fn percentile(sorted: &[TimeDelta], percent: usize) -> Option<TimeDelta> {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
    }

    fn start(ready: i64, started: i64, ended: Option<i64>) -> Start {
        Start { ready_at: at(ready), started_at: at(started), ended_at: ended.map(at) }
    }

    #[test]
    fn an_instance_counts_where_it_begins_and_is_busy_as_long_as_it_runs() {
        let starts = [start(1_000, 1_500, Some(2_500)), start(1_700, 1_800, None), start(900, 1_000, Some(1_000))];
        let said: Vec<_> =
            intervals(&starts, at(3_500)).into_iter().map(|one| (one.at, one.delays, one.busy)).collect();
        assert_eq!(
            said,
            [
                (at(1_000), [100, 100, 500].map(TimeDelta::milliseconds).to_vec(), 0.7),
                (at(2_000), vec![], 1.5),
                (at(3_000), vec![], 1.0)
            ]
        );
    }

    #[test]
    fn intervals_are_longer_when_there_is_more_to_show() {
        for seconds in [0, 58, 59, 300, 86_400, 864_000] {
            let intervals = intervals(&[start(0, 0, Some(0))], at(seconds * 1_000));
            assert!((1..=60).contains(&intervals.len()), "{seconds} s: {}", intervals.len());
        }
        assert!(intervals(&[], at(0)).is_empty());
        assert!(intervals(&[start(0, 5, None)], at(0)).is_empty(), "a clock that is behind");
    }

    #[test]
    fn a_percentile_is_one_of_the_numbers() {
        let lengths: Vec<TimeDelta> = (1..=20).map(TimeDelta::seconds).collect();
        assert_eq!(percentile(&lengths, 50), Some(TimeDelta::seconds(10)));
        assert_eq!(percentile(&lengths, 95), Some(TimeDelta::seconds(19)));
        assert_eq!(percentile(&lengths[..1], 95), Some(TimeDelta::seconds(1)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(pace(&[], ZonedNow::utc(at(0))).is_none());
        let drawn = pace(&[start(0, 250, Some(900))], ZonedNow::utc(at(1_000))).unwrap();
        assert_eq!(drawn.words, "median 250 ms, 95 % within 250 ms");
    }
}
