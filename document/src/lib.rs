//! Readers and writers for the files of users: DAG files, dashboards, streams, connections, variables and pools; and
//! the differences between two versions of a DAG.
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
