//! Connections and variables at rest: sealed, bound to their place, sealed anew when keys change, in no dump.

use crate::fixture::{database, one};
use orch_core::task::Connection;
use orch_store::connection::{
    ConnectionChange, Rotated, add_connection, change_connection, delete_connection, get_connection, list_connections,
    rotate,
};
use orch_store::seal::{Keyring, SecretError};
use orch_store::variable::{
    VariableChange, add_variable, change_variable, delete_variable, get_variable, list_variables,
};
use sqlx::PgConnection;

const URI: &str = "postgres://me:planted-password@db:5432/sales?token=planted-token&sslmode=require";

fn keys(written: &[&str]) -> Keyring {
    Keyring::parse(&written.join(",")).expect("keys")
}

async fn opened(db: &mut PgConnection, id: &str, keys: &Keyring) -> Result<Connection, SecretError> {
    get_connection(db, id).await?.expect("it is there").open(keys)
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
    change_connection(&mut db, "db", ConnectionChange::to(bare.clone()), &keys).await.unwrap();
    assert_eq!(opened(&mut db, "db", &keys).await.unwrap(), bare);
    for id in ["a", "c", "e"] {
        assert!(add_connection(&mut db, &Connection { id: id.into(), ..bare.clone() }, &keys).await.unwrap());
    }
    let ids = async |db: &mut PgConnection, after, most| {
        list_connections(db, after, most).await.unwrap().into_iter().map(|row| row.conn_id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut db, None, 2).await, ["a", "c"]);
    assert_eq!(ids(&mut db, Some("c"), 9).await, ["db", "e"]);
    assert!(delete_connection(&mut db, "a").await.unwrap() && !delete_connection(&mut db, "a").await.unwrap());

    assert!(add_variable(&mut db, "limit", "", Some("how many"), &keys).await.unwrap());
    assert!(!add_variable(&mut db, "limit", "8", None, &keys).await.unwrap());
    let change = VariableChange { value: Some("9".into()), description: None };
    change_variable(&mut db, "limit", change, &keys).await.unwrap();
    let row = get_variable(&mut db, "limit").await.unwrap().expect("it is there");
    assert_eq!((row.open(&keys).unwrap().as_str(), row.description.as_deref()), ("9", Some("how many")));
    assert_eq!(list_variables(&mut db, None, 9).await.unwrap().len(), 1);
    assert!(delete_variable(&mut db, "limit").await.unwrap());
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
    assert!(matches!(opened(&mut db, "db", &none).await, Err(SecretError::NoKey { .. })));
    let other = keys(&[&Keyring::generate()]);
    let wrong = opened(&mut db, "db", &other).await.expect_err("another key").to_string();
    let known = ours.first_id().unwrap();
    assert!(wrong.contains(&known) && !wrong.contains("planted"), "{wrong}");
    assert_eq!(list_connections(&mut db, None, 9).await.unwrap()[0].without_secrets().host.as_deref(), Some("db"));
}

#[tokio::test]
async fn a_value_moved_to_another_place_is_not_opened() {
    let database = database().await;
    let mut db = one(&database).await;
    let keys = keys(&[&Keyring::generate()]);
    add_connection(&mut db, &Connection::from_uri("db", URI).unwrap(), &keys).await.unwrap();
    let shown = Connection { id: "shown".into(), conn_type: "http".into(), ..Connection::default() };
    add_connection(&mut db, &shown, &keys).await.unwrap();
    assert!(add_variable(&mut db, "shown", "nothing", None, &keys).await.unwrap());
    for moving in [
        "update connection set password = (select password from connection where conn_id = 'db') where conn_id = 'shown'",
        "update variable set value = (select password from connection where conn_id = 'db')",
    ] {
        sqlx::query(moving).execute(&mut db).await.unwrap();
    }
    assert!(matches!(opened(&mut db, "shown", &keys).await, Err(SecretError::Damaged { .. })));
    let variable = get_variable(&mut db, "shown").await.unwrap().expect("it is there");
    assert!(matches!(variable.open(&keys), Err(SecretError::Damaged { .. })));
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
    assert!(add_variable(&mut db, "v", "planted-value", None, &before).await.unwrap());
    assert!(add_variable(&mut db, "w", "planted-value", None, &both).await.unwrap());
    assert!(rotate(&mut db, &after).await.is_err(), "without the old key nothing can be opened");
    assert_eq!(opened(&mut db, "c7", &before).await.unwrap().password.as_deref(), Some("planted-password"));
    let done = rotate(&mut db, &both).await.unwrap();
    assert_eq!(done, Rotated { connections: 600, variables: 1, current: 1 });
    assert_eq!(rotate(&mut db, &both).await.unwrap(), Rotated { current: 602, ..Rotated::default() });
    assert_eq!(opened(&mut db, "c7", &after).await.unwrap().password.as_deref(), Some("planted-password"));
    let variable = get_variable(&mut db, "v").await.unwrap().expect("it is there");
    assert_eq!(variable.open(&after).unwrap(), "planted-value");
    assert!(variable.open(&before).is_err());
}
