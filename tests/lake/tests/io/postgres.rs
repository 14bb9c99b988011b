//! Postgres as a source.

use crate::support::{database, is_fatal, lines, words};
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use orch_core::task::Connection;
use orch_lake::source::postgres::{Read, connect, read};
use sqlx::AssertSqlSafe;

async fn with(statements: &str) -> Connection {
    let connection = database().await;
    let mut db = connect(&connection).await.expect("the server answers");
    sqlx::raw_sql(AssertSqlSafe(statements.to_string())).execute(&mut db).await.expect("it can be done");
    connection
}

const TABLE: &str = "create table t (
    b boolean, i2 smallint, i4 integer not null, i8 bigint, f4 real, f8 double precision, n numeric(12,2), t text,
    c varchar(9), y bytea, u uuid, d date, h time, m timestamp, z timestamptz);
    insert into t values (true, -2, 4, 8, 0.5, 0.25, -299.98, 'ä', 'c', '\\x00ff',
    '00000000-0000-0000-0000-0000000000ff', '1969-12-31', '12:00', '2013-07-25 00:00:00.25', '2014-01-01 12:00+02');
    insert into t (i4) values (5)";

#[tokio::test]
async fn every_plain_type_is_read() {
    let connection = with(TABLE).await;
    let rows = read(&connection, Read::table("public", "t")).await.expect("it is there").collect().await.expect("rows");
    let first = "true | -2 | 4 | 8 | 0.5 | 0.25 | -299.98 | ä | c | 00ff | 000000000000000000000000000000ff | \
                 1969-12-31 | 12:00:00 | 2013-07-25T00:00:00.250 | 2014-01-01T10:00:00Z";
    assert_eq!(lines(&rows), [first, "- | - | 5 | - | - | - | - | - | - | - | - | - | - | - | -"]);
    assert!(!rows.schema().field(2).is_nullable() && rows.schema().field(1).is_nullable());
}

#[tokio::test]
async fn a_query_is_read_in_batches() {
    let connection = with("create table t ()").await;
    let query = Read::query("select n, n::text as t, n / 4::numeric as q from generate_series(1, 100000) n -- all\n;");
    let query = query.cast("q", DataType::Decimal128(12, 2)).batch_rows(30_000);
    let batches: Vec<_> = read(&connection, query).await.expect("rows").try_collect().await.expect("rows");
    assert_eq!(
        batches.iter().map(arrow::array::RecordBatch::num_rows).collect::<Vec<_>>(),
        [30_000, 30_000, 30_000, 10_000]
    );
    assert_eq!(lines(&batches[3])[9_998], "99999 | 99999 | 24999.75");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_names_and_not_tried_again() {
    let connection = with("create table t (n numeric, xs integer[]); create table good (n integer)").await;
    let wrong = Connection { schema: Some("none".into()), ..connection.clone() };
    let query = Read::query;
    for (connection, what, told) in [
        (&connection, Read::table("public", "none"), "has no table `public.none`\nhint: its tables are good, t"),
        (&connection, Read::table("public", "t"), "column `n` of type `numeric` has no type here\nhint:"),
        (&connection, query("select 1 from none"), "refuses the query: relation \"none\" does not exist"),
        (&connection, query("select xs from t"), "column `xs`"),
        (&wrong, query("select 1"), "refuses connection `retail_postgres`"),
    ] {
        let error = read(connection, what).await.expect_err(told);
        assert!(words(&error).contains(told), "{}", words(&error));
        assert!(is_fatal(error), "{told}");
    }
    let nobody = Connection::from_uri("pg", "postgres://me:hush@127.0.0.1:1/db").expect("a URI");
    let error = read(&nobody, query("select 1")).await.expect_err("nobody listens there");
    let said = words(&error);
    assert!(said.contains("cannot reach the Postgres server of connection `pg` at 127.0.0.1:1"), "{said}");
    assert!(!said.contains("hush") && !is_fatal(error), "{said}");
}

#[tokio::test]
async fn an_error_in_the_middle_ends_the_stream() {
    let connection = with("create table t ()").await;
    let rows = read(&connection, Read::query("select 1 / (50000 - n) as x from generate_series(1, 100000) n")).await;
    let error = rows.expect("it begins").collect().await.expect_err("it divides by zero");
    assert!(words(&error).contains("division by zero"), "{}", words(&error));
}
