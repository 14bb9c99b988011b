//! The source of the rows: MySQL, the sample shop, or the mirrors in `retail_cdc`.

use super::changes;
use super::days::Days;
use super::extract::BY_DAY;
use super::sample::Sample;
use crate::common::connections::number;
use futures::stream::StreamExt as _;
use orch::{Connection, TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::frame::conform;
use orch_lake::source::mysql::{MysqlSource, Server};
use orch_lake::{Lake, TableSpec};

#[derive(Debug, Clone)]
pub enum Source {
    MySql(Server),
    Sample(Sample),
    /// The mirrors of the source in the lake.
    Changes(Lake),
}

impl Source {
    /// Returns the source of a connection: `mysql://…`, or `sample://retail?seed=7&scale=20`.
    ///
    /// # Errors
    /// Returns a fatal error for a connection of another type.
    pub fn of(connection: &Connection) -> TaskResult<Source> {
        if connection.conn_type != "sample" {
            return Server::of(connection).map(Source::MySql);
        }
        let usual = Sample::default();
        let scale = number(connection, "scale", usual.scale.into())?;
        let scale = u32::try_from(scale).ok().filter(|scale| (1..=MAX_SCALE).contains(scale)).ok_or_else(|| {
            fatal(format!("connection `{}`: `scale` must be a number from 1 to {MAX_SCALE}", connection.id))
        })?;
        Ok(Source::Sample(Sample { seed: number(connection, "seed", usual.seed)?, scale }))
    }

    /// Returns the rows of a table with its declared types. `days` restricts orders and items by order date. The contract is
    /// not checked yet, so any column may have nulls.
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached, refuses the account, or lacks the table or a column. The stream
    /// returns an error for a value that does not fit its type.
    pub async fn read(&self, table: &'static TableSpec, days: Days) -> TaskResult<Batches> {
        match self {
            Source::MySql(server) => {
                let rows = server.read(statement(table, days)).await?;
                let schema = table.unchecked_schema();
                let wanted = schema.clone();
                let fit = move |batch| conform(&batch?, &wanted).map_err(|error| error.context(of_table(table)));
                Ok(Batches::new(schema, rows.map(fit)))
            }
            Source::Sample(sample) => {
                let batches = sample.rows(table, days).map(|batch| Ok(vec![batch?]));
                Ok(Batches::made(table.schema(), batches))
            }
            Source::Changes(lake) => changes::read(lake, table, days).await,
        }
    }

    /// The URI of a table in lineage.
    pub fn uri(&self, table: &str) -> String {
        match self {
            Source::MySql(_) => format!("mysql://retail/{table}"),
            Source::Sample(_) => format!("sample://retail/{table}"),
            Source::Changes(_) => format!("lake://{}/{table}", super::capture::NAMESPACE),
        }
    }
}

/// With a larger scale, the IDs of customers would not fit their column.
const MAX_SCALE: u32 = 1_000;

fn of_table(table: &TableSpec) -> String {
    format!("table `{}` of the source", table.name)
}

fn statement(table: &TableSpec, days: Days) -> MysqlSource {
    let columns = || table.column_names();
    let bounds = [(days.from, "order_date >= ?"), (days.until, "order_date < ?")];
    let bounds: Vec<_> = bounds.into_iter().filter_map(|(day, condition)| Some((day?, condition))).collect();
    let condition = bounds.iter().map(|bound| bound.1).collect::<Vec<_>>().join(" and ");
    let read = match table.name {
        _ if bounds.is_empty() || !BY_DAY.contains(&table.name) => {
            return MysqlSource::table(table.name).columns(columns()).money();
        }
        "orders" => MysqlSource::table(table.name).columns(columns()).filter(&condition),
        // The date of an item is the date of its order.
        name => {
            let columns = columns().map(|column| format!("i.{column}")).collect::<Vec<_>>().join(", ");
            MysqlSource::query(&format!(
                "select {columns} from {name} i join orders on order_id = order_item_order_id where {condition}"
            ))
        }
    };
    bounds.into_iter().fold(read.money(), |read, (day, _)| read.param(day.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_says_which_shop() {
        for (uri, expected) in [
            ("sample://retail", Some((1, 1))),
            ("sample://retail?seed=7&scale=20", Some((7, 20))),
            ("sample://retail?scale=0", None),
            ("sample://retail?seed=often", None),
            ("http://retail", None),
        ] {
            let connection = Connection::from_uri("retail_mysql", uri).expect("a URI");
            let found = match Source::of(&connection) {
                Ok(Source::Sample(sample)) => Some((sample.seed, sample.scale)),
                _ => None,
            };
            assert_eq!(found, expected, "{uri}");
        }
    }
}
