//! Charts of table columns: bars or lines over the first column. Widths are in percent, so text has the same size on
//! all screens. If the points are times in ascending order, the axis is to scale and missing points leave gaps. Series
//! differ by dashes and shades, never by color.

mod axis;

use super::amount::brief;
use super::{Escaped, ticks};
use askama::filters::HtmlSafe;
use axis::{Axis, MOST_LABELS, label, millis_of};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Maximum number of points. With more, a point would be less than a pixel wide.
pub(crate) const MOST_POINTS: usize = 400;
/// Maximum number of series, the number of dash patterns.
pub(crate) const MOST_SERIES: usize = 6;
const TALL: f64 = 200.0;
const TOP: f64 = 12.0;
/// Width of the axis labels on the left, in percent.
const LEFT: f64 = 7.0;
const WIDE: f64 = 100.0 - LEFT;
/// Maximum number of horizontal grid lines, without the lowest.
const STEPS: f64 = 4.0;
/// Labels that start to the right of this fraction of the width are right-aligned with their points.
const LAST: f64 = 0.85;
/// Two labels whose outer ends are less than this fraction of the width apart overlap on a phone.
const TWO_WORDS: f64 = 0.45;
/// Two labels whose outer ends are less than this fraction of the width apart overlap in a panel of half the page
/// width.
const TWO_WORDS_IN_HALF: f64 = 0.3;
/// Minimum width of a bar, as a fraction of the width.
const THIN: f64 = 0.002;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChartType {
    Bars,
    Line,
}

/// The values of a series, one per label. A missing value leaves a gap.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
    /// Lower and upper limit of each point's likely range. Empty without a band.
    pub(crate) band: Vec<Option<(f64, f64)>>,
}

/// A chart of one or more series over shared labels.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    look: ChartType,
    title: String,
    words: Vec<String>,
    series: Vec<Series>,
    /// The start of each point and the width of a point, as fractions of the width.
    axis: Axis,
    least: f64,
    greatest: f64,
    step: f64,
}

impl Chart {
    /// Builds a chart of a single series without points that have no number. Returns `None` if no point is left.
    pub(crate) fn new(look: ChartType, title: String, points: Vec<(String, Option<f64>)>) -> Option<Chart> {
        let numbered =
            points.into_iter().filter_map(|(word, number)| Some((word, Some(number.filter(|n| n.is_finite())?))));
        let (words, values) = numbered.take(MOST_POINTS).unzip();
        Chart::of_series(look, title, words, vec![Series { values, ..Series::default() }])
    }

    /// Builds a chart of several series. Returns `None` if there are no numbers.
    pub(crate) fn of_series(
        look: ChartType,
        title: String,
        mut words: Vec<String>,
        mut series: Vec<Series>,
    ) -> Option<Chart> {
        words.truncate(MOST_POINTS);
        series.truncate(MOST_SERIES);
        for one in &mut series {
            one.values.truncate(MOST_POINTS);
            one.values.iter_mut().for_each(|value| *value = value.filter(|number| number.is_finite()));
        }
        let values = series.iter().flat_map(|one| one.values.iter().flatten());
        let bands = series.iter().flat_map(|one| one.band.iter().flatten().flat_map(|(low, high)| [low, high]));
        let numbers: Vec<f64> = values.chain(bands).copied().collect();
        // The axis always includes zero.
        let least = numbers.iter().copied().fold(0.0, f64::min);
        let greatest = numbers.iter().copied().fold(0.0, f64::max);
        let greatest = if greatest > least { greatest } else { least + 1.0 };
        let step = ticks::number(greatest - least, STEPS);
        let (least, greatest) = ((least / step).floor() * step, (greatest / step).ceil() * step);
        let millis: Vec<i64> = words.iter().filter_map(|word| millis_of(word)).collect();
        let axis = Axis::of_times(&millis, words.len()).unwrap_or_else(|| Axis::even(words.len()));
        (!numbers.is_empty()).then_some(Chart { look, title, words, series, axis, least, greatest, step })
    }

    /// Returns the distance of a number from the top of the chart.
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
        let every = self.words.len().div_ceil(MOST_LABELS);
        let words = self.words.iter().zip(&self.axis.places).step_by(every);
        let words: Vec<_> = match self.axis.times.as_slice() {
            [] => words.map(|(word, place)| (*place, label(word))).collect(),
            times => times.iter().map(|(place, word)| (*place, Cow::Borrowed(word.as_str()))).collect(),
        };
        let last =
            words.iter().step_by(2).map(|(place, _)| place + self.axis.slot).find(|end| *end > LAST + self.axis.slot);
        let hidden = self.hidden_word(&words);
        for (number, (place, word)) in words.into_iter().enumerate() {
            if hidden == Some(number) {
                continue;
            }
            let is_first_of_two = place <= LAST && last.is_some_and(|end| end - place < TWO_WORDS);
            // Otherwise, the last label would be cut off at the edge of a phone.
            let (place, anchor) = if place > LAST { (place + self.axis.slot, "end") } else { (place, "start") };
            let x = LEFT + WIDE * place.min(1.0);
            let wide = if number % 2 == 1 || is_first_of_two { " only-wide" } else { "" };
            write!(
                f,
                r#"<text class="axt{wide}" x="{x:.2}%" y="{}" text-anchor="{anchor}">{}</text>"#,
                TALL + 18.0,
                Escaped(&word)
            )?;
        }
        Ok(())
    }

    /// Returns the index of the label that is omitted because the last two would overlap. It is the one that is not
    /// shown on phones.
    fn hidden_word(&self, words: &[(f64, Cow<'_, str>)]) -> Option<usize> {
        let [.., (first, _), (last, _)] = words else { return None };
        let overlap = *last > LAST && last + self.axis.slot - first < TWO_WORDS_IN_HALF;
        overlap.then_some((words.len() - 2) | 1)
    }

    /// Renders bars. The bars of one point are next to each other.
    fn bars(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (zero, many) = (self.height_of(0.0), self.series.len().max(1) as f64);
        let wide = self.axis.slot * 0.8 / many;
        for (nth, series) in self.series.iter().enumerate() {
            for ((word, value), place) in self.words.iter().zip(&series.values).zip(&self.axis.places) {
                let Some(number) = value else { continue };
                let x = LEFT + WIDE * (place + self.axis.slot * 0.1 + wide * nth as f64);
                let y = self.height_of(*number);
                let tall = (y - zero).abs().max(1.0);
                write!(
                    f,
                    r#"<rect class="b s-ink{}" x="{x:.3}%" y="{:.1}" width="{:.3}%" height="{tall:.1}"><title>{}{}: {number}</title></rect>"#,
                    Shade(nth),
                    y.min(zero - 0.5),
                    WIDE * wide.max(THIN),
                    Escaped(word),
                    Named(&series.name),
                )?;
            }
        }
        Ok(())
    }

    /// Renders lines in a nested, stretched SVG, because paths do not support percentages.
    fn lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<svg x="{LEFT}%" y="0" width="{WIDE}%" height="{TALL}" viewBox="0 0 1000 {TALL}" preserveAspectRatio="none">"#
        )?;
        for series in &self.series {
            for run in runs(&series.band) {
                f.write_str(r#"<polygon class="area s-ink" points=""#)?;
                run.clone().try_for_each(|at| self.point(f, at, series.band[at].map(|(low, _)| low)))?;
                run.rev().try_for_each(|at| self.point(f, at, series.band[at].map(|(_, high)| high)))?;
                f.write_str(r#""/>"#)?;
            }
        }
        for (nth, series) in self.series.iter().enumerate() {
            for run in runs(&series.values) {
                // A line from a single point to itself renders as a dot.
                let dot = if run.len() == 1 { " dot" } else { "" };
                write!(f, r#"<polyline class="curve{dot} s-ink{}" points=""#, Shade(nth))?;
                let again = if run.len() == 1 { run.clone() } else { 0..0 };
                run.chain(again).try_for_each(|at| self.point(f, at, series.values[at]))?;
                f.write_str(r#""/>"#)?;
            }
        }
        f.write_str("</svg>")?;
        for (at, (word, place)) in self.words.iter().zip(&self.axis.places).enumerate() {
            let (x, wide) = (LEFT + WIDE * place, WIDE * self.axis.slot);
            write!(
                f,
                r#"<rect class="hit" x="{x:.3}%" y="{TOP}" width="{wide:.3}%" height="{}"><title>{}"#,
                TALL - TOP,
                Escaped(word)
            )?;
            for series in &self.series {
                if let Some(number) = series.values.get(at).copied().flatten() {
                    write!(f, "{}: {number}", Named(&series.name))?;
                }
                if let Some((low, high)) = series.band.get(at).copied().flatten() {
                    write!(f, " ({low} to {high})")?;
                }
            }
            f.write_str("</title></rect>")?;
        }
        Ok(())
    }

    fn point(&self, f: &mut fmt::Formatter<'_>, at: usize, value: Option<f64>) -> fmt::Result {
        let Some((number, place)) = value.zip(self.axis.places.get(at)) else { return Ok(()) };
        write!(f, "{:.1},{:.1} ", 1_000.0 * (place + self.axis.slot * 0.5), self.height_of(number))
    }
}

/// CSS class that distinguishes a series from the first one.
struct Shade(usize);

impl fmt::Display for Shade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " k{}", self.0) }
    }
}

/// Name of the series in a tooltip, between the label of a point and its value.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ", {}", Escaped(self.0)) }
    }
}

/// Returns the ranges of consecutive values without a gap.
fn runs<T>(values: &[Option<T>]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in (0..values.len()).filter(|at| values[*at].is_some()) {
        match runs.last_mut().filter(|run| run.end == at) {
            Some(run) => run.end += 1,
            None => runs.push(at..at + 1),
        }
    }
    runs
}

/// A sample of a series for the legend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    look: ChartType,
    nth: usize,
}

impl Sample {
    pub(crate) fn of(look: ChartType, nth: usize) -> Sample {
        Sample { look, nth }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shade = Shade(self.nth);
        f.write_str(r#"<svg width="28" height="10" aria-hidden="true">"#)?;
        match self.look {
            ChartType::Line => write!(f, r#"<polyline class="curve s-ink{shade}" points="0,5 28,5"/></svg>"#),
            ChartType::Bars => write!(f, r#"<rect class="b s-ink{shade}" x="9" width="10" height="10"/></svg>"#),
        }
    }
}

impl HtmlSafe for Sample {}

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
            ChartType::Bars => self.bars(f)?,
            ChartType::Line => self.lines(f)?,
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Chart {}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(look: ChartType, numbers: &[Option<f64>]) -> Option<Chart> {
        let points = numbers.iter().enumerate().map(|(place, number)| (format!("<p{place}>"), *number));
        Chart::new(look, "a & b".into(), points.collect())
    }

    #[test]
    fn bars_stand_on_zero_and_words_stay_text() {
        let drawn =
            chart(ChartType::Bars, &[Some(10.0), None, Some(-10.0), Some(0.0)]).expect("three points").to_string();
        assert_eq!(drawn.matches("<rect").count(), 3);
        // Zero is halfway between the top (12) and the bottom (200).
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
        let drawn = Chart::new(ChartType::Line, "t".into(), points).expect("four points").to_string();
        // The axis spans eleven hours, from the first point to the end of the last one.
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
        let drawn = Chart::new(ChartType::Line, "t".into(), unordered).expect("two points").to_string();
        assert!(drawn.contains(r#"points="250.0,"#), "{drawn}");
    }

    #[test]
    fn words_that_would_meet_on_a_phone_are_for_wide_screens() {
        let hours = (0..48).map(|hour| format!("2026-11-{:02} {:02}:00", 21 + (hour + 22) / 24, (hour + 22) % 24));
        let points = hours.map(|hour| (hour, Some(1.0))).collect();
        let drawn = Chart::new(ChartType::Bars, "t".into(), points).expect("two days").to_string();
        let words = drawn.split("<text ").filter(|word| word.contains(">11-2"));
        let on_phones: Vec<_> = words.filter(|word| !word.contains("only-wide")).collect();
        assert!(
            on_phones.len() == 2 && on_phones[0].contains("\"start\"") && on_phones[1].contains("\"end\""),
            "{on_phones:?}"
        );
    }

    #[test]
    fn the_last_two_words_do_not_overlap() {
        let minutes = (19..41).map(|minute| (format!("2026-12-01 09:{minute}"), Some(1.0))).collect();
        let drawn = Chart::new(ChartType::Bars, "t".into(), minutes).expect("22 minutes").to_string();
        assert!(drawn.contains(">12-01 09:30<") && drawn.contains(">12-01 09:40<"), "{drawn}");
        assert!(!drawn.contains(">12-01 09:35<"), "{drawn}");
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
    fn series_differ_in_their_dashes_have_a_band_and_leave_gaps() {
        let series = |name: &str, values: &[Option<f64>], band: &[Option<(f64, f64)>]| Series {
            name: name.into(),
            values: values.to_vec(),
            band: band.to_vec(),
        };
        let words = ["2026-11-20", "2026-11-21", "2026-11-22"].map(String::from).to_vec();
        let all = vec![
            series("<a>", &[Some(1.0), None, Some(3.0)], &[]),
            series("b", &[None, Some(4.0), Some(5.0)], &[None, Some((3.0, 6.0)), Some((4.0, 7.5))]),
        ];
        let drawn =
            Chart::of_series(ChartType::Line, "t".into(), words.clone(), all.clone()).expect("points").to_string();
        // A single point is drawn as a dot, and a line is interrupted where a value is missing.
        assert_eq!((drawn.matches("curve dot s-ink\"").count(), drawn.matches("curve s-ink k1").count()), (2, 1));
        assert_eq!((drawn.matches("<polygon").count(), drawn.matches("class=\"hit\"").count()), (1, 3));
        assert!(drawn.contains("2026-11-22, &#60;a&#62;: 3, b: 5 (4 to 7.5)</title>"), "{drawn}");
        assert!(drawn.contains(">8</text>"), "the band has room: {drawn}");
        let bars = Chart::of_series(ChartType::Bars, "t".into(), words, all).expect("points").to_string();
        assert_eq!((bars.matches("<rect").count(), bars.matches(" k1").count()), (4, 2));
        assert!(Sample::of(ChartType::Line, 2).to_string().contains("k2"));
    }

    #[test]
    fn a_line_has_a_point_for_each_number_and_nothing_is_drawn_of_nothing() {
        let drawn = chart(ChartType::Line, &[Some(1.0), Some(f64::NAN), Some(3.0)]).expect("two points").to_string();
        assert!(drawn.contains(r#"points="250.0,137.3 750.0,12.0 ""#), "{drawn}");
        assert!(chart(ChartType::Line, &[None, None]).is_none() && chart(ChartType::Bars, &[]).is_none());
        assert!(chart(ChartType::Bars, &[Some(0.0)]).expect("one point").to_string().contains(r#"height="1.0""#));
    }
}
