//! Change data capture of the retail database: `retail-mysql-connector` writes its changes to topics (`retail.orders`,
//! …), and six streams mirror the tables in `retail_cdc`. All start paused, because the sample shop has no binlog.

use super::tables::RAW;
use crate::common::connections::RETAIL_MYSQL;
use arrow::datatypes::Schema;
use orch::prelude::*;
use orch_lake::{TableDef, TableName, TableSpec};
use orch_streams::{Capture, Changes, Stream};

pub const CAPTURE: &str = "retail-mysql-connector";
pub const NAMESPACE: &str = "retail_cdc";
/// Column that no topic and no mirror contains.
pub const LEFT_OUT: (&str, &str) = ("customers", "customer_password");
const TOPICS: &str = "retail";

pub fn streams() -> Vec<Stream> {
    let (table, column) = LEFT_OUT;
    let capture = Capture::mysql(RETAIL_MYSQL)
        .tables(RAW.iter().map(|table| table.name))
        .topics(TOPICS)
        .leave_out(table, [column]);
    let text = "Changes of the retail database → retail.orders, retail.customers and so on";
    let capture = Stream::new(CAPTURE).describe(text).capture(capture).paused();
    std::iter::once(capture).chain(RAW.iter().map(mirror)).collect()
}

/// Returns a stream that mirrors a table, a few seconds behind the source.
fn mirror(table: &'static TableSpec) -> Stream {
    let row = row(table);
    let key = table.key;
    let kept = TableDef::of(&row).expect("the lake has these types").key(key.iter().copied());
    Stream::new(format!("retail_{}", table.name))
        .describe(format!("`{}` as the retail database has it", table.name))
        .topic(format!("{TOPICS}.{}", table.name))
        .changes(Changes::of(row))
        .mirror(TableName::new(NAMESPACE, table.name).expect("it is a name"), kept, key)
        .commit_every(secs(2))
        .paused()
}

/// Returns the columns of a raw table without passwords.
fn row(table: &TableSpec) -> Schema {
    let is_captured = |column: &str| (table.name, column) != LEFT_OUT;
    let columns = table.columns.iter().filter(|column| is_captured(column.name));
    Schema::new(columns.map(|column| column.field().with_nullable(true)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out() {
        assert!(!format!("{:?}", row(&RAW[1])).contains("password"));
    }
}
