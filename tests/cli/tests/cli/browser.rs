//! The pages as people meet them, in Chromium driven by Playwright: every page in light, in dark and on a phone, and the
//! five daily flows by mouse, by keyboard and without JavaScript. Pictures stay in `target/tmp/screens`. Playwright and
//! axe-core are installed once, below the target folder; what is missing fails the test with the command that installs it.

use crate::binary::run;
use crate::remote::PASSWORD;
use crate::standalone::Standalone;
use axum::http::Method;
use orch_store::hint::Hints;
use orch_web::{App, Door, WebConfig, rules};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

const SCRIPTS: [(&str, &str); 5] = [
    ("package.json", include_str!("../../../browser/package.json")),
    ("package-lock.json", include_str!("../../../browser/package-lock.json")),
    ("browser.mjs", include_str!("../../../browser/browser.mjs")),
    ("walk.mjs", include_str!("../../../browser/walk.mjs")),
    ("flows.mjs", include_str!("../../../browser/flows.mjs")),
];

/// Where the scripts lie beside what they import.
fn scripts() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
        let whole = folder.join("node_modules/installed");
        let lock = SCRIPTS[1].1;
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in SCRIPTS {
            std::fs::write(folder.join(name), text).unwrap();
        }
        if std::fs::read_to_string(&whole).ok().as_deref() != Some(lock) {
            let install = "npm ci --ignore-scripts --no-audit --no-fund";
            let done = Command::new("sh").args(["-c", install]).current_dir(&folder).output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(
                done.status.success(),
                "no Playwright: try `make setup`, then `{install}` in tests/browser\n{said}"
            );
            std::fs::write(&whole, lock).unwrap();
        }
        folder
    })
}

fn chromium() -> PathBuf {
    let places = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
    #[expect(clippy::disallowed_methods, reason = "to find a program, as a shell does")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = places.iter().flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    found.into_iter().find(|file| file.is_file()).expect("Chromium is missing: try `apt-get install chromium`")
}

/// A standalone that has seen runs of every kind.
struct World {
    home: TempDir,
    standalone: Standalone,
}

impl World {
    fn new() -> World {
        let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
        let standalone = Standalone::start(home.path(), &["--admin-password", PASSWORD]);
        let world = World { home, standalone };
        for (dag, run_id) in [("test_second_try", "broken"), ("test_failing", "failed")] {
            assert_eq!(world.run(&["dags", "trigger", dag, "--run-id", run_id, "--wait"]), 1);
        }
        world
    }

    fn run(&self, arguments: &[&str]) -> i32 {
        run(self.home.path(), arguments).code
    }

    /// Enough runs for lists, bars and grids.
    fn with_history(self) -> World {
        for dag in ["example_chain", "example_diamond", "example_map", "example_branch", "example_setup_teardown"] {
            for _ in 0..6 {
                assert_eq!(self.run(&["dags", "trigger", dag]), 0);
            }
            assert_eq!(self.run(&["dags", "trigger", dag, "--wait"]), 0);
        }
        assert_eq!(self.run(&["dags", "trigger", "example_retry", "--wait"]), 0);
        assert_eq!(self.run(&["dags", "trigger", "example_map", "--run-id", "mapped", "--wait"]), 0);
        assert_eq!(self.run(&["dags", "trigger", "test_lingering", "--run-id", "running"]), 0);
        assert_eq!(
            self.run(&["connections", "add", "sales", "--conn-uri", "postgres://me@db.example.com/shop?a=b"]),
            0
        );
        assert_eq!(self.run(&["variables", "set", "limits", "{\"rows\": 42, \"password\": \"x\"}"]), 0);
        assert_eq!(self.run(&["pools", "set", "crm", "3", "what the shop bears"]), 0);
        let days = ["--from-date", "2026-01-01", "--to-date", "2026-01-02"];
        assert_eq!(self.run(&[&["backfill", "create", "--dag-id", "example_hello"], &days[..]].concat()), 0);
        self
    }

    fn drive(&self, script: &str, arguments: &[&str], settings: &[(&str, String)]) {
        let screens = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens");
        let mut command = Command::new("node");
        command
            .arg(script)
            .args(arguments)
            .current_dir(scripts())
            .envs(settings.iter().map(|(name, value)| (name, value)));
        command.env("ORCH_URL", &self.standalone.url).env("ORCH_PASSWORD", PASSWORD);
        command.env("ORCH_CHROMIUM", chromium()).env("ORCH_SCREENS", &screens);
        let ended = command.output().expect("Node.js is missing: try `apt-get install nodejs npm`");
        let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "{out}\n{err}pictures: {}", screens.display());
    }
}

/// The routes that people look at. Call it where a runtime is: pools of connections belong to one.
fn pages() -> Vec<&'static str> {
    let app = App::new(WebConfig::new("postgres://localhost/nowhere"), Hints::new()).unwrap();
    // A stream is no page, logs and the description of the API are downloaded, the palette is a part of others.
    let looked_at =
        |path: &str| !["/events", "/log", "/palette", "/export", ".json"].iter().any(|end| path.ends_with(end));
    let pages = rules(&app).into_iter().filter(|rule| rule.door == Door::Page && rule.method == Method::GET);
    pages.map(|rule| rule.path).filter(|path| looked_at(path)).collect()
}

#[tokio::test]
async fn every_page_is_right_in_light_in_dark_and_on_a_phone() {
    let world = World::new().with_history();
    let routes = serde_json::to_string(&pages()).unwrap();
    let starts = ["test_lingering/runs/running", "test_second_try/runs/broken/tasks/fetch", "example_map/runs/mapped"];
    let starts = serde_json::to_string(&starts.map(|path| format!("/dags/{path}"))).unwrap();
    world.drive("walk.mjs", &[], &[("ORCH_ROUTES", routes), ("ORCH_STARTS", starts)]);
}

#[test]
fn the_daily_flows_go_by_mouse() {
    World::new().drive("flows.mjs", &["mouse"], &[]);
}

#[test]
fn the_daily_flows_go_by_keyboard_alone() {
    World::new().drive("flows.mjs", &["keyboard"], &[]);
}

#[test]
fn the_daily_flows_go_without_javascript() {
    World::new().drive("flows.mjs", &["plain"], &[]);
}
