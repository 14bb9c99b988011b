//! What people write and read as files: DAG files, dashboards, streams, files of connections and variables, and what differs between two versions of a DAG.
//!
//! Pure except for `folder` and `file::add_scripts`, which open files.

pub mod dashboard;
pub mod diff;
pub mod file;
pub mod folder;
pub mod kept;
pub mod sql;
pub mod stream;
pub mod yaml;
