//! Commands of users to a stream, and changes of its topic.

use crate::world::{World, named, readings, text, world};
use iceberg::spec::{PrimitiveType, Transform};
use orch_lake::TableDef;
use orch_lake::contract::Contract;
use orch_spec::Notifier;
use orch_store::stream::{
    Reset, ResetTo, SkippedRecord, StreamState, pause_stream, reset_stream, restart_stream, resume_stream, skip_record,
};
use orch_streams::Start;
use serde_json::{Value, json};

pub(crate) async fn reset(world: &World, to: ResetTo, empty_table: bool) {
    let reset = Reset { partition: None, to, empty_table };
    assert!(reset_stream(&mut world.db().await, "readings", &reset).await.expect("the database is there"));
    world.steered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_stream_rests_and_goes_on_where_it_was() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&readings());
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    assert!(pause_stream(&mut world.db().await, "readings").await.unwrap());
    world.steered();
    world.produce_ids(10..30).await;
    let row = world.until(|row| row.lag == 20).await;
    assert_eq!((row.state(), row.process, row.records), (StreamState::Paused, None, 10));
    assert!(resume_stream(&mut world.db().await, "readings").await.unwrap());
    world.steered();
    world.until(|row| row.records == 30).await;
    assert_eq!(world.ids().await, (0..30).collect::<Vec<_>>());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_reads_again_and_can_build_the_table_anew() {
    reads_again(world().await).await;
}

pub(crate) async fn reads_again(world: World) {
    world.topic().await;
    let host = world.host(&readings());
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    // An append stream reads its records again and duplicates the rows, as requested.
    reset(&world, ResetTo::Earliest, false).await;
    world.until(|row| row.records == 20).await;
    assert_eq!(world.ids().await.len(), 20);
    reset(&world, ResetTo::Earliest, true).await;
    world.until(|row| row.records == 30).await;
    assert_eq!(world.ids().await, (0..10).collect::<Vec<_>>());
    // A reset to an offset applies to both partitions.
    reset(&world, ResetTo::Offset(4), true).await;
    let row = world.until(|row| row.records == 32).await;
    assert_eq!((row.reset_to, row.lag), (None, 0));
    assert_eq!(world.ids().await, [8, 9]);
    // The topic does not have this offset.
    reset(&world, ResetTo::Offset(400), false).await;
    let row = world.until(|row| row.state() == StreamState::Failed).await;
    assert!(row.error.as_ref().unwrap().contains("cannot go to 400"), "{row:?}");
    assert!(row.waits_for_restart);
    reset(&world, ResetTo::Latest, false).await;
    world.until(|row| row.failures == 0 && row.is_leased && row.reset_to.is_none()).await;
    world.produce_ids(50..52).await;
    world.until(|row| row.records == 34).await;
    assert_eq!(world.ids().await, [8, 9, 50, 51]);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_created_again_is_another_one() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&readings());
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    let mut db = world.db().await;
    sqlx::query("delete from topic").execute(&mut db).await.unwrap();
    world.topic().await;
    world.produce_ids(100..104).await;
    restart_stream(&mut db, "readings").await.unwrap();
    world.steered();
    let row = world.until(|row| row.state() == StreamState::Failed).await;
    assert!(row.error.as_ref().unwrap().contains("deleted and created again"), "{row:?}");
    assert_eq!(world.ids().await, (0..10).collect::<Vec<_>>(), "nothing of it was published");
    reset(&world, ResetTo::Earliest, false).await;
    world.until(|row| row.records == 14).await;
    assert_eq!(world.ids().await, (0..10).chain(100..104).collect::<Vec<_>>());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_dropped_unread_are_no_silent_hole() {
    let world = world().await;
    world.topic().await;
    world.produce_ids(0..10).await;
    let host = world.host(&readings());
    world.until(|row| row.records == 10).await;
    pause_stream(&mut world.db().await, "readings").await.unwrap();
    world.steered();
    world.produce_ids(10..20).await;
    let mut db = world.db().await;
    // Deletes records like retention does.
    sqlx::query("update topic_partition set first_offset = 8").execute(&mut db).await.unwrap();
    sqlx::query("delete from topic_record where record_offset < 8").execute(&mut db).await.unwrap();
    resume_stream(&mut db, "readings").await.unwrap();
    world.steered();
    let row = world.until(|row| row.state() == StreamState::Failed).await;
    assert!(row.waits_for_restart && row.error.as_ref().unwrap().contains("records are missing"), "{row:?}");
    reset(&world, ResetTo::Earliest, false).await;
    world.until(|row| row.records == 14).await;
    assert_eq!(world.ids().await, (0..10).chain(16..20).collect::<Vec<_>>());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_begin_with_what_comes() {
    let world = world().await;
    world.topic().await;
    world.produce_ids(0..10).await;
    let host = world.host(&readings().start(Start::Latest));
    world.until(|row| row.partitions == 2).await;
    world.produce_ids(10..12).await;
    world.until(|row| row.records == 2).await;
    assert_eq!(world.ids().await, [10, 11]);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformation_that_panics_fails_the_stream_alone() {
    let world = world().await;
    world.topic().await;
    let broken = readings().transform(|rows| {
        assert!(rows.num_rows() == 0, "a mistake in the transformation");
        Ok(rows)
    });
    let host = world.host(&broken);
    world.produce_ids(0..2).await;
    let row = world.until(|row| row.failures >= 2).await;
    assert!(row.error.as_ref().unwrap().contains("panicked"), "{row:?}");
    assert!(!row.waits_for_restart, "it is tried again");
    host.end().await;
    assert!(world.lake().table(&named("test.readings")).await.unwrap().current_snapshot().is_none());
}

/// DAGs may wait for the table; the update exists if and only if the rows do.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_an_update_of_the_table() {
    let world = world().await;
    world.topic().await;
    let mut db = world.db().await;
    let asset = "insert into asset (uri, name) values ('lake://test/readings', 'readings')";
    sqlx::query(asset).execute(&mut db).await.unwrap();
    let host = world.host(&readings());
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    world.produce(&[crate::world::text("poison", 0)]).await;
    let row = world.until(|row| row.records == 11).await;
    let events: Vec<(i64, String)> =
        sqlx::query_as("select rows, extra->>'stream' from asset_event order by id").fetch_all(&mut db).await.unwrap();
    assert_eq!(events.iter().map(|(rows, _)| rows).sum::<i64>(), 10);
    assert!(events.iter().all(|(_, stream)| stream == "readings"), "{events:?}");
    assert!((events.len() as i64) < row.commits, "a commit that publishes no row updates nothing");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_runs_again_forgets_its_error() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&readings());
    world.until(|row| row.is_leased && row.partitions == 2).await;
    let failed = |since: &str| {
        format!(
            "update stream set failures = 3, error = 'the broker was away', failed_at = now() - interval '1 hour',
              started_at = now() - interval '{since}'"
        )
    };
    let mut db = world.db().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(failed("1 second"))).execute(&mut db).await.unwrap();
    let row = world.row().await.unwrap();
    assert_eq!((row.failures, row.error.as_deref()), (3, Some("the broker was away")), "it may fail again at once");
    // The error is cleared although no record arrives and nothing is committed.
    sqlx::raw_sql(sqlx::AssertSqlSafe(failed("2 minutes"))).execute(&mut db).await.unwrap();
    let row = world.until(|row| row.error.is_none()).await;
    assert_eq!((row.failures, row.failed_at, row.state()), (0, None, StreamState::Running));
    host.end().await;
}

/// Returns kind, connection of the notifier, and facts of all alerts.
async fn alerts(world: &World) -> Vec<(String, String, Value)> {
    let alerts = "select kind, notifier->>'connection', facts::jsonb from alert order by id";
    sqlx::query_as(alerts).fetch_all(&mut world.db().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stops_sends_an_alert_with_its_records_and_the_command() {
    let world = world().await;
    world.topic().await;
    let team = |connection: &str| Notifier { connection: connection.into(), ..Notifier::default() };
    let contract = Contract::of("lake://test/readings").between("id", 0, 100);
    let stream = readings().contract(contract).on_failure(team("team_chat")).on_failure(team("pager"));
    let host = world.host(&stream);
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    world.produce(&[text(r#"{"id":700}"#, 1)]).await;
    let row = world.until(|row| row.waits_for_restart).await;
    let error = row.error.unwrap();
    assert!(error.starts_with("cannot publish partition 1, offset 5: "), "{error}");
    let sent = alerts(&world).await;
    let to: Vec<_> = sent.iter().map(|(kind, to, _)| (kind.as_str(), to.as_str())).collect();
    assert_eq!(to, [("stream_stopped", "team_chat"), ("stream_stopped", "pager")]);
    let stopped = &sent[0].2["stream"];
    assert_eq!(
        (&stopped["name"], &stopped["topic"], &stopped["records"], &stopped["waits_for_restart"]),
        (&json!("readings"), &json!("readings"), &json!("partition 1, offset 5"), &json!(true))
    );
    assert!(sent[0].2["reason"].as_str().is_some_and(|reason| reason.contains("between")), "{sent:?}");
    // A restart without a change fails again, which is a new outage.
    assert!(restart_stream(&mut world.db().await, "readings").await.unwrap());
    world.steered();
    world.until(|row| row.waits_for_restart).await;
    assert_eq!(alerts(&world).await.len(), 4);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_partition_applies_to_the_rows_that_follow() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&readings());
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    host.end().await;
    let table = TableDef::new().optional("id", PrimitiveType::Long).optional("city", PrimitiveType::String);
    let host = world.host(&readings().append(named("test.readings"), table.partition("id", Transform::Bucket(4))));
    world.produce_ids(10..20).await;
    world.until(|row| row.records == 20).await;
    host.end().await;
    let table = world.lake().table(&named("test.readings")).await.unwrap();
    let partition = table.metadata().default_partition_spec();
    assert_eq!(partition.fields().iter().map(|field| field.transform).collect::<Vec<_>>(), [Transform::Bucket(4)]);
    assert_eq!(world.ids().await, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_record_is_quarantined_and_the_stream_continues() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&readings().contract(Contract::of("lake://test/readings").between("id", 0, 100)));
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    world.produce(&[text(r#"{"id":700}"#, 1), text(r#"{"id":13}"#, 1)]).await;
    world.until(|row| row.waits_for_restart).await;
    let record = SkippedRecord { partition: 1, offset: 5, username: "ada".into() };
    assert!(skip_record(&mut world.db().await, "readings", &record).await.unwrap());
    world.steered();
    let row = world.until(|row| row.records == 12).await;
    assert_eq!((row.quarantined, row.failures, row.error), (1, 0, None));
    let quarantine = || world.lines("test.readings_quarantine", &["partition", "offset", "value", "quarantine_reason"]);
    assert_eq!(quarantine().await, [r#"1 5 {"id":700} skipped by ada"#]);
    // A replay skips the record again.
    reset(&world, ResetTo::Earliest, true).await;
    world.until(|row| row.records == 24).await;
    host.end().await;
    assert_eq!(world.ids().await, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13]);
    assert_eq!(quarantine().await, [r#"1 5 {"id":700} skipped by ada"#]);
}
