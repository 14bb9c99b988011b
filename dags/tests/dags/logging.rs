//! The logging server as a real process over HTTP, with the built-in log and with Kafka: readings reach the table.

use crate::http::{PlainResponse, ask};
use crate::world::World;
use orch_test_support::guide::{examples, guide};
use orch_test_support::kafka;
use serde_json::{Value, json};

const SERVER: [&str; 3] = ["logging-server", "--port", "0"];

/// Returns the status and the body.
fn get(address: &str, path: &str) -> (u16, String) {
    let PlainResponse { status, body, .. } = ask(address, path, &[]);
    (status, body)
}

fn sql(world: &World, query: &str) -> Vec<String> {
    let csv = world.run(&["sql", query, "-o", "csv"]).done();
    csv.lines().skip(1).map(String::from).collect()
}

/// Returns the current hour of the database, which may change between two calls.
async fn hour(world: &World) -> String {
    world
        .csv("select to_char(now() at time zone 'utc', 'YYYY-MM-DD-HH24') as hour")
        .await
        .lines()
        .nth(1)
        .unwrap()
        .into()
}

/// Sends one valid reading and several invalid ones, and checks the responses verbatim.
async fn takes_readings(world: &World, address: &str) {
    assert_eq!(get(address, "/health"), (200, r#"{"status":"healthy"}"#.into()));
    let before = hour(world).await;
    let (status, body) = get(address, "/log?city=TestCity&temperature=75.5");
    let logged: Value = serde_json::from_str(&body).unwrap();
    let ts = logged["data"]["ts"].as_str().unwrap().to_owned();
    assert!(status == 200 && [before, hour(world).await].contains(&ts), "{body}");
    let expected = format!(
        r#"{{"status":"success","message":"Weather data logged","data":{{"city":"TestCity","temperature":"75.5","ts":"{ts}"}}}}"#
    );
    assert_eq!(body, expected);
    assert_eq!(get(address, "/log?city=S%C3%A3o+Paulo&temperature=-3.5").0, 200);
    let missing = r#"{"status":"error","message":"Missing required parameters: city and temperature"}"#;
    for path in ["/log", "/log?city=x", "/log?temperature=1", "/log?city=&temperature=1"] {
        assert_eq!(get(address, path), (400, missing.into()), "{path}");
    }
    let long = format!("/log?city={}&temperature=1", "x".repeat(201));
    assert_eq!(get(address, &long).0, 400);
    assert_eq!(get(address, "/else").0, 404);
    assert_eq!(world.streamed("logging_weather", 2).await, 0);
    let rows = sql(world, "select city, temperature, ts from iceberg.default.weather order by city");
    assert_eq!(rows[1], format!("TestCity,75.5,{ts}"));
    assert!(rows.len() == 2 && rows[0].starts_with("São Paulo,-3.5,"), "{rows:?}");
    let guide = examples(&guide("weather-streams"), "sql");
    let (_, statements) = guide.iter().find(|(_, example)| example.contains("default.weather")).unwrap();
    for (statement, answer) in statements.split(';').map(str::trim).zip(["weather", "São Paulo,-3.5 TestCity,75.5"]) {
        let mut found = sql(world, statement);
        found.sort();
        assert!(found.join(" ").contains(answer), "{statement}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_is_answered_is_in_the_table_whatever_is_killed() {
    let mut world = World::new().await;
    // The server starts before any worker has created the topic.
    let (server, address) = world.start_server(&SERVER);
    let worker = world.start_worker();
    takes_readings(&world, &address).await;
    // A reading that cannot be written is not acknowledged with 200.
    let mut db = world.db().await;
    sqlx::raw_sql("alter table topic_record rename to gone").execute(&mut db).await.unwrap();
    let failed = r#"{"status":"error","message":"Weather data was not logged"}"#;
    assert_eq!(get(&address, "/log?city=Lost&temperature=1.00"), (500, failed.into()));
    sqlx::raw_sql("alter table gone rename to topic_record").execute(&mut db).await.unwrap();
    // Kill worker and server after the response.
    world.kill(worker);
    assert_eq!(get(&address, "/log?city=Last&temperature=1.00").0, 200);
    world.kill(server);
    world.start_worker();
    assert_eq!(world.streamed("logging_weather", 3).await, 0);
    assert_eq!(sql(&world, "select city from default.weather where city = 'Last'"), ["Last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_sends_its_minute_to_the_server_that_a_connection_names() {
    let mut world = World::new().await;
    let (_, address) = world.start_server(&SERVER);
    world.set("ORCH_CONN_LOGGING_SERVER", format!("http://{address}"));
    let world = world.at_work();
    world.run(&["dags", "unpause", "logging_client"]).done();
    world.good("logging_client", "sent", &json!({}));
    world.run(&["dags", "pause", "logging_client"]).done();
    let began = "select count(*) as runs from dag_run where dag_id = 'logging_client' and state <> 'success'";
    world.wait_for("the end of its runs", &["dags", "list-runs", "logging_client", "-o", "json"], |ended| {
        !ended.out.contains("\"running\"") && !ended.out.contains("\"queued\"")
    });
    assert_eq!(world.csv(began).await, "runs\n0\n");
    let records = world.csv("select count(*) / 120 as runs, count(*) % 120 as rest from topic_record").await;
    let runs: i64 = records.lines().nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(runs >= 1 && records.ends_with(",0\n"), "{records}");
    world.streamed("logging_weather", runs * 120).await;
    assert_eq!(sql(&world, "select count(*) from default.weather"), [(runs * 120).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_connection_to_kafka_readings_go_there() {
    let broker = kafka().await;
    let mut world = World::new().await;
    world.set("ORCH_CONN_TOPICS", format!("kafka://{}", broker.address()));
    let (_, address) = world.start_server(&SERVER);
    // The broker creates the topic with the first record.
    assert_eq!(get(&address, "/log?city=First&temperature=1").0, 200);
    world.start_worker();
    assert_eq!(world.streamed("logging_weather", 1).await, 0);
    assert_eq!(get(&address, "/log?city=Second&temperature=2").0, 200);
    assert_eq!(world.streamed("logging_weather", 2).await, 0);
    assert_eq!(sql(&world, "select city, temperature from default.weather order by city"), ["First,1", "Second,2"]);
}

#[tokio::test]
async fn other_machines_are_not_served_unless_a_person_says_so() {
    let mut world = World::new().await;
    let refused = world.run(&["logging-server", "--host", "0.0.0.0", "--port", "0"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.err.contains("over plain http") && refused.err.contains("hint: ") && refused.err.contains("--insecure")
    );
    world.start_server(&["logging-server", "--host", "0.0.0.0", "--port", "0", "--insecure"]);
    let helped = world.run(&["logging-server", "--help"]).done();
    assert!(
        ["--host", "--port", "--insecure", "9998", "--database-url"].iter().all(|word| helped.contains(word)),
        "{helped}"
    );
    world.set("ORCH_CONN_TOPICS", "mysql://h/d");
    let refused = world.run(&SERVER);
    assert!(refused.code == 2 && refused.err.contains("has no topics"), "{refused:?}");
}
