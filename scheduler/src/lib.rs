//! Room `scheduler`.
