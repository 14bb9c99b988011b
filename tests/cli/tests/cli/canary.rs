//! Fetches everything from a server after a run whose tasks log, return and raise secrets: every linked page, every
//! response of the API, event streams and downloads, as a viewer and as an admin. None may contain a planted secret.

use crate::secrets::{TYPED, is_clean, planted};
use crate::world::World;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const PASSWORD: &str = "correct horse";
/// Time to read an event stream; all existing events are sent immediately.
const LISTENED: Duration = Duration::from_millis(700);
/// Maximum number of different queries per page.
const SIGHTS: usize = 8;
const NAMES: [&str; 2] = ["vera", "admin"];
const TASKS: [&str; 9] =
    ["tell", "tell_in_error", "tell_in_panic", "tell_in_child", "miss", "look_around", "give", "take", "take_one"];

/// A client that fetches everything it can reach.
struct Visitor {
    host: String,
    /// Authentication header: a cookie or a token.
    pass: String,
}

struct RawResponse {
    status: u16,
    head: String,
    body: String,
}

impl Visitor {
    /// Uses HTTP 1.0, so that the response is not chunked.
    fn send(&self, request: &str, body: &str) -> RawResponse {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let is_stream = request.split(['?', ' ']).any(|part| part.ends_with("/events"));
        stream.set_read_timeout(Some(if is_stream { LISTENED } else { Duration::from_secs(30) })).unwrap();
        write!(stream, "{request} HTTP/1.0\r\nHost: {}\r\n{}\r\n", self.host, self.pass).unwrap();
        write!(stream, "Content-Length: {}\r\nAccept: */*\r\n\r\n{body}", body.len()).unwrap();
        let (mut bytes, mut piece) = (Vec::new(), [0; 8 * 1024]);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(_) if is_stream => break,
                Err(error) => panic!("{request}: {error}"),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        RawResponse { status, head: head.into(), body: body.into() }
    }

    fn with_cookie(host: &str, name: &str) -> Visitor {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let nobody = Visitor { host: host.into(), pass: kind.into() };
        let answer = nobody.send("POST /login", &format!("username={name}&password={}", PASSWORD.replace(' ', "+")));
        let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: orch="));
        let cookie = cookie.unwrap_or_else(|| panic!("{name} does not come in: {}", answer.head));
        Visitor { host: host.into(), pass: format!("Cookie: orch={}", cookie.split(';').next().unwrap()) }
    }

    fn with_token(host: &str, name: &str) -> Visitor {
        let nobody = Visitor { host: host.into(), pass: "Content-Type: application/json".into() };
        let body = serde_json::json!({ "username": name, "password": PASSWORD }).to_string();
        let token: Value = serde_json::from_str(&nobody.send("POST /auth/token", &body).body).unwrap();
        Visitor {
            host: host.into(),
            pass: format!("Authorization: Bearer {}", token["access_token"].as_str().unwrap()),
        }
    }

    fn get(&self, path: &str) -> RawResponse {
        self.send(&format!("GET {path}"), "")
    }
}

/// Returns the addresses of this server in a page: links, resources and event streams.
fn links(html: &str) -> Vec<String> {
    let mut links = Vec::new();
    for name in ["href=\"", "src=\"", "data-live=\"", "data-changes=\"", "data-palette=\""] {
        let values = html.split(name).skip(1).filter_map(|rest| rest.split('"').next());
        links.extend(values.filter(|link| link.starts_with('/')).map(|link| link.replace("&#38;", "&")));
    }
    links.into_iter().map(|link| link.split('#').next().unwrap_or_default().to_string()).collect()
}

/// Fetches every page that is reachable by links. Returns all paths.
fn walk(visitor: &Visitor, name: &str) -> BTreeSet<String> {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec!["/".to_string(), "/palette?q=planted".into()]);
    waiting.extend(["/connections/export?format=env", "/connections/export?format=yaml"].map(String::from));
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(path) = waiting.pop() {
        // Other DAGs have no secrets, and a page has too many different queries to fetch them all.
        let of_another = path.starts_with("/dags/") && !path.starts_with("/dags/test_planted");
        let sights = kinds.entry(path.split('?').next().unwrap_or_default().into()).or_default();
        if of_another || *sights >= SIGHTS || !seen.insert(path.clone()) {
            continue;
        }
        *sights += 1;
        assert!(seen.len() < 2_000, "there is no end to the links: {path}");
        let answer = visitor.get(&path);
        let may = [200, 403, 404].contains(&answer.status);
        assert!(may, "{name} {path}: {}", answer.head);
        is_clean(&format!("{path} for {name}"), &format!("{}\n{}", answer.head, answer.body));
        waiting.extend(links(&answer.body));
    }
    seen
}

/// Sends every GET request of the API for all existing objects. Returns the number of successful responses.
fn ask(visitor: &Visitor, name: &str, world: &World) -> usize {
    let document: Value = serde_json::from_str(&visitor.get("/openapi.json").body).unwrap();
    let mut paths = BTreeSet::new();
    for (path, _) in document["paths"].as_object().unwrap().iter().filter(|(_, methods)| methods["get"].is_object()) {
        let path = path.replace("{dag_id}", "test_planted").replace("{dag_run_id}", "it");
        let path = path.replace("{connection_id}", "planted").replace("{variable_key}", "planted_token");
        let path = path.replace("{section}", "orch").replace("{option}", "secret_key").replace("{version_number}", "1");
        let tasks = if path.contains("{task_id}") { &TASKS[..] } else { &TASKS[..1] };
        for task in tasks {
            for (map_index, key) in [("-1", "return_value"), ("0", "pushed"), ("1", "return_value")] {
                let path = path.replace("{task_id}", task).replace("{map_index}", map_index);
                let path =
                    path.replace("{xcom_key}", key).replace("{try_number}", "1").replace("{task_try_number}", "1");
                let path = path.replace(|sign| ['{', '}'].contains(&sign), "");
                let query = format!("limit=100&full_content=true&interval=1&result={task}&map_index={map_index}");
                paths.extend([format!("{path}?{query}"), path]);
            }
        }
    }
    let mut answered = 0;
    for path in paths {
        let answer = visitor.get(&path);
        is_clean(&format!("{path} for {name}"), &format!("{}\n{}", answer.head, answer.body));
        answered += usize::from(answer.status == 200);
    }
    is_clean("what the processes said", &world.said());
    answered
}

#[tokio::test]
async fn no_page_and_no_answer_shows_what_is_planted() {
    let mut world = planted().await;
    world.set("ORCH_ADMIN_PASSWORD", PASSWORD);
    world.run_with(PASSWORD.as_bytes(), &["users", "create", "-u", NAMES[0], "-r", "viewer"]).done();
    world.start(&["web", "--port", "0"]);
    let host = loop {
        world.run(&["version"]).done();
        if let Some((_, rest)) = world.said().split_once("orch web is up: http://") {
            break rest.split_whitespace().next().unwrap().to_string();
        }
    };
    for name in NAMES {
        let browser = Visitor::with_cookie(&host, name);
        let run = browser.get("/dags/test_planted/runs/it");
        assert!(run.body.contains(TYPED), "what a person typed is shown: {}", run.body);
        let given = browser.get("/dags/test_planted/runs/it/tasks/take");
        assert!(given.body.contains("***"), "{}", given.body);
        let pages = walk(&browser, name);
        for page in ["/connections", "/variables", "/audit", "/workers", "/dags/test_planted/runs/it/tasks/give"] {
            assert!(pages.contains(page), "{name} does not come to {page}: {pages:?}");
        }
        assert!(pages.iter().any(|page| page.contains("/log?")), "logs are downloaded: {pages:?}");
        assert!(pages.iter().any(|page| page.ends_with("/events") || page.contains("/events?")), "{pages:?}");
        let admin_only = pages.iter().any(|page| page.starts_with("/connections/edit?id=planted"));
        assert_eq!(admin_only, name == "admin");
        let program = Visitor::with_token(&host, name);
        let answered = ask(&program, name, &world);
        assert!(answered > 100, "{answered} answers");
        let shown = program.get("/api/v2/dags/test_planted/dagRuns/it/taskInstances/give/xcomEntries/pushed");
        assert!(shown.body.contains("postgres://me:***@db") && shown.body.contains("nothing"), "{}", shown.body);
    }
}
