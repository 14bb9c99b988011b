//! Limits the size of a log: keeps its beginning and its end, and a line that reports the gap in between. Performs no
//! I/O.

use std::collections::VecDeque;

const MB: usize = 1024 * 1024;
const HEAD_BYTES: usize = 8 * MB;
const TAIL_BYTES: usize = 56 * MB;
/// Size of a segment. Chunks are dropped in whole segments.
const SEGMENT_BYTES: usize = MB;

/// Sizes of the chunks of one log, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    head_bytes: usize,
    tail: VecDeque<Segment>,
    tail_bytes: usize,
    gap: Option<Gap>,
}

/// Consecutive chunks that are dropped together.
#[derive(Debug)]
struct Segment {
    first: i32,
    last: i32,
    bytes: usize,
    lines: u64,
}

/// Range of all chunks that were dropped so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) first: i32,
    pub(super) last: i32,
    pub(super) bytes: usize,
    pub(super) lines: u64,
}

impl Bounds {
    /// Adds a chunk. Returns the dropped range if it has grown.
    pub(super) fn add(&mut self, seq: i32, bytes: usize, lines: i32) -> Option<Gap> {
        let lines = u64::from(lines.unsigned_abs());
        if self.tail.is_empty() && self.head_bytes + bytes <= HEAD_BYTES {
            self.head_bytes += bytes;
            return None;
        }
        self.tail_bytes += bytes;
        match self.tail.back_mut().filter(|segment| segment.bytes < SEGMENT_BYTES) {
            Some(segment) => {
                (segment.last, segment.bytes, segment.lines) = (seq, segment.bytes + bytes, segment.lines + lines);
            }
            None => self.tail.push_back(Segment { first: seq, last: seq, bytes, lines }),
        }
        let mut grown = false;
        while let Some(oldest) = self.tail.front().filter(|oldest| self.tail_bytes - oldest.bytes >= TAIL_BYTES) {
            self.tail_bytes -= oldest.bytes;
            let gap = self.gap.get_or_insert(Gap { first: oldest.first, last: oldest.last, bytes: 0, lines: 0 });
            (gap.last, gap.bytes, gap.lines) = (oldest.last, gap.bytes + oldest.bytes, gap.lines + oldest.lines);
            self.tail.pop_front();
            grown = true;
        }
        self.gap.filter(|_| grown)
    }
}

impl Gap {
    pub(super) fn text(&self) -> String {
        let (head, tail, megabytes) = (HEAD_BYTES / MB, TAIL_BYTES / MB, self.bytes / MB);
        format!(
            "{} lines ({megabytes} MB) are left out here: a log keeps its first {head} MB and its last {tail} MB",
            self.lines
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_beginning_and_its_end_whatever_comes() {
        let sizes = [64 * 1024, 300, 1, 900_000, 5 * MB];
        let (mut bounds, mut kept, mut gap) = (Bounds::default(), Vec::new(), None);
        for seq in 0..3_000 {
            let bytes = sizes[seq as usize * 7 % sizes.len()];
            kept.push((seq, bytes));
            if let Some(grown) = bounds.add(seq, bytes, 2) {
                gap = Some(grown);
                kept.retain(|(seq, _)| !(grown.first..=grown.last).contains(seq));
            }
            let all: usize = kept.iter().map(|(_, bytes)| bytes).sum();
            assert!(all <= HEAD_BYTES + TAIL_BYTES + 2 * 5 * MB, "{all} bytes are kept");
        }
        let gap = gap.expect("it was too long");
        assert_eq!(gap.lines, 2 * (3_000 - kept.len() as u64));
        let head: usize = kept.iter().filter(|(seq, _)| *seq < gap.first).map(|(_, bytes)| bytes).sum();
        let tail: usize = kept.iter().filter(|(seq, _)| *seq > gap.last).map(|(_, bytes)| bytes).sum();
        assert!((3 * MB..=HEAD_BYTES).contains(&head), "{head} bytes of the beginning");
        assert!(tail >= TAIL_BYTES, "{tail} bytes of the end");
        assert_eq!(kept.first(), Some(&(0, sizes[0])));
    }

    #[test]
    fn a_log_of_ordinary_length_is_kept_whole() {
        let mut bounds = Bounds::default();
        assert!((0..60).all(|seq| bounds.add(seq, MB, 100).is_none()));
    }
}
