//! RetailDB in MySQL: complete, shared and read-only; or one month of it in a private database.

use crate::data;
use crate::data::Raw;
use orch::Connection;
use orch_dags::retail::tables;
use orch_test_lake::{MariaDb, mariadb, mariadb_with_changes};
use polars::prelude::*;
use std::os::unix::fs::PermissionsExt as _;
use tokio::sync::OnceCell;

const TABLES: &str = include_str!("../../../deploy/mysql/1-tables.sql");

/// First day (inclusive) and last day (exclusive) of the month that [`month`] contains.
pub(crate) const MONTH: (&str, &str) = ("2014-01-01", "2014-02-01");

/// Returns the complete database, which is shared and must not be written.
pub(crate) async fn whole() -> &'static Connection {
    static WHOLE: OnceCell<Connection> = OnceCell::const_new();
    WHOLE
        .get_or_init(|| async {
            let server = mariadb().await;
            let connection = server.database().await;
            fill(server, &connection).await;
            connection
        })
        .await
}

/// Returns the complete database on a server with a binlog.
pub(crate) async fn whole_with_changes() -> (&'static MariaDb, Connection) {
    let server = mariadb_with_changes().await;
    let connection = server.database().await;
    fill(server, &connection).await;
    (server, connection)
}

async fn fill(server: &MariaDb, connection: &Connection) {
    let folder = tempfile::tempdir().unwrap();
    // The server may run as another user, and must be able to read the files.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut script = TABLES.to_owned();
    for table in &tables::RAW {
        let path = folder.path().join(table.name);
        std::fs::write(&path, data::text(&format!("{}.csv", table.name))).unwrap();
        script += &format!(
            "load data infile '{}' into table {} character set utf8mb4 fields terminated by ',' \
                     optionally enclosed by '\"' escaped by '' lines terminated by '\\n';\n",
            path.display(),
            table.name
        );
    }
    server.run_statements(connection, &script).await;
}

/// Returns a private database with the orders of one month.
pub(crate) async fn month() -> Connection {
    let (whole, connection) = (whole().await, mariadb().await.database().await);
    let from = whole.schema.clone().unwrap();
    let mut script = TABLES.to_owned();
    for table in ["departments", "categories", "products", "customers"] {
        script += &format!("insert into {table} select * from {from}.{table};\n");
    }
    let (first, end) = MONTH;
    script += &format!(
        "insert into orders select * from {from}.orders where order_date >= '{first}' and order_date < '{end}';\n\
         insert into order_items select i.* from {from}.order_items i join orders on order_id = order_item_order_id;\n"
    );
    run_statements(&connection, &script).await;
    connection
}

pub(crate) async fn run_statements(connection: &Connection, statements: &str) {
    mariadb().await.run_statements(connection, statements).await;
}

/// Returns the same data as frames, with the orders of some days.
pub(crate) fn between(raw: &Raw, first: &str, end: &str) -> Raw {
    let day = |text: &str| lit(text.parse::<chrono::NaiveDate>().unwrap().and_hms_opt(0, 0, 0).unwrap());
    let within = col("order_date").gt_eq(day(first)).and(col("order_date").lt(day(end)));
    let orders = raw.orders.clone().lazy().filter(within);
    let ids = orders.clone().select([col("order_id")]);
    let items = raw.order_items.clone().lazy();
    let items = items.join(ids, [col("order_item_order_id")], [col("order_id")], JoinArgs::new(JoinType::Inner));
    Raw { orders: orders.collect().unwrap(), order_items: items.collect().unwrap(), ..raw.clone() }
}
