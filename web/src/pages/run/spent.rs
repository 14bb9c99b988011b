//! Breakdown of a run's duration along its critical path: time in which tasks worked, waited (for a slot, a pool, a
//! limit, a retry, a sensor or people) or ran on a worker that was lost. The rest is overhead of orch. Time before a
//! clear is not included.

use crate::parts::{self, ZonedNow};
use askama::filters::HtmlSafe;
use chrono::{DateTime, TimeDelta, Utc};
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::state::TaskState;
use orch_store::instance::OldTry;
use orch_store::run::RunDetails;
use orch_store::timing::TaskSpan;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Spent {
    /// Tasks of the critical path, first to last.
    pub(super) path: Vec<TaskIdx>,
    working: TimeDelta,
    /// Waiting for retries: from the end of an attempt to the next one.
    delays: TimeDelta,
    slots: TimeDelta,
    /// Time waiting for a pool or a limit.
    gates: TimeDelta,
    /// From the start of an attempt until its lost worker no longer held it.
    lost: TimeDelta,
    /// Time waiting for a sensor or an answer: from the start of an attempt until it was queued for the last time.
    /// Attempts that a stopping worker handed over are included, because the stored data does not distinguish them.
    aside: TimeDelta,
    /// From the end of the last task to the end of a run that was ended while it waited.
    until_ended: TimeDelta,
    own: TimeDelta,
    /// Time before a clear, which is not included in the total.
    paused: TimeDelta,
    /// Number of hand-overs from one task of the path to the next.
    hand_overs: usize,
    /// Working time of each task of the path.
    work: BTreeMap<TaskIdx, TimeDelta>,
}

/// Clocks of machines differ: a task can seem to start this much before its predecessor ended.
const SLACK: TimeDelta = TimeDelta::milliseconds(5);
/// A gated task whose hand-over takes longer was waiting at its gate (a pool, a limit or an earlier run).
const HAND_OVER: TimeDelta = TimeDelta::milliseconds(20);
/// A hand-over never takes this long. In a run that was cleared, a longer gap is idle time before the clear.
const PAUSE: TimeDelta = TimeDelta::seconds(1);

/// One attempt of a task.
#[derive(Debug, Clone, Copy)]
struct TrySpan {
    queued: Option<DateTime<Utc>>,
    started: DateTime<Utc>,
    ended: Option<DateTime<Utc>>,
    /// The attempt lost a worker and was restarted.
    lost: bool,
    /// A retry followed this attempt, or was due.
    retried: bool,
    /// The attempt has started and no worker holds it now.
    waits: bool,
}

impl TrySpan {
    fn began(&self) -> DateTime<Utc> {
        self.queued.map_or(self.started, |queued| queued.min(self.started))
    }

    fn old(of: &OldTry) -> Option<TrySpan> {
        let retried = of.state == TaskState::UpForRetry;
        let OldTry { queued_at: queued, ended_at: ended, .. } = *of;
        Some(TrySpan { queued, started: of.started_at?, ended, lost: of.lost_no > 0, retried, waits: false })
    }

    fn current(of: &TaskSpan) -> TrySpan {
        let TaskSpan { first_queued: queued, first_started: started, last_ended: ended, .. } = *of;
        TrySpan { queued, started, ended, lost: of.lost_no > 0, retried: false, waits: of.waits }
    }
}

/// Attempts of a task since it was last cleared.
struct Tries {
    all: Vec<TrySpan>,
    was_cleared: bool,
}

impl Tries {
    /// Elements of a mapped task run in parallel; only the attempts of a task that is not mapped are sequential.
    fn new(plan: &Plan, span: &TaskSpan, old: &[&OldTry]) -> Tries {
        let current = TrySpan::current(span);
        if plan.task(span.task).map.is_some() {
            return Tries { all: vec![current], was_cleared: false };
        }
        let cleared = old.iter().rposition(|one| one.state != TaskState::UpForRetry);
        let since = &old[cleared.map_or(0, |last| last + 1)..];
        let mut all: Vec<TrySpan> = since.iter().filter_map(|one| TrySpan::old(one)).collect();
        // While a retry waits, the previous attempt is both in the history and in the instance.
        if all.last().is_none_or(|last| last.started != current.started) {
            all.push(current);
        }
        Tries { all, was_cleared: cleared.is_some() }
    }

    fn began(&self) -> DateTime<Utc> {
        self.all[0].began()
    }

    fn last(&self) -> &TrySpan {
        &self.all[self.all.len() - 1]
    }
}

/// Input of the breakdown.
pub(super) struct Of<'a> {
    pub(super) plan: &'a Plan,
    pub(super) run: &'a RunDetails,
    pub(super) spans: &'a [TaskSpan],
    pub(super) old: &'a [OldTry],
    /// Tasks with a pool, a limit or a dependency on earlier runs.
    pub(super) gated: &'a [TaskIdx],
}

impl Spent {
    /// Returns `None` if no task has started.
    pub(super) fn of(of: &Of<'_>, now: ZonedNow) -> Option<Spent> {
        let mut old: HashMap<TaskIdx, Vec<&OldTry>> = HashMap::new();
        of.old.iter().for_each(|one| old.entry(one.task).or_default().push(one));
        let known = of.spans.iter().filter(|span| usize::from(span.task) < of.plan.tasks.len());
        let tries = |span: &TaskSpan| Tries::new(of.plan, span, old.get(&span.task).map_or(&[][..], Vec::as_slice));
        let tries: HashMap<TaskIdx, Tries> = known.map(|span| (span.task, tries(span))).collect();
        let path = path(of.plan, &tries, now)?;
        let mut spent = Spent { hand_overs: path.len(), ..Spent::default() };
        let mut at = of.run.started_at.unwrap_or(of.run.created_at);
        for &task in &path {
            let here = &tries[&task];
            spent.hand_over(of, task, here, here.began() - at);
            let before = spent.working;
            let mut last = None;
            for one in &here.all {
                last = Some(spent.follow(one, last, now));
            }
            spent.work.insert(task, spent.working - before);
            at = here.last().ended.unwrap_or(now.at);
        }
        let waits_for_retry = path.last().is_some_and(|task| tries[task].last().retried);
        // Nothing is stored about what an open run waits for between two tasks, except for a retry.
        let open_until = if waits_for_retry { now.at } else { at };
        let rest = (of.run.ended_at.unwrap_or(open_until) - at).max(TimeDelta::zero());
        if waits_for_retry {
            spent.delays += rest;
        } else if rest > PAUSE {
            spent.until_ended += rest;
        } else {
            spent.own += rest;
        }
        spent.path = path;
        Some(spent)
    }

    /// Adds the time from the end of the previous task until this one could be claimed.
    fn hand_over(&mut self, of: &Of<'_>, task: TaskIdx, tries: &Tries, took: TimeDelta) {
        let took = took.max(TimeDelta::zero());
        let is_gated = of.gated.contains(&task);
        if tries.was_cleared || (of.run.clear_number > 0 && !is_gated && took > PAUSE) {
            self.paused += took;
        } else if is_gated && took > HAND_OVER {
            self.gates += took;
        } else {
            self.own += took;
        }
    }

    /// Adds an attempt that follows the one that ended at `last`, and returns its end.
    fn follow(&mut self, one: &TrySpan, last: Option<DateTime<Utc>>, now: ZonedNow) -> DateTime<Utc> {
        let ended = one.ended.unwrap_or(now.at);
        let began = one.began();
        if let Some(last) = last {
            self.delays += (began - last).max(TimeDelta::zero());
        }
        self.slots += (one.started - began.max(last.unwrap_or(began))).max(TimeDelta::zero());
        // Queued after its start: its worker had given it up or was lost, and a worker claimed it again.
        let again = if one.waits { Some(ended) } else { one.queued.filter(|queued| *queued > one.started + SLACK) };
        let from = again.unwrap_or(one.started).min(ended);
        let without_worker = (from - one.started).max(TimeDelta::zero());
        *(if one.lost { &mut self.lost } else { &mut self.aside }) += without_worker;
        self.working += (ended - from).max(TimeDelta::zero());
        ended
    }

    fn parts(&self) -> [(&'static str, &'static str, TimeDelta); 8] {
        [
            ("Working", "s-ink", self.working),
            ("Waiting for retries", "s-up_for_retry", self.delays),
            ("Waiting for slots", "s-idle", self.slots),
            ("Waiting for pools and limits", "s-scheduled", self.gates),
            ("Waiting for sensors or people", "s-deferred", self.aside),
            ("Waiting until it was ended", "s-no_status", self.until_ended),
            ("Lost with a worker", "s-failed", self.lost),
            ("orch itself", "s-accent", self.own),
        ]
    }

    fn whole(&self) -> TimeDelta {
        self.parts().iter().fold(TimeDelta::zero(), |sum, (_, _, part)| sum + *part)
    }

    /// Returns the share of the total, in thousandths.
    fn share(&self, part: TimeDelta) -> i64 {
        let part = part.num_microseconds().unwrap_or(i64::MAX / 1_000);
        part.saturating_mul(1_000) / self.whole().num_microseconds().unwrap_or(i64::MAX).max(1)
    }

    /// Returns the name, the duration and the share of each part.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let said = |part: TimeDelta| {
            let percent = (self.share(part) + 5) / 10;
            let percent = if percent == 0 && part > TimeDelta::zero() { "<1".into() } else { percent.to_string() };
            format!("{}, {percent} %", parts::duration(part))
        };
        let [working, rest @ .., (own, _, took)] = self.parts();
        let rest = rest.into_iter().filter(|(_, _, part)| *part > TimeDelta::milliseconds(1));
        let mut lines: Vec<_> = [working].into_iter().chain(rest).map(|(name, _, part)| (name, said(part))).collect();
        let times =
            if self.hand_overs == 1 { "one hand-over".into() } else { format!("{} hand-overs", self.hand_overs) };
        lines.push((own, format!("{} over {times}", parts::duration(took))));
        if self.paused > TimeDelta::zero() {
            lines.push(("Before the clear", format!("{}, not counted", parts::duration(self.paused))));
        }
        lines
    }

    /// Returns a sentence about the task of the path that exceeded its usual duration the most.
    pub(super) fn against(&self, plan: &Plan, usual: &[(TaskIdx, TimeDelta)]) -> Option<String> {
        let slower = usual.iter().filter_map(|(task, usual)| Some((*task, *self.work.get(task)?, *usual)));
        let slower =
            slower.filter(|(_, took, usual)| *took > *usual * 3 / 2 && *took - *usual > TimeDelta::milliseconds(100));
        let (task, took, usual) = slower.max_by_key(|(_, took, usual)| *took - *usual)?;
        Some(format!("{} worked {}, usually {}.", plan.task_id(task), parts::duration(took), parts::duration(usual)))
    }
}

/// Returns the critical path, backwards from the last task: each step adds the predecessor that ended last.
fn path(plan: &Plan, tries: &HashMap<TaskIdx, Tries>, now: ZonedNow) -> Option<Vec<TaskIdx>> {
    let ended = |task: TaskIdx| tries[&task].last().ended.unwrap_or(now.at);
    let mut path = vec![tries.keys().copied().max_by_key(|task| (ended(*task), *task))?];
    while let Some(&task) = path.last() {
        let began = tries[&task].began();
        let above = above(plan, task, tries).into_iter();
        let above = above.filter(|up| !path.contains(up) && ended(*up) <= began + SLACK);
        match above.max_by_key(|up| (ended(*up), *up)) {
            Some(up) => path.push(up),
            None => break,
        }
    }
    path.reverse();
    Some(path)
}

/// Returns the started tasks that a task depends on, also through dependencies that never started.
fn above(plan: &Plan, task: TaskIdx, tries: &HashMap<TaskIdx, Tries>) -> BTreeSet<TaskIdx> {
    let (mut found, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![task]);
    while let Some(task) = open.pop() {
        let planned = plan.task(task);
        for edge in planned.up.iter().chain(&planned.setups).chain(&planned.scope) {
            if tries.contains_key(&edge.task) {
                found.insert(edge.task);
            } else if seen.insert(edge.task) {
                open.push(edge.task);
            }
        }
    }
    found
}

/// Draws the parts as one stacked bar.
impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"<svg class="spent" role="img" aria-label="Shares of the time on the critical path">"#)?;
        let mut x = 0;
        for (_, class, part) in self.parts() {
            let width = self.share(part);
            if width > 0 {
                let end = width - i64::from(width > 6 && x + width < 995) * 4;
                write!(
                    f,
                    r#"<rect class="b {class}" x="{}.{}%" width="{}.{}%" height="12"/>"#,
                    x / 10,
                    x % 10,
                    end / 10,
                    end % 10
                )?;
            }
            x += width;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Spent {}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_spec::DagSpec;
    use orch_spec::state::{RunState, RunType};
    use serde_json::json;
    use std::sync::Arc;
    use uuid::Uuid;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).expect("a moment")
    }

    fn plan() -> Plan {
        let task = |id: &str, after: &[&str]| json!({ "task_id": id, "kind": "rust", "after": after });
        let tasks = [task("a", &[]), task("quick", &["a"]), task("slow", &["a"]), task("end", &["quick", "slow"])];
        let spec: DagSpec = serde_json::from_value(json!({ "dag_id": "d", "tasks": tasks })).expect("a spec");
        Plan::new(Arc::new(spec)).expect("a plan")
    }

    fn run_details() -> RunDetails {
        RunDetails {
            id: Uuid::nil(),
            dag_id: "d".into(),
            run_id: "r".into(),
            partition_key: None,
            rev: 1,
            version: 1,
            version_number: 1,
            version_created_at: at(0),
            bundle: String::new(),
            clear_number: 0,
            state: RunState::Success,
            run_type: RunType::Manual,
            logical_date: None,
            interval_start: None,
            interval_end: None,
            run_after: at(0),
            created_at: at(0),
            started_at: Some(at(0)),
            ended_at: Some(at(61)),
            triggered_by: "ui".into(),
            triggered_by_user: None,
            conf: None,
            note: None,
            idle: TimeDelta::zero(),
        }
    }

    fn span(task: TaskIdx, queued: i64, started: i64, ended: i64) -> TaskSpan {
        let (first_queued, first_started, last_ended) = (Some(at(queued)), at(started), Some(at(ended)));
        TaskSpan {
            run: Uuid::nil(),
            task,
            instances: 1,
            first_queued,
            first_started,
            last_ended,
            lost_no: 0,
            waits: false,
        }
    }

    #[test]
    fn the_slow_way_is_the_critical_path_and_every_second_is_somewhere() {
        let spans = [span(0, 0, 2, 10), span(1, 10, 10, 12), span(2, 40, 40, 50), span(3, 50, 55, 60)];
        let failed = OldTry { ended_at: Some(at(20)), ..old(2, TaskState::UpForRetry, 10) };
        let spent = of_run(&run_details(), &spans, &[failed]);
        assert_eq!(spent.path, [0, 2, 3]);
        assert_eq!(parts_in_seconds(&spent), "Working 33, Waiting for retries 20, Waiting for slots 7, orch itself 1");
        assert_eq!(spent.lines()[1], ("Waiting for retries", "20 s, 33 %".into()));
        let seconds = TimeDelta::seconds;
        let said = spent.against(&plan(), &[(2, seconds(4)), (0, seconds(8))]);
        assert_eq!(said.as_deref(), Some("slow worked 20 s, usually 4.0 s."));
        let nothing = Of { plan: &plan(), run: &run_details(), spans: &[], old: &[], gated: &[] };
        assert_eq!(Spent::of(&nothing, ZonedNow::utc(at(61))), None);
    }

    fn old(task: TaskIdx, state: TaskState, from: i64) -> OldTry {
        let (from, to) = (Some(at(from)), Some(at(from + 10)));
        OldTry { task, map_index: -1, try_no: 1, lost_no: 0, state, queued_at: from, started_at: from, ended_at: to }
    }

    /// Computes the breakdown. Only the last task is gated.
    fn of_run(run: &RunDetails, spans: &[TaskSpan], old: &[OldTry]) -> Spent {
        let of = Of { plan: &plan(), run, spans, old, gated: &[3] };
        Spent::of(&of, ZonedNow::utc(at(61))).expect("it began")
    }

    /// Returns the nonzero parts in seconds.
    fn parts_in_seconds(spent: &Spent) -> String {
        let parts =
            spent.parts().into_iter().chain([("paused", "", spent.paused)]).filter(|(_, _, part)| !part.is_zero());
        parts.map(|(name, _, part)| format!("{name} {}", part.num_seconds())).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_never_started_does_not_hide_who_was_waited_for() {
        // `quick` and `slow` were decided without a start, and `end` started after `a`.
        let spent = of_run(&run_details(), &[span(0, 0, 0, 50), span(3, 50, 50, 61)], &[]);
        assert_eq!((spent.path.as_slice(), parts_in_seconds(&spent).as_str()), (&[0, 3][..], "Working 61"));
    }

    #[test]
    fn the_time_before_a_clear_is_nobodys() {
        let run = RunDetails { clear_number: 1, ..run_details() };
        // `slow` failed at 20 s and was cleared at 45 s; it and `end` ran then.
        let spans = [span(0, 0, 0, 10), span(2, 45, 45, 55), span(3, 55, 55, 61)];
        let spent = of_run(&run, &spans, &[old(2, TaskState::Failed, 10)]);
        assert_eq!(
            (spent.path.as_slice(), parts_in_seconds(&spent).as_str()),
            (&[0, 2, 3][..], "Working 26, paused 35")
        );
        // The whole run was cleared.
        let spans = [span(0, 40, 40, 50), span(2, 50, 50, 61)];
        let before = [old(0, TaskState::Success, 0), old(2, TaskState::Failed, 10)];
        assert_eq!(parts_in_seconds(&of_run(&run, &spans, &before)), "Working 21, paused 40");
    }

    #[test]
    fn a_worker_that_was_lost_is_not_work_of_the_task() {
        // The instance started at 10 s, was taken from its worker at 40 s and ended at 61 s.
        let lost = TaskSpan { lost_no: 1, first_queued: Some(at(40)), ..span(2, 10, 10, 61) };
        assert_eq!(
            parts_in_seconds(&of_run(&run_details(), &[span(0, 0, 0, 10), lost.clone()], &[])),
            "Working 31, Lost with a worker 30"
        );
        // No worker has claimed the instance again.
        let waits = TaskSpan { waits: true, last_ended: None, first_queued: Some(at(10)), ..lost };
        let open = RunDetails { ended_at: None, ..run_details() };
        assert_eq!(
            parts_in_seconds(&of_run(&open, &[span(0, 0, 0, 10), waits], &[])),
            "Working 10, Lost with a worker 51"
        );
    }

    #[test]
    fn a_run_that_was_ended_while_nothing_ran_was_waiting() {
        let ended = of_run(&run_details(), &[span(0, 0, 0, 10), span(2, 10, 10, 20)], &[]);
        assert_eq!(parts_in_seconds(&ended), "Working 20, Waiting until it was ended 41");
    }

    #[test]
    fn a_wait_for_a_pool_is_not_time_of_orch() {
        let spans = [span(0, 0, 0, 10), span(2, 10, 10, 20), span(3, 50, 51, 61)];
        assert_eq!(
            parts_in_seconds(&of_run(&run_details(), &spans, &[])),
            "Working 30, Waiting for slots 1, Waiting for pools and limits 30"
        );
    }

    #[test]
    fn an_attempt_that_waits_for_its_retry_is_counted_once_and_then_waits() {
        let open = RunDetails { ended_at: None, ..run_details() };
        let spans = [span(0, 0, 0, 10)];
        assert_eq!(
            parts_in_seconds(&of_run(&open, &spans, &[old(0, TaskState::UpForRetry, 0)])),
            "Working 10, Waiting for retries 51"
        );
    }

    #[test]
    fn a_wait_for_a_sensor_or_people_is_waiting() {
        // The instance started at 10 s, waited, was queued again at 40 s and ended at 61 s.
        let answered = TaskSpan { first_queued: Some(at(40)), ..span(2, 10, 10, 61) };
        assert_eq!(
            parts_in_seconds(&of_run(&run_details(), &[span(0, 0, 0, 10), answered.clone()], &[])),
            "Working 31, Waiting for sensors or people 30"
        );
        let open = RunDetails { ended_at: None, ..run_details() };
        let waits = TaskSpan { waits: true, last_ended: None, first_queued: Some(at(10)), ..answered };
        assert_eq!(
            parts_in_seconds(&of_run(&open, &[span(0, 0, 0, 10), waits], &[])),
            "Working 10, Waiting for sensors or people 51"
        );
    }
}
