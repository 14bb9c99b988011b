//! Browser logins, and the protection of sessions against others.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use axum::http::{Method, StatusCode};
use chrono::TimeDelta;
use orch_web::{ADMIN, Access, Door, rules};

#[tokio::test]
async fn a_page_asks_who_one_is_and_then_shows_itself() {
    let web = Web::new().await;
    let mut browser = Browser::new(&web);
    assert_eq!(browser.get("/").await.location(), "/login");
    let login = browser.get("/login?next=/nothing%3Fq%3D1").await;
    assert!(login.has("<title>Sign in · orch</title>") && login.has(r#"name="next" value="/nothing?q=1""#));
    let answer = browser.log_in(ADMIN, PASSWORD, "/nothing?q=1").await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/nothing?q=1"));
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    for part in ["orch=", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=604800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "a browser would not send it back over http");
    let home = browser.get("/").await;
    assert_eq!(home.status, StatusCode::OK);
    assert!(home.has("Home · orch") && home.has("Logged in as admin, admin"));
    assert_eq!(browser.get("/login?next=/dags").await.location(), "/dags", "who is in need not log in");
}

#[tokio::test]
async fn a_wrong_login_says_nothing_more_and_keeps_the_name() {
    let web = Web::new().await;
    let mut browser = Browser::new(&web);
    for name in [ADMIN, "nobody", "\"><svg onload=x>"] {
        let answer = browser.log_in(name, "canary-wrong", "/").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.has("do not belong together") && !answer.has("canary-wrong") && !answer.has("<svg onload"));
        assert!(answer.headers.get("set-cookie").is_none());
    }
    let page = browser.log_in(ADMIN, "wrong", "/").await;
    assert!(page.has(r#"name="username" value="admin""#));
    // `--admin-password` does not replace a lost password.
    assert!(page.has("orch users reset-password -u admin --use-random-password") && !page.has("--admin-password"));
    for _ in 0..3 {
        browser.log_in(ADMIN, "wrong", "/").await;
    }
    let waits = browser.log_in(ADMIN, PASSWORD, "/").await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(waits.has("Too many failed logins: try again in 15 min.") && waits.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_login_leads_to_pages_of_this_server_only() {
    let web = Web::new().await;
    for next in ["//evil.example", "/\\evil.example", "https://evil.example", "https:evil", "\t//evil", "javascript:x"]
    {
        let mut browser = Browser::new(&web);
        assert_eq!(browser.log_in(ADMIN, PASSWORD, next).await.location(), "/", "{next}");
    }
}

#[tokio::test]
async fn a_session_ends_at_logout_with_a_new_password_with_its_user_and_with_time() {
    let web = Web::new().await;
    // After a logout, a copy of the cookie is invalid.
    let mut browser = Browser::logged_in(&web).await;
    let stolen = browser.cookies.clone();
    let out = browser.submit("/", "/logout", &[]).await;
    assert_eq!((out.location(), browser.cookies.len()), ("/login", 0));
    browser.cookies = stolen;
    assert_eq!(browser.get("/").await.location(), "/login");
    // A new login sets a new cookie and ends the previous session.
    let mut browser = Browser::logged_in(&web).await;
    let old = browser.cookies.clone();
    browser.log_in(ADMIN, PASSWORD, "/").await;
    assert_ne!(browser.cookies, old);
    let new = std::mem::replace(&mut browser.cookies, old);
    assert_eq!(browser.get("/").await.location(), "/login");
    browser.cookies = new;
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    // A new password ends the session.
    web.reset_admin_password("another").await;
    web.clock.advance(TimeDelta::seconds(1));
    assert_eq!(browser.get("/").await.location(), "/login");
    // The session expires after seven days.
    assert_eq!(browser.log_in(ADMIN, "another", "/").await.location(), "/");
    web.clock.advance(TimeDelta::days(7) - TimeDelta::seconds(1));
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    web.clock.advance(TimeDelta::seconds(2));
    assert_eq!(browser.get("/").await.location(), "/login");
    // The deletion of its user ends the session.
    assert_eq!(browser.log_in(ADMIN, "another", "/").await.location(), "/");
    web.drop_admin().await;
    web.clock.advance(TimeDelta::seconds(1));
    assert_eq!(browser.get("/").await.location(), "/login");
}

#[tokio::test]
async fn the_database_cannot_be_used_to_log_in() {
    let web = Web::new().await;
    let browser = Browser::logged_in(&web).await;
    let mut db = web.db().await;
    let kept: Vec<u8> = sqlx::query_scalar("select token_hash from web_session").fetch_one(&mut db).await.unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains(&browser.cookies["orch"]) && kept.len() == 32);
}

/// Sends each form of the list of routes with what an attacker could send.
#[tokio::test]
async fn no_form_is_taken_without_its_token_or_from_another_site() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let mut other = Browser::logged_in(&web).await;
    let (own, foreign) = (browser.get("/").await.token(), other.get("/").await.token());
    let forms: Vec<_> = rules().into_iter().filter(|r| r.door == Door::Page && r.method != Method::GET).collect();
    assert!(forms.len() > 2);
    for rule in forms {
        let path = rule.path.replace("{dag_id}", "chain").replace("{map_index}", "0").replace(['{', '}'], "");
        if rule.access != Access::Open {
            for token in ["", foreign.as_str(), "AAAA"] {
                let answer = browser.send_form(&path, &[("form_token", token)], &[]).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {token}");
            }
        }
        for header in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")] {
            let answer = browser.send_form(&path, &[("form_token", &own)], &[header]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {header:?}");
            assert!(answer.has("another site"), "{}", answer.html);
        }
    }
    assert_eq!(browser.get("/").await.status, StatusCode::OK, "nobody was logged out");
}

#[tokio::test]
async fn a_role_that_does_not_suffice_gets_a_page_that_says_so() {
    let web = Web::new().await;
    web.add_user("looker", "viewer").await;
    let mut browser = Browser::new(&web);
    browser.log_in("looker", PASSWORD, "/").await;
    assert!(browser.get("/").await.has("Logged in as looker, viewer"));
    let answer = browser.submit("/", "/dags/chain/paused", &[("paused", "true")]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.has("This is not for you."));
}

#[tokio::test]
async fn colours_are_kept_in_a_cookie() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/").await.has(r#"<html lang="en" data-base="/">"#));
    let back = browser.submit("/", "/theme", &[("theme", "dark"), ("back", "/?x=1")]).await;
    assert_eq!(back.location(), "/?x=1");
    assert!(browser.get("/").await.has(r#"<html lang="en" data-base="/" data-theme="dark">"#));
    let back = browser.submit("/", "/theme", &[("theme", "system"), ("back", "//evil.example")]).await;
    assert_eq!(back.location(), "/");
    assert!(browser.get("/").await.has(r#"<html lang="en" data-base="/">"#));
    browser.cookies.insert("theme".into(), "x\"><script>".into());
    assert!(browser.get("/").await.has(r#"<html lang="en" data-base="/">"#));
}

/// The clock does not advance, so a cached miss would still apply.
#[tokio::test]
async fn a_user_who_is_enabled_again_is_let_in_immediately() {
    let web = Web::new().await;
    web.add_user("ada", "viewer").await;
    let token = web.log_in("ada", PASSWORD).await.expect("the password is right");
    for (is_disabled, expected) in [(true, StatusCode::UNAUTHORIZED), (false, StatusCode::OK)] {
        let change = sqlx::query("update api_user set is_disabled = $1 where name = 'ada'").bind(is_disabled);
        change.execute(&mut web.db().await).await.unwrap();
        let reply = web.send(Method::GET, "/api/v2/dags", Some(&token), None).await;
        assert_eq!(reply.status, expected, "disabled: {is_disabled}");
    }
}
