//! The source of the rows: MySQL, the sample shop, or the mirrors in `retail_cdc`.

use super::changes;
use super::days::Days;
use super::extract::BY_DAY;
use super::sample::Sample;
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
    /// `mysql://…`, or `sample://retail?seed=7&scale=20`.
    ///
    /// # Errors
    /// A fatal error when the connection is for something else.
    pub fn of(connection: &Connection) -> TaskResult<Source> {
        if connection.conn_type != "sample" {
            return Server::of(connection).map(Source::MySql);
        }
        let number = |name: &str, usual: u64| match connection.extra_field(name) {
            None => Ok(usual),
            Some(value) => value.as_u64().or_else(|| value.as_str()?.parse().ok()).ok_or_else(|| {
                fatal(format!(
                    "connection `{}`: `{name}` is no number\nhint: write `sample://retail?{name}={usual}`",
                    connection.id
                ))
            }),
        };
        let usual = Sample::default();
        let scale = number("scale", usual.scale.into())?;
        let scale = u32::try_from(scale).ok().filter(|scale| (1..=MOST_SCALE).contains(scale));
        let scale = scale.ok_or_else(|| {
            fatal(format!("connection `{}`: `scale` is a number from 1 to {MOST_SCALE}", connection.id))
        })?;
        Ok(Source::Sample(Sample { seed: number("seed", usual.seed)?, scale }))
    }

    /// The rows of a table with the types it is said to have, nulls as they are; of orders and their items, those of
    /// these days.
    ///
    /// # Errors
    /// The server cannot be reached, refuses the account, or has no such table or column. In the stream: a value that
    /// does not fit.
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

    /// For lineage: the name of the table where it comes from.
    pub fn uri(&self, table: &str) -> String {
        match self {
            Source::MySql(_) => format!("mysql://retail/{table}"),
            Source::Sample(_) => format!("sample://retail/{table}"),
            Source::Changes(_) => format!("lake://{}/{table}", super::capture::NAMESPACE),
        }
    }
}

/// So many customers have numbers that fit.
const MOST_SCALE: u32 = 1_000;

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
        // An item has the date of its order.
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
    use super::super::tables::RAW;
    use super::*;
    use futures::TryStreamExt as _;

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

    #[tokio::test]
    async fn the_sample_is_read_as_a_table_is() {
        let table = RAW.iter().find(|table| table.name == "orders").expect("a table");
        let rows = Source::Sample(Sample::default()).read(table, Days::all()).await.expect("it is there");
        let batches: Vec<_> = rows.try_collect().await.expect("all of it");
        assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 68_883);
    }
}
