//! The server behind a proxy: below a path, with forwarded client addresses, and over HTTPS.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use chrono::TimeDelta;
use orch_store::audit::{AUDIT, newest};
use orch_store::hint::Hints;
use orch_web::{App, Peer, WebConfig, router};
use std::net::IpAddr;

/// Sends a request from a proxy at 10.0.0.1.
async fn ask(
    web: &Web,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, String) {
    ask_from(web, [10, 0, 0, 1].into(), method, path, headers, body).await
}

async fn ask_from(
    web: &Web,
    peer: IpAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    let said = [("host", "localhost"), ("accept", "text/html"), ("content-type", "application/x-www-form-urlencoded")];
    for (name, value) in said.iter().chain(headers) {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(Peer(peer));
    let answer = web.bytes(request).await;
    (answer.status, answer.headers, String::from_utf8_lossy(&answer.bytes).into_owned())
}

async fn below_orch(change: impl FnOnce(&mut WebConfig)) -> Web {
    let mut web = Web::new().await;
    let mut config = WebConfig {
        https: true,
        base_path: "/orch".parse().unwrap(),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        clock: web.clock.clone(),
        ..WebConfig::new(web.database.url())
    };
    change(&mut config);
    web.use_router(router(&App::new(config, Hints::new()).unwrap()));
    web
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).map(|value| value.to_str().unwrap().to_string()).unwrap_or_default()
}

const LOGIN: &str = "username=admin&password=canary-5f1c2e&next=%2Fdags%2Fchain";

#[tokio::test]
async fn below_a_path_every_address_is_below_it() {
    let web = below_orch(|_| {}).await;
    let (status, headers, _) = ask(&web, Method::GET, "/orch/dags?q=a", &[], "").await;
    assert_eq!(
        (status, text(&headers, header::LOCATION).as_str()),
        (StatusCode::SEE_OTHER, "/orch/login?next=%2Fdags%3Fq%3Da")
    );
    let (_, _, page) = ask(&web, Method::GET, "/orch/login?next=%2Fdags", &[], "").await;
    assert!(page.contains(r#"action="/orch/login""#) && page.contains(r#"name="next" value="/dags""#), "{page}");
    let (status, headers, page) = ask(&web, Method::POST, "/orch/login", &[], LOGIN).await;
    assert_eq!(
        (status, text(&headers, header::LOCATION).as_str()),
        (StatusCode::SEE_OTHER, "/orch/dags/chain"),
        "{page}"
    );
    let cookie = text(&headers, header::SET_COOKIE);
    assert!(cookie.starts_with("__Secure-orch=") && cookie.contains("; Path=/orch; "), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let session = cookie.split(';').next().unwrap().to_string();
    let run = web.trigger("chain").await.replace(':', "%3A").replace('+', "%2B");
    let run = format!("/orch/dags/chain/runs/{run}");
    for path in [
        "/orch",
        "/orch/",
        "/orch/dags",
        "/orch/dags/chain",
        "/orch/dags/chain/graph",
        "/orch/runs",
        "/orch/workers",
        "/orch/audit",
        "/orch/account",
        "/orch/users",
        "/orch/dags/chain/trigger",
        "/orch/palette",
        &run,
        &format!("{run}/tasks/t0"),
        &format!("{run}/clear"),
    ] {
        let (status, _, page) = ask(&web, Method::GET, path, &[("cookie", &session)], "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        for attribute in [" href", " src", " action", " data-live", " data-palette", " data-href"] {
            for address in page.split(&format!("{attribute}=\"/")).skip(1) {
                assert!(address.starts_with("orch/"), "{path}: {attribute}=\"/{address:.60}");
            }
        }
        // The page's static files exist below the prefix.
        for address in page.split("=\"/orch/static/").skip(1).take(2) {
            let file = format!("/orch/static/{}", address.split(['"', '#']).next().unwrap());
            assert_eq!(ask(&web, Method::GET, &file, &[], "").await.0, StatusCode::OK, "{file}");
        }
    }
    // The API is also served there, and a proxy may strip the prefix itself.
    assert_eq!(ask(&web, Method::GET, "/orch/api/v2/version", &[], "").await.0, StatusCode::OK);
    assert_eq!(ask(&web, Method::GET, "/dags", &[("cookie", &session)], "").await.0, StatusCode::OK);
    assert_eq!(ask(&web, Method::GET, "/orchid", &[("cookie", &session)], "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_run_that_goes_on_is_found_where_the_answer_says() {
    let web = below_orch(|_| {}).await;
    let token = format!("Bearer {}", web.token);
    let headers = [("x-forwarded-proto", "https"), ("authorization", &token), ("content-type", "application/json")];
    let path = "/orch/api/orch/v1/dags/chain/trigger?wait=0";
    let mut request = Request::builder().method(Method::POST).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(Body::from("{}")).unwrap();
    request.extensions_mut().insert(Peer([10, 0, 0, 1].into()));
    let answer = web.bytes(request).await;
    let place = text(&answer.headers, header::LOCATION);
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&answer.bytes));
    assert!(place.starts_with("/orch/api/v2/dags/chain/dagRuns/manual__"), "{place}");
    let (status, _, run) = ask(&web, Method::GET, &place, &headers[..2], "").await;
    assert_eq!(status, StatusCode::OK, "{place}: {run}");
    assert!(run.contains("\"dag_id\":\"chain\""), "{run}");
}

#[tokio::test]
async fn a_proxy_says_who_the_client_is_and_nobody_else() {
    let web = below_orch(|config| config.hosts = vec!["orch.example.com".into()]).await;
    let said = [
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
        ("x-forwarded-host", "orch.example.com"),
        ("x-forwarded-proto", "https"),
        ("origin", "https://orch.example.com"),
    ];
    let (status, headers, _) = ask(&web, Method::POST, "/orch/login", &said, LOGIN).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "the name it was asked by is that of the form's page");
    let cookie = text(&headers, header::SET_COOKIE);
    let session = cookie.split(';').next().unwrap();
    let (_, _, page) = ask(&web, Method::GET, "/dags", &[("cookie", session)], "").await;
    let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_string();
    let with_cookie: Vec<_> = said.into_iter().chain([("cookie", session)]).collect();
    let form = format!("paused=true&form_token={token}");
    assert_eq!(ask(&web, Method::POST, "/orch/dags/chain/paused", &with_cookie, &form).await.0, StatusCode::SEE_OTHER);
    let rows = AUDIT.rows(&mut web.db().await, &newest(1)).await.unwrap();
    assert_eq!(rows[0].extra.as_ref().unwrap()["from"], "198.51.100.7");
    // Rejected: another host name, a plain HTTP request of the client, and the same headers from an untrusted address.
    let other = [("x-forwarded-host", "evil.example")];
    assert_eq!(ask(&web, Method::GET, "/login", &other, "").await.0, StatusCode::MISDIRECTED_REQUEST);
    let plain = [("x-forwarded-proto", "http")];
    assert_eq!(ask(&web, Method::GET, "/login", &plain, "").await.0, StatusCode::FORBIDDEN);
    let stranger = IpAddr::from([198, 51, 100, 1]);
    assert_eq!(ask_from(&web, stranger, Method::GET, "/login", &said, "").await.0, StatusCode::FORBIDDEN);
    let health = ask_from(&web, stranger, Method::GET, "/healthz", &[], "").await;
    assert_eq!(
        (health.0, text(&health.1, header::STRICT_TRANSPORT_SECURITY).as_str()),
        (StatusCode::OK, "max-age=31536000")
    );
}

#[tokio::test]
async fn failed_logins_count_for_the_client_and_not_for_the_proxy() {
    let web = below_orch(|_| {}).await;
    let wrong = "username=admin&password=wrong";
    for _ in 0..5 {
        let from = [("x-forwarded-for", "198.51.100.7")];
        assert_eq!(ask(&web, Method::POST, "/login", &from, wrong).await.0, StatusCode::UNAUTHORIZED);
    }
    let same = [("x-forwarded-for", "203.0.113.1, 198.51.100.7")];
    assert_eq!(ask(&web, Method::POST, "/login", &same, LOGIN).await.0, StatusCode::TOO_MANY_REQUESTS);
    let other = [("x-forwarded-for", "198.51.100.8")];
    assert_eq!(ask(&web, Method::POST, "/login", &other, LOGIN).await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_caller_who_asks_too_much_waits_and_others_do_not() {
    let web = below_orch(|config| {
        (config.rate_limit, config.https) = (2, false);
        config.base_path = "".parse().unwrap();
    })
    .await;
    web.add_user("ada", "viewer").await;
    let admin = web.token.clone();
    let dags = async |token: &str| web.send(Method::GET, "/api/v2/dags", Some(token), None).await;
    assert_eq!(dags(&admin).await.status, StatusCode::OK);
    web.clock.advance(TimeDelta::seconds(10));
    assert!(web.log_in("ada", PASSWORD).await.is_ok());
    let again = web.log_in("ada", PASSWORD).await.expect_err("a login is dear, and nobody has little");
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS);
    // On a slow machine more than twenty pass, because the limit refills meanwhile.
    let mut passed = 0;
    let refused = loop {
        let answer = dags(&admin).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        passed += 1;
        assert!(passed < 1_000, "nothing is refused");
    };
    assert!(passed >= 20, "{passed}");
    assert_eq!(
        (refused.status, refused.headers["retry-after"].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "1")
    );
    assert_eq!(web.send(Method::GET, "/healthz", None, None).await.status, StatusCode::OK);
    web.clock.advance(TimeDelta::seconds(10));
    assert!(web.log_in("ada", PASSWORD).await.is_ok());
    assert_eq!(dags(&admin).await.status, StatusCode::OK);
}

/// Unknown credentials from an office: its users continue, and the database is not queried.
#[tokio::test]
async fn unknown_credentials_cost_their_address_before_they_are_looked_up() {
    let mut web = Web::new().await;
    let session = format!("orch={}", Browser::logged_in(&web).await.cookies["orch"]);
    web.restart(|config| config.rate_limit = 2);
    let dags = async |token: &str| {
        let bearer = format!("Bearer {token}");
        ask(&web, Method::GET, "/api/v2/dags", &[("authorization", &bearer)], "").await.0
    };
    let page = async |cookie: &str| ask(&web, Method::GET, "/dags", &[("cookie", cookie)], "").await.0;
    assert_eq!((dags(&web.token).await, page(&session).await), (StatusCode::OK, StatusCode::OK));
    let mut number = 0;
    while dags(&format!("orch_{number}")).await == StatusCode::UNAUTHORIZED {
        number += 1;
        assert!(number < 100, "nothing is refused");
    }
    // This holds even when the cached look-up has expired.
    web.clock.advance(TimeDelta::seconds(2));
    assert_eq!((dags(&web.token).await, page(&session).await), (StatusCode::OK, StatusCode::OK));
    let rename = "alter table api_token rename to gone; alter table web_session rename to gone_too";
    sqlx::raw_sql(rename).execute(&mut web.db().await).await.unwrap();
    let unknown = format!("orch={}", "A".repeat(43));
    assert_eq!(dags("orch_x").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(page(&unknown).await, StatusCode::TOO_MANY_REQUESTS);
    let served = ask(&web, Method::GET, "/serving/x", &[("x-api-key", "orch_x")], "").await.0;
    assert_eq!(served, StatusCode::TOO_MANY_REQUESTS);
}
