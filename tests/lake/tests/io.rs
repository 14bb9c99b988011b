//! Tests sources, formats, buckets and sinks with real servers: MariaDB, Postgres, an S3 protocol server, and an HTTP
//! server that fails.

#[path = "io/bucket.rs"]
mod bucket;
#[path = "io/format.rs"]
mod format;
#[path = "io/frame.rs"]
mod frame;
#[path = "io/http.rs"]
mod http;
#[path = "io/load.rs"]
mod load;
#[path = "io/load_types.rs"]
mod load_types;
#[path = "io/mysql.rs"]
mod mysql;
#[path = "io/operators.rs"]
mod operators;
#[path = "io/postgres.rs"]
mod postgres;
#[path = "io/support.rs"]
mod support;
