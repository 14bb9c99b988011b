//! Topics of a real Kafka: reading, error messages, and writing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod cluster;
mod errors;
mod look;
mod positions;
mod produce;
mod read;
mod reading;
mod world;
