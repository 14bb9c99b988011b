//! Streams: jobs that never end. Each stream reads a topic and keeps a table of the lake up to date. The offsets and
//! the new snapshot of the table are stored in one transaction.
//!
//! Tasks can also read topics (`reading`). `capture` works in the opposite direction: it publishes the changes of a
//! database to topics.
//!
//! `file` parses streams written in YAML, and `folder` watches their files. `topic` reads records, `decode` and `sort`
//! turn them into rows, and `publish` commits the rows. `run` runs a single stream, `shares` a stream whose partitions
//! several processes read, and `host` all streams of a process.

mod capture;
mod changes;
mod declare;
mod decode;
mod file;
mod folder;
mod gone;
mod host;
mod latest;
mod publish;
mod reading;
mod records;
mod run;
mod runs;
mod shares;
mod snapshot;
mod sort;
mod source;
pub mod topic;
mod upkeep;
mod windows;

pub use capture::Capture;
pub use changes::{Changes, EVENT_TS, LSN, OP, POSITION, SOURCE_DB, SOURCE_TABLE, SOURCE_TS_MS, TX_ID};
pub use declare::{CommitAt, Start, Stream, TOPICS};
pub use decode::{OFFSET, PARTITION};
pub use reading::TopicReading;
pub use records::{Record, Records};
pub use runs::Runs;
pub use source::source;
pub use windows::Windows;

/// Compiles the examples in the guide as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/streams.md")]
struct StreamsGuide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/changes.md")]
struct ChangesGuide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/captures.md")]
struct CapturesGuide;
