//! Two columns as a picture: bars or a line over them. Widths are percent, so text keeps its size on every screen.

use super::amount::brief;
use super::{Escaped, short};
use askama::filters::HtmlSafe;
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
/// Lines across, besides the lowest.
const STEPS: i32 = 4;

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
    least: f64,
    greatest: f64,
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
        (!points.is_empty()).then_some(Chart { look, title, points, least, greatest })
    }

    /// From the top of the picture.
    fn height_of(&self, number: f64) -> f64 {
        TOP + (TALL - TOP) * (self.greatest - number) / (self.greatest - self.least)
    }

    fn axes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in 0..=STEPS {
            let number = self.least + (self.greatest - self.least) * f64::from(step) / f64::from(STEPS);
            let y = self.height_of(number);
            write!(f, r#"<line class="ax" x1="{LEFT}%" x2="100%" y1="{y:.1}" y2="{y:.1}"/>"#)?;
            write!(f, r#"<text class="axt" x="0" y="{:.1}">{}</text>"#, y + 4.0, brief(number))?;
        }
        let every = self.points.len().div_ceil(MOST_LABELS);
        let slot = WIDE / self.points.len() as f64;
        for (number, (place, (word, _))) in self.points.iter().enumerate().step_by(every).enumerate() {
            let (x, word) = (LEFT + slot * place as f64, label(word));
            let wide = if number % 2 == 1 { " only-wide" } else { "" };
            write!(f, r#"<text class="axt{wide}" x="{x:.2}%" y="{}">{}</text>"#, TALL + 18.0, Escaped(&word))?;
        }
        Ok(())
    }

    fn bars(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slot, zero) = (WIDE / self.points.len() as f64, self.height_of(0.0));
        for (place, (word, number)) in self.points.iter().enumerate() {
            let (x, y) = (LEFT + slot * (place as f64 + 0.1), self.height_of(*number));
            let tall = (y - zero).abs().max(1.0);
            write!(
                f,
                r#"<rect class="b s-ink" x="{x:.3}%" y="{:.1}" width="{:.3}%" height="{tall:.1}"><title>{}: {number}</title></rect>"#,
                y.min(zero - 0.5),
                slot * 0.8,
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
        let slot = 1_000.0 / self.points.len() as f64;
        for (place, (_, number)) in self.points.iter().enumerate() {
            write!(f, "{:.1},{:.1} ", slot * (place as f64 + 0.5), self.height_of(*number))?;
        }
        f.write_str(r#""/></svg>"#)
    }
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
