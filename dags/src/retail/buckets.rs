//! The buckets of the retail pipelines, and the names of their objects and tables in lineage.

pub const RAW_BUCKET: &str = "raw-retail-data";
pub const SILVER_BUCKET: &str = "silver-retail-data";
pub const GOLD_BUCKET: &str = "gold-retail-data";

/// The URI of an object as an asset.
pub fn object_uri(bucket: &str, table: &str) -> String {
    format!("bucket://{bucket}/{table}")
}

/// The URI of a table in Postgres.
pub fn postgres_uri(namespace: &str, table: &str) -> String {
    format!("postgres://{namespace}/{table}")
}
