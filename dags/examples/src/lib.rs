//! Room `dags/examples`.
