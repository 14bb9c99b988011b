//! A copy that is built from the records alone equals the table, after any interruption.

use super::source::Source as _;
use super::{scenes, shop};
use orch_test_support::PrivateServer;

const ITEMS: &str = PrivateServer::ITEMS;

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_told_once_whatever_breaks() {
    scenes::each_change_is_told_once(&shop(ITEMS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_and_the_changes_fit_while_others_write() {
    scenes::the_snapshot_and_the_changes_fit(&shop(ITEMS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_told_in_parts_and_once() {
    scenes::a_large_transaction_is_told_in_parts(&shop(ITEMS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stays_in_its_partition() {
    scenes::a_key_stays_in_its_partition(&shop(ITEMS).await).await;
}
