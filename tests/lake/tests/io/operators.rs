//! Operators and conditions as DAGs use them, from MySQL through a bucket into Postgres.

use crate::support::{ask, database, is_fatal, words};
use chrono::{DateTime, Utc};
use orch::{BoxFuture, ConditionResult, Connection, Eyes, MemoryHost, Operator, TaskResult, Wait, fatal};
use orch_lake::load::connect;
use orch_lake_operators::{
    BucketObjects, BucketToBucket, Mysql, MysqlQueries, MysqlToBucket, ObjectLocation, bucket_object, load_to_postgres,
    mysql_query,
};
use orch_sdk::task::{Awaited, RunSeen};
use orch_sdk::wait::RunWait;
use orch_test_lake::{S3Server, mariadb};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The environment of a condition, with some connections.
struct Looker(Vec<Connection>);

impl Eyes for Looker {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        let found = self.0.iter().find(|connection| connection.id == id).cloned();
        let found = found.ok_or_else(|| fatal(format!("there is no connection `{id}`")));
        Box::pin(async move { found })
    }

    fn variable(&self, _key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    fn runs(&self, _asked: Vec<RunWait>) -> BoxFuture<TaskResult<Vec<Option<RunSeen>>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn poke_awaited(&self, at: Awaited) -> BoxFuture<ConditionResult> {
        Box::pin(async move { Err(fatal(format!("nobody knows `{}`", at.kind))) })
    }
}

async fn look(condition: &dyn orch::Condition, wait: impl Wait, connections: &[Connection]) -> ConditionResult {
    let config = wait.awaited().config;
    condition.check(&config).expect("its config can be read");
    condition.poke(config, Arc::new(Looker(connections.to_vec()))).await
}

const ORDERS: &str = "create table orders (order_id int not null primary key, total float, zip varchar(9));
    insert into orders values (1, 299.98, '00725'), (2, null, null);
";

#[tokio::test]
async fn a_table_goes_by_a_bucket_into_postgres() {
    let (server, s3, target) = (mariadb().await, S3Server::start().await, database().await);
    let source = server.database().await;
    server.run_statements(&source, ORDERS).await;
    let host =
        MemoryHost::new().with_connection(source).with_connection(s3.connection()).with_connection(target.clone());
    let ctx = host.ctx();

    let raw = MysqlToBucket::table("retail_mysql", "orders", ObjectLocation::new("raw", "day/orders.csv")).money();
    let written = raw.run(ctx.clone()).await.expect("it can be written");
    assert_eq!((written.rows, written.location.as_str()), (2, "s3://raw/day/orders.csv"));
    assert_eq!(host.last_progress().0, 2);

    let (from, to) = (ObjectLocation::new("raw", "day/*.csv"), ObjectLocation::new("silver", "in/"));
    let copy = BucketToBucket { from, to, required: true };
    let copied = copy.clone().run(ctx.clone()).await.expect("it can be copied");
    assert_eq!((copied.objects, copied.copied), (vec!["s3://silver/in/orders.csv".to_string()], 1));
    assert_eq!(copy.run(ctx.clone()).await.expect("again").copied, 0, "what is there is left");

    let load = load_to_postgres("retail_postgres", "retail", "orders", ObjectLocation::new("silver", "in/orders.csv"))
        .column("order_id", "bigint not null")
        .column("total", "numeric(12,2)")
        .column("zip", "text")
        .key(["order_id"])
        .alias("order");
    let loaded = load.clone().run(ctx.clone()).await.expect("it can be loaded");
    assert_eq!((loaded.rows, loaded.written, loaded.was_loaded), (2, 2, false));
    assert!(load.run(ctx).await.expect("the same try").was_loaded);
    let db = connect(&target).await.expect("the server answers");
    let rows = "select concat_ws(' ', order_id, coalesce(total::text, '-'), coalesce(zip, '-')) from retail.order order by order_id";
    assert_eq!(ask(&db, rows).await, ["1 299.98 00725", "2 - -"]);
}

#[tokio::test]
async fn what_an_operator_lacks_is_told_and_not_tried_again() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let files = Connection::from_uri("buckets", &format!("file://{}", folder.path().display())).expect("a URI");
    let ctx = MemoryHost::new().with_connection(files).ctx();
    let place = |key: &str| ObjectLocation::new("raw", key);
    let load = |key: &str| load_to_postgres("pg", "retail", "t", place(key));
    for (load, told) in
        [(load("a.txt"), "names no format"), (load("a.csv").column("id", "money"), "column `id` cannot be a `money`")]
    {
        let error = load.run(ctx.clone()).await.expect_err(told);
        assert!(words(&error).contains(told), "{}", words(&error));
        assert!(is_fatal(error));
    }
    let both = MysqlToBucket { query: Some("select 1".into()), ..MysqlToBucket::table("db", "t", place("a.csv")) };
    assert!(words(&both.run(ctx.clone()).await.expect_err("which?")).contains("a `table` or a `query`"));
    let none = BucketToBucket { from: place("*.csv"), to: place(""), required: true };
    assert!(words(&none.run(ctx).await.expect_err("nothing is there")).contains("no object fits"));
}

#[tokio::test]
async fn a_statement_gives_its_rows_as_json() {
    let server = mariadb().await;
    let source = server.database().await;
    server.run_statements(&source, ORDERS).await;
    let ctx = MemoryHost::new().with_connection(source).ctx();
    let run = |mysql: Mysql| mysql.run(ctx.clone());
    let mysql = |statement: &str| Mysql::new("retail_mysql", statement);
    let found = run(mysql("select *, cast(order_id as decimal(9,2)) as exact from orders where order_id >= ?")
        .param(1)
        .most_rows(1));
    let found = found.await.expect("rows");
    assert_eq!(found.columns, ["order_id", "total", "zip", "exact"]);
    assert_eq!(found.rows, [json!({ "order_id": 1, "total": 299.98, "zip": "00725", "exact": "1.00" })]);
    assert!(found.more);
    let changed = run(mysql("update orders set zip = ? where order_id < 9").param("x")).await.expect("a change");
    assert_eq!((changed.affected, changed.rows.len()), (2, 0));
    let wrong = run(mysql("select nothing from orders")).await.expect_err("no such column");
    assert!(words(&wrong).contains("Unknown column"), "{}", words(&wrong));
    assert!(is_fatal(wrong));
}

#[tokio::test]
async fn the_rows_of_a_statement_have_a_maximum_of_bytes() {
    let server = mariadb().await;
    let ctx = MemoryHost::new().with_connection(server.database().await).ctx();
    let statement = "with recursive n as (select 1 as i union all select i + 1 from n where i < 5)
        select repeat('x', 15000000) as text from n";
    let error = Mysql::new("retail_mysql", statement).run(ctx).await.expect_err("75 MB");
    assert!(words(&error).contains("returns more than 64 MB"), "{}", words(&error));
    assert!(is_fatal(error));
}

#[tokio::test]
async fn a_statement_that_is_stopped_ends_at_the_server() {
    let server = mariadb().await;
    let source = server.database().await;
    let host = MemoryHost::new().with_connection(source.clone());
    let slow = Mysql::new("retail_mysql", "select sleep(100) as slept").statement_timeout(Duration::from_millis(200));
    let late = slow.clone().run(host.ctx()).await.expect_err("it takes too long");
    assert!(words(&late).contains("takes longer than 0.2 s"), "{}", words(&late));
    let running = slow.statement_timeout(Duration::from_mins(1)).run(host.ctx());
    let (ended, ()) = tokio::join!(running, async { host.cancel() });
    assert!(words(&ended.expect_err("it was cancelled")).contains("cancelled"));
    let ctx = MemoryHost::new().with_connection(source).ctx();
    let left = "select count(*) as n from information_schema.processlist where info like 'select sleep(100)%'";
    while Mysql::new("retail_mysql", left).run(ctx.clone()).await.expect("rows").rows[0]["n"] != json!(0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn objects_and_answers_are_waited_for() {
    let (server, s3) = (mariadb().await, S3Server::start().await);
    let source = server.database().await;
    server.run_statements(&source, ORDERS).await;
    let connections = [source, s3.connection()];
    let objects = || bucket_object(ObjectLocation::new("raw", "day/*.csv")).least(2).min_bytes(3);
    let see = |wait| look(&BucketObjects, wait, &connections);
    assert_eq!(see(objects()).await.expect("a look"), None, "nobody has made the bucket");
    let bucket = orch_lake::bucket::Buckets::of(&connections[1]).and_then(|all| all.bucket("raw")).expect("a bucket");
    bucket.ensure().await.expect("it can be made");
    for (key, content) in
        [("day/a.csv", "id\n"), ("day/empty.csv", ""), ("day/deep/b.csv", "id\n"), ("day/c.txt", "id\n")]
    {
        bucket.put(key, content).await.expect("it can be written");
    }
    assert_eq!(see(objects()).await.expect("a look"), None, "one fits");
    bucket.put("day/z.csv", "id\n").await.expect("it can be written");
    let found: Option<Value> = see(objects()).await.expect("a look");
    assert_eq!(found, Some(json!(["s3://raw/day/a.csv", "s3://raw/day/z.csv"])));

    let ask = |statement| look(&MysqlQueries, mysql_query("retail_mysql", statement).param(2), &connections);
    assert_eq!(ask("select total from orders where order_id = ?").await.expect("a look"), None, "it is null");
    assert_eq!(ask("select 1 from orders where order_id > ?").await.expect("a look"), None, "there is no row");
    let row = ask("select order_id as id, zip from orders where order_id = ?").await.expect("a look");
    assert_eq!(row, Some(json!({ "id": 2, "zip": null })));
    assert!(is_fatal(ask("select nothing from orders where order_id = ?").await.expect_err("no such column")));
}
