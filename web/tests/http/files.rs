//! Static files in the binary, and how they are sent.

use crate::browser::Browser;
use crate::fixture::Web;
use axum::http::{Method, StatusCode};

#[tokio::test]
async fn files_are_kept_for_ever_under_the_name_of_what_they_hold() {
    let web = Web::new().await;
    let mut browser = Browser::new(&web);
    let login = browser.get("/login").await;
    let files: Vec<String> =
        login.html.split(['"', '#']).filter(|t| t.starts_with("/static/")).map(Into::into).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let answer = browser.get(&file).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert_eq!(answer.headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        let tag = answer.headers["etag"].to_str().unwrap().to_string();
        let weak = format!("W/{tag}");
        for known in [tag.as_str(), weak.as_str()] {
            let again = browser.send(Method::GET, &file, String::new(), &[("if-none-match", known)]).await;
            assert_eq!((again.status, again.html.len()), (StatusCode::NOT_MODIFIED, 0));
        }
        let (folder, name) = file.rsplit_once('/').unwrap();
        for wrong in [format!("{folder}0/{name}"), format!("{folder}/{name}x"), format!("{folder}/..%2f{name}")] {
            assert_eq!(browser.get(&wrong).await.status, StatusCode::NOT_FOUND, "{wrong}");
        }
    }
}

/// Maximum size of the scripts of a page, uncompressed.
const MOST_SCRIPT_BYTES: usize = 19 * 1024;

#[tokio::test]
async fn no_page_loads_more_script_than_it_needs() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let mut browser = Browser::logged_in(&web).await;
    let run = format!("/dags/chain/runs/{run}");
    for path in [
        "/",
        "/dags",
        "/dags/chain",
        "/dags/chain/graph",
        "/runs",
        &run,
        &format!("{run}/tasks/t0"),
        "/connections/import",
        "/assets",
        "/backfills",
        "/dags/chain/runs",
        "/dags/chain/backfills",
        "/dags/chain/overview",
        "/dags/chain/calendar",
    ] {
        let page = browser.get(path).await;
        let scripts = page.html.split("<script type=\"module\" src=\"").skip(1);
        let (mut bytes, mut names) = (0, Vec::new());
        for script in scripts.filter_map(|rest| rest.split('"').next()) {
            bytes += browser.get(script).await.html.len();
            names.push(script.rsplit('/').next().unwrap().to_string());
        }
        assert!(names.contains(&"app.js".to_string()) && bytes <= MOST_SCRIPT_BYTES, "{path}: {bytes} of {names:?}");
        // A page that names a stream also loads the script that follows it.
        for (attribute, script) in
            [("data-changes=", "changes.js"), ("data-live=", "live.js"), ("data-roving", "grid.js")]
        {
            assert!(!page.has(attribute) || names.contains(&script.to_string()), "{path} has no {script}");
        }
    }
}

#[tokio::test]
async fn pages_allow_nothing_that_is_not_their_own() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    for path in ["/", "/nothing", "/dags/nothing"] {
        let page = browser.get(path).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        for part in
            ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
        }
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    }
}

#[tokio::test]
async fn text_is_sent_compressed_to_whoever_takes_it_so() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let plain = browser.get("/").await;
    assert!(!plain.headers.contains_key("content-encoding") && plain.headers["vary"] == "accept-encoding");
    let packed = browser.send(Method::GET, "/", String::new(), &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let size = |page: &crate::browser::Page| page.headers["content-length"].to_str().unwrap().parse::<usize>().unwrap();
    assert!(size(&packed) * 2 < plain.html.len());
}

#[tokio::test]
async fn what_is_not_there_is_a_page_for_people_and_json_for_programs() {
    let web = Web::new().await;
    let mut browser = Browser::new(&web);
    let page = browser.get("/nothing").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.has("There is nothing here.") && page.has(r#"href="/""#) && !page.has("class=\"app\""));
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/%3Csvg%20onload=x%3E").await;
    assert!(page.status == StatusCode::NOT_FOUND && !page.has("<svg onload"));
    let page = browser.send(Method::DELETE, "/dags", String::new(), &[]).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
}
