//! Slots and queues of a worker. Attempts in the worker process and in child processes have separate slots, with far
//! fewer for child processes. Claims alternate between the two kinds.

use crate::config::WorkerConfig;
use crate::queues::QueueIds;
use orch_spec::Isolation;
use orch_store::step::Claim;
use std::sync::Arc;

#[derive(Debug)]
struct Lane {
    kind: Isolation,
    queues: Arc<[i32]>,
    slots: usize,
    running: usize,
    /// True if the last claim may not have returned all claimable attempts.
    more: bool,
}

impl Lane {
    fn free(&self) -> usize {
        self.slots.saturating_sub(self.running)
    }
}

#[derive(Debug)]
pub(super) struct Lanes {
    /// The first lane is the one to claim next. The lane of child processes exists only if any task needs it.
    lanes: Vec<Lane>,
}

impl Lanes {
    pub(super) fn new(config: &WorkerConfig, queues: &QueueIds, children: bool) -> Lanes {
        let lane = |kind, queues: &[i32], slots| Lane { kind, queues: queues.into(), slots, running: 0, more: true };
        let mut lanes = vec![lane(Isolation::InProcess, &queues.in_process, config.slots)];
        if children {
            lanes.push(lane(Isolation::Process, &queues.process, config.process_slots));
        }
        Lanes { lanes }
    }

    fn lane(&mut self, kind: Isolation) -> &mut Lane {
        self.lanes.iter_mut().find(|lane| lane.kind == kind).expect("what runs here was claimed by its lane")
    }

    pub(super) fn begin(&mut self, kind: Isolation) {
        self.lane(kind).running += 1;
    }

    pub(super) fn end(&mut self, kind: Isolation) {
        self.lane(kind).running -= 1;
    }

    /// Returns the number of attempts that may start in the worker process.
    pub(super) fn free(&mut self) -> usize {
        self.lane(Isolation::InProcess).free()
    }

    pub(super) fn are_full(&self) -> bool {
        self.lanes.iter().all(|lane| lane.free() == 0)
    }

    /// Returns true if there may be something to claim and a slot is free for it.
    pub(super) fn want_more(&self) -> bool {
        self.lanes.iter().any(|lane| lane.more && lane.free() > 0)
    }

    /// Records that there may be something to claim in every lane.
    pub(super) fn expect_more(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.more = true);
    }

    /// Returns the next claim. `kept` slots of the worker process are treated as taken.
    pub(super) fn claim(&mut self, kept: usize, versions: &Arc<[i32]>) -> Option<(Isolation, Claim)> {
        let free = |lane: &Lane| match lane.kind {
            Isolation::InProcess => lane.free().saturating_sub(kept),
            Isolation::Process => lane.free(),
        };
        let room = |lane: &&Lane| free(lane) > 0;
        let lane = self.lanes.iter().filter(room).find(|lane| lane.more).or_else(|| self.lanes.iter().find(room))?;
        let most = i32::try_from(free(lane)).unwrap_or(i32::MAX);
        Some((lane.kind, Claim { most, queues: lane.queues.clone(), versions: versions.clone() }))
    }

    /// Returns the queues whose attempts run in the worker process.
    pub(super) fn own_queues(&mut self) -> Arc<[i32]> {
        self.lane(Isolation::InProcess).queues.clone()
    }

    /// Returns a claim for zero attempts, whose response contains the highest priority that waits for a slot.
    pub(super) fn peek_urgency(&mut self, versions: &Arc<[i32]>) -> Claim {
        Claim { most: 0, queues: self.own_queues(), versions: versions.clone() }
    }

    /// Records the response to a claim. The next claim uses the other lane if that lane may have more.
    pub(super) fn answered(&mut self, kind: Isolation, got_all: bool) {
        self.lane(kind).more = got_all;
        self.lanes.sort_by_key(|lane| lane.kind == kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(children: bool) -> Lanes {
        let config = WorkerConfig { slots: 4, process_slots: 2, ..WorkerConfig::new("postgres://nowhere") };
        Lanes::new(&config, &QueueIds { in_process: vec![1], process: vec![2] }, children)
    }

    /// Returns the queue and the limit of the next claim, and records its response.
    fn ask(lanes: &mut Lanes, kept: usize, got_all: bool) -> Option<(i32, i32)> {
        let (kind, claim) = lanes.claim(kept, &Arc::from([7]))?;
        lanes.answered(kind, got_all);
        Some((claim.queues[0], claim.most))
    }

    #[test]
    fn kinds_take_turns_until_both_are_dry() {
        let mut lanes = lanes(true);
        assert_eq!(ask(&mut lanes, 1, true), Some((1, 3)));
        assert_eq!(ask(&mut lanes, 0, true), Some((2, 2)));
        assert_eq!(ask(&mut lanes, 0, false), Some((1, 4)));
        assert!(lanes.want_more());
        assert_eq!(ask(&mut lanes, 0, false), Some((2, 2)));
        assert!(!lanes.want_more());
        lanes.expect_more();
        assert!(lanes.want_more());
    }

    #[test]
    fn a_full_lane_is_asked_for_as_soon_as_it_has_room() {
        let mut lanes = lanes(true);
        (0..4).for_each(|_| lanes.begin(Isolation::InProcess));
        assert_eq!(ask(&mut lanes, 0, false), Some((2, 2)));
        assert!(!lanes.want_more() && !lanes.are_full());
        lanes.end(Isolation::InProcess);
        assert!(lanes.want_more());
        assert_eq!(ask(&mut lanes, 0, true), Some((1, 1)));
        lanes.begin(Isolation::InProcess);
        (0..2).for_each(|_| lanes.begin(Isolation::Process));
        assert!(lanes.are_full());
        assert_eq!(ask(&mut lanes, 0, true), None);
    }

    #[test]
    fn who_has_nothing_for_children_never_asks_for_them() {
        let mut lanes = lanes(false);
        assert_eq!(ask(&mut lanes, 0, false), Some((1, 4)));
        assert_eq!(ask(&mut lanes, 0, false), Some((1, 4)));
        assert_eq!(ask(&mut lanes, 4, false), None);
    }
}
