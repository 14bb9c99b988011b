//! End-to-end tests of the pipelines: golden results on real data, with real processes, real servers and faults.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]
#![expect(clippy::format_push_string, reason = "scripts for a server read better so")]

mod analytics;
mod archive;
mod browser;
mod catalog;
mod clusters;
mod compose;
mod dashboards;
mod data;
mod declared;
mod elsewhere;
mod examples;
mod first_starts;
mod forecast;
mod frozen;
mod golden;
mod guide_runs;
mod guides;
mod http;
mod kafka;
mod kafka_aborts;
mod layers;
mod logging;
mod merge;
mod metrics;
mod openweather;
mod packages;
mod python_client;
mod queries;
mod readme;
mod retail;
mod serving;
mod shop;
#[cfg(feature = "torture")]
mod spark;
mod sql;
mod standalone;
mod streams;
mod taxi;
mod taxi_changes;
#[cfg(feature = "torture")]
mod trino;
mod upkeep;
mod weather;
mod world;
