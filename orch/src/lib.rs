//! Room `orch`.
