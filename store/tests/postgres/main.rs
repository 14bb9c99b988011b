//! The store against a real Postgres.

mod create;
mod fixture;
mod frozen;
