//! How servers of orch read requests.

mod unread;

pub use unread::read_to_the_end;
