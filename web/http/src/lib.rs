//! Helpers for HTTP servers of orch that read requests.

mod unread;

pub use unread::read_to_the_end;
