//! Data sources: MySQL, Postgres, HTTP and files. Each source returns [`Batches`](crate::batches::Batches) or a
//! stream of bytes, uses bounded memory, stops when it is dropped, and can report progress to its task
//! (`Batches::report_progress`).

mod builder;
pub mod http;
pub mod mysql;
pub mod postgres;
