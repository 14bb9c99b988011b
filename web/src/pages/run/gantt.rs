//! Task instances over time: a bar for each try, a thin line while one waits for a slot, dots between tries.

use crate::pages::home::task_href;
use crate::parts::{self, Escaped};
use askama::filters::HtmlSafe;
use chrono::{DateTime, TimeDelta, Utc};
use orch_core::state::TaskState;
use orch_store::instance::{InstanceRow, OldTry};
use orch_store::run::RunDetails;
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
    pub(super) state: parts::State,
    pub(super) note: String,
    pub(super) took: Option<String>,
    pub(super) drawing: Drawing,
}

/// Ten-thousandths of the width with words.
#[derive(Debug, Clone)]
pub(super) struct Axis(Vec<(i64, String)>);

#[derive(Debug)]
pub(super) struct Drawing {
    label: String,
    ticks: Vec<i64>,
    /// Waiting for a slot.
    idle: Vec<(i64, i64)>,
    bars: Vec<(i64, i64, &'static str)>,
    /// Between two tries.
    gaps: Vec<(i64, i64)>,
    words: Option<String>,
}

const WHOLE: i64 = 10_000;
const THIN: i64 = 35;

struct Scale {
    from: DateTime<Utc>,
    whole: TimeDelta,
}

impl Scale {
    fn place(&self, at: DateTime<Utc>) -> i64 {
        let past = (at - self.from).num_microseconds().unwrap_or(i64::MAX / WHOLE).max(0);
        let whole = self.whole.num_microseconds().unwrap_or(i64::MAX).max(1);
        (i128::from(past) * i128::from(WHOLE) / i128::from(whole)).min(i128::from(WHOLE)) as i64
    }
}

impl Gantt {
    pub(super) fn new(
        run: &RunDetails,
        instances: &[InstanceRow],
        old: &[OldTry],
        href: &str,
        now: DateTime<Utc>,
    ) -> Gantt {
        let from = run.started_at.unwrap_or(run.created_at);
        let last = instances.iter().filter_map(|instance| instance.ended_at).max();
        let to = run.ended_at.or(last.filter(|_| run.state.is_finished())).unwrap_or(now).max(from);
        // A little room, so that the last bar does not touch the edge.
        let scale = Scale { from, whole: ((to - from) * 102 / 100).max(TimeDelta::milliseconds(1)) };
        let axis = axis(&scale);
        let mut of: BTreeMap<(u16, i32), Vec<&OldTry>> = BTreeMap::new();
        old.iter().for_each(|one| of.entry((one.task, one.map_index)).or_default().push(one));
        let rows = instances.iter().map(|instance| {
            let before = of.get(&(instance.task, instance.map_index)).map_or(&[][..], Vec::as_slice);
            row(instance, before, &scale, &axis, href, now)
        });
        Gantt { rows: rows.collect(), axis }
    }
}

fn row(instance: &InstanceRow, before: &[&OldTry], scale: &Scale, axis: &Axis, href: &str, now: DateTime<Utc>) -> Row {
    let mut name = instance.task_id.clone();
    if instance.map_index >= 0 {
        name = format!("{name} [{}]", instance.map_index);
    }
    let mut tries: Vec<_> = before.iter().map(|one| (one.queued_at, one.started_at, one.ended_at, one.state)).collect();
    if instance.started_at.is_some() && !before.iter().any(|one| one.started_at == instance.started_at) {
        tries.push((instance.queued_at, instance.started_at, instance.ended_at, instance.state));
    }
    let state = instance.state.as_str();
    let took = instance.started_at.map(|at| parts::duration(instance.ended_at.unwrap_or(now) - at));
    let mut drawing = Drawing {
        label: format!(
            "{name}: {}{}",
            parts::words(state),
            took.as_ref().map(|t| format!(", {t}")).unwrap_or_default()
        ),
        ticks: axis.0.iter().skip(1).map(|(at, _)| *at).collect(),
        idle: Vec::new(),
        bars: Vec::new(),
        gaps: Vec::new(),
        words: words(instance, now),
    };
    let mut ended: Option<i64> = None;
    for (queued, started, end, state) in &tries {
        let Some(started) = started else { continue };
        let from = scale.place(*started).min(WHOLE - THIN);
        let to = scale.place(end.unwrap_or(now)).clamp(from + THIN, WHOLE);
        if let Some(queued) = queued.map(|queued| scale.place(queued)).filter(|queued| *queued < from) {
            drawing.idle.push((queued.max(ended.unwrap_or(0)).min(from), from));
        }
        if let Some(ended) = ended.filter(|ended| *ended < from) {
            drawing.gaps.push((ended, from));
        }
        // What was superseded did not end well, whatever is written of it.
        let state = if *state == TaskState::None { "up_for_retry" } else { state.as_str() };
        drawing.bars.push((from, to, state));
        ended = Some(to);
    }
    if instance.started_at.is_none()
        && let Some(queued) = instance.queued_at.filter(|_| !instance.state.is_finished())
    {
        drawing.idle.push((scale.place(queued), scale.place(now).max(scale.place(queued) + THIN)));
    }
    Row {
        href: task_href(href, &instance.task_id, instance.map_index),
        state: parts::mark(state),
        note: if tries.len() > 1 { format!("{} tries", tries.len()) } else { String::new() },
        took,
        name,
        drawing,
    }
}

/// What a row says that has no bar.
fn words(instance: &InstanceRow, now: DateTime<Utc>) -> Option<String> {
    match instance.state {
        TaskState::UpstreamFailed => Some("did not start: a task before it failed".into()),
        TaskState::Skipped if instance.started_at.is_none() => Some("not needed in this run".into()),
        TaskState::UpForRetry | TaskState::UpForReschedule => {
            instance.wake_at.map(|at| format!("goes on in {}", parts::duration(at - now)))
        }
        TaskState::Queued => Some("waits for a worker".into()),
        TaskState::Scheduled => Some("waits for a limit".into()),
        _ => None,
    }
}

fn axis(scale: &Scale) -> Axis {
    const STEPS: [i64; 27] = [
        1,
        2,
        5,
        10,
        20,
        50,
        100,
        200,
        500,
        1_000,
        2_000,
        5_000,
        10_000,
        20_000,
        30_000,
        60_000,
        120_000,
        300_000,
        600_000,
        1_200_000,
        1_800_000,
        3_600_000,
        7_200_000,
        14_400_000,
        28_800_000,
        86_400_000,
        604_800_000,
    ];
    let whole = scale.whole.num_milliseconds();
    let step = STEPS.into_iter().find(|step| whole / step <= 5).unwrap_or(whole / 5).max(1);
    let mut ticks = vec![(0, scale.from.format("%H:%M:%S").to_string())];
    let mut at = step;
    while at <= whole && ticks.len() < 8 {
        let place = scale.place(scale.from + TimeDelta::milliseconds(at));
        ticks.push((place, format!("+{}", short(at))));
        at += step;
    }
    Axis(ticks)
}

/// A step of the axis, which is a round number.
fn short(millis: i64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{} s", millis / 1_000),
        60_000..3_600_000 if millis % 60_000 > 0 => format!("{} m {} s", millis / 60_000, millis % 60_000 / 1_000),
        60_000..3_600_000 => format!("{} m", millis / 60_000),
        3_600_000..86_400_000 if millis % 3_600_000 > 0 => parts::duration(TimeDelta::milliseconds(millis)),
        3_600_000..86_400_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} d", millis / 86_400_000),
    }
}

/// Ten-thousandths as percent.
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
            if at.0 < WHOLE * 9 / 10 {
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
        for (from, to) in &self.gaps {
            write!(f, r#"<line class="gapl" x1="{}" x2="{}" y1="14" y2="14"/>"#, Percent(*from), Percent(*to))?;
        }
        for (from, to, state) in &self.bars {
            let (x, width) = (Percent(*from), Percent(to - from));
            write!(f, r#"<rect class="b s-{state}" x="{x}" y="7" width="{width}" height="14" rx="2.5"/>"#)?;
        }
        if let Some(words) = &self.words {
            let words = Escaped(words);
            write!(f, r#"<text class="bt only-wide" x="98.85%" y="18" text-anchor="end">{words}</text>"#)?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Drawing {}
