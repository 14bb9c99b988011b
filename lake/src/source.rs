//! Sources: MySQL, Postgres, HTTP and files. Each returns [`Batches`](crate::batches::Batches) or a stream of bytes,
//! has bounded memory, stops when it is dropped, and reports progress to its task (`Batches::report_progress`).

mod builder;
pub mod http;
pub mod mysql;
pub mod postgres;
