//! The REST API, compatible with Airflow 3.3: paths, fields, status codes and errors are the same, so that Airflow
//! clients work.
//!
//! There is one file per resource, with the handlers first and the response types below.

pub(crate) mod alerts;
pub(crate) mod assets;
pub(crate) mod backfills;
pub(crate) mod clusters;
pub(crate) mod connection_test;
pub(crate) mod connectors;
pub(crate) mod dag_runs;
pub(crate) mod dag_tags;
pub(crate) mod dags;
pub(crate) mod dashboards;
pub(crate) mod deadlines;
pub(crate) mod default_connections;
pub(crate) mod described;
pub(crate) mod entrance;
pub(crate) mod event_logs;
pub(crate) mod events;
pub(crate) mod hitl;
pub(crate) mod import_errors;
pub(crate) mod jobs;
pub(crate) mod kept;
pub(crate) mod lake;
pub(crate) mod links;
pub(crate) mod login;
pub(crate) mod mask;
pub(crate) mod monitor;
pub(crate) mod overview;
pub(crate) mod presets;
pub(crate) mod quality;
pub(crate) mod readers;
pub(crate) mod settings;
pub(crate) mod sql;
pub(crate) mod streams;
pub(crate) mod task_instances;
pub(crate) mod tasks;
pub(crate) mod topics;
pub(crate) mod users;
pub(crate) mod version_history;
pub(crate) mod versions;
pub(crate) mod why;
pub(crate) mod xcom;

pub(crate) mod bulk;
pub(crate) mod clearing;
mod ids;
pub(crate) mod list;
