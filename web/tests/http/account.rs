//! Users, roles and tokens as admins and their owners manage them, and how soon a revoked right ends.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chrono::TimeDelta;
use futures::StreamExt;
use orch_store::audit::{AUDIT, newest};
use orch_web::ADMIN;
use serde_json::json;

const DAGS: &str = "/api/v2/dags";

/// Returns the password or token that a page shows once.
fn shown(html: &str) -> String {
    let from = html.split("<code>").nth(1).expect("something is shown");
    from.split("</code>").next().expect("it ends").to_string()
}

async fn status(web: &Web, token: &str) -> StatusCode {
    web.send(Method::GET, DAGS, Some(token), None).await.status
}

#[tokio::test]
async fn users_are_found_by_words_and_page_by_page() {
    let web = Web::new().await;
    let many = "insert into api_user (name, password_hash, role, full_name, email)
        select 'user_' || lpad(n::text, 3, '0'), 'none', 'viewer', 'Ada ' || n, n || '@example.com' from generate_series(1, 150) n";
    sqlx::query(many).execute(&mut web.db().await).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    let first = browser.get("/users").await;
    assert!(first.has("Users <span class=\"n\">151</span>") && first.has("href=\"/users?page=2\""), "{}", first.html);
    assert!(first.has("user_099") && !first.has("user_100"));
    let second = browser.get("/users?page=2").await;
    assert!(second.has("user_100") && second.has("user_150") && second.has("Previous page"), "{}", second.html);
    for (words, found, other) in
        [("USER_07", "user_071", "user_081"), ("ada 42", "user_042", "user_043"), ("admin", "/users/admin", "user_001")]
    {
        let page = browser.get(&format!("/users?q={}", words.replace(' ', "+"))).await;
        assert!(page.has(found) && !page.has(other), "{words}: {}", page.html);
    }
    assert!(browser.get("/users?q=nowhere").await.has("None has “nowhere” in a name, the mail or the role."));
}

#[tokio::test]
async fn an_admin_adds_a_user_whose_password_is_shown_once() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.submit("/users", "/users", &[("username", "ada"), ("role", "user")]).await;
    assert_eq!(page.status, StatusCode::OK);
    let password = shown(&page.html);
    assert!(web.log_in("ada", &password).await.is_ok(), "{}", page.html);
    let list = browser.get("/users").await;
    assert!(list.has("ada") && !list.has(&password));
    for (name, role, status, words) in [
        ("ada", "user", StatusCode::CONFLICT, "already"),
        ("ADA", "user", StatusCode::CONFLICT, "a user `ada` already. User names are unique regardless of case."),
        ("a b", "user", StatusCode::UNPROCESSABLE_ENTITY, "letters, digits"),
        ("", "user", StatusCode::UNPROCESSABLE_ENTITY, "letters, digits"),
        ("bob", "boss", StatusCode::BAD_REQUEST, "is not a role"),
    ] {
        let page = browser.submit("/users", "/users", &[("username", name), ("role", role)]).await;
        assert_eq!(page.status, status, "{name}");
        assert!(page.has(words), "{name}: {}", page.html);
    }
    let short = [("username", "bob"), ("role", "user"), ("password", "short")];
    assert!(browser.submit("/users", "/users", &short).await.has("at least 8 characters"));
    let mut rows = AUDIT.rows(&mut web.db().await, &newest(10)).await.unwrap();
    rows.retain(|row| row.event != "log_in");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].actor.as_str(), rows[0].event.as_str()), (ADMIN, "create_user"));
    let extra = rows[0].extra.clone().unwrap();
    assert_eq!(extra, json!({ "user": "ada", "role": "user", "from": "127.0.0.1" }));
}

#[tokio::test]
async fn a_role_counts_at_once_wherever_somebody_is_logged_in() {
    let web = Web::new().await;
    web.add_user("ada", "viewer").await;
    let mut admin = Browser::logged_in(&web).await;
    let mut ada = Browser::new(&web);
    ada.log_in("ada", PASSWORD, "/").await;
    assert_eq!(ada.get("/dags/chain/trigger").await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.submit("/users/ada", "/users/ada/role", &[("role", "user")]).await.location(), "/users/ada");
    assert_eq!(ada.get("/dags/chain/trigger").await.status, StatusCode::OK);
    assert_eq!(ada.get("/users").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_last_admin_stays() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    for (path, field) in [("role", ("role", "op")), ("disabled", ("disabled", "true")), ("delete", ("", ""))] {
        let page = browser.submit("/users/admin", &format!("/users/admin/{path}"), &[field]).await;
        assert_eq!(page.status, StatusCode::CONFLICT, "{path}");
        assert!(page.has("is the last admin who can log in"), "{}", page.html);
    }
    web.add_user("bob", "admin").await;
    let mut bob = Browser::new(&web);
    bob.log_in("bob", PASSWORD, "/").await;
    assert!(bob.get("/users/admin/delete").await.has("cannot log in any more: 2 logins and 0 API tokens end"));
    assert_eq!(bob.submit("/users/admin/delete", "/users/admin/delete", &[]).await.location(), "/users");
    assert_eq!(browser.get("/").await.location(), "/login");
    assert_eq!(bob.submit("/users/bob", "/users/bob/delete", &[]).await.status, StatusCode::CONFLICT);
    assert_eq!(bob.get("/users/admin").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn disabled_or_with_a_new_password_somebody_is_out_at_once_and_for_good() {
    let web = Web::new().await;
    web.add_user("ada", "user").await;
    let mut admin = Browser::logged_in(&web).await;
    for (path, fields) in [("disabled", [("disabled", "true")]), ("password", [("password", PASSWORD)])] {
        let mut ada = Browser::new(&web);
        ada.log_in("ada", PASSWORD, "/").await;
        let jwt = web.log_in("ada", PASSWORD).await.unwrap();
        let token = shown(&ada.submit("/account", "/account/tokens", &[("name", path)]).await.html);
        assert_eq!((status(&web, &jwt).await, status(&web, &token).await), (StatusCode::OK, StatusCode::OK));
        assert_eq!(ada.get("/").await.status, StatusCode::OK);
        let done = admin.submit("/users/ada", &format!("/users/ada/{path}"), &fields).await;
        assert_eq!(done.location(), "/users/ada");
        let out = async |ada: &mut Browser<'_>| {
            assert_eq!(ada.get("/").await.location(), "/login", "{path}");
            for token in [&jwt, &token] {
                assert_eq!(status(&web, token).await, StatusCode::UNAUTHORIZED, "{path}");
            }
        };
        out(&mut ada).await;
        if path == "disabled" {
            assert_eq!(web.log_in("ada", PASSWORD).await.unwrap_err().status, StatusCode::UNAUTHORIZED);
            admin.submit("/users/ada", "/users/ada/disabled", &[("disabled", "false")]).await;
            out(&mut ada).await;
        }
        assert!(web.log_in("ada", PASSWORD).await.is_ok());
    }
}

#[tokio::test]
async fn another_server_notices_within_a_second() {
    let mut web = Web::new().await;
    web.add_user("ada", "user").await;
    let jwt = web.log_in("ada", PASSWORD).await.unwrap();
    let mut other = web.another_server();
    web.swap_router(&mut other);
    assert_eq!(status(&web, &jwt).await, StatusCode::OK);
    web.swap_router(&mut other);
    assert_eq!(web.send(Method::POST, "/auth/logout", Some(&jwt), None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(status(&web, &jwt).await, StatusCode::UNAUTHORIZED);
    web.swap_router(&mut other);
    web.clock.advance(TimeDelta::seconds(1));
    assert_eq!(status(&web, &jwt).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_revoked_or_over() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let made = browser.submit("/account", "/account/tokens", &[("name", "export"), ("days", "1")]).await;
    let token = shown(&made.html);
    assert!(token.starts_with("orch_") && token.len() > 40, "{token}");
    assert_eq!(status(&web, &token).await, StatusCode::OK);
    let kept: Vec<u8> =
        sqlx::query_scalar("select token_hash from api_token").fetch_one(&mut web.db().await).await.unwrap();
    assert_eq!(kept.len(), 32);
    let page = browser.get("/account").await;
    assert!(page.has("export") && !page.has(&token));
    // An API token cannot be logged out, and is not accepted in a URL or a cookie.
    assert_eq!(web.send(Method::POST, "/auth/logout", Some(&token), None).await.status, StatusCode::BAD_REQUEST);
    let in_url = format!("{DAGS}?token={token}");
    assert_eq!(web.send(Method::GET, &in_url, None, None).await.status, StatusCode::UNAUTHORIZED);
    let again = browser.submit("/account", "/account/tokens", &[("name", "export")]).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let endless = shown(&browser.submit("/account", "/account/tokens", &[("name", "other"), ("days", "")]).await.html);
    web.clock.advance(TimeDelta::days(2));
    let over = web.send(Method::GET, DAGS, Some(&token), None).await;
    assert_eq!((over.status, over.body), (StatusCode::UNAUTHORIZED, json!({ "detail": "Token Expired" })));
    assert_eq!(status(&web, &endless).await, StatusCode::OK);
    let page = browser.get("/account").await;
    let path = page.html.split('"').find(|part| part.ends_with("/revoke")).expect("a form").to_string();
    assert_eq!(browser.submit("/account", &path, &[]).await.location(), "/account");
    assert_eq!(status(&web, &endless).await, StatusCode::UNAUTHORIZED);
    // Users cannot revoke the tokens of other users.
    web.add_user("ada", "admin").await;
    let mut ada = Browser::new(&web);
    ada.log_in("ada", PASSWORD, "/").await;
    let last = shown(&browser.submit("/account", "/account/tokens", &[("name", "last"), ("days", "")]).await.html);
    let page = browser.get("/account").await;
    let path = page.html.split('"').find(|part| part.ends_with("/revoke")).expect("a form").to_string();
    ada.submit("/account", &path, &[]).await;
    assert_eq!(status(&web, &last).await, StatusCode::OK);
}

#[tokio::test]
async fn a_person_changes_the_password_and_is_out_elsewhere() {
    let web = Web::new().await;
    let (mut here, mut there) = (Browser::logged_in(&web).await, Browser::logged_in(&web).await);
    let token = shown(&here.submit("/account", "/account/tokens", &[("name", "export")]).await.html);
    let change = async |browser: &mut Browser<'_>, old: &str, new: &str, again: &str| {
        let fields = [("old", old), ("new", new), ("again", again)];
        browser.submit("/account", "/account/password", &fields).await
    };
    assert!(change(&mut here, "wrong", "long enough", "long enough").await.has("The old password is another one"));
    assert!(change(&mut here, PASSWORD, "long enough", "long enougH").await.has("twice"));
    assert!(change(&mut here, PASSWORD, "short", "short").await.has("at least 8 characters"));
    assert!(change(&mut here, PASSWORD, "long enough", "long enough").await.has("The new password counts"));
    assert_eq!(here.get("/").await.status, StatusCode::OK);
    assert_eq!(there.get("/").await.location(), "/login");
    assert_eq!(status(&web, &web.token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&web, &token).await, StatusCode::OK, "an API token is no login");
    assert!(web.log_in(ADMIN, PASSWORD).await.is_err() && web.log_in(ADMIN, "long enough").await.is_ok());
    for (new, words) in [("password123", "one of the most common ones"), ("Adminadmin", "the name of its user")] {
        assert!(change(&mut here, "long enough", new, new).await.has(words), "{new}");
    }
    let fields = [("old", "long enough"), ("new", PASSWORD), ("again", PASSWORD), ("revoke_tokens", "on")];
    assert!(here.submit("/account", "/account/password", &fields).await.has("The new password counts"));
    assert_eq!(status(&web, &token).await, StatusCode::UNAUTHORIZED, "it was revoked on request");
}

#[tokio::test]
async fn a_person_signs_out_elsewhere() {
    let web = Web::new().await;
    let (mut here, mut there) = (Browser::logged_in(&web).await, Browser::logged_in(&web).await);
    let page = here.get("/account").await;
    assert!(page.has("this one") && page.has("a program"), "{}", page.html);
    assert_eq!(here.submit("/account", "/account/logins/others/end", &[]).await.location(), "/account");
    assert_eq!(there.get("/").await.location(), "/login");
    assert_eq!(status(&web, &web.token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(here.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_open_stream_ends_with_the_login_it_was_opened_with() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let mut admin = Browser::logged_in(&web).await;
    web.add_user("ada", "viewer").await;
    let mut ada = Browser::new(&web);
    ada.log_in("ada", PASSWORD, "/").await;
    let path = format!("/dags/chain/runs/{run}/events");
    let cookie = format!("orch={}", ada.cookies["orch"]);
    let request = Request::builder().uri(path).header("host", "localhost").header("cookie", cookie);
    let stream = web.open(request.body(Body::empty()).unwrap()).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let mut events = stream.into_body().into_data_stream();
    assert!(events.next().await.is_some());
    admin.submit("/users/ada", "/users/ada/disabled", &[("disabled", "true")]).await;
    let ended = async { while events.next().await.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(3), ended).await.expect("it ends within a look");
}
