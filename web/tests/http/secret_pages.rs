//! The pages of connections and variables: what users may do there, and that no page contains a secret.

use crate::browser::{Browser, Page};
use crate::fixture::{PASSWORD, Web};
use axum::http::StatusCode;
use orch_core::network::Reach;
use orch_sdk::task::Connection;
use orch_store::connection::open;
use orch_store::kept::{CONNECTION, VARIABLE, get};
use serde_json::json;

async fn stored(web: &Web, id: &str) -> Connection {
    let record = get(&mut web.db().await, &CONNECTION, id).await.unwrap();
    open(&record.unwrap_or_else(|| panic!("there is no `{id}`")), &web.keys).unwrap()
}

async fn value(web: &Web, key: &str) -> String {
    let record = get(&mut web.db().await, &VARIABLE, key).await.unwrap();
    record.unwrap_or_else(|| panic!("there is no `{key}`")).open("value", &web.keys).unwrap().unwrap()
}

#[track_caller]
fn went(page: &Page, to: &str) {
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, to), "{}", page.html);
}

#[tokio::test]
async fn a_connection_is_added_changed_and_deleted_by_its_form() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/connections").await.has("No connection yet"));
    let form = browser.get("/connections/edit?type=postgres").await;
    for part in ["Database", "extra: sslmode", "verify-full", "Switched off"] {
        assert!(form.has(part), "{part}: {}", form.html);
    }
    let fields = [
        ("id", "sales"),
        ("conn_type", "postgresql"),
        ("host", "db"),
        ("port", "5432"),
        ("login", "me"),
        ("password", "hush1"),
        ("schema", "s"),
        ("extra:sslmode", "require"),
        ("extra", "{\"api_key\": \"hush2\"}"),
        ("do", "save"),
    ];
    went(&browser.submit("/connections/edit", "/connections/edit", &fields).await, "/connections");
    let now = stored(&web, "sales").await;
    assert_eq!((now.conn_type.as_str(), now.port, now.password.as_deref()), ("postgres", Some(5432), Some("hush1")));
    assert_eq!(now.extra, *json!({ "sslmode": "require", "api_key": "hush2" }).as_object().unwrap());

    let edit = "/connections/edit?id=sales";
    let page = browser.get(edit).await;
    for part in ["kept; type to replace", "value=\"require\"", "&#34;api_key&#34;: &#34;***&#34;", "Delete…"] {
        assert!(page.has(part), "{part}: {}", page.html);
    }
    assert!(!page.has("hush"), "{}", page.html);
    // The form as the page had it, with one change.
    let again = [
        ("id", "sales"),
        ("conn_type", "postgres"),
        ("host", "db"),
        ("port", "5432"),
        ("password", ""),
        ("extra:sslmode", "require"),
        ("extra", "{\"api_key\": \"***\"}"),
        ("do", "save"),
    ];
    went(&browser.submit(edit, edit, &again).await, "/connections");
    let now = stored(&web, "sales").await;
    assert_eq!((now.host.as_deref(), now.password.as_deref(), now.login), (Some("db"), Some("hush1"), None));
    assert_eq!(now.extra, *json!({ "sslmode": "require", "api_key": "hush2" }).as_object().unwrap());
    let moved = again.map(|(name, value)| if name == "host" { (name, "other") } else { (name, value) });
    let page = browser.submit(edit, edit, &moved).await;
    assert!(page.has("Saved without its secrets") && page.has("password, extra.api_key"), "{}", page.html);
    let now = stored(&web, "sales").await;
    assert!(now.host.as_deref() == Some("other") && now.secrets().is_empty(), "{now:?}");
    let without = [("conn_type", "postgres"), ("no_password", "on"), ("extra", "")];
    went(&browser.submit(edit, edit, &without).await, "/connections");
    assert_eq!(stored(&web, "sales").await.password, None);

    let ask = browser.get("/connections/delete?id=sales").await;
    assert!(ask.has("Tasks that ask for it fail from then on"), "{}", ask.html);
    went(&browser.submit("/connections", "/connections/delete", &[("id", "sales")]).await, "/connections");
    assert_eq!(browser.get(edit).await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.deeds().await.len(), 5, "{:?}", web.deeds().await);
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_said_and_no_secret_comes_back() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    for (fields, words) in [
        (vec![("id", "a b"), ("conn_type", "x")], "The name cannot be taken"),
        (vec![("id", "a"), ("conn_type", "")], "A connection has a type"),
        (vec![("id", "a"), ("conn_type", "x"), ("port", "many")], "The port is a number"),
        (vec![("id", "a"), ("conn_type", "x"), ("extra", "[1]")], "Extra is a JSON object"),
        (vec![("id", "a"), ("conn_type", "x"), ("extra", "{\n1")], "see line 2"),
    ] {
        let mut sent = fields.clone();
        sent.extend([("password", "hush1"), ("description", "still here")]);
        let page = browser.submit("/connections/edit", "/connections/edit", &sent).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.has(words) && page.has("still here") && !page.has("hush1"), "{words}: {}", page.html);
    }
    let good = [("id", "a"), ("conn_type", "x")];
    browser.submit("/connections/edit", "/connections/edit", &good).await;
    let again = [("id", "a"), ("conn_type", "x"), ("extra", "{\"token\": \"hush2\"}"), ("host", "http://me:hush3@h")];
    let page = browser.submit("/connections/edit", "/connections/edit", &again).await;
    assert!(page.has("There is a connection `a` already") && !page.has("hush"), "{}", page.html);
}

#[tokio::test]
async fn variables_are_added_changed_and_deleted_by_their_form() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let new = "/variables/edit";
    let limit = [("key", "limit"), ("value", "two\r\nlines"), ("description", "rows")];
    went(&browser.submit(new, new, &limit).await, "/variables");
    went(&browser.submit(new, new, &[("key", "api_token"), ("value", "hush1")]).await, "/variables");
    let odd = [("key", "a/b&c"), ("value", "{\"password\": \"hush2\", \"n\": 1}"), ("json", "on")];
    went(&browser.submit(new, new, &odd).await, "/variables");
    assert_eq!(value(&web, "limit").await, "two\nlines");
    let page = browser.get("/variables").await;
    assert!(page.has("two\nlines") && page.has("a/b&#38;c") && page.has("rows") && !page.has("hush"), "{}", page.html);
    let edit = "/variables/edit?key=api_token";
    let page = browser.get(edit).await;
    assert!(page.has("kept; type to replace") && !page.has("hush"), "{}", page.html);
    went(&browser.submit(edit, edit, &[("value", ""), ("kept", "yes"), ("description", "d")]).await, "/variables");
    assert_eq!(value(&web, "api_token").await, "hush1");
    let edit = "/variables/edit?key=a%2Fb%26c";
    let page = browser.get(edit).await;
    assert!(page.has("&#34;password&#34;:&#34;***&#34;") && !page.has("hush"), "{}", page.html);
    let changed = [("value", "{\"n\": 2, \"password\": \"***\"}"), ("json", "on")];
    went(&browser.submit(edit, edit, &changed).await, "/variables");
    assert_eq!(value(&web, "a/b&c").await, r#"{"n":2,"password":"hush2"}"#);
    let (edit, shown) = ("/variables/edit?key=warehouse", "postgres://me:***@h/db");
    let address = [("key", "warehouse"), ("value", "postgres://me:hush3@h/db")];
    went(&browser.submit(new, new, &address).await, "/variables");
    for path in ["/variables", edit] {
        let page = browser.get(path).await;
        assert!(page.has(shown) && !page.has("hush"), "{path}: {}", page.html);
    }
    assert_eq!(web.get("/api/v2/variables/warehouse").await.body["value"], shown);
    went(&browser.submit(edit, edit, &[("value", shown), ("description", "d")]).await, "/variables");
    let page = browser.submit(edit, edit, &[("value", "postgres://me:***@evil.example/db")]).await;
    assert!(page.has("enter the password again") && !page.has("hush"), "{}", page.html);
    assert_eq!(value(&web, "warehouse").await, "postgres://me:hush3@h/db");
    for (fields, words) in [
        ([("key", "new"), ("value", "{\n,"), ("json", "on")], "The value is not JSON: see line 2"),
        ([("key", ""), ("value", "x"), ("json", "")], "The key cannot be taken"),
        ([("key", "limit"), ("value", "x"), ("description", "")], "already exists"),
    ] {
        let page = browser.submit(new, new, &fields).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.has(words), "{words}: {}", page.html);
    }
    assert!(browser.get("/variables/delete?key=limit").await.has("Delete limit?"));
    went(&browser.submit("/variables", "/variables/delete", &[("key", "limit")]).await, "/variables");
    assert!(browser.get("/variables?q=LIM").await.has("No matching variable"));
}

#[tokio::test]
async fn a_form_with_an_error_repeats_no_secret_and_stores_no_mask() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let (new, typed, shown) = ("/variables/edit", "postgres://me:hush1@h/db", "postgres://me:***@h/db");
    went(&browser.submit(new, new, &[("key", "taken"), ("value", "x")]).await, "/variables");
    let again = "Enter the value again";
    for secret in [typed, r#"{"password": "hush1"}"#] {
        let page = browser.submit(new, new, &[("key", "taken"), ("value", secret)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.has("already exists") && page.has(again), "{}", page.html);
        assert!(page.has("placeholder=\"\" required>"), "{}", page.html);
        assert!(!page.has("hush") && !page.has("***"), "{}", page.html);
    }
    let page = browser.submit(new, new, &[("key", "taken"), ("value", "no secret")]).await;
    assert!(page.has("no secret") && !page.has(again), "{}", page.html);
    for (key, masked) in [("free", shown), ("api_token", "***")] {
        let page = browser.submit(new, new, &[("key", key), ("value", masked)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{key}: {}", page.html);
        assert!(page.has("enter the secret"), "{key}: {}", page.html);
        assert!(get(&mut web.db().await, &VARIABLE, key).await.unwrap().is_none(), "{key}");
    }
    for (key, first, other) in [("db", typed, "postgres://me:hush2@h/db"), ("my_token", "hush1", "hush2")] {
        let edit = format!("/variables/edit?key={key}");
        went(&browser.submit(new, new, &[("key", key), ("value", first)]).await, "/variables");
        let page = browser.submit(&edit, &edit, &[("value", other), ("json", "on")]).await;
        assert!(page.has("is not JSON") && page.has(again), "{key}: {}", page.html);
        assert!(!page.has("hush") && !page.has("***") && !page.has("kept; type"), "{key}: {}", page.html);
        assert_eq!(value(&web, key).await, first);
    }
}

#[tokio::test]
async fn files_of_airflow_go_in_and_come_out_without_secrets() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let text = r#"{"sales": {"conn_type": "postgres", "password": "hush1", "extra": "{\"token\": \"hush2\", \"a\": 1}"},
        "api": "http://me:hush3@h:80/https?x=y"}"#;
    let import = "/connections/import";
    let page = browser.submit(import, import, &[("text", text), ("format", "json")]).await;
    assert!(page.has("Imported") && page.has("api, sales") && !page.has("hush"), "{}", page.html);
    assert_eq!(stored(&web, "api").await.password.as_deref(), Some("hush3"));
    for format in ["json", "yaml", "env"] {
        let file = browser.get(&format!("/connections/export?format={format}")).await;
        let kept = format!("attachment; filename=\"connections.{format}\"");
        assert_eq!(file.headers["content-disposition"], kept.as_str());
        assert!(!file.has("hush") && file.has("***") && file.has("sales"), "{}", file.html);
        // An exported file can be imported again, and changes nothing.
        let before = [stored(&web, "sales").await, stored(&web, "api").await];
        let fields = [("text", file.html.as_str()), ("format", format), ("overwrite", "on")];
        let page = browser.submit(import, import, &fields).await;
        assert!(page.has("Changed"), "{}", page.html);
        assert_eq!([stored(&web, "sales").await, stored(&web, "api").await], before, "{format}");
        let page = browser.submit(import, import, &fields[..2]).await;
        assert!(page.has("There already, and left as they are"), "{}", page.html);
    }
    let elsewhere = r#"{"new": {"conn_type": "x", "password": "***", "extra": {"token": "***", "b": 2}}}"#;
    let page = browser.submit(import, import, &[("text", elsewhere), ("format", "json")]).await;
    assert!(page.has("Their secrets are missing"), "{}", page.html);
    assert_eq!(stored(&web, "new").await.extra, *json!({ "b": 2 }).as_object().unwrap());
    for wrong in ["{\"a\": \"hush", "{\"a\": \"hush\"}", "{\"a/b\": \"x://h\"}", "{\"a\": {\"host\": \"h\"}}"] {
        let page = browser.submit(import, import, &[("text", wrong), ("format", "json")]).await;
        assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && !page.has("hush"), "{wrong}: {}", page.html);
    }
    let text = "limit: 42\ndb:\n  value:\n    password: hush4\n  description: d\n";
    let import = "/variables/import";
    let page = browser.submit(import, import, &[("text", text), ("format", "yaml")]).await;
    assert!(page.has("db, limit") && !page.has("hush"), "{}", page.html);
    assert_eq!(value(&web, "db").await, r#"{"password":"hush4"}"#);
    let file = browser.get("/variables/export").await;
    assert!(!file.has("hush") && file.has("\"limit\": 42"), "{}", file.html);
    let fields = [("text", file.html.as_str()), ("format", "json"), ("overwrite", "on")];
    assert!(browser.submit(import, import, &fields).await.has("Changed"));
    assert_eq!(value(&web, "db").await, r#"{"password":"hush4"}"#);
}

#[tokio::test]
async fn viewers_see_names_and_no_form() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let fields = [
        ("id", "sales"),
        ("conn_type", "http"),
        ("host", "https://me:hush1@h"),
        ("login", "loginname"),
        ("password", "hush2"),
    ];
    browser.submit("/connections/edit", "/connections/edit", &fields).await;
    browser.submit("/variables/edit", "/variables/edit", &[("key", "limit"), ("value", "plainvalue")]).await;
    web.add_user("vera", "viewer").await;
    let mut viewer = Browser::new(&web);
    viewer.log_in("vera", PASSWORD, "/").await;
    let page = viewer.get("/connections").await;
    assert!(page.has("sales") && page.has("https://h") && !page.has("me:***"), "{}", page.html);
    assert!(!page.has("hush") && !page.has("loginname") && !page.has("/connections/edit"), "{}", page.html);
    let page = viewer.get("/variables").await;
    assert!(page.has("limit") && !page.has("plainvalue") && !page.has("/variables/edit"), "{}", page.html);
    for path in ["/connections/edit?id=sales", "/connections/export", "/variables/edit?key=limit", "/variables/import"]
    {
        assert_eq!(viewer.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn a_form_without_a_key_says_what_to_do_and_a_trial_says_how_it_went() {
    let mut web = Web::new().await;
    web.restart(|config| {
        config.test_connection = true;
        config.reach = Reach::also(vec!["127.0.0.1".parse().unwrap()]);
    });
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/connections").await.has("This server has no key for secrets"));
    let edit = "/connections/edit";
    let page = browser.submit(edit, edit, &[("id", "a"), ("conn_type", "x"), ("password", "hush1")]).await;
    assert!(page.has("this process has no key for secrets") && !page.has("hush1"), "{}", page.html);
    let page = browser
        .submit(edit, edit, &[("id", "a"), ("conn_type", "mysql"), ("host", "127.0.0.1"), ("port", "1"), ("do", "try")])
        .await;
    assert!(page.status == StatusCode::OK && page.has("Saved. 127.0.0.1:1 cannot be reached"), "{}", page.html);
}
