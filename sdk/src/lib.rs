//! What the body of a task and its worker agree on: the context that a try gets, connections, what a task may wait for, and how secrets are
//! kept out of what it says.
//!
//! No runtime: a body is a future, the worker polls it.

pub mod pattern;
pub mod secret;
pub mod task;
pub mod wait;
