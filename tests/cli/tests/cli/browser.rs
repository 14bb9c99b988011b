//! The pages in Chromium driven by Playwright: every page in light and dark mode and on a phone, and the five daily
//! workflows by mouse, by keyboard and without JavaScript. Screenshots of failing pages, or of all with
//! `ORCH_TEST_PICTURES=1`, are kept in `target/tmp/screens`.

use crate::binary::run;
use crate::remote::PASSWORD;
use crate::standalone::{Standalone, db_of};
use crate::streams;
use axum::http::Method;
use orch_test_support::browser::drive;
use orch_web::{Door, rules};
use tempfile::TempDir;

/// A dashboard whose query gets no result here; `dags/tests` tests dashboards with data.
const DASHBOARD: &str =
    "title: Orders\npanels:\n  - {title: Orders, type: figure, sql: select count(*) from retail.orders}\n";

/// A standalone with runs of every kind.
struct World {
    home: TempDir,
    standalone: Standalone,
}

impl World {
    fn new() -> World {
        let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
        let folder = home.path().join("data/dags");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("orders.dashboard.yaml"), DASHBOARD).unwrap();
        let standalone = Standalone::start(home.path(), &["--admin-password", PASSWORD]);
        let world = World { home, standalone };
        for (dag, run_id) in [("test_second_try", "broken"), ("test_failing", "failed")] {
            assert_eq!(world.exit_code_of(&["dags", "trigger", dag, "--run-id", run_id, "--wait"]), 1);
        }
        world
    }

    fn exit_code_of(&self, arguments: &[&str]) -> i32 {
        run(self.home.path(), arguments).code
    }

    /// Creates enough runs for lists, bars and grids.
    fn with_history(self) -> World {
        // Creates an approval that stays open.
        assert_eq!(self.exit_code_of(&["dags", "trigger", "example_approval"]), 0);
        for dag in ["example_chain", "example_diamond", "example_map", "example_branch", "example_setup_teardown"] {
            for _ in 0..6 {
                assert_eq!(self.exit_code_of(&["dags", "trigger", dag]), 0);
            }
            assert_eq!(self.exit_code_of(&["dags", "trigger", dag, "--wait"]), 0);
        }
        assert_eq!(self.exit_code_of(&["dags", "trigger", "example_retry", "--wait"]), 0);
        assert_eq!(self.exit_code_of(&["dags", "trigger", "example_map", "--run-id", "mapped", "--wait"]), 0);
        assert_eq!(self.exit_code_of(&["dags", "trigger", "test_lingering", "--run-id", "running"]), 0);
        assert_eq!(
            self.exit_code_of(&["connections", "add", "sales", "--conn-uri", "postgres://me@db.example.com/shop?a=b"]),
            0
        );
        assert_eq!(self.exit_code_of(&["variables", "set", "limits", "{\"rows\": 42, \"password\": \"x\"}"]), 0);
        assert_eq!(self.exit_code_of(&["pools", "set", "crm", "3", "what the shop bears"]), 0);
        assert_eq!(
            self.exit_code_of(&[
                "topics",
                "create",
                "weather",
                "--partitions",
                "2",
                "--description",
                "readings by city"
            ]),
            0
        );
        for (city, reading) in
            [("London", "{\"city\": \"London\", \"temp\": 11.5, \"token\": \"x\"}"), ("Oslo", "-3"), ("Oslo", "")]
        {
            assert_eq!(
                self.exit_code_of(&["topics", "produce", "weather", "--partition", "0", "--key", city, reading]),
                0
            );
        }
        let days = ["--from-date", "2026-01-01", "--to-date", "2026-01-02"];
        assert_eq!(self.exit_code_of(&[&["backfill", "create", "--dag-id", "example_hello"], &days[..]].concat()), 0);
        self
    }

    /// Adds streams, one of them with minutes to draw.
    async fn with_streams(self) -> World {
        let mut db = db_of(self.home.path()).await;
        streams::seed(&mut db).await;
        let minutes = "insert into stream_minute (stream, minute, records, quarantined, lag)
            select 'readings', date_trunc('minute', now()) - n * interval '1 minute', 400 + 37 * (n % 7), 0, 90 * (n % 11)
            from generate_series(1, 150) n where n % 40 > 5";
        sqlx::query(minutes).execute(&mut db).await.unwrap();
        self
    }

    fn drive(&self, script: &str, arguments: &[&str], settings: &[(&str, String)]) {
        drive(script, arguments, (&self.standalone.url, PASSWORD), "screens", settings);
    }
}

/// Returns the routes of pages.
fn pages() -> Vec<&'static str> {
    // Event streams are not pages, logs and the OpenAPI document are downloads, and the palette is part of other pages.
    let looked_at =
        |path: &str| !["/events", "/log", "/palette", "/export", ".json"].iter().any(|end| path.ends_with(end));
    let pages = rules().into_iter().filter(|rule| rule.door == Door::Page && rule.method == Method::GET);
    pages.map(|rule| rule.path).filter(|path| looked_at(path)).collect()
}

#[tokio::test]
async fn every_page_is_right_in_light_in_dark_and_on_a_phone() {
    let world = World::new().with_history().with_streams().await;
    let routes = serde_json::to_string(&pages()).unwrap();
    let starts = [
        "dags/test_lingering/runs/running",
        "dags/test_second_try/runs/broken/tasks/fetch",
        "dags/example_map/runs/mapped",
        "streams/readings",
    ];
    let starts = serde_json::to_string(&starts.map(|path| format!("/{path}"))).unwrap();
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
