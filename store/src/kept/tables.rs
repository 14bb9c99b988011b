//! The tables of named objects.

use super::Table;

pub static POOL: Table = Table {
    name: "pool",
    key: "name",
    from: concat!("(", include_str!("../../queries/pool/counted.sql"), ") r"),
    sealed: &[],
    has_moments: false,
};

/// All values of variables are sealed (encrypted), because many of them are secrets.
pub static VARIABLE: Table =
    Table { name: "variable", key: "key", from: "variable r", sealed: &["value"], has_moments: true };

pub static CONNECTION: Table = Table {
    name: "connection",
    key: "conn_id",
    from: "connection r",
    sealed: &["password", "extra"],
    has_moments: true,
};

pub static TOPIC: Table = Table {
    name: "topic",
    key: "name",
    from: concat!("(", include_str!("../../queries/topic/counted.sql"), ") r"),
    sealed: &[],
    has_moments: true,
};
