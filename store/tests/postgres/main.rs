//! The store against a real Postgres.

mod create;
mod end;
mod fixture;
mod lost;
mod relocate;
mod upkeep;
