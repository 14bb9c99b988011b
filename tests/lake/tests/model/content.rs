//! The table as it should be: rows as text, columns by an id that outlives their names.

use std::collections::BTreeMap;

use orch_test_lake::rows::Rows;

/// What a column of the model holds.
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
    /// Outlives the name.
    pub(crate) id: u32,
}

/// Values by the ids of their columns; what is not there is null.
pub(crate) type Row = BTreeMap<u32, String>;

/// All rows by their key, which is the column `id`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: BTreeMap<i64, Row>,
}

impl Content {
    /// As a reader of the columns of that time prints it, sorted.
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
