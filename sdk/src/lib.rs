//! The interface between task functions and workers: the context of an attempt, connections, conditions that tasks wait
//! for, and the masking of secrets in logs.
//!
//! This crate contains no async runtime: a task function is a future that the worker polls.

pub mod pattern;
pub mod secret;
pub mod task;
pub mod wait;
