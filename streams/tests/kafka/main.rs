//! Topics of a real Kafka: how they are read, what is told when they cannot be, and how records get there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod cluster;
mod errors;
mod look;
mod positions;
mod produce;
mod read;
mod reading;
mod world;
