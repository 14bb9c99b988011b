//! The trace of all events, and its hash. Two simulations of a seed are identical if their hashes are.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use tokio::time::Instant;
use uuid::Uuid;

/// Number of lines kept without `whole_trace`: enough to see what led to a violation.
const LAST: usize = 80;

#[derive(Debug)]
pub(crate) struct Trace {
    began: Instant,
    hash: u64,
    count: u64,
    lines: VecDeque<String>,
    whole: bool,
    /// Numbers for attempts in order of appearance, because attempt ids are random.
    attempts: HashMap<Uuid, usize>,
}

impl Trace {
    pub(crate) fn new(whole: bool) -> Trace {
        Trace {
            began: Instant::now(),
            hash: 0xcbf2_9ce4_8422_2325,
            count: 0,
            lines: VecDeque::new(),
            whole,
            attempts: HashMap::new(),
        }
    }

    pub(crate) fn say(&mut self, what: fmt::Arguments<'_>) {
        let line = format!("{:>7} {what}", self.began.elapsed().as_millis());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        if !self.whole && self.lines.len() == LAST {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn attempt(&mut self, attempt: Uuid) -> usize {
        let next = self.attempts.len();
        *self.attempts.entry(attempt).or_insert(next)
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
