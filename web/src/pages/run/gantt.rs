//! Gantt chart of task instances: a bar for each attempt, a thin line while an instance waits for a slot, dots between
//! attempts. Tasks on the critical path are bold. Elements of a mapped task are below a row for the whole task, and
//! tasks of a group below a row for the group, in the order of the grid.

use crate::pages::dag::grid::{Block, blocks};
use crate::pages::encoded;
use crate::pages::home::task_href;
use crate::parts::{self, Escaped, ZonedNow, ticks};
use askama::filters::HtmlSafe;
use chrono::{DateTime, TimeDelta, Utc};
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::state::TaskState;
use orch_store::instance::{InstanceRow, OldTry};
use orch_store::run::RunDetails;
use orch_store::timing::TaskSpan;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug)]
pub(super) struct Gantt {
    pub(super) rows: Vec<Row>,
    pub(super) axis: Axis,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) href: String,
    /// `None` for a row that summarizes several instances.
    pub(super) state: Option<parts::State>,
    pub(super) note: String,
    pub(super) took: Option<String>,
    /// True if the task is on the critical path.
    pub(super) is_critical: bool,
    /// Indentation: one level for a group and one for a mapped task.
    pub(super) depth: u8,
    pub(super) drawing: Drawing,
}

/// Ticks of the time axis: position in ten-thousandths of the width, and label.
#[derive(Debug, Clone)]
pub(super) struct Axis(Vec<(i64, String)>);

#[derive(Debug)]
pub(super) struct Drawing {
    label: String,
    ticks: Vec<i64>,
    /// Time spent waiting for a slot.
    idle: Vec<(i64, i64)>,
    bars: Vec<Bar>,
    /// Time between two attempts, with its duration if the gap is wide enough for a label.
    gaps: Vec<(i64, i64, Option<String>)>,
    words: Option<String>,
}

#[derive(Debug)]
struct Bar {
    from: i64,
    to: i64,
    state: &'static str,
    title: String,
    /// True if the bar summarizes several instances.
    is_band: bool,
}

const WHOLE: i64 = 10_000;
const THIN: i64 = 35;
/// Minimum width of a gap that has a label, in ten-thousandths.
const WORDY: i64 = 700;

/// The clocks of the database and the workers differ by less.
const AGAIN: TimeDelta = TimeDelta::milliseconds(5);

struct Scale {
    from: DateTime<Utc>,
    whole: TimeDelta,
}

impl Scale {
    fn place(&self, at: DateTime<Utc>) -> i64 {
        let past = (at - self.from).num_microseconds().unwrap_or(i64::MAX / WHOLE).max(0);
        let whole = self.whole.num_microseconds().unwrap_or(i64::MAX).max(1);
        i64::try_from(i128::from(past) * i128::from(WHOLE) / i128::from(whole)).map_or(WHOLE, |at| at.min(WHOLE))
    }
}

/// Input of a chart.
pub(super) struct Of<'a> {
    pub(super) run: &'a RunDetails,
    pub(super) plan: &'a Plan,
    pub(super) instances: &'a [InstanceRow],
    pub(super) old: &'a [OldTry],
    pub(super) spans: &'a [TaskSpan],
    /// Tasks on the critical path.
    pub(super) path: &'a [TaskIdx],
    pub(super) href: &'a str,
}

impl Gantt {
    pub(super) fn new(of: &Of<'_>, now: ZonedNow) -> Gantt {
        let Of { run, plan, instances, .. } = of;
        let from = run.started_at.unwrap_or(run.created_at);
        let last = instances.iter().filter_map(|instance| instance.ended_at).max();
        let to = run.ended_at.or(last.filter(|_| run.state.is_finished())).unwrap_or(now.at).max(from);
        // The margin keeps the last bar away from the edge.
        let scale = Scale { from, whole: ((to - from) * 102 / 100).max(TimeDelta::milliseconds(1)) };
        let axis = axis(&scale, now);
        let mut tries: BTreeMap<(u16, i32), Vec<&OldTry>> = BTreeMap::new();
        of.old.iter().for_each(|one| tries.entry((one.task, one.map_index)).or_default().push(one));
        let mut rows: Vec<Row> = Vec::with_capacity(instances.len());
        for Block { group, tasks } in blocks(&plan.spec) {
            let mut shown = tasks.iter().flat_map(|task| of_task(instances, *task)).peekable();
            if let Some(group) = group.filter(|_| shown.peek().is_some()) {
                rows.push(of_group(of, (group, &tasks), &scale, &axis, now));
            }
            let mut above = None;
            for instance in shown {
                let (outer, is_element) = (u8::from(group.is_some()), instance.map_index >= 0);
                if is_element && above != Some(instance.task) {
                    rows.push(Row { depth: outer, ..whole(of, instance, &scale, &axis, now) });
                }
                above = Some(instance.task);
                let before = tries.get(&(instance.task, instance.map_index)).map_or(&[][..], Vec::as_slice);
                let is_critical = !is_element && of.path.contains(&instance.task);
                let depth = outer + u8::from(is_element);
                rows.push(Row { is_critical, depth, ..row(instance, before, &scale, &axis, of.href, now) });
            }
        }
        Gantt { rows, axis }
    }
}

/// Returns the instances of a task, which are consecutive.
fn of_task(instances: &[InstanceRow], task: TaskIdx) -> impl Iterator<Item = &InstanceRow> {
    instances.iter().filter(move |instance| instance.task == task)
}

/// Returns the row of a group, from the first start to the last end of its tasks.
fn of_group(of: &Of<'_>, (group, tasks): (&str, &[TaskIdx]), scale: &Scale, axis: &Axis, now: ZonedNow) -> Row {
    let spans = || of.spans.iter().filter(|span| tasks.contains(&span.task));
    let (began, tasks) = (spans().count(), parts::counted(tasks.len(), "task"));
    let mut row = Row {
        name: group.into(),
        href: format!(
            "{}/graph?run={}&open={}",
            parts::dag_href(&of.run.dag_id),
            encoded(&of.run.run_id),
            encoded(group)
        ),
        state: None,
        note: tasks.clone(),
        took: None,
        is_critical: false,
        depth: 0,
        drawing: Drawing::new(format!("{group}: {tasks}, {began} of them began"), axis),
    };
    if let Some(first) = spans().map(|span| span.first_started).min() {
        let ended: Option<Vec<_>> = spans().map(|span| span.last_ended).collect();
        let last = ended.as_ref().and_then(|ended| ended.iter().max().copied());
        let (from, end) = (scale.place(first).min(WHOLE - THIN), last.unwrap_or(now.at));
        let took = parts::duration(end - first);
        let reach = if last.is_none() { "since the first started" } else { "from the first to the last" };
        let title = format!("{tasks}, {took} {reach}");
        let (to, state) = (scale.place(end).clamp(from + THIN, WHOLE), if last.is_none() { "running" } else { "ink" });
        row.drawing.bars.push(Bar { from, to, state, title, is_band: true });
        row.took = Some(took);
    }
    row
}

/// Returns the row of a mapped task, from the first start to the last end of its elements.
fn whole(of: &Of<'_>, first: &InstanceRow, scale: &Scale, axis: &Axis, now: ZonedNow) -> Row {
    let Some(span) = of.spans.iter().find(|span| span.task == first.task) else {
        let drawing = Drawing::new(format!("{}: none of its elements began", first.task_id), axis);
        return whole_row(of, first, drawing);
    };
    let from = scale.place(span.first_started).min(WHOLE - THIN);
    let ended = span.last_ended.unwrap_or(now.at);
    let to = scale.place(ended).clamp(from + THIN, WHOLE);
    let took = parts::duration(ended - span.first_started);
    let state = if span.last_ended.is_none() { "running" } else { "ink" };
    let reach = if span.last_ended.is_none() { "since the first started" } else { "from the first to the last" };
    let title = format!("{} of its elements began, {took} {reach}", span.instances);
    let mut drawing = Drawing::new(format!("{}: {title}", first.task_id), axis);
    drawing.bars.push(Bar { from, to, state, title, is_band: true });
    Row { note: format!("[{}]", span.instances), took: Some(took), ..whole_row(of, first, drawing) }
}

fn whole_row(of: &Of<'_>, first: &InstanceRow, drawing: Drawing) -> Row {
    Row {
        name: first.task_id.clone(),
        href: format!("{}?task={}", of.href, encoded(&first.task_id)),
        state: None,
        note: String::new(),
        took: None,
        is_critical: of.path.contains(&first.task),
        depth: 0,
        drawing,
    }
}

impl Drawing {
    fn new(label: String, axis: &Axis) -> Drawing {
        Drawing {
            label,
            ticks: axis.0.iter().skip(1).map(|(at, _)| *at).collect(),
            idle: Vec::new(),
            bars: Vec::new(),
            gaps: Vec::new(),
            words: None,
        }
    }
}

fn row(instance: &InstanceRow, before: &[&OldTry], scale: &Scale, axis: &Axis, href: &str, now: ZonedNow) -> Row {
    let name = match instance.map_index {
        index if index >= 0 => format!("[{index}]"),
        _ => instance.task_id.clone(),
    };
    let tries = tries(instance, before);
    let state = instance.state.as_str();
    let took = instance.started_at.map(|at| parts::duration(instance.ended_at.unwrap_or(now.at) - at));
    let said = took.as_ref().map(|t| format!(", {t}")).unwrap_or_default();
    let mut drawing = Drawing::new(format!("{} {name}: {}{said}", instance.task_id, parts::words(state)), axis);
    drawing.words = words(instance, now);
    let mut ended: Option<(i64, DateTime<Utc>)> = None;
    let mut is_retried = false;
    for (number, DrawnTry { queued, started, end, state, lost_no }) in tries.iter().enumerate() {
        let Some(started) = started else { continue };
        let from = scale.place(*started).min(WHOLE - THIN);
        let to = scale.place(end.unwrap_or(now.at)).clamp(from + THIN, WHOLE);
        // A superseded attempt has the state `none` and did not succeed, so it is drawn as `up_for_retry`.
        let attempt_state = *state;
        let state = if attempt_state == TaskState::None { "up_for_retry" } else { state.as_str() };
        let mut title = format!("{}, {}", parts::words(state), parts::duration(end.unwrap_or(now.at) - *started));
        if tries.len() > 1 {
            title = format!("try {}: {title}", number + 1);
        }
        if let Some(queued) = queued.filter(|queued| queued < started) {
            let idle_from = scale.place(queued).max(ended.map_or(0, |(place, _)| place)).min(from);
            drawing.idle.push((idle_from, from));
            title = format!("{title}; waited {} for a slot", parts::duration(*started - queued));
        }
        // The time between an attempt and a clear is not waiting, only the time until a retry.
        if let Some((place, at)) = ended.filter(|_| is_retried) {
            let next = queued.unwrap_or(*started).max(at);
            // Short bars are drawn wider than their duration, so the next bar may start before this one ends.
            let to = scale.place(next).min(from);
            if to > place {
                let delay = (to - place > WORDY).then(|| parts::duration(next - at));
                drawing.gaps.push((place, to, delay));
            }
        }
        // Queued after its start: it was deferred or its worker was lost, and a worker claimed it again.
        let again = queued.filter(|queued| *queued > *started + AGAIN).map(|queued| (scale.place(queued), queued));
        if let Some((place, queued)) = again.filter(|(place, _)| (from + THIN..=to - THIN).contains(place)) {
            let until = parts::duration(queued - *started);
            let (state, title) = if *lost_no > 0 {
                ("restarting", format!("its worker was lost: it restarted {until} after its start"))
            } else {
                ("deferred", format!("waited {until} for a sensor, people or another worker"))
            };
            drawing.bars.push(Bar { from, to: place, state, title, is_band: false });
        }
        let from = again.map_or(from, |(place, _)| place.clamp(from, to - THIN));
        drawing.bars.push(Bar { from, to, state, title, is_band: false });
        ended = Some((to, end.unwrap_or(now.at)));
        is_retried = attempt_state == TaskState::UpForRetry;
    }
    if instance.state == TaskState::UpForRetry
        && let Some((place, _)) = ended
    {
        // The label contains the time of the retry. A narrow gap has no space for it, and a line would cross it.
        let to = scale.place(now.at);
        if to - place > WORDY * 3 {
            drawing.gaps.push((place, to, drawing.words.take()));
        }
    }
    if instance.started_at.is_none()
        && let Some(queued) = instance.queued_at.filter(|_| !instance.state.is_finished())
    {
        drawing.idle.push((scale.place(queued), scale.place(now.at).max(scale.place(queued) + THIN)));
    }
    Row {
        href: task_href(href, &instance.task_id, instance.map_index),
        state: Some(parts::mark(state)),
        note: note(&tries),
        took,
        name,
        is_critical: false,
        depth: 0,
        drawing,
    }
}

/// An attempt as it is drawn.
struct DrawnTry {
    queued: Option<DateTime<Utc>>,
    started: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    state: TaskState,
    lost_no: i16,
}

fn tries(instance: &InstanceRow, before: &[&OldTry]) -> Vec<DrawnTry> {
    let old = before.iter().map(|one| DrawnTry {
        queued: one.queued_at,
        started: one.started_at,
        end: one.ended_at,
        state: one.state,
        lost_no: one.lost_no,
    });
    let mut tries: Vec<DrawnTry> = old.collect();
    if instance.started_at.is_some() && !before.iter().any(|one| one.started_at == instance.started_at) {
        tries.push(DrawnTry {
            queued: instance.queued_at,
            started: instance.started_at,
            end: instance.ended_at,
            state: instance.state,
            lost_no: instance.lost_no,
        });
    }
    tries
}

fn note(tries: &[DrawnTry]) -> String {
    let lost: i16 = tries.iter().map(|one| one.lost_no).sum();
    let lost = match lost {
        0 => None,
        1 => Some("1 worker lost".to_string()),
        many => Some(format!("{many} workers lost")),
    };
    let many = (tries.len() > 1).then(|| format!("{} tries", tries.len()));
    [many, lost].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns the text of a row without a bar.
fn words(instance: &InstanceRow, now: ZonedNow) -> Option<String> {
    match instance.state {
        TaskState::UpstreamFailed => Some("did not start: a task before it failed".into()),
        TaskState::Skipped if instance.started_at.is_none() => Some("not needed in this run".into()),
        TaskState::UpForRetry => instance.wake_at.map(|at| format!("next try in {}", parts::duration(at - now))),
        TaskState::UpForReschedule => instance.wake_at.map(|at| format!("next poll in {}", parts::duration(at - now))),
        TaskState::Queued => Some("waits for a worker".into()),
        TaskState::Scheduled => Some("waits for a limit".into()),
        _ => None,
    }
}

fn axis(scale: &Scale, now: ZonedNow) -> Axis {
    let whole = scale.whole.num_milliseconds();
    let step = ticks::millis(whole, 5);
    let mut ticks = vec![(0, now.written(scale.from, "%H:%M:%S"))];
    let mut at = step;
    while at <= whole && ticks.len() < 8 {
        let place = scale.place(scale.from + TimeDelta::milliseconds(at));
        ticks.push((place, format!("+{}", short(at))));
        at += step;
    }
    Axis(ticks)
}

/// Formats a step of the axis, which is a round number.
fn short(millis: i64) -> String {
    match millis {
        0..100 => format!("{millis} ms"),
        100..1_000 if millis % 100 > 0 => format!("{millis} ms"),
        100..60_000 if millis % 1_000 > 0 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        100..60_000 => format!("{} s", millis / 1_000),
        60_000..3_600_000 if millis % 60_000 > 0 => format!("{} m {} s", millis / 60_000, millis % 60_000 / 1_000),
        60_000..3_600_000 => format!("{} m", millis / 60_000),
        3_600_000..86_400_000 if millis % 3_600_000 > 0 => parts::duration(TimeDelta::milliseconds(millis)),
        3_600_000..86_400_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} d", millis / 86_400_000),
    }
}

/// Formats ten-thousandths as percent.
struct Percent(i64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"<svg class="row" aria-hidden="true">"#)?;
        for (place, (at, words)) in self.0.iter().enumerate() {
            let class = if place % 2 == 1 { "axt alt" } else { "axt" };
            let at = Percent(*at);
            write!(f, r#"<line class="ax" x1="{at}" x2="{at}" y1="20" y2="28"/>"#)?;
            // The first label is a full time. Labels that would overlap it or the right edge are omitted.
            if place == 0 || (WHOLE / 5..WHOLE * 9 / 10).contains(&at.0) {
                write!(f, r#"<text class="{class}" x="{at}" y="18" dx="4">{words}</text>"#)?;
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Axis {}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<svg class="row" role="img" aria-label="{}">"#, Escaped(&self.label))?;
        for at in &self.ticks {
            let at = Percent(*at);
            write!(f, r#"<line class="ax" x1="{at}" x2="{at}" y1="0" y2="28"/>"#)?;
        }
        for (from, to) in &self.idle {
            write!(
                f,
                r#"<rect class="idle" x="{}" y="13" width="{}" height="2"/>"#,
                Percent(*from),
                Percent(to - from)
            )?;
        }
        for (from, to, words) in &self.gaps {
            write!(f, r#"<line class="gapl" x1="{}" x2="{}" y1="14" y2="14"/>"#, Percent(*from), Percent(*to))?;
            if let Some(words) = words {
                let middle = Percent(i64::midpoint(*from, *to));
                write!(f, r#"<text class="bt only-wide" x="{middle}" y="9" text-anchor="middle">{words}</text>"#)?;
            }
        }
        for Bar { from, to, state, title, is_band } in &self.bars {
            let (x, width, title) = (Percent(*from), Percent(to - from), Escaped(title));
            let (class, y, tall) = if *is_band { ("soft", 10, 8) } else { ("b", 7, 14) };
            write!(
                f,
                r#"<rect class="{class} s-{state}" x="{x}" y="{y}" width="{width}" height="{tall}" rx="2.5"><title>{title}</title></rect>"#
            )?;
        }
        if let Some(words) = &self.words {
            let words = Escaped(words);
            write!(f, r#"<text class="bt only-wide" x="98.85%" y="18" text-anchor="end">{words}</text>"#)?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Drawing {}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).expect("a timestamp")
    }

    /// Draws an instance of a run that started at 0 s. The current time is 100 s.
    fn drawn(instance: &InstanceRow, before: &[&OldTry]) -> Drawing {
        let scale = Scale { from: at(0), whole: TimeDelta::seconds(100) };
        row(instance, before, &scale, &Axis(Vec::new()), "/r", ZonedNow::utc(at(100))).drawing
    }

    fn instance(state: TaskState, started: i64, ended: Option<i64>) -> InstanceRow {
        InstanceRow {
            try_no: 1,
            queued_at: Some(at(started)),
            started_at: Some(at(started)),
            ended_at: ended.map(at),
            ..InstanceRow::untried(Uuid::nil(), (0, "t".into(), -1), state)
        }
    }

    fn old(state: TaskState, from: i64, to: i64) -> OldTry {
        let (from, to) = (Some(at(from)), Some(at(to)));
        OldTry { task: 0, map_index: -1, try_no: 1, lost_no: 0, state, queued_at: from, started_at: from, ended_at: to }
    }

    #[test]
    fn time_until_a_retry_is_a_gap_and_time_before_a_clear_is_not() {
        let second = instance(TaskState::Success, 60, Some(80));
        let retried = drawn(&second, &[&old(TaskState::UpForRetry, 0, 20)]);
        assert_eq!(retried.gaps, [(2_000, 6_000, Some("40 s".to_string()))]);
        let cleared = drawn(&second, &[&old(TaskState::Failed, 0, 20)]);
        assert_eq!((cleared.gaps.len(), cleared.bars.len()), (0, 2));
        // The retry has not started yet.
        let waits = InstanceRow { wake_at: Some(at(130)), ..instance(TaskState::UpForRetry, 0, Some(20)) };
        let waits = drawn(&waits, &[&old(TaskState::UpForRetry, 0, 20)]);
        assert_eq!(waits.gaps, [(2_000, 10_000, Some("next try in 30 s".to_string()))]);
        assert_eq!(waits.words, None);
    }

    #[test]
    fn a_wait_for_a_sensor_or_people_is_waiting() {
        let answered = InstanceRow { queued_at: Some(at(50)), ..instance(TaskState::Success, 10, Some(80)) };
        let bars = drawn(&answered, &[]).bars;
        let states: Vec<_> = bars.iter().map(|bar| (bar.from, bar.to, bar.state)).collect();
        assert_eq!(states, [(1_000, 5_000, "deferred"), (5_000, 8_000, "success")]);
        assert_eq!(bars[0].title, "waited 40 s for a sensor, people or another worker");
    }

    #[test]
    fn a_step_of_the_axis_says_no_less_than_it_is() {
        let words = [20, 150, 500, 1_000, 1_500, 60_000, 90_000, 7_200_000].map(short);
        assert_eq!(words, ["20 ms", "150 ms", "0.5 s", "1 s", "1.5 s", "1 m", "1 m 30 s", "2 h"]);
    }

    #[test]
    fn words_of_an_axis_do_not_stand_in_each_other() {
        let axis = Axis(vec![(0, "06:08:42".into()), (1_700, "+0.5 s".into()), (3_400, "+1 s".into())]);
        let drawn = axis.to_string();
        assert!(drawn.contains("06:08:42") && drawn.contains("+1 s") && !drawn.contains("+0.5 s"), "{drawn}");
        assert_eq!(drawn.matches("<line").count(), 3);
    }
}
