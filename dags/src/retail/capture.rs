//! The retail database, change by change: the capture `retail-mysql-connector` brings its changes to the topics `retail.orders` and so on,
//! and six streams keep `retail_cdc.orders` and so on as the source has them. All are paused at first: the sample that is the source where
//! no other was set up has no binlog.

use crate::common::connections::RETAIL_MYSQL;
use crate::retail::schema::{RAW, Table};
use arrow::datatypes::{Field, Schema};
use orch::prelude::*;
use orch_lake::{TableDef, TableName};
use orch_streams::{Capture, Changes, Stream};

pub const CAPTURE: &str = "retail-mysql-connector";
/// The namespace of the tables that are kept.
pub const NAMESPACE: &str = "retail_cdc";
/// Passwords are in no topic and in no table.
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

/// A table as the source has it, within seconds.
fn mirror(table: &'static Table) -> Stream {
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

/// As in raw, without what is left out.
fn row(table: &Table) -> Schema {
    let is_told = |column: &str| (table.name, column) != LEFT_OUT;
    let columns = table.columns.iter().filter(|column| is_told(column.name));
    Schema::new(columns.map(|column| Field::new(column.name, column.kind.arrow(), true)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_left_out() {
        assert!(!format!("{:?}", row(&RAW[1])).contains("password"));
    }
}
