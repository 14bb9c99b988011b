//! What a table looks like, on its page: the query that its property `orch.chart` says, or one made of its columns: a measure
//! over its first time, or how many rows each day has. For those who may read data; a picture that takes too long is left
//! out.

use crate::pages::sql::Wish;
use crate::pages::sql::results::draw;
use crate::parts::Chart;
use orch_store::lake_view::{CHART, LakeError, LakeTable, LakeView, Query, QueryLimits, TableColumn, collect_answer};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A page does not wait longer for its picture.
const TIME: Duration = Duration::from_secs(3);
/// A table of more rows is only drawn if it says how.
const MOST_ROWS: u64 = 2_000_000;
/// Points of a picture.
const POINTS: usize = 400;

/// A picture, what it shows, and the query that it was made of; or why there is none.
pub(crate) struct Picture {
    pub(crate) sql: String,
    pub(crate) title: String,
    pub(crate) chart: Result<Chart, String>,
}

pub(crate) async fn picture(lake: &dyn LakeView, table: &LakeTable) -> Option<Picture> {
    let declared = table.properties.get(CHART).filter(|sql| !sql.trim().is_empty()).cloned();
    let sql = declared.or_else(|| usual(table).filter(|_| (1..=MOST_ROWS).contains(&table.totals.rows)))?;
    let (title, chart) = match ask(lake, &sql).await {
        Ok((title, chart)) => (title, chart.ok_or_else(|| "There are no numbers to draw yet.".into())),
        Err(error) => (String::new(), Err(error.to_string())),
    };
    Some(Picture { sql, title, chart })
}

async fn ask(lake: &dyn LakeView, sql: &str) -> Result<(String, Option<Chart>), LakeError> {
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let limits = QueryLimits { rows: POINTS, time: TIME, ..QueryLimits::default() };
    let rows = lake.query(Query { sql: sql.into(), limits }, stop).await?;
    let answer = collect_answer(rows, Instant::now()).await?;
    let is_time = answer.columns.first().is_some_and(|column| is_time(&column.data_type));
    let look = if is_time { "line" } else { "bar" };
    let title = answer.columns.get(1).map(|column| column.name.replace('_', " ")).unwrap_or_default();
    let wish = Wish { chart: look.into(), ..Wish::default() };
    Ok((title, draw(&answer, &wish).ok().flatten()))
}

/// As Iceberg and as SQL call them.
fn is_time(data_type: &str) -> bool {
    data_type == "date" || data_type.starts_with("timestamp")
}

fn is_number(data_type: &str) -> bool {
    ["int", "long", "float", "double"].contains(&data_type) || data_type.starts_with("decimal")
}

/// In SQL, for a table that says nothing.
fn usual(table: &LakeTable) -> Option<String> {
    // What lies inside of others has dots in its name.
    let columns = || table.columns.iter().filter(|column| !column.name.contains('.'));
    let time = columns().find(|column| is_time(&column.data_type))?;
    let (at, from) = (quoted(&time.name), format!("{}.{}", quoted(&table.id.namespace), quoted(&table.id.name)));
    let is_key = |column: &TableColumn| table.key.contains(&column.name);
    let parts = |column: &TableColumn| table.partitioned_by.iter().any(|by| by.column == column.name);
    let measure = columns().find(|column| is_number(&column.data_type) && !is_key(column) && !parts(column));
    // One row for each time is a series: its first measure is drawn. Of others it is how many there were each day.
    let inner = match measure {
        Some(measure) if table.key == [time.name.clone()] => {
            format!("select {at}, {} from {from} order by 1 desc limit {POINTS}", quoted(&measure.name))
        }
        _ => format!(
            "select cast({at} as date) as day, count(*) as \"rows per day\" from {from} where {at} is not null \
             group by 1 order by 1 desc limit {POINTS}"
        ),
    };
    Some(format!("select * from ({inner}) order by 1"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_store::lake_view::{PartitionColumn, TableId, TableTotals};
    use std::collections::BTreeMap;

    fn table(columns: &[(&str, &str)], key: &[&str], by: &[&str]) -> LakeTable {
        let id = TableId::new("nyc", "trips");
        let column = |(place, (name, data_type)): (usize, &(&str, &str))| TableColumn {
            id: place as i32,
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
            asset_uri: id.asset_uri(),
            id,
            uuid: String::new(),
            format_version: 2,
            location: String::new(),
            schema_id: 0,
            schemas: 1,
            columns: columns.iter().enumerate().map(column).collect(),
            partitioned_by: by.iter().map(part).collect(),
            key: key.iter().map(|name| (*name).into()).collect(),
            properties: BTreeMap::new(),
            refs: Vec::new(),
            totals: TableTotals::default(),
            snapshots: 0,
            last: None,
            updated_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_table_that_says_nothing_is_drawn_over_its_first_time() {
        let trips = table(&[("id", "int"), ("at", "timestamptz"), ("fare", "double")], &["id"], &[]);
        let sql = usual(&trips).expect("it has a time");
        assert!(sql.contains("cast(\"at\" as date) as day, count(*)") && sql.contains("\"nyc\".\"trips\""), "{sql}");
        let days = table(&[("day", "date"), ("year", "int"), ("total", "long")], &["day"], &["year"]);
        let sql = usual(&days).expect("it has a time");
        assert!(sql.contains("select \"day\", \"total\" from"), "{sql}");
        assert_eq!(usual(&table(&[("id", "int"), ("name", "string")], &["id"], &[])), None);
    }
}
