//! Captures of a real MariaDB. No package here provides MySQL; its own features are tested where they need no server.

mod copies;
mod states;
mod values;

use super::source::Source;
use super::{CapturedRecord, Shop, capture, key};
use crate::world::{SOURCE, world};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use orch_sdk::task::Connection;
use orch_streams::{Capture, Stream};
use orch_test_lake::{MariaDb, mariadb_with_changes};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A database on a server, and the connection to it.
pub(super) struct Database<S> {
    server: S,
    connection: Connection,
}

type Shared = Shop<Database<&'static MariaDb>>;
pub(super) type Maria = Database<MariaDb>;
pub(super) type Own = Shop<Maria>;

const ITEMS: &str = Maria::ITEMS;

fn items() -> Stream {
    super::items::<Maria>()
}

fn of(tables: &[&str]) -> Stream {
    capture(Maria::capture(tables))
}

/// Creates a database on the server that all tests share.
async fn shop(tables: &str) -> Shared {
    let server = mariadb_with_changes().await;
    let connection = server.database().await;
    at(server, connection, tables).await
}

/// Creates a database on a server that the test may configure and restart.
pub(super) async fn own_shop(tables: &str) -> Own {
    let server = MariaDb::with_changes(77).await;
    let connection = server.database().await;
    at(server, connection, tables).await
}

async fn at<S: AsRef<MariaDb>>(server: S, connection: Connection, tables: &str) -> Shop<Database<S>> {
    let mut world = world().await;
    let connection = Connection { id: SOURCE.into(), ..connection };
    world.connections.push(connection.clone());
    let shop = Shop { world, source: Database { server, connection } };
    shop.run_statements(tables).await;
    shop
}

impl<S: AsRef<MariaDb>> Source for Database<S> {
    type Session = Conn;
    /// File, position and row.
    type Position = (String, Option<u64>, Option<u64>);

    const ITEMS: &str = "create table item (id int primary key, n int not null, note text)";
    const NEXT_FILE: &str = "flush binary logs";

    fn capture(tables: &[&str]) -> Capture {
        Capture::mysql(SOURCE).tables(tables.iter().copied())
    }

    async fn session(&self) -> Conn {
        self.server.as_ref().session(&self.connection).await
    }

    async fn run(db: &mut Conn, sql: &str) {
        db.query_drop(sql).await.unwrap_or_else(|error| panic!("`{sql}`: {error}"));
    }

    async fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        let sql = format!("select id, n, note from {table}");
        let rows: Vec<(i64, i64, Option<String>)> = self.session().await.query(sql).await.unwrap();
        let row = |(id, n, note)| (key(id), json!({ "id": id, "n": n, "note": note }));
        rows.into_iter().map(row).collect()
    }

    async fn cut(&self) {
        let mut db = self.session().await;
        let sql = "select id from information_schema.processlist where command like 'Binlog Dump%'";
        let sessions: Vec<u64> = db.query(sql).await.unwrap();
        for session in sessions {
            // The session may have ended by itself.
            drop(db.query_drop(format!("kill {session}")).await);
        }
    }

    fn ids(first: u32, last: u32) -> String {
        format!("(select seq as id from seq_{first}_to_{last}) ids")
    }

    fn upsert(id: u64, n: u64) -> String {
        format!("insert into item values ({id}, {n}, 'new') on duplicate key update n = {n}")
    }

    fn move_key(id: u64, other: u64) -> String {
        format!("update ignore item set id = {other} where id = {id}")
    }

    fn own_statement(id: u64, n: u64) -> String {
        format!("replace into item values ({id}, {n}, 'replaced')")
    }

    fn position(told: &CapturedRecord) -> Self::Position {
        let source = &told.source;
        (source["file"].as_str().unwrap().to_owned(), source["pos"].as_u64(), source["row"].as_u64())
    }

    fn transaction_of(told: &CapturedRecord) -> String {
        told.source["gtid"].to_string()
    }
}
