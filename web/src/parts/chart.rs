//! Two columns as a picture: bars or a line over them. Widths are percent, so text keeps its size on every screen. Points
//! that are times in order stand to scale: what is missing leaves a gap.

use super::amount::brief;
use super::{Escaped, short, ticks};
use askama::filters::HtmlSafe;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use std::borrow::Cow;
use std::fmt;

/// More would be less than a pixel wide.
pub(crate) const MOST_POINTS: usize = 400;
/// Words below the picture; more would lie over each other. On a phone there is room for every other one.
const MOST_LABELS: usize = 6;
const LABEL_CHARS: usize = 14;
const TALL: f64 = 200.0;
const TOP: f64 = 12.0;
/// The figures on the left.
const LEFT: f64 = 7.0;
const WIDE: f64 = 100.0 - LEFT;
/// Lines across, besides the lowest, at most.
const STEPS: f64 = 4.0;
/// A bar is no thinner, of the whole width.
const THIN: f64 = 0.002;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Bars,
    Line,
}

/// What is drawn: a word and a number for each point, in order.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    look: Look,
    title: String,
    points: Vec<(String, f64)>,
    /// Where each begins, and how wide each is, of the whole width.
    places: Vec<f64>,
    slot: f64,
    /// Of the times below, if the points are times.
    times: Vec<(f64, String)>,
    least: f64,
    greatest: f64,
    step: f64,
}

impl Chart {
    /// `None`: there is nothing to draw. Points without a number are left out.
    pub(crate) fn new(look: Look, title: String, points: Vec<(String, Option<f64>)>) -> Option<Chart> {
        let numbered = points.into_iter().filter_map(|(word, number)| Some((word, number.filter(|n| n.is_finite())?)));
        let points: Vec<_> = numbered.take(MOST_POINTS).collect();
        // Bars stand on zero; so do lines that come near it.
        let least = points.iter().map(|(_, number)| *number).fold(0.0, f64::min);
        let greatest = points.iter().map(|(_, number)| *number).fold(0.0, f64::max);
        let greatest = if greatest > least { greatest } else { least + 1.0 };
        let step = ticks::number(greatest - least, STEPS);
        let (least, greatest) = ((least / step).floor() * step, (greatest / step).ceil() * step);
        let millis: Vec<i64> = points.iter().filter_map(|(word, _)| millis_of(word)).collect();
        let Axis { places, slot, times } =
            Axis::of_times(&millis, points.len()).unwrap_or_else(|| Axis::even(points.len()));
        (!points.is_empty()).then_some(Chart { look, title, points, places, slot, times, least, greatest, step })
    }

    /// From the top of the picture.
    fn height_of(&self, number: f64) -> f64 {
        TOP + (TALL - TOP) * (self.greatest - number) / (self.greatest - self.least)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a step divides what is between least and greatest into a few lines"
    )]
    fn axes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = ((self.greatest - self.least) / self.step).round() as i32;
        for line in 0..=lines {
            let number = self.least + self.step * f64::from(line);
            let y = self.height_of(number);
            write!(f, r#"<line class="ax" x1="{LEFT}%" x2="100%" y1="{y:.1}" y2="{y:.1}"/>"#)?;
            write!(f, r#"<text class="axt" x="0" y="{:.1}">{}</text>"#, y + 4.0, brief(number))?;
        }
        let every = self.points.len().div_ceil(MOST_LABELS);
        let words = self.points.iter().zip(&self.places).step_by(every);
        let words: Vec<_> = match self.times.as_slice() {
            [] => words.map(|((word, _), place)| (*place, label(word))).collect(),
            times => times.iter().map(|(place, word)| (*place, Cow::Borrowed(word.as_str()))).collect(),
        };
        for (number, (place, word)) in words.into_iter().enumerate() {
            let x = LEFT + WIDE * place;
            let wide = if number % 2 == 1 { " only-wide" } else { "" };
            write!(f, r#"<text class="axt{wide}" x="{x:.2}%" y="{}">{}</text>"#, TALL + 18.0, Escaped(&word))?;
        }
        Ok(())
    }

    fn bars(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zero = self.height_of(0.0);
        for ((word, number), place) in self.points.iter().zip(&self.places) {
            let (x, y) = (LEFT + WIDE * (place + self.slot * 0.1), self.height_of(*number));
            let tall = (y - zero).abs().max(1.0);
            write!(
                f,
                r#"<rect class="b s-ink" x="{x:.3}%" y="{:.1}" width="{:.3}%" height="{tall:.1}"><title>{}: {number}</title></rect>"#,
                y.min(zero - 0.5),
                WIDE * (self.slot * 0.8).max(THIN),
                Escaped(word)
            )?;
        }
        Ok(())
    }

    /// A stretched picture inside of the picture: a path knows no percent.
    fn line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<svg x="{LEFT}%" y="0" width="{WIDE}%" height="{TALL}" viewBox="0 0 1000 {TALL}" preserveAspectRatio="none"><polyline class="curve s-ink" points=""#
        )?;
        for ((_, number), place) in self.points.iter().zip(&self.places) {
            write!(f, "{:.1},{:.1} ", 1_000.0 * (place + self.slot * 0.5), self.height_of(*number))?;
        }
        f.write_str(r#""/></svg>"#)
    }
}

/// Where points stand from left to right.
struct Axis {
    places: Vec<f64>,
    slot: f64,
    times: Vec<(f64, String)>,
}

impl Axis {
    fn even(points: usize) -> Axis {
        let slot = 1.0 / points.max(1) as f64;
        Axis { places: (0..points).map(|place| slot * place as f64).collect(), slot, times: Vec::new() }
    }

    /// `None`: some points are no times, or they are not in order.
    fn of_times(millis: &[i64], points: usize) -> Option<Axis> {
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

/// A date or a time as SQL writes it; zones are left aside, since all points have the same.
fn millis_of(word: &str) -> Option<i64> {
    let text = word.replace('T', " ");
    let time = |form: &str, chars: usize| NaiveDateTime::parse_from_str(text.get(..chars)?, form).ok();
    let date = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let at = time("%Y-%m-%d %H:%M:%S", 19).or_else(|| time("%Y-%m-%d %H:%M", 16)).or_else(date)?;
    Some(at.and_utc().timestamp_millis())
}

/// What tells a word from its neighbours: of a time the day and the minute, of a path its end.
fn label(word: &str) -> Cow<'_, str> {
    let bytes = word.as_bytes();
    let is_time = bytes.len() >= 16 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[13] == b':';
    match word.get(5..16).filter(|_| is_time) {
        Some(time) => time.replace('T', " ").into(),
        None => short(word.rsplit('/').next().unwrap_or(word), LABEL_CHARS),
    }
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<svg class="chart" width="100%" height="{}" role="img" aria-label="{}">"#,
            TALL + 26.0,
            Escaped(&self.title)
        )?;
        self.axes(f)?;
        match self.look {
            Look::Bars => self.bars(f)?,
            Look::Line => self.line(f)?,
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Chart {}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(look: Look, numbers: &[Option<f64>]) -> Option<Chart> {
        let points = numbers.iter().enumerate().map(|(place, number)| (format!("<p{place}>"), *number));
        Chart::new(look, "a & b".into(), points.collect())
    }

    #[test]
    fn bars_stand_on_zero_and_words_stay_text() {
        let drawn = chart(Look::Bars, &[Some(10.0), None, Some(-10.0), Some(0.0)]).expect("three points").to_string();
        assert_eq!(drawn.matches("<rect").count(), 3);
        // Zero is in the middle between the top (12) and the bottom (200).
        assert!(drawn.contains(r#"y="12.0""#) && drawn.contains(r#"height="94.0""#), "{drawn}");
        assert!(
            !drawn.contains("<p0>") && drawn.contains("&#60;p0&#62;: 10") && drawn.contains("a &#38; b"),
            "{drawn}"
        );
    }

    #[test]
    fn times_stand_to_scale_and_lines_at_round_numbers() {
        let at = |hour: u32, number: f64| (format!("2026-11-20 {hour:02}:00:00"), Some(number));
        let points = vec![at(1, 3.0), at(2, 17.0), at(6, 4.0), at(11, 11.0)];
        let drawn = Chart::new(Look::Line, "t".into(), points).expect("four points").to_string();
        // Eleven hours from the first to the end of the last: each is a place of its own.
        assert!(
            drawn.contains(r#"points="45.5,"#) && drawn.contains(" 136.4,") && drawn.contains(" 500.0,"),
            "{drawn}"
        );
        assert!(
            drawn.contains(">11-20 02:00<") && drawn.contains(">11-20 10:00<") && !drawn.contains("03:00"),
            "{drawn}"
        );
        for number in ["0", "5", "10", "15", "20"] {
            assert!(drawn.contains(&format!(">{number}</text>")), "{number}: {drawn}");
        }
        let unordered = vec![at(2, 1.0), at(1, 2.0)];
        let drawn = Chart::new(Look::Line, "t".into(), unordered).expect("two points").to_string();
        assert!(drawn.contains(r#"points="250.0,"#), "{drawn}");
    }

    #[test]
    fn a_label_says_what_tells_it_from_its_neighbours() {
        for (word, said) in [
            ("2026-11-20 03:00:00+00:00", "11-20 03:00"),
            ("2026-11-20T03:00:00", "11-20 03:00"),
            ("2026-11-20", "2026-11-20"),
            ("year=2026/month=11/day=19", "day=19"),
            ("a very long word indeed", "a very long wo…"),
            ("", ""),
        ] {
            assert_eq!(label(word), said);
        }
    }

    #[test]
    fn a_line_has_a_point_for_each_number_and_nothing_is_drawn_of_nothing() {
        let drawn = chart(Look::Line, &[Some(1.0), Some(f64::NAN), Some(3.0)]).expect("two points").to_string();
        assert!(drawn.contains(r#"points="250.0,137.3 750.0,12.0 ""#), "{drawn}");
        assert!(chart(Look::Line, &[None, None]).is_none() && chart(Look::Bars, &[]).is_none());
        assert!(chart(Look::Bars, &[Some(0.0)]).expect("one point").to_string().contains(r#"height="1.0""#));
    }
}
