//! The source of the rows: MySQL, the sample shop, or the mirrors in `retail_cdc`.

use super::changes;
use super::days::Days;
use super::sample::Sample;
use crate::common::connections::number;
use anyhow::Context as _;
use futures::stream::StreamExt as _;
use orch::{Connection, TaskResult};
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
        let scale = number(connection, "scale", usual.scale.into(), 1..=MAX_SCALE)?.try_into()?;
        Ok(Source::Sample(Sample { seed: number(connection, "seed", usual.seed, 0..=u64::MAX)?, scale }))
    }

    /// Returns the rows of a table with its declared types. `days` restricts orders and items by order date. The
    /// contract is not checked yet, so any column may have nulls.
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached, rejects the account, or lacks the table or a column. The
    /// stream returns an error for a value that does not fit its type.
    pub async fn read(&self, table: &'static TableSpec, days: Days) -> TaskResult<Batches> {
        match self {
            Source::MySql(server) => {
                let rows = server.read(statement(table, days)).await?;
                let schema = table.unchecked_schema();
                let wanted = schema.clone();
                let name = table.name;
                let fit =
                    move |batch| conform(&batch?, &wanted).with_context(|| format!("table `{name}` of the source"));
                Ok(Batches::new(schema, rows.map(fit)))
            }
            Source::Sample(sample) => {
                let batches = sample.rows(table, days).map(|batch| Ok(vec![batch?]));
                Ok(Batches::made(table.schema(), batches))
            }
            Source::Changes(lake) => changes::read(lake, table, days).await,
        }
    }

    /// Returns the URI of a table for lineage.
    pub fn uri(&self, table: &str) -> String {
        match self {
            Source::MySql(_) => format!("mysql://retail/{table}"),
            Source::Sample(_) => format!("sample://retail/{table}"),
            Source::Changes(_) => format!("lake://{}/{table}", super::capture::NAMESPACE),
        }
    }
}

/// Maximum scale. With a larger one, customer IDs would overflow their column.
const MAX_SCALE: u64 = 1_000;

fn statement(table: &TableSpec, days: Days) -> MysqlSource {
    let (columns, condition) = (table.column_names(), days.condition("order_date"));
    match table.name {
        "orders" => MysqlSource::table(table.name).columns(columns).filter(&condition).money(),
        // An item has the date of its order.
        "order_items" if !days.is_all() => {
            let columns = columns.map(|column| format!("i.{column}")).collect::<Vec<_>>().join(", ");
            let items = "order_items i join orders on order_id = order_item_order_id";
            MysqlSource::query(&format!("select {columns} from {items} where {condition}")).money()
        }
        _ => MysqlSource::table(table.name).columns(columns).money(),
    }
}
