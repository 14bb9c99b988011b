//! The tables of named things.

use super::Table;

pub static POOL: Table = Table {
    name: "pool",
    key: "name",
    source: include_str!("../../queries/pool/counted.sql"),
    sealed: &[],
    has_moments: false,
};

/// Many variables are secrets, so all of them are sealed.
pub static VARIABLE: Table =
    Table { name: "variable", key: "key", source: "table variable", sealed: &["value"], has_moments: true };

pub static CONNECTION: Table = Table {
    name: "connection",
    key: "conn_id",
    source: "table connection",
    sealed: &["password", "extra"],
    has_moments: true,
};

pub static TOPIC: Table = Table {
    name: "topic",
    key: "name",
    source: include_str!("../../queries/topic/counted.sql"),
    sealed: &[],
    has_moments: true,
};
