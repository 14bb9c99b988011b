//! Builds the chart query of a table that declares no chart.

use super::table::{LakeTable, TableColumn, in_quotes};

/// True for time types of Iceberg and of SQL.
pub fn is_time(data_type: &str) -> bool {
    data_type == "date" || data_type.starts_with("timestamp")
}

fn is_number(data_type: &str) -> bool {
    ["int", "long", "float", "double"].contains(&data_type) || data_type.starts_with("decimal")
}

impl LakeTable {
    /// Returns a query for the last `points` points over the first time column. If that column is the key, the points
    /// are values of the first measure, otherwise the number of rows per day. `None` if the table has no time column.
    pub fn usual_chart(&self, points: usize) -> Option<String> {
        // Excludes nested columns, whose names contain dots.
        let columns = || self.columns.iter().filter(|column| !column.name.contains('.'));
        let time = columns().find(|column| is_time(&column.data_type))?;
        let (at, from) =
            (in_quotes(&time.name), format!("{}.{}", in_quotes(&self.id.namespace), in_quotes(&self.id.name)));
        let is_key = |column: &TableColumn| self.key.contains(&column.name);
        let parts = |column: &TableColumn| self.partitioned_by.iter().any(|by| by.column == column.name);
        let measure = columns().find(|column| is_number(&column.data_type) && !is_key(column) && !parts(column));
        let inner = match measure {
            Some(measure) if self.key == [time.name.clone()] => {
                format!("select {at}, {} from {from} order by 1 desc limit {points}", in_quotes(&measure.name))
            }
            _ => format!(
                "select cast({at} as date) as day, count(*) as \"rows per day\" from {from} where {at} is not null \
                 group by 1 order by 1 desc limit {points}"
            ),
        };
        Some(format!("select * from ({inner}) order by 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{PartitionColumn, TableId};
    use super::*;

    fn table(columns: &[(&str, &str)], key: &[&str], by: &[&str]) -> LakeTable {
        let column = |(place, (name, data_type)): (usize, &(&str, &str))| TableColumn {
            id: crate::narrow::int(place),
            name: (*name).into(),
            data_type: (*data_type).into(),
            required: false,
            doc: None,
        };
        let part = |name: &&str| PartitionColumn {
            name: (*name).into(),
            column: (*name).into(),
            transform: "identity".into(),
        };
        LakeTable {
            columns: columns.iter().enumerate().map(column).collect(),
            partitioned_by: by.iter().map(part).collect(),
            key: key.iter().map(|name| (*name).into()).collect(),
            ..LakeTable::empty(TableId::new("nyc", "trips"))
        }
    }

    #[test]
    fn a_table_that_says_nothing_is_drawn_over_its_first_time() {
        let trips = table(&[("id", "int"), ("at", "timestamptz"), ("fare", "double")], &["id"], &[]);
        let sql = trips.usual_chart(9).expect("it has a time");
        assert!(sql.contains("cast(\"at\" as date) as day, count(*)") && sql.contains("\"nyc\".\"trips\""), "{sql}");
        let days = table(&[("day", "date"), ("year", "int"), ("total", "long")], &["day"], &["year"]);
        let sql = days.usual_chart(9).expect("it has a time");
        assert!(sql.contains("select \"day\", \"total\" from"), "{sql}");
        assert_eq!(table(&[("id", "int"), ("name", "string")], &["id"], &[]).usual_chart(9), None);
    }
}
