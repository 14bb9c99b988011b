//! From an empty folder to an edited pipeline, like a new user: `orch new`, `orch dev`, an edit during a run.
//!
//! A script replaces cargo: it compiles the project with the crates that this test run was built with. Real cargo would
//! build all of them again with the features of the project, which takes minutes.

use crate::binary::{CommandOutput, command, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_test_support::until;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant, SystemTime};

/// Compiling and linking the project takes about ten seconds while other tests run.
const PATIENCE: Duration = Duration::from_mins(3);

#[test]
fn a_new_project_is_written_once_and_under_a_name_that_cargo_takes() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("my-pipelines");
    let said = run(home.path(), ["new", text(&folder)]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    assert!(said.err.contains("project `my-pipelines` is in `") && said.err.contains("orch dev"), "{said:?}");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../orch").canonicalize().unwrap();
    let stated = manifest.lines().find_map(|line| line.strip_prefix("orch = { path = \"")).unwrap();
    let stated = Path::new(stated.trim_end_matches("\" }")).canonicalize().unwrap();
    assert_eq!(stated, here, "the binary was built from this checkout");
    let mut files: Vec<String> = walk(&folder);
    files.sort();
    assert_eq!(files, [".gitignore", "Cargo.lock", "Cargo.toml", "README.md", "src/main.rs"]);

    let again = run(home.path(), ["new", text(&folder)]).refused();
    assert!(again.ends_with("is there and not empty\nhint: choose another folder; nothing was written\n"), "{again}");
    let named = run(home.path(), ["new", text(&home.path().join("My Pipelines"))]).refused();
    assert_eq!(
        named,
        "error: ` ` cannot be in the name of a project\nhint: call it `my-pipelines`: `--name my-pipelines`\n"
    );
    assert!(!home.path().join("My Pipelines").exists());
    let no_orch = run(home.path(), ["new", text(&home.path().join("x")), "--path", "/tmp"]).refused();
    assert!(no_orch.starts_with("error: there is no crate `orch` in `"), "{no_orch}");
    let other = home.path().join("y");
    let git = ["new", text(&other), "--git", "https://example.com/orch.git", "--tag", "v1"];
    run(home.path(), git).done();
    let manifest = std::fs::read_to_string(other.join("Cargo.toml")).unwrap();
    assert!(manifest.contains(r#"orch = { git = "https://example.com/orch.git", tag = "v1" }"#), "{manifest}");
}

#[test]
fn a_folder_without_a_project_is_told_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let refused = run(home.path(), ["dev", "--project", text(home.path())]).refused();
    assert!(refused.contains("there is no project in `") && refused.contains("orch new my-pipelines"), "{refused}");
}

#[test]
fn what_is_edited_runs_next_and_what_is_under_way_goes_on() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let project = home.path().join("my-pipelines");
    run(home.path(), ["new", text(&project)]).done();
    let first = std::fs::read_to_string(project.join("src/main.rs")).unwrap();
    let mut dev = Dev::start(home.path(), &project);
    dev.hear("worker my-pipelines-1 is at work");
    let orch = |arguments: &[&str]| run(home.path(), arguments);
    assert_eq!(orch(&["dags", "trigger", "daily_sales", "--run-id", "first", "--wait"]).code, 0);

    // Adds a task that waits for the gate.
    let gate = home.path().join("gate");
    let hold = format!("until [ -e {} ]; do sleep 0.1; done", gate.display());
    edit(
        &project,
        "d.add(report(sold));",
        &format!("let held = d.add(shell(\"{hold}\").id(\"hold\"));\n            d.add(report(sold).after(held));"),
    );
    dev.hear("src/main.rs changed: building");
    dev.hear("worker my-pipelines-2 is at work");
    dev.hear("worker my-pipelines-1 has ended");
    orch(&["dags", "trigger", "daily_sales", "--run-id", "under-way"]).done();
    let is_held = |ended: &CommandOutput| ended.out.contains("running");
    wait_for(home.path(), &["tasks", "state", "daily_sales", "hold", "under-way"], is_held);

    edit(&project, "fn daily_sales() -> Dag {", "fn daily_sales() -> Dog {");
    let said = dev.hear("it does not build: my-pipelines-2 stays at work");
    assert!(said.iter().any(|line| line.contains("cannot find type `Dog`")), "{said:#?}");
    edit(&project, "fn daily_sales() -> Dog {", "fn daily_sales() -> -> Dag {");
    let said = dev.hear("it does not build: my-pipelines-2 stays at work");
    assert!(said.iter().any(|line| line.starts_with("error: ") && line.contains("`->`")), "{said:#?}");
    // The original structure, with another text.
    std::fs::write(project.join("src/main.rs"), first.replace("euros in {}", "EUR in {}")).unwrap();
    dev.hear("worker my-pipelines-3 is at work");

    // The next run uses the latest source while the previous run is still active.
    assert_eq!(orch(&["dags", "trigger", "daily_sales", "--run-id", "next", "--wait"]).code, 0);
    let log = |run: &str| orch(&["tasks", "logs", "daily_sales", "report", run]).out;
    assert!(log("next").contains("EUR in"), "{}", log("next"));
    let state = orch(&["tasks", "state", "daily_sales", "hold", "under-way"]).done();
    assert_eq!(state.trim(), "running");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(orch(&["runs", "wait", "under-way"]).code, 0);
    assert!(log("under-way").contains("euros in"), "it ended in the binary it began in: {}", log("under-way"));
    dev.hear("worker my-pipelines-2 has ended");
    let versions = orch(&["dags", "versions", "daily_sales", "-o", "json"]).json();
    let newest: Vec<_> = versions.as_array().unwrap().iter().map(|version| version["newest"].clone()).collect();
    assert_eq!(newest, [false, true], "what it was and became again is one version: {versions}");

    // A killed worker is restarted, and runs that are triggered meanwhile are executed.
    let pid = dev.workers()[0].split_whitespace().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    orch(&["dags", "trigger", "daily_sales", "--run-id", "after-a-crash"]).done();
    dev.hear("worker my-pipelines-3 ended by itself (signal: 9 (SIGKILL)): it is started again");
    dev.hear("worker my-pipelines-3 is at work");
    assert_eq!(orch(&["runs", "wait", "after-a-crash"]).code, 0);

    let workers = dev.end();
    assert!(workers.is_empty(), "no worker is left: {workers:?}");
    let left = std::fs::read_dir(home.path().join("data/dev")).unwrap().count();
    assert_eq!(left, 0, "copies of binaries go with their workers");
}

/// `orch dev` and its output.
struct Dev {
    child: Child,
    lines: Receiver<String>,
}

impl Dev {
    fn start(home: &Path, project: &Path) -> Dev {
        let tools = home.join("tools");
        write_cargo(&tools);
        let mut command = command(home);
        command.args(["dev", "--port", "0", "--lease", "2s"]).current_dir(project).env("PATH", path_with(&tools));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Dev { child, lines }
    }

    /// Returns the output up to a line with these words.
    #[track_caller]
    fn hear(&mut self, words: &str) -> Vec<String> {
        let (began, mut said) = (Instant::now(), Vec::new());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
            let is_it = line.contains(words);
            said.push(line);
            if is_it {
                return said;
            }
        }
        panic!("it does not say {words:?}: {said:#?}");
    }

    /// Returns the pid and the arguments of each worker.
    fn workers(&self) -> Vec<String> {
        let pid = self.child.id().to_string();
        let listed = Command::new("ps").args(["-o", "pid=,args=", "--ppid", &pid]).output().unwrap();
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        text.lines().filter(|line| line.contains(" worker ")).map(str::to_owned).collect()
    }

    /// Stops it like Ctrl-C. Returns the pids of remaining workers.
    fn end(mut self) -> Vec<String> {
        let workers = self.workers();
        assert_eq!(workers.len(), 1, "{workers:?}");
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let is_left = |line: &String| {
            let pid = line.split_whitespace().next().unwrap();
            Path::new("/proc").join(pid).join("exe").exists()
        };
        workers.into_iter().filter(is_left).collect()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// Writes a fake cargo with the two commands that `orch dev` uses: metadata and build.
fn write_cargo(folder: &Path) {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let orch = libraries(&deps, "liborch-").pop().unwrap();
    // Several builds with other features may exist: the one that `orch` was built with is needed.
    let fitting = |name: &str, derived: &str| {
        let found = libraries(&deps, &format!("lib{name}-"));
        found.into_iter().find(|library| fit(folder, &deps, &orch, (name, library), derived)).unwrap()
    };
    let serde = fitting("serde", "#[derive(Serialize)] struct A; fn main() { println!(\"{}\", json!(A)); }");
    let schemars =
        fitting("schemars", "#[derive(JsonSchema)] struct A; fn is<T: JsonSchema>() {} fn main() { is::<A>(); }");
    let script = format!(
        r#"#!/bin/sh
set -eu
if [ "$1" = metadata ]; then
    for manifest; do :; done
    printf '{{"packages":[{{"manifest_path":"%s","targets":[{{"name":"my-pipelines","kind":["bin"]}}]}}]}}' "$manifest"
    exit 0
fi
# Cargo completes the lock file in the first build of a project, too.
grep -q '"my-pipelines"' Cargo.lock || printf '\n[[package]]\nname = "my-pipelines"\nversion = "0.1.0"\n' >> Cargo.lock
mkdir -p target
'{rustc}' --edition 2024 --crate-name my_pipelines --color never src/main.rs -o target/my-pipelines -L all='{deps}' \
    --extern orch='{orch}' --extern serde='{serde}' --extern schemars='{schemars}'
printf '{{"reason":"compiler-artifact","target":{{"name":"my-pipelines"}},"executable":"%s/target/my-pipelines"}}\n' "$PWD"
"#,
        rustc = rustc().display(),
        deps = deps.display(),
        orch = orch.display(),
        serde = serde.display(),
        schemars = schemars.display(),
    );
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("cargo");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns the compiler itself, not the rustup wrapper, which selects a toolchain by files in the user's home folder.
fn rustc() -> PathBuf {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    Path::new(String::from_utf8(asked.stdout).unwrap().trim()).join("bin/rustc")
}

/// Returns true if a program that uses the derive macros of this library compiles with `orch`.
fn fit(folder: &Path, deps: &Path, orch: &Path, (name, library): (&str, &Path), derived: &str) -> bool {
    std::fs::create_dir_all(folder).unwrap();
    let source = folder.join("probe.rs");
    std::fs::write(&source, format!("use orch::prelude::*; {derived}")).unwrap();
    let mut command = Command::new(rustc());
    command.args(["--edition", "2024", "--emit=metadata", "-L"]).arg(format!("dependency={}", deps.display()));
    command.arg(format!("--extern=orch={}", orch.display())).arg(format!("--extern={name}={}", library.display()));
    command.arg("-o").arg(folder.join("probe.rmeta")).arg(&source).output().unwrap().status.success()
}

/// Returns the libraries of a name, the latest build last.
fn libraries(folder: &Path, start: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(start) && path.extension().is_some_and(|ending| ending == "rlib")
    });
    let built = |path: &PathBuf| path.metadata().and_then(|facts| facts.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut found: Vec<PathBuf> = found.collect();
    found.sort_by_key(built);
    found
}

#[expect(clippy::disallowed_methods, reason = "where compilers are is no setting of orch")]
fn path_with(folder: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

#[track_caller]
fn edit(project: &Path, from: &str, to: &str) {
    let path = project.join("src/main.rs");
    let source = std::fs::read_to_string(&path).unwrap();
    assert!(source.contains(from), "{from}: {source}");
    std::fs::write(&path, source.replacen(from, to, 1)).unwrap();
}

fn wait_for(home: &Path, arguments: &[&str], is_it: impl Fn(&CommandOutput) -> bool) {
    until(&format!("what {arguments:?} is to say"), || {
        let ended = run(home, arguments);
        if is_it(&ended) { Ok(()) } else { Err(format!("{ended:?}")) }
    });
}

fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inside) = open.pop() {
        for entry in std::fs::read_dir(inside).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
