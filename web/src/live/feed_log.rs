//! The last changes that the feed of the API reported, so that a follower that reconnects receives the changes that it
//! missed.
//!
//! Invariant: no change is missing between two batches of a feed. A feed that was interrupted starts again under a new
//! id, so positions in the interrupted feed are not found.

use super::feed::FeedEvent;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// Maximum total size of the stored events, enough for several thousand changes.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Position in a feed, which followers receive as an event id. It means that the changes up to this batch were
/// received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeedPosition {
    feed: Uuid,
    /// Number of batches before the position.
    batch: u64,
}

impl FeedPosition {
    fn start() -> FeedPosition {
        FeedPosition { feed: Uuid::new_v4(), batch: 0 }
    }

    pub(crate) fn parse(text: &str) -> Option<FeedPosition> {
        let (feed, batch) = text.split_once('.')?;
        Some(FeedPosition { feed: Uuid::try_parse(feed).ok()?, batch: batch.parse().ok()? })
    }

    /// Returns whether `other` is this position or an earlier one in the same feed.
    pub(crate) fn includes(self, other: FeedPosition) -> bool {
        self.feed == other.feed && self.batch >= other.batch
    }

    /// Returns whether this position is one batch after `earlier`.
    pub(crate) fn follows(self, earlier: FeedPosition) -> bool {
        self.feed == earlier.feed && self.batch.checked_sub(earlier.batch) == Some(1)
    }
}

impl fmt::Display for FeedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.feed.simple(), self.batch)
    }
}

/// The changes that one poll found, and the position after them.
#[derive(Debug, Clone)]
pub(crate) struct FeedBatch {
    pub(crate) position: FeedPosition,
    pub(crate) events: Arc<[FeedEvent]>,
}

impl FeedBatch {
    fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.event.len()).sum()
    }
}

#[derive(Debug, Default)]
pub(super) struct FeedLog {
    /// `None` if the feed is not running.
    position: Option<FeedPosition>,
    /// The last batches, without a gap up to `position`.
    batches: VecDeque<FeedBatch>,
    bytes: usize,
}

impl FeedLog {
    /// Starts a feed after its first poll, which reports no changes. Returns an empty batch with its position.
    pub(super) fn start(&mut self) -> FeedBatch {
        let position = FeedPosition::start();
        *self = FeedLog { position: Some(position), ..FeedLog::default() };
        FeedBatch { position, events: Vec::<FeedEvent>::new().into() }
    }

    /// Discards all batches, because changes are no longer recorded.
    pub(super) fn stop(&mut self) {
        *self = FeedLog::default();
    }

    pub(super) fn add(&mut self, events: Vec<FeedEvent>) -> FeedBatch {
        let mut position = self.position.unwrap_or_else(FeedPosition::start);
        position.batch += 1;
        self.position = Some(position);
        let batch = FeedBatch { position, events: events.into() };
        self.bytes += batch.bytes();
        self.batches.push_back(batch.clone());
        while self.bytes > MAX_KEPT_BYTES
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
        batch
    }

    pub(super) fn position(&self) -> Option<FeedPosition> {
        self.position
    }

    /// Returns the current position and the batches from `last` to it. Returns `None` if some of these batches are no
    /// longer stored, or `last` is a position in another feed.
    pub(super) fn after(&self, last: FeedPosition) -> Option<(FeedPosition, Vec<FeedBatch>)> {
        let position = self.position.filter(|position| position.includes(last))?;
        let missed = usize::try_from(position.batch - last.batch).ok()?;
        let first = self.batches.len().checked_sub(missed)?;
        Some((position, self.batches.range(first..).cloned().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> FeedEvent {
        FeedEvent { dag_id: "d".into(), run_id: "r".into(), event: text.to_owned().into() }
    }

    /// Returns the texts of the events after a position.
    fn after(log: &FeedLog, last: FeedPosition) -> Option<Vec<String>> {
        let (_, batches) = log.after(last)?;
        let events = batches.iter().flat_map(|batch| batch.events.iter());
        Some(events.map(|event| String::from_utf8_lossy(&event.event).into_owned()).collect())
    }

    #[test]
    fn a_follower_receives_what_came_after_its_position() {
        let mut log = FeedLog::default();
        let start = log.start().position;
        let first = log.add(vec![event("a"), event("b")]).position;
        let second = log.add(vec![event("c")]).position;
        assert_eq!(after(&log, start).unwrap(), ["a", "b", "c"]);
        assert_eq!(after(&log, first).unwrap(), ["c"]);
        assert_eq!(after(&log, second).unwrap(), Vec::<String>::new());
        assert_eq!(FeedPosition::parse(&first.to_string()), Some(first));
        assert!(second.follows(first) && !second.follows(start) && !first.follows(second));
        assert!(second.includes(first) && first.includes(first) && !first.includes(second));
    }

    #[test]
    fn a_position_of_a_feed_that_was_interrupted_is_not_found() {
        let mut log = FeedLog::default();
        let before = log.start().position;
        log.stop();
        assert_eq!((after(&log, before), log.position()), (None, None));
        let position = log.start().position;
        assert_eq!(after(&log, before), None);
        let later = FeedPosition { batch: 1, ..position };
        assert_eq!(after(&log, later), None, "this server has not reached that position");
        for wrong in ["", "7", "x.7", "6f9d1c1e5d3b4c5c8d0f2a7b9e1c3d5f.", "6f9d1c1e5d3b4c5c8d0f2a7b9e1c3d5f.-1"] {
            assert_eq!(FeedPosition::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn old_events_are_dropped_beyond_the_limit() {
        let mut log = FeedLog::default();
        let start = log.start().position;
        let large = "x".repeat(MAX_KEPT_BYTES / 2);
        let first = log.add(vec![event(&large)]).position;
        let second = log.add(vec![event(&large)]).position;
        assert_eq!(after(&log, start).unwrap().len(), 2);
        log.add(vec![event("y")]);
        assert_eq!(after(&log, start), None);
        assert_eq!(after(&log, first).unwrap().len(), 2);
        assert_eq!(after(&log, second).unwrap(), ["y"]);
        log.add(vec![event(&large), event(&large), event("z")]);
        assert_eq!((after(&log, second), log.bytes), (None, 0));
    }
}
