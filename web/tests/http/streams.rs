//! Streams in the API, with the shapes of Kafka Connect, and on pages. No process runs them here: the tests call the
//! store functions that such a process uses.

use crate::browser::Browser;
use crate::fake_lake::FakeLake;
use crate::fixture::{PASSWORD, Web};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use orch_store::stream::{
    Beat, Covered, Lease, NewStream, Progress, ShareBeat, StartAt, beat, beat_shares, commit_stream, fail_stream,
    get_stream, left_behind, open_shares, place_of_share, register_streams, set_capture, start_stream,
};
use orch_store::topic::{NewRecord, get_topic, produce};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PATH: &str = "/api/orch/v1/streams";
const LONG: Duration = Duration::from_hours(1);

fn stream(name: &str, topic: &str) -> NewStream {
    let spec = json!({ "topic": topic, "table": format!("shop.{name}"), "mode": "append",
        "key": ["city", "at"], "newest_by": null });
    NewStream { name: name.into(), version: "1".into(), spec }
}

async fn take(db: &mut PgConnection, offered: &[NewStream]) -> Vec<Lease> {
    let process = Beat { bundle: "shop", process: "worker-1@host", offered, held: &[], room: 9, lease: LONG };
    beat(db, &process).await.expect("it beats").taken
}

/// `running` reads two partitions of the topic `weather` and lags 3 records behind, `broken` has failed with a two-line
/// error, `calm` belongs to a bundle without a worker, and no bundle declares `gone`.
async fn with_streams() -> (Web, PgConnection, Lease) {
    let web = Web::new().await;
    let mut db = web.db().await;
    let body = json!({ "name": "weather", "partitions": 2 });
    assert_eq!(web.post("/api/orch/v1/topics", &body).await.status, StatusCode::CREATED);
    let record = |partition| NewRecord { value: Some("v".into()), partition: Some(partition), ..NewRecord::default() };
    produce(&mut db, "weather", &[record(0), record(0), record(0), record(1), record(1)]).await.unwrap();
    let declared = [stream("broken", "orders"), stream("running", "weather")];
    register_streams(&mut db, "shop", &[&declared[..], &[stream("gone", "old")]].concat(), false).await.unwrap();
    register_streams(&mut db, "shop", &declared, false).await.unwrap();
    register_streams(&mut db, "other", &[stream("calm", "sea")], false).await.unwrap();
    let taken = take(&mut db, &declared).await;
    let [broken, running] = &taken[..] else { panic!("both are free: {taken:?}") };
    let topic = get_topic(&mut db, "weather").await.unwrap().expect("it was created");
    let at = [0, 1].map(|partition| StartAt { partition, offset: 0, end_offset: 0, moves: false });
    start_stream(&mut db, running, &format!("log:{}", topic.no), &at).await.unwrap();
    let covered = vec![Covered { partition: 0, from: 0, to: 2, end_offset: 3 }];
    let progress = Progress { covered, records: 2, quarantined: 1, ..Progress::default() };
    commit_stream(&mut db, running, &progress).await.unwrap();
    fail_stream(&mut db, broken, "no table `shop.broken`\n<b>the disk</b> is full", Some(LONG)).await.unwrap();
    (web, db, running.clone())
}

fn names(page: &Value) -> Vec<&str> {
    page["streams"].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect()
}

#[tokio::test]
async fn streams_are_listed_by_state_name_and_order_page_by_page() {
    let (web, ..) = with_streams().await;
    for (query, expected) in [
        ("", &["broken", "calm", "gone", "running"][..]),
        ("?state=failed&state=running", &["broken", "running"]),
        ("?state=unassigned&order_by=-name", &["gone", "calm"]),
        ("?name_pattern=NN|go&order_by=name", &["gone", "running"]),
        ("?name_prefix_pattern=c|br", &["broken", "calm"]),
        ("?order_by=-lag,-topic&limit=2", &["running", "calm"]),
        ("?order_by=-lag&order_by=table&offset=1&limit=2", &["broken", "calm"]),
        ("?limit=0", &[]),
        ("?offset=9", &[]),
    ] {
        let page = web.get(&format!("{PATH}{query}")).await.body;
        assert_eq!(names(&page), expected, "{query}");
    }
    assert_eq!(web.get(&format!("{PATH}?state=unassigned&limit=1")).await.body["total_entries"], 2);
    for (query, status) in [("?state=lost", 422), ("?order_by=size", 400), ("?limit=-1", 422), ("?odd=1", 422)] {
        assert_eq!(web.get(&format!("{PATH}{query}")).await.status.as_u16(), status, "{query}");
    }
}

#[tokio::test]
async fn a_stream_says_how_far_it_is_and_why_it_failed() {
    let (web, mut db, lease) = with_streams().await;
    let running = web.get(&format!("{PATH}/running")).await.body;
    let offsets = json!([{ "partition": 0, "next_offset": 2, "end_offset": 3, "lag": 1, "process": "worker-1@host" },
        { "partition": 1, "next_offset": 0, "end_offset": 2, "lag": 2, "process": "worker-1@host" }]);
    assert_eq!((&running["state"], &running["partitions"]), (&json!("running"), &offsets));
    for (field, value) in [
        ("lag", json!(3)),
        ("records", json!(2)),
        ("records_last_hour", json!(2)),
        ("quarantined", json!(1)),
        ("commits", json!(1)),
        ("partition_count", json!(2)),
        ("process", json!("worker-1@host")),
        ("topic", json!("weather")),
        ("table", json!("shop.running")),
        ("is_declared", json!(true)),
        ("error", Value::Null),
    ] {
        assert_eq!(running[field], value, "{field}");
    }
    let record = NewRecord { value: Some("v".into()), partition: Some(1), ..NewRecord::default() };
    produce(&mut db, "weather", &[record]).await.unwrap();
    assert_eq!(web.get(&format!("{PATH}/running")).await.body["lag"], 4, "the log itself is asked");
    let covered = vec![Covered { partition: 1, from: 0, to: 3, end_offset: 3 }];
    commit_stream(&mut db, &lease, &Progress { covered, records: 3, ..Progress::default() }).await.unwrap();
    let minutes = web.get(&format!("{PATH}/running/minutes?hours=1")).await.body;
    let records: i64 = minutes["minutes"].as_array().unwrap().iter().filter_map(|one| one["records"].as_i64()).sum();
    assert_eq!(records, 5, "{minutes}");
    assert_eq!(web.get(&format!("{PATH}/running/minutes?hours=0")).await.body["minutes"], json!([]));

    let broken = web.get(&format!("{PATH}/broken")).await.body;
    assert_eq!((&broken["state"], &broken["failures"]), (&json!("failed"), &json!(1)));
    assert_eq!((&broken["waits_for_restart"], broken["next_try_at"].is_string()), (&json!(false), true));
    assert_eq!(broken["error"], "no table `shop.broken`\n<b>the disk</b> is full");
    assert_eq!(web.get(&format!("{PATH}/gone")).await.body["is_declared"], false);
    for below in ["", "/minutes"] {
        let missing = web.get(&format!("{PATH}/none{below}")).await;
        let words = json!("The Stream with name: `none` was not found");
        assert_eq!((missing.status.as_u16(), &missing.body["detail"]), (404, &words));
    }
}

#[tokio::test]
async fn a_stream_is_paused_resumed_restarted_and_deleted() {
    let (web, mut db, lease) = with_streams().await;
    let paused = web.post(&format!("{PATH}/running/pause"), &Value::Null).await.body;
    assert_eq!((&paused["state"], &paused["is_paused"]), (&json!("paused"), &json!(true)));
    assert!(left_behind(&mut db, &lease).await.is_err(), "its process has lost it");
    let resumed = web.post(&format!("{PATH}/running/resume"), &Value::Null).await.body;
    assert_eq!((&resumed["state"], &resumed["process"]), (&json!("unassigned"), &Value::Null));
    let restarted = web.post(&format!("{PATH}/broken/restart"), &Value::Null).await.body;
    assert_eq!((&restarted["state"], &restarted["error"]), (&json!("unassigned"), &Value::Null));

    let declared = web.send(Method::DELETE, &format!("{PATH}/running"), Some(&web.token), None).await;
    assert_eq!(declared.status, StatusCode::CONFLICT);
    assert!(declared.body["detail"].as_str().unwrap().contains("its bundle declares it"), "{}", declared.body);
    let deleted = web.send(Method::DELETE, &format!("{PATH}/gone"), Some(&web.token), None).await;
    assert_eq!((deleted.status.as_u16(), get_stream(&mut db, "gone").await.unwrap()), (204, None));
    for (method, below) in
        [(Method::POST, "/pause"), (Method::POST, "/resume"), (Method::POST, "/restart"), (Method::DELETE, "")]
    {
        let path = format!("{PATH}/gone{below}");
        assert_eq!(web.send(method, &path, Some(&web.token), None).await.status.as_u16(), 404, "{path}");
    }
    assert_eq!(web.deeds().await, ["add_topic", "pause_stream", "resume_stream", "restart_stream", "delete_stream"]);
}

#[tokio::test]
async fn a_stream_is_moved_to_where_a_person_says() {
    let (web, mut db, _) = with_streams().await;
    let path = format!("{PATH}/running/reset");
    for body in [
        json!({ "to": "earliest" }),
        json!({ "to": "earliest", "empty_table": true }),
        json!({ "to": "latest", "partition": 0 }),
        json!({ "to": { "offset": 17 }, "partition": 1 }),
        json!({ "to": { "time": "2026-11-22T06:00:00Z" } }),
    ] {
        let answer = web.post(&path, &body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["reset_to"]), (200, &body), "{}", answer.body);
    }
    let taken = take(&mut db, &[stream("running", "weather")]).await;
    let wanted = left_behind(&mut db, &taken[0]).await.unwrap().reset_to;
    assert_eq!(json!(wanted), json!({ "to": { "time": "2026-11-22T06:00:00Z" } }), "the last one counts");
    let of_calm = web.post(&format!("{PATH}/calm/reset"), &json!({ "to": { "offset": 3 } })).await;
    assert_eq!(of_calm.status, StatusCode::OK, "its partitions are not known yet");
    for (body, status, words) in [
        (json!({}), 422, "Field required"),
        (json!({ "to": null }), 422, "`earliest`"),
        (json!({ "to": "newest" }), 422, "`earliest`"),
        (json!({ "to": {} }), 422, "`earliest`"),
        (json!({ "to": { "offset": 1, "time": "2026-11-22T06:00:00Z" } }), 422, "`earliest`"),
        (json!({ "to": { "offset": -1 } }), 422, "from 0 on"),
        (json!({ "to": { "offset": "1" } }), 422, "from 0 on"),
        (json!({ "to": { "time": "soon" } }), 422, "valid datetime"),
        (json!({ "to": "latest", "partition": -1 }), 422, "greater than or equal to 0"),
        (json!({ "to": "latest", "odd": 1 }), 422, "Extra inputs"),
        (json!({ "to": { "offset": 1 } }), 409, "name the partition"),
        (json!({ "to": "earliest", "partition": 0, "empty_table": true }), 409, "leave the partition out"),
        (json!({ "to": "latest", "partition": 2 }), 409, "no partition of that number"),
    ] {
        let answer = web.post(&path, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
        assert!(answer.body.to_string().contains(words), "{words}: {}", answer.body);
    }
    assert_eq!(web.post(&format!("{PATH}/none/reset"), &json!({ "to": "latest" })).await.status.as_u16(), 404);
}

#[tokio::test]
async fn a_table_with_rows_of_another_stream_is_not_emptied() {
    let (web, mut db, _) = with_streams().await;
    let spec = json!({ "topic": "sea", "table": "shop.running", "mode": "append" });
    let daily = NewStream { name: "daily".into(), version: "1".into(), spec };
    register_streams(&mut db, "more", &[daily], false).await.unwrap();
    let path = format!("{PATH}/running/reset");
    let refused = web.post(&path, &json!({ "to": "earliest", "empty_table": true })).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.body.to_string().contains("has rows of daily as well"), "{}", refused.body);
    assert_eq!(web.post(&path, &json!({ "to": "earliest" })).await.status, StatusCode::OK);
}

/// A capture reads the log of a database instead of a topic: its lag is in bytes, and a reset takes a new snapshot.
#[tokio::test]
async fn a_capture_says_where_it_is_and_begins_anew_or_not_at_all() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let spec =
        json!({ "captures": "postgres", "topic": "shop.item", "table": "public.item", "table_connection": "shop_db" });
    let declared = [NewStream { name: "changes".into(), version: "1".into(), spec }];
    register_streams(&mut db, "shop", &declared, false).await.unwrap();
    let lease = take(&mut db, &declared).await.remove(0);
    let at = [StartAt { partition: 0, offset: 16, end_offset: 1_040, moves: true }];
    start_stream(&mut db, &lease, "postgres:1/shop/orch_changes", &at).await.unwrap();
    let position = json!({ "phase": "changes", "slot": "orch_changes", "lsn": 16, "tables": { "public.item": 7 }, "snapshots": 1,
        "missing": ["public.gone"], "lag_ms": 1_250 });
    set_capture(&mut db, &lease.name, &serde_json::from_value(position.clone()).unwrap()).await.unwrap();

    let told = web.get(&format!("{PATH}/changes")).await.body;
    assert_eq!((&told["capture"], &told["lag"]), (&position, &json!(1_024)));
    assert_eq!(web.get("/connectors/changes").await.body["type"], "source");
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/streams/changes").await;
    for part in [
        "public.item → shop.item",
        "Lag in bytes",
        "0/10",
        "follows the changes",
        "1.2 s at",
        "public.gone",
        "Read all tables anew",
    ] {
        assert!(page.has(part), "{part}: {}", page.html);
    }
    assert!(!page.has("Next offset") && !page.has("name=\"offset\""), "it has no partitions");

    for body in [
        json!({ "to": "latest" }),
        json!({ "to": { "offset": 0 } }),
        json!({ "to": "earliest", "partition": 0 }),
        json!({ "to": "earliest", "empty_table": true }),
    ] {
        let answer = web.post(&format!("{PATH}/changes/reset"), &body).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{body}");
        assert!(answer.body.to_string().contains("a new snapshot"), "{}", answer.body);
    }
    assert_eq!(web.post(&format!("{PATH}/changes/reset"), &json!({ "to": "earliest" })).await.status, StatusCode::OK);
    let again = browser.submit("/streams/changes", "/streams/changes", &[("do", "reset"), ("to", "earliest")]).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "{}", again.html);
}

#[tokio::test]
async fn viewers_look_and_operators_steer() {
    let (web, ..) = with_streams().await;
    for (name, role, may) in [("vera", "viewer", false), ("ulf", "user", false), ("otto", "op", true)] {
        web.add_user(name, role).await;
        let token = web.log_in(name, PASSWORD).await.expect("it may log in");
        for path in [PATH, "/api/orch/v1/streams/running", "/connectors", "/connectors/running/status"] {
            assert_eq!(web.send(Method::GET, path, Some(&token), None).await.status.as_u16(), 200, "{role} {path}");
        }
        for (method, path) in [
            (Method::POST, "/api/orch/v1/streams/running/pause"),
            (Method::PUT, "/connectors/running/resume"),
            (Method::POST, "/connectors/running/restart"),
        ] {
            let answer = web.send(method, path, Some(&token), None).await;
            assert_eq!(answer.status != StatusCode::FORBIDDEN, may, "{role} {path}");
            if !may && path.starts_with("/connectors") {
                let message = format!(
                    "user `{name}` has the role {role}, and this needs the role op\n\
                    hint: ask an admin for it: `orch users set-role -u {name} -r op`"
                );
                assert_eq!(answer.body, json!({ "error_code": 403, "message": message }));
            }
        }
    }
}

#[tokio::test]
async fn tools_for_kafka_connect_find_connectors() {
    let (web, mut db, lease) = with_streams().await;
    assert_eq!(web.get("/connectors").await.body, json!(["broken", "calm", "gone", "running"]));
    let expanded = web.get("/connectors?expand=status&expand=info").await.body;
    assert_eq!(expanded["calm"]["status"]["connector"]["state"], "UNASSIGNED");
    assert_eq!(expanded["calm"]["info"]["config"]["topics"], "sea");

    let info = web.get("/connectors/running").await.body;
    let config = json!({ "name": "running", "connector.class": "orch", "topics": "weather", "tasks.max": "1",
        "topic": "weather", "table": "shop.running", "mode": "append", "key": "city, at" });
    let tasks = json!([{ "connector": "running", "task": 0 }]);
    assert_eq!(info, json!({ "name": "running", "config": config, "tasks": tasks, "type": "sink" }));
    assert_eq!(web.get("/connectors/running/config").await.body, info["config"]);
    let topics = web.get("/connectors/running/topics").await.body;
    assert_eq!(topics, json!({ "running": { "topics": ["weather"] } }));

    let status = web.get("/connectors/running/status").await.body;
    let worker = "worker-1@host";
    let tasks = json!([{ "id": 0, "state": "RUNNING", "worker_id": worker }]);
    let connector = json!({ "state": "RUNNING", "worker_id": worker });
    assert_eq!(status, json!({ "name": "running", "connector": connector, "tasks": tasks, "type": "sink" }));
    let failed = web.get("/connectors/broken/status").await.body;
    assert_eq!(failed["connector"]["state"], "FAILED");
    assert!(failed["tasks"][0]["trace"].as_str().unwrap().contains("is full"), "{failed}");

    for (method, path, status, state) in [
        (Method::PUT, "running/pause", 202, "PAUSED"),
        (Method::PUT, "running/resume", 202, "UNASSIGNED"),
        (Method::POST, "running/restart?onlyFailed=true&includeTasks=true", 204, "UNASSIGNED"),
        (Method::POST, "broken/restart?onlyFailed=true", 204, "UNASSIGNED"),
        (Method::POST, "broken/tasks/0/restart", 204, "UNASSIGNED"),
    ] {
        let answer = web.send(method, &format!("/connectors/{path}"), Some(&web.token), None).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (status, &json!("")), "{path}");
        let name = path.split('/').next().unwrap();
        let seen = web.get(&format!("/connectors/{name}/status")).await.body;
        assert_eq!((&seen["connector"]["state"], &seen["tasks"][0]["state"]), (&json!(state), &json!(state)), "{path}");
    }
    assert!(left_behind(&mut db, &lease).await.is_err());
    let deeds = web.deeds().await;
    assert_eq!(deeds[1..], ["pause_stream", "resume_stream", "restart_stream", "restart_stream"]);

    let none = web.get("/connectors/none/status").await;
    let words = "The Stream with name: `none` was not found";
    assert_eq!((none.status.as_u16(), none.body), (404, json!({ "error_code": 404, "message": words })));
    for task in ["1", "a"] {
        let path = format!("/connectors/running/tasks/{task}/restart");
        let answer = web.send(Method::POST, &path, Some(&web.token), None).await;
        assert_eq!(answer.body["error_code"], json!(answer.status.as_u16()));
        assert!(["404", "422"].contains(&answer.status.as_str()), "{task}: {}", answer.body);
    }
    let stranger = web.send(Method::GET, "/connectors", None, None).await;
    assert_eq!((stranger.status.as_u16(), &stranger.body["error_code"]), (401, &json!(401)));
    assert_eq!(stranger.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn the_tasks_of_a_stream_are_its_shares() {
    let (web, mut db, _) = with_streams().await;
    let mut wide = stream("wide", "weather");
    wide.spec["shares"] = json!(2);
    let declared = [wide];
    register_streams(&mut db, "wide", &declared, false).await.unwrap();
    let process = Beat { bundle: "wide", process: "lead:1", offered: &declared, held: &[], room: 9, lease: LONG };
    let lease = beat(&mut db, &process).await.unwrap().taken.remove(0);
    let at = [0, 1].map(|partition| StartAt { partition, offset: 0, end_offset: 0, moves: false });
    start_stream(&mut db, &lease, "kafka/x", &at).await.unwrap();
    open_shares(&mut db, &lease, 2).await.unwrap();
    let held = ShareBeat { bundle: "wide", process: "one:2", offered: &declared, held: &[], lease: LONG };
    let held = beat_shares(&mut db, &held).await.unwrap().taken;

    let info = web.get("/connectors/wide").await.body;
    let tasks = json!([{ "connector": "wide", "task": 0 }, { "connector": "wide", "task": 1 }]);
    assert_eq!((&info["config"]["tasks.max"], &info["tasks"]), (&json!("2"), &tasks));
    // The process releases one share, and continues to read the other.
    let path = "/connectors/wide/tasks/1/restart";
    assert_eq!(web.send(Method::POST, path, Some(&web.token), None).await.status, StatusCode::NO_CONTENT);
    let status = web.get("/connectors/wide/status").await.body;
    let tasks = json!([
        { "id": 0, "state": "RUNNING", "worker_id": "one:2" },
        { "id": 1, "state": "UNASSIGNED", "worker_id": "" },
    ]);
    let connector = json!({ "state": "RUNNING", "worker_id": "lead:1" });
    assert_eq!((&status["tasks"], &status["connector"]), (&tasks, &connector));
    assert!(place_of_share(&mut db, &held[0], 2).await.unwrap().is_some());
    assert_eq!(place_of_share(&mut db, &held[1], 2).await.unwrap(), None);
    let page = Browser::logged_in(&web).await.get("/streams/wide").await;
    for part in ["Read by", "<td class=\"value\">one</td>", "<td class=\"value\">no worker</td>"] {
        assert!(page.has(part), "{part} is not in {}", page.html);
    }
    assert_eq!(web.post(&format!("{PATH}/wide/shares/1/restart"), &json!(null)).await.status, StatusCode::OK);
    let none = web.post(&format!("{PATH}/wide/shares/2/restart"), &json!(null)).await;
    assert_eq!(none.status, StatusCode::CONFLICT, "{}", none.body);
    let none = web.send(Method::POST, "/connectors/wide/tasks/2/restart", Some(&web.token), None).await;
    assert_eq!(none.body, json!({ "error_code": 404, "message": "Unknown task: the stream has the tasks 0 to 1" }));
    // If the stream is not running, all of it restarts.
    fail_stream(&mut db, &lease, "the disk is full", None).await.unwrap();
    let failed = web.get("/connectors/wide/status").await.body;
    assert_eq!(
        (&failed["tasks"][1]["state"], &failed["tasks"][1]["trace"]),
        (&json!("FAILED"), &json!("the disk is full"))
    );
    assert_eq!(web.send(Method::POST, path, Some(&web.token), None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(get_stream(&mut db, "wide").await.unwrap().unwrap().failures, 0);
    assert!(left_behind(&mut db, &lease).await.is_err());
}

#[tokio::test]
async fn streams_are_looked_at_and_steered_by_their_pages() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/streams").await.has("No streams yet"));
    let (mut web, mut db, lease) = with_streams().await;
    let mut browser = Browser::logged_in(&web).await;
    let list = browser.get("/streams").await;
    for part in ["✕ Streams", "weather → shop.running", "no table `shop.broken`", "unassigned", "/streams/running"]
    {
        assert!(list.has(part), "{part}: {}", list.html);
    }
    assert!(!list.has("is full"), "an error is one line there");
    let home = browser.get("/").await;
    for part in ["/streams/broken", "no table `shop.broken`", "Open the stream"] {
        assert!(home.has(part), "{part}: {}", home.html);
    }
    assert!(browser.get("/streams?q=none").await.has("No matching streams"));

    let page = browser.get("/streams/running").await;
    for part in
        ["svg class=\"chart\"", "Records a minute", "/topics/weather/records", "worker-1@host", ">append<", "Pause"]
    {
        assert!(page.has(part), "{part}: {}", page.html);
    }
    assert!(!page.has("Why it failed") && !page.has("Delete the stream"));
    let broken = browser.get("/streams/broken").await;
    assert!(broken.has("Why it failed") && broken.has("&#60;b&#62;the disk&#60;/b&#62; is full"), "{}", broken.html);
    assert!(broken.has("1 failure since its last commit") && broken.has("Tried again <time"), "{}", broken.html);
    assert!(broken.has("Nothing was committed in the last 3 hours"), "{}", broken.html);
    fail_stream(&mut db, &lease, "no", None).await.unwrap();
    assert!(browser.get("/streams/running").await.has("It waits until it is restarted."));

    let at = "/streams/running";
    for (word, seen) in [("restart", "No process runs it"), ("pause", "Resume"), ("resume", "Pause")] {
        assert_eq!(browser.submit(at, at, &[("do", word)]).await.location(), at);
        let page = browser.get(at).await;
        assert!(page.has(seen), "{word}: {}", page.html);
    }
    let reset = [("do", "reset"), ("to", "offset"), ("offset", "17"), ("time", ""), ("partition", "")];
    let refused = browser.submit(at, at, &reset).await;
    assert!(
        refused.has("Not moved: an offset belongs to one partition") && refused.has("value=\"17\""),
        "{}",
        refused.html
    );
    let odd = browser.submit(at, at, &[("do", "reset"), ("to", "time"), ("time", "soon")]).await;
    assert!(odd.has("Not moved: a time is written as"), "{}", odd.html);
    let reset = [("do", "reset"), ("to", "offset"), ("offset", "17"), ("time", ""), ("partition", "1")];
    assert_eq!(browser.submit(at, at, &reset).await.location(), at);
    assert!(browser.get(at).await.has("it goes on from offset 17 of partition 1"));

    let gone = browser.get("/streams/gone").await;
    assert!(gone.has("no longer declares it") && gone.has("Delete the stream"), "{}", gone.html);
    assert_eq!(browser.submit("/streams/gone", "/streams/gone", &[("do", "delete")]).await.location(), "/streams");
    assert_eq!(browser.get("/streams/gone").await.status, 404);
    assert!(browser.submit(at, at, &[("do", "delete")]).await.has("its bundle declares it"));
    let page = browser.get(at).await;
    assert!(!page.has("/lake/shop/"), "there is no lake here: {}", page.html);
    web.restart(|config| config.lake = FakeLake::door("CO"));
    let page = Browser::logged_in(&web).await.get(at).await;
    assert!(page.has("\"/lake/shop/running\"") && page.has("\"/lake/shop/running_quarantine\""), "{}", page.html);
}

#[tokio::test]
async fn the_page_of_a_topic_names_what_reads_it() {
    let (web, ..) = with_streams().await;
    let page = Browser::logged_in(&web).await.get("/topics/weather/records").await;
    assert!(page.has(r#"href="/streams/running">running</a></td><td class="num mono">3</td>"#), "{:?}", page.links());
    assert!(!page.has("/streams/broken"), "it reads another topic");
}

/// The metrics match the guide, and each has its type before its samples.
#[tokio::test]
async fn metrics_are_those_of_the_guide_in_the_format_of_prometheus() {
    let (web, ..) = with_streams().await;
    web.add_user("eve", "viewer").await;
    let token = web.log_in("eve", PASSWORD).await.expect("she may log in");
    assert_eq!(web.send(Method::GET, "/metrics", None, None).await.status, StatusCode::UNAUTHORIZED);
    let request =
        Request::get("/metrics").header("host", "localhost").header("authorization", format!("Bearer {token}"));
    let answer = web.bytes(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.bytes).unwrap();
    let (mut kinds, mut samples) = (BTreeMap::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} is there twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok() && samples.insert(series), "{line}");
            assert!(kinds.contains_key(series.split('{').next().unwrap()), "{line}");
        }
    }
    let guide = include_str!("../../../docs/guides/monitoring.md");
    // The metrics that other processes serve themselves follow.
    let (guide, _) = guide.split_once("can also be asked themselves").unwrap();
    let told = guide.lines().filter(|line| line.starts_with("| `orch_")).flat_map(|line| {
        let names = line.split('|').nth(1).unwrap();
        names.split(',').map(|name| name.trim().trim_matches('`'))
    });
    let names = kinds.into_keys().collect::<BTreeSet<_>>();
    assert_eq!(names, told.collect());
    let shown =
        [include_str!("../../../deploy/prometheus/alerts.yml"), include_str!("../../../deploy/grafana/orch.json")];
    for word in shown.iter().flat_map(|file| file.split(|c: char| c != '_' && !c.is_ascii_lowercase())) {
        assert!(!word.starts_with("orch_") || names.contains(word), "{word} is no metric");
    }
    // The dashboard shows the metric of the alert `OrchTransactionStaysOpen`.
    assert!(shown.iter().all(|file| file.contains("orch_database_oldest_transaction_seconds")));
    for series in [
        "orch_stream_records_total{stream=\"running\"} 2",
        "orch_stream_lag_records{stream=\"running\"} 3",
        "orch_stream_failing{stream=\"broken\"} 1",
        "orch_pool_slots{pool=\"default_pool\"} -1",
        "orch_dags_failing 0",
    ] {
        assert!(text.lines().any(|line| line == series), "{series}\n{text}");
    }
    assert!(!text.contains("gone"), "{text}");
}

/// A stream creates the topic that it reads, so a mistyped name is an empty topic.
#[tokio::test]
async fn a_stream_of_an_empty_topic_names_a_topic_that_has_records() {
    let (web, mut db, _) = with_streams().await;
    let declared = [stream("mistyped", "wether"), stream("new", "sales")];
    register_streams(&mut db, "shop", &declared, false).await.unwrap();
    for lease in take(&mut db, &declared).await {
        let at = [StartAt { partition: 0, offset: 0, end_offset: 0, moves: false }];
        start_stream(&mut db, &lease, "log:77", &at).await.unwrap();
    }
    let note = async |name: &str| web.get(&format!("{PATH}/{name}")).await.body["topic_note"].clone();
    assert_eq!(note("mistyped").await, "Topic `wether` has no records yet. Did you mean `weather`, which has records?");
    assert_eq!(note("new").await, "Topic `sales` has no records yet.");
    assert_eq!(note("running").await, Value::Null);
    let page = Browser::logged_in(&web).await.get("/streams/mistyped").await;
    assert!(page.has("Did you mean `weather`"), "{}", page.html);
}

/// Tools that use the name of the replaced connector find the stream by that name.
#[tokio::test]
async fn a_stream_has_a_second_name_in_the_api_of_kafka_connect() {
    let (web, mut db, _) = with_streams().await;
    let mut sink = stream("logging_weather", "weather");
    sink.spec["connector"] = json!("iceberg-sink");
    register_streams(&mut db, "shop", &[sink], false).await.unwrap();
    let status = web.get("/connectors/iceberg-sink/status").await.body;
    assert_eq!((&status["name"], &status["type"]), (&json!("logging_weather"), &json!("sink")));
    assert_eq!(web.get("/connectors/iceberg-sink/topics").await.body["logging_weather"]["topics"], json!(["weather"]));
    let restart = web.send(Method::POST, "/connectors/iceberg-sink/tasks/0/restart", Some(&web.token), None).await;
    assert_eq!(restart.status, StatusCode::NO_CONTENT);
    assert_eq!(web.get("/connectors/none-sink/status").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_a_record_that_is_not_read_yet_can_be_skipped() {
    let (web, mut db, _) = with_streams().await;
    let skip = async |stream: &str, body: Value| web.post(&format!("{PATH}/{stream}/skip"), &body).await;
    let at = |partition: i64, offset: i64| json!({ "partition": partition, "offset": offset });
    assert_eq!(skip("running", at(0, 1)).await.status, StatusCode::CONFLICT);
    assert_eq!(skip("running", at(7, 9)).await.status, StatusCode::CONFLICT);
    assert_eq!(skip("running", json!({ "partition": 0, "offset": -1 })).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(skip("nobody", at(0, 9)).await.status, StatusCode::NOT_FOUND);
    let skipped = skip("running", at(0, 2)).await;
    assert_eq!((skipped.status, &skipped.body["name"]), (StatusCode::OK, &json!("running")));
    let rows: Vec<(String, i32, i64)> =
        sqlx::query_as("select stream, partition, record_offset from stream_skip").fetch_all(&mut db).await.unwrap();
    assert_eq!(rows, [("running".to_owned(), 0, 2)]);
}
