//! SQL over the lake: DataFusion reads Iceberg tables.
