//! Servers of the bundle under `/serving` and `/catalog`: what they are told of a request, and what they are not.

use crate::browser::Browser;
use crate::fixture::{JsonReply, Web};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Json, Router};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// In the place of the bundle: its servers answer with what they were sent.
struct Behind {
    folder: TempDir,
    _serving: JoinSet<std::io::Result<()>>,
}

impl Behind {
    fn start() -> Behind {
        let folder = tempfile::tempdir().unwrap();
        let told = async |method: Method, uri: Uri, headers: HeaderMap, body: String| {
            let headers: Vec<(String, &str)> =
                headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap())).collect();
            let headers: Value = headers.into_iter().map(|(name, value)| (name, json!(value))).collect();
            let told = json!({ "method": method.as_str(), "uri": uri.to_string(), "headers": headers, "body": body });
            (StatusCode::OK, [("etag", "\"7\"")], Json(told)).into_response()
        };
        let mut serving = JoinSet::new();
        for name in ["serving.sock", "catalog.sock"] {
            let listener = UnixListener::bind(folder.path().join(name)).unwrap();
            serving.spawn(async move { axum::serve(listener, Router::new().fallback(told)).await });
        }
        Behind { folder, _serving: serving }
    }
}

async fn web_before(behind: &Behind) -> Web {
    let mut web = Web::new().await;
    let folder = behind.folder.path().to_owned();
    web.restart(|config| config.sockets = Some(folder));
    web
}

async fn ask(web: &Web, path: &str, headers: &[(&str, &str)]) -> JsonReply {
    let mut request = Request::builder().uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    web.answer(request.body(axum::body::Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_server_behind_is_told_who_is_logged_in_and_nothing_that_is_not_its_own() {
    let behind = Behind::start();
    let web = web_before(&behind).await;
    let session = format!("orch={}", Browser::logged_in(&web).await.cookies["orch"]);
    let bearer = format!("Bearer {}", web.token);
    let forged = ("x-orch-role", "admin");
    for (headers, role) in [
        (vec![forged], None),
        (vec![forged, ("x-api-key", "orch_key")], None),
        (vec![forged, ("authorization", "Bearer orch_key")], None),
        (vec![("cookie", session.as_str())], Some("admin")),
        (vec![("authorization", bearer.as_str())], Some("admin")),
    ] {
        let answer = ask(&web, "/serving/api/v1/trips?limit=2", &headers).await;
        assert_eq!((answer.status, &answer.headers["etag"]), (StatusCode::OK, &"\"7\"".parse().unwrap()));
        let told = &answer.body["headers"];
        assert_eq!(answer.body["uri"], "/api/v1/trips?limit=2");
        assert_eq!((told["x-orch-role"].as_str(), &told["cookie"]), (role, &Value::Null), "{headers:?}");
        assert_eq!(told["x-forwarded-prefix"], "/serving");
        let key = headers.iter().find(|(name, _)| *name == "x-api-key").map(|(_, key)| *key);
        assert_eq!(told["x-api-key"].as_str(), key);
    }
    assert!(Browser::logged_in(&web).await.get("/lake").await.has("href=\"/serving/docs\""));
    // A login that is over is not asked as if there were none.
    assert_eq!(ask(&web, "/serving/docs", &[("authorization", "Bearer x.y.z")]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&web, "/serving", &[]).await.headers["location"], "/serving/docs");
    assert_eq!(web.send(Method::POST, "/serving/docs", None, None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// A page of another site can send forms with the cookie of a person who is logged in, but no header.
#[tokio::test]
async fn a_cookie_reads_the_catalog_and_changes_nothing() {
    let behind = Behind::start();
    let web = web_before(&behind).await;
    let session = format!("orch={}", Browser::logged_in(&web).await.cookies["orch"]);
    let bearer = format!("Bearer {}", web.token);
    for (method, header, role) in [
        (Method::GET, ("cookie", &session), Some("admin")),
        (Method::POST, ("cookie", &session), None),
        (Method::DELETE, ("cookie", &session), None),
        (Method::POST, ("authorization", &bearer), Some("admin")),
    ] {
        let request = Request::builder().method(&method).uri("/catalog/v1/namespaces").header(header.0, header.1);
        let request = request.header("host", "localhost").header("content-type", "application/json");
        let answer = web.answer(request.body("{\"namespace\": [\"a\"]}".into()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {header:?}");
        assert_eq!((&answer.body["method"], &answer.body["uri"]), (&json!(method.as_str()), &json!("/v1/namespaces")));
        assert_eq!(answer.body["headers"]["x-orch-role"].as_str(), role, "{method} {header:?}");
        assert_eq!(answer.body["body"], "{\"namespace\": [\"a\"]}");
    }
}

#[tokio::test]
async fn without_a_bundle_the_answer_says_so() {
    let behind = Behind::start();
    let mut web = Web::new().await;
    assert!(!Browser::logged_in(&web).await.get("/lake").await.has("/serving/docs"));
    assert_eq!(web.get("/serving/health").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let gone = behind.folder.path().join("other");
    web.restart(|config| config.sockets = Some(gone));
    let answer = web.get("/serving/health").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body["detail"].as_str().unwrap().contains("no bundle serves queries"), "{}", answer.body);
    assert!(!Browser::logged_in(&web).await.get("/lake").await.has("/serving/docs"));
}

#[tokio::test]
async fn a_token_for_published_queries_opens_nothing_else() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let fields = [("name", "a notebook"), ("scope", "serving")];
    let made = browser.submit("/account", "/account/tokens", &fields).await;
    assert!(made.has("for published queries") && made.has("X-API-Key"));
    let (_, from) = made.html.split_once("<div class=\"cmd\"><code>").unwrap();
    let (token, _) = from.split_once("</code>").unwrap();
    let refused = web.send(Method::GET, "/api/v2/dags", Some(token), None).await;
    assert_eq!(
        (refused.status, &refused.body["detail"]),
        (StatusCode::UNAUTHORIZED, &json!("Token is for published queries only"))
    );
    let scope: String = sqlx::query_scalar("select scope from api_token").fetch_one(&mut web.db().await).await.unwrap();
    assert_eq!(scope, "serving");
    let wrong = browser.submit("/account", "/account/tokens", &[("name", "x"), ("scope", "some")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}
