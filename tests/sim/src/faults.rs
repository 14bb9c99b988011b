//! The faults, their frequency, and the fate of a single call. Also the mutants: bugs planted in the model of the
//! database to prove that the simulation detects such bugs.

use crate::rng::Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// Frequencies of faults, per thousand calls.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// The call is not executed and returns an error.
    pub(crate) refused: u32,
    /// The database aborts the transaction; the caller should retry.
    pub(crate) again: u32,
    /// The call is executed, but the caller gets a connection error.
    pub(crate) unheard: u32,
    /// The caller gets a connection error, and the call is executed some time later.
    pub(crate) late: u32,
    /// A client pauses between two statements of its transaction.
    pub(crate) stumbles: u32,
    /// A claim skips rows as if another transaction had locked them.
    pub(crate) passed_over: u32,
    pub(crate) slowest: Duration,
    /// Nodes that are temporarily cut off: `cut` with all connections, `mute` with the heartbeat connection only.
    pub(crate) cut: BTreeSet<usize>,
    pub(crate) mute: BTreeSet<usize>,
    /// Nodes that are cut off permanently.
    pub(crate) severed: BTreeSet<usize>,
}

/// Maximum delay of a call without faults.
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

    /// Returns random frequencies. With a mutant they are higher on average, so that its bug shows up.
    pub(crate) fn random(rng: &mut Rng, mutant: Option<Mutant>) -> Faults {
        let wild: u32 = if mutant.is_some() { rng.pick(&[1, 4, 4]) } else { rng.pick(&[0, 1, 1, 4]) };
        let mut often = |most: u64| rng.between(0, most) as u32 * wild;
        let (refused, again, unheard, late) = (often(15), often(10), often(15), often(8));
        let (stumbles, passed_over) = (often(40), often(60));
        let slowest = Duration::from_millis(rng.pick(&[2, 10, 60, 400]));
        Faults { refused, again, unheard, late, stumbles, passed_over, slowest, ..Faults::none() }
    }

    /// Ends all faults, except that severed nodes stay cut off.
    pub(crate) fn heal(&mut self) {
        *self = Faults { severed: std::mem::take(&mut self.severed), ..Faults::none() };
    }

    pub(crate) fn is_cut(&self, node: usize, pulse: bool) -> bool {
        self.severed.contains(&node) || self.cut.contains(&node) || (pulse && self.mute.contains(&node))
    }
}

/// The fate of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    Refused,
    Again,
    Unheard,
    Late,
    /// The node of the caller is cut off, so the call hangs.
    Hung(Lost),
}

/// The message that is lost when a network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The request was not sent. It is sent when the network works again, if the sender still exists.
    Words,
    /// The request is under way. It arrives when the network works again, even if the caller no longer waits for the
    /// response.
    Question,
    /// The request was executed, and the response is lost.
    Answer,
}

/// A bug in the statements of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Records an outcome without checking its lease number.
    NoFence,
    /// Writes the ledger without checking its revision.
    RevisionIgnored,
    /// Folds without locking the run, and does not roll back when another fold was faster.
    FoldWithoutLock,
    /// Looks up the instances of a lost worker, then requeues them without locking and rereading them.
    ReapWithoutLock,
    /// Gives up a worker although it sent a heartbeat after it was looked up.
    ReapWithoutSecondLook,
    /// Does not store an outcome as unfolded when it lost its race.
    NothingUnfolded,
    /// A fold treats outcomes of open transactions as folded.
    FoldHorizonTooHigh,
    /// The same row can be claimed twice.
    ClaimLeavesRow,
    /// Requeues a lost try with its old lease number.
    SameLeaseAgain,
    /// A worker resumes while the server still executes statements from its broken connection.
    ResumedTooSoon,
    /// A worker that lost its connection does not give back instances whose assignment it never received.
    KeepsUnheard,
    /// Brings a run to rest in one round instead of repeating until nothing changes.
    QuietInOneRound,
    /// Ends a run without folding the outcomes recorded while it was brought to rest.
    EndUnheard,
    /// Ends a run without locking it.
    EndWithoutLock,
    /// A clear does not order the worker to stop a running try.
    ClearWithoutOrder,
    /// A clear does not increase the number that makes workers leave the run to its lock.
    ClearUncounted,
    /// Moves a run while some of its instances run.
    MoveWhileRunning,
    /// Admits tries without the admission lock.
    AdmitsWithoutLock,
    /// A recount of slots ignores claimable tries.
    RecountForgetsReady,
    /// A recount of slots ignores tries that are being stopped.
    RecountForgetsStopped,
    /// Slots are never released.
    SlotsStay,
    /// `lease_no` is a `smallint`, so after 32,767 pokes the end of a sensor cannot be written.
    NarrowLeases,
}

impl Mutant {
    /// Returns true if the bug shows up only when users change runs.
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

    /// Returns true if the bug shows up only when tasks have gates.
    pub(crate) fn is_of_gates(self) -> bool {
        use Mutant as M;
        matches!(self, M::AdmitsWithoutLock | M::RecountForgetsReady | M::RecountForgetsStopped | M::SlotsStay)
    }

    /// All mutants. Each one is detected by at least one of 2,000 seeds.
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
