//! The bodies of the retail tasks. Each does its work, publishes it in the transaction that records its success, and says
//! what went from where to where.

mod gold;
mod ingest;
mod load;
mod publish;
mod silver;

pub use gold::generate_gold_tables;
pub use ingest::ingest;
pub use load::load;
pub use publish::Published;
pub use silver::{transform_newest, transform_retail_data};

/// The document's buckets.
pub const RAW_BUCKET: &str = "raw-retail-data";
pub const SILVER_BUCKET: &str = "silver-retail-data";
pub const GOLD_BUCKET: &str = "gold-retail-data";
/// The namespace of the tables, in the lake and in Postgres.
pub const NAMESPACE: &str = "retail";

/// An object's name in lineage and as an asset.
pub fn object_uri(bucket: &str, table: &str) -> String {
    format!("bucket://{bucket}/{table}")
}

/// A table of the lake, as its page calls it.
pub fn table_uri(table: &str) -> String {
    format!("lake://{NAMESPACE}/{table}")
}

/// A table that was loaded.
pub fn loaded_uri(table: &str) -> String {
    format!("postgres://{NAMESPACE}/{table}")
}
