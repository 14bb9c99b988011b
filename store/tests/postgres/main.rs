//! The store against a real Postgres.

mod create;
mod end;
mod fixture;
mod lost;
mod plans;
mod relocate;
mod upkeep;
