//! Routes and who may use them, route by route.

use crate::fixture::Web;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use orch_web::{Access, Door, rules};
use serde_json::json;

/// The whole table, to be changed knowingly.
pub(crate) const TABLE: &str = "\
POST /auth/token: open
POST /auth/token/cli: open
POST /auth/logout: viewer
GET /healthz: open
GET /readyz: open
GET /api/orch/v1/assets: viewer
GET /api/orch/v1/assets/{asset_id}: viewer
GET /api/orch/v1/backfills: viewer
GET /api/orch/v1/backfills/{backfill_id}: viewer
GET /api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/lineage: viewer
GET /api/orch/v1/dags/{dag_id}/structure: viewer
GET /api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/why: viewer
POST /api/orch/v1/dags/{dag_id}/trigger: user
GET /api/orch/v1/events: viewer
GET /api/v2/auth/login: open
GET /api/v2/auth/logout: open
GET /api/v2/assets: viewer
GET /api/v2/assets/aliases: viewer
GET /api/v2/assets/aliases/{asset_alias_id}: viewer
GET /api/v2/assets/events: viewer
POST /api/v2/assets/events: user
GET /api/v2/assets/{asset_id}: viewer
POST /api/v2/assets/{asset_id}/materialize: user
GET /api/v2/assets/{asset_id}/queuedEvents: viewer
DELETE /api/v2/assets/{asset_id}/queuedEvents: user
GET /api/v2/backfills: viewer
POST /api/v2/backfills: user
POST /api/v2/backfills/dry_run: user
GET /api/v2/backfills/{backfill_id}: viewer
PUT /api/v2/backfills/{backfill_id}/cancel: user
PUT /api/v2/backfills/{backfill_id}/pause: user
PUT /api/v2/backfills/{backfill_id}/unpause: user
GET /api/v2/config: admin
GET /api/v2/config/section/{section}/option/{option}: admin
GET /api/v2/connections: viewer
POST /api/v2/connections: op
PATCH /api/v2/connections: op
POST /api/v2/connections/test: op
GET /api/v2/connections/{connection_id}: viewer
PATCH /api/v2/connections/{connection_id}: op
DELETE /api/v2/connections/{connection_id}: op
GET /api/v2/dagSources/{dag_id}: viewer
GET /api/v2/dagStats: viewer
GET /api/v2/dagTags: viewer
GET /api/v2/dagWarnings: viewer
GET /api/v2/dags: viewer
PATCH /api/v2/dags: user
GET /api/v2/dags/{dag_id}: viewer
PATCH /api/v2/dags/{dag_id}: user
DELETE /api/v2/dags/{dag_id}: admin
GET /api/v2/dags/{dag_id}/details: viewer
GET /api/v2/dags/{dag_id}/dagVersions: viewer
GET /api/v2/dags/{dag_id}/dagVersions/{version_number}: viewer
POST /api/v2/dags/{dag_id}/favorite: viewer
POST /api/v2/dags/{dag_id}/unfavorite: viewer
GET /api/v2/dags/{dag_id}/tasks: viewer
GET /api/v2/dags/{dag_id}/tasks/{task_id}: viewer
GET /api/v2/dags/{dag_id}/dagRuns: viewer
POST /api/v2/dags/{dag_id}/dagRuns: user
PATCH /api/v2/dags/{dag_id}/dagRuns: user
POST /api/v2/dags/{dag_id}/clearDagRuns: user
POST /api/v2/dags/{dag_id}/clearTaskInstances: user
GET /api/v2/dags/{dag_id}/dagRuns/list: viewer
POST /api/v2/dags/{dag_id}/dagRuns/list: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}: viewer
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}: user
DELETE /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}: op
POST /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear: user
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents: viewer
GET /api/v2/dags/{dag_id}/assets/queuedEvents: viewer
DELETE /api/v2/dags/{dag_id}/assets/queuedEvents: user
GET /api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents: viewer
DELETE /api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents: user
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances: viewer
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances: user
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}: user
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run: user
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list: viewer
POST /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list: viewer
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list: user
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}: user
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run: user
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies: viewer
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}: user
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run: user
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/links: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/externalLogUrl/{try_number}: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries/{task_try_number}: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries: viewer
GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}: viewer
POST /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries: op
PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}: op
DELETE /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}: op
GET /api/v2/eventLogs: viewer
GET /api/v2/eventLogs/{event_log_id}: viewer
GET /api/v2/importErrors: viewer
GET /api/v2/importErrors/{import_error_id}: viewer
GET /api/v2/jobs: viewer
GET /api/v2/monitor/health: open
GET /api/v2/plugins: viewer
GET /api/v2/plugins/importErrors: viewer
GET /api/v2/pools: viewer
POST /api/v2/pools: op
PATCH /api/v2/pools: op
GET /api/v2/pools/{pool_name}: viewer
PATCH /api/v2/pools/{pool_name}: op
DELETE /api/v2/pools/{pool_name}: op
GET /api/v2/providers: viewer
GET /api/v2/variables: viewer
POST /api/v2/variables: op
PATCH /api/v2/variables: op
GET /api/v2/variables/{variable_key}: viewer
PATCH /api/v2/variables/{variable_key}: op
DELETE /api/v2/variables/{variable_key}: op
GET /api/v2/version: open
GET /openapi.json: viewer
GET /static/{hash}/{name}: open
GET /: viewer
GET /account: viewer
POST /account/logins/{login_id}/end: viewer
POST /account/password: viewer
POST /account/tokens: viewer
POST /account/tokens/{token_id}/revoke: viewer
GET /assets: viewer
GET /assets/{asset_id}: viewer
POST /assets/{asset_id}/make: user
POST /assets/{asset_id}/update: user
GET /audit: viewer
GET /backfills: viewer
GET /backfills/{backfill_id}: viewer
POST /backfills/{backfill_id}: user
GET /connections: viewer
GET /connections/delete: op
POST /connections/delete: op
GET /connections/edit: op
POST /connections/edit: op
GET /connections/export: op
GET /connections/import: op
POST /connections/import: op
GET /dags: viewer
GET /dags/change: user
POST /dags/change: user
GET /dags/{dag_id}: viewer
GET /dags/{dag_id}/backfills: viewer
POST /dags/{dag_id}/backfills: user
GET /dags/{dag_id}/code: viewer
GET /dags/{dag_id}/details: viewer
GET /dags/{dag_id}/graph: viewer
GET /dags/{dag_id}/overview: viewer
POST /dags/{dag_id}/paused: user
GET /dags/{dag_id}/runs: viewer
GET /dags/{dag_id}/runs/{dag_run_id}: viewer
GET /dags/{dag_id}/runs/{dag_run_id}/cancel: user
POST /dags/{dag_id}/runs/{dag_run_id}/cancel: user
GET /dags/{dag_id}/runs/{dag_run_id}/clear: user
POST /dags/{dag_id}/runs/{dag_run_id}/clear: user
GET /dags/{dag_id}/runs/{dag_run_id}/events: viewer
GET /dags/{dag_id}/runs/{dag_run_id}/mark: user
POST /dags/{dag_id}/runs/{dag_run_id}/mark: user
GET /dags/{dag_id}/runs/{dag_run_id}/mark-chosen: user
POST /dags/{dag_id}/runs/{dag_run_id}/mark-chosen: user
POST /dags/{dag_id}/runs/{dag_run_id}/note: user
GET /dags/{dag_id}/runs/{dag_run_id}/tasks: viewer
GET /dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}: viewer
GET /dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}: viewer
GET /dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}/events: viewer
GET /dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}/log: viewer
GET /dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}/mark: user
POST /dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/{map_index}/mark: user
GET /dags/{dag_id}/tasks: viewer
GET /dags/{dag_id}/trigger: user
POST /dags/{dag_id}/trigger: user
GET /docs: viewer
GET /docs/openapi.json: viewer
GET /events: viewer
GET /keys: viewer
GET /login: open
POST /login: open
POST /logout: viewer
GET /palette: viewer
GET /pools: viewer
GET /pools/delete: op
POST /pools/delete: op
GET /pools/edit: op
POST /pools/edit: op
GET /runs: viewer
GET /runs/change: user
POST /runs/change: user
POST /theme: viewer
GET /users: admin
POST /users: admin
GET /users/{user_name}: admin
GET /users/{user_name}/delete: admin
POST /users/{user_name}/delete: admin
POST /users/{user_name}/disabled: admin
POST /users/{user_name}/password: admin
POST /users/{user_name}/role: admin
GET /variables: viewer
GET /variables/delete: op
POST /variables/delete: op
GET /variables/edit: op
POST /variables/edit: op
GET /variables/export: op
GET /variables/import: op
POST /variables/import: op
GET /workers: viewer
POST /zone: viewer
";

/// All that may ever be open.
const MAY_BE_OPEN: [&str; 8] = [
    "/api/v2/auth/",
    "/healthz",
    "/readyz",
    "/login",
    "/auth/",
    "/static",
    "/api/v2/monitor/health",
    "/api/v2/version",
];

#[tokio::test]
async fn every_route_is_in_the_table_and_asks_for_what_it_says() {
    let web = Web::new().await;
    let mut table = Vec::new();
    for rule in rules(&web.app) {
        let access = match rule.access {
            Access::Open => "open".to_string(),
            Access::Login(role) => role.to_string(),
        };
        table.push(format!("{} {}: {access}", rule.method, rule.path));
        let path = rule.path.replace("{map_index}", "0");
        let path = path.replace(['{', '}'], "");
        let answer = web.send(rule.method.clone(), &path, None, None).await;
        if rule.access == Access::Open {
            assert!(MAY_BE_OPEN.iter().any(|open| rule.path.starts_with(open)), "{} is open", rule.path);
            // A login that is wrong says the same.
            assert!(answer.status != StatusCode::UNAUTHORIZED || rule.path == "/login", "{}", rule.path);
        } else if rule.door == Door::Page {
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{} {}", rule.method, rule.path);
            assert!(answer.headers["location"].to_str().unwrap().starts_with("/login"), "{}", rule.path);
        } else {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{} {}", rule.method, rule.path);
        }
    }
    assert_eq!(table.join("\n"), TABLE.trim_end());
}

/// Method, path and word of each row of a table.
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
    let routes: Vec<_> = rules(&web.app).into_iter().filter(|rule| rule.path.starts_with("/api/v2/")).collect();
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
        for rule in rules(&web.app).into_iter().filter(|rule| rule.path.starts_with("/api/")) {
            let path = rule.path.replace("{map_index}", "0").replace(['{', '}'], "");
            let answer = web.send(rule.method.clone(), &path, Some(&token), None).await;
            let forbidden = answer.status == StatusCode::FORBIDDEN;
            let may = match rule.access {
                Access::Open => true,
                Access::Login(least) => role >= least,
            };
            assert_eq!(forbidden, !may, "{} {} for {role}: {}", rule.method, rule.path, answer.body);
            // What only reads is never for more than readers, but for the settings.
            let reads = rule.method == Method::GET && !rule.path.starts_with("/api/v2/config");
            assert!(may || !reads, "{} {} for {role}", rule.method, rule.path);
        }
    }
}
