//! Access control, tested against the server: every route with every role. Also: GET requests change nothing, requests
//! about one DAG touch no other DAG, and no secret is stored in plain text.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web, chain};
use axum::http::{Method, StatusCode};
use orch_store::registry::{NewBundle, register_bundle};
use orch_web::{Access, Door, Role, Rule, rules};
use sqlx::{PgConnection, Row};
use std::collections::BTreeMap;

/// The result of the access check of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Access is granted; the route decides about the response.
    In,
    LogIn,
    Forbidden,
}

/// Returns the outcome that the list of routes requires.
fn expected(rule: &Rule, role: Option<Role>) -> Outcome {
    match (rule.access, role) {
        (Access::Open, _) => Outcome::In,
        (Access::Login(_), None) => Outcome::LogIn,
        (Access::Login(needed), Some(role)) if role >= needed => Outcome::In,
        (Access::Login(_), Some(_)) => Outcome::Forbidden,
    }
}

async fn by_token(web: &Web, rule: &Rule, path: &str, token: Option<&str>) -> Outcome {
    match web.send(rule.method.clone(), path, token, None).await.status {
        StatusCode::UNAUTHORIZED => Outcome::LogIn,
        StatusCode::FORBIDDEN => Outcome::Forbidden,
        _ => Outcome::In,
    }
}

async fn by_browser(browser: &mut Browser<'_>, rule: &Rule, path: &str) -> Outcome {
    let page = if rule.method == Method::GET {
        browser.get(path).await
    } else {
        let token = match browser.get("/").await {
            page if page.status == StatusCode::OK => page.token(),
            _ => String::new(),
        };
        browser.send_form(path, &[("form_token", &token)], &[("sec-fetch-site", "same-origin")]).await
    };
    match page.status {
        StatusCode::FORBIDDEN => Outcome::Forbidden,
        // A logout without a session also redirects to the login page.
        StatusCode::SEE_OTHER if rule.path == "/logout" && !browser.cookies.contains_key("orch") => Outcome::In,
        StatusCode::SEE_OTHER if page.location().starts_with("/login") => Outcome::LogIn,
        _ => Outcome::In,
    }
}

/// True for responses that last until the client disconnects, or until a run finishes that no worker runs.
fn never_ends(rule: &Rule) -> bool {
    rule.path.ends_with("/events") || rule.path.ends_with("/wait")
}

fn path_of(rule: &Rule) -> String {
    let path = rule.path.replace("{map_index}", "0").replace("{login_id}", "0").replace("{token_id}", "0");
    path.replace(['{', '}'], "")
}

#[tokio::test]
async fn every_route_lets_in_whom_its_rule_names_and_nobody_else() {
    let web = Web::new().await;
    let everybody = [None, Some(Role::Viewer), Some(Role::User), Some(Role::Op), Some(Role::Admin)];
    for role in everybody {
        let name = role.map(|role| format!("a-{role}"));
        if let Some((name, role)) = name.as_deref().zip(role) {
            web.add_user(name, role.as_str()).await;
        }
        let mut browser = Browser::new(&web);
        let mut token = None;
        for rule in rules() {
            // Some routes end the session that the request uses.
            if let Some(name) = &name {
                let is_in = browser.get("/account").await.status == StatusCode::OK;
                if !is_in {
                    browser.log_in(name, PASSWORD, "/").await;
                }
                if rule.path == "/auth/logout" || token.is_none() {
                    token = Some(web.log_in(name, PASSWORD).await.expect("it is right"));
                }
            }
            if never_ends(&rule) && role.is_some() {
                continue; // its access check is the same as for other routes
            }
            let path = path_of(&rule);
            let outcome = match rule.door {
                Door::Api => by_token(&web, &rule, &path, token.as_deref()).await,
                Door::Page => by_browser(&mut browser, &rule, &path).await,
            };
            // A failed login looks like a missing login, but no access check rejected it.
            let is_login =
                rule.access == Access::Open && outcome == Outcome::LogIn || (rule.path == "/logout" && role.is_none());
            assert!(
                outcome == expected(&rule, role) || is_login,
                "{} {} for {role:?}: {outcome:?}",
                rule.method,
                rule.path
            );
            if rule.path == "/auth/logout" {
                token = None;
            }
        }
    }
}

/// Returns a digest of the contents of each table.
async fn digests(db: &mut PgConnection) -> BTreeMap<String, String> {
    let names =
        sqlx::query("select tablename::text from pg_tables where schemaname = 'public'").fetch_all(&mut *db).await;
    let mut digests = BTreeMap::new();
    for row in names.unwrap() {
        let name: String = row.get(0);
        let text = format!("select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from \"{name}\" t");
        let digest: String = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&mut *db).await.unwrap();
        digests.insert(name, digest);
    }
    digests
}

#[tokio::test]
async fn looking_changes_nothing() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run = crate::markup::poison(&web, &mut db).await.replace(':', "%3A").replace('+', "%2B");
    let mut browser = Browser::logged_in(&web).await;
    let before = digests(&mut db).await;
    assert!(before.len() > 20);
    for rule in rules().into_iter().filter(|rule| rule.method == Method::GET) {
        let path = rule.path.replace("{dag_id}", "chain").replace("{dag_run_id}", &run).replace("{task_id}", "t0");
        let path =
            path.replace("{map_index}", "-1").replace("{user_name}", "admin").replace("{xcom_key}", "return_value");
        let path = path.replace("{try_number}", "3").replace("{task_try_number}", "3").replace("{event_log_id}", "1");
        let path = path.replace("{version_number}", "1").replace(['{', '}'], "");
        if never_ends(&rule) {
            continue;
        }
        match rule.door {
            Door::Page => drop(browser.get(&path).await),
            Door::Api => drop(web.get(&format!("{path}?interval=1")).await),
        }
        assert_eq!(digests(&mut db).await, before, "{path}");
    }
}

#[tokio::test]
async fn a_question_about_one_dag_neither_shows_nor_changes_one_of_a_like_name() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let others = ["ab", "a_b", "A"];
    let dags = [chain("a", 2), chain("ab", 2), chain("a_b", 2), chain("A", 2)].into();
    register_bundle(&mut db, &NewBundle { name: "like".into(), dags }, false).await.expect("they register");
    for (place, dag) in ["a", "ab", "a_b", "A"].into_iter().enumerate() {
        let body = serde_json::json!({ "logical_date": null, "dag_run_id": format!("run-{place}"), "note": format!("canary-{dag}"),
            "conf": { "secret": format!("canary-{dag}") } });
        assert_eq!(web.post(&format!("/api/v2/dags/{dag}/dagRuns"), &body).await.status, StatusCode::OK);
    }
    let state = async |db: &mut PgConnection| -> Vec<String> {
        let text = "select r::text || coalesce(d::text, '') || g.is_paused::text || coalesce(x::text, '')
            from dag_run r left join dag_run_detail d on d.run = r.id join dag g on g.dag_id = r.dag_id
            left join ready x on x.run = r.id where r.dag_id <> 'a' order by 1";
        sqlx::query_scalar(text).fetch_all(db).await.unwrap()
    };
    let before = state(&mut db).await;
    assert_eq!(before.len(), others.len());
    let mut browser = Browser::logged_in(&web).await;
    for rule in rules().into_iter().filter(|rule| rule.path.contains("{dag_id}") && !never_ends(rule)) {
        let path = rule.path.replace("{dag_id}", "a").replace("{dag_run_id}", "run-0").replace("{task_id}", "t0");
        let path = path.replace("{map_index}", "-1").replace(['{', '}'], "");
        // Runs of other DAGs must not be found below `a` either.
        for path in [path.clone(), path.replace("run-0", "run-1")] {
            let text = match rule.door {
                Door::Page if rule.method == Method::GET => browser.get(&path).await.html,
                Door::Page => {
                    let token = browser.get("/account").await.token();
                    let fields =
                        [("form_token", token.as_str()), ("paused", "true"), ("do", "failed"), ("state", "failed")];
                    browser.send_form(&path, &fields, &[]).await.html
                }
                Door::Api => {
                    let body =
                        serde_json::json!({ "dry_run": false, "is_paused": true, "state": "failed" }).to_string();
                    let body = (rule.method != Method::GET).then_some(body);
                    web.send(rule.method.clone(), &format!("{path}?interval=1"), Some(&web.token), body)
                        .await
                        .body
                        .to_string()
                }
            };
            for other in others {
                assert!(!text.contains(&format!("canary-{other}")), "{} {path} shows `{other}`: {text}", rule.method);
            }
            assert_eq!(state(&mut db).await, before, "{} {path}", rule.method);
        }
    }
}

#[tokio::test]
async fn no_table_holds_a_secret_in_the_clear() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let made = browser.submit("/account", "/account/tokens", &[("name", "export")]).await;
    let token = made.html.split("<code>").nth(1).unwrap().split("</code>").next().unwrap().to_string();
    let canary = "canary-9f8e7d6c";
    browser.submit("/users", "/users", &[("username", "ada"), ("role", "user"), ("password", canary)]).await;
    browser.submit("/users/ada", "/users/ada/password", &[("password", canary)]).await;
    drop(web.log_in("ada", "canary-wrong").await);
    let jwt = web.log_in("ada", canary).await.unwrap();
    let form_token = browser.get("/account").await.token();
    let mut db = web.db().await;
    let names =
        sqlx::query("select tablename::text from pg_tables where schemaname = 'public'").fetch_all(&mut db).await;
    let mut all = String::new();
    for row in names.unwrap() {
        let text = format!("select coalesce(string_agg(t::text, e'\\n'), '') from \"{}\" t", row.get::<String, _>(0));
        all.push_str(&sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(text)).fetch_one(&mut db).await.unwrap());
    }
    let hash: String =
        sqlx::query_scalar("select password_hash from api_user limit 1").fetch_one(&mut db).await.unwrap();
    let lines = crate::log::lines();
    let cookie = browser.cookies["orch"].clone();
    for secret in [PASSWORD, canary, "canary-wrong", &token, &jwt, &cookie, &form_token] {
        assert!(!all.contains(secret) && !lines.contains(secret), "`{secret}` is kept or logged");
    }
    // Pages and responses contain no hash, and a secret only when its owner creates it.
    for path in ["/", "/users", "/users/ada", "/account", "/audit", "/workers"] {
        let page = browser.get(path).await;
        for secret in [PASSWORD, canary, &token, &jwt, &cookie, &hash, "argon2"] {
            assert!(!page.has(secret), "`{secret}` is on {path}");
        }
    }
    for path in ["/api/v2/config", "/api/v2/eventLogs"] {
        let text = web.get(path).await.body.to_string();
        assert!(!text.contains("canary") && !text.contains(&hash) && !text.contains(&token), "{path}: {text}");
    }
}
