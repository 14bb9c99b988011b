//! Room `workers`.
