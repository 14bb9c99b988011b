//! The positions of points on the horizontal axis, and the labels below them.

use super::super::{short, ticks};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use std::borrow::Cow;

/// Maximum number of labels below the chart; more would overlap. Phones show every other one.
pub(super) const MOST_LABELS: usize = 6;
const LABEL_CHARS: usize = 14;

#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) places: Vec<f64>,
    pub(super) slot: f64,
    /// Time labels with their positions. Empty if the points are not times.
    pub(super) times: Vec<(f64, String)>,
}

impl Axis {
    pub(super) fn even(points: usize) -> Axis {
        let slot = 1.0 / points.max(1) as f64;
        Axis { places: (0..points).map(|place| slot * place as f64).collect(), slot, times: Vec::new() }
    }

    /// Returns a time axis, or `None` if some points are not times or they are not in ascending order.
    pub(super) fn of_times(millis: &[i64], points: usize) -> Option<Axis> {
        let gap = millis.windows(2).map(|pair| pair[1] - pair[0]).min().filter(|gap| *gap > 0)?;
        let first = *millis.first().filter(|_| millis.len() == points)?;
        let whole = millis.last()? - first + gap;
        let place = |at: i64| (at - first) as f64 / whole as f64;
        let step = ticks::millis(whole, MOST_LABELS as i64);
        let form = if step % 86_400_000 == 0 { "%m-%d" } else { "%m-%d %H:%M" };
        let form = if step % 60_000 == 0 { form } else { "%H:%M:%S" };
        let rounds = (0..=MOST_LABELS as i64).map(|round| (first.div_euclid(step) + round) * step);
        let rounds = rounds.filter(|at| (first..first + whole).contains(at));
        let word = |at: i64| Some((place(at), DateTime::from_timestamp_millis(at)?.format(form).to_string()));
        Some(Axis {
            places: millis.iter().map(|at| place(*at)).collect(),
            slot: gap as f64 / whole as f64,
            times: rounds.filter_map(word).collect(),
        })
    }
}

/// Parses a date or time in SQL format. Time zones are ignored, because all points have the same one.
pub(super) fn millis_of(word: &str) -> Option<i64> {
    let text = word.replace('T', " ");
    let time = |form: &str, chars: usize| NaiveDateTime::parse_from_str(text.get(..chars)?, form).ok();
    let date = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let at = time("%Y-%m-%d %H:%M:%S", 19).or_else(|| time("%Y-%m-%d %H:%M", 16)).or_else(date)?;
    Some(at.and_utc().timestamp_millis())
}

/// Returns the distinctive part of a label: the day and minute of a time, or the last segment of a path.
pub(super) fn label(word: &str) -> Cow<'_, str> {
    let bytes = word.as_bytes();
    let is_time = bytes.len() >= 16 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[13] == b':';
    match word.get(5..16).filter(|_| is_time) {
        Some(time) => time.replace('T', " ").into(),
        None => short(word.rsplit('/').next().unwrap_or(word), LABEL_CHARS),
    }
}
