//! Builds the SQL query for the history of a row in a lake table.

use super::table::LakeTable;
use super::{Cell, ResultColumn, cell_text};

/// Table property with the SQL query for the history of a row. Each placeholder such as `{id}` is replaced by the row's
/// value in the column of that name.
pub const HISTORY: &str = "orch.history";

impl LakeTable {
    /// Returns the SQL query for the history of `row`, or `None` if the table does not have the property `HISTORY`.
    pub fn history_of(&self, row: &[Cell], columns: &[ResultColumn]) -> Option<String> {
        let mut rest = self.properties.get(HISTORY).map(String::as_str).filter(|sql| !sql.trim().is_empty())?;
        let mut sql = String::with_capacity(rest.len());
        while let Some((before, from)) = rest.split_once('{') {
            sql.push_str(before);
            let found = from.split_once('}').and_then(|(name, after)| {
                let place = columns.iter().position(|column| column.name == name)?;
                Some((literal(row.get(place)?, &columns[place]), after))
            });
            let (written, after) = found.unwrap_or_else(|| ("{".into(), from));
            sql.push_str(&written);
            rest = after;
        }
        sql.push_str(rest);
        Some(sql)
    }
}

fn literal(cell: &Cell, column: &ResultColumn) -> String {
    let text = cell_text(cell);
    let is_plain = column.is_number && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match cell {
        Cell::Null => "null".into(),
        Cell::Bool(_) => text.into_owned(),
        _ if is_plain && !text.is_empty() => text.into_owned(),
        _ => format!("'{}'", text.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::TableId;
    use super::*;
    use serde_json::json;

    fn history(sql: Option<&str>, row: &[Cell]) -> Option<String> {
        let column =
            |name: &str, is_number: bool| ResultColumn { name: name.into(), data_type: String::new(), is_number };
        let mut table = LakeTable::empty(TableId::new("shop", "orders"));
        table.properties.extend(sql.map(|sql| (HISTORY.to_owned(), sql.to_owned())));
        table.history_of(row, &[column("id", true), column("city", false)])
    }

    #[test]
    fn values_of_the_row_stand_in_the_query() {
        let sql = Some("select * from trail where id = {id} and city = {city} order by at");
        for (row, said) in [
            ([json!(7), json!("Rome")], "id = 7 and city = 'Rome'"),
            (
                [json!("9007199254740993"), json!("O'Hare' or 1=1 --")],
                "id = 9007199254740993 and city = 'O''Hare'' or 1=1 --'",
            ),
            ([json!("7 or 1=1"), json!("{id}")], "id = '7 or 1=1' and city = '{id}'"),
            ([json!("NaN"), json!(null)], "id = 'NaN' and city = null"),
            ([json!(-1.5e300), json!(true)], "id = -1.5e+300 and city = true"),
        ] {
            assert_eq!(history(sql, &row).unwrap(), format!("select * from trail where {said} order by at"));
        }
    }

    #[test]
    fn what_names_no_column_stays_as_it_is() {
        let row = [json!(7), json!("Rome")];
        for (sql, said) in [
            ("select {other}, {id}", "select {other}, 7"),
            ("select '{' || {id}", "select '{' || 7"),
            ("select {id", "select {id"),
            ("{{id}}", "{7}"),
        ] {
            assert_eq!(history(Some(sql), &row).unwrap(), said);
        }
        assert_eq!((history(None, &row), history(Some("  "), &row)), (None, None));
    }
}
