//! Clients of what belongs to users: their databases and their web servers, reached by connections. Operators and
//! conditions share them.

pub mod files;
pub mod http;
pub mod postgres;
