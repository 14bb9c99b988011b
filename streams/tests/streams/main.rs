//! Streams over the built-in log, in a real Postgres and a real lake.

mod once;
mod steer;
mod windows;
mod world;
