//! MySQL as a source, tested with MariaDB.

use crate::support::{is_fatal, lines, words};
use arrow::datatypes::{DataType, TimeUnit};
use futures::TryStreamExt;
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Options};
use orch_lake::format::parquet;
use orch_lake::source::mysql::{MysqlSource, Server, read};
use orch_sdk::task::{Connection, MemoryHost, TaskResult};
use orch_test_lake::{MariaDb, mariadb};
use serde_json::json;
use tempfile::TempDir;

const RETAIL: &str = "
create table order_items (
  order_item_id int not null primary key, order_item_order_id int not null, order_item_quantity tinyint not null,
  order_item_subtotal float not null);
create table orders (
  order_id int unsigned not null primary key, order_date datetime not null, order_status varchar(45),
  seen timestamp null,   day date null, amount decimal(12,2) null, big bigint unsigned null, raw varbinary(8) null, took time null,
  ratio double null, kind enum('a','b') null);
insert into order_items values (1, 1, 1, 299.98), (2, 2, -5, 199.99), (3, 2, 127, 250);
insert into orders values
  (1, '2013-07-25 00:00:00', 'CLOSED', '2014-01-01 12:00:00.5', '2013-07-25', -12.30, 18446744073709551615, x'00ff',
   '-25:00:01', 0.5, 'a'),
  (4294967295, '2013-07-25 23:59:59.25', null, null, null, null, null, null, null, null, null);
";

async fn retail() -> (&'static MariaDb, Connection) {
    let server = mariadb().await;
    let connection = server.database().await;
    server.run_statements(&connection, RETAIL).await;
    (server, connection)
}

async fn rows(batches: Batches) -> Vec<String> {
    lines(&batches.collect().await.expect("rows"))
}

#[tokio::test]
async fn a_table_has_the_types_of_the_server() {
    let (_, connection) = retail().await;
    let orders = read(&connection, MysqlSource::table("orders")).await.expect("it is there");
    let moment = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let expected = [
        ("order_id", DataType::Int64, false),
        ("order_date", moment(None), true),
        ("order_status", DataType::Utf8, true),
        ("seen", moment(Some("+00:00")), true),
        ("day", DataType::Date32, true),
        ("amount", DataType::Decimal128(12, 2), true),
        ("big", DataType::Decimal128(20, 0), true),
        ("raw", DataType::Binary, true),
        ("took", DataType::Utf8, true),
        ("ratio", DataType::Float64, true),
        ("kind", DataType::Utf8, true),
    ];
    let schema = orders.schema();
    let found =
        schema.fields().iter().map(|field| (field.name().as_str(), field.data_type().clone(), field.is_nullable()));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let expected = [
        "1 | 2013-07-25T00:00:00 | CLOSED | 2014-01-01T12:00:00Z | 2013-07-25 | -12.30 | 18446744073709551615 | 00ff | \
         -025:00:01 | 0.5 | a",
        "4294967295 | 2013-07-25T23:59:59 | - | - | - | - | - | - | - | - | -",
    ];
    assert_eq!(rows(orders).await, expected);
}

#[tokio::test]
async fn floats_are_read_as_money_where_that_is_asked_for() {
    let (_, connection) = retail().await;
    let items = read(&connection, MysqlSource::table("order_items").money()).await.expect("it is there");
    assert_eq!(rows(items).await, ["1 | 1 | 1 | 299.98", "2 | 2 | -5 | 199.99", "3 | 2 | 127 | 250.00"]);
    let wanted = MysqlSource::table("order_items")
        .columns(["order_item_subtotal"])
        .cast("order_item_subtotal", DataType::Float64);
    let one = read(&connection, wanted.filter("order_item_id = ?").param(1)).await.expect("it is there");
    assert_eq!(rows(one).await, ["299.9800109863281"]);
}

#[tokio::test]
async fn a_query_is_read_with_its_params() {
    let (_, connection) = retail().await;
    let query = MysqlSource::query(
        "select order_item_order_id as o, count(*) as n from order_items where order_item_id > ? group by 1",
    );
    assert_eq!(rows(read(&connection, query.param(1)).await.expect("rows")).await, ["2 | 2"]);
    let none = read(&connection, MysqlSource::query("select 1 as n from order_items where false")).await.expect("rows");
    assert_eq!(none.collect().await.expect("a batch").num_rows(), 0);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_names_and_not_tried_again() {
    let (_, connection) = retail().await;
    let on = |change: fn(&mut Connection)| {
        let mut connection = connection.clone();
        change(&mut connection);
        connection
    };
    let table = || MysqlSource::table("orders");
    for (connection, what, told) in [
        (connection.clone(), MysqlSource::table("order"), "has no table `order`: "),
        (connection.clone(), MysqlSource::table("order"), "hint: its tables are `orders`, `order_items`"),
        (connection.clone(), table().columns(["order_id", "cost"]), "table `orders`"),
        (connection.clone(), table().columns(["cost"]), "hint: its columns are `order_id`, `order_date`"),
        (connection.clone(), table().cast("cost", DataType::Int32), "there is no column `cost`"),
        (connection.clone(), MysqlSource::query("selec 1"), "refuses the query"),
        (on(|c| c.password = Some("hush".into())), table(), "refuses connection `retail_mysql`"),
        (on(|c| c.schema = Some("none".into())), table(), "none"),
        (on(|c| c.conn_type = "postgres".into()), table(), "not `mysql`"),
        (on(|c| drop(c.extra.insert("ssl_mode".into(), "maybe".into()))), table(), "hint: it is one of DISABLED"),
    ] {
        let error = read(&connection, what).await.expect_err(told);
        let said = words(&error);
        assert!(said.contains(told) && !said.contains("hush"), "{said}");
        assert!(is_fatal(error), "{said}");
    }
}

#[tokio::test]
async fn values_that_do_not_fit_are_told_with_column_and_row() {
    let (server, connection) = retail().await;
    server.run_statements(&connection, "create table odd (n bigint); insert into odd values (1), (5000000000)").await;
    let numbers = MysqlSource::table("odd").columns(["n"]).cast("n", DataType::Int32);
    let said =
        words(&read(&connection, numbers).await.expect("it is there").collect().await.expect_err("it is too large"));
    assert!(said.contains("column `n`, row 2: `5000000000` is not a number of 32 bits"), "{said}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_and_may_come_back() {
    let closed = Connection::from_uri("retail_mysql", "mysql://me:hush@127.0.0.1:1/db").expect("a URI");
    let error = read(&closed, MysqlSource::table("orders")).await.expect_err("the port is closed");
    let said = words(&error);
    assert!(said.contains("cannot reach the MySQL server of connection `retail_mysql` at 127.0.0.1:1"), "{said}");
    assert!(!said.contains("hush") && !is_fatal(error), "{said}");
}

/// A query for a million rows that the server generates.
const MILLION: &str = "select a.n * 1000 + b.n as id, a.n as part, 0.5e0 as price from
    (select seq as n from seq_0_to_999) a, (select seq as n from seq_0_to_999) b";

#[tokio::test]
async fn a_million_rows_go_into_parquet_in_flat_memory() {
    let (_, connection) = retail().await;
    let folder = TempDir::new().expect("a folder");
    let bucket = Bucket::open(&format!("file://{}", folder.path().display()), &Options::default()).expect("a folder");
    let before = resident_mb();
    let host = MemoryHost::new();
    let million = read(&connection, MysqlSource::query(MILLION)).await.expect("rows").report_progress(&host.ctx());
    let written = parquet::write(&bucket, "million.parquet", million).await.expect("it can be written");
    let grown = resident_mb().saturating_sub(before);
    assert_eq!(written.rows, 1_000_000);
    assert_eq!(host.last_progress().0, 1_000_000);
    // All rows together would take 20 MB in Arrow and ten times as much as rows. Other tests run in the same process.
    assert!(grown < 150, "{grown} MB more than before");
    let read = parquet::read(&bucket, "million.parquet").await.expect("it is there");
    assert_eq!(read.try_fold(0, |n, b| async move { Ok(n + b.num_rows()) }).await.expect("rows"), 1_000_000);
}

#[tokio::test]
async fn a_session_is_encrypted_when_its_connection_says_so() {
    let server = mariadb().await;
    let plain = server.database().await;
    let with = |ssl: serde_json::Value| {
        let mut connection = plain.clone();
        connection.extra.insert("ssl".into(), ssl);
        connection
    };
    let cipher = async |connection: &Connection| {
        let status = MysqlSource::query(
            "select length(variable_value) > 0 as is_encrypted from information_schema.session_status where variable_name = 'Ssl_cipher'",
        );
        let rows = read(connection, status).await?.collect().await?;
        TaskResult::Ok(lines(&rows).join(""))
    };
    let ca = server.certificate().display().to_string();
    assert_eq!(cipher(&plain).await.expect("rows"), "0");
    assert_eq!(cipher(&with(json!({"ca": ca, "name": "db.example"}))).await.expect("its root is known"), "1");
    // The certificate is for another name, and its issuer is not trusted.
    for connection in [with(json!({"ca": ca})), with(json!(true))] {
        let error = cipher(&connection).await.expect_err("it cannot be trusted");
        assert!(words(&error).to_lowercase().contains("certificate"), "{}", words(&error));
    }
}

#[tokio::test]
async fn a_reader_that_is_dropped_ends_its_query_at_the_server() {
    let server = mariadb().await;
    let connection = server.database().await;
    let endless = "select a.seq, 'a reader that is dropped' as mark from seq_0_to_9999999 a, seq_0_to_9999999 b";
    let mut rows = read(&connection, MysqlSource::query(endless)).await.expect("rows");
    assert!(rows.try_next().await.expect("a batch").is_some());
    let running = || async {
        let like = "select id from information_schema.processlist where info like 'select a.seq, ''a reader that%'";
        let found = read(&connection, MysqlSource::query(like)).await.expect("rows").collect().await.expect("rows");
        found.num_rows()
    };
    assert_eq!(running().await, 1);
    drop(rows);
    while running().await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cancelled_task_stops_reading_also_from_a_silent_server() {
    let (_, connection) = retail().await;
    let host = MemoryHost::new();
    let slow = MysqlSource::query("select order_item_id, sleep(100) as s from order_items").batch_rows(1);
    let mut rows = read(&connection, slow).await.expect("rows").report_progress(&host.ctx());
    let (next, ()) = tokio::join!(rows.try_next(), async { host.cancel() });
    assert!(words(&next.expect_err("it was cancelled")).contains("cancelled after 0 rows"));
}

#[tokio::test]
async fn a_server_that_is_killed_breaks_the_stream() {
    let server = MariaDb::start().await;
    let connection = server.database().await;
    let endless = "select a.seq from seq_0_to_9999999 a, seq_0_to_9999999 b";
    let mut rows = read(&connection, MysqlSource::query(endless)).await.expect("rows");
    assert!(rows.try_next().await.expect("a batch").is_some());
    drop(server);
    let error = loop {
        match rows.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it has no end"),
            Err(error) => break error,
        }
    };
    assert!(words(&error).contains("reading the query broke off after"), "{}", words(&error));
    assert!(!is_fatal(error));
}

#[tokio::test]
async fn the_schema_is_told_without_reading() {
    let (_, connection) = retail().await;
    let server = Server::of(&connection).expect("it is MySQL");
    let schema = server.schema(&MysqlSource::table("order_items").money()).await.expect("it is there");
    assert_eq!(schema.field(3).data_type(), &DataType::Decimal128(12, 2));
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}
