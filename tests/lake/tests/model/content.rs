//! The expected content of a table: rows as text, and columns with ids that survive renames.

use std::collections::BTreeMap;

use orch_test_lake::rows::Rows;

/// The type of a column in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelColumnType {
    Int,
    Long,
    Text,
    Decimal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ModelColumnType,
    /// Id that survives renames.
    pub(crate) id: u32,
}

/// Values by column id; missing values are null.
pub(crate) type Row = BTreeMap<u32, String>;

/// The columns and all rows by key. The key is the column `id`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: BTreeMap<i64, Row>,
}

impl Content {
    /// Returns the rows as a reader with these columns prints them, sorted.
    pub(crate) fn printed(&self) -> Rows {
        let rows = self.rows.iter().map(|(id, row)| {
            let id = std::iter::once(Some(id.to_string()));
            id.chain(self.columns.iter().map(|column| row.get(&column.id).cloned())).collect()
        });
        let mut rows: Rows = rows.collect();
        rows.sort();
        rows
    }

    pub(crate) fn names(&self) -> Vec<String> {
        std::iter::once("id".to_owned()).chain(self.columns.iter().map(|column| column.name.clone())).collect()
    }
}
