//! A cursor over the bytes of a binlog event.

use anyhow::Context as _;
use orch_sdk::task::TaskResult;

#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, many: usize) -> TaskResult<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(many).context("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn skip(&mut self, many: usize) -> TaskResult<()> {
        self.take(many).map(|_| ())
    }

    pub(super) fn u8(&mut self) -> TaskResult<u8> {
        Ok(self.take(1)?[0])
    }

    /// Reads a little-endian integer.
    pub(super) fn number(&mut self, bytes: usize) -> TaskResult<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads a big-endian integer.
    pub(super) fn big(&mut self, bytes: usize) -> TaskResult<u64> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads a length-encoded integer in MySQL's format, which takes one to nine bytes.
    pub(super) fn length(&mut self) -> TaskResult<usize> {
        let number = match self.u8()? {
            0xfc => self.number(2)?,
            0xfd => self.number(3)?,
            0xfe => self.number(8)?,
            small => u64::from(small),
        };
        usize::try_from(number).context("a length")
    }
}
