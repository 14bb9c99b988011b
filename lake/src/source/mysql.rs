//! Reads tables and query results of MySQL and MariaDB as a stream of Arrow batches. Column types come from the
//! server's column metadata.
//!
//! Values arrive in the binary protocol and are appended to Arrow builders row by row, so at most one batch is in
//! memory. Dropping the reader closes the connection, which makes the server stop sending.

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

/// A table or query to read from MySQL, with parameters and type casts.
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

/// Opens a connection and starts reading.
///
/// # Errors
/// Returns an error if the server cannot be reached, rejects the account, or lacks the table or a column.
#[boxed]
pub async fn read(connection: &Connection, read: MysqlSource) -> TaskResult<Batches> {
    Server::of(connection)?.read(read).await
}

impl MysqlSource {
    /// Reads all rows of a table: `orders` in the connection's database, or `retail.orders` in another database.
    pub fn table(name: &str) -> MysqlSource {
        MysqlSource::new(MysqlRelation::Table(name.into()))
    }

    /// Reads the result of a SQL statement in which `?` marks parameters.
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

    /// Reads only these columns of the table, in this order.
    #[must_use]
    pub fn columns<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> MysqlSource {
        self.columns = names.into_iter().map(Into::into).collect();
        self
    }

    /// Filters the rows of the table with a SQL condition such as `order_id > ?`. Set a parameter for each `?`.
    #[must_use]
    pub fn filter(mut self, condition: &str) -> MysqlSource {
        self.filter = Some(condition.into());
        self
    }

    /// Binds a value to the next `?` of the statement or filter.
    #[must_use]
    pub fn param(mut self, value: impl Into<Value>) -> MysqlSource {
        self.params.push(value.into());
        self
    }

    /// Converts `float` and `double` columns, which hold amounts of money, to `decimal(12, 2)`. Values are rounded: a
    /// `float` column stores 299.98 as 299.9800109863281.
    #[must_use]
    pub fn money(mut self) -> MysqlSource {
        self.is_money = true;
        self
    }

    /// Converts one column to a type that differs from the server's.
    #[must_use]
    pub fn cast(mut self, column: &str, to: DataType) -> MysqlSource {
        self.casts.insert(column.into(), to);
        self
    }

    /// Sets the maximum number of rows per batch.
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

/// Formats a timestamp, date or duration like the server does.
fn as_text(value: &Value) -> String {
    value.as_sql(true).trim_matches('\'').to_string()
}

/// Quotes an identifier. Backticks inside the name are doubled.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl Server {
    /// Starts reading.
    ///
    /// # Errors
    /// Same errors as the function [`read`].
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
        // The statement is executed inside the task that fills the stream. The server may need a long time to return
        // the first row, and the consumer may drop the stream before that.
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

    /// Returns the schema of the result of [`Server::read`] without running the statement.
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached, rejects the account, or lacks the table or a column.
    #[boxed]
    pub async fn schema(&self, read: &MysqlSource) -> TaskResult<SchemaRef> {
        let mut session = self.session().await?;
        match session.conn().prep(read.statement()).await {
            Ok(statement) => Ok(Columns::of(&statement.columns(), read)?.schema()),
            Err(error) => Err(statement_error(error, self, &mut session, &read.asked()).await),
        }
    }
}

struct MysqlCursor {
    session: Session,
    columns: Columns,
    rows: u64,
    batch_rows: usize,
    what: String,
}

impl MysqlCursor {
    /// Reads the next batch. Also returns true if more rows may follow.
    async fn batch(&mut self) -> TaskResult<(RecordBatch, bool)> {
        // Continues the open result set, whose state is kept by the connection.
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
