//! Durations of the last runs of a DAG, or of a task in them, as wide bars with links. A line marks the usual duration.

use super::icon::{AMBER, SUCCESS_WITH_FAILED_TASKS, words};
use super::{Escaped, ZonedNow, counted, duration};
use crate::pages::encoded;
use crate::parts::dag_href;
use askama::filters::HtmlSafe;
use chrono::TimeDelta;
use orch_store::overview::RunMark;
use std::fmt;

const TALL: i64 = 96;
const TOP: i64 = 14;

#[derive(Debug, Clone)]
pub(crate) struct Durations {
    bars: Vec<Bar>,
    places: usize,
    longest: TimeDelta,
    usual: Option<TimeDelta>,
}

#[derive(Debug, Clone)]
pub(crate) struct Bar {
    state: &'static str,
    took: TimeDelta,
    href: String,
    title: String,
    /// The run succeeded although tasks failed.
    has_failed_tasks: bool,
}

impl Bar {
    pub(crate) fn new(run: &RunMark, has_failed_tasks: bool, now: ZonedNow) -> Bar {
        let took = run.active_time(now.at).unwrap_or_default();
        let href = format!("{}/runs/{}", dag_href(&run.dag_id), encoded(&run.run_id));
        let state = run.state.as_str();
        let said = if has_failed_tasks { SUCCESS_WITH_FAILED_TASKS.into() } else { words(state) };
        Bar { has_failed_tasks, title: title(run, &said, took, now), state, took, href }
    }

    /// Returns a bar for a part of a run, such as a task.
    pub(crate) fn part_of(run: &RunMark, state: &'static str, took: TimeDelta, href: String, now: ZonedNow) -> Bar {
        Bar { state, took, href, title: title(run, &words(state), took, now), has_failed_tasks: false }
    }

    /// Returns the duration if the state is `success`.
    pub(crate) fn of_success(&self) -> Option<TimeDelta> {
        (self.state == "success").then_some(self.took)
    }
}

fn title(run: &RunMark, state: &str, took: TimeDelta, now: ZonedNow) -> String {
    let at = now.written(run.started_at.unwrap_or(run.created_at), "%-d %b %H:%M");
    format!("{at}, {state}, {}", duration(took))
}

impl Durations {
    /// Takes the bars newest first.
    pub(crate) fn new(bars: impl Iterator<Item = Bar>, usual: Option<TimeDelta>, places: usize) -> Durations {
        let mut bars: Vec<Bar> = bars.take(places).collect();
        bars.reverse();
        let longest = bars.iter().map(|bar| bar.took).max().unwrap_or_default();
        Durations { bars, places, longest, usual }
    }

    pub(crate) fn len(&self) -> usize {
        self.bars.len()
    }
}

/// Formats ten-thousandths as a percentage.
struct Percent(usize);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

impl fmt::Display for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, base) = (self.longest.num_milliseconds().max(1), TOP + TALL);
        let tall = |took: TimeDelta| (took.num_milliseconds().max(0) * TALL / whole).clamp(2, TALL);
        write!(
            f,
            r#"<svg class="durations" height="{}" role="group" aria-label="How long the last {} took">"#,
            base + 8,
            counted(self.bars.len(), "run")
        )?;
        write!(f, r#"<line class="ax" x1="0" x2="100%" y1="{base}" y2="{base}"/>"#)?;
        let step = 10_000 / self.places.max(1);
        let left = self.places - self.bars.len();
        for (place, bar) in self.bars.iter().enumerate() {
            let (x, width) = (Percent((left + place) * step), Percent(step * 3 / 4));
            let (state, tall, title) = (bar.state, tall(bar.took), Escaped(&bar.title));
            write!(
                f,
                r#"<a href="{}" aria-label="{title}"><title>{title}</title><rect class="hit" x="{x}" y="0" width="{width}" height="{}"/><rect class="b s-{state}" x="{x}" y="{}" width="{width}" height="{tall}" rx="2"/>"#,
                Escaped(&bar.href),
                base + 6,
                base - tall
            )?;
            if state != "success" || bar.has_failed_tasks {
                let color = if bar.has_failed_tasks { AMBER } else { state };
                write!(f, r#"<rect class="b s-{color}" x="{x}" y="{}" width="{width}" height="2"/>"#, base + 3)?;
            }
            f.write_str("</a>")?;
        }
        if let Some(usual) = self.usual.filter(|usual| *usual <= self.longest) {
            let y = base - tall(usual);
            write!(
                f,
                r#"<line class="usual" x1="0" x2="100%" y1="{y}" y2="{y}"/><text class="axt" x="0" y="{}">usually {}</text>"#,
                y - 4,
                duration(usual)
            )?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Durations {}
