//! Users who sign up: topic `users` → table `db.users`, one row for each id.

pub mod dags;

pub use dags::*;
