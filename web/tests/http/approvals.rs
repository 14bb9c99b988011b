//! Approvals by Airflow's paths and on pages: who sees them, who can respond, and what a late response gets.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web, dag};
use crate::pages::EVIL;
use axum::http::{Method, StatusCode};
use chrono::TimeDelta;
use orch_spec::approval::Question;
use orch_spec::state::TaskState;
use orch_store::approval::{APPROVALS, by};
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::mark::mark_instance;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::get_run;
use orch_store::step::{EndedTry, Mode, NewWait, NextTry, Request, Stepper, WorkerStep};
use orch_store::version::Versions;
use serde_json::{Value, json};
use sqlx::PgConnection;

pub(crate) const ALL: &str = "/api/v2/dags/~/dagRuns/~/hitlDetails";

fn question() -> Question {
    let params = json!({ "type": "object", "properties": {
        "rows": { "type": "integer", "minimum": 1, "default": 10, "description": "How many" } } });
    let body = format!("*First.*\n\n[more](https://x.org) [less](javascript:alert(1))\n\n{EVIL}");
    Question { body: Some(body), params, ..Question::approval("Publish it?") }
}

/// Starts a run whose only task asks a question. Returns the run id.
pub(crate) async fn ask(web: &Web, db: &mut PgConnection, question: &Question) -> String {
    let asks = dag(json!({ "dag_id": "asks", "paused_at_creation": false,
        "tasks": [{ "task_id": "t", "kind": "approval", "doc": "Asks **everybody**." }] }));
    register_bundle(db, &NewBundle { name: "asks".into(), dags: vec![asks] }, false).await.expect("it registers");
    let run_id = web.trigger("asks").await;
    let run = get_run(db, "asks", &run_id).await.unwrap().unwrap();
    let lease = web.claim(db, run.id).await;
    let request = Request { task_id: "t".into(), fallback: None };
    let wait = NewWait::for_answer(serde_json::to_string(question).unwrap(), request);
    let next = NextTry {
        attempt: lease.attempt,
        wake_in_ms: 1,
        version: run.version,
        queue: 1,
        priority: 1,
        wait: Some(Box::new(NewWait { timeout_ms: Some(3_600_000), ..wait })),
    };
    let ended = EndedTry { next: Some(next), ..EndedTry::new(lease, TaskState::AwaitingInput) };
    let step = WorkerStep { ended: vec![ended], mode: Mode::Record, ..WorkerStep::default() };
    Stepper::default().send(db, &step, 1).await.expect("it is recorded");
    run_id
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn path(run_id: &str) -> String {
    format!("/api/v2/dags/asks/dagRuns/{}/taskInstances/t/-1/hitlDetails", encoded(run_id))
}

async fn answer(web: &Web, token: &str, run_id: &str, body: Value) -> (u16, Value) {
    let answer = web.send(Method::PATCH, &path(run_id), Some(token), Some(body.to_string())).await;
    (answer.status.as_u16(), answer.body)
}

#[tokio::test]
async fn a_question_is_read_and_answered_once() {
    let web = Web::new().await;
    let mut db = web.db().await;
    assert_eq!(web.get(ALL).await.body, json!({ "hitl_details": [], "total_entries": 0 }));
    let run_id = ask(&web, &mut db, &question()).await;
    let one = web.get(&path(&run_id)).await.body;
    assert_eq!((&one["subject"], &one["options"]), (&json!("Publish it?"), &json!(["Approve", "Reject"])));
    assert_eq!(one["params"]["rows"]["value"], 10);
    assert_eq!((&one["response_received"], &one["chosen_options"]), (&json!(false), &Value::Null));
    assert_eq!(one["task_instance"]["state"], "awaiting_input");
    let all = web.get(&format!("{ALL}?state=awaiting_input&task_id=t&subject_search=publish")).await.body;
    assert_eq!((&all["hitl_details"][0], &all["total_entries"]), (&one, &json!(1)));
    assert_eq!(web.get(&format!("{ALL}?response_received=true")).await.body["total_entries"], 0);
    let why = web.get(&format!("/api/orch/v1/dags/asks/runs/{}/tasks/t/why", encoded(&run_id))).await.body;
    assert!(why["summary"].as_str().unwrap().starts_with("It waits for an answer to 'Publish it?', until "), "{why}");

    let answers = |chosen: Value, rows: Value| json!({ "chosen_options": chosen, "params_input": { "rows": rows } });
    for (body, expected) in [
        (answers(json!(["Maybe"]), json!(1)), 400),
        (answers(json!(["Approve", "Reject"]), json!(1)), 400),
        (answers(json!([]), json!(1)), 422),
        (answers(json!(["Approve"]), json!(0)), 400),
        (json!({ "chosen_options": "Approve" }), 422),
    ] {
        let (status, told) = answer(&web, &web.token, &run_id, body.clone()).await;
        assert_eq!(status, expected, "{body}: {told}");
    }
    let (status, told) = answer(&web, &web.token, &run_id, answers(json!(["Approve"]), json!(3))).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!((&told["chosen_options"], &told["params_input"]), (&json!(["Approve"]), &json!({ "rows": 3 })));
    assert_eq!(told["responded_by"], json!({ "id": "admin", "name": "admin" }));
    let (status, late) = answer(&web, &web.token, &run_id, json!({ "chosen_options": ["Reject"] })).await;
    assert_eq!(status, 409);
    assert!(late["detail"].as_str().unwrap().contains("`admin` has answered it already"), "{late}");
    let now = web.get(&path(&run_id)).await.body;
    assert_eq!((&now["response_received"], &now["responded_at"]), (&json!(true), &told["responded_at"]));
    let of_try = web.get(&format!("{}/tries/1", path(&run_id))).await;
    assert_eq!((of_try.status, &of_try.body["chosen_options"]), (StatusCode::OK, &json!(["Approve"])));
    assert_eq!(web.get(&format!("{}/tries/2", path(&run_id))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.deeds().await, [format!("answer_approval asks {run_id} t")]);
    let chain = web.trigger("chain").await;
    let none = web.get(&path(&chain).replace("/asks/", "/chain/").replace("/t/", "/t0/")).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND, "{}", none.body);
}

#[tokio::test]
async fn the_time_that_a_question_waits_is_shown_on_the_page_of_its_run() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = ask(&web, &mut db, &question()).await;
    web.clock.advance(TimeDelta::minutes(30));
    let mut browser = Browser::logged_in(&web).await;
    let run = format!("/dags/asks/runs/{}", encoded(&run_id));
    let page = browser.get(&run).await;
    let waited = page.html.split("<dt>Waiting for sensors or people</dt>").nth(1).unwrap_or_default().trim_start();
    assert!(waited.starts_with("<dd>30 m 0"), "{}", page.html);
    let task = browser.get(&format!("{run}/tasks/t")).await;
    assert!(task.has("It waits for an answer.") && !task.has("next poll"), "{}", task.html);
}

/// At least one user per role, with names that a question may or may not assign.
const PEOPLE: [(&str, &str); 6] =
    [("eve", "viewer"), ("vic", "viewer"), ("ann", "user"), ("uwe", "user"), ("olga", "op"), ("adam", "admin")];

async fn add_people(web: &Web) {
    for (name, role) in PEOPLE {
        web.add_user(name, role).await;
    }
}

fn may_answer(name: &str, role: &str, named: &[&str]) -> bool {
    if named.is_empty() { role != "viewer" } else { named.contains(&name) }
}

fn asks(names: &[&str]) -> Question {
    let assigned_users = names.iter().map(|name| (*name).to_string()).collect();
    Question { assigned_users, ..Question::approval("Go?") }
}

#[tokio::test]
async fn who_is_named_answers_whatever_the_role_else_whoever_may_start_runs() {
    let web = Web::new().await;
    let mut db = web.db().await;
    add_people(&web).await;
    let yes = || json!({ "chosen_options": ["Approve"] });
    for (name, role) in PEOPLE {
        let token = web.log_in(name, PASSWORD).await.unwrap();
        for named in [&["eve", "ann"][..], &[]] {
            let run_id = ask(&web, &mut db, &asks(named)).await;
            assert_eq!(web.send(Method::GET, &path(&run_id), Some(&token), None).await.status, StatusCode::OK);
            let may = may_answer(name, role, named);
            let (status, told) = answer(&web, &token, &run_id, yes()).await;
            assert_eq!(status, if may { 200 } else { 403 }, "{name} of {named:?}: {told}");
            // The permission to respond grants nothing else.
            let clear = json!({ "dry_run": true, "dag_run_id": run_id }).to_string();
            let place = "/api/v2/dags/asks/clearTaskInstances";
            let cleared = web.send(Method::POST, place, Some(&token), Some(clear)).await;
            assert_eq!(cleared.status == StatusCode::FORBIDDEN, role == "viewer", "{name}: {}", cleared.body);
        }
    }
}

#[tokio::test]
async fn pages_let_those_answer_whom_the_question_asks() {
    let web = Web::new().await;
    let mut db = web.db().await;
    add_people(&web).await;
    for (name, role) in PEOPLE {
        let mut browser = Browser::new(&web);
        browser.log_in(name, PASSWORD, "/").await;
        for named in [&["eve", "ann"][..], &[]] {
            let run_id = ask(&web, &mut db, &asks(named)).await;
            let of_run = Search::default().and(by::RUN_ID.is(&run_id));
            let row = APPROVALS.first(&mut db, &of_run).await.unwrap().unwrap();
            let place = format!("/approvals/{}", row.attempt);
            let may = may_answer(name, role, named);
            for address in [&place, &format!("/dags/asks/runs/{}/tasks/t", encoded(&run_id))] {
                let page = browser.get(address).await;
                let has_form = page.has(&format!("action=\"{place}\""));
                assert!(page.has("Go?") && has_form == may, "{name} of {named:?} at {address}: {}", page.html);
            }
            let token = browser.get("/").await.token();
            let form = [("form_token", token.as_str()), ("option", "Approve")];
            let sent = browser.send_form(&place, &form, &[("sec-fetch-site", "same-origin")]).await;
            let expected = if may { StatusCode::SEE_OTHER } else { StatusCode::FORBIDDEN };
            assert_eq!(sent.status, expected, "{name} of {named:?}: {}", sent.html);
            assert_eq!(web.get(&path(&run_id)).await.body["response_received"], may, "{name}");
        }
    }
}

#[tokio::test]
async fn what_was_taken_back_cannot_be_answered() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = ask(&web, &mut db, &question()).await;
    let run = get_run(&mut db, "asks", &run_id).await.unwrap().unwrap();
    mark_instance(
        &mut db,
        &Locks::begin().runs(),
        &mut Versions::default(),
        (run.id, None),
        (0, -1),
        TaskState::Success,
    )
    .await
    .unwrap();
    let (status, told) = answer(&web, &web.token, &run_id, json!({ "chosen_options": ["Approve"] })).await;
    assert_eq!(status, 409);
    assert!(told["detail"].as_str().unwrap().contains("was taken back"), "{told}");
}

#[tokio::test]
async fn the_page_asks_and_takes_the_answer() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    let empty = browser.get("/approvals").await;
    assert!(empty.has("Nothing waits for you"), "{}", empty.html);
    let run_id = ask(&web, &mut db, &question()).await;
    let list = browser.get("/approvals").await;
    assert!(list.has("Publish it?") && list.has("Waits for you"), "{}", list.html);
    let place = list.links().into_iter().find(|link| link.starts_with("/approvals/")).expect("a link");
    let task = browser.get(&format!("/dags/asks/runs/{}/tasks/t", encoded(&run_id))).await;
    assert!(task.has("Publish it?") && task.has(&format!("action=\"{place}\"")), "{}", task.html);
    assert!(task.has("Asks <strong>everybody</strong>.") && task.has("<em>First.</em>"), "{}", task.html);
    let page = browser.get(&place).await;
    assert!(page.has("How many") && page.has("<em>First.</em>") && !page.has(EVIL), "{}", page.html);
    assert!(page.has("href=\"https://x.org\"") && !page.has("href=\"javascript"), "{}", page.html);
    let wrong = browser.submit(&place, &place, &[("option", "Approve"), ("p.rows", "none")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{}", wrong.html);
    assert!(wrong.has("value=\"none\""), "what was typed stays: {}", wrong.html);
    let sent = browser.submit(&place, &place, &[("option", "Approve"), ("p.rows", "4")]).await;
    assert_eq!((sent.status, sent.location()), (StatusCode::SEE_OTHER, place.as_str()), "{}", sent.html);
    let over = browser.get(&place).await;
    assert!(over.has("admin: Approve") && !over.has("name=\"option\""), "{}", over.html);
    let late = browser.submit("/approvals", &place, &[("option", "Reject"), ("p.rows", "4")]).await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{}", late.html);
    let list = browser.get("/approvals").await;
    assert!(list.has("admin: Approve") && list.has("Nothing waits for you"), "{}", list.html);
    assert_eq!(browser.get("/approvals/nothing").await.status, StatusCode::NOT_FOUND);
    let now = web.get(&path(&run_id)).await.body;
    assert_eq!(now["params_input"], json!({ "rows": 4 }));
}
