//! Postgres as a source.

use crate::support::{ask, database, execute_sql, is_fatal, lines, words};
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use orch_lake::source::postgres::replication::{ReplicationMessage, Source};
use orch_lake::source::postgres::{PostgresSource, connect, read};
use orch_sdk::task::Connection;
use orch_test_support::PrivateServer;
use std::time::Duration;

async fn with(statements: &str) -> Connection {
    let connection = database().await;
    execute_sql(&connect(&connection).await.expect("the server answers"), statements).await;
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
    let rows = read(&connection, PostgresSource::table("public", "t"))
        .await
        .expect("it is there")
        .collect()
        .await
        .expect("rows");
    let first = "true | -2 | 4 | 8 | 0.5 | 0.25 | -299.98 | ä | c | 00ff | 000000000000000000000000000000ff | \
                 1969-12-31 | 12:00:00 | 2013-07-25T00:00:00.250 | 2014-01-01T10:00:00Z";
    assert_eq!(lines(&rows), [first, "- | - | 5 | - | - | - | - | - | - | - | - | - | - | - | -"]);
    assert!(!rows.schema().field(2).is_nullable() && rows.schema().field(1).is_nullable());
}

#[tokio::test]
async fn a_column_of_a_query_has_the_type_its_table_declares() {
    let connection = with(TABLE).await;
    let query = PostgresSource::query("select n, c, n * 2 > 0 as b from t where n is not null");
    let rows = read(&connection, query).await.expect("it is there").collect().await.expect("rows");
    assert_eq!(lines(&rows), ["-299.98 | c | false"]);
    assert_eq!(*rows.schema().field(0).data_type(), DataType::Decimal128(12, 2));
}

#[tokio::test]
async fn a_query_is_read_in_batches() {
    let connection = with("create table t ()").await;
    let query = PostgresSource::query(
        "select n, n::text as t, n / 4::numeric as q from generate_series(1, 100000) n -- all\n;",
    );
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
    let query = PostgresSource::query;
    for (connection, what, told) in [
        (
            &connection,
            PostgresSource::table("public", "none"),
            "has no table `public.none`\nhint: its tables are good, t",
        ),
        (&connection, PostgresSource::table("public", "t"), "column `n` of type `numeric` has no type here\nhint:"),
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
    let rows =
        read(&connection, PostgresSource::query("select 1 / (50000 - n) as x from generate_series(1, 100000) n")).await;
    let error = rows.expect("it begins").collect().await.expect_err("it divides by zero");
    assert!(words(&error).contains("division by zero"), "{}", words(&error));
}

#[tokio::test]
async fn a_server_without_changes_says_that_it_is_alive_when_asked() {
    let server = PrivateServer::with_changes().await;
    let connection = Connection::from_uri("pg", &server.url()).expect("a URI");
    let db = connect(&connection).await.expect("the server answers");
    execute_sql(&db, "create table quiet (id int primary key); create publication quiet for table quiet").await;
    let mut source = Source::open(&connection, "orch test").await.expect("changes can be read");
    let lsn = source.create_slot("quiet").await.expect("the slot is made");
    source.end_snapshot().await.expect("the snapshot ends");
    source.follow("quiet", "quiet", lsn).await.expect("the changes are followed");
    // The server sends some messages when replication starts.
    while tokio::time::timeout(Duration::from_secs(2), source.next()).await.is_ok() {}
    for _ in 0..3 {
        source.ask_whether_alive(lsn).await.expect("the server is asked");
        let said = tokio::time::timeout(Duration::from_secs(5), source.next()).await;
        let said = said.expect("the server answers at once").expect("the answer can be read");
        assert!(matches!(said, ReplicationMessage::Alive { .. }), "{said:?}");
    }
}

#[tokio::test]
async fn a_session_is_as_safe_as_its_sslmode_says() {
    let server = PrivateServer::over_tcp().await;
    let plain = Connection::from_uri("pg", &server.url()).expect("a URI");
    let folder = tempfile::TempDir::new().expect("a folder");
    let certified = || rcgen::generate_simple_self_signed(["db.example".to_string()]).expect("a certificate");
    let (own, other) = (certified(), certified());
    let path = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).expect("it can be written");
        path.display().to_string()
    };
    let (own_pem, other_pem) = (path("own.pem", own.cert.pem()), path("other.pem", other.cert.pem()));
    // The server writes the files, because it requires a key that it owns and that no other user can read.
    let write = |name: &str, pem: &str| {
        let lines = format!("select unnest(string_to_array('{}', e'\\n'))", pem.trim());
        format!("copy ({lines}) to program 'umask 077; cat > {name}';")
    };
    let db = connect(&plain).await.expect("the server answers");
    execute_sql(&db, &write("server.crt", &own.cert.pem())).await;
    execute_sql(&db, &write("server.key", &own.signing_key.serialize_pem())).await;
    execute_sql(&db, "alter system set ssl = on").await;
    execute_sql(&db, "select pg_reload_conf()").await;

    let with = |mode: &str, root: Option<&String>| {
        let root = root.map_or(String::new(), |root| format!("&sslrootcert={root}"));
        let uri = server.url().replace("sslmode=disable", &format!("sslmode={mode}{root}"));
        Connection::from_uri("pg", &uri).expect("a URI")
    };
    // The server applies the new settings after a short delay.
    let encrypted = async {
        loop {
            if let Ok(db) = connect(&with("require", None)).await {
                break db;
            }
        }
    };
    let encrypted = tokio::time::timeout(Duration::from_secs(20), encrypted).await.expect("it speaks TLS soon");
    let is_encrypted = "select ssl::text from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(ask(&encrypted, is_encrypted).await, ["true"]);
    for (mode, root, expected) in [
        ("disable", None, Some("false")),
        ("prefer", None, Some("true")),
        ("require", Some(&own_pem), Some("true")),
        ("require", Some(&other_pem), None),
        ("verify-ca", Some(&own_pem), Some("true")),
        ("verify-ca", Some(&other_pem), None),
        ("verify-ca", None, None),
        ("verify-full", Some(&own_pem), None), // the certificate is for another name
    ] {
        match (connect(&with(mode, root)).await, expected) {
            (Ok(db), Some(expected)) => assert_eq!(ask(&db, is_encrypted).await, [expected], "{mode} {root:?}"),
            (Err(error), None) => assert!(words(&error).contains("certificate"), "{mode}: {}", words(&error)),
            (outcome, _) => panic!("{mode} {root:?}: {outcome:?}"),
        }
    }
    let said = words(&connect(&with("verify-ca", Some(&"/none.pem".into()))).await.expect_err("there is no such file"));
    assert!(said.contains("cannot read `sslrootcert` /none.pem"), "{said}");
}
