//! A database whose changes are captured: the SQL that the scenes need, per database.

use super::{CapturedRecord, Dice};
use orch_streams::Capture;
use orch_test_support::PrivateServer;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::collections::BTreeMap;
use std::fmt::Debug;

pub(crate) trait Source: Sized {
    type Session: Send + 'static;
    /// Position of a change in the log. Later changes have greater positions.
    type Position: Ord + Debug;

    /// A table with a key, an integer and a text, whose changes include the old row.
    const ITEMS: &str;
    /// Switches the log to another file.
    const NEXT_FILE: &str;

    fn capture(tables: &[&str]) -> Capture;

    async fn session(&self) -> Self::Session;

    fn run(db: &mut Self::Session, sql: &str) -> impl Future<Output = ()> + Send;

    /// Returns the rows of a table with the columns of `item`, each as one JSON object, by key.
    async fn rows(&self, table: &str) -> BTreeMap<String, Value>;

    /// Ends the sessions that send changes.
    async fn cut(&self);

    /// A subquery for `from` with the numbers from `first` to `last` as `id`.
    fn ids(first: u32, last: u32) -> String;

    /// Inserts an item, or updates the number of the item with this key.
    fn upsert(id: u64, n: u64) -> String;

    /// Gives an item the key `other`, if that is free.
    fn move_key(id: u64, other: u64) -> String;

    /// A statement that only this kind of database has.
    fn own_statement(id: u64, n: u64) -> String;

    fn position(told: &CapturedRecord) -> Self::Position;

    fn transaction_of(told: &CapturedRecord) -> String;
}

/// Returns a transaction of several statements on five keys; parts of it, or all, are rolled back.
pub(super) fn transaction<S: Source>(dice: &mut Dice) -> String {
    if dice.below(40) == 0 {
        return "truncate item".into();
    }
    let mut sql = String::from("begin; ");
    for _ in 0..=dice.below(4) {
        let (before, after) = match dice.below(6) {
            0 => ("savepoint a; ", "; rollback to a; "),
            1 => ("savepoint a; ", "; release savepoint a; "),
            _ => ("", "; "),
        };
        sql.extend([before, &statement::<S>(dice), after]);
    }
    sql + if dice.below(8) == 0 { "rollback" } else { "commit" }
}

fn statement<S: Source>(dice: &mut Dice) -> String {
    let (id, other, n) = (dice.below(5), dice.below(5), dice.below(1_000));
    match dice.below(20) {
        0..7 => S::upsert(id, n),
        7..11 => format!("update item set n = {n} where id = {id}"),
        11..14 => format!("delete from item where id = {id}"),
        14..17 => S::move_key(id, other),
        17 => format!("update item set n = n + 1, note = repeat('{n}', 700) where id <= {id}"),
        18 => S::own_statement(id, n),
        _ => format!("delete from item where id = {id}; insert into item values ({id}, {n}, null)"),
    }
}

impl Source for PrivateServer {
    type Session = PgConnection;
    type Position = Vec<u64>;

    const ITEMS: &str = "create table item (id integer primary key, n integer not null, note text);
        alter table item replica identity full;";
    const NEXT_FILE: &str = "select pg_switch_wal()";

    fn capture(tables: &[&str]) -> Capture {
        Capture::postgres(crate::world::SOURCE).tables(tables.iter().copied())
    }

    async fn session(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    async fn run(db: &mut PgConnection, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_string())).execute(db).await.unwrap();
    }

    async fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        let sql = format!("select jsonb_build_object('id', id)::text, to_jsonb(t) from {table} t");
        let rows: Vec<(String, Value)> =
            sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut self.session().await).await.unwrap();
        rows.into_iter().map(|(key, row)| (key.replace(' ', ""), row)).collect()
    }

    async fn cut(&self) {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
            where application_name like 'orch capture%' or backend_type = 'walsender'";
        PrivateServer::run(&mut self.session().await, cut).await;
    }

    fn ids(first: u32, last: u32) -> String {
        format!("generate_series({first}, {last}) id")
    }

    fn upsert(id: u64, n: u64) -> String {
        format!("insert into item values ({id}, {n}, 'new') on conflict (id) do update set n = excluded.n")
    }

    fn move_key(id: u64, other: u64) -> String {
        format!("update item set id = {other} where id = {id} and not exists (select from item where id = {other})")
    }

    fn own_statement(_: u64, _: u64) -> String {
        "truncate item".into()
    }

    /// The last commit, and the position of the change.
    fn position(told: &CapturedRecord) -> Vec<u64> {
        let both: Vec<String> = serde_json::from_str(told.source["sequence"].as_str().unwrap()).unwrap();
        both.iter().map(|lsn| lsn.parse().unwrap()).collect()
    }

    fn transaction_of(told: &CapturedRecord) -> String {
        told.source["txId"].to_string()
    }
}
