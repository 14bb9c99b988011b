//! What people write and read as files: DAG files, dashboards, files of connections and variables, and what differs between two versions of a DAG.
//!
//! Pure: no file is opened here.

pub mod dashboard;
pub mod diff;
pub mod file;
pub mod kept;
pub mod yaml;
