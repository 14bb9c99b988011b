//! What people write and read as files: DAG files, dashboards, streams, files of connections and variables, and what differs between two versions of a DAG.
//!
//! Pure but for `folder`, which alone opens files.

pub mod dashboard;
pub mod diff;
pub mod file;
pub mod folder;
pub mod kept;
pub mod stream;
pub mod yaml;
