//! Access rules, route by route.

use crate::browser::Browser;
use crate::fixture::Web;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use orch_deeds::NOUNS;
use orch_web::{Access, Door, Role, Rule, rules};
use serde_json::json;
use std::collections::BTreeSet;

/// The page of a topic hides its records from users who may not read them. This is the API route of the records.
const RECORDS: &str = "/api/orch/v1/topics/{topic_name}/records";

/// Topics of a Kafka cluster, which other teams may share.
const CLUSTER: &str = "/connections/{connection_id}/topics";

/// The default role of a route. Rules that require another role are listed here deliberately.
fn usual(rule: &Rule) -> Role {
    let (path, method) = (rule.path, &rule.method);
    let below = |start: &str| path == start || path.strip_prefix(start).is_some_and(|rest| rest.starts_with('/'));
    let is_own = ["/account", "/auth", "/logout", "/theme", "/zone"].into_iter().any(below)
        || ["/favorite", "/unfavorite", "/list"].into_iter().any(|end| path.ends_with(end));
    let of_operators = [
        "/api/orch/v1/sql",
        "/api/orch/v1/alerts",
        "/alerts",
        "/clusters",
        "/connections",
        "/variables",
        "/pools",
        "/sql",
        "/topics",
        "/streams",
        "/api/orch/v1/streams",
        "/api/orch/v1/topic-readers",
        "/connectors",
    ];
    let keeps = NOUNS.iter().any(|noun| below(noun.path))
        || of_operators.into_iter().any(below)
        || path.contains("/xcomEntries");
    match *method {
        // A cluster may have topics of other teams, so only users who manage connections see it.
        _ if path.contains(CLUSTER) || below("/clusters") => Role::Op,
        // Settings and users are only for admins.
        _ if below("/users") || below("/api/orch/v1/users") || below("/api/v2/config") => Role::Admin,
        Method::DELETE if path == "/api/v2/dags/{dag_id}" => Role::Admin,
        _ if path == "/dags/{dag_id}/delete" => Role::Admin,
        // Viewers have favourites too.
        Method::POST if path.ends_with("/favorite") => Role::Viewer,
        // Each dashboard declares who may read it.
        Method::GET if below("/dashboards") => Role::Viewer,
        Method::GET if asks(path) => {
            if keeps {
                Role::Op
            } else {
                Role::User
            }
        }
        // These routes read data, like SQL.
        Method::GET if path.ends_with("/sample") || path.ends_with("/nulls") || path == RECORDS => Role::Op,
        Method::GET => Role::Viewer,
        // A user who may start a run may append a record.
        Method::POST if path.ends_with("/{topic_name}/records") => Role::User,
        Method::POST | Method::PATCH if is_own && !(path.ends_with("/list") && *method == Method::PATCH) => {
            Role::Viewer
        }
        // A question names the users who may respond, independently of their role.
        _ if path.ends_with("/hitlDetails") || path == "/approvals/{approval_id}" => Role::Viewer,
        _ if keeps => Role::Op,
        // A user who may start the run may also delete its queued asset events and presets.
        Method::DELETE if path.ends_with("/queuedEvents") || path.contains("/presets/") => Role::User,
        Method::DELETE => Role::Op,
        _ => Role::User,
    }
}

/// True for pages with a form for a change, which require the role for the change.
fn asks(path: &str) -> bool {
    let words = ["change", "cancel", "clear", "mark", "mark-chosen", "trigger", "edit", "delete", "import", "export"];
    !path.starts_with("/api/") && path.rsplit('/').next().is_some_and(|word| words.contains(&word))
}

/// All paths that may be open without a login.
const MAY_BE_OPEN: [&str; 10] = [
    "/api/v2/auth/",
    "/healthz",
    "/readyz",
    "/login",
    "/auth/",
    "/static",
    // The servers behind these paths require a key.
    "/catalog",
    "/serving",
    "/api/v2/monitor/health",
    "/api/v2/version",
];

#[tokio::test]
async fn every_route_asks_for_the_role_that_such_routes_ask_for() {
    let web = Web::new().await;
    for rule in rules() {
        if let Access::Login(role) = rule.access {
            assert_eq!(role, usual(&rule), "{} {}", rule.method, rule.path);
            assert!(rule.deletes.is_none_or(|deletes| deletes >= Role::Op), "{} deletes", rule.path);
        }
        let path = rule.path.replace("{map_index}", "0");
        let path = path.replace(['{', '}'], "");
        let answer = web.send(rule.method.clone(), &path, None, None).await;
        if rule.access == Access::Open {
            assert!(MAY_BE_OPEN.iter().any(|open| rule.path.starts_with(open)), "{} is open", rule.path);
            // A failed login has the same status.
            assert!(answer.status != StatusCode::UNAUTHORIZED || rule.path == "/login", "{}", rule.path);
        } else if rule.door == Door::Page {
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{} {}", rule.method, rule.path);
            assert!(answer.headers["location"].to_str().unwrap().starts_with("/login"), "{}", rule.path);
        } else {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{} {}", rule.method, rule.path);
        }
    }
}

/// Postgres stores no NUL in text, so a name with a NUL exists nowhere in any address.
#[tokio::test]
async fn a_nul_in_an_address_is_a_mistake_of_the_client_on_every_route() {
    let web = Web::new().await;
    let session = format!("orch={}", Browser::logged_in(&web).await.cookies["orch"]);
    for rule in rules() {
        let mut addresses = vec![format!("{}?dag_id=a%00b&order_by=%00&limit=%00", rule.path.replace(['{', '}'], ""))];
        let names = rule.path.matches('{').count();
        for nth in 0..names {
            addresses.push(with_nul(rule.path, nth));
        }
        for address in addresses {
            let request = Request::builder().method(rule.method.clone()).uri(&address).header("host", "localhost");
            let request = match rule.door {
                Door::Api => request.header("authorization", format!("Bearer {}", web.token)),
                Door::Page => request.header("cookie", &session),
            };
            let answer = web.answer(request.body(Body::empty()).unwrap()).await;
            let status = answer.status.as_u16();
            assert!([400, 404, 422].contains(&status), "{} {address}: {status} {}", rule.method, answer.body);
        }
    }
}

/// Routes that accept any query parameter: servers behind this one, monitors, which may add their own, and dashboards,
/// which declare their filters themselves.
const READ_ANYTHING: [&str; 11] = [
    "/catalog/{*path}",
    "/dashboards/{dashboard_name}",
    "/dashboards/{dashboard_name}/events",
    "/dashboards/{dashboard_name}/{panel_id}/export",
    "/healthz",
    "/metrics",
    "/readyz",
    "/serving",
    "/serving/",
    "/serving/{*path}",
    "/static/{hash}/{name}",
];

/// `openapi.rs` tests the routes of the API.
#[tokio::test]
async fn no_page_ignores_a_parameter() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let mut open = BTreeSet::new();
    for rule in rules().into_iter().filter(|rule| !rule.path.starts_with("/api/")) {
        let path = rule.path.replace("{map_index}", "0").replace(['{', '}'], "");
        let asked = format!("{path}?nonsense=1");
        let (status, said) = match rule.door {
            Door::Page => {
                let page = browser.send(rule.method.clone(), &asked, String::new(), &[]).await;
                (page.status, page.html)
            }
            Door::Api => {
                let answer = web.send(rule.method.clone(), &asked, Some(&web.token), None).await;
                (answer.status, answer.body.to_string())
            }
        };
        if said.contains("`nonsense` is not read here") {
            assert_eq!(status, StatusCode::BAD_REQUEST, "{} {path}", rule.method);
        } else {
            open.insert(rule.path);
        }
        // An event stream never ends.
        if rule.door == Door::Api || rule.method != Method::GET || path.ends_with("/events") {
            continue;
        }
        for name in browser.reads(&path).await.unwrap_or_default() {
            let page = browser.get(&format!("{path}?{name}=")).await;
            assert!(!page.has("is not read here"), "{path} says that it reads {name}: {}", page.html);
        }
    }
    assert_eq!(open.into_iter().collect::<Vec<_>>(), READ_ANYTHING);
}

#[tokio::test]
async fn a_word_that_means_nothing_to_a_page_is_refused_with_those_that_do() {
    let web = Web::new().await;
    let run = format!("/dags/chain/runs/{}", web.trigger("chain").await.replace('+', "%2B"));
    let mut browser = Browser::logged_in(&web).await;
    for (address, words) in [
        ("/?range=1y", "1h, 6h, 24h, 7d"),
        ("/alerts?state=lost", "waiting"),
        ("/alerts?kind=odd", "task_failed"),
        ("/assets?state=fresh", "stale"),
        ("/assets/lineage?reach=far", "both, up, down"),
        ("/connections/export?format=xml", "json, yaml, env"),
        ("/dags?state=faild", "all, favorites, failing, running, paused"),
        ("/dags/chain?runs=7", "24, 50, 100"),
        ("/dags/chain?type=odd", "all, scheduled, manual"),
        ("/dags/chain/graph?dir=left", "right, down"),
        ("/dags/chain/graph?zoom=much", "a whole number"),
        ("/dags/chain/runs?state=faild", "all, running, queued, failed, success, late"),
        ("/runs?state=faild", "all, running, queued, failed, success, late"),
        ("/runs?state=failed&state=faild", "all, running, queued, failed, success, late"),
        (format!("{run}?state=faild").as_str(), "all, success, failed, running, waiting, skipped"),
        (format!("{run}/tasks?state=faild").as_str(), "all, success, failed, running, waiting, skipped"),
        (format!("{run}/tasks/t0?level=loud").as_str(), "error, warn, info, debug"),
        (format!("{run}/tasks/t0?try=first").as_str(), "a whole number"),
        (format!("{run}/clear?task=t0&map_index=x").as_str(), "a whole number"),
    ] {
        let page = browser.get(address).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{address}");
        assert!(page.has("it takes ") && page.has(words), "{address}: {}", page.html);
    }
    for address in ["/runs?state=&q=", "/runs?state=late&page=1", "/dags?state=paused", "/alerts?state=&kind=&dag="] {
        assert_eq!(browser.get(address).await.status, StatusCode::OK, "{address}");
    }
    let unknown = browser.get("/runs?stat=failed").await;
    assert!(unknown.has("reads q, page, "), "{}", unknown.html);
    let refused = web.get("/connectors?expand=tasks").await;
    assert_eq!((refused.status, &refused.body["error_code"]), (StatusCode::BAD_REQUEST, &json!(400)));
}

/// Returns the path with a NUL in its `nth` parameter and ordinary text in the others.
fn with_nul(path: &str, nth: usize) -> String {
    let mut names = 0;
    let part = |part: &str| {
        if !part.starts_with('{') {
            return part.to_string();
        }
        names += 1;
        if names == nth + 1 { "1%00".into() } else { "1".into() }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Returns method, path and word of each row of a Markdown table.
fn rows(text: &str) -> Vec<(String, String, String)> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().trim_matches('`').to_string()).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.contains("`/api/v2/")).map(cells);
    rows.map(|row| (row[1].clone(), row[2].clone(), row.get(3).cloned().unwrap_or_default())).collect()
}

#[tokio::test]
async fn the_table_of_airflows_paths_says_what_is_here() {
    let web = Web::new().await;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/airflow-api.md")).unwrap();
    let (airflows, extra) = text.split_once("## Beside Airflow's").unwrap();
    let (airflows, extra) = (rows(airflows), rows(extra));
    assert_eq!(airflows.len(), 128, "all operations of Airflow 3.3.2");
    let routes: Vec<_> = rules().into_iter().filter(|rule| rule.path.starts_with("/api/v2/")).collect();
    let is_route = |method: &str, path: &str| routes.iter().any(|rule| rule.method == method && rule.path == path);
    for (method, path, word) in &airflows {
        assert!(["done", "later", "not"].contains(&word.as_str()), "{method} {path}: {word}");
        assert_eq!(is_route(method, path), word == "done", "{method} {path} is said to be `{word}`");
        if word != "done" {
            let real = path.replace("{map_index}", "0").replace(['{', '}'], "");
            let answer = web.change(method.parse().unwrap(), &real, &json!({})).await;
            let (status, body) = (answer.status, answer.body);
            let no_route = status == StatusCode::NOT_FOUND && body == json!({ "error": "API route not found" });
            assert!(no_route || status == StatusCode::METHOD_NOT_ALLOWED, "{method} {path}: {status} {body}");
        }
    }
    for rule in &routes {
        let said = |rows: &[(String, String, String)]| {
            rows.iter().any(|(m, p, _)| rule.method == m.as_str() && rule.path == p)
        };
        assert!(said(&airflows) || said(&extra), "{} {} is in no table", rule.method, rule.path);
    }
    extra.iter().for_each(|(method, path, _)| assert!(is_route(method, path), "{method} {path}"));
    let count = |word: &str| format!("{} ", airflows.iter().filter(|(_, _, w)| w == word).count());
    for (word, after) in [("done", "are **done**"), ("later", "come **later**"), ("not", "are **not**")] {
        assert!(text.contains(&(count(word) + after)), "there are {}{word}", count(word));
    }
}

#[tokio::test]
async fn what_is_no_route_says_so_in_airflows_words() {
    let web = Web::new().await;
    for path in ["/api/v2/nothing", "/api/v2", "/api/v2/dags/chain/nothing", "/api/v2/version/"] {
        let answer = web.get(path).await;
        assert_eq!((answer.status, answer.body), (StatusCode::NOT_FOUND, json!({ "error": "API route not found" })));
    }
    let answer = web.get("/nothing").await;
    assert_eq!((answer.status, answer.body), (StatusCode::NOT_FOUND, json!({ "detail": "Not Found" })));
    let answer = web.send(Method::DELETE, "/api/v2/version", None, None).await;
    assert_eq!(answer.body, json!({ "detail": "Method Not Allowed" }));
    assert_eq!(
        (answer.status, &answer.headers["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET,HEAD".parse().unwrap())
    );
}

#[tokio::test]
async fn only_known_host_names_are_answered_to() {
    let web = Web::new().await;
    for (host, status) in [("localhost:8080", 200), ("127.0.0.1", 200), ("[::1]:1", 200), ("evil.example", 421)] {
        let request = Request::builder().uri("/healthz").header("host", host).body(Body::empty()).unwrap();
        assert_eq!(web.answer(request).await.status.as_u16(), status, "{host}");
    }
    let request = Request::builder().uri("/healthz").body(Body::empty()).unwrap();
    assert_eq!(web.answer(request).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let web = Web::new().await;
    for path in ["/healthz", "/api/v2/dags", "/nothing"] {
        let headers = web.get(path).await.headers;
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
        assert_eq!(headers["cache-control"], "no-store");
    }
    let long = format!("/api/v2/dags?tags={}", "x".repeat(9_000));
    assert_eq!(web.get(&long).await.status, StatusCode::URI_TOO_LONG);
}

#[tokio::test]
async fn no_route_of_the_api_lets_a_lower_role_in() {
    let web = Web::new().await;
    for role in [orch_web::Role::Viewer, orch_web::Role::User, orch_web::Role::Op] {
        let name = format!("a-{role}");
        web.add_user(&name, role.as_str()).await;
        let token = web.log_in(&name, crate::fixture::PASSWORD).await.expect("it is right");
        for rule in rules().into_iter().filter(|rule| rule.path.starts_with("/api/")) {
            let path = rule.path.replace("{map_index}", "0").replace(['{', '}'], "");
            let answer = web.send(rule.method.clone(), &path, Some(&token), None).await;
            let forbidden = answer.status == StatusCode::FORBIDDEN;
            let may = match rule.access {
                Access::Open => true,
                Access::Login(least) => role >= least,
            };
            assert_eq!(forbidden, !may, "{} {} for {role}: {}", rule.method, rule.path, answer.body);
            // Routes that only read are for every role, except settings, users, records of topics, and clusters.
            let of_admins = ["/api/v2/config", "/api/orch/v1/users"].iter().any(|start| rule.path.starts_with(start));
            let is_kept_back = of_admins || rule.path == RECORDS || rule.path.contains(CLUSTER);
            let reads = rule.method == Method::GET && !is_kept_back;
            assert!(may || !reads, "{} {} for {role}", rule.method, rule.path);
        }
    }
}
