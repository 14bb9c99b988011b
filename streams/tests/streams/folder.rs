//! Streams that are declared in files.

use crate::world::{World, readings, text, world};
use orch_store::stream::{StreamState, get_stream};
use std::path::PathBuf;
use tempfile::TempDir;

const CITIES: &str = "name: readings
topic: readings
partitions: 2
fields: {id: integer, city: text}
columns: {id: id, city: upper(city)}
where: id < 100 or id is null
contract: [not_null: id]
table: test.readings
commit_every: 20ms
";

struct Files(TempDir);

impl Files {
    fn of(world: &mut World) -> Files {
        let folder = tempfile::tempdir().unwrap();
        world.files = Some(folder.path().into());
        Files(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

impl World {
    /// Waits until the import errors contain `words`, or until there are no errors if `words` is empty.
    async fn until_told(&self, words: &str) {
        self.until_so(async |world: &World| {
            let told = world.import_errors().await;
            (if words.is_empty() { told.is_empty() } else { told.contains(words) }).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_file_follows_its_file() {
    let mut world = world().await;
    let files = Files::of(&mut world);
    files.write("readings.stream.yaml", CITIES);
    world.topic().await;
    let host = world.host_of(Vec::new());
    let row = world.until(|row| row.is_leased).await;
    assert_eq!((row.bundle.as_str(), row.table()), ("streams-folder", "test.readings"));
    world.produce(&[text(r#"{"id":1,"city":"Oslo"}"#, 0), text(r#"{"city":"Rome"}"#, 0)]).await;
    world.produce(&[text(r#"{"id":100,"city":"Bonn"}"#, 1), text(r#"{"id":2,"town":"Bonn"}"#, 1)]).await;
    world.until(|row| row.records == 4 && row.lag == 0).await;
    assert_eq!(world.lines("test.readings", &["id", "city"]).await, ["1 OSLO"], "the others do not fit");
    assert_eq!(world.lines("test.readings_quarantine", &["partition", "offset"]).await, ["0 1", "1 1"]);

    // Another field makes another version of the stream, and another column of the table.
    let before = row;
    let with_town = CITIES.replace("{id: integer, city: text}", "{id: integer, city: text, town: text}");
    files.write("readings.stream.yaml", &with_town.replace("upper(city)}", "upper(city), town: town}"));
    let row = world.until(|row| row.version != before.version && row.epoch > before.epoch).await;
    world.produce(&[text(r#"{"id":3,"city":"Oslo","town":"Sagene"}"#, 0)]).await;
    world.until(|row| row.records == 5).await;
    assert_eq!(world.lines("test.readings", &["id", "city", "town"]).await, ["1 OSLO -", "3 OSLO Sagene"]);

    // A mistake in the file keeps the previous version running.
    files.write("readings.stream.yaml", &with_town.replace("upper(city)", "uper(city)"));
    world.until_told("`city`: ").await;
    world.produce(&[text(r#"{"id":4,"city":"Bergen"}"#, 0)]).await;
    let still = world.until(|row| row.records == 6).await;
    assert_eq!((&still.version, still.epoch), (&row.version, row.epoch), "it runs on");

    // A process that starts now cannot read the file, and does not remove its stream when it declares others.
    host.end().await;
    let beside = CITIES.replace("name: readings", "name: beside").replace("test.readings", "test.beside");
    files.write("beside.stream.yaml", &beside);
    let host = world.host_of(Vec::new());
    let is_taken = async |world: &World| {
        let beside = get_stream(&mut world.db().await, "beside").await.unwrap();
        beside.filter(|row| row.is_leased)
    };
    world.until_so(is_taken).await;
    let waiting = world.row().await.unwrap();
    assert_eq!((&waiting.version, waiting.state()), (&row.version, StreamState::Unassigned));

    // Without its file the stream ends. It continues at its last offset when the file comes back.
    std::fs::remove_file(files.path("readings.stream.yaml")).unwrap();
    world.until(|row| row.version.is_none() && row.state() == StreamState::Unassigned).await;
    world.until_told("").await;
    world.produce(&[text(r#"{"id":5,"city":"Molde"}"#, 0)]).await;
    files.write("again.stream.yaml", &with_town);
    world.until(|row| row.records == 7 && row.is_leased).await;
    assert_eq!(world.ids().await, [1, 3, 4, 5]);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_bundle_has_is_refused() {
    let mut world = world().await;
    let files = Files::of(&mut world);
    world.topic().await;
    let host = world.host(&readings());
    let row = world.until(|row| row.is_leased).await;
    files.write("readings.stream.yaml", CITIES);
    world.until_told("bundle `test` has a stream `readings` already").await;
    let still = world.row().await.unwrap();
    assert_eq!((still.bundle, still.version, still.epoch), ("test".into(), row.version, row.epoch));
    files.write(
        "readings.stream.yaml",
        &CITIES.replace("name: readings", "name: others").replace("test.readings", "test.others"),
    );
    world.until_told("").await;
    world.produce(&[text(r#"{"id":1,"city":"Oslo"}"#, 0)]).await;
    world
        .until_so(async |world: &World| {
            let lines = world.lines("test.others", &["id", "city"]).await;
            (lines == ["1 OSLO"]).then_some(())
        })
        .await;
    host.end().await;
}
