//! Clients for users' databases, web servers and files. Used by operators and conditions.

pub mod files;
pub mod http;
pub mod postgres;
