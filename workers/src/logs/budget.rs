//! The memory that lines may use until the database has stored them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum number of bytes of lines that a worker holds, of all its attempts.
pub(super) const MAX_UNSENT_BYTES: usize = 64 * 1024 * 1024;

/// The bytes that the attempts of a worker hold.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    used: AtomicUsize,
}

impl LogBudget {
    /// Reserves `bytes` for an attempt that already holds `held` bytes. An attempt may hold as much as is left free, so n chatty
    /// attempts get equal shares of n / (n + 1) of the budget, and a quiet attempt always finds free bytes.
    pub(super) fn reserve(&self, held: usize, bytes: usize) -> bool {
        let reserve = |used: usize| (used + held + bytes <= MAX_UNSENT_BYTES).then_some(used + bytes);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok()
    }

    /// Adds bytes without a check: for the few bytes of a line about lost lines.
    pub(super) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn free(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_share_the_budget_and_never_exceed_it() {
        let (budget, mut held) = (LogBudget::default(), [0; 64]);
        for turn in 0..1_000_000 {
            let own = &mut held[turn % 64];
            if budget.reserve(*own, 1_000) {
                *own += 1_000;
            }
            assert!(budget.used() <= MAX_UNSENT_BYTES);
        }
        let share = MAX_UNSENT_BYTES / 65;
        assert!(held.iter().all(|own| own.abs_diff(share) < 2_000), "{held:?}");
        assert!(budget.reserve(0, 1_000), "a quiet attempt finds free bytes");
        held.iter().for_each(|own| budget.free(*own));
        assert_eq!(budget.used(), 1_000);
    }
}
