//! What is read: MySQL, Postgres, HTTP, files. Each gives [`Batches`](crate::batches::Batches) or bytes piece by
//! piece, is bounded in memory, ends when it is dropped, and tells its task how far it is (`Batches::report_progress`).

mod builder;
pub mod http;
pub mod mysql;
pub mod postgres;
