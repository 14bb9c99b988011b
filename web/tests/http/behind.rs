//! The bundle's servers under `/serving` and `/catalog`: the headers that they receive, the bytes that are read of a
//! body, and the headers of their responses that reach a browser.

use crate::browser::Browser;
use crate::fixture::{JsonReply, Web, read_body};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::stream::{iter, unfold};
use http_body_util::BodyExt as _;
use orch_store::stream::now;
use orch_store::token::{Audience, CALLER_HEADER, CallerKey, TokenOwner, TokenScope};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A fake bundle whose servers respond with the request that they received.
struct Bundle {
    folder: TempDir,
    state: Arc<BundleState>,
    _serving: JoinSet<std::io::Result<()>>,
}

#[derive(Default)]
struct BundleState {
    requests: AtomicUsize,
    /// Notified when the head of a request to `/late` has arrived. The body is read after `may_read` is notified.
    arrived: Notify,
    may_read: Notify,
    /// Cancelled when the client has closed the response of `/endless`.
    hung_up: CancellationToken,
}

impl Bundle {
    fn start() -> Bundle {
        let folder = tempfile::tempdir().unwrap();
        let (state, mut serving) = (Arc::<BundleState>::default(), JoinSet::new());
        for name in ["serving.sock", "catalog.sock"] {
            let listener = UnixListener::bind(folder.path().join(name)).unwrap();
            let app = Router::new().fallback(respond).with_state(state.clone());
            serving.spawn(async move { axum::serve(listener, app).await });
        }
        Bundle { folder, state, _serving: serving }
    }

    fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

async fn respond(State(state): State<Arc<BundleState>>, request: Request<Body>) -> Response {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    match head.uri.path() {
        "/v1/silent" => std::future::pending::<Response>().await,
        "/v1/late" => {
            state.arrived.notify_one();
            state.may_read.notified().await;
            Json(json!(read_body(body).await.unwrap().len())).into_response()
        }
        "/v1/endless" => {
            let hung_up = state.hung_up.clone().drop_guard();
            let pieces = unfold(hung_up, async |hung_up| Some((Ok::<_, Infallible>(vec![b'x'; 1 << 16]), hung_up)));
            Body::from_stream(pieces).into_response()
        }
        "/v1/hostile" => {
            let headers = [
                ("set-cookie", "orch=stolen; Path=/"),
                ("content-security-policy", "script-src *"),
                ("content-type", "text/html"),
                ("location", "/login"),
                ("clear-site-data", "\"*\""),
                ("access-control-allow-origin", "*"),
                ("etag", "\"7\""),
            ];
            (StatusCode::FOUND, headers, "<script>alert(1)</script><a href=\"/dags\">").into_response()
        }
        "/v1/moved" => (StatusCode::FOUND, [("location", "/orch/serving/v1/there?a=1")], "").into_response(),
        _ => {
            let body = read_body(body).await.unwrap();
            let headers = head.headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())));
            let headers: Value = headers.collect();
            let told = json!({ "method": head.method.as_str(), "uri": head.uri.to_string(), "headers": headers,
                "body": String::from_utf8_lossy(&body) });
            ([("etag", "\"7\"")], Json(told)).into_response()
        }
    }
}

async fn web_before(bundle: &Bundle) -> Web {
    let mut web = Web::new().await;
    let folder = bundle.folder.path().to_owned();
    web.restart(|config| config.sockets = Some(folder));
    web
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

async fn ask(web: &Web, path: &str, headers: &[(&str, &str)]) -> JsonReply {
    web.answer(request(Method::GET, path, headers, Body::empty())).await
}

async fn api_token(web: &Web, scope: &str) -> String {
    let mut browser = Browser::logged_in(web).await;
    let made = browser.submit("/account", "/account/tokens", &[("name", scope), ("scope", scope)]).await;
    let (_, from) = made.html.split_once("<div class=\"cmd\"><code>").unwrap();
    from.split_once("</code>").unwrap().0.to_owned()
}

/// Returns a body of 16 KiB chunks and a counter of the bytes that were read.
fn counted_body(bytes: usize) -> (Body, Arc<AtomicUsize>) {
    const PIECE: usize = 16 << 10;
    let read = Arc::<AtomicUsize>::default();
    let counted = read.clone();
    let pieces = iter((0..bytes / PIECE).map(move |_| {
        counted.fetch_add(PIECE, Ordering::SeqCst);
        Ok::<_, Infallible>(Bytes::from_static(&[b'x'; PIECE]))
    }));
    (Body::from_stream(pieces), read)
}

#[tokio::test]
async fn the_server_behind_gets_a_token_of_its_own_and_no_credential() {
    let bundle = Bundle::start();
    let web = web_before(&bundle).await;
    let session = format!("orch={}", Browser::logged_in(&web).await.cookies["orch"]);
    let login = format!("Bearer {}", web.token);
    let (all, serving) = (api_token(&web, "all").await, api_token(&web, "serving").await);
    let all = format!("Bearer {all}");
    let mut db = web.db().await;
    let (key, now) = (CallerKey::load(&mut db).await.unwrap(), now(&mut db).await.unwrap());
    let signed = key.sign(Audience::Serving, "admin", orch_web::Role::Admin, now);
    let forged = [("x-orch-role", "admin"), ("x-orch-user", "admin"), (CALLER_HEADER, signed.as_str())];
    let admin = TokenOwner { user: "admin".into(), role: orch_web::Role::Admin, scope: TokenScope::All };
    for (credential, caller) in [
        (None, None),
        (Some(("cookie", session.as_str())), Some(&admin)),
        (Some(("authorization", login.as_str())), Some(&admin)),
        (Some(("authorization", all.as_str())), Some(&admin)),
        (Some(("x-api-key", serving.as_str())), Some(&admin)),
    ] {
        let headers: Vec<_> = forged.into_iter().chain(credential).collect();
        let answer = ask(&web, "/serving/api/v1/trips?limit=2", &headers).await;
        assert_eq!((answer.status, &answer.headers["etag"]), (StatusCode::OK, &"\"7\"".parse().unwrap()));
        let told = &answer.body["headers"];
        assert_eq!(answer.body["uri"], "/api/v1/trips?limit=2");
        let token = told[CALLER_HEADER].as_str();
        let named = |audience| key.verify(token?, audience, now);
        assert_eq!((named(Audience::Serving).as_ref(), named(Audience::Catalog)), (caller, None), "{credential:?}");
        for secret in ["cookie", "authorization", "x-api-key", "x-orch-role", "x-orch-user"] {
            assert_eq!(told[secret], Value::Null, "{secret}");
        }
        assert_eq!(told["x-forwarded-prefix"], "/serving");
    }
    let asked = bundle.requests();
    for unknown in [("x-api-key", "orch_key"), ("authorization", "Bearer orch_key"), ("authorization", "Bearer x.y.z")]
    {
        let refused = ask(&web, "/serving/api/v1/trips", &[unknown]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{unknown:?}");
    }
    let refused = ask(&web, "/catalog/v1/config", &[("authorization", "Bearer orch_key")]).await;
    assert_eq!(refused.body["error"]["type"], "NotAuthorizedException", "{}", refused.body);
    assert_eq!(bundle.requests(), asked, "the bundle is not asked");
    assert_eq!(web.send(Method::POST, "/serving/docs", None, None).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// A page of another site can send forms with the cookie of a logged-in user, but no header.
#[tokio::test]
async fn a_cookie_reads_the_catalog_and_changes_nothing() {
    let bundle = Bundle::start();
    let web = web_before(&bundle).await;
    let session = format!("orch={}", Browser::logged_in(&web).await.cookies["orch"]);
    let bearer = format!("Bearer {}", web.token);
    for (method, header, is_named) in [
        (Method::GET, ("cookie", session.as_str()), true),
        (Method::POST, ("cookie", &session), false),
        (Method::DELETE, ("cookie", &session), false),
        (Method::POST, ("authorization", &bearer), true),
    ] {
        let headers = [header, ("content-type", "application/json")];
        let asked = request(method.clone(), "/catalog/v1/namespaces", &headers, "{\"namespace\": [\"a\"]}".into());
        let answer = web.answer(asked).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {header:?}");
        assert_eq!((&answer.body["method"], &answer.body["uri"]), (&json!(method.as_str()), &json!("/v1/namespaces")));
        assert_eq!(answer.body["headers"][CALLER_HEADER].is_string(), is_named, "{method} {header:?}");
        assert_eq!(answer.body["body"], "{\"namespace\": [\"a\"]}");
    }
}

#[tokio::test]
async fn little_is_read_of_callers_without_an_identity() {
    let bundle = Bundle::start();
    let web = web_before(&bundle).await;
    let ask = async |_| {
        let (body, read) = counted_body(64 << 20);
        let answer = web.answer(request(Method::POST, "/catalog/v1/silent", &[], body)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.body);
        read.load(Ordering::SeqCst)
    };
    let mut read: Vec<usize> = futures::future::join_all((0..32).map(ask)).await;
    let (body, of_serving) = counted_body(64 << 20);
    web.answer(request(Method::GET, "/serving/v1/other", &[], body)).await;
    read.push(of_serving.load(Ordering::SeqCst));
    assert!(read.iter().all(|read| *read <= 128 << 10), "{read:?}");
    // The `content-length` header alone is enough to reject the request.
    let asked = bundle.requests();
    let large = request(Method::POST, "/catalog/v1/silent", &[], vec![b'x'; 65 << 10].into());
    assert_eq!(web.answer(large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(bundle.requests(), asked);
    let bearer = format!("Bearer {}", web.token);
    let large = vec![b'x'; 65 << 20].into();
    let large = request(Method::POST, "/catalog/v1/silent", &[("authorization", &bearer)], large);
    assert_eq!(web.answer(large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    // From here on time advances automatically while the request waits.
    tokio::time::pause();
    let waits = web.answer(request(Method::GET, "/serving/v1/silent", &[], Body::empty()));
    let late = tokio::time::timeout(Duration::from_secs(20), waits).await.expect("it ends by itself");
    assert_eq!(late.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn bodies_are_streamed_both_ways() {
    let bundle = Bundle::start();
    let web = web_before(&bundle).await;
    let bearer = format!("Bearer {}", web.token);
    let (body, read) = counted_body(48 << 20);
    let sent = web.answer(request(Method::POST, "/catalog/v1/late", &[("authorization", &bearer)], body));
    let received = async {
        bundle.state.arrived.notified().await;
        assert!(read.load(Ordering::SeqCst) < 4 << 20, "the request is passed on before its body was read");
        bundle.state.may_read.notify_one();
    };
    let (answer, ()) = tokio::join!(sent, received);
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!(48 << 20)));

    let endless = web.open(request(Method::GET, "/serving/v1/endless", &[("authorization", &bearer)], Body::empty()));
    let mut body = endless.await.into_body();
    for _ in 0..8 {
        assert!(!body.frame().await.unwrap().unwrap().into_data().unwrap().is_empty());
    }
    drop(body);
    bundle.state.hung_up.cancelled().await;
}

#[tokio::test]
async fn a_bundle_cannot_set_cookies_or_run_scripts_beside_the_pages() {
    let bundle = Bundle::start();
    let mut web = web_before(&bundle).await;
    const NO_SCRIPTS: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for base in ["", "/orch"] {
        let folder = bundle.folder.path().to_owned();
        web.restart(|config| {
            config.sockets = Some(folder);
            config.base_path = base.parse().unwrap();
        });
        let bearer = format!("Bearer {}", web.token);
        let ask = async |path: &str| {
            let asked = request(Method::GET, &format!("{base}{path}"), &[("authorization", &bearer)], Body::empty());
            web.open(asked).await
        };
        for path in ["/serving/v1/hostile", "/catalog/v1/hostile"] {
            let answer = ask(path).await;
            let headers = answer.headers().clone();
            assert_eq!((answer.status(), &headers["content-type"]), (StatusCode::FOUND, &"text/html".parse().unwrap()));
            assert_eq!(
                (&headers["content-security-policy"], &headers["etag"]),
                (&NO_SCRIPTS.parse().unwrap(), &"\"7\"".parse().unwrap())
            );
            assert_eq!(headers["x-content-type-options"], "nosniff");
            for kept in ["set-cookie", "location", "clear-site-data", "access-control-allow-origin"] {
                assert!(!headers.contains_key(kept), "{kept}");
            }
            let body = read_body(answer.into_body()).await.unwrap();
            assert!(body.ends_with(b"<a href=\"/dags\">"), "it passes as it is");
        }
        let moved = ask("/serving/v1/moved").await;
        let location = moved.headers().get(header::LOCATION).map(|location| location.to_str().unwrap());
        assert_eq!(location, (base == "/orch").then_some("/orch/serving/v1/there?a=1"), "only below its own prefix");
        // The only page with scripts loads them from this server.
        let asked = bundle.requests();
        for file in ["docs", "docs.js", "docs.css"] {
            let page = ask(&format!("/serving/{file}")).await;
            let policy = page.headers()["content-security-policy"].to_str().unwrap();
            assert!(page.status() == StatusCode::OK && policy.contains("script-src 'self';"), "{file}: {policy}");
        }
        assert_eq!(bundle.requests(), asked);
    }
}

#[tokio::test]
async fn without_a_bundle_the_answer_says_so() {
    let bundle = Bundle::start();
    let mut web = Web::new().await;
    assert!(!Browser::logged_in(&web).await.get("/lake").await.has("/serving/docs"));
    assert_eq!(web.get("/serving/health").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let folder = bundle.folder.path().to_owned();
    web.restart(|config| config.sockets = Some(folder));
    assert!(Browser::logged_in(&web).await.get("/lake").await.has("href=\"/serving/docs\""));
    assert_eq!(ask(&web, "/serving", &[]).await.headers["location"], "/serving/docs");
    let gone = bundle.folder.path().join("other");
    web.restart(|config| config.sockets = Some(gone));
    for path in ["/serving/health", "/serving/docs"] {
        let answer = web.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.body["detail"].as_str().unwrap().contains("no bundle serves queries"), "{}", answer.body);
    }
    assert!(!Browser::logged_in(&web).await.get("/lake").await.has("/serving/docs"));
}

#[tokio::test]
async fn a_token_for_published_queries_opens_nothing_else() {
    let bundle = Bundle::start();
    let web = web_before(&bundle).await;
    let token = api_token(&web, "serving").await;
    let refused = web.send(Method::GET, "/api/v2/dags", Some(&token), None).await;
    assert_eq!(
        (refused.status, &refused.body["detail"]),
        (StatusCode::UNAUTHORIZED, &json!("Token is for published queries only"))
    );
    let refused = ask(&web, "/catalog/v1/config", &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!((refused.status, bundle.requests()), (StatusCode::UNAUTHORIZED, 0), "{}", refused.body);
    assert_eq!(refused.body["error"]["message"], "Token is for published queries only");
    assert_eq!(ask(&web, "/serving/api", &[("x-api-key", &token)]).await.status, StatusCode::OK);
    let scope: String = sqlx::query_scalar("select scope from api_token").fetch_one(&mut web.db().await).await.unwrap();
    assert_eq!(scope, "serving");
    let mut browser = Browser::logged_in(&web).await;
    let wrong = browser.submit("/account", "/account/tokens", &[("name", "x"), ("scope", "some")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}
