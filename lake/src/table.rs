//! Iceberg tables: read, append, overwrite, upsert, delete, maintain.
