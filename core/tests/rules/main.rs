//! The rules of the core, held against tables recorded from Airflow's own code, against random DAGs, and case by case. One binary: each
//! would be linked anew whenever a rule changes.

mod backfill;
mod clears;
mod history;
mod oracle;
mod overlap;
mod part;
mod properties;
#[path = "support/recorded.rs"]
mod recorded;
mod rerun;
mod retry_oracle;
#[path = "support/shapes.rs"]
mod shapes;
