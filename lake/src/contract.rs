//! What must hold of a table before its next snapshot is published.
