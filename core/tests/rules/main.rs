//! Tests of the rules of the core against tables recorded from Airflow's code, against random DAGs, and case by case.
//! They share one binary, because each binary is linked again when a rule changes.

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
