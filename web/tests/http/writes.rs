//! Bulk changes, task groups, notes, favorites and manual outputs; and lists with cursors.

use crate::fixture::{Web, dag};
use axum::http::{Method, StatusCode};
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::get_run;
use orch_web::Role;
use serde_json::{Value, json};

async fn patch(web: &Web, path: &str, body: Value) -> Value {
    let answer = web.change(Method::PATCH, path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{path} {body}: {}", answer.body);
    answer.body
}

#[tokio::test]
async fn many_runs_are_changed_at_once_and_each_says_what_became_of_it() {
    let web = Web::new().await;
    let (a, b, c) = (web.trigger("chain").await, web.trigger("chain").await, web.trigger("mapped").await);
    let update = |entities: Value| json!({ "actions": [{ "action": "update", "entities": entities }] });
    let entities = json!([{ "dag_run_id": a, "state": "failed", "note": "gone" }, { "dag_run_id": "no" }]);
    let done = patch(&web, "/api/v2/dags/chain/dagRuns", update(entities)).await;
    assert_eq!(done["update"]["success"], json!([format!("chain.{a}")]));
    assert_eq!(done["update"]["errors"][0]["status_code"], 404);
    assert_eq!((&done["create"], &done["delete"]), (&Value::Null, &Value::Null));
    let run = web.get(&format!("/api/v2/dags/chain/dagRuns/{a}")).await.body;
    assert_eq!((&run["state"], &run["note"]), (&json!("failed"), &json!("gone")));
    let body = json!({ "actions": [
        { "action": "delete", "entities": [{ "dag_run_id": a, "dag_id": "chain" }, { "dag_run_id": b, "dag_id": "chain" }] },
        { "action": "update", "entities": [{ "dag_run_id": c, "dag_id": "mapped", "note": "x", "state": "failed" }],
          "update_mask": ["note"] },
        { "action": "create", "entities": [{ "dag_run_id": "new" }] } ] });
    let done = patch(&web, "/api/v2/dags/~/dagRuns", body).await;
    assert_eq!(done["delete"]["success"], json!([format!("chain.{a}")]), "{done}");
    assert_eq!(done["delete"]["errors"][0]["status_code"], 409, "it runs");
    assert_eq!(done["create"]["errors"][0]["status_code"], 405);
    let run = web.get(&format!("/api/v2/dags/mapped/dagRuns/{c}")).await.body;
    assert_eq!((&run["state"], &run["note"]), (&json!("running"), &json!("x")), "its state was masked");
    let skipped = json!({ "actions": [
        { "action": "delete", "entities": ["nothing"], "action_on_non_existence": "skip" }] });
    let done = patch(&web, "/api/v2/dags/chain/dagRuns", skipped).await;
    assert_eq!(done["delete"], json!({ "success": [], "errors": [] }));
    for (body, place) in [
        (json!({}), json!(["body", "actions"])),
        (json!({ "actions": [{ "action": "burn", "entities": [] }] }), json!(["body", "actions", 0, "action"])),
        (update(json!([{ "state": "failed" }])), json!(["body", "actions", 0, "entities", 0, "dag_run_id"])),
        (update(json!([{ "dag_run_id": 1 }])), json!(["body", "actions", 0, "entities", 0, "dag_run_id"])),
        (update(json!([{ "dag_run_id": "x", "odd": 1 }])), json!(["body", "actions", 0, "entities", 0, "odd"])),
        (update(json!(null)), json!(["body", "actions", 0, "entities"])),
    ] {
        let answer = web.change(Method::PATCH, "/api/v2/dags/chain/dagRuns", &body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["detail"][0]["loc"]),
            (422, &place),
            "{body}: {}",
            answer.body
        );
    }
    assert!(web.deeds().await.contains(&format!("delete_dag_run chain {a}")));
}

#[tokio::test]
async fn deleting_in_bulk_asks_for_the_role_that_deleting_asks_for() {
    let web = Web::new().await;
    web.add_user("ada", Role::User.as_str()).await;
    let token = web.log_in("ada", crate::fixture::PASSWORD).await.unwrap();
    let run = web.trigger("chain").await;
    let send = async |action: &str, expected: u16| {
        let body = json!({ "actions": [{ "action": action, "entities": [{ "dag_run_id": run, "note": "x" }] }] });
        let path = "/api/v2/dags/chain/dagRuns";
        let answer = web.send(Method::PATCH, path, Some(&token), Some(body.to_string())).await;
        assert_eq!(answer.status.as_u16(), expected, "{action}: {}", answer.body);
    };
    send("update", 200).await;
    send("delete", 403).await;
}

#[tokio::test]
async fn many_runs_are_cleared_at_once_or_none() {
    let web = Web::new().await;
    let (a, b) = (web.trigger("chain").await, web.trigger("chain").await);
    let path = "/api/v2/dags/chain/clearDagRuns";
    for run in [&a, &b] {
        patch(&web, &format!("/api/v2/dags/chain/dagRuns/{run}"), json!({ "state": "failed" })).await;
    }
    let runs = json!([{ "dag_run_id": a }, { "dag_run_id": b }]);
    let would = web.post(path, &json!({ "dag_runs": runs })).await;
    assert_eq!((would.status.as_u16(), would.body["total_entries"].as_u64() >= Some(2)), (200, true), "{}", would.body);
    let missing = json!({ "dag_runs": [{ "dag_run_id": a }, { "dag_run_id": "no" }], "dry_run": false });
    assert_eq!(web.post(path, &missing).await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.get(&format!("/api/v2/dags/chain/dagRuns/{a}")).await.body["state"], "failed", "none was cleared");
    let done = web.post(path, &json!({ "dag_runs": runs, "dry_run": false, "note": "again" })).await;
    assert_eq!(done.body["total_entries"], 2, "{}", done.body);
    for run in done.body["dag_runs"].as_array().unwrap() {
        assert_eq!((&run["state"], &run["note"]), (&json!("running"), &json!("again")));
    }
    for body in [json!({}), json!({ "dag_runs": [] }), json!({ "dag_runs": runs, "partition_key": "x" })] {
        assert_eq!(web.post(path, &body).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

#[tokio::test]
async fn many_instances_and_whole_groups_are_marked_and_written_on() {
    let web = Web::new().await;
    let task = |id: &str, group: Option<&str>| json!({ "task_id": id, "kind": "rust", "group_id": group });
    let spec = dag(json!({ "dag_id": "grouped",
        "groups": [{ "group_id": "g" }, { "group_id": "g.inner" }, { "group_id": "gg" }],
        "tasks": [task("g.a", Some("g")), task("g.inner.b", Some("g.inner")), task("gg.c", Some("gg")), task("d", None)] }));
    register_bundle(&mut web.db().await, &NewBundle { name: "more".into(), dags: vec![spec] }, false).await.unwrap();
    let run = web.trigger("grouped").await;
    let path = format!("/api/v2/dags/grouped/dagRuns/{run}");
    let group = format!("{path}/taskGroupInstances/g");
    let would = patch(&web, &format!("{group}/dry_run"), json!({ "new_state": "success" })).await;
    assert_eq!(would["total_entries"], 2);
    let done = patch(&web, &group, json!({ "new_state": "success", "note": "by hand" })).await;
    let told: Vec<_> = done["task_instances"].as_array().unwrap().iter().map(|i| (&i["state"], &i["note"])).collect();
    assert_eq!(told, [(&json!("success"), &json!("by hand")), (&json!("success"), &json!("by hand"))]);
    let none =
        web.change(Method::PATCH, &format!("{path}/taskGroupInstances/no"), &json!({ "new_state": "failed" })).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "{}", none.body);
    let body = json!({ "actions": [
        { "action": "update", "entities": [{ "task_id": "gg.c", "new_state": "failed" }, { "task_id": "d", "note": "x" },
            { "task_id": "no", "new_state": "failed" }] },
        { "action": "delete", "entities": ["d"] } ] });
    let done = patch(&web, &format!("{path}/taskInstances"), body).await;
    let keys = json!([format!("grouped.{run}.gg.c[-1]"), format!("grouped.{run}.d[-1]")]);
    assert_eq!(
        (&done["update"]["success"], &done["update"]["errors"][0]["status_code"]),
        (&keys, &json!(404)),
        "{done}"
    );
    assert_eq!(done["delete"]["errors"][0]["status_code"], 405);
    let noted = web.get(&format!("{path}/taskInstances/d")).await.body;
    assert_eq!((&noted["note"], &noted["state"]), (&json!("x"), &json!("queued")));
    let gone = patch(&web, &format!("{path}/taskInstances/d"), json!({ "note": null })).await;
    assert_eq!(gone["task_instances"][0]["note"], Value::Null);
    let deeds = web.deeds().await;
    assert!(deeds.contains(&format!("note_task_instance grouped {run} d")), "{deeds:?}");
    let clear =
        json!({ "dag_run_id": run, "task_ids": ["gg.c"], "only_failed": false, "dry_run": false, "note": "anew" });
    let cleared = web.post("/api/v2/dags/grouped/clearTaskInstances", &clear).await;
    assert_eq!(cleared.body["task_instances"][0]["note"], "anew", "{}", cleared.body);
    patch(&web, &path, json!({ "state": "failed" })).await;
    let keep = json!({ "dag_run_id": run, "only_failed": false, "dry_run": false, "reset_dag_runs": false });
    assert_eq!(web.post("/api/v2/dags/grouped/clearTaskInstances", &keep).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn people_write_outputs_but_not_those_that_are_mapped_over() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances/t0/xcomEntries");
    for value in [
        json!({ "a": [1] }),
        json!("x"),
        json!(null),
        json!((0..1_500).collect::<Vec<_>>()),
        json!("y".repeat(300_000)),
    ] {
        let made = web.post(&path, &json!({ "key": "k", "value": value })).await;
        assert_eq!((made.status, &made.body["value"]), (StatusCode::CREATED, &value), "{}", made.body);
        assert_eq!(web.post(&path, &json!({ "key": "k", "value": 1 })).await.status, StatusCode::CONFLICT);
        assert_eq!(web.get(&format!("{path}/k")).await.body["value"], value);
        let changed = patch(&web, &format!("{path}/k"), json!({ "value": [value] })).await;
        assert_eq!((&changed["value"][0], &changed["key"]), (&value, &json!("k")));
        assert_eq!(web.get(&format!("{path}/k")).await.body["value"][0], value);
        let gone = web.change(Method::DELETE, &format!("{path}/k"), &Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        assert_eq!(web.get(&format!("{path}/k")).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(web.change(Method::PATCH, &format!("{path}/k"), &json!({ "value": 1 })).await.status, 404);
    assert_eq!(web.change(Method::DELETE, &format!("{path}/k"), &Value::Null).await.status, StatusCode::NOT_FOUND);
    for body in
        [json!({ "key": "", "value": 1 }), json!({ "key": "k" }), json!({ "key": "k", "value": 1, "map_index": "x" })]
    {
        assert_eq!(web.post(&path, &body).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let other = web.post(&path, &json!({ "key": "k", "value": 1, "map_index": 3 })).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND, "{}", other.body);
    let mapped = web.trigger("mapped").await;
    let list = format!("/api/v2/dags/mapped/dagRuns/{mapped}/taskInstances/list/xcomEntries");
    let refused = web.post(&list, &json!({ "key": "return_value", "value": [1] })).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.body);
    let deeds = web.deeds().await;
    assert_eq!(deeds[..3], ["create", "patch", "delete"].map(|verb| format!("{verb}_xcom chain {run} t0")));
    // A task that ends replaces outputs that users wrote.
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances/t0/xcomEntries");
    assert_eq!(web.post(&path, &json!({ "key": "return_value", "value": "mine" })).await.status, StatusCode::CREATED);
    let mut db = web.db().await;
    let id = get_run(&mut db, "chain", &run).await.unwrap().unwrap().id;
    let lease = web.claim(&mut db, id).await;
    assert!(orch_store::output::put(&mut db, lease, "return_value", &json!("its own")).await.unwrap());
    assert_eq!(web.get(&format!("{path}/return_value")).await.body["value"], "its own");
}

#[tokio::test]
async fn each_person_has_favorites() {
    let web = Web::new().await;
    let mark =
        async |word: &str| web.change(Method::POST, &format!("/api/v2/dags/chain/{word}"), &Value::Null).await.status;
    assert_eq!(mark("unfavorite").await, StatusCode::CONFLICT);
    assert_eq!((mark("favorite").await, mark("favorite").await), (StatusCode::NO_CONTENT, StatusCode::NO_CONTENT));
    assert_eq!(web.get("/api/v2/dags/chain/details").await.body["is_favorite"], true);
    for (query, expected) in [("is_favorite=true", 1), ("is_favorite=false", 3), ("has_asset_schedule=true", 0)] {
        assert_eq!(web.get(&format!("/api/v2/dags?{query}")).await.body["total_entries"], expected, "{query}");
    }
    assert_eq!(web.get("/api/v2/dags?has_asset_schedule=false").await.body["total_entries"], 4);
    assert_eq!(mark("unfavorite").await, StatusCode::NO_CONTENT);
    assert_eq!(web.get("/api/v2/dags?is_favorite=true").await.body["total_entries"], 0);
    assert_eq!(web.change(Method::POST, "/api/v2/dags/no/favorite", &Value::Null).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn cursors_lead_through_a_list_and_back() {
    let web = Web::new().await;
    for _ in 0..5 {
        web.trigger("chain").await;
    }
    for (path, name) in
        [("/api/v2/dags/chain/dagRuns", "dag_runs"), ("/api/v2/dags/~/dagRuns/~/taskInstances", "task_instances")]
    {
        let whole = web.get(&format!("{path}?limit=100")).await.body;
        assert_eq!((&whole["next_cursor"], &whole["previous_cursor"]), (&Value::Null, &Value::Null));
        let (mut seen, mut cursor, mut back) = (Vec::new(), String::new(), Value::Null);
        loop {
            let page = web.get(&format!("{path}?limit=2&offset=77&cursor={cursor}")).await.body;
            seen.extend(page[name].as_array().unwrap().clone());
            back = if page["previous_cursor"].is_null() { back } else { page["previous_cursor"].clone() };
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.into(),
                None => break,
            }
        }
        assert_eq!(json!(seen), whole[name], "{path}");
        let before = web.get(&format!("{path}?limit=2&cursor={}", back.as_str().unwrap())).await.body;
        assert_eq!(before[name][1], seen[seen.len() - 1 - (seen.len() + 1) % 2 - 1], "{path}");
        for odd in ["x", "cGxhY2U6LTE", "%00"] {
            let status = web.get(&format!("{path}?cursor={odd}")).await.status.as_u16();
            assert!([400, 422].contains(&status), "{odd}: {status}");
        }
    }
}

#[tokio::test]
async fn addresses_of_airflow_lead_to_the_login() {
    let web = Web::new().await;
    for (path, place) in [
        ("/api/v2/auth/login", "/login"),
        ("/api/v2/auth/login?next=%2Fdags%2Fa", "/login?next=%2Fdags%2Fa"),
        ("/api/v2/auth/logout", "/login"),
    ] {
        let answer = web.send(Method::GET, path, None, None).await;
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (StatusCode::TEMPORARY_REDIRECT, &place.parse().unwrap())
        );
    }
    for next in ["https://evil.example/", "//evil.example"] {
        let answer = web.send(Method::GET, &format!("/api/v2/auth/login?next={next}"), None, None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{next}");
    }
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances");
    assert_eq!(web.get(&format!("{path}/t0/links")).await.body, json!({ "extra_links": {}, "total_entries": 0 }));
    assert_eq!(web.get(&format!("{path}/t0/externalLogUrl/1")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(web.get(&format!("{path}/no/links")).await.status, StatusCode::NOT_FOUND);
}
