//! Live pages over restarts of the web server: runs are not affected, and a page resumes at its position. Also a log
//! that is too large to read completely.

use crate::remote::PASSWORD;
use crate::world::World;
use orch_test_support::attack::status_mb;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Timeout for everything that a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser that keeps its session cookie over restarts of the server.
pub(crate) struct Browser {
    port: u16,
    cookie: String,
}

impl Browser {
    /// Logs in; waits until the server responds.
    pub(crate) fn log_in(port: u16) -> Browser {
        let mut browser = Browser { port, cookie: String::new() };
        let form = format!("username=admin&password={}&next=/", PASSWORD.replace(' ', "+"));
        let answer = browser.ask(&format!("POST /login HTTP/1.1\r\ncontent-length: {}\r\n", form.len()), &form);
        let cookie =
            answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap_or_else(|| panic!("{answer}"));
        cookie.split(';').next().unwrap().clone_into(&mut browser.cookie);
        browser
    }

    fn send(&self, head: &str, body: &str) -> TcpStream {
        let began = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(began.elapsed() < PATIENCE, "nobody listens: {error}"),
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (host, cookie) = (format!("localhost:{}", self.port), &self.cookie);
        let usual = "content-type: application/x-www-form-urlencoded\r\naccept: text/html\r\n";
        let kind = if head.contains("content-type: ") { "" } else { usual };
        write!(stream, "{head}host: {host}\r\ncookie: {cookie}\r\n{kind}\r\n{body}").unwrap();
        stream
    }

    pub(crate) fn ask(&self, head: &str, body: &str) -> String {
        let mut answer = Vec::new();
        self.send(&format!("{head}connection: close\r\n"), body).read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\n"), "")
    }

    /// Polls the page until it contains the word, because other processes send no events.
    pub(crate) fn get_when(&self, path: &str, word: &str) -> String {
        let began = Instant::now();
        loop {
            let page = self.get(path);
            if page.contains(word) {
                return page;
            }
            assert!(began.elapsed() < PATIENCE, "{path} does not show `{word}`: {page}");
        }
    }

    /// Opens an event stream, from the last received event if there is one.
    fn follow(&self, path: &str, last: Option<&str>) -> Events {
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let stream = self.send(&format!("GET {path} HTTP/1.1\r\n{last}"), "");
        Events(BufReader::new(stream).lines())
    }
}

struct Events(std::io::Lines<BufReader<TcpStream>>);

impl Events {
    /// Returns the numbers of the next lines and the event id after them, or `None` at the end of the stream.
    fn lines(&mut self) -> Option<(Vec<i64>, String)> {
        let (mut id, mut numbers) = (String::new(), Vec::new());
        loop {
            let Some(Ok(line)) = self.0.next() else { return None };
            if let Some(new) = line.strip_prefix("id: ") {
                new.clone_into(&mut id);
            } else if let Some((_, rest)) = line.split_once(" id=\"L") {
                numbers.push(rest.split('"').next().unwrap().parse().unwrap());
            } else if line.is_empty() && !numbers.is_empty() {
                return Some((numbers, id));
            }
        }
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

pub(crate) fn web(world: &mut World, port: u16) -> u32 {
    world.start(&["web", "--port", &port.to_string(), "--admin-password", PASSWORD])
}

#[tokio::test]
async fn a_page_goes_on_where_it_was_when_the_web_server_comes_back_and_the_run_does_not_notice() {
    let mut world = World::at_work().await;
    let port = free_port();
    let first = web(&mut world, port);
    assert_eq!(world.run(&["dags", "trigger", "test_talking", "--run-id", "long"]).code, 0);
    let browser = Browser::log_in(port);
    let page = browser.get_when("/dags/test_talking/runs/long/tasks/talk", "this is line 1<");
    let live = page.split("data-live=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    let mut events = browser.follow(&live, None);
    let (seen, id) = events.lines().unwrap();

    world.stop(first);
    while events.lines().is_some() {}
    let before = world.run(&["tasks", "logs", "test_talking", "talk", "long"]).done().lines().count();
    let longer = |ended: &crate::binary::CommandOutput| ended.out.lines().count() > before;
    world.wait_for(&["tasks", "logs", "test_talking", "talk", "long"], longer);
    assert_eq!(world.run(&["tasks", "state", "test_talking", "talk", "long"]).done(), "running\n");

    web(&mut world, port);
    let mut events = browser.follow(&live, Some(&id));
    let (numbers, _) = events.lines().unwrap();
    // No line is missing or repeated, and the session outlived the server.
    assert_eq!(numbers[0], seen.last().unwrap() + 1);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert_eq!(world.run(&["runs", "cancel", "test_talking", "long"]).code, 0);
    while events.lines().is_some() {}
}

#[tokio::test]
async fn a_log_of_84_mb_with_a_line_of_20_mb_is_shown_from_its_end_and_costs_no_memory() {
    let mut world = World::new().await;
    let port = free_port();
    let worker = world.start(&["worker", "--paused-at-creation=false"]);
    world.start(&["scheduler"]);
    let web = web(&mut world, port);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("test_shouting"));
    // The baseline includes the pages of the program, which are loaded before any log is read.
    let peak_mb = |pid| status_mb(pid, "VmHWM:").unwrap();
    let without_log = [worker, web].map(|pid| (pid, peak_mb(pid)));
    assert_eq!(world.run(&["dags", "trigger", "test_shouting", "--run-id", "loud", "--wait"]).code, 0);
    let browser = Browser::log_in(port);
    let task = "/dags/test_shouting/runs/loud/tasks/shout";
    let page = browser.get_when(task, "the last line");
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    // The page shows that lines were dropped.
    let gaps = browser.get(&format!("{task}?level=warn"));
    assert!(gaps.contains("lines were not kept: more than 1 MB/s"), "{gaps}");
    let start = browser.get(&format!("{task}?from=1"));
    assert!(start.contains("bytes more</a>"), "{start}");
    let red = browser.get(&format!("{task}?q=yyy"));
    assert!(red.contains("\"ansi-r\">red</span> ␀\u{fffd}"), "{red}");
    let found = browser.get(&format!("{task}?q=the+last+line"));
    assert!(found.contains("1 found") || found.contains("1 of 1"), "{found}");
    assert!(found.contains("<mark>the last line</mark>"));
    for (pid, before) in without_log {
        let peak = peak_mb(pid);
        assert!(peak - before < 120, "process {pid} had {before} MB in memory before the log, and {peak} MB with it");
    }
}
