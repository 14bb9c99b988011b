//! Clients for databases and web servers of users, reached by connections. Used by operators and conditions.

pub mod files;
pub mod http;
pub mod postgres;
