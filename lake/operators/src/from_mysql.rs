//! Copies MySQL tables and query results to objects of a bucket.

use crate::rows::{Format, ObjectLocation};
use orch::{BoxFuture, Call, Ctx, Operator, TaskResult, fatal};
use orch_lake::format::WrittenObject;
use orch_lake::source::mysql::{self, MysqlSource};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MysqlToBucket {
    /// Id of a connection of type `mysql`.
    pub connection: String,
    /// Table to read completely. Mutually exclusive with `query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Converts `float` and `double` columns, which hold amounts of money, to `decimal(12, 2)`.
    #[serde(default)]
    pub money: bool,
    pub to: ObjectLocation,
    /// Default: by the extension of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
}

/// Copies a table or a query result to an object. Creates the bucket if it does not exist. The object appears when
/// all rows are written.
#[track_caller]
pub fn mysql_to_bucket<'d>(transfer: MysqlToBucket) -> Call<'d, WrittenObject> {
    transfer.call()
}

impl MysqlToBucket {
    pub fn table(connection: &str, table: &str, to: ObjectLocation) -> MysqlToBucket {
        let (connection, table) = (connection.into(), Some(table.into()));
        MysqlToBucket { connection, table, query: None, money: false, to, format: None }
    }

    pub fn query(connection: &str, query: &str, to: ObjectLocation) -> MysqlToBucket {
        let (connection, query) = (connection.into(), Some(query.into()));
        MysqlToBucket { connection, table: None, query, money: false, to, format: None }
    }

    /// Converts `float` and `double` columns, which hold amounts of money, to `decimal(12, 2)`.
    #[must_use]
    pub fn money(mut self) -> MysqlToBucket {
        self.money = true;
        self
    }

    /// Sets the format. Default: by the extension of the key.
    #[must_use]
    pub fn format(mut self, format: Format) -> MysqlToBucket {
        self.format = Some(format);
        self
    }
}

async fn go(transfer: MysqlToBucket, ctx: &Ctx) -> TaskResult<WrittenObject> {
    let read = match (&transfer.table, &transfer.query) {
        (Some(table), None) => MysqlSource::table(table),
        (None, Some(query)) => MysqlSource::query(query),
        _ => return Err(fatal("a `mysql_to_bucket` task needs a `table` or a `query`, not both")),
    };
    let format = Format::of(transfer.format, &transfer.to.key)?;
    let bucket = transfer.to.bucket(ctx).await?;
    bucket.ensure().await?;
    let read = if transfer.money { read.money() } else { read };
    let rows = mysql::read(&ctx.connection(&transfer.connection).await?, read).await?;
    let written = format.write(&bucket, &transfer.to.key, rows.report_progress(ctx)).await?;
    ctx.info(format!("{} rows, {} bytes in `{}`", written.rows, written.bytes, written.location));
    Ok(written)
}

impl Operator for MysqlToBucket {
    const KIND: &'static str = "mysql_to_bucket";
    type Output = WrittenObject;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<WrittenObject>> {
        Box::pin(async move { go(self, &ctx).await })
    }
}
