//! Streams over the built-in log, in a real Postgres and a real lake.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod capture;
mod changes;
mod elsewhere;
mod file;
mod folder;
mod gaps;
mod hostile;
mod once;
mod reading;
mod runs;
mod shares;
mod steer;
mod values;
mod windows;
mod world;
