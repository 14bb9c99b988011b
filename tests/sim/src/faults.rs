//! What may go wrong, how often, and what becomes of a single call. And the mutants: mistakes planted in the model of
//! the database, to prove that the simulation notices such mistakes.

use crate::rng::Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often things go wrong, in a thousand calls.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// Nothing was done and the caller hears so.
    pub(crate) refused: u32,
    /// The database took it back: try again.
    pub(crate) again: u32,
    /// It was done, and the caller hears that the connection is gone.
    pub(crate) unheard: u32,
    /// The caller hears that the connection is gone, and it is done a while later.
    pub(crate) late: u32,
    /// A client stands still between two statements of its transaction.
    pub(crate) stumbles: u32,
    /// Rows that a claim passes over, as if somebody else were just taking them.
    pub(crate) passed_over: u32,
    pub(crate) slowest: Duration,
    /// Nodes that reach nobody for a while, with all their connections or only that of their pulse.
    pub(crate) cut: BTreeSet<usize>,
    pub(crate) mute: BTreeSet<usize>,
    /// Nodes that reach nobody any more.
    pub(crate) severed: BTreeSet<usize>,
}

/// Calls answer in a moment even when all is well.
const CALM: Duration = Duration::from_millis(2);

impl Faults {
    pub(crate) fn none() -> Faults {
        Faults {
            refused: 0,
            again: 0,
            unheard: 0,
            late: 0,
            stumbles: 0,
            passed_over: 0,
            slowest: CALM,
            cut: BTreeSet::new(),
            mute: BTreeSet::new(),
            severed: BTreeSet::new(),
        }
    }

    /// Mild or wild; wild more often than not where a planted mistake is to show.
    pub(crate) fn random(rng: &mut Rng, mutant: Option<Mutant>) -> Faults {
        let wild: u32 = if mutant.is_some() { rng.pick(&[1, 4, 4]) } else { rng.pick(&[0, 1, 1, 4]) };
        let mut often = |most: u64| rng.between(0, most) as u32 * wild;
        let (refused, again, unheard, late) = (often(15), often(10), often(15), often(8));
        let (stumbles, passed_over) = (often(40), often(60));
        let slowest = Duration::from_millis(rng.pick(&[2, 10, 60, 400]));
        Faults { refused, again, unheard, late, stumbles, passed_over, slowest, ..Faults::none() }
    }

    /// All is well from now on, except for nodes that are cut off for good.
    pub(crate) fn heal(&mut self) {
        *self = Faults { severed: std::mem::take(&mut self.severed), ..Faults::none() };
    }

    pub(crate) fn is_cut(&self, node: usize, pulse: bool) -> bool {
        self.severed.contains(&node) || self.cut.contains(&node) || (pulse && self.mute.contains(&node))
    }
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    Refused,
    Again,
    Unheard,
    Late,
    /// The caller's node is cut off: it waits.
    Hung(Lost),
}

/// What is lost when a network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// What was not said yet: it is said when the network carries again, if anybody is left to say it.
    Words,
    /// What is under way: it arrives when the network carries again, whether anybody waits for the answer or not.
    Question,
    /// It was done.
    Answer,
}

/// A mistake in the database's statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// An outcome is recorded whatever lease it comes with.
    NoFence,
    /// The ledger is written whatever its revision.
    RevisionIgnored,
    /// A fold does not lock its run and takes nothing back when somebody was faster.
    FoldWithoutLock,
    /// A lost worker's instances are looked up, then given away, without a lock and a second look between.
    ReapWithoutLock,
    /// A worker is given up although it was heard of after it was looked up.
    ReapWithoutSecondLook,
    /// An outcome that lost its race is not kept aside.
    NothingUnfolded,
    /// A fold takes outcomes of transactions that are not over yet for folded.
    FoldHorizonTooHigh,
    /// The same row can be claimed twice.
    ClaimLeavesRow,
    /// A lost try is requeued with the lease it had.
    SameLeaseAgain,
    /// A worker goes on while the server still carries out what it said on a connection that broke.
    ResumedTooSoon,
    /// A worker that lost its connection does not give back what it was given without hearing so.
    KeepsUnheard,
    /// Who brings a run to rest looks once.
    QuietInOneRound,
    /// Who ends a run does not hear of what was recorded while he brought it to rest.
    EndUnheard,
    /// Who ends a run does not lock it.
    EndWithoutLock,
    /// Nobody tells the worker of a try that was cleared.
    ClearWithoutOrder,
    /// A clear does not grow the number that tells workers to leave the run to its lock.
    ClearUncounted,
    /// A run is moved although something of it runs.
    MoveWhileRunning,
    /// Tries are let in without the lock of admission.
    AdmitsWithoutLock,
    /// Who counts slots anew does not look at what may be claimed.
    RecountForgetsReady,
    /// Nor at what is being stopped.
    RecountForgetsStopped,
    /// Nobody frees slots.
    SlotsStay,
    /// `lease_no` is a `smallint`: 32,767 looks of a sensor, and its end cannot be written.
    NarrowLeases,
}

impl Mutant {
    /// It shows only where people change runs.
    pub(crate) fn is_of_people(self) -> bool {
        use Mutant as M;
        matches!(
            self,
            M::QuietInOneRound
                | M::EndUnheard
                | M::EndWithoutLock
                | M::ClearWithoutOrder
                | M::ClearUncounted
                | M::MoveWhileRunning
                | M::RecountForgetsStopped
        )
    }

    /// It shows only where tasks have gates.
    pub(crate) fn is_of_gates(self) -> bool {
        use Mutant as M;
        matches!(self, M::AdmitsWithoutLock | M::RecountForgetsReady | M::RecountForgetsStopped | M::SlotsStay)
    }

    /// Each of them is noticed by one of two thousand seeds.
    pub const ALL: [Mutant; 22] = [
        Mutant::NoFence,
        Mutant::RevisionIgnored,
        Mutant::FoldWithoutLock,
        Mutant::ReapWithoutLock,
        Mutant::ReapWithoutSecondLook,
        Mutant::NothingUnfolded,
        Mutant::FoldHorizonTooHigh,
        Mutant::ClaimLeavesRow,
        Mutant::SameLeaseAgain,
        Mutant::ResumedTooSoon,
        Mutant::KeepsUnheard,
        Mutant::QuietInOneRound,
        Mutant::EndUnheard,
        Mutant::EndWithoutLock,
        Mutant::ClearWithoutOrder,
        Mutant::ClearUncounted,
        Mutant::MoveWhileRunning,
        Mutant::AdmitsWithoutLock,
        Mutant::RecountForgetsReady,
        Mutant::RecountForgetsStopped,
        Mutant::SlotsStay,
        Mutant::NarrowLeases,
    ];
}
