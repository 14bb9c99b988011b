//! Buckets: a folder, or an S3 protocol server, by one interface.
