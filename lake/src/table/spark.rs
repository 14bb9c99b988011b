//! Quotes names and strings for Spark SQL.

use super::TableName;

/// Quotes a table name with its namespace.
pub(super) fn table(name: &TableName) -> String {
    let parts = name.namespace().split('.').chain([name.name()]);
    parts.map(quoted).collect::<Vec<_>>().join(".")
}

/// Quotes an identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Quotes a string literal.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}
