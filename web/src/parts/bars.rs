//! The last runs of a DAG as bars: the height is the time they took, an underline says what was no success. Newest right.

use super::icon::words;
use super::{Escaped, ZonedNow, counted, duration};
use askama::filters::HtmlSafe;
use chrono::TimeDelta;
use orch_spec::state::RunState;
use orch_store::overview::RunMark;
use std::fmt;

#[derive(Debug, Clone)]
pub(crate) struct Bars {
    of: String,
    bars: Vec<(RunState, TimeDelta)>,
    places: usize,
    step: usize,
    height: usize,
}

impl Bars {
    /// Runs newest first; `now` for those that are not over. `places`: as wide as for that many.
    pub(crate) fn new(of: &str, runs: &[RunMark], now: ZonedNow, places: usize) -> Bars {
        let took = |run: &RunMark| run.started_at.map_or(TimeDelta::zero(), |at| run.ended_at.unwrap_or(now.at) - at);
        let bars = runs.iter().take(places).rev().map(|run| (run.state, took(run))).collect();
        Bars { of: of.into(), bars, places, step: 6, height: 26 }
    }

    /// For narrow places.
    pub(crate) fn small(mut self) -> Bars {
        (self.step, self.height) = (5, 22);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }
}

impl fmt::Display for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = (self.places * self.step - 1, self.height);
        let base = height as i64 - 4;
        let longest = self.bars.iter().map(|(_, took)| took.num_milliseconds()).max().unwrap_or(0).max(1);
        let count = |state| self.bars.iter().filter(|(s, _)| *s == state).count();
        write!(
            f,
            r#"<svg class="bars" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="last {} of {}: {} success, {} failed">"#,
            counted(self.bars.len(), "run"),
            Escaped(&self.of),
            count(RunState::Success),
            count(RunState::Failed)
        )?;
        let left = (self.places - self.bars.len()) * self.step;
        for (place, (state, took)) in self.bars.iter().enumerate() {
            let tall = (took.num_milliseconds().max(0) * (base - 2) / longest).clamp(3, base - 2);
            let (x, bar, state) = (left + place * self.step, self.step - 1, state.as_str());
            write!(
                f,
                r#"<rect class="b s-{state}" x="{x}" y="{}" width="{bar}" height="{tall}" rx="1"><title>{}, {}</title></rect>"#,
                base - tall,
                words(state),
                duration(*took)
            )?;
            if state != "success" {
                write!(f, r#"<rect class="b s-{state}" x="{x}" y="{}" width="{bar}" height="2"/>"#, height - 2)?;
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Bars {}
