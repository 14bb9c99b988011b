//! Tests of pages in Chromium driven by Playwright. Playwright and axe-core are installed once, below the target
//! folder; if a program is missing, the test fails with the command that installs it. Screenshots are kept in
//! `target/tmp/screens`.

use crate::shared::target;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const LOCK: &str = include_str!("../../browser/package-lock.json");
const SCRIPTS: [(&str, &str); 5] = [
    ("package.json", include_str!("../../browser/package.json")),
    ("package-lock.json", LOCK),
    ("browser.mjs", include_str!("../../browser/browser.mjs")),
    ("walk.mjs", include_str!("../../browser/walk.mjs")),
    ("flows.mjs", include_str!("../../browser/flows.mjs")),
];

/// Runs a script of `tests/browser` against a server, logged in as admin. The test fails with the problems that the
/// script reports. Its screenshots are in the folder `screens`.
pub fn drive(
    script: &str,
    arguments: &[&str],
    (url, password): (&str, &str),
    screens: &str,
    settings: &[(&str, String)],
) {
    let screens = target().join("tmp").join(screens);
    let mut command = Command::new("node");
    command.arg(script).args(arguments).current_dir(scripts());
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    command.env("ORCH_URL", url).env("ORCH_PASSWORD", password);
    command.env("ORCH_CHROMIUM", chromium()).env("ORCH_SCREENS", &screens);
    let ended = command.output().expect("Node.js is missing: try `apt-get install nodejs npm`");
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}pictures: {}", screens.display());
}

/// Returns the folder with the scripts and their dependencies. If several test processes need it, the first one
/// installs it and the others wait.
fn scripts() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = target().join("tmp/browser");
        let whole = folder.join("node_modules/installed");
        std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot make `{}`: {error}", folder.display()));
        let lock = File::create(folder.with_extension("lock")).and_then(|lock| lock.lock().map(|()| lock));
        let _lock = lock.unwrap_or_else(|error| panic!("cannot lock `{}`: {error}", folder.display()));
        for (name, text) in SCRIPTS {
            write(&folder.join(name), text);
        }
        if std::fs::read_to_string(&whole).ok().as_deref() != Some(LOCK) {
            let install = "npm ci --ignore-scripts --no-audit --no-fund";
            let done = Command::new("sh").args(["-c", install]).current_dir(&folder).output();
            let done = done.unwrap_or_else(|error| panic!("cannot run `sh`: {error}"));
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let hint = format!("try `make setup`, then `{install}` in tests/browser");
            assert!(done.status.success(), "no Playwright: {hint}\n{said}");
            write(&whole, LOCK);
        }
        folder
    })
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap_or_else(|error| panic!("cannot write `{}`: {error}", file.display()));
}

fn chromium() -> PathBuf {
    let places = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
    #[expect(clippy::disallowed_methods, reason = "to find a program, as a shell does")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = places.iter().flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    found.into_iter().find(|file| file.is_file()).expect("Chromium is missing: try `apt-get install chromium`")
}
