//! Recorded responses of weatherapi.com, through the topic into the table: golden, even if processes are killed and
//! responses repeat.

use super::api::{Api, KEY, Mood};
use crate::data;
use crate::golden::assert_golden;
use crate::world::World;
use orch_test_support::guide::{examples, guide};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const TABLE: &str = "weather_data_lake_iceberg.weather_events_by_location";
const TOPIC: &str = "weather_raw_data";
const STREAM: &str = "weather_events";

fn answers() -> Vec<String> {
    let text = data::text("weather/weatherapi_current.jsonl");
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn assert_golden_tables(world: &World) {
    let csv = |query: &str| world.run(&["sql", query, "-o", "csv"]).done();
    let by_city = format!("select city_name, count(*) as readings from {TABLE} group by 1 order by 1");
    assert_golden("weather_events_by_city", csv(&by_city).trim_end());
    let latest = format!(
        "select city_name, event_timestamp_ms, temperature_celsius, humidity_percent, weather_description, weather_code, is_day, \
         air_quality_pm2_5 as pm2_5 from {TABLE} \
         qualify row_number() over (partition by city_name order by event_timestamp_ms desc) = 1 order by city_name"
    );
    assert_golden("weather_events_latest", csv(&latest).trim_end());
    // Runs the query that was written for Athena.
    let guide = examples(&guide("weather-streams"), "sql");
    let london = &guide.iter().find(|(_, example)| example.contains("FROM_UNIXTIME")).unwrap().1;
    assert_golden("weather_events_london", csv(london).trim_end());
    // The query opens only London's partitions of the table.
    let plan = csv(&format!("explain select * from {TABLE} where city_name = 'London'"));
    let (read, all) = plan.split_once("files=").unwrap().1.split(',').next().unwrap().split_once('/').unwrap();
    assert!(read.parse::<u32>().unwrap() < all.parse::<u32>().unwrap(), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_golden_however_often_they_are_told_and_whatever_is_killed() {
    let mut world = World::new().await;
    let worker = world.start_worker();
    world.wait_for("the topic", &["topics", "list"], |ended| ended.out.contains(TOPIC));
    let answers = answers();
    let mut lines: Vec<&str> = answers.iter().map(String::as_str).collect();
    // Responses that cannot become rows are quarantined.
    let too_humid = answers[0].replace("\"humidity\": 87", "\"humidity\": 140");
    let too_hot = answers[0].replace("\"temp_c\": 11.0", "\"temp_c\": 99.5");
    let nowhere = r#"{"error": {"code": 1006, "message": "No matching location found."}}"#;
    assert!(too_humid != answers[0] && too_hot != answers[0]);
    lines.extend([too_humid.as_str(), too_hot.as_str(), nowhere]);
    world.produce(TOPIC, &[], &lines);
    world.kill(worker);
    world.start_worker();
    world.produce(TOPIC, &[], &lines[..6]);
    assert_eq!(world.streamed(STREAM, 15).await, 3);
    assert_golden_tables(&world);
    let aside = format!("select quarantine_reason from {TABLE}_quarantine order by \"offset\"");
    let aside = world.run(&["sql", &aside, "-o", "csv"]).done();
    for (reason, words) in aside.lines().skip(1).zip(["humidity_percent", "temperature_celsius", "city_name"]) {
        assert!(reason.contains(words), "{aside}");
    }
    // Replay the topic from the earliest offset.
    world.run(&["streams", "reset", STREAM, "--to-earliest"]).done();
    world.streamed(STREAM, 30).await;
    assert_golden_tables(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_producer_tells_each_reading_once_and_a_silent_city_is_named() {
    let api = Api::start(Mood::Named(BTreeMap::new())).await;
    let mut world = World::new().await;
    world.set("ORCH_CONN_WEATHER_API", api.uri("weatherapi", ""));
    let world = world.at_work();
    world.wait_for("the topic", &["topics", "list"], |ended| ended.out.contains(TOPIC));
    // Scheduled runs send requests, too: the first run that receives a reading produces it.
    world.run(&["dags", "unpause", "weather_producer"]).done();
    let conf = json!({ "cities": ["London", "New York", "Samarqand", "Atlantis"] });
    let mut now = BTreeMap::new();
    for (nth, answer) in answers().iter().enumerate() {
        let read: Value = serde_json::from_str(answer).unwrap();
        now.insert(read["location"]["name"].as_str().unwrap().to_owned(), answer.clone());
        api.is(Mood::Named(now.clone()));
        world.good("weather_producer", &format!("nth-{nth}"), &conf);
    }
    // A run without new readings.
    world.good("weather_producer", "again", &conf);
    assert_eq!(world.streamed(STREAM, 6).await, 0);
    assert_golden_tables(&world);
    let asked = api.asked();
    let first = format!("GET /v1/current.json?q=New+York&aqi=yes&key={KEY} ");
    assert!(asked.iter().any(|line| line.starts_with(&first)), "{asked:?}");
    let log = ["tasks", "logs", "weather_producer", "ask_weather", "again"];
    let log =
        world.wait_for("the log", &log, |ended| ended.out.contains("0 cities have a new reading, 3 have not, 1 were"));
    assert!(log.out.contains("`Atlantis`") && !log.out.contains(KEY), "{log:?}");
    // The key of a record is its city.
    let keys = "select distinct convert_from(key, 'UTF8') as city from topic_record where key is not null order by 1";
    assert_eq!(world.csv(keys).await.lines().collect::<Vec<_>>(), ["city", "London", "New York", "Samarqand"]);

    world.run(&["dags", "unpause", "weather_silence"]).done();
    let cities = json!(["London", "Samarqand"]);
    world.good("weather_silence", "patient", &json!({ "cities": cities, "minutes": 100_000_000 }));
    world.trigger("weather_silence", "late", &json!({ "cities": cities, "minutes": 30 })).failed();
    let log = world.log("weather_silence", "cities_are_heard", "late");
    assert!(log.contains("`London` (last 2024-01-01T15:45:00Z), `Samarqand` (last 2022-12-22T17:30:00Z)"), "{log}");
}
