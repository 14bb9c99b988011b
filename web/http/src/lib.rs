//! What all servers of orch do with a request, whoever answers it.

mod unread;

pub use unread::read_to_the_end;
