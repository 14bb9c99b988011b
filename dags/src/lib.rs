//! Room `dags`.
