//! polars beside arrow: one crossing without a copy, and a pool of threads for its work.
