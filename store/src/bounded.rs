//! Limits the number of bytes that one process holds in memory.

use futures::future::BoxFuture;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Mutex, Notify};

/// A budget of bytes that several holders share.
#[derive(Debug)]
pub struct ByteBudget {
    max_bytes: usize,
    used: AtomicUsize,
    /// Locked by the first waiter, so that waiters are served in order.
    turn: Mutex<()>,
    released: Notify,
}

impl ByteBudget {
    pub const fn new(max_bytes: usize) -> ByteBudget {
        ByteBudget { max_bytes, used: AtomicUsize::new(0), turn: Mutex::const_new(()), released: Notify::const_new() }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` for a holder that already holds `held` bytes. Returns false if too few bytes are free. A holder
    /// may hold at most as many bytes as remain free, so n busy holders get equal shares of n / (n + 1) of the budget,
    /// and an idle holder always finds free bytes.
    #[must_use]
    pub fn try_reserve(&self, held: usize, bytes: usize) -> bool {
        let reserve = |used: usize| (used + held + bytes <= self.max_bytes).then_some(used + bytes);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok()
    }

    /// Waits until `bytes` are free, and reserves them. A request for more than the whole budget reserves the whole
    /// budget.
    pub fn reserve(&self, bytes: usize) -> BoxFuture<'_, Reserved<'_>> {
        let bytes = bytes.min(self.max_bytes);
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            while !self.try_reserve(0, bytes) {
                self.released.notified().await;
            }
            Reserved { budget: self, bytes }
        })
    }

    /// Adds bytes without checking the limit. Meant for short notes about data that was left out.
    pub fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.released.notify_one();
    }
}

/// Reserved bytes of a budget, which are released on drop.
#[derive(Debug)]
pub struct Reserved<'a> {
    budget: &'a ByteBudget,
    bytes: usize,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// A list of items with a maximum total size in bytes.
#[derive(Debug)]
pub struct Collected<T> {
    items: Vec<T>,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {}", size_text(*.max_bytes))]
pub struct TooManyBytes {
    pub max_bytes: usize,
}

fn size_text(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { format!("{} MB", bytes >> 20) }
}

impl<T> Collected<T> {
    pub const fn new(max_bytes: usize) -> Collected<T> {
        Collected { items: Vec::new(), bytes: 0, max_bytes }
    }

    /// # Errors
    /// Returns an error if the total size exceeds the maximum. The item is dropped.
    pub fn push(&mut self, item: T, bytes: usize) -> Result<(), TooManyBytes> {
        self.count(bytes)?;
        self.items.push(item);
        Ok(())
    }

    /// Counts bytes that are not part of an item, such as bytes of an item that is not read yet.
    ///
    /// # Errors
    /// Returns an error if the total size exceeds the maximum.
    pub fn count(&mut self, bytes: usize) -> Result<(), TooManyBytes> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.max_bytes { Err(TooManyBytes { max_bytes: self.max_bytes }) } else { Ok(()) }
    }

    pub fn items(&self) -> &[T] {
        &self.items
    }

    pub fn into_vec(self) -> Vec<T> {
        self.items
    }
}

impl Collected<u8> {
    /// # Errors
    /// Returns an error if the total size exceeds the maximum.
    pub fn extend(&mut self, piece: &[u8]) -> Result<(), TooManyBytes> {
        self.count(piece.len())?;
        self.items.extend_from_slice(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use futures::future::join;

    #[test]
    fn holders_share_the_budget_and_never_exceed_it() {
        const MAX_BYTES: usize = 64 << 20;
        let (budget, mut held) = (ByteBudget::new(MAX_BYTES), [0; 64]);
        for turn in 0..1_000_000 {
            let own = &mut held[turn % 64];
            if budget.try_reserve(*own, 1_000) {
                *own += 1_000;
            }
            assert!(budget.used() <= MAX_BYTES);
        }
        let share = MAX_BYTES / 65;
        assert!(held.iter().all(|own| own.abs_diff(share) < 2_000), "{held:?}");
        assert!(budget.try_reserve(0, 1_000), "a quiet holder finds free bytes");
        held.iter().for_each(|own| budget.release(*own));
        assert_eq!(budget.used(), 1_000);
    }

    #[tokio::test]
    async fn waiters_are_served_in_order_and_bytes_come_back() {
        let budget = ByteBudget::new(10);
        let first = budget.reserve(8).await;
        let (mut large, mut small) = (budget.reserve(9), budget.reserve(1));
        assert!((&mut large).now_or_never().is_none(), "2 bytes are free");
        assert!((&mut small).now_or_never().is_none(), "the large one came first");
        drop(first);
        let held = large.await;
        drop(join(small, async { drop(held) }).await);
        assert_eq!(budget.used(), 0);
        let all = budget.reserve(usize::MAX).await;
        assert_eq!(budget.used(), 10, "more than the budget is all of it");
        drop(budget.reserve(1).now_or_never());
        drop(all);
        assert_eq!(budget.used(), 0, "a waiter that left took nothing");
    }

    #[test]
    fn items_are_collected_up_to_the_maximum() {
        let mut rows = Collected::new(2 << 20);
        assert_eq!((rows.push('a', 1 << 20), rows.push('b', 1 << 20)), (Ok(()), Ok(())));
        let error = rows.push('c', 1).expect_err("one byte more");
        assert_eq!((rows.items(), error.to_string().as_str()), (&['a', 'b'][..], "more than 2 MB"));
        let mut body = Collected::new(3);
        assert_eq!(body.extend(b"abc"), Ok(()));
        assert_eq!(body.extend(b"d").expect_err("one byte more").to_string(), "more than 3 bytes");
        assert_eq!(body.into_vec(), b"abc");
    }
}
