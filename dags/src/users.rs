//! Users who sign up: topic `users` → table `db.users`, one row per id.

pub mod dags;

pub use dags::*;
