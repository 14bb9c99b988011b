//! Fault injection: real processes on a real Postgres are killed, stopped and cut off while they work, and invariants
//! must hold.
//!
//! The tests are the supervisors. They start the roles of this crate's binary, inject faults by a plan that depends
//! only on a seed (`TORTURE_SEED` repeats one; `ORCH_TEST_LONG=n` uses n seeds and multiplies the number of faults by
//! n), repair everything, and compare the database with the outside ledger, which the task functions wrote, and with
//! the pure model.
#![expect(clippy::missing_panics_doc, reason = "a harness fails by panicking")]

pub mod check;
pub mod dags;
pub mod ledger;
pub mod limited;
pub mod role;
pub mod script;
pub mod told;
pub mod watch;
pub mod world;
