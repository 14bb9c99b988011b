//! Streams: jobs that never end. Each reads a topic and keeps a table of the lake current, with the offsets it has read and
//! the table's new snapshot in one transaction.
//!
//! Tasks read topics as well: `reading`.
//!
//! `capture` goes the other way: changes of a database become records of topics.
//!
//! `file` reads streams that are written in YAML, `folder` watches them.
//!
//! `topic` reads, `decode` and `sort` make rows of records, `publish` commits them, `run` is one stream at work, `shares` one
//! that several processes read, `host` the streams of a process.

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

/// The guides' examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/streams.md")]
struct StreamsGuide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/changes.md")]
struct ChangesGuide;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/captures.md")]
struct CapturesGuide;
