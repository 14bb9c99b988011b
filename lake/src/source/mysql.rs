//! MySQL and MariaDB: a table or a query as a stream of batches, typed by what the server says of its columns.
//!
//! The server sends values in its binary form; they go into arrow's builders row by row, and no more than one batch is
//! held. A reader that is dropped closes its connection, and the server stops sending.

mod ask;
pub mod binlog;
mod columns;
mod errors;
mod numbers;
mod session;
mod tls;

pub use ask::StatementResult;
pub use session::Server;

use crate::{
    batches::{BATCH_ROWS, Batches},
    boxed,
};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use columns::Columns;
use errors::{ErrorSubject, statement_error};
use mysql_async::prelude::Queryable;
use mysql_async::{BinaryProtocol, Params, QueryResult, Value};
use orch_sdk::task::{Connection, TaskResult};
use session::Session;
use std::collections::BTreeMap;

/// What is read, and as which types.
#[derive(Debug, Clone)]
pub struct MysqlSource {
    from: MysqlRelation,
    columns: Vec<String>,
    filter: Option<String>,
    params: Vec<Value>,
    casts: BTreeMap<String, DataType>,
    is_money: bool,
    batch_rows: usize,
}

#[derive(Debug, Clone)]
enum MysqlRelation {
    Table(String),
    Query(String),
}

/// Opens a connection and begins to read.
///
/// # Errors
/// The server cannot be reached, refuses the account, or has no such table or column.
#[boxed]
pub async fn read(connection: &Connection, read: MysqlSource) -> TaskResult<Batches> {
    Server::of(connection)?.read(read).await
}

impl MysqlSource {
    /// All rows of a table: `orders`, or `retail.orders` of another database.
    pub fn table(name: &str) -> MysqlSource {
        MysqlSource::new(MysqlRelation::Table(name.into()))
    }

    /// What a statement gives, with `?` where a param goes.
    pub fn query(statement: &str) -> MysqlSource {
        MysqlSource::new(MysqlRelation::Query(statement.into()))
    }

    fn new(from: MysqlRelation) -> MysqlSource {
        MysqlSource {
            from,
            columns: Vec::new(),
            filter: None,
            params: Vec::new(),
            casts: BTreeMap::new(),
            is_money: false,
            batch_rows: BATCH_ROWS,
        }
    }

    /// Only these columns of the table, in this order.
    #[must_use]
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> MysqlSource {
        self.columns = names.into_iter().map(Into::into).collect();
        self
    }

    /// Only some rows of the table: `order_id > ?`, with a param for each `?`.
    #[must_use]
    pub fn filter(mut self, condition: &str) -> MysqlSource {
        self.filter = Some(condition.into());
        self
    }

    /// The next `?`.
    #[must_use]
    pub fn param(mut self, value: impl Into<Value>) -> MysqlSource {
        self.params.push(value.into());
        self
    }

    /// Amounts are kept in `float` and `double` columns: they become `decimal(12, 2)`, rounded from what the column
    /// holds (299.98 is kept as 299.9800109863281).
    #[must_use]
    pub fn money(mut self) -> MysqlSource {
        self.is_money = true;
        self
    }

    /// One column as another type than the server's.
    #[must_use]
    pub fn cast(mut self, column: &str, to: DataType) -> MysqlSource {
        self.casts.insert(column.into(), to);
        self
    }

    /// Rows in a batch.
    #[must_use]
    pub fn batch_rows(mut self, rows: usize) -> MysqlSource {
        self.batch_rows = rows.max(1);
        self
    }

    fn statement(&self) -> String {
        match &self.from {
            MysqlRelation::Query(statement) => statement.trim().trim_end_matches(';').to_string(),
            MysqlRelation::Table(table) => {
                let names: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
                let names = if names.is_empty() { "*".to_string() } else { names.join(", ") };
                let filter = self.filter.as_ref().map_or(String::new(), |filter| format!(" where {filter}"));
                let table: Vec<String> = table.split('.').map(quoted).collect();
                format!("select {names} from {}{filter}", table.join("."))
            }
        }
    }

    fn asked(&self) -> ErrorSubject<'_> {
        match &self.from {
            MysqlRelation::Query(_) => ErrorSubject::Query,
            MysqlRelation::Table(table) => ErrorSubject::Table(table),
        }
    }
}

/// A moment, a day or a span of time as the server writes it.
fn as_text(value: &Value) -> String {
    value.as_sql(true).trim_matches('\'').to_string()
}

/// As a name in a statement, whatever letters it has.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl Server {
    /// Begins to read.
    ///
    /// # Errors
    /// As the function [`read`].
    #[boxed]
    pub async fn read(&self, read: MysqlSource) -> TaskResult<Batches> {
        let mut session = self.session().await?;
        let statement = match session.conn().prep(read.statement()).await {
            Ok(statement) => statement,
            Err(error) => return Err(statement_error(error, self, &mut session, &read.asked()).await),
        };
        let columns = Columns::of(&statement.columns(), &read)?;
        let schema = columns.schema();
        let mut reading =
            MysqlCursor { session, columns, rows: 0, batch_rows: read.batch_rows, what: read.asked().to_string() };
        let server = self.clone();
        // The server may think for long before its first row: whoever takes the rows waits for it, and may stop to.
        Ok(Batches::read_ahead(schema, |taker| async move {
            let params = Params::from(read.params.clone());
            if let Err(error) = reading.session.conn().exec_iter(&statement, params).await.map(drop) {
                return Err(statement_error(error, &server, &mut reading.session, &read.asked()).await);
            }
            loop {
                let (batch, more) = reading.batch().await?;
                if batch.num_rows() > 0 && !taker.take(batch).await || !more {
                    return Ok(());
                }
            }
        }))
    }

    /// The columns of a table, as [`Server::read`] would give them.
    ///
    /// # Errors
    /// The server cannot be reached, refuses the account, or has no such table or column.
    #[boxed]
    pub async fn schema(&self, read: &MysqlSource) -> TaskResult<SchemaRef> {
        let mut session = self.session().await?;
        match session.conn().prep(read.statement()).await {
            Ok(statement) => Ok(Columns::of(&statement.columns(), read)?.schema()),
            Err(error) => Err(statement_error(error, self, &mut session, &read.asked()).await),
        }
    }
}

/// A result on its way.
struct MysqlCursor {
    session: Session,
    columns: Columns,
    rows: u64,
    batch_rows: usize,
    what: String,
}

impl MysqlCursor {
    /// The next batch, and whether more may follow.
    async fn batch(&mut self) -> TaskResult<(RecordBatch, bool)> {
        // The connection knows that it is in the middle of a result; this goes on reading it.
        let mut result: QueryResult<'_, '_, BinaryProtocol> = QueryResult::new(self.session.conn());
        for _ in 0..self.batch_rows {
            let row = result.next().await;
            let Some(row) = row.map_err(|error| errors::broken(error, &self.what, self.rows))? else {
                return Ok((self.columns.finish()?, false));
            };
            self.rows += 1;
            self.columns.push(&row, self.rows)?;
        }
        Ok((self.columns.finish()?, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_a_statement_with_quoted_names() {
        let read =
            MysqlSource::table("retail.orders").columns(["order_id", "odd`name"]).filter("order_id > ?").param(7);
        let expected = "select `order_id`, `odd``name` from `retail`.`orders` where order_id > ?";
        assert_eq!(read.statement(), expected);
        assert_eq!(MysqlSource::table("orders").statement(), "select * from `orders`");
        assert_eq!(MysqlSource::query("select 1; ").statement(), "select 1");
    }
}
