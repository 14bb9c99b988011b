//! CSV, JSON and Parquet, as streams of record batches.
