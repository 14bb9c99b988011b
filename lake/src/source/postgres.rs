//! Postgres: a table or a query as a stream of batches, by `copy` in its binary form.

mod decode;

pub use decode::type_of;

use crate::batches::{BATCH_ROWS, Batches};
use anyhow::Context;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use decode::Rows;
use futures::StreamExt;
use orch_core::task::{Connection, TaskResult, fatal};
use orch_store::connect;
use sqlx::{AssertSqlSafe, Column, Connection as _, Executor, PgConnection, SqlSafeStr, Statement, TypeInfo};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The binary form counts from 2000-01-01.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is read, and as which types.
#[derive(Debug, Clone)]
pub struct Read {
    what: What,
    casts: BTreeMap<String, DataType>,
    batch_rows: usize,
}

#[derive(Debug, Clone)]
enum What {
    Table { schema: String, table: String },
    Query(String),
}

impl Read {
    pub fn table(schema: &str, table: &str) -> Read {
        Read::new(What::Table { schema: schema.into(), table: table.into() })
    }

    /// What a statement gives. It takes no params: `copy` has none.
    pub fn query(statement: &str) -> Read {
        Read::new(What::Query(statement.trim().trim_end_matches(';').into()))
    }

    fn new(what: What) -> Read {
        Read { what, casts: BTreeMap::new(), batch_rows: BATCH_ROWS }
    }

    /// How a column of a query is read: `numeric` without its precision needs this.
    #[must_use]
    pub fn cast(mut self, column: &str, to: DataType) -> Read {
        self.casts.insert(column.into(), to);
        self
    }

    /// Rows in a batch.
    #[must_use]
    pub fn batch_rows(mut self, rows: usize) -> Read {
        self.batch_rows = rows.max(1);
        self
    }

    fn statement(&self) -> String {
        match &self.what {
            What::Table { schema, table } => format!("select * from {}", name_of(schema, table)),
            // What follows a comment at the end of the statement must stand on a line of its own.
            What::Query(statement) => format!("{statement}\n"),
        }
    }
}

fn name_of(schema: &str, table: &str) -> String {
    format!("{}.{}", crate::load::quoted(schema), crate::load::quoted(table))
}

/// A session at the database of a connection.
///
/// # Errors
/// A fatal error when the connection is for something else or its account is refused; an error when nobody answers.
pub async fn connect(connection: &Connection) -> TaskResult<PgConnection> {
    let (id, options) = (&connection.id, connect::outside(connection, None)?);
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options));
    let place = format!("{}:{}", options.get_host(), options.get_port());
    match connecting.await {
        Ok(Ok(db)) => Ok(db),
        // 28: the account; 3D: no such database.
        Ok(Err(sqlx::Error::Database(refused)))
            if refused.code().is_some_and(|code| code.starts_with("28") || code == "3D000") =>
        {
            Err(fatal(format!(
                "the Postgres server at {place} refuses connection `{id}`: {}\n\
                 hint: look at login, password and schema of the connection: `orch connections get {id}`",
                refused.message()
            )))
        }
        Ok(Err(error)) => Err(error).with_context(|| {
            format!(
                "cannot reach the Postgres server of connection `{id}` at {place}\n\
                 hint: is it running, and is the address right? `orch connections get {id}`"
            )
        }),
        Err(_) => anyhow::bail!("the Postgres server of connection `{id}` does not answer at {place}"),
    }
}

/// Opens a session and begins to read.
///
/// # Errors
/// As [`connect`]; there is no such table, the statement is wrong, or a type cannot be read.
pub async fn read(connection: &Connection, read: Read) -> TaskResult<Batches> {
    let mut db = connect(connection).await?;
    let schema = schema(&mut db, connection, &read).await?;
    let mut rows = Rows::of(schema.clone(), read.batch_rows)?;
    let copy = format!("copy ({}) to stdout (format binary)", read.statement());
    Ok(Batches::read_ahead(schema, |taker| async move {
        let mut pieces = db.copy_out_raw(&copy).await?;
        while let Some(piece) = pieces.next().await {
            rows.push(&piece?);
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

async fn schema(db: &mut PgConnection, connection: &Connection, read: &Read) -> TaskResult<SchemaRef> {
    let columns = match &read.what {
        What::Table { schema, table } => declared(db, connection, schema, table).await?,
        What::Query(statement) => described(db, statement).await?,
    };
    let fields = columns.into_iter().map(|(name, has, required)| {
        let cast = read.casts.get(&name).cloned();
        let kept = match cast {
            Some(cast) => cast,
            None => decode::type_of(&has).ok_or_else(|| unreadable(&name, &has))?,
        };
        Ok(Field::new(name, kept, !required))
    });
    Ok(Arc::new(Schema::new(fields.collect::<TaskResult<Vec<Field>>>()?)))
}

fn unreadable(name: &str, has: &str) -> anyhow::Error {
    fatal(format!(
        "column `{name}` of type `{has}` has no type here\n\
         hint: `numeric` needs its precision: `.cast(\"{name}\", DataType::Decimal128(12, 2))`; others go as `::text`"
    ))
}

/// Name, type and "not null" of each column.
type Declared = Vec<(String, String, bool)>;

async fn declared(db: &mut PgConnection, connection: &Connection, schema: &str, table: &str) -> TaskResult<Declared> {
    let columns: Declared = sqlx::query_as(
        "select attname::text, format_type(atttypid, atttypmod), attnotnull from pg_attribute \
         where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum",
    )
    .bind(name_of(schema, table))
    .fetch_all(&mut *db)
    .await?;
    if !columns.is_empty() {
        return Ok(columns);
    }
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = to_regnamespace($1) \
                            and relkind in ('r', 'v', 'm', 'p', 'f') order by relname limit 20",
    )
    .bind(crate::load::quoted(schema))
    .fetch_all(db)
    .await?;
    let hint =
        if tables.is_empty() { "that schema has none".into() } else { format!("its tables are {}", tables.join(", ")) };
    Err(fatal(format!("connection `{}` has no table `{schema}.{table}`\nhint: {hint}", connection.id)))
}

async fn described(db: &mut PgConnection, statement: &str) -> TaskResult<Declared> {
    let prepared = db.prepare(AssertSqlSafe(statement).into_sql_str()).await;
    let prepared = prepared.map_err(|error| match error.as_database_error() {
        Some(refused) => fatal(format!("the database refuses the query: {}", refused.message())),
        None => error.into(),
    })?;
    let columns = prepared.columns().iter();
    Ok(columns.map(|column| (column.name().into(), column.type_info().name().to_lowercase(), false)).collect())
}
