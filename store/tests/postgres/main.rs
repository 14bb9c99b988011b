//! The store against a real Postgres.

mod admission;
mod alerts;
mod approvals;
mod assets;
mod audit;
mod backfill;
mod checks;
mod clean;
mod clear;
mod create;
mod end;
mod fixture;
mod frozen;
mod gathered;
mod history;
mod hostile;
mod instances;
mod killed;
mod lists;
mod lost;
mod mark;
mod model;
mod old;
mod overlap;
mod pages;
mod plans;
mod previous;
mod relocate;
mod rollout;
mod rollover;
mod secrets;
#[path = "../../../core/tests/support/shapes.rs"]
mod shapes;
mod topics;
mod upkeep;
mod waits;
