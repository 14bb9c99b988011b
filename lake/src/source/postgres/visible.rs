//! Determines which transactions a copied table includes. A transaction becomes visible slightly after its commit is
//! in the WAL, so a WAL position cannot separate included from later transactions. A snapshot can.

use super::replication::{parse_lsn, show_lsn};
use anyhow::Context as _;
use orch_sdk::task::TaskResult;
use std::fmt;
use std::str::FromStr;

/// A snapshot of a Postgres server, in the sense of `pg_current_snapshot`. Text format: `0/16B3748 742:745:743`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// WAL position. Changes at or after it are newer than the snapshot.
    lsn: u64,
    /// All transactions with lower ids had ended.
    min: u64,
    /// No transaction with this or a higher id had started.
    max: u64,
    /// Ids between `min` and `max` of transactions that had not ended.
    open: Vec<u64>,
}

impl Visible {
    /// Returns true if the snapshot includes a change. `transaction` is the 32-bit transaction id from the WAL.
    pub fn has(&self, lsn: u64, transaction: u32) -> bool {
        if lsn >= self.lsn {
            return false;
        }
        // The WAL contains only the low 32 bits of a transaction id. The change precedes the snapshot, so its full
        // 64-bit id is the one closest to `max`.
        let end = u32::try_from(self.max & u64::from(u32::MAX)).unwrap_or_default();
        let before_end = end.wrapping_sub(transaction).cast_signed();
        let whole = self.max.saturating_add_signed(-i64::from(before_end));
        whole < self.min || (whole < self.max && !self.open.contains(&whole))
    }
}

impl FromStr for Visible {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> TaskResult<Visible> {
        let wrong = || format!("`{text}` does not say what a snapshot of Postgres sees");
        let (lsn, snapshot) = text.split_once(' ').with_context(wrong)?;
        let mut parts = snapshot.split(':');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).with_context(wrong);
        let (min, max) = (number()?, number()?);
        let open = parts.next().with_context(wrong)?.split(',').filter(|part| !part.is_empty());
        let open = open.map(str::parse).collect::<Result<_, _>>().with_context(wrong)?;
        Ok(Visible { lsn: parse_lsn(lsn)?, min, max, open })
    }
}

impl fmt::Display for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: Vec<String> = self.open.iter().map(u64::to_string).collect();
        write!(f, "{} {}:{}:{}", show_lsn(self.lsn), self.min, self.max, open.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_when_its_transaction_had_ended() {
        let seen: Visible = "0/100 742:745:743".parse().unwrap();
        assert_eq!(seen.to_string(), "0/100 742:745:743");
        let are_seen = [741, 742, 743, 744, 745, 746].map(|transaction| seen.has(0xff, transaction));
        assert_eq!(are_seen, [true, true, false, true, false, false]);
        assert!(!seen.has(0x100, 741), "it was written later");
        let none_open: Visible = "0/100 745:745:".parse().unwrap();
        assert!(none_open.has(1, 744) && none_open.to_string() == "0/100 745:745:");
        for wrong in ["", "0/100", "0/100 1:2", "x 1:2:", "0/1 a:2:", "0/1 1:2:a"] {
            assert!(wrong.parse::<Visible>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_transactions_begin_again_after_four_billion() {
        let epoch = 1_u64 << 32;
        let seen: Visible = format!("0/100 {}:{}:{}", epoch - 2, epoch + 3, epoch + 1).parse().unwrap();
        assert!(seen.has(1, u32::MAX - 5) && seen.has(1, u32::MAX) && seen.has(1, 0) && seen.has(1, 2));
        assert!(!seen.has(1, 1) && !seen.has(1, 3) && !seen.has(1, 1_000));
    }
}
