//! Errors that stop a capture name the cause and the remedy.

use super::source::Source as _;
use super::{capture, items, scenes, shop};
use crate::world::{SOURCE, world};
use orch_sdk::task::Connection;
use orch_streams::Capture;
use orch_test_support::PrivateServer;

const ITEMS: &str = PrivateServer::ITEMS;

/// The changes in between are lost, which is never skipped silently: a user must reset the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_is_said_and_a_reset_recovers() {
    let shop = shop(ITEMS).await;
    shop.run_statements("insert into item values (1, 1, null), (2, 2, null)").await;
    let host = shop.host(&items::<PrivateServer>());
    shop.until_records(2).await;
    host.end().await;
    shop.drop_slot().await;
    shop.run_statements("delete from item where id = 1; insert into item values (3, 3, null)").await;
    scenes::a_reset_recovers_from(&shop, "gone from the server").await;
}

/// A slot that another reader has advanced, or that was recreated with the same name, is detected.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_another_one_moved_is_said() {
    let shop = shop(ITEMS).await;
    let host = shop.host(&items::<PrivateServer>());
    shop.until_following().await;
    host.end().await;
    shop.drop_slot().await;
    shop.run_statements("insert into item values (1, 1, null)").await;
    shop.run_statements("select pg_create_logical_replication_slot('orch_readings', 'pgoutput')").await;
    let host = shop.host(&items::<PrivateServer>());
    shop.failure(|error| error.contains("was moved or made anew")).await;
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_cut_off_begins_again() {
    scenes::a_snapshot_that_is_cut_off_begins_again(&shop(ITEMS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_tells_of_no_changes_says_what_to_set() {
    let mut world = world().await;
    // The server that all tests share uses the minimal WAL level.
    world.connections.push(Connection::from_uri(SOURCE, &world.db.url()).unwrap());
    let host = world.host(&items::<PrivateServer>());
    let row = world.until(|row| row.error.is_some()).await;
    let error = row.error.clone().unwrap_or_default();
    assert!(error.contains("wal_level = minimal") && error.contains("alter system set wal_level = logical"), "{error}");
    assert!(!row.waits_for_restart, "it is tried again");
    host.end().await;
}

/// Tables that are missing, have no replica identity or belong to others are reported. The stream continues by itself
/// once that is fixed.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_be_captured_are_named() {
    let shop = shop("create table bare (a integer)").await;
    let host = shop.host(&capture(Capture::postgres(SOURCE).tables(["bare"])));
    let error = shop.failure(|error| error.contains("nothing that tells its rows apart")).await;
    assert!(error.contains("alter table public.bare replica identity full"), "{error}");
    shop.run_statements("drop table bare").await;
    shop.failure(|error| error.contains("has no table `public.bare`")).await;
    shop.run_statements("create table bare (a integer primary key); insert into bare values (1)").await;
    shop.until_records(1).await;
    host.end().await;
    // A table that was created again is another table, and a dropped table removes no records.
    shop.run_statements("drop table bare").await;
    let host = shop.host(&capture(Capture::postgres(SOURCE).tables(["bare"])));
    shop.until("it goes on", async |row| (row.capture.as_ref()?["missing"][0] == "public.bare").then_some(())).await;
    host.end().await;
    shop.run_statements("create table bare (a integer primary key)").await;
    let host = shop.host(&capture(Capture::postgres(SOURCE).tables(["bare"])));
    shop.failure(|error| error.contains("declared or created after the tables were read")).await;
    host.end().await;
}

/// An account that may only read needs a publication by the owner of its tables. The server requires its password.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_a_password_captures_what_is_published() {
    let mut shop = shop(ITEMS).await;
    shop.run_statements("create role reader login replication password 'secret'; grant select on item to reader; insert into item values (1, 1, null)").await;
    let file: String = sqlx::query_scalar("show hba_file").fetch_one(&mut shop.source.session().await).await.unwrap();
    // The path of the server's folder is a file descriptor of the server below `/proc/self/`.
    let file = file.replace("/proc/self/", &format!("/proc/{}/", shop.source.pid().unwrap()));
    let others = std::fs::read_to_string(&file).unwrap();
    let with_password =
        "local all reader scram-sha-256\nlocal replication reader scram-sha-256\nhost all reader all scram-sha-256\n";
    std::fs::write(&file, format!("{with_password}{others}")).unwrap();
    shop.run_statements("select pg_reload_conf()").await;
    let account = |password: &str| {
        let own = Connection::from_uri(SOURCE, &shop.source.url()).unwrap();
        Connection { login: Some("reader".into()), password: Some(password.into()), ..own }
    };
    let (wrong, right) = (account("wrong"), account("secret"));
    shop.world.connections = vec![wrong];
    let host = shop.host(&items::<PrivateServer>());
    let error = shop.failure(|error| error.contains("refuses connection `shop`")).await;
    assert!(error.contains("password authentication failed") && !error.contains("wrong"), "{error}");
    host.end().await;
    shop.world.connections = vec![right];
    let host = shop.host(&items::<PrivateServer>());
    let error = shop.failure(|error| error.contains("the tables are not published")).await;
    assert!(error.contains(r#"create publication "orch_readings" for table "public"."item""#), "{error}");
    shop.run_statements("create publication orch_readings for table item").await;
    shop.until_records(1).await;
    host.end().await;
}
