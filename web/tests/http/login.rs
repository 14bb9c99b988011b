//! Tokens: who gets one, what it permits, and when it expires.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use crate::log;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chrono::TimeDelta;
use orch_store::audit::{AUDIT, newest};
use orch_web::{ADMIN, Admin, Password, ensure_admin};
use serde_json::{Value, json};
use std::time::Instant;

const RUNS: &str = "/api/v2/dags/chain/dagRuns";

async fn status_with(web: &Web, token: &str) -> (StatusCode, Value) {
    let answer = web.send(Method::GET, RUNS, Some(token), None).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_right_password_gives_a_token_and_a_wrong_one_says_nothing_more() {
    let web = Web::new().await;
    let body = json!({ "username": ADMIN, "password": PASSWORD }).to_string();
    for path in ["/auth/token", "/auth/token/cli"] {
        let answer = web.send(Method::POST, path, None, Some(body.clone())).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let token = answer.body["access_token"].as_str().expect("a token");
        assert_eq!(status_with(&web, token).await.0, StatusCode::OK);
    }
    for (name, password) in [(ADMIN, "wrong"), ("nobody", PASSWORD), ("", ""), ("a\"b", "\u{fffd}")] {
        let answer = web.log_in(name, password).await.expect_err("it is wrong");
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.body, json!({ "detail": "Invalid credentials" }));
    }
}

/// Returns user, event and method of each login and logout.
async fn logins(web: &Web) -> Vec<[String; 3]> {
    let mut rows = AUDIT.rows(&mut web.db().await, &newest(100)).await.unwrap();
    rows.reverse();
    let said = rows.into_iter().filter(|row| row.event.contains("log_"));
    let said = said.map(|row| {
        let extra = row.extra.unwrap();
        assert_eq!((extra["from"].as_str(), extra.as_object().unwrap().len()), (Some("127.0.0.1"), 2), "{extra}");
        [row.actor, row.event, extra["kind"].as_str().unwrap().into()]
    });
    said.collect()
}

#[tokio::test]
async fn logins_that_succeed_or_fail_and_their_ends_are_in_the_audit_log() {
    const SECRET: &str = "a-password-that-is-nowhere";
    let web = Web::new().await;
    let long = "é".repeat(500);
    for name in [ADMIN, &long, "ann"] {
        web.log_in(name, SECRET).await.unwrap_err();
    }
    let mut browser = Browser::new(&web);
    browser.log_in(ADMIN, SECRET, "/").await;
    let program = web.log_in(ADMIN, PASSWORD).await.unwrap();
    let out = web.send(Method::POST, "/auth/logout", Some(&program), None).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    browser.log_in(ADMIN, PASSWORD, "/").await;
    let out = browser.submit("/account", "/logout", &[]).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    // Throttled logins are neither tried nor audited, so they cannot fill the log.
    for _ in 0..10 {
        web.log_in("bob", SECRET).await.unwrap_err();
    }
    let cut = "é".repeat(64);
    let mut expected = vec![
        [ADMIN, "log_in", "program"],
        [ADMIN, "log_in_failed", "program"],
        [&cut, "log_in_failed", "program"],
        ["ann", "log_in_failed", "program"],
        [ADMIN, "log_in_failed", "browser"],
        [ADMIN, "log_in", "program"],
        [ADMIN, "log_out", "program"],
        [ADMIN, "log_in", "browser"],
        [ADMIN, "log_out", "browser"],
    ];
    expected.extend([["bob", "log_in_failed", "program"]; 5]);
    assert_eq!(logins(&web).await, expected.iter().map(|row| row.map(String::from)).collect::<Vec<_>>());
    let text = "select string_agg(a::text, '') from audit a";
    let all: String = sqlx::query_scalar(text).fetch_one(&mut web.db().await).await.unwrap();
    assert!(!all.contains(SECRET) && !all.contains(PASSWORD));
    assert!(web.get("/api/v2/eventLogs?event=log_in_failed").await.body["total_entries"] == 9);
    let mut again = Browser::logged_in(&web).await;
    assert!(again.get("/audit?what=log+in+failed&who=ann").await.has("log in failed"));
}

#[tokio::test]
async fn bodies_that_are_no_login_are_refused_without_echo() {
    let web = Web::new().await;
    for (body, kinds) in [
        (json!({ "username": ADMIN }), vec!["missing"]),
        (json!({ "password": PASSWORD }), vec!["missing"]),
        (json!({ "username": 1, "password": [PASSWORD] }), vec!["string_type", "string_type"]),
        (json!({ "username": null, "password": PASSWORD }), vec!["string_type"]),
        (json!({ "username": ADMIN, "password": PASSWORD, "pass": PASSWORD }), vec!["extra_forbidden"]),
        (json!({ "username": "a\0", "password": PASSWORD }), vec!["value_error"]),
        (json!([PASSWORD]), vec!["model_attributes_type"]),
    ] {
        let answer = web.send(Method::POST, "/auth/token", None, Some(body.to_string())).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let problems = answer.body["detail"].as_array().expect("a list of problems");
        assert_eq!(problems.iter().map(|p| p["type"].as_str().unwrap()).collect::<Vec<_>>(), kinds, "{body}");
        assert!(body.is_array() || !answer.body.to_string().contains(PASSWORD), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_call_without_a_good_token_is_not_let_in() {
    let web = Web::new().await;
    let not_let_in = |answer: (StatusCode, Value), why: &str| {
        assert_eq!(answer, (StatusCode::UNAUTHORIZED, json!({ "detail": why })));
    };
    let answer = web.send(Method::GET, RUNS, None, None).await;
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    not_let_in((answer.status, answer.body), "Not authenticated");
    let (head, tail) = web.token.split_at(web.token.len() - 1);
    let other = if tail == "A" { "B" } else { "A" };
    for token in [&format!("{head}{other}"), head, "", "x.y.z", &web.token.replacen('.', "", 1)] {
        not_let_in(status_with(&web, token).await, "Invalid JWT token");
    }
    // A token is not accepted in a URL or with another scheme.
    let in_url = format!("{RUNS}?access_token={0}&token={0}", web.token);
    assert_eq!(web.send(Method::GET, &in_url, None, None).await.status, StatusCode::UNAUTHORIZED);
    let basic = Request::builder().uri(RUNS).header("host", "localhost").header("authorization", "Basic YTpi");
    assert_eq!(web.answer(basic.body(Body::empty()).unwrap()).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_expires() {
    let web = Web::new().await;
    web.clock.advance(TimeDelta::hours(24) - TimeDelta::seconds(5));
    assert_eq!(status_with(&web, &web.token).await.0, StatusCode::OK);
    web.clock.advance(TimeDelta::seconds(10));
    assert_eq!(status_with(&web, &web.token).await.1, json!({ "detail": "Token Expired" }));
}

#[tokio::test]
async fn a_new_password_or_a_deleted_user_ends_tokens_within_a_second() {
    let web = Web::new().await;
    assert_eq!(status_with(&web, &web.token).await.0, StatusCode::OK);
    web.reset_admin_password("another").await;
    web.clock.advance(TimeDelta::seconds(1));
    assert_eq!(status_with(&web, &web.token).await.1, json!({ "detail": "Token was revoked" }));
    let token = web.log_in(ADMIN, "another").await.expect("the new password is right");
    assert_eq!(status_with(&web, &token).await.0, StatusCode::OK);
    web.drop_admin().await;
    web.clock.advance(TimeDelta::seconds(1));
    assert_eq!(status_with(&web, &token).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_role_that_does_not_suffice_is_forbidden() {
    let web = Web::new().await;
    web.add_user("looker", "viewer").await;
    let token = web.log_in("looker", PASSWORD).await.expect("it is right");
    assert_eq!(status_with(&web, &token).await.0, StatusCode::OK);
    let body = json!({ "logical_date": null }).to_string();
    let answer = web.send(Method::POST, RUNS, Some(&token), Some(body)).await;
    let detail = "user `looker` has the role viewer, and this needs the role user\n\
        hint: ask an admin for it: `orch users set-role -u looker -r user`";
    assert_eq!((answer.status, answer.body), (StatusCode::FORBIDDEN, json!({ "detail": detail })));
}

#[tokio::test]
async fn after_five_failures_a_login_waits_even_with_the_right_password() {
    let web = Web::new().await;
    for _ in 0..5 {
        assert_eq!(web.log_in(ADMIN, "wrong").await.unwrap_err().status, StatusCode::UNAUTHORIZED);
    }
    let refused = web.log_in(ADMIN, PASSWORD).await.expect_err("it waits");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.body, json!({ "detail": "too many failed logins: try again in 15 min" }));
    assert!(refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 890);
    assert_eq!(web.log_in("nobody", "wrong").await.unwrap_err().status, StatusCode::UNAUTHORIZED);
    web.clock.advance(TimeDelta::minutes(15));
    assert!(web.log_in(ADMIN, PASSWORD).await.is_ok());
}

/// Number of attempts for the known and for the unknown user.
const TRIES: usize = 24;

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let web = Web::new().await;
    // The hash of the fixture is cheaper than the hash for an unknown user.
    web.reset_admin_password("as long as any other").await;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for i in 0..TRIES {
        // Each attempt starts after the throttling of failed logins has expired.
        web.clock.advance(TimeDelta::minutes(16));
        let timed = async |name: &str| {
            let begun = Instant::now();
            drop(web.log_in(name, "wrong").await.unwrap_err());
            begun.elapsed().as_secs_f64()
        };
        // Both kinds alternate, and each is first equally often, so that disturbances of the machine affect both.
        let nobody = format!("nobody{i}");
        if i % 2 == 0 {
            known.push(timed(ADMIN).await);
            unknown.push(timed(&nobody).await);
        } else {
            unknown.push(timed(&nobody).await);
            known.push(timed(ADMIN).await);
        }
    }
    // A busy machine makes an attempt slower and never faster, so the quickest attempts are compared. The bounds are
    // wide because even these differ on a busy machine. Without the comparison of a password, the quotient is below 0.1.
    let quickest = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let (of_known, of_unknown) = (quickest(&known), quickest(&unknown));
    assert!((0.25..4.0).contains(&(of_unknown / of_known)), "{known:?} {unknown:?}");
    assert!(of_known > 0.005, "a password is hashed either way: {known:?} {unknown:?}");
}

#[tokio::test]
async fn a_first_password_is_made_up_once() {
    let web = Web::new().await;
    let mut db = web.db().await;
    web.drop_admin().await;
    let Ok(Admin::Generated(password)) = ensure_admin(&mut db, None).await else { panic!("there was none") };
    assert!(web.log_in(ADMIN, password.reveal()).await.is_ok());
    assert!(matches!(ensure_admin(&mut db, None).await, Ok(Admin::Kept)));
}

#[tokio::test]
async fn a_configured_password_applies_to_a_new_admin_only() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut start = async |password: &str| ensure_admin(&mut db, Some(&Password::new(password))).await;
    web.drop_admin().await;
    assert!(matches!(start("configured").await, Ok(Admin::Created)));
    assert!(matches!(start("configured").await, Ok(Admin::Kept)));
    web.reset_admin_password("changed later").await;
    assert!(matches!(start("configured").await, Ok(Admin::OtherPassword)));
    assert!(web.log_in(ADMIN, "changed later").await.is_ok(), "the start does not undo the change");
    assert_eq!(web.log_in(ADMIN, "configured").await.unwrap_err().status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn servers_that_start_together_keep_the_tokens_of_the_admin() {
    let web = Web::new().await;
    web.drop_admin().await;
    let start = async || {
        let mut db = web.db().await;
        ensure_admin(&mut db, Some(&Password::new("configured"))).await.expect("it starts")
    };
    let (one, other) = tokio::join!(start(), start());
    let created = [&one, &other].into_iter().filter(|admin| matches!(admin, Admin::Created)).count();
    assert_eq!(created, 1, "{one:?} {other:?}");
    let token = web.log_in(ADMIN, "configured").await.expect("the password is right");
    tokio::join!(start(), start());
    let dags = web.send(Method::GET, "/api/v2/dags", Some(&token), None).await;
    assert_eq!(dags.status, StatusCode::OK, "{}", dags.body);
}

#[tokio::test]
async fn a_name_in_another_case_logs_in_the_same_user() {
    let web = Web::new().await;
    web.add_user("Ada", "viewer").await;
    for name in ["Ada", "ada", "ADA"] {
        assert!(web.log_in(name, PASSWORD).await.is_ok(), "{name}");
    }
    let mut db = web.db().await;
    let names = "select distinct user_name from web_session where user_name <> 'admin'";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut db).await.unwrap();
    assert_eq!(names, ["Ada"], "all sessions belong to this user");
}

#[tokio::test]
async fn no_log_line_holds_a_password_or_a_token() {
    let web = Web::new().await;
    drop(web.log_in("ada\nadmin", "canary-wrong").await);
    drop(web.log_in(ADMIN, PASSWORD).await);
    web.trigger("chain").await;
    // This request fails inside the server.
    let mut db = web.db().await;
    sqlx::raw_sql("alter table dag_run rename to gone").execute(&mut db).await.unwrap();
    let failed = web.get(RUNS).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(failed.body["detail"], "Internal Server Error");
    let id = failed.body["request_id"].as_str().expect("a request id").to_string();
    let lines = log::lines();
    assert!(lines.contains("a login failed") && lines.contains(r"ada\nadmin"), "{lines}");
    let line = lines.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("no `{id}` in {lines}"));
    assert!(line.contains("/api/v2/dags/{dag_id}/dagRuns") && line.contains("dag_run"), "{line}");
    let hash = sqlx::query_scalar::<_, String>("select password_hash from api_user").fetch_one(&mut db).await.unwrap();
    for secret in [PASSWORD, "canary-wrong", web.token.as_str(), hash.as_str()] {
        assert!(!lines.contains(secret), "`{secret}` is in the log");
    }
}
