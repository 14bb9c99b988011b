//! The pipelines as people run them: golden answers on the real data, real processes, real servers, faults.

mod compose;
mod data;
mod golden;
mod retail;
mod shop;
mod sql;
mod world;
