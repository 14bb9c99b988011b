//! Outputs, the audit log, jobs, settings, and lists that are always empty in orch.

use crate::browser::Browser;
use crate::fixture::{Web, dag};
use axum::http::StatusCode;
use orch_spec::check::FileProblem;
use orch_store::import_error::set_import_errors;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::get_run;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[tokio::test]
async fn the_audit_log_is_listed_by_filter_and_one_by_one() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let other = web.trigger("mapped").await;
    let events = |query: &str| {
        let path = format!("/api/v2/eventLogs?{query}");
        let web = &web;
        async move {
            let answer = web.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
            let runs = answer.body["event_logs"].as_array().unwrap().iter().map(|log| log["run_id"].clone());
            runs.collect::<Vec<Value>>()
        }
    };
    assert_eq!(events("").await, [Value::Null, json!(run), json!(other)], "the first is the login of the test");
    assert_eq!(events("order_by=-id&limit=1").await, [json!(other)]);
    assert_eq!(events("dag_id=chain&owner=admin&event=trigger_dag_run").await, [json!(run)]);
    assert_eq!(events("excluded_events=trigger_dag_run&excluded_events=log_in").await, [] as [Value; 0]);
    assert_eq!(events("included_events=trigger_dag_run&dag_id_pattern=MAPP").await, [json!(other)]);
    assert_eq!(events("before=2020-01-01T00:00:00Z").await, [] as [Value; 0]);
    assert_eq!(
        events("after=2020-01-01T00:00:00Z&event=trigger_dag_run&order_by=dag_id").await,
        [json!(run), json!(other)]
    );
    let all = web.get("/api/v2/eventLogs?limit=1&event=trigger_dag_run").await.body;
    assert_eq!(all["total_entries"], 2);
    let first = &all["event_logs"][0];
    let one = web.get(&format!("/api/v2/eventLogs/{}", first["event_log_id"])).await.body;
    assert_eq!((&one, one["extra"].as_str()), (first, Some(r#"{"from":"127.0.0.1"}"#)));
    assert_eq!(web.get("/api/v2/eventLogs/99999999").await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.get("/api/v2/eventLogs?order_by=extra").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn outputs_are_listed_and_read() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances");
    let mut db = web.db().await;
    let id = get_run(&mut db, "chain", &run).await.unwrap().unwrap().id;
    let lease = web.claim(&mut db, id).await;
    for (key, value) in [("return_value", json!({ "rows": [1, 2] })), ("word", json!("geheim")), ("list", json!([1]))] {
        assert!(orch_store::output::put(&mut db, lease, key, &value).await.unwrap());
    }
    let list = web.get(&format!("{path}/t0/xcomEntries?limit=2")).await.body;
    assert_eq!((list["xcom_entries"].as_array().unwrap().len(), &list["total_entries"]), (2, &json!(3)));
    assert_eq!(list["xcom_entries"][0]["key"], "list");
    assert_eq!(web.get(&format!("{path}/~/xcomEntries?xcom_key=word")).await.body["total_entries"], 1);
    assert_eq!(web.get(&format!("{path}/t1/xcomEntries")).await.body["total_entries"], 0);
    for (query, expected) in [
        ("map_index_filter=-1", 3),
        ("map_index_filter=4", 0),
        ("xcom_key_pattern=OR|is", 2),
        ("xcom_key_prefix_pattern=r", 1),
        ("task_id_pattern=t1", 0),
        ("run_id_prefix_pattern=manual", 3),
        ("dag_display_name_pattern=other", 0),
        ("run_after_gte=2020-01-01T00:00:00Z", 3),
        ("run_after_lt=2020-01-01T00:00:00Z", 0),
        ("logical_date_lt=2020-01-01T00:00:00Z", 0),
    ] {
        let found = web.get(&format!("{path}/~/xcomEntries?{query}")).await.body;
        assert_eq!(found["total_entries"], expected, "{query}: {found}");
    }
    let last = web.get(&format!("{path}/t0/xcomEntries?order_by=-key&limit=1")).await.body;
    assert_eq!(last["xcom_entries"][0]["key"], "word");
    for (query, expected) in [
        ("return_value", json!({ "rows": [1, 2] })),
        ("return_value?deserialize=true", json!({ "rows": [1, 2] })),
        ("return_value?stringify=true", json!("{\"rows\":[1,2]}")),
        ("word?stringify=true", json!("geheim")),
    ] {
        let answer = web.get(&format!("{path}/t0/xcomEntries/{query}")).await;
        assert_eq!((answer.status, &answer.body["value"]), (StatusCode::OK, &expected), "{query}: {}", answer.body);
    }
    for place in ["t0/xcomEntries/nothing", "t0/xcomEntries/word?map_index=3", "nothing/xcomEntries/word"] {
        assert_eq!(web.get(&format!("{path}/{place}")).await.status, StatusCode::NOT_FOUND, "{place}");
    }
    assert_eq!(web.get("/api/v2/dags/~/dagRuns/~/taskInstances/~/xcomEntries").await.status, StatusCode::BAD_REQUEST);
    let jobs = web.get("/api/v2/jobs?is_alive=true&job_type=WorkerJob").await.body;
    assert_eq!((&jobs["total_entries"], &jobs["jobs"][0]["state"]), (&json!(1), &json!("running")));
    assert_eq!(web.get("/api/v2/jobs?hostname=elsewhere").await.body["total_entries"], 0);
    assert_eq!(web.get("/api/v2/jobs?start_date_gt=2020-01-01T00:00:00Z").await.body["total_entries"], 1);
    assert_eq!(
        web.get("/api/v2/jobs?end_date_gt=2020-01-01T00:00:00Z").await.body["total_entries"],
        0,
        "none has ended"
    );
    for order in ["id", "-start_date", "hostname", "-state", "unixname"] {
        assert_eq!(web.get(&format!("/api/v2/jobs?order_by={order}")).await.status, StatusCode::OK, "{order}");
    }
    assert_eq!(web.get("/api/v2/eventLogs?try_number=1").await.body["total_entries"], 0);
    assert_eq!(web.get("/api/v2/dags/chain/dagVersions?bundle_version=x").await.body["total_entries"], 0);
}

#[tokio::test]
async fn settings_are_for_admins_and_what_is_not_here_is_an_empty_list() {
    let mut web = Web::new().await;
    web.restart(|config| config.settings = vec![("log".into(), "info".into()), ("dags_folder".into(), "/dags".into())]);
    let config = web.get("/api/v2/config").await;
    assert_eq!((config.status, &config.body["sections"][0]["name"]), (StatusCode::OK, &json!("orch")));
    for (path, status) in [
        ("?section=core", StatusCode::OK),
        ("?section=celery", StatusCode::NOT_FOUND),
        ("?section=smtp", StatusCode::NOT_FOUND),
        ("/section/core/option/dags_folder", StatusCode::OK),
        ("/section/core/option/parallelism", StatusCode::NOT_FOUND),
        ("/section/core/option/log", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(web.get(&format!("/api/v2/config{path}")).await.status, status, "{path}");
    }
    let expected = json!({ "sections": [{ "name": "core", "options": [{ "key": "dags_folder", "value": "/dags" }] }] });
    assert_eq!(web.get("/api/v2/config/section/core/option/dags_folder").await.body, expected);
    assert_eq!(web.get("/api/v2/config/section/orch/option/nothing").await.status, StatusCode::NOT_FOUND);
    // The audit log records each reader of settings, and the names of settings that were read one by one.
    assert_eq!(web.get("/api/v2/config/section/orch/option/log").await.status, StatusCode::OK);
    let read = "select actor, extra ->> 'option' from audit where event = 'read_settings' order by id";
    let read: Vec<(String, Option<String>)> = sqlx::query_as(read).fetch_all(&mut web.db().await).await.unwrap();
    let read: Vec<_> = read.iter().map(|(actor, option)| (actor.as_str(), option.as_deref())).collect();
    let folder = ("admin", Some("dags_folder"));
    assert_eq!(read, [("admin", None), ("admin", None), folder, folder, ("admin", Some("log"))]);
    for (path, name) in [
        ("dagWarnings", "dag_warnings"),
        ("plugins", "plugins"),
        ("plugins/importErrors", "import_errors"),
        ("providers", "providers"),
    ] {
        let answer = web.get(&format!("/api/v2/{path}")).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({ name: [], "total_entries": 0 })), "{path}");
    }
    assert_eq!(web.get("/api/v2/importErrors/1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.get("/api/v2/plugins?limit=x").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn broken_files_are_listed_with_their_lines() {
    let web = Web::new().await;
    let problem = |line| FileProblem {
        file: "sales.yaml".into(),
        line,
        column: 5,
        message: "a task has no key `bsh`".into(),
        hint: "did you mean `bash`?".into(),
    };
    let broken = |line| BTreeMap::from([("sales.yaml".to_string(), vec![problem(line)])]);
    let mut db = web.db().await;
    set_import_errors(&mut db, "dags-folder", &broken(3)).await.unwrap();
    let first = web.get("/api/v2/importErrors").await.body;
    set_import_errors(&mut db, "dags-folder", &broken(3)).await.unwrap();
    assert_eq!(web.get("/api/v2/importErrors?order_by=-timestamp").await.body, first, "nothing has changed");
    let one = &first["import_errors"][0];
    let text = "error: a task has no key `bsh`\n  at sales.yaml:3:5\nhint: did you mean `bash`?\n";
    assert_eq!(
        (&one["filename"], &one["stack_trace"], &first["total_entries"]),
        (&json!("sales.yaml"), &json!(text), &json!(1))
    );
    let by_line = web.get("/api/orch/v1/importErrors").await.body;
    assert_eq!(
        by_line["import_errors"][0]["problems"],
        json!([{ "file": "sales.yaml", "line": 3, "column": 5, "message": "a task has no key `bsh`", "hint": "did you mean `bash`?" }])
    );
    assert_eq!(
        web.get("/api/orch/v1/importErrors?offset=1").await.body,
        json!({ "import_errors": [], "total_entries": 1 })
    );
    let path = format!("/api/v2/importErrors/{}", one["import_error_id"]);
    assert_eq!(web.get(&path).await.body, *one);
    set_import_errors(&mut db, "other", &BTreeMap::new()).await.unwrap();
    set_import_errors(&mut db, "dags-folder", &broken(4)).await.unwrap();
    assert!(web.get(&path).await.body["stack_trace"].as_str().unwrap().contains("sales.yaml:4:5"));
    let home = Browser::logged_in(&web).await.get("/").await;
    for words in ["Broken files", "sales.yaml", "line 4:5 a task has no key", "did you mean"] {
        assert!(home.html.contains(words), "{words} is not in {}", home.html);
    }
    // Only a file whose DAG was registered before has a previous version.
    let in_force = "its previous version stays in force";
    assert!(!home.has(in_force), "{}", home.html);
    let sales = dag(json!({ "dag_id": "sales", "location": { "file": "sales.yaml", "line": 1 },
        "tasks": [{ "task_id": "t", "kind": "rust" }] }));
    let bundle = NewBundle { name: "dags-folder".into(), dags: vec![sales] };
    register_bundle(&mut db, &bundle, false).await.unwrap();
    let home = Browser::logged_in(&web).await.get("/").await;
    assert!(home.has(in_force), "{}", home.html);
    set_import_errors(&mut db, "dags-folder", &BTreeMap::new()).await.unwrap();
    assert_eq!(web.get(&path).await.status, StatusCode::NOT_FOUND);
}
