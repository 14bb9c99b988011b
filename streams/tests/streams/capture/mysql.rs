//! Changes of a real MariaDB. MySQL itself is in no package here; what is its own is tested as far as it is pure.

mod copies;
mod states;
mod values;

use super::{Shop, Told, capture};
use crate::world::{SOURCE, world};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use orch_sdk::task::Connection;
use orch_streams::{Capture, Stream};
use orch_test_lake::{MariaDb, mariadb_with_changes};
use serde_json::Value;
use std::collections::BTreeMap;

/// A database at a server, and how it is reached.
struct Database<S> {
    server: S,
    connection: Connection,
}

type Shared = Shop<Database<&'static MariaDb>>;
type Own = Shop<Database<MariaDb>>;

const ITEMS: &str = "create table item (id int primary key, n int not null, note text)";

fn items() -> Stream {
    of(&["item"])
}

fn of(tables: &[&str]) -> Stream {
    capture(Capture::mysql(SOURCE).tables(tables.iter().copied()))
}

/// At the server of all tests.
async fn shop(tables: &str) -> Shared {
    let server = mariadb_with_changes().await;
    let connection = server.database().await;
    at(server, connection, tables).await
}

/// At a server that a test may set and restart as it likes.
async fn own_shop(tables: &str) -> Own {
    let server = MariaDb::with_changes(77).await;
    let connection = server.database().await;
    at(server, connection, tables).await
}

async fn at<S: AsRef<MariaDb>>(server: S, connection: Connection, tables: &str) -> Shop<Database<S>> {
    let mut world = world().await;
    let connection = Connection { id: SOURCE.into(), ..connection };
    world.connections.push(connection.clone());
    let shop = Shop { world, source: Database { server, connection } };
    shop.run(tables).await;
    shop
}

impl<S: AsRef<MariaDb>> Shop<Database<S>> {
    async fn at_source(&self) -> Conn {
        self.source.server.as_ref().session(&self.source.connection).await
    }

    /// Statements at the source.
    async fn run(&self, sql: &str) {
        run(&mut self.at_source().await, sql).await;
    }

    /// Rows of a table with the columns of `item`, each as one JSON object, by their keys.
    async fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        let sql = format!("select id, n, note from {table}");
        let rows: Vec<(i64, i64, Option<String>)> = self.at_source().await.query(sql).await.unwrap();
        let row = |(id, n, note)| (format!(r#"{{"id":{id}}}"#), serde_json::json!({ "id": id, "n": n, "note": note }));
        rows.into_iter().map(row).collect()
    }

    /// Ends the sessions that send changes.
    async fn cut(&self) {
        let mut db = self.at_source().await;
        let sql = "select id from information_schema.processlist where command like 'Binlog Dump%'";
        let sessions: Vec<u64> = db.query(sql).await.unwrap();
        for session in sessions {
            // It may have ended by itself.
            drop(db.query_drop(format!("kill {session}")).await);
        }
    }
}

async fn run(db: &mut Conn, sql: &str) {
    db.query_drop(sql).await.unwrap_or_else(|error| panic!("`{sql}`: {error}"));
}

fn key(id: i64) -> String {
    format!(r#"{{"id":{id}}}"#)
}

fn is_of(told: &Told, id: i64) -> bool {
    told.key == Some(key(id))
}
