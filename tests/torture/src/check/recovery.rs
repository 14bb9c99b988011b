//! Checks how long it took until tasks of a killed worker ran again.

use super::Verdict;
use crate::ledger::{Entry, Instance, Word};
use crate::world::{Kill, World, recovery};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn check(world: &World, entries: &BTreeMap<Instance, Vec<&Entry>>, verdict: &mut Verdict) {
    for kill in &world.kills {
        let mut slowest = None;
        for ((run, task_id, index), lines) in entries {
            for begun in lines.iter().filter(|line| was_running(line, lines, *kill)) {
                let again = lines.iter().filter(|l| l.word == Word::Start && l.at > kill.at).map(|l| l.at).min();
                match again {
                    Some(at) => slowest = slowest.max(Some(at.saturating_sub(kill.at))),
                    None if task_id == "fragile" => slowest = slowest.max(Some(Duration::ZERO)),
                    None => verdict.violations.push(format!(
                        "`{task_id}` [{index}] of run {run} ran under lease {} when {} was killed, and never again",
                        begun.lease_no, kill.pid
                    )),
                }
            }
        }
        if let Some(slowest) = slowest {
            if slowest > recovery() {
                verdict
                    .violations
                    .push(format!("what {} ran when it was killed ran again only {slowest:?} later", kill.pid));
            }
            verdict.recoveries.push(slowest);
        }
    }
}

/// Returns true if this line starts a task function in the killed process, or in a child of it, and no line ends it.
fn was_running(line: &Entry, lines: &[&Entry], kill: Kill) -> bool {
    let same = |other: &&&Entry| (other.attempt, other.lease_no) == (line.attempt, line.lease_no);
    let theirs = line.pid == kill.pid || line.parent == kill.pid;
    line.word == Word::Start && theirs && line.at < kill.at && lines.iter().filter(same).count() == 1
}
