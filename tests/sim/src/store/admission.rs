//! Admission of tries at gates: the transaction of `store::admission`, statement by statement.

use crate::database::Session;
use crate::database::admission::Goes;
use crate::database::locks::Lock;
use crate::faults::Mutant;
use orch_core::admission::{Verdict, Waiting, decide};
use orch_store::StoreResult;

/// The policy for taking the single admission lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Waits for the lock: for callers that released slots or queued a try.
    Wait,
    /// Skips the round if the lock is taken: for schedulers, which also recount the slots.
    Try,
}

impl Session {
    /// `store::admission::{admit, admit_and_recount}`: returns the number of admitted tries.
    pub(crate) async fn admit(&self, turn: Turn) -> StoreResult<usize> {
        if !self.statement(vec![], |s, _| Ok(s.is_anybody_at_gates())).await? {
            return Ok(0);
        }
        let mut tx = self.begin();
        let mine = tx.lock(
            move |s, seen| match turn {
                _ if s.is_mutant(Mutant::AdmitsWithoutLock) => (Vec::new(), true),
                Turn::Wait => (vec![Lock::Admission], true),
                Turn::Try => (Vec::new(), s.try_admission(seen)),
            },
            |_, _, mine| mine,
        );
        if !mine.await? {
            return Ok(0);
        }
        let gone = if turn == Turn::Try { tx.read(|s, _| s.recount()).await? } else { Vec::new() };
        let freed = gone.clone();
        let house = tx.read(move |s, _| s.house(&freed)).await?;
        let seen = house.clone();
        let found = tx.read(move |s, _| s.at_gates(&seen, turn == Turn::Try)).await?;
        let waiting: Vec<Waiting<'_>> =
            found.iter().map(|one| Waiting { needs: one.gates.needs(None), holds: &one.holds, past: None }).collect();
        let verdicts = decide(house, &waiting);
        let goes = found.iter().zip(verdicts).filter_map(|(one, verdict)| match verdict {
            Verdict::Go(needs) => Some((one.clone(), needs)),
            Verdict::Stay(_) => None,
        });
        let goes: Vec<Goes> = goes.collect();
        let goes = tx.lock(move |s, seen| (Vec::new(), s.take_at_gates(goes, seen)), |_, _, goes| goes).await?;
        let who = self.who.clone();
        tx.commit(move |s, _| {
            let (many, free) = (goes.len(), gone.len());
            s.say(&who, format_args!("lets {many} in, {free} slots are free again"));
            Ok(s.let_in(&goes, &gone))
        })
        .await
    }
}
