//! A bundle of a standalone: its DAGs run in a separate process, which may be missing, built later, or killed.

use crate::binary::{CommandOutput, command, run, without_settings};
use crate::live::Browser;
use crate::remote::PASSWORD;
use crate::standalone::Standalone;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BUNDLE: &str = env!("CARGO_BIN_EXE_orch-bundle-under-test");
const PATIENCE: Duration = Duration::from_mins(1);

/// A standalone with the path of a bundle, which may not exist.
struct StandaloneWithBundle {
    home: TempDir,
    standalone: Standalone,
}

impl StandaloneWithBundle {
    fn start(bundle: impl FnOnce(&Path) -> std::path::PathBuf) -> StandaloneWithBundle {
        let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
        let mut command = command(home.path());
        command.env("ORCH_BUNDLE", bundle(home.path()));
        let standalone = Standalone::start_by(command, &["--admin-password", PASSWORD]);
        StandaloneWithBundle { home, standalone }
    }

    fn with_bundle() -> StandaloneWithBundle {
        StandaloneWithBundle::start(|_| BUNDLE.into())
    }

    fn orch(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = command(self.home.path());
        CommandOutput::of(&command.env("ORCH_BUNDLE", BUNDLE).args(arguments).output().unwrap())
    }

    /// Polls a command until its output contains the word, because other processes send no events. Returns the output.
    fn says(&self, arguments: &[&str], word: &str) -> String {
        let began = Instant::now();
        loop {
            let ended = self.orch(arguments);
            if ended.out.contains(word) {
                return ended.out;
            }
            assert!(began.elapsed() < PATIENCE, "{arguments:?} does not say `{word}`: {ended:?}");
        }
    }

    fn joined(&self) {
        self.says(&["dags", "list", "-o", "plain"], "test_bundled");
    }

    fn browser(&self) -> Browser {
        Browser::log_in(self.standalone.url.rsplit(':').next().unwrap().parse().unwrap())
    }

    /// Returns the bundle processes in which a run has executed.
    fn processes(&self, run: &str) -> Vec<Pid> {
        let log = self.says(&["tasks", "logs", "test_bundled", "tell", run], "the bundle is process ");
        let told = log.lines().filter_map(|line| line.split_once("the bundle is process "));
        told.map(|(_, pid)| Pid::from_raw(pid.trim().parse().unwrap())).collect()
    }
}

/// Waits until the home page shows no problem of the bundle: its worker registers before the standalone notices.
fn is_well(browser: &Browser) {
    let began = Instant::now();
    loop {
        let page = browser.get("/");
        if !page.contains("data-part=\"bundle\"") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{page}");
    }
}

#[test]
fn the_dags_of_a_bundle_run_in_its_own_process_with_the_connections_it_brings() {
    let both = StandaloneWithBundle::with_bundle();
    both.joined();
    both.orch(&["dags", "trigger", "test_bundled", "--run-id", "one", "--wait"]).done();
    both.says(&["tasks", "logs", "test_bundled", "tell", "one"], "the bundle works in data");
    assert_ne!(both.processes("one"), [both.standalone.pid()]);
    assert!(both.orch(&["connections", "list", "-o", "plain"]).done().contains("bundled_place"));
    let found = both.orch(&["connections", "get", "bundled_place", "-o", "json"]).json();
    assert_eq!(found["conn_type"], "place", "{found}");
    let page = both.browser().get("/connections");
    assert!(page.contains("bundled_place"), "{page}");
    let refused = both.orch(&["dags", "diff", "test_bundled", "--local"]).refused();
    assert_eq!(
        refused,
        "error: neither this binary nor the folder of DAG files contains dag `test_bundled`\n\
        hint: the DAGs of a project are in its own binary: start its worker, then compare the two newest versions with \
        `orch dags diff test_bundled`\n"
    );
}

#[test]
fn a_bundle_that_is_killed_comes_back_and_its_run_goes_on() {
    let both = StandaloneWithBundle::with_bundle();
    both.joined();
    let socket = both.home.path().join("until");
    let until = UnixListener::bind(&socket).unwrap();
    let conf = serde_json::json!({ "until": socket }).to_string();
    both.orch(&["dags", "trigger", "test_bundled", "--run-id", "cut", "--conf", &conf]).done();
    let before = both.processes("cut");
    kill(before[0], Signal::SIGKILL).unwrap();
    drop(until);
    both.orch(&["runs", "wait", "test_bundled", "cut"]).done();
    let after = both.processes("cut");
    assert!(after.len() > before.len() && after.last() != before.last(), "{before:?} {after:?}");
    is_well(&both.browser());
}

#[test]
fn a_bundle_that_is_built_later_is_announced_and_joins() {
    let both = StandaloneWithBundle::start(|home| home.join("later"));
    let browser = both.browser();
    let place = both.home.path().join("later");
    let missing = browser.get_when("/", "The pipelines are missing");
    assert!(missing.contains(&place.display().to_string()), "{missing}");
    let refused = run(both.home.path(), ["sql", "select 1"]).refused();
    assert!(refused.contains("this server has no tables: they come with a bundle"), "{refused}");
    let page = browser.get("/lake");
    assert!(page.contains("which is not there") && page.contains("make build"), "{page}");

    let note = place.with_extension("building");
    std::fs::write(&note, format!("{} 361 722", std::process::id())).unwrap();
    browser.get_when("/", "later: building, 50 %");
    std::fs::remove_file(&note).unwrap();
    let copied = place.with_extension("new");
    std::fs::copy(BUNDLE, &copied).unwrap();
    std::fs::rename(&copied, &place).unwrap();
    both.joined();
    is_well(&browser);
    // A new bundle that exits immediately changes nothing: the previous one keeps running.
    std::fs::write(&copied, "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(&copied, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(&copied, &place).unwrap();
    both.orch(&["dags", "trigger", "test_bundled", "--wait"]).done();
}

#[test]
fn a_bundle_has_what_needs_its_bodies_and_says_where_the_rest_is() {
    let home = tempfile::tempdir().unwrap();
    let bundle = |arguments: &[&str]| {
        let mut command = without_settings(Command::new(BUNDLE), home.path());
        CommandOutput::of(&command.args(arguments).output().unwrap())
    };
    let ran = bundle(&["dags", "test", "test_bundled"]);
    assert!(ran.code == 0 && ran.err.contains("the bundle works in orch-test-"), "{ran:?}");
    for (arguments, command) in [(&["standalone"][..], "standalone"), (&["dags", "trigger", "x"], "dags trigger")] {
        let refused = bundle(arguments).refused();
        assert_eq!(
            refused,
            format!(
                "error: a bundle has no command `{command}`\n\
                hint: try `orch {command}`; `--help` lists the commands of a bundle\n"
            )
        );
    }
}
