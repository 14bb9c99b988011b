//! Where the time of a run went: which tasks stood on its critical path, and what these did: work, wait for a slot, wait
//! between two tries. What is left of the time is orch's own.

use crate::parts::{self, Now};
use askama::filters::HtmlSafe;
use chrono::{DateTime, TimeDelta, Utc};
use orch_core::plan::{Plan, TaskIdx};
use orch_store::instance::OldTry;
use orch_store::run::RunDetails;
use orch_store::timing::TaskSpan;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Spent {
    /// From the first task on it to the last.
    pub(super) path: Vec<TaskIdx>,
    pub(super) working: TimeDelta,
    pub(super) delays: TimeDelta,
    pub(super) slots: TimeDelta,
    pub(super) own: TimeDelta,
    /// Hand-overs from one task of the path to the next.
    pub(super) hand_overs: usize,
    /// What each task of the path worked.
    pub(super) work: BTreeMap<TaskIdx, TimeDelta>,
}

/// Clocks of several machines: so far what follows may seem to begin before what it follows has ended.
const SLACK: TimeDelta = TimeDelta::milliseconds(5);

impl Spent {
    /// None: nothing has begun.
    pub(super) fn of(plan: &Plan, run: &RunDetails, spans: &[TaskSpan], old: &[OldTry], now: Now) -> Option<Spent> {
        let of: HashMap<TaskIdx, &TaskSpan> = spans
            .iter()
            .filter(|span| usize::from(span.task) < plan.tasks.len())
            .map(|span| (span.task, span))
            .collect();
        let mut tries: HashMap<TaskIdx, Vec<&OldTry>> = HashMap::new();
        old.iter().for_each(|one| tries.entry(one.task).or_default().push(one));
        let ended = |task: TaskIdx| of[&task].last_ended.unwrap_or(now.at);
        let began = |task: TaskIdx| {
            let first = of[&task].first_queued.unwrap_or(of[&task].first_started);
            let before =
                tries.get(&task).into_iter().flatten().filter_map(|one| one.queued_at.or(one.started_at)).min();
            before.map_or(first, |before| before.min(first))
        };
        let mut path = vec![of.keys().copied().max_by_key(|task| (ended(*task), *task))?];
        while let Some(&task) = path.last() {
            let planned = plan.task(task);
            let above = planned.up.iter().chain(&planned.setups).chain(&planned.scope).map(|edge| edge.task);
            let above =
                above.filter(|up| of.contains_key(up) && !path.contains(up) && ended(*up) <= began(task) + SLACK);
            match above.max_by_key(|up| (ended(*up), *up)) {
                Some(up) => path.push(up),
                None => break,
            }
        }
        path.reverse();
        let mut spent = Spent { hand_overs: path.len(), ..Spent::default() };
        let mut at = run.started_at.unwrap_or(run.created_at);
        for &task in &path {
            spent.own += (began(task) - at).max(TimeDelta::zero());
            let before = spent.working;
            let mapped = plan.task(task).map.is_some();
            let none = Vec::new();
            // Elements work beside each other; only what is not mapped has tries one after the other.
            spent.follow(of[&task], if mapped { &none } else { tries.get(&task).unwrap_or(&none) }, now);
            spent.work.insert(task, spent.working - before);
            at = ended(task);
        }
        spent.own += (run.ended_at.unwrap_or(at) - at).max(TimeDelta::zero());
        spent.path = path;
        Some(spent)
    }

    fn follow(&mut self, span: &TaskSpan, old: &[&OldTry], now: Now) {
        let mut last: Option<DateTime<Utc>> = None;
        let current = (span.first_queued, Some(span.first_started), span.last_ended);
        let tries = old.iter().map(|one| (one.queued_at, one.started_at, one.ended_at)).chain([current]);
        for (queued, started, ended) in tries {
            let Some(started) = started else { continue };
            let queued = queued.unwrap_or(started).min(started);
            if let Some(last) = last {
                self.delays += (queued - last).max(TimeDelta::zero());
            }
            self.slots += started - queued.max(last.unwrap_or(queued)).min(started);
            let ended = ended.unwrap_or(now.at);
            self.working += (ended - started).max(TimeDelta::zero());
            last = Some(ended);
        }
    }

    fn whole(&self) -> TimeDelta {
        self.working + self.delays + self.slots + self.own
    }

    /// In thousandths of all.
    fn share(&self, part: TimeDelta) -> i64 {
        let part = part.num_microseconds().unwrap_or(i64::MAX / 1_000);
        part.saturating_mul(1_000) / self.whole().num_microseconds().unwrap_or(i64::MAX).max(1)
    }

    /// Name, and how long and how much of all.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let said = |part: TimeDelta| {
            let percent = (self.share(part) + 5) / 10;
            let percent = if percent == 0 && part > TimeDelta::zero() { "<1".into() } else { percent.to_string() };
            format!("{}, {percent} %", parts::duration(part))
        };
        let times =
            if self.hand_overs == 1 { "one hand-over".into() } else { format!("{} hand-overs", self.hand_overs) };
        let mut lines = vec![("Working", said(self.working))];
        if self.delays > TimeDelta::zero() {
            lines.push(("Retry delays", said(self.delays)));
        }
        if self.slots > TimeDelta::milliseconds(1) {
            lines.push(("Slot waits", said(self.slots)));
        }
        lines.push(("orch itself", format!("{} over {times}", parts::duration(self.own))));
        lines
    }

    /// The task of the path that most exceeded what is usual, in a sentence.
    pub(super) fn against(&self, plan: &Plan, usual: &[(TaskIdx, TimeDelta)]) -> Option<String> {
        let slower = usual.iter().filter_map(|(task, usual)| Some((*task, *self.work.get(task)?, *usual)));
        let slower =
            slower.filter(|(_, took, usual)| *took > *usual * 3 / 2 && *took - *usual > TimeDelta::milliseconds(100));
        let (task, took, usual) = slower.max_by_key(|(_, took, usual)| *took - *usual)?;
        Some(format!("{} worked {}, usually {}.", plan.task_id(task), parts::duration(took), parts::duration(usual)))
    }
}

/// One bar of all of it.
impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"<svg class="spent" role="img" aria-label="Shares of the time on the critical path">"#)?;
        let mut x = 0;
        let shares =
            [("s-ink", self.working), ("s-up_for_retry", self.delays), ("s-idle", self.slots), ("s-accent", self.own)];
        for (class, part) in shares {
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
    use orch_core::spec::DagSpec;
    use orch_core::state::{RunState, RunType, TaskState};
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

    fn run() -> RunDetails {
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
        }
    }

    fn span(task: TaskIdx, queued: i64, started: i64, ended: i64) -> TaskSpan {
        let (first_queued, first_started, last_ended) = (Some(at(queued)), at(started), Some(at(ended)));
        TaskSpan { task, instances: 1, first_queued, first_started, last_ended }
    }

    #[test]
    fn the_slow_way_is_the_critical_path_and_every_second_is_somewhere() {
        let spans = [span(0, 0, 2, 10), span(1, 10, 10, 12), span(2, 40, 40, 50), span(3, 50, 55, 60)];
        let failed = OldTry {
            task: 2,
            map_index: -1,
            try_no: 1,
            state: TaskState::Failed,
            queued_at: Some(at(10)),
            started_at: Some(at(10)),
            ended_at: Some(at(20)),
        };
        let plan = plan();
        let spent = Spent::of(&plan, &run(), &spans, &[failed], Now::utc(at(61))).expect("it began");
        assert_eq!(spent.path, [0, 2, 3]);
        let seconds = TimeDelta::seconds;
        assert_eq!(
            (spent.working, spent.delays, spent.slots, spent.own),
            (seconds(33), seconds(20), seconds(7), seconds(1))
        );
        assert_eq!(spent.lines()[1], ("Retry delays", "20 s, 33 %".into()));
        let said = spent.against(&plan, &[(2, seconds(4)), (0, seconds(8))]);
        assert_eq!(said.as_deref(), Some("slow worked 20 s, usually 4.0 s."));
        assert_eq!(Spent::of(&plan, &run(), &[], &[], Now::utc(at(61))), None);
    }
}
