//! The target table of a load. It is created if it is missing, and extended by new columns. The load is rejected if
//! column types differ. Names of tables and columns cannot be bound as parameters, so they are always quoted.

use super::types::{names, quoted, type_of};
use super::{Load, shared};
use crate::source::postgres::declared_columns;
use arrow::datatypes::{Field, SchemaRef};
use orch_sdk::task::{TaskResult, fatal};
use tokio_postgres::{Client, Error};

/// Whether [`prepare`] found or created the target table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The table was created in this transaction.
    New,
    Known,
}

/// Locks the table name until the end of the transaction, so that loads into the table run one after the other. The
/// name can be locked before the table exists.
pub(super) async fn lock(load: &Load, db: &Client) -> TaskResult<()> {
    db.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&load.name()]).await?;
    Ok(())
}

pub(super) async fn is_there(load: &Load, db: &Client) -> TaskResult<bool> {
    Ok(shared::is_there(&load.schema, &load.table, db).await?)
}

/// Creates the target table, or adds the columns that it lacks.
pub(super) async fn prepare(load: &Load, schema: &SchemaRef, db: &Client) -> TaskResult<State> {
    let there = declared_columns(db, &load.name()).await?;
    if there.is_empty() {
        create(load, schema, db).await?;
        add_key(load, db).await?;
        return Ok(State::New);
    }
    let name = load.name();
    for field in schema.fields() {
        let wanted = type_of(field)?;
        match there.iter().find(|(column, ..)| column == field.name()) {
            Some((_, has, _)) if *has == wanted => {}
            Some((column, has, _)) => {
                return Err(fatal(format!(
                    "column `{column}` of {name} is `{has}`, but the rows have `{wanted}`\n\
                     hint: change the column (`alter table {name} alter column {} type {wanted}`), or cast the rows",
                    quoted(column)
                )));
            }
            None => {
                db.batch_execute(&format!("alter table {name} add column {} {wanted}", quoted(field.name()))).await?;
            }
        }
    }
    let known = |column: &str| schema.column_with_name(column).is_some();
    if let Some((column, ..)) = there.iter().find(|(column, _, required)| *required && !known(column)) {
        return Err(fatal(format!(
            "column `{column}` of {name} must not be null, and the rows have no such column\n\
             hint: `alter table {name} alter column {} drop not null`, or add it to the rows",
            quoted(column)
        )));
    }
    Ok(State::Known)
}

/// Creates the target table without its primary key.
pub(super) async fn create(load: &Load, schema: &SchemaRef, db: &Client) -> TaskResult<()> {
    let columns = schema.fields().iter().map(|field| column(field)).collect::<TaskResult<Vec<_>>>()?;
    Ok(db.batch_execute(&format!("create table {} ({})", load.name(), columns.join(", "))).await?)
}

pub(super) async fn add_key(load: &Load, db: &Client) -> Result<(), Error> {
    if load.key.is_empty() {
        return Ok(());
    }
    db.batch_execute(&format!("alter table {} add primary key ({})", load.name(), names(&load.key))).await
}

/// Returns the SQL definition of a column.
pub(super) fn column(field: &Field) -> TaskResult<String> {
    let required = if field.is_nullable() { "" } else { " not null" };
    Ok(format!("{} {}{required}", quoted(field.name()), type_of(field)?))
}

/// Creates the views that serve as aliases of the table. An existing view is replaced only if the table has new
/// columns, because replacing a view blocks its readers.
pub(super) async fn show(load: &Load, db: &Client) -> TaskResult<()> {
    for view in &load.views {
        let name = format!("{}.{}", quoted(&load.schema), quoted(view));
        let found = "select relkind::text, (select count(*) from pg_attribute where attrelid = v.oid and attnum > 0) = \
             (select count(*) from pg_attribute where attrelid = to_regclass($2) and attnum > 0 and not attisdropped) \
             from pg_class v where v.oid = to_regclass($1)";
        let found = db.query_opt(found, &[&name, &load.name()]).await?;
        match found.map(|view| (view.get::<_, String>(0), view.get::<_, bool>(1))) {
            Some((kind, _)) if kind != "v" => {
                return Err(fatal(format!(
                    "{name} is to be a view of {}, but there is a table by that name\nhint: drop or rename it",
                    load.name()
                )));
            }
            Some((_, true)) => {}
            _ => db.batch_execute(&format!("create or replace view {name} as select * from {}", load.name())).await?,
        }
    }
    Ok(())
}
