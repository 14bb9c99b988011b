//! The last runs of a DAG as bars, newest at the right. The height is the active time, and an underline marks runs that
//! did not succeed.

use super::icon::{AMBER, SUCCESS_WITH_FAILED_TASKS, words};
use super::{Escaped, ZonedNow, counted, duration};
use askama::filters::HtmlSafe;
use chrono::TimeDelta;
use orch_spec::state::RunState;
use orch_store::overview::RunMark;
use std::collections::HashSet;
use std::fmt;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub(crate) struct Bars {
    of: String,
    bars: Vec<RunBar>,
    places: usize,
    step: usize,
    height: usize,
}

#[derive(Debug, Clone)]
struct RunBar {
    state: RunState,
    took: TimeDelta,
    /// The run succeeded although tasks failed.
    has_failed_tasks: bool,
}

impl Bars {
    /// Renders the runs, given newest first, in a chart that is wide enough for `places` runs. The active time of
    /// unfinished runs ends at `now`. `partly_failed` contains the runs that succeeded although tasks failed.
    pub(crate) fn new(of: &str, runs: &[RunMark], partly_failed: &HashSet<Uuid>, now: ZonedNow, places: usize) -> Bars {
        let bar = |run: &RunMark| RunBar {
            state: run.state,
            took: run.active_time(now.at).unwrap_or_default(),
            has_failed_tasks: partly_failed.contains(&run.id),
        };
        let bars = runs.iter().take(places).rev().map(bar).collect();
        Bars { of: of.into(), bars, places, step: 6, height: 26 }
    }

    /// Returns a smaller chart for narrow spaces.
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
        let longest = self.bars.iter().map(|bar| bar.took.num_milliseconds()).max().unwrap_or(0).max(1);
        let count = |state| self.bars.iter().filter(|bar| bar.state == state).count();
        write!(
            f,
            r#"<svg class="bars" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="last {} of {}: {} success, {} failed">"#,
            counted(self.bars.len(), "run"),
            Escaped(&self.of),
            count(RunState::Success),
            count(RunState::Failed)
        )?;
        let left = (self.places - self.bars.len()) * self.step;
        for (place, RunBar { state, took, has_failed_tasks }) in self.bars.iter().enumerate() {
            let tall = (took.num_milliseconds().max(0) * (base - 2) / longest).clamp(3, base - 2);
            let (x, bar, state) = (left + place * self.step, self.step - 1, state.as_str());
            write!(
                f,
                r#"<rect class="b s-{state}" x="{x}" y="{}" width="{bar}" height="{tall}" rx="1"><title>{}, {}</title></rect>"#,
                base - tall,
                if *has_failed_tasks { SUCCESS_WITH_FAILED_TASKS.into() } else { words(state) },
                duration(*took)
            )?;
            if state != "success" || *has_failed_tasks {
                let color = if *has_failed_tasks { AMBER } else { state };
                write!(f, r#"<rect class="b s-{color}" x="{x}" y="{}" width="{bar}" height="2"/>"#, height - 2)?;
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Bars {}
