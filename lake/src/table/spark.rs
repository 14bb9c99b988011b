//! Names and texts in statements of Spark.

use super::TableName;

/// A table, with its namespace.
pub(super) fn table(name: &TableName) -> String {
    let parts = name.namespace().split('.').chain([name.name()]);
    parts.map(quoted).collect::<Vec<_>>().join(".")
}

/// A column, or a part of the name of a table.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string literal.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}
