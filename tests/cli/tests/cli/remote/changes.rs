//! What commands change: the same output, exit code and audit at a database and over the API.

use super::World;
use crate::binary::Ended;
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// A change, and what takes it back, so that it can be made both ways.
const CHANGES: [[&str; 2]; 8] = [
    ["pools set mysql 4 shop --include-deferred", "pools delete mysql"],
    ["pools set default_pool 64 smaller", "pools set default_pool -1 larger"],
    ["variables set limit 9 --description many", "variables delete limit"],
    ["connections add shop --conn-type http --conn-host db", "connections delete shop"],
    ["dags pause example_hello", "dags unpause example_hello"],
    ["dags pause example_.* --treat-dag-id-as-regex --yes", "dags unpause example_.* --treat-dag-id-as-regex --yes"],
    ["dags presets example_chain --save nightly --conf {\"a\":1}", "dags presets example_chain --delete nightly"],
    ["tasks mark example_chain step_9 far failed --yes", "tasks mark example_chain step_9 far success --yes"],
];

type Written = (String, Option<String>, Option<String>, Option<String>, Option<Value>);

/// What was written down since the last time.
async fn written(db: &mut PgConnection, since: &mut i64) -> Vec<Written> {
    let text = "select event, dag_id, run_id, task_id, extra from audit where id > $1 order by id";
    let rows = sqlx::query_as(text).bind(*since).fetch_all(&mut *db).await.unwrap();
    *since = sqlx::query_scalar("select max(id) from audit").fetch_one(db).await.unwrap();
    rows
}

#[tokio::test]
async fn changes_are_told_and_written_down_the_same_both_ways() {
    let world = World::new();
    let left = std::fs::read(world.home.path().join("data/standalone.json")).unwrap();
    let left: Value = serde_json::from_slice(&left).unwrap();
    let mut db = PgConnection::connect(left["url"].as_str().unwrap()).await.unwrap();
    world.local(&["dags", "trigger", "example_chain", "--run-id", "far", "--wait"]).done();
    let mut since = 0;
    written(&mut db, &mut since).await;
    for [change, back] in CHANGES {
        let words = |line: &'static str| line.split(' ').collect::<Vec<_>>();
        let both = |way: &dyn Fn(&[&str]) -> Ended| [way(&words(change)), way(&words(back))];
        let local = (both(&|words| world.local(words)), written(&mut db, &mut since).await);
        let remote = (both(&|words| world.remote(words)), written(&mut db, &mut since).await);
        assert_eq!(local, remote, "{change}");
        assert!(local.0[0].code == 0 && !local.1.is_empty(), "{change}: {local:?}");
    }
}
