//! Faults of processes: they are killed, frozen, blocked, cut off, told to stop and restarted.

use super::{LEASE, World};
use crate::database::{Database, pause};
use crate::gate::PauseReason;
use std::future::Future;
use tokio::task::AbortHandle;
use tokio::time::Instant;

impl World {
    /// Causes random faults for a random time.
    pub(super) async fn trouble(&mut self) {
        let until = Instant::now() + self.rng.millis(1_000, 12_000);
        while Instant::now() < until && !self.violated() {
            let node = self.rng.below(self.nodes.len());
            match self.rng.below(17) {
                0..=2 => self.create_run().await,
                3 => self.kill(node),
                4 => self.freeze_for_a_lease(node),
                13 => self.freeze(node),
                14 => self.keep_busy(node),
                15 => self.cut_for_a_lease(node),
                5 => self.thaw(node),
                6 => self.cut(node),
                7 => self.mute(node),
                8 => mend(&self.db, node),
                9 => self.stop(node),
                10 | 11 => self.start_one(node),
                12 => self.kill_scheduler(),
                _ => {}
            }
            if self.busy_people && self.rng.chance(500) {
                self.change_a_run();
            }
            self.look_after();
            pause(self.rng.millis(10, 1_200)).await;
        }
    }

    /// Loses the node permanently: it is killed, frozen or cut off.
    pub(super) fn lose(&mut self, node: usize) {
        self.gone.insert(node);
        match self.rng.below(3) {
            0 => self.kill(node),
            1 => {
                self.freeze(node);
                self.nodes[node].gates.freeze(PauseReason::Gone);
            }
            _ => {
                self.cut(node);
                self.db.with(|s| s.faults.severed.insert(node));
            }
        }
    }

    fn kill(&mut self, node: usize) {
        if let Some(running) = self.nodes[node].running.take() {
            running.abort();
            self.say(format_args!("node {node} is killed"));
        }
    }

    fn freeze(&mut self, node: usize) {
        self.nodes[node].gates.freeze(PauseReason::Frozen);
        self.db.with(|s| s.books.bodies.excuse(node));
        self.say(format_args!("node {node} is frozen"));
    }

    /// A task function blocks the driver and all other functions; the heartbeat thread continues.
    fn keep_busy(&mut self, node: usize) {
        self.db.with(|s| s.books.bodies.excuse(node));
        self.say(format_args!("node {node} is busy"));
        let (gates, time) = (self.nodes[node].gates.clone(), self.rng.millis(200, 5_000));
        self.tasks.spawn(gates.busy(time));
    }

    /// Freezes the node until about the time at which it is given up, so that it then sends stale reports.
    fn freeze_for_a_lease(&mut self, node: usize) {
        self.freeze(node);
        let moment = self.about_a_lease();
        self.thaw_after(node, moment);
    }

    /// Waits until a lease is about to expire, or until its instances are being taken away.
    fn about_a_lease(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let (db, taken) = (self.db.clone(), self.rng.chance(500));
        let (time, reaction) = (LEASE.mul_f64(0.8) + self.rng.millis(0, 1_200), self.rng.millis(0, 40));
        async move {
            if taken {
                drop(tokio::time::timeout(LEASE * 3, db.taking.notified()).await);
                pause(reaction).await;
            } else {
                pause(time).await;
            }
        }
    }

    pub(super) fn thaw(&mut self, node: usize) {
        self.thaw_after(node, std::future::ready(()));
    }

    /// Thaws the node after `moment`; either thread may resume first.
    fn thaw_after(&mut self, node: usize, moment: impl Future<Output = ()> + Send + 'static) {
        let (gates, db, between) = (self.nodes[node].gates.clone(), self.db.clone(), self.rng.millis(0, 30));
        let driver_first = self.rng.chance(700);
        self.tasks.spawn(async move {
            moment.await;
            db.with(|s| s.say("", format_args!("node {node} thaws")));
            gates.thaw(driver_first, between).await;
        });
    }

    fn cut(&mut self, node: usize) {
        self.db.with(|s| s.faults.cut.insert(node));
        self.say(format_args!("node {node} is cut off"));
    }

    /// Cuts the network until about the time at which the node is given up, so that its last messages arrive around
    /// then.
    fn cut_for_a_lease(&mut self, node: usize) {
        if self.rng.chance(500) {
            self.cut(node);
        } else {
            self.mute(node);
        }
        let (db, moment) = (self.db.clone(), self.about_a_lease());
        self.tasks.spawn(async move {
            moment.await;
            mend(&db, node);
        });
    }

    fn mute(&mut self, node: usize) {
        self.db.with(|s| s.faults.mute.insert(node));
        self.say(format_args!("the pulse of node {node} is cut off"));
    }

    fn stop(&mut self, node: usize) {
        self.nodes[node].stop.cancel();
        self.say(format_args!("node {node} is told to stop"));
    }

    pub(super) fn start_one(&mut self, node: usize) {
        let ended = self.nodes[node].running.as_ref().is_none_or(AbortHandle::is_finished);
        if ended {
            self.start(node);
        }
    }

    fn kill_scheduler(&mut self) {
        let which = self.rng.below(self.schedulers.len());
        match self.schedulers[which].take() {
            Some(running) => {
                running.abort();
                self.say(format_args!("scheduler {which} is killed"));
            }
            None => self.start_scheduler(which),
        }
    }
}

fn mend(db: &Database, node: usize) {
    db.with(|s| {
        s.faults.cut.remove(&node);
        s.faults.mute.remove(&node);
        s.say("", format_args!("node {node} is reached again"));
    });
    db.mended();
}
