//! The timeline: a row per DAG, time from left to right, a mark per run, and a line for the current time. Runs that
//! would touch are merged into one mark, so the size of the drawing is bounded.

use super::icon::words;
use super::{Escaped, ZonedNow, counted, duration};
use crate::pages::encoded;
use askama::filters::HtmlSafe;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use orch_spec::state::RunState;
use orch_store::overview::{NextRun, RunMark};
use std::collections::BTreeMap;
use std::fmt;

/// Marks that are closer than this are merged, in thousandths of the width: about 5 px.
const TOUCH: i64 = 6;
/// Minimum width of a mark, in thousandths.
const THIN: i64 = 3;

#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    from: DateTime<Utc>,
    now: ZonedNow,
    to: DateTime<Utc>,
    pub(crate) rows: Vec<Row>,
    /// Number of DAGs that are not shown.
    pub(crate) more: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) dag_id: String,
    pub(crate) href: String,
    marks: Vec<Mark>,
    next: Option<i64>,
}

/// A mark for one or more runs. Positions are in thousandths of the width.
#[derive(Debug, Clone)]
struct Mark {
    state: RunState,
    from: i64,
    to: i64,
    runs: usize,
    href: String,
    title: String,
}

impl Timeline {
    pub(crate) const MOST_ROWS: usize = 12;

    /// Builds a timeline. `runs` are those of the shown DAGs, in any order; `dags` is the total number of DAGs.
    pub(crate) fn new(runs: &[RunMark], dags: usize, next: &[NextRun], now: ZonedNow, past: TimeDelta) -> Timeline {
        let (from, to) = (now - past, now + past / 6);
        let mut by_dag: BTreeMap<&str, Vec<&RunMark>> = BTreeMap::new();
        runs.iter().for_each(|run| by_dag.entry(&run.dag_id).or_default().push(run));
        let mut timeline = Timeline { from, now, to, rows: Vec::new(), more: dags.saturating_sub(by_dag.len()) };
        for (dag_id, mut runs) in by_dag {
            runs.sort_by_key(|run| run.started_at.unwrap_or(run.created_at));
            let mut row = Row { dag_id: dag_id.into(), href: dag_href(dag_id), marks: Vec::new(), next: None };
            for run in runs {
                timeline.add(&mut row, run);
            }
            let at = next.iter().find(|next| next.dag_id == dag_id).map(|next| timeline.place(next.run_after));
            row.next = at.filter(|at| (0..1_000 - THIN).contains(at));
            timeline.rows.push(row);
        }
        timeline
    }

    fn place(&self, at: DateTime<Utc>) -> i64 {
        let whole = (self.to - self.from).num_milliseconds().max(1);
        (at - self.from).num_milliseconds().saturating_mul(1_000) / whole
    }

    fn add(&self, row: &mut Row, run: &RunMark) {
        let start = run.started_at.unwrap_or(run.created_at);
        let end = run.ended_at.unwrap_or(self.now.at).max(start);
        let from = self.place(start).clamp(0, 1_000 - THIN);
        let to = self.place(end).clamp(from + THIN, 1_000);
        if let Some(last) = row.marks.last_mut()
            && last.state == run.state
            && from - last.to < TOUCH
        {
            last.to = last.to.max(to);
            last.runs += 1;
            last.title = format!("{}, {}", counted(last.runs, "run"), words(run.state.as_str()));
            last.href = format!("{}/runs", row.href);
            return;
        }
        let took = run.active_time(self.now.at).map(|took| format!(", {}", duration(took)));
        let title =
            format!("{}, {}{}", self.now.written(start, "%H:%M"), words(run.state.as_str()), took.unwrap_or_default());
        let href = format!("{}/runs/{}", row.href, encoded(&run.run_id));
        row.marks.push(Mark { state: run.state, from, to, runs: 1, href, title });
    }

    /// Returns the ticks at full hours or days, at most eight.
    fn ticks(&self) -> Vec<(i64, String)> {
        let whole = self.to - self.from;
        let steps = [10, 60, 120, 240, 360, 720, 1_440, 2_880];
        let minutes = steps.into_iter().find(|minutes| whole.num_minutes() / minutes <= 8).unwrap_or(5_760);
        let step = TimeDelta::minutes(minutes);
        let Ok(at) = self.now.local(self.from).duration_trunc(step) else { return Vec::new() };
        let mut at = at.with_timezone(&Utc);
        let mut ticks = Vec::new();
        while at < self.to {
            at += step;
            let form = if minutes >= 1_440 { "%-d %b" } else { "%H:%M" };
            ticks.push((self.place(at), self.now.written(at, form)));
        }
        ticks
    }
}

pub(crate) fn dag_href(dag_id: &str) -> String {
    format!("/dags/{}", encoded(dag_id))
}

/// Formats thousandths as a percentage.
struct Percent(i64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}%", self.0 / 10, self.0 % 10)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = 30 + 26 * self.rows.len();
        let failed = self.rows.iter().flat_map(|row| &row.marks).filter(|mark| mark.state == RunState::Failed).count();
        write!(
            f,
            r#"<svg class="tl" height="{height}" role="group" aria-label="Runs over time, one row for each DAG; {failed} marks are failed">"#
        )?;
        let now = self.place(self.now.at);
        for (place, (x, text)) in self.ticks().into_iter().filter(|(x, _)| *x < 1_000).enumerate() {
            let at = Percent(x);
            write!(f, r#"<line class="ax" x1="{at}" x2="{at}" y1="22" y2="{height}"/>"#)?;
            // Labels near the current time would overlap its label.
            if (x - now).abs() > 80 && (25..975).contains(&x) {
                // Phones show only half of the labels, and none near the current time.
                let alt = if place % 2 == 0 || (x - now).abs() < 350 { "axt alt" } else { "axt" };
                write!(f, r#"<text class="{alt}" x="{at}" y="14" text-anchor="middle">{text}</text>"#)?;
            }
        }
        for (place, row) in self.rows.iter().enumerate() {
            let y = 37 + 26 * place;
            write!(f, r#"<line class="ax" x1="0" x2="100%" y1="{y}" y2="{y}"/>"#)?;
            if let Some(at) = row.next {
                let width = Percent(THIN * 2);
                write!(
                    f,
                    r#"<rect class="ghost" x="{}" y="{}" width="{width}" height="14" rx="2.5"/>"#,
                    Percent(at),
                    y - 7
                )?;
            }
            for mark in &row.marks {
                let state = mark.state.as_str();
                let class = if mark.runs > 1 && mark.state == RunState::Success { "band" } else { "b" };
                let (x, width) = (Percent(mark.from), Percent(mark.to - mark.from));
                write!(
                    f,
                    r#"<a href="{}" aria-label="{} {}"><rect class="{class} s-{state}" x="{x}" y="{}" width="{width}" height="14" rx="2.5"><title>{}</title></rect>"#,
                    mark.href,
                    Escaped(&row.dag_id),
                    mark.title,
                    y - 7,
                    mark.title
                )?;
                if mark.state == RunState::Failed {
                    let middle = Percent(i64::midpoint(mark.from, mark.to));
                    write!(f, r#"<circle class="b s-failed" cx="{middle}" cy="{}" r="2"/>"#, y + 10)?;
                }
                f.write_str("</a>")?;
            }
        }
        let at = Percent(now);
        write!(
            f,
            r#"<line class="now" x1="{at}" x2="{at}" y1="20" y2="{height}"/><text class="nowt" x="{at}" y="14" text-anchor="middle">now {}</text></svg>"#,
            self.now.written(self.now.at, "%H:%M")
        )
    }
}

impl HtmlSafe for Timeline {}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_spec::state::RunType;
    use uuid::Uuid;

    fn run_mark(dag_id: &str, minute: i64, state: RunState) -> RunMark {
        let at = DateTime::from_timestamp(1_800_000_000 - minute * 60, 0).expect("a moment");
        RunMark {
            id: Uuid::nil(),
            dag_id: dag_id.into(),
            run_id: format!("r+{minute}"),
            state,
            run_type: RunType::Manual,
            run_after: at,
            created_at: at,
            started_at: Some(at),
            ended_at: Some(at + TimeDelta::seconds(5)),
            idle: TimeDelta::zero(),
        }
    }

    #[test]
    fn runs_that_would_touch_are_one_band_and_others_are_links() {
        let now = ZonedNow::utc(DateTime::from_timestamp(1_800_000_000, 0).expect("a moment"));
        let mut runs: Vec<_> = (0..300).map(|minute| run_mark("often", minute, RunState::Success)).collect();
        runs.push(run_mark("rare", 100, RunState::Failed));
        runs.push(run_mark("rare", 900, RunState::Success));
        let timeline = Timeline::new(&runs, 14, &[], now, TimeDelta::hours(24));
        assert_eq!((timeline.rows.len(), timeline.more), (2, 12));
        let html = timeline.to_string();
        assert_eq!(html.matches("<a ").count(), 3, "{html}");
        assert!(html.contains("300 runs, success") && html.contains(r#"href="/dags/rare/runs/r%2B100""#));
        assert_eq!(html.matches("<circle").count(), 1);
    }
}
