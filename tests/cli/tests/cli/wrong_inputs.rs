//! Wrong files, settings, connections and commands, each with the whole message.
//!
//! The cases are in `wrong_inputs/*.txt`. A case has a name (`###`), a command (`$`), its files (`>>>`), and the exit code with all that the
//! command prints (`<<<`). `ORCH_BLESS=1` writes what the commands print now into these files.

use crate::binary::{plain, without_settings};
use crate::world::World;
use orch_document::file::{FileProblem, is_endpoint_file, read_endpoint};
use orch_document::stream::{StreamFile, is_stream_file};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The tables. `true` if their commands find a database with a scheduler and a worker.
const TABLES: [(&str, bool); 5] =
    [("dag_files", false), ("other_files", false), ("settings", false), ("connections", true), ("commands", true)];
/// Number of concurrent commands.
const THREADS: usize = 4;

#[derive(Debug, Default)]
struct Case {
    name: String,
    command: String,
    files: Vec<(String, String)>,
    /// Exit code and output, in the format of the table.
    message: String,
}

impl Case {
    /// Parses the cases of a table.
    fn read(table: &str) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for line in table.lines() {
            if let Some(name) = line.strip_prefix("### ") {
                cases.push(Case { name: name.into(), ..Case::default() });
                continue;
            }
            let case = cases.last_mut().expect("a table starts with the name of a case");
            if let Some(command) = line.strip_prefix("$ ").filter(|_| case.command.is_empty()) {
                case.command = command.into();
            } else if let Some(name) = line.strip_prefix(">>> ") {
                case.files.push((name.into(), String::new()));
            } else {
                let is_message = !case.message.is_empty() || line.starts_with("<<< ");
                let file = case.files.last_mut().filter(|_| !is_message).map(|(_, text)| text);
                let text = file.unwrap_or(&mut case.message);
                text.push_str(line);
                text.push('\n');
            }
        }
        for case in &mut cases {
            case.message = one_end(&case.message);
            case.files.iter_mut().for_each(|(_, text)| *text = one_end(text));
        }
        cases
    }

    /// Formats the case for its table.
    fn write(&self, message: &str) -> String {
        let mut text = format!("### {}\n$ {}\n", self.name, self.command);
        for (name, content) in &self.files {
            write!(text, ">>> {name}\n{content}").unwrap();
        }
        text + message
    }

    /// Returns the problems of a stream or of a published query. The test reads these files itself, because the binary under test runs neither.
    fn problems(&self) -> Option<Vec<FileProblem>> {
        let (name, text) = self.files.first()?;
        if is_stream_file(name) {
            StreamFile::read(name, text.as_bytes()).err()
        } else if is_endpoint_file(name) {
            read_endpoint(name, text.as_bytes()).err()
        } else {
            None
        }
    }
}

/// Returns the text with exactly one newline at the end; an empty text stays empty.
fn one_end(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

/// State shared by all cases: a folder with `orch`, and an installation that some of the commands find.
struct Stage {
    world: World,
    folder: tempfile::TempDir,
    server: String,
    viewer_token: String,
    /// Occupies its port until the test ends.
    taken: TcpListener,
}

impl Stage {
    async fn new() -> Stage {
        let mut world = World::at_work().await;
        let server = world.serve("canary-admin").await;
        world.run(&["users", "create", "-u", "vera", "-r", "viewer", "--use-random-password"]).done();
        let token = world.run(&["users", "create-token", "-u", "vera", "--name", "ci"]).done();
        for (id, uri) in [
            ("reports", "postgres://etl@db.example.com/reports"),
            ("private", "http://10.0.0.1:8080"),
            ("hostless", "http:///orders"),
            ("unknown", "fax://office.example.com"),
        ] {
            world.run(&["connections", "add", id, "--conn-uri", uri]).done();
        }
        let run =
            ["dags", "trigger", "example_chain", "--run-id", "nightly-1", "--logical-date", "2026-01-01", "--wait"];
        world.run(&run).done();
        let folder = tempfile::tempdir().unwrap();
        for installation in ["with", "without"] {
            fs::create_dir_all(folder.path().join(installation).join("data")).unwrap();
        }
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_orch-under-test"), folder.path().join("bin/orch")).unwrap();
        let settings = format!("database_url = {:?}\n", world.url());
        fs::write(folder.path().join("with/data/orch.toml"), settings).unwrap();
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Stage { world, folder, server, viewer_token: token.trim_end().into(), taken }
    }

    /// Runs a case in a new folder. Returns its exit code and what it printed, in the form of the table.
    fn run(&self, case: &Case, number: usize, has_database: bool) -> String {
        if let Some(problems) = case.problems() {
            let problems: Vec<String> = problems.iter().map(FileProblem::to_string).collect();
            return format!("<<< import error\n{}\n", problems.join("\n"));
        }
        let home = self.folder.path().join(if has_database { "with" } else { "without" });
        let folder = self.folder.path().join(format!("case-{number}"));
        fs::create_dir(&folder).unwrap();
        for (name, text) in &case.files {
            fs::write(folder.join(name), text).unwrap();
        }
        let mut command = without_settings(Command::new("/bin/sh"), &home);
        command.arg("-c").arg(&case.command).current_dir(&folder);
        command.env("PATH", format!("{}/bin:/usr/bin:/bin", self.folder.path().display()));
        command.env("DATABASE", self.world.url()).env("SERVER", &self.server);
        command.env("VIEWER_TOKEN", &self.viewer_token).env("TAKEN_PORT", self.taken_port());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a command prints UTF-8");
        let printed = text(&output.stdout) + &text(&output.stderr);
        let code = output.status.code().expect("no signal ends a command");
        format!("<<< exit code {code}\n{}", one_end(&self.without_places(&printed, &folder, &home)))
    }

    fn taken_port(&self) -> String {
        self.taken.local_addr().unwrap().port().to_string()
    }

    /// Replaces paths, URLs and ports that differ between runs of the test.
    fn without_places(&self, text: &str, folder: &Path, home: &Path) -> String {
        let places = [
            (folder.display().to_string(), "/project"),
            (home.display().to_string(), "/home/ada"),
            (self.world.url(), "$DATABASE"),
            (self.server.clone(), "$SERVER"),
            (self.taken_port(), "$TAKEN_PORT"),
        ];
        plain(&places.iter().fold(text.to_owned(), |text, (place, name)| text.replace(place, name)))
    }

    /// Returns the messages of the cases in order.
    fn run_all(&self, cases: &[(Case, bool)]) -> Vec<String> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((case, has_database)) = cases.get(number) else { return done };
                done.push((number, self.run(case, number, *has_database)));
            }
        };
        let mut done = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        done.sort();
        done.into_iter().map(|(_, message)| message).collect()
    }
}

fn path_of(table: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/wrong_inputs/{table}.txt"))
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
async fn every_wrong_input_has_its_message() {
    let stage = Stage::new().await;
    let (mut cases, mut counts) = (Vec::new(), Vec::new());
    for (table, has_database) in TABLES {
        let read = Case::read(&fs::read_to_string(path_of(table)).unwrap());
        counts.push(read.len());
        cases.extend(read.into_iter().map(|case| (case, has_database)));
    }
    assert!(cases.len() >= 100, "there are {} cases", cases.len());
    let messages = stage.run_all(&cases);
    if std::env::var_os("ORCH_BLESS").is_some() {
        let mut texts = cases.iter().zip(&messages).map(|((case, _), message)| case.write(message));
        for ((table, _), count) in TABLES.iter().zip(counts) {
            let cases: Vec<String> = texts.by_ref().take(count).collect();
            fs::write(path_of(table), cases.join("\n")).unwrap();
        }
        return;
    }
    let mut differences = String::new();
    for ((case, _), message) in cases.iter().zip(&messages).filter(|((case, _), message)| case.message != **message) {
        write!(differences, "\n### {}\n$ {}\nexpected\n{}got\n{message}", case.name, case.command, case.message)
            .unwrap();
    }
    assert!(differences.is_empty(), "{differences}\n`ORCH_BLESS=1` writes the new messages into `wrong_inputs/*.txt`");
}
