//! Routes and roles. `rights.txt` lists what each route requires, so that a lowered requirement is visible in a review.
//! A caller below the required role must be rejected and must change nothing.

use crate::client::{FORM, JSON, Login, Reply};
use crate::installation::Installation;
use orch_store::registry::{NewBundle, register_bundle};
use orch_web::{Access, Door, Role, Rule, rules};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Role, method and path of each route, sorted by path; then the role for deletions by a body, if it differs.
const RIGHTS: &str = include_str!("rights.txt");
/// Tables in which the server records logins and rejected requests.
const RECORDS: [&str; 2] = ["audit", "web_session"];

fn right(rule: &Rule) -> String {
    let role = match rule.access {
        Access::Open => "open".to_owned(),
        Access::Login(role) => role.to_string(),
    };
    let deletes = rule.deletes.map(|role| format!(" (deletes: {role})")).unwrap_or_default();
    format!("{} {} {role}{deletes}\n", rule.path, rule.method)
}

#[test]
fn the_rights_of_all_routes_are_those_of_the_list() {
    let mut rights: Vec<String> = rules().iter().map(right).collect();
    rights.sort();
    let rights = rights.concat();
    let missing = |of: &str, from: &str| {
        let lines = of.lines().filter(|line| !from.lines().any(|other| other == *line));
        lines.collect::<Vec<_>>().join("\n")
    };
    let (new, gone) = (missing(&rights, RIGHTS), missing(RIGHTS, &rights));
    assert_eq!(rights, RIGHTS, "only in the table of routes:\n{new}\nonly in `rights.txt`:\n{gone}");
}

/// Returns true for event streams, and for the wait for the end of a run that no worker processes.
fn never_ends(rule: &Rule) -> bool {
    rule.path.ends_with("/events") || rule.path.ends_with("/wait")
}

/// Fills the path with existing names.
fn existing(rule: &Rule, run: &str) -> String {
    let path = rule.path.replace("{dag_id}", "target").replace("{dag_run_id}", run).replace("{task_id}", "a");
    let path =
        path.replace("{map_index}", "-1").replace("{pool_name}", "default_pool").replace("{user_name}", "a-viewer");
    let path =
        path.replace("{variable_key}", "kept").replace("{connection_id}", "kept").replace("{topic_name}", "kept");
    path.replace("{*path}", "v1/config").replace(['{', '}'], "")
}

/// Fills the path with names that do not exist.
fn missing(rule: &Rule) -> String {
    let path = rule.path.replace("{map_index}", "0").replace("{login_id}", "0").replace("{token_id}", "0");
    path.replace("{*path}", "v1/missing").replace(['{', '}'], "")
}

async fn ask(installation: &Installation, rule: &Rule, path: &str, login: Option<&Login>) -> Reply {
    let method = rule.method.as_str();
    match rule.door {
        Door::Api => {
            let body = json!({ "is_paused": true, "state": "failed", "dry_run": false, "logical_date": null });
            installation.ask(method, path, login, JSON, body.to_string().as_bytes()).await
        }
        Door::Page => {
            let fields = [("do", "failed"), ("paused", "true"), ("state", "failed"), ("role", "admin")];
            let fields = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
            let body = login.map(|login| login.form(&fields)).unwrap_or_default();
            installation.ask(method, path, login, FORM, &body).await
        }
    }
}

/// Returns true if the caller has to log in or lacks the role.
fn is_refused(reply: &Reply) -> bool {
    let leads_to_login = reply.header("location").is_some_and(|location| location.starts_with("/login"));
    matches!(reply.status, 401 | 403) || reply.status == 303 && leads_to_login
}

/// Returns a digest of the rows of every table.
async fn digests(db: &mut PgConnection) -> BTreeMap<String, String> {
    let names = "select tablename::text from pg_tables where schemaname = 'public'";
    let mut digests = BTreeMap::new();
    for row in sqlx::query(names).fetch_all(&mut *db).await.unwrap() {
        let name: String = row.get(0);
        let text = format!("select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from \"{name}\" t");
        let digest: String = sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(&mut *db).await.unwrap();
        digests.insert(name, digest);
    }
    RECORDS.iter().for_each(|name| assert!(digests.remove(*name).is_some(), "there is no table `{name}`"));
    digests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_below_the_role_of_a_route_is_refused_and_changes_nothing() {
    let installation = Installation::start_web().await;
    let mut db = installation.db.connect().await;
    let tasks = json!([{ "task_id": "a", "kind": "rust" }, { "task_id": "b", "kind": "rust", "after": ["a"] }]);
    let dag = json!({ "dag_id": "target", "tasks": tasks });
    let dags = vec![Arc::new(serde_json::from_value(dag).unwrap())];
    register_bundle(&mut db, &NewBundle { name: "attack".into(), dags }, false).await.unwrap();
    let admin = installation.log_in("admin").await;
    installation.until_registered("target", &admin).await;
    let run = installation.trigger("target", &admin, &json!({})).await.replace('+', "%2B");
    for (path, body) in [
        ("/api/v2/variables", json!({ "key": "kept", "value": "v" })),
        ("/api/v2/connections", json!({ "connection_id": "kept", "conn_type": "http" })),
        ("/api/orch/v1/topics", json!({ "name": "kept" })),
    ] {
        let made = installation.send_json("POST", path, &admin, &body).await;
        assert!(made.is_success(), "{path}: {made:?}");
    }
    let mut callers: Vec<(Option<Role>, Option<Login>)> = vec![(None, None)];
    for role in [Role::Viewer, Role::User, Role::Op] {
        callers.push((Some(role), Some(installation.add_user(role.as_str()).await)));
    }
    let before = digests(&mut db).await;
    for (role, login) in &callers {
        for rule in rules() {
            let Access::Login(needed) = rule.access else { continue };
            if role.is_none_or(|role| role < needed) {
                let path = existing(&rule, &run);
                let reply = ask(&installation, &rule, &path, login.as_ref()).await;
                assert!(is_refused(&reply), "{} {path} for {role:?}: {reply:?}", rule.method);
            }
        }
        let after = digests(&mut db).await;
        let changed: Vec<_> = after.iter().filter(|(name, digest)| before.get(*name) != Some(digest)).collect();
        assert!(changed.is_empty(), "refused requests of {role:?} changed {changed:?}");
    }
    callers.push((Some(Role::Admin), Some(admin)));
    for rule in rules().into_iter().filter(|rule| !never_ends(rule)) {
        let Access::Login(needed) = rule.access else { continue };
        let login = if rule.path.ends_with("/logout") {
            // This route ends the login of its sender, so it gets a new one.
            Some(installation.log_in(&format!("a-{needed}")).await)
        } else {
            callers.iter().find(|(role, _)| *role == Some(needed)).and_then(|(_, login)| login.clone())
        };
        let path = missing(&rule);
        let reply = ask(&installation, &rule, &path, login.as_ref()).await;
        let has_ended_login = rule.path == "/logout" && reply.status == 303;
        assert!(has_ended_login || !is_refused(&reply), "{} {path} for {needed}: {reply:?}", rule.method);
    }
}
