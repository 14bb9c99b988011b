//! Checks one run: its states match the model, each outcome was reached by the lease that recorded it, and no task
//! function ran too early, twice under one lease, or after its successor.

use super::Verdict;
use super::rows::{InstanceRow, Rows, RunRow, TryRow};
use crate::ledger::{Entry, Instance, Word};
use crate::script;
use crate::world::Zombies;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::TriggerRule;
use orch_spec::state::TaskState;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use uuid::Uuid;

/// Index of the only counter that depends on the order of events: the window.
const WINDOW: usize = 0;

struct Check<'a> {
    run: &'a RunRow,
    plan: &'a Plan,
    instances: &'a BTreeMap<(TaskIdx, i32), InstanceRow>,
    rows: &'a Rows,
    entries: &'a BTreeMap<Instance, Vec<&'a Entry>>,
    zombies: Zombies,
}

pub(super) fn check(
    run: &RunRow,
    rows: &Rows,
    entries: &BTreeMap<Instance, Vec<&Entry>>,
    zombies: Zombies,
    verdict: &mut Verdict,
) {
    let none = BTreeMap::new();
    let version = &rows.versions[&run.version];
    let instances = rows.instances.get(&run.id).unwrap_or(&none);
    let check = Check { run, plan: &version.plan, instances, rows, entries, zombies };
    let seen = instances.iter().map(|(&instance, row)| (instance, row.state)).collect();
    let model = script::ended(&version.plan, &seen);
    let mut violations = check.states(&model);
    for (&(task, index), row) in instances {
        violations.extend(check.instance(task, index, row, verdict));
        violations.extend(check.order(task, index));
        violations.extend(check.output(task, index, row));
        violations.extend(check.published(task, index, row));
    }
    for ((_, id, index), entries) in entries.range((run.id, String::new(), i32::MIN)..) {
        if entries[0].run != run.id {
            break;
        }
        let known = version.plan.index_of(id).is_some_and(|task| instances.contains_key(&(task, *index)));
        if !known {
            violations.push(format!("`{id}` [{index}] ran and has no row"));
        }
    }
    let of = format!("run {} `{}` of `{}`", run.id, run.run_id, run.dag_id);
    verdict.violations.extend(violations.into_iter().map(|violation| format!("{of}: {violation}")));
}

impl Check<'_> {
    fn states(&self, model: &Model) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.run.ledger.state != model.run.state {
            wrong.push(format!("it is {}, the model says {}", self.run.ledger.state, model.run.state));
        }
        if self.run.ledger.ledger != model.run.ledger {
            wrong.push(format!("its ledger is {:?}, the model's {:?}", self.run.ledger.ledger, model.run.ledger));
        }
        if self.run.ledger.counters[WINDOW + 1..] != model.run.counters[WINDOW + 1..] {
            wrong
                .push(format!("its counters are {:?}, the model's {:?}", self.run.ledger.counters, model.run.counters));
        }
        let seen: BTreeMap<_, _> = self.instances.iter().map(|(&instance, row)| (instance, row.state)).collect();
        for (&(task, index), &state) in &model.states {
            match seen.get(&(task, index)) {
                Some(&found) if found == state => {}
                found => wrong.push(format!("{} is {found:?}, the model says {state}", self.name(task, index))),
            }
        }
        let more = seen.keys().filter(|&instance| !model.states.contains_key(instance));
        wrong.extend(more.map(|&(task, index)| format!("{} is not known to the model", self.name(task, index))));
        wrong
    }

    fn instance(&self, task: TaskIdx, index: i32, row: &InstanceRow, verdict: &mut Verdict) -> Vec<String> {
        let entries = self.of(task, index);
        let mut wrong = Vec::new();
        let mut say = |what: String| wrong.push(format!("{}: {what}; {row:?}", self.name(task, index)));
        if row.try_no == 0 {
            if !entries.is_empty() {
                say("it was decided without running, and it ran".into());
            }
            return wrong;
        }
        verdict.ended += 1;
        let before: &[TryRow] = self.rows.tries.get(&(self.run.id, task, index)).map_or(&[], Vec::as_slice);
        self.tries(task, row, before, &mut say);
        let lost = row.state == TaskState::Failed && self.accepted(task, index).is_none();
        if lost && self.plan.task_id(task) != "fragile" {
            say("nothing in the ledger says that it failed".into());
        }
        if !lost && self.accepted(task, index).is_none() {
            say("nothing in the ledger says that it ended so".into());
        }
        let leases = leases(entries);
        for (&(attempt, lease_no), lines) in &leases {
            let most = if attempt == row.attempt {
                Some(row.lease_no)
            } else {
                before.iter().find(|t| t.attempt == attempt).map(|t| t.lease_no)
            };
            if most.is_none_or(|most| lease_no > most) {
                say(format!("attempt {attempt} ran under lease {lease_no}, which nobody had"));
            }
            if lines[0].word != Word::Start || lines.len() > 2 || lines[1..].iter().any(|l| l.word == Word::Start) {
                say(format!("attempt {attempt} ran more than once under lease {lease_no}"));
            }
            verdict.lost += usize::from(lines.len() == 1);
        }
        self.successions(&leases, verdict, &mut say);
        if self.plan.task_id(task) == "fragile" && leases.len() > 1 {
            say("it was started again although it must not be".into());
        }
        wrong
    }

    /// Checks that the output was returned by the accepted lease, computed from the accepted outputs of its upstream
    /// tasks.
    fn output(&self, task: TaskIdx, index: i32, row: &InstanceRow) -> Option<String> {
        if row.state != TaskState::Success {
            return None;
        }
        let of = |task: TaskIdx, index| self.rows.outputs.get(&(self.run.id, task, index)).map(String::as_str);
        let origin = self.plan.index_of("origin").and_then(|origin| of(origin, -1));
        let expected = match self.plan.task_id(task) {
            "origin" => Some(format!("\"{} {}\"", row.attempt, row.lease_no)),
            _ => script::output(self.plan, task, index, origin),
        };
        let given = of(task, index);
        let wrong = expected.is_some() && expected.as_deref() != given;
        wrong.then(|| format!("{} gave {given:?} instead of {expected:?}", self.name(task, index)))
    }

    /// Checks that the row committed with a success exists exactly once, for the accepted attempt and lease, or not at
    /// all.
    fn published(&self, task: TaskIdx, index: i32, row: &InstanceRow) -> Option<String> {
        let id = self.plan.task_id(task);
        let commits = id.starts_with("publish") && row.state == TaskState::Success;
        let expected = if commits { vec![(row.attempt, row.lease_no)] } else { Vec::new() };
        let found = self.rows.published.get(&(self.run.id, id.to_owned(), index)).cloned().unwrap_or_default();
        let wrong = found != expected;
        wrong.then(|| format!("{} published {found:?} instead of {expected:?}", self.name(task, index)))
    }

    /// Checks that attempts follow one another, and that all but the last one failed.
    fn tries(&self, task: TaskIdx, row: &InstanceRow, before: &[TryRow], say: &mut impl FnMut(String)) {
        let expected = script::tries(self.plan, task);
        if row.try_no != expected {
            say(format!("it ended at try {} instead of {expected}", row.try_no));
        }
        let numbers: Vec<i16> = before.iter().map(|t| t.try_no).collect();
        if numbers != (1..row.try_no).collect::<Vec<_>>() {
            say(format!("the tries before are {numbers:?}"));
        }
        if let Some(other) = before.iter().find(|t| t.state != TaskState::UpForRetry) {
            say(format!("a try before it is {other:?}"));
        }
        if let Some(unexplained) = before.iter().find(|t| !self.rows.failures.contains(&t.attempt)) {
            say(format!("nothing says why {unexplained:?} failed"));
        }
    }

    /// Checks that no lease writes after the next lease of its instance has started, unless the scenario allows
    /// zombies.
    fn successions(
        &self,
        leases: &BTreeMap<(Uuid, i32), Vec<&Entry>>,
        verdict: &mut Verdict,
        say: &mut impl FnMut(String),
    ) {
        let mut in_order: Vec<&Vec<&Entry>> = leases.values().collect();
        in_order.sort_by_key(|lines| (lines[0].try_no, lines[0].lease_no));
        for pair in in_order.windows(2) {
            let (old, new) = (pair[0].last().expect("a lease has lines"), pair[1][0]);
            if new.at < pair[0][0].at {
                // A zombie may even start a task late that it had claimed before.
                if self.zombies == Zombies::None {
                    say(format!("lease {} began before lease {}", new.lease_no, old.lease_no));
                }
            } else if old.at > new.at {
                verdict.stale_ends += 1;
                if self.zombies == Zombies::None {
                    say(format!("it ran on under lease {} after lease {} had begun", old.lease_no, new.lease_no));
                }
            }
        }
    }

    /// Checks that the upstream tasks had finished before the task started.
    fn order(&self, task: TaskIdx, index: i32) -> Vec<String> {
        let entries = self.of(task, index);
        let Some(began) = entries.iter().map(|e| e.at).min() else { return Vec::new() };
        let planned = self.plan.task(task);
        let waits_for_all = !matches!(
            planned.rule,
            TriggerRule::OneSuccess | TriggerRule::OneFailed | TriggerRule::OneDone | TriggerRule::Always
        );
        let mut ends: Vec<(String, Duration)> = Vec::new();
        for edge in &planned.up {
            let same = |&&(t, i): &&(TaskIdx, i32)| t == edge.task && (!edge.same || i == index || i == -1);
            for &(upstream, i) in self.instances.keys().filter(same) {
                ends.extend(self.accepted(upstream, i).map(|end| (self.name(upstream, i), end.at)));
            }
        }
        let late = ends.iter().filter(|(_, at)| *at > began);
        if waits_for_all {
            return late.map(|(up, _)| format!("{} began before {up} was over", self.name(task, index))).collect();
        }
        let eager = planned.rule != TriggerRule::Always && !ends.is_empty() && late.count() == ends.len();
        if eager { vec![format!("{} began before anything was over", self.name(task, index))] } else { Vec::new() }
    }

    /// Returns the line of the task function whose outcome was accepted.
    fn accepted(&self, task: TaskIdx, index: i32) -> Option<&Entry> {
        let row = self.instances.get(&(task, index))?;
        let word = if row.state == TaskState::Success { Word::End } else { Word::Fail };
        let lines = self.of(task, index).iter();
        lines.copied().find(|e| e.attempt == row.attempt && e.lease_no == row.lease_no && e.word == word)
    }

    fn of(&self, task: TaskIdx, index: i32) -> &[&Entry] {
        let key = (self.run.id, self.plan.task_id(task).to_owned(), index);
        self.entries.get(&key).map_or(&[], Vec::as_slice)
    }

    fn name(&self, task: TaskIdx, index: i32) -> String {
        format!("`{}` [{index}]", self.plan.task_id(task))
    }
}

fn leases<'a>(entries: &[&'a Entry]) -> BTreeMap<(Uuid, i32), Vec<&'a Entry>> {
    let mut leases: HashMap<(Uuid, i32), Vec<&Entry>> = HashMap::new();
    for entry in entries {
        leases.entry((entry.attempt, entry.lease_no)).or_default().push(entry);
    }
    leases.into_iter().collect()
}
