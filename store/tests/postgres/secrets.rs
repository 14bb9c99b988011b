//! Connections and variables at rest: they are encrypted, bound to their row, re-encrypted after a key rotation, and
//! never in plain text in a dump.

use crate::fixture::{database, one};
use orch_sdk::task::Connection;
use orch_store::connection::{columns, open, without_secrets};
use orch_store::kept::{CONNECTION, Rotated, VARIABLE, delete, get, insert, list, rotate, update};
use orch_store::seal::{Keyring, SecretError};
use serde_json::json;
use sqlx::PgConnection;

const URI: &str = "postgres://me:planted-password@db:5432/sales?token=planted-token&sslmode=require";

fn keys(written: &[&str]) -> Keyring {
    Keyring::parse(&written.join(",")).expect("keys")
}

async fn opened(db: &mut PgConnection, id: &str, keys: &Keyring) -> Result<Connection, SecretError> {
    open(&get(db, &CONNECTION, id).await?.expect("it is there"), keys)
}

async fn add_connection(db: &mut PgConnection, new: &Connection, keys: &Keyring) -> Result<bool, SecretError> {
    insert(db, &CONNECTION, &new.id, &columns(new), keys).await
}

async fn add_variable(db: &mut PgConnection, key: &str, value: &str, keys: &Keyring) -> bool {
    let columns = vec![("value", json!(value)), ("description", json!("how many"))];
    insert(db, &VARIABLE, key, &columns, keys).await.expect("it can be sealed")
}

async fn value(db: &mut PgConnection, key: &str, keys: &Keyring) -> Result<String, SecretError> {
    let record = get(db, &VARIABLE, key).await?.expect("it is there");
    Ok(record.open("value", keys)?.expect("it has a value"))
}

#[tokio::test]
async fn connections_and_variables_come_back_as_they_went_in() {
    let database = database().await;
    let mut db = one(&database).await;
    let keys = keys(&[&Keyring::generate()]);
    let connection = Connection { description: Some("sales".into()), ..Connection::from_uri("db", URI).unwrap() };
    assert!(add_connection(&mut db, &connection, &keys).await.unwrap());
    assert!(!add_connection(&mut db, &connection, &keys).await.unwrap(), "there is one of that name");
    assert_eq!(opened(&mut db, "db", &keys).await.unwrap(), connection);
    let bare = Connection { id: "db".into(), conn_type: "http".into(), ..Connection::default() };
    assert!(update(&mut db, &CONNECTION, "db", &columns(&bare), &keys).await.unwrap());
    assert_eq!(opened(&mut db, "db", &keys).await.unwrap(), bare);
    for id in ["a", "c", "e"] {
        assert!(add_connection(&mut db, &Connection { id: id.into(), ..bare.clone() }, &keys).await.unwrap());
    }
    let ids = async |db: &mut PgConnection, after, most| {
        let page = list(db, &CONNECTION, after, most).await.unwrap();
        page.iter().map(|record| record.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut db, None, 2).await, ["a", "c"]);
    assert_eq!(ids(&mut db, Some("c"), 9).await, ["db", "e"]);
    assert!(delete(&mut db, &CONNECTION, "a").await.unwrap() && !delete(&mut db, &CONNECTION, "a").await.unwrap());

    assert!(add_variable(&mut db, "limit", "", &keys).await && !add_variable(&mut db, "limit", "8", &keys).await);
    assert!(update(&mut db, &VARIABLE, "limit", &vec![("value", json!("9"))], &keys).await.unwrap());
    assert_eq!(value(&mut db, "limit", &keys).await.unwrap(), "9");
    let all = list(&mut db, &VARIABLE, None, 9).await.unwrap();
    assert_eq!((all.len(), all[0].text("description")), (1, Some("how many")));
    assert!(delete(&mut db, &VARIABLE, "limit").await.unwrap());
    assert!(!update(&mut db, &VARIABLE, "limit", &vec![("value", json!("9"))], &keys).await.unwrap());
}

#[tokio::test]
async fn a_database_that_writes_bytes_otherwise_hides_no_secret() {
    let database = database().await;
    let mut db = one(&database).await;
    let keys = keys(&[&Keyring::generate()]);
    assert!(add_variable(&mut db, "limit", "8", &keys).await);
    let name: String = sqlx::query_scalar("select current_database()::text").fetch_one(&mut db).await.unwrap();
    let sql = format!("alter database \"{name}\" set bytea_output = escape");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut db).await.unwrap();
    let mut other = one(&database).await;
    assert_eq!(value(&mut other, "limit", &keys).await.unwrap(), "8");
    sqlx::query("set bytea_output = escape").execute(&mut other).await.unwrap();
    assert!(matches!(value(&mut other, "limit", &keys).await, Err(SecretError::Damaged { .. })), "not an empty value");
}

#[tokio::test]
async fn without_its_key_nothing_is_read_and_the_rest_goes_on() {
    let database = database().await;
    let mut db = one(&database).await;
    let (ours, none) = (keys(&[&Keyring::generate()]), Keyring::default());
    let connection = Connection::from_uri("db", URI).unwrap();
    let refused = add_connection(&mut db, &connection, &none).await.expect_err("there is no key").to_string();
    assert!(refused.contains("ORCH_SECRET_KEY"), "{refused}");
    let open = Connection { id: "open".into(), conn_type: "http".into(), ..Connection::default() };
    assert!(add_connection(&mut db, &open, &none).await.unwrap(), "nothing in it is secret");
    assert_eq!(opened(&mut db, "open", &none).await.unwrap(), open);

    add_connection(&mut db, &connection, &ours).await.unwrap();
    assert!(matches!(opened(&mut db, "db", &none).await, Err(SecretError::UnknownKey { .. })));
    let other = keys(&[&Keyring::generate()]);
    let wrong = opened(&mut db, "db", &other).await.expect_err("another key").to_string();
    let known = ours.first_id().unwrap();
    assert!(wrong.contains(&known) && !wrong.contains("planted"), "{wrong}");
    assert_eq!(without_secrets(&list(&mut db, &CONNECTION, None, 9).await.unwrap()[0]).host.as_deref(), Some("db"));
}

#[tokio::test]
async fn a_value_moved_to_another_place_is_not_opened() {
    let database = database().await;
    let mut db = one(&database).await;
    let keys = keys(&[&Keyring::generate()]);
    add_connection(&mut db, &Connection::from_uri("db", URI).unwrap(), &keys).await.unwrap();
    let shown = Connection { id: "shown".into(), conn_type: "http".into(), ..Connection::default() };
    add_connection(&mut db, &shown, &keys).await.unwrap();
    assert!(add_variable(&mut db, "shown", "nothing", &keys).await);
    for moving in [
        "update connection set password = (select password from connection where conn_id = 'db') where conn_id = 'shown'",
        "update variable set value = (select password from connection where conn_id = 'db')",
    ] {
        sqlx::query(moving).execute(&mut db).await.unwrap();
    }
    assert!(matches!(opened(&mut db, "shown", &keys).await, Err(SecretError::Damaged { .. })));
    assert!(matches!(value(&mut db, "shown", &keys).await, Err(SecretError::Damaged { .. })));
}

#[tokio::test]
async fn keys_are_rotated_whole_or_not_at_all() {
    let database = database().await;
    let mut db = one(&database).await;
    let (old, new) = (Keyring::generate(), Keyring::generate());
    let (before, both, after) = (keys(&[&old]), keys(&[&new, &old]), keys(&[&new]));
    for number in 0..600 {
        let connection = Connection { id: format!("c{number}"), ..Connection::from_uri("c", URI).unwrap() };
        add_connection(&mut db, &connection, &before).await.unwrap();
    }
    assert!(add_variable(&mut db, "v", "planted-value", &before).await);
    assert!(add_variable(&mut db, "w", "planted-value", &both).await);
    assert!(rotate(&mut db, &after).await.is_err(), "without the old key nothing can be opened");
    assert_eq!(opened(&mut db, "c7", &before).await.unwrap().password.as_deref(), Some("planted-password"));
    let done = rotate(&mut db, &both).await.unwrap();
    assert_eq!(done, Rotated { connections: 600, variables: 1, current: 1 });
    assert_eq!(rotate(&mut db, &both).await.unwrap(), Rotated { current: 602, ..Rotated::default() });
    assert_eq!(opened(&mut db, "c7", &after).await.unwrap().password.as_deref(), Some("planted-password"));
    assert_eq!(value(&mut db, "v", &after).await.unwrap(), "planted-value");
    assert!(value(&mut db, "v", &before).await.is_err());
}
