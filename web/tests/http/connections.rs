//! Connections in the API: accepted input, who sees what, the meaning of `***`, and what is audited.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use axum::http::{Method, StatusCode};
use orch_core::network::Reach;
use orch_store::kept::{CONNECTION, VARIABLE, get};
use orch_store::seal::Keyring;
use orch_web::Role;
use serde_json::{Value, json};

const PATH: &str = "/api/v2/connections";

fn sales() -> Value {
    json!({ "connection_id": "sales", "conn_type": "postgresql", "description": "d", "host": "https://me:hush0@db",
        "login": "me", "schema": "s", "port": 5432, "password": "hush1",
        "extra": "{\"api_key\": \"hush2\", \"sslmode\": \"require\", \"deep\": {\"token\": \"hush3\"}}" })
}

async fn change(web: &Web, method: Method, path: &str, body: &Value, status: u16) -> Value {
    let answer = web.change(method.clone(), path, body).await;
    assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {}", answer.body);
    answer.body
}

async fn stored(web: &Web) -> orch_sdk::task::Connection {
    let record = get(&mut web.db().await, &CONNECTION, "sales").await.unwrap().unwrap();
    orch_store::connection::open(&record, &web.keys).unwrap()
}

#[tokio::test]
async fn a_connection_goes_in_whole_and_comes_out_without_its_secrets() {
    let web = Web::new().await;
    let made = change(&web, Method::POST, PATH, &sales(), 201).await;
    let expected = json!({ "connection_id": "sales", "conn_type": "postgres", "description": "d",
        "host": "https://me:***@db", "login": "me", "schema": "s", "port": 5432, "password": "***",
        "extra": "{\"api_key\":\"***\",\"deep\":{\"token\":\"***\"},\"sslmode\":\"require\"}", "team_name": null });
    assert_eq!(made, expected);
    assert_eq!(web.get("/api/v2/connections/sales").await.body, expected);
    assert_eq!(web.get(PATH).await.body, json!({ "connections": [expected], "total_entries": 1 }));
    assert_eq!(stored(&web).await.password.as_deref(), Some("hush1"));
    let taken = change(&web, Method::POST, PATH, &sales(), 409).await;
    assert_eq!(taken["detail"]["reason"], "Unique constraint violation");
    assert!(!taken.to_string().contains("hush"), "{taken}");
    change(&web, Method::DELETE, "/api/v2/connections/sales", &Value::Null, 204).await;
    let gone = change(&web, Method::DELETE, "/api/v2/connections/sales", &Value::Null, 404).await;
    assert_eq!(gone, json!({ "detail": "The Connection with connection_id: `sales` was not found" }));
    assert_eq!(web.deeds().await, ["add_connection", "delete_connection"]);
}

#[tokio::test]
async fn what_was_shown_as_stars_and_comes_back_stays_as_it_is() {
    let web = Web::new().await;
    let shown = change(&web, Method::POST, PATH, &sales(), 201).await;
    let path = "/api/v2/connections/sales";
    let before = stored(&web).await;
    let mut again = shown.clone();
    again["description"] = json!("other");
    assert_eq!(change(&web, Method::PATCH, path, &again, 200).await, again);
    assert_eq!(stored(&web).await.secrets(), before.secrets());
    // Only fields that are in the body and in the update mask change.
    let part = json!({ "connection_id": "sales", "conn_type": "mysql", "password": "hush4", "host": null });
    let done = change(&web, Method::PATCH, &format!("{path}?update_mask=password"), &part, 200).await;
    assert_eq!((&done["conn_type"], &done["host"]), (&json!("postgres"), &shown["host"]));
    assert_eq!(stored(&web).await.password.as_deref(), Some("hush4"));
    let part = json!({ "connection_id": "sales", "conn_type": "postgres", "schema": "other" });
    let done = change(&web, Method::PATCH, path, &part, 200).await;
    assert_eq!((&done["schema"], &done["host"], &done["login"]), (&json!("other"), &shown["host"], &json!("me")));
    let extra = json!({ "connection_id": "sales", "conn_type": "postgres",
        "extra": "{\"api_key\": \"***\", \"sslmode\": \"require\", \"deep\": {\"token\": \"new\"}}" });
    change(&web, Method::PATCH, path, &extra, 200).await;
    assert_eq!(
        stored(&web).await.extra,
        *json!({ "api_key": "hush2", "sslmode": "require", "deep": { "token": "new" } }).as_object().unwrap()
    );
    // Without TLS, others in the network could read the secrets.
    let extra = json!({ "connection_id": "sales", "conn_type": "postgres",
        "extra": "{\"api_key\": \"***\", \"sslmode\": \"disable\", \"deep\": {\"token\": \"***\"}}" });
    let done = change(&web, Method::PATCH, path, &extra, 200).await;
    let dropped: Vec<&str> = done["dropped_secrets"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        ["password", "host", "extra.api_key", "extra.deep.token"].iter().all(|secret| dropped.contains(secret)),
        "{done}"
    );
    assert!(stored(&web).await.secrets().is_empty(), "{done}");
    let none = json!({ "connection_id": "sales", "conn_type": "postgres", "extra": "", "password": null });
    let done = change(&web, Method::PATCH, path, &none, 200).await;
    assert_eq!((&done["extra"], &done["password"]), (&json!(null), &json!(null)));
    change(&web, Method::PATCH, "/api/v2/connections/other", &none, 400).await;
    let missing = json!({ "connection_id": "other", "conn_type": "x" });
    change(&web, Method::PATCH, "/api/v2/connections/other", &missing, 404).await;
}

#[tokio::test]
async fn what_is_wrong_is_told_field_by_field_and_nothing_of_it_comes_back() {
    let web = Web::new().await;
    for (body, place) in [
        (json!({ "conn_type": "hush" }), "connection_id"),
        (json!({ "connection_id": "a/hush", "conn_type": "x" }), "connection_id"),
        (json!({ "connection_id": "h".repeat(201), "conn_type": "x" }), "connection_id"),
        (json!({ "connection_id": "a" }), "conn_type"),
        (json!({ "connection_id": "a", "conn_type": "" }), "conn_type"),
        (json!({ "connection_id": "a", "conn_type": "x", "extra": "hush" }), "extra"),
        (json!({ "connection_id": "a", "conn_type": "x", "extra": "[\"hush\"]" }), "extra"),
        (json!({ "connection_id": "a", "conn_type": "x", "extra": { "a": "hush" } }), "extra"),
        (json!({ "connection_id": "a", "conn_type": "x", "password": ["hush"] }), "password"),
        (json!({ "connection_id": "a", "conn_type": "x", "port": 70_000 }), "port"),
        (json!({ "connection_id": "a", "conn_type": "x", "odd": "hush" }), "odd"),
    ] {
        let answer = change(&web, Method::POST, PATH, &body, 422).await;
        assert_eq!(answer["detail"][0]["loc"], json!(["body", place]), "{body}: {answer}");
        assert!(!answer.to_string().contains("hush"), "{answer}");
    }
    let team = json!({ "connection_id": "a", "conn_type": "x", "team_name": "t" });
    change(&web, Method::POST, PATH, &team, 422).await;
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_paged() {
    let web = Web::new().await;
    for (id, conn_type) in [("b_one", "http"), ("a_two", "postgres"), ("c_one", "aws")] {
        change(&web, Method::POST, PATH, &json!({ "connection_id": id, "conn_type": conn_type }), 201).await;
    }
    let list = async |query: &str| {
        let answer = web.get(&format!("{PATH}?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
        let ids = answer.body["connections"].as_array().unwrap().iter().map(|one| one["connection_id"].clone());
        (ids.collect::<Vec<_>>(), answer.body["total_entries"].clone())
    };
    assert_eq!(list("").await.0, ["a_two", "b_one", "c_one"]);
    assert_eq!(list("order_by=-conn_type").await.0, ["a_two", "b_one", "c_one"]);
    assert_eq!(list("order_by=id").await.0, ["b_one", "a_two", "c_one"]);
    assert_eq!(list("connection_id_pattern=ONE").await, (vec![json!("b_one"), json!("c_one")], json!(2)));
    assert_eq!(list("connection_id_prefix_pattern=a|c").await.0, ["a_two", "c_one"]);
    assert_eq!(list("limit=1&offset=1").await, (vec![json!("b_one")], json!(3)));
    assert_eq!(web.get(&format!("{PATH}?order_by=password")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn viewers_see_no_value_and_change_nothing() {
    let web = Web::new().await;
    change(&web, Method::POST, PATH, &sales(), 201).await;
    change(&web, Method::POST, "/api/v2/variables", &json!({ "key": "limit", "value": "plain" }), 201).await;
    for role in [Role::Viewer, Role::User] {
        let name = format!("a-{role}");
        web.add_user(&name, role.as_str()).await;
        let token = web.log_in(&name, PASSWORD).await.unwrap();
        let seen = web.send(Method::GET, "/api/v2/connections/sales", Some(&token), None).await.body;
        let of = ["login", "password", "extra"].map(|name| seen[name].as_str().unwrap().to_string());
        assert_eq!(of, ["***", "***", "{\"***\":\"***\"}"]);
        assert_eq!((&seen["host"], &seen["schema"]), (&json!("https://db"), &json!("***")));
        let seen = web.send(Method::GET, "/api/v2/variables", Some(&token), None).await.body;
        assert_eq!(seen["variables"][0]["value"], "***");
        let refused = web.send(Method::POST, PATH, Some(&token), Some(sales().to_string())).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn many_at_once_and_each_says_what_became_of_it() {
    let web = Web::new().await;
    change(&web, Method::POST, PATH, &sales(), 201).await;
    let one = |id: &str, host: &str| json!({ "connection_id": id, "conn_type": "x", "host": host });
    let create = |existing: &str| {
        json!({ "actions": [{ "action": "create", "entities": [one("sales", "new"), one(&format!("by-{existing}"), "h")],
            "action_on_existence": existing }] })
    };
    let done = change(&web, Method::PATCH, PATH, &create("fail"), 200).await;
    assert_eq!(
        (&done["create"]["success"], &done["create"]["errors"][0]["status_code"]),
        (&json!(["by-fail"]), &json!(409))
    );
    let done = change(&web, Method::PATCH, PATH, &create("skip"), 200).await;
    assert_eq!(done["create"], json!({ "success": ["by-skip"], "errors": [] }));
    assert_eq!(stored(&web).await.conn_type, "postgres");
    let done = change(&web, Method::PATCH, PATH, &create("overwrite"), 200).await;
    assert_eq!(done["create"]["success"], json!(["sales", "by-overwrite"]));
    let now = stored(&web).await;
    assert_eq!((now.host.as_deref(), now.password.as_deref()), (Some("new"), None), "its secrets stay behind");
    let lost = json!(["sales: password", "sales: extra.api_key", "sales: extra.deep.token"]);
    assert_eq!(done["create"]["dropped_secrets"], lost);
    let body = json!({ "actions": [
        { "action": "update", "entities": [one("by-fail", "other"), one("nothing", "x")] },
        { "action": "delete", "entities": ["by-skip", "nothing", { "connection_id": "by-overwrite", "conn_type": "x" }],
          "action_on_non_existence": "skip" } ] });
    let done = change(&web, Method::PATCH, PATH, &body, 200).await;
    assert_eq!(done["update"]["success"], json!(["by-fail"]));
    assert_eq!(done["update"]["errors"][0]["status_code"], 404);
    assert_eq!(done["delete"], json!({ "success": ["by-skip", "by-overwrite"], "errors": [] }));
    assert_eq!(web.get("/api/v2/connections/by-fail").await.body["host"], "other");
}

#[tokio::test]
async fn a_bulk_request_that_the_database_ends_early_reports_what_is_committed() {
    let web = Web::new().await;
    let breaks = "create function break() returns trigger language plpgsql as $$ begin raise 'broken'; end $$;
        create trigger break before insert on connection for each row when (new.conn_id = 'breaks') execute function break()";
    sqlx::raw_sql(breaks).execute(&mut web.db().await).await.unwrap();
    let create = |ids: &[&str]| {
        let entities: Vec<_> = ids.iter().map(|id| json!({ "connection_id": id, "conn_type": "x" })).collect();
        json!({ "actions": [{ "action": "create", "entities": entities }] })
    };
    change(&web, Method::PATCH, PATH, &create(&["breaks", "a"]), 500).await;
    let done = change(&web, Method::PATCH, PATH, &create(&["a", "breaks", "b"]), 200).await;
    assert_eq!(done["create"]["success"], json!(["a"]));
    let errors = done["create"]["errors"].as_array().unwrap();
    assert!(errors.len() == 1 && errors[0]["status_code"] == 500, "{errors:?}");
    assert!(errors[0]["error"].as_str().unwrap().ends_with("this entity and those after it were not changed"));
    assert_eq!(web.get(&format!("{PATH}/b")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_admins_change_what_the_installation_uses_and_what_can_run_code() {
    let web = Web::new().await;
    web.add_user("olga", Role::Op.as_str()).await;
    let token = web.log_in("olga", PASSWORD).await.unwrap();
    let one = |id: &str, conn_type: &str, extra: Value| json!({ "connection_id": id, "conn_type": conn_type, "host": "h", "extra": extra.to_string() });
    let operator = async |method: Method, path: &str, body: &Value, status: u16| {
        let answer = web.send(method, path, Some(&token), Some(body.to_string())).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
    };
    for body in [
        one("lake", "iceberg", json!({})),
        one("archive", "s3", json!({})),
        one("jars", "spark", json!({ "jars": "http://h/x.jar" })),
        one("python", "spark", json!({ "conf": { "spark.pyspark.python": "/tmp/x" } })),
        one("command", "kafka", json!({ "sasl.kerberos.kinit.cmd": "touch /tmp/x" })),
    ] {
        operator(Method::POST, PATH, &body, 403).await;
        change(&web, Method::POST, PATH, &body, 201).await;
        let path = format!("{PATH}/{}", body["connection_id"].as_str().unwrap());
        let is_code = body["extra"] != "{}";
        operator(Method::PATCH, &path, &body, if is_code { 200 } else { 403 }).await;
        let elsewhere = one(body["connection_id"].as_str().unwrap(), "http", json!({}));
        operator(Method::PATCH, &path, &elsewhere, if is_code { 200 } else { 403 }).await;
        operator(Method::DELETE, &path, &Value::Null, if is_code { 204 } else { 403 }).await;
    }
    operator(Method::POST, PATH, &one("sql", "spark", json!({ "conf": { "spark.sql.shuffle.partitions": 4 } })), 201)
        .await;
    operator(Method::POST, PATH, &one("events", "kafka", json!({ "sasl.mechanism": "PLAIN" })), 201).await;
    operator(Method::PATCH, &format!("{PATH}/sql"), &one("sql", "spark", json!({ "jars": "x.jar" })), 403).await;
}

#[tokio::test]
async fn an_export_has_all_connections() {
    let web = Web::new().await;
    let insert =
        "insert into connection (conn_id, conn_type) select 'c_' || n, 'http' from generate_series(1, 10001) n";
    sqlx::query(insert).execute(&mut web.db().await).await.unwrap();
    let file = Browser::logged_in(&web).await.get("/connections/export?format=json").await;
    let all: serde_json::Map<String, Value> = serde_json::from_str(&file.html).unwrap();
    assert_eq!(all.keys().filter(|name| name.starts_with("c_")).count(), 10_001);
}

#[tokio::test]
async fn variables_are_masked_by_key_and_by_the_names_inside() {
    let web = Web::new().await;
    let path = "/api/v2/variables";
    let make = async |body: Value| change(&web, Method::POST, path, &body, 201).await;
    let made = make(json!({ "key": "limit", "value": 42, "description": "rows" })).await;
    let expected =
        json!({ "key": "limit", "value": "42", "description": "rows", "is_encrypted": true, "team_name": null });
    assert_eq!(made, expected);
    assert_eq!(make(json!({ "key": "api_token", "value": "hush" })).await["value"], "***");
    let nested = make(json!({ "key": "db", "value": { "host": "h", "password": "hush" } })).await;
    assert_eq!(nested["value"], "{\"host\":\"h\",\"password\":\"***\"}");
    make(json!({ "key": "a/b c?", "value": "odd key" })).await;
    assert_eq!(web.get(&format!("{path}/a%2Fb%20c%3F")).await.body["value"], "odd key");
    let taken = change(&web, Method::POST, path, &json!({ "key": "limit", "value": "" }), 409).await;
    assert_eq!(taken, json!({ "detail": "The Variable with key: `limit` already exists" }));
    for (key, value) in [("warehouse", "postgres://me:***@h/db"), ("new_token", "***")] {
        let masked = change(&web, Method::POST, path, &json!({ "key": key, "value": value }), 400).await;
        let detail = format!("value: the secret of variable `{key}` is `***`; enter the secret");
        assert_eq!(masked, json!({ "detail": detail }));
    }

    let db = format!("{path}/db");
    let changed = json!({ "key": "db", "value": "{\"host\":\"new\",\"password\":\"***\"}", "description": "d" });
    change(&web, Method::PATCH, &db, &changed, 200).await;
    let record = get(&mut web.db().await, &VARIABLE, "db").await.unwrap().unwrap();
    assert_eq!(record.open("value", &web.keys).unwrap().unwrap(), r#"{"host":"new","password":"hush"}"#);
    let only = change(
        &web,
        Method::PATCH,
        &format!("{db}?update_mask=description"),
        &json!({ "key": "db", "value": "x", "description": null }),
        200,
    )
    .await;
    assert_eq!(
        (&only["description"], &only["value"]),
        (&json!(null), &json!("{\"host\":\"new\",\"password\":\"***\"}"))
    );
    change(&web, Method::PATCH, &db, &json!({ "key": "other", "value": "x" }), 400).await;
    change(&web, Method::PATCH, &format!("{db}?update_mask=key"), &json!({ "key": "db", "value": "x" }), 400).await;
    let missing = change(&web, Method::PATCH, &format!("{path}/no"), &json!({ "key": "no", "value": "x" }), 404).await;
    assert_eq!(missing, json!({ "detail": "The Variable with key: `no` was not found" }));
    let wrong =
        change(&web, Method::POST, path, &json!({ "key": "", "value": { "hush": 1 }, "odd": "hush" }), 422).await;
    assert!(!wrong.to_string().contains("hush") && wrong["detail"].as_array().unwrap().len() == 2, "{wrong}");

    let list = async |query: &str| {
        let body = web.get(&format!("{path}?{query}")).await.body;
        body["variables"].as_array().unwrap().iter().map(|one| one["key"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(list("order_by=-key&limit=2").await, ["limit", "db"]);
    assert_eq!(list("variable_key_pattern=TOK").await, ["api_token"]);
    assert_eq!(list("variable_key_prefix_pattern=l").await, ["limit"]);
    let body = json!({ "actions": [
        { "action": "create", "entities": [{ "key": "limit", "value": "1" }, { "key": "new", "value": [1] }],
          "action_on_existence": "overwrite" },
        { "action": "delete", "entities": ["db", "nothing"] } ] });
    let done = change(&web, Method::PATCH, path, &body, 200).await;
    assert_eq!(done["create"]["success"], json!(["limit", "new"]));
    assert_eq!(
        (&done["delete"]["success"], &done["delete"]["errors"][0]["status_code"]),
        (&json!(["db"]), &json!(404))
    );
    assert_eq!(web.get(&format!("{path}/limit")).await.body["description"], "rows", "it was not sent");
    change(&web, Method::DELETE, &format!("{path}/limit"), &Value::Null, 204).await;
    let deeds = web.deeds().await;
    let count = |event: &str| deeds.iter().filter(|deed| *deed == event).count();
    assert_eq!((count("add_variable"), count("change_variable"), count("delete_variable")), (5, 3, 2), "{deeds:?}");
}

#[tokio::test]
async fn without_a_key_what_needs_one_says_so_and_the_rest_goes_on() {
    let mut web = Web::new().await;
    change(&web, Method::POST, PATH, &sales(), 201).await;
    change(&web, Method::POST, "/api/v2/variables", &json!({ "key": "limit", "value": "42" }), 201).await;
    web.restart(|_| {});
    let refused = change(&web, Method::POST, "/api/v2/variables", &json!({ "key": "v", "value": "hush" }), 409).await;
    let words = refused["detail"].as_str().unwrap();
    assert!(words.contains("this process has no key for secrets; hint: set `ORCH_SECRET_KEY`"), "{words}");
    change(&web, Method::POST, PATH, &json!({ "connection_id": "open", "conn_type": "http", "host": "h" }), 201).await;
    let seen = web.get("/api/v2/connections/sales").await.body;
    assert_eq!((&seen["login"], &seen["extra"]), (&json!("me"), &json!("{\"***\":\"***\"}")));
    assert_eq!(web.get("/api/v2/variables/limit").await.body["value"], "***");
    let plain = json!({ "connection_id": "sales", "conn_type": "postgres", "login": "other", "password": "***" });
    assert_eq!(change(&web, Method::PATCH, "/api/v2/connections/sales", &plain, 200).await["login"], "other");
    let secret = json!({ "connection_id": "sales", "conn_type": "postgres", "password": "new" });
    change(&web, Method::PATCH, "/api/v2/connections/sales", &secret, 409).await;
    let other = Keyring::parse(&Keyring::generate()).unwrap();
    web.restart(|config| config.keys = other);
    assert_eq!(web.get("/api/v2/connections/sales").await.body["password"], "***");
    let extra = json!({ "connection_id": "sales", "conn_type": "postgres", "extra": "{\"api_key\": \"***\"}" });
    let refused = change(&web, Method::PATCH, "/api/v2/connections/sales", &extra, 409).await;
    assert!(refused["detail"].as_str().unwrap().contains("is sealed with the key"), "{refused}");
}

#[tokio::test]
async fn connections_are_tried_where_that_is_allowed() {
    let mut web = Web::new().await;
    let path = "/api/v2/connections/test";
    let postgres = json!({ "connection_id": "new", "conn_type": "postgres", "host": "localhost", "port": 1 });
    let refused = change(&web, Method::POST, path, &postgres, 403).await;
    assert!(refused["detail"].as_str().unwrap().starts_with("Testing connections is disabled in"), "{refused}");
    let keys = web.keys.clone();
    web.restart(|config| {
        config.test_connection = true;
        config.reach = Reach::also(vec!["127.0.0.0/8".parse().unwrap()]);
        config.keys = keys;
    });
    let test = async |web: &Web, body: Value| {
        let body = change(web, Method::POST, path, &body, 200).await;
        (body["status"].as_bool().unwrap(), body["message"].as_str().unwrap().to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let of = |conn_type: &str, more: Value| {
        let mut body = json!({ "connection_id": "new", "conn_type": conn_type, "host": "127.0.0.1", "port": port });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (well, words) = test(&web, of("mysql", json!({}))).await;
    assert!(well && words.contains("takes connections"), "{words}");
    let (well, words) = test(&web, of("mysql", json!({ "port": null, "conn_type": "odd" }))).await;
    assert!(!well && words.contains("no port"), "{words}");
    let mut answers = tokio::task::JoinSet::new();
    answers.spawn(async move {
        let mut seen = Vec::new();
        for status in ["200 OK", "401 Unauthorized", "200 OK", "401 Unauthorized", "401 Unauthorized"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The connection that was only opened and closed comes first.
            let mut text = vec![0; 4096];
            let mut read = tokio::io::AsyncReadExt::read(&mut stream, &mut text).await.unwrap();
            if read == 0 {
                (stream, _) = listener.accept().await.unwrap();
                read = tokio::io::AsyncReadExt::read(&mut stream, &mut text).await.unwrap();
            }
            seen.push(String::from_utf8_lossy(&text[..read]).into_owned());
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
        }
        seen
    });
    let account = json!({ "login": "me", "password": "hush1" });
    assert_eq!(
        test(&web, of("http", account.clone())).await,
        (true, "Connection successfully tested: HTTP 200".into())
    );
    let refused = |path: &str| {
        let hint = "check the login, the password and the token, and what they may do on that server";
        (false, format!("`http://127.0.0.1:{port}{path}` responded with status 401\nhint: {hint}"))
    };
    assert_eq!(test(&web, of("http", account)).await, refused(""));
    let catalog = |more: Value| of("iceberg", json!({ "schema": "catalog", "extra": more.to_string() }));
    let token = json!({ "token": "hush4" });
    assert_eq!(test(&web, catalog(token.clone())).await, (true, "Connection successfully tested: HTTP 200".into()));
    assert_eq!(test(&web, catalog(token)).await, refused("/catalog/v1/config"));
    let mut account = catalog(json!({}));
    account.as_object_mut().unwrap().extend([("login".into(), json!("me")), ("password".into(), json!("hush1"))]);
    let (well, words) = test(&web, account).await;
    assert!(well && words.ends_with("no login was tried"), "{words}");
    let seen = answers.join_next().await.unwrap().unwrap();
    assert!(seen[2].starts_with("GET /catalog/v1/config ") && seen[2].contains("Bearer hush4"), "{}", seen[2]);
    assert!(!seen[4].contains("hush1"), "{}", seen[4]);
    assert!(seen[0].to_lowercase().contains("authorization: basic"), "{}", seen[0]);

    let database = orch_sdk::task::Connection::from_uri("own", &web.database.url()).unwrap();
    let own = json!({ "connection_id": "own", "conn_type": "postgres", "host": database.host, "port": database.port,
        "login": database.login, "schema": database.schema, "password": database.password.unwrap_or("any".into()),
        "extra": Value::Object(database.extra).to_string() });
    change(&web, Method::POST, PATH, &own, 201).await;
    assert_eq!(test(&web, own.clone()).await, (true, "Connection successfully tested".into()));
    let mut masked = own.clone();
    masked["password"] = json!("***");
    assert!(test(&web, masked.clone()).await.0, "the stored password is used for the stored place");
    masked["port"] = json!(port);
    let refused = change(&web, Method::POST, path, &masked, 400).await;
    assert!(refused["detail"].as_str().unwrap().contains("differs from the stored connection"), "{refused}");
    let mut wrong = own;
    wrong["login"] = json!("nobody-here");
    wrong["password"] = json!("hush-wrong");
    let (well, words) = test(&web, wrong).await;
    assert!(!well && !words.contains("hush-wrong"), "{words}");
}

#[tokio::test]
async fn a_test_reaches_nothing_that_is_not_public_and_tells_closed_ports_from_nothing() {
    let mut web = Web::new().await;
    web.restart(|config| config.test_connection = true);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = "/api/v2/connections/test";
    for (conn_type, host) in [
        ("http", "127.0.0.1"),
        ("http", "http://localhost"),
        ("http", "http://[::ffff:127.0.0.1]"),
        ("http", "http://2130706433"),
        ("http", "http://user@169.254.169.254"),
        ("iceberg", "http://localhost"),
        ("mysql", "localhost"),
        ("mysql", "0.0.0.0"),
        ("postgres", "127.0.0.1"),
        ("postgres", "/tmp"),
        ("postgres", "?host=127.0.0.1"),
    ] {
        let mut body = json!({ "connection_id": "new", "conn_type": conn_type, "host": host, "port": port });
        if let Some(host) = host.strip_prefix("?host=") {
            body["host"] = Value::Null;
            body["extra"] = json!({ "host": host }).to_string().into();
        }
        let answer = change(&web, Method::POST, path, &body, 200).await;
        let words = answer["message"].as_str().unwrap();
        assert!(answer["status"] == false && words.contains("is not public"), "{conn_type} {host}: {words}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nothing was connected to");
    web.restart(|config| {
        config.test_connection = true;
        config.reach = Reach::also(vec!["127.0.0.1".parse().unwrap()]);
    });
    let body = json!({ "connection_id": "new", "conn_type": "postgres", "host": "localhost", "port": port,
        "extra": json!({ "sslmode": "verify-full" }).to_string() });
    let answer = change(&web, Method::POST, path, &body, 200).await;
    assert!(answer["message"].as_str().unwrap().starts_with("`sslmode=verify-full` is not tested"), "{answer}");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nothing was connected to");
    drop(listener);
    let of =
        |conn_type: &str| json!({ "connection_id": "new", "conn_type": conn_type, "host": "127.0.0.1", "port": port });
    for conn_type in ["http", "mysql", "postgres"] {
        let answer = change(&web, Method::POST, path, &of(conn_type), 200).await;
        let words = answer["message"].as_str().unwrap();
        assert!(words.ends_with("cannot be reached within 5 s"), "{conn_type}: {words}");
    }
    // Operators get one message for every failure of a server, and the reason if the fields do not allow a test.
    web.add_user("ann", "op").await;
    let token = web.log_in("ann", PASSWORD).await.unwrap();
    let one = "the connection `new` failed; an administrator and the log of the server have the reason";
    let closed = ["http", "mysql", "postgres"].map(of);
    let others = [
        json!({ "connection_id": "new", "conn_type": "mysql", "host": "10.0.0.1" }),
        json!({ "connection_id": "new", "conn_type": "http", "host": "no-such-host.invalid" }),
    ];
    for body in closed.iter().chain(&others) {
        let answer = web.send(Method::POST, path, Some(&token), Some(body.to_string())).await;
        assert_eq!(answer.body, json!({ "status": false, "message": one }), "{body}");
    }
    let odd = json!({ "connection_id": "new", "conn_type": "odd", "host": "127.0.0.1" });
    let answer = web.send(Method::POST, path, Some(&token), Some(odd.to_string())).await;
    let words = answer.body["message"].as_str().unwrap();
    assert!(words.starts_with("it has no port, and there is no default port for its type `odd`\nhint: "), "{words}");
    assert!(words.ends_with("`orch connections add new … --conn-port PORT`"), "{words}");
}

#[tokio::test]
async fn a_connection_that_leads_elsewhere_takes_no_stored_secret_along() {
    let web = Web::new().await;
    let path = "/api/v2/connections/sales";
    for (part, value) in [
        ("host", json!("evil.example")),
        ("host", json!("https://me:***@evil.example")),
        ("port", json!(1)),
        ("conn_type", json!("http")),
        ("extra", json!("{\"api_key\": \"***\", \"deep\": {\"token\": \"***\"}, \"endpoint_url\": \"http://evil\"}")),
    ] {
        change(&web, Method::POST, PATH, &sales(), 201).await;
        let mut sent = json!({ "connection_id": "sales", "conn_type": "postgres" });
        sent[part] = value;
        let done = change(&web, Method::PATCH, path, &sent, 200).await;
        let now = stored(&web).await;
        assert!(now.secrets().is_empty(), "{sent}: {now:?}");
        assert_eq!((&done["password"], &done["dropped_secrets"][0]), (&json!(null), &json!("password")), "{done}");
        change(&web, Method::DELETE, path, &Value::Null, 204).await;
    }
    change(&web, Method::POST, PATH, &sales(), 201).await;
    let brings = json!({ "connection_id": "sales", "conn_type": "postgres", "host": "new", "password": "hush9",
        "extra": "{\"api_key\": \"hush8\"}" });
    assert_eq!(change(&web, Method::PATCH, path, &brings, 200).await["dropped_secrets"], json!(null));
    assert_eq!(stored(&web).await.secrets(), ["hush9", "hush8"]);
}
