//! Real processes on a real Postgres, killed, stopped and cut off while they work, and what must hold all the same.
//!
//! Tests are the supervisors: they start the roles of this crate's binary, hurt them by a plan that follows from a seed
//! alone (`TORTURE_SEED` gives it again, `ORCH_TEST_LONG=n` takes n of them and n times as much), heal everything, and
//! hold the database against the outside ledger, which the bodies wrote, and the pure model.
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
