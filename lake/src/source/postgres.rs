//! Reads tables and query results of Postgres as a stream of batches, using binary `copy`.

mod columns;
mod decode;
pub mod replication;
mod session;
mod visible;

pub use decode::type_of;
pub(crate) use session::without_rows;
pub use session::{Session, connect};
pub use visible::Visible;

use crate::{
    batches::{BATCH_ROWS, Batches},
    boxed,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use decode::Rows;
use futures::StreamExt;
use orch_sdk::task::{Connection, TaskResult, fatal};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use tokio_postgres::Client;

/// The epoch of Postgres, 2000-01-01, in days since the Unix epoch. Dates and timestamps of the binary format are
/// relative to it.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A table or query to read from Postgres, with type casts.
#[derive(Debug, Clone)]
pub struct PostgresSource {
    what: PostgresRelation,
    casts: BTreeMap<String, DataType>,
    batch_rows: usize,
}

#[derive(Debug, Clone)]
enum PostgresRelation {
    Table { schema: String, table: String },
    Columns { schema: String, table: String, columns: SchemaRef },
    Query(String),
}

impl PostgresSource {
    pub fn table(schema: &str, table: &str) -> PostgresSource {
        PostgresSource::new(PostgresRelation::Table { schema: schema.into(), table: table.into() })
    }

    /// Reads columns of a table and casts them to the types of the schema `columns`. Columns that the table lacks are
    /// null. `NaN` decimals and infinite times become null.
    pub fn columns(schema: &str, table: &str, columns: SchemaRef) -> PostgresSource {
        PostgresSource::new(PostgresRelation::Columns { schema: schema.into(), table: table.into(), columns })
    }

    /// Reads the result of a SQL statement. Parameters are not supported because `copy` does not accept them.
    pub fn query(statement: &str) -> PostgresSource {
        PostgresSource::new(PostgresRelation::Query(statement.trim().trim_end_matches(';').into()))
    }

    fn new(what: PostgresRelation) -> PostgresSource {
        PostgresSource { what, casts: BTreeMap::new(), batch_rows: BATCH_ROWS }
    }

    /// Casts a column of a query to a type. Required for `numeric` columns without a precision.
    #[must_use]
    pub fn cast(mut self, column: &str, to: DataType) -> PostgresSource {
        self.casts.insert(column.into(), to);
        self
    }

    /// Sets the maximum number of rows per batch.
    #[must_use]
    pub fn batch_rows(mut self, rows: usize) -> PostgresSource {
        self.batch_rows = rows.max(1);
        self
    }

    async fn prepare(&self, db: &Client, connection: &Connection) -> TaskResult<(SchemaRef, String)> {
        match &self.what {
            PostgresRelation::Table { schema, table } => {
                let has = declared(db, connection, schema, table).await?;
                Ok((self.schema(has)?, format!("select * from {}", name_of(schema, table))))
            }
            PostgresRelation::Columns { schema, table, columns } => {
                let has = declared(db, connection, schema, table).await?;
                let has = |name: &String| has.iter().find(|(has, ..)| has == name).map(|(_, has, _)| has.as_str());
                let given = columns.fields().iter().map(|field| columns::expression(field, has(field.name())));
                let given = given.collect::<TaskResult<Vec<_>>>()?.join(", ");
                Ok((columns.clone(), format!("select {given} from {}", name_of(schema, table))))
            }
            // If the statement ends with a `--` comment, the line break ends it before the closing parenthesis.
            PostgresRelation::Query(statement) => {
                Ok((self.schema(described(db, statement).await?)?, format!("{statement}\n")))
            }
        }
    }

    fn schema(&self, columns: Declared) -> TaskResult<SchemaRef> {
        let fields = columns.into_iter().map(|(name, has, required)| {
            let cast = self.casts.get(&name).cloned();
            let kept = match cast {
                Some(cast) => cast,
                None => decode::type_of(&has).ok_or_else(|| unreadable(&name, &has))?,
            };
            Ok(Field::new(name, kept, !required))
        });
        Ok(Arc::new(Schema::new(fields.collect::<TaskResult<Vec<Field>>>()?)))
    }
}

fn name_of(schema: &str, table: &str) -> String {
    format!("{}.{}", crate::load::quoted(schema), crate::load::quoted(table))
}

/// Opens a session and starts reading.
///
/// # Errors
/// Returns the same errors as [`connect`], and an error if the table does not exist, the statement is invalid, or a
/// type is not supported.
#[boxed]
pub async fn read(connection: &Connection, read: PostgresSource) -> TaskResult<Batches> {
    let db = connect(connection).await?;
    begin(db, connection, read).await
}

/// Like [`read`], but also returns which transactions are included in the rows.
///
/// # Errors
/// Returns the same errors as [`read`].
#[boxed]
pub async fn copy(connection: &Connection, read: PostgresSource) -> TaskResult<(Visible, Batches)> {
    let db = connect(connection).await?;
    // Uses the insert position (on a standby, the replay position) because a change can be visible before its WAL is
    // flushed. The flush position could be before visible changes.
    let seen = "select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end
        || ' ' || pg_current_snapshot()";
    // Makes the text format of values the same as in replication, regardless of the database's settings.
    db.batch_execute(
        "begin isolation level repeatable read read only; set local datestyle = 'ISO'; set local intervalstyle = 'postgres';
        set local timezone = 'UTC'; set local extra_float_digits = 3",
    )
    .await?;
    let seen: String = db.query_one(seen, &[]).await?.get(0);
    Ok((seen.parse()?, begin(db, connection, read).await?))
}

async fn begin(db: Session, connection: &Connection, read: PostgresSource) -> TaskResult<Batches> {
    let (schema, statement) = read.prepare(&db, connection).await?;
    let mut rows = Rows::of(schema.clone(), read.batch_rows)?;
    let copy = format!("copy ({statement}) to stdout (format binary)");
    Ok(Batches::read_ahead(schema, |taker| async move {
        let mut pieces = pin!(db.copy_out(&copy).await?);
        while let Some(piece) = pieces.next().await {
            rows.push(&piece.map_err(|error| without_rows(error.into()))?);
            while let Some(batch) = rows.full()? {
                if !taker.take(batch).await {
                    return Ok(());
                }
            }
        }
        if let Some(batch) = rows.rest()? {
            taker.take(batch).await;
        }
        Ok(())
    }))
}

fn unreadable(name: &str, has: &str) -> anyhow::Error {
    fatal(format!(
        "column `{name}` of type `{has}` has no type here\n\
         hint: `numeric` needs its precision: `.cast(\"{name}\", DataType::Decimal128(12, 2))`; others go as `::text`"
    ))
}

/// Name, type and `not null` of each column.
pub(crate) type Declared = Vec<(String, String, bool)>;

async fn declared(db: &Client, connection: &Connection, schema: &str, table: &str) -> TaskResult<Declared> {
    let columns = declared_columns(db, &name_of(schema, table)).await?;
    if !columns.is_empty() {
        return Ok(columns);
    }
    let tables = "select relname::text from pg_class where relnamespace = to_regnamespace($1) \
                  and relkind in ('r', 'v', 'm', 'p', 'f') order by relname limit 20";
    let tables = db.query(tables, &[&crate::load::quoted(schema)]).await?;
    let tables: Vec<&str> = tables.iter().map(|row| row.get(0)).collect();
    let hint =
        if tables.is_empty() { "that schema has none".into() } else { format!("its tables are {}", tables.join(", ")) };
    Err(fatal(format!("connection `{}` has no table `{schema}.{table}`\nhint: {hint}", connection.id)))
}

/// Returns the columns of a table. `name` is quoted. The result is empty if the table does not exist.
pub(crate) async fn declared_columns(db: &Client, name: &str) -> TaskResult<Declared> {
    let columns = "select attname::text, format_type(atttypid, atttypmod), attnotnull from pg_attribute \
                   where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum";
    let columns = db.query(columns, &[&name]).await?;
    Ok(columns.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Returns the columns of a query, with types as they are declared in tables. A `numeric` column keeps its precision.
async fn described(db: &Client, statement: &str) -> TaskResult<Declared> {
    let prepared = db.prepare(statement).await.map_err(|error| match error.as_db_error() {
        Some(refused) => fatal(format!("the database refuses the query: {}", refused.message())),
        None => error.into(),
    })?;
    let columns = prepared.columns();
    let types: Vec<u32> = columns.iter().map(|column| column.type_().oid()).collect();
    let modifiers: Vec<i32> = columns.iter().map(tokio_postgres::Column::type_modifier).collect();
    let names = "select format_type(kind, modifier) from unnest($1::oid[], $2::int4[]) \
                 with ordinality as one (kind, modifier, place) order by place";
    let names = db.query(names, &[&types, &modifiers]).await?;
    Ok(columns.iter().zip(&names).map(|(column, name)| (column.name().into(), name.get(0), false)).collect())
}
