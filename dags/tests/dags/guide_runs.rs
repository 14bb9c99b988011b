//! Runs every command that `README.md` and the guides print, next to one standalone with its pipelines.
//!
//! The commands of a guide are one script of bash, in a folder of the guide. The script has one line for each line of
//! the guide, empty outside of the command blocks, so the line numbers of bash are the line numbers of the guide.
//! `guide_runs/run.sh` defines functions named `orch` and `orch-pipelines`, which report each failed command.
//! `guide_runs/before/GUIDE.sh` creates the objects that a guide requires.

use crate::standalone::{PASSWORD, Standalone};
use crate::world::{FinishedCommand, bundle, command};
use orch_test_lake::MIGRATOR;
use orch_test_support::guide::examples;
use orch_test_support::{Receiver, TestDb};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Languages of command blocks. In a `console` block, a command follows `$ `.
const LANGUAGES: [&str; 3] = ["bash", "sh", "console"];

/// Guides whose commands are one script of another test: `first_day.rs` and `guide.rs` in `tests/cli/tests/cli`.
const RUN_ELSEWHERE: [&str; 2] = ["first-day", "rest-api"];

/// Commands that are not run, at most a tenth of all: guide, start of the command, reason.
const NOT_RUN: [(&str, &str, &str); 10] = [
    ("README", "make run", "builds release binaries, which takes 20 minutes"),
    ("README", "make test", "runs this test"),
    ("catalog", "CATALOG_REST_PORT=8181 java", "needs a Hive Metastore or Glue: `make torture` runs this bridge"),
    ("new-project", "orch dev", "compiles orch: `new_project.rs` in `tests/cli` runs it with a replacement for cargo"),
    ("retail", "make run", "builds release binaries, which takes 20 minutes"),
    ("testing", "cargo run -- dags test daily_sales", "compiles orch for a project of a user"),
    ("topics", "orch topics list --connection events", "needs Kafka: `clusters.rs` runs these commands with a broker"),
    ("topics", "orch topics show weather --connection events", "needs Kafka, as above"),
    ("topics", "orch topics tail weather --connection events -f", "needs Kafka, as above"),
    ("topics", "orch topics produce weather '{\"city\": \"Oslo\"}' --connection events", "needs Kafka, as above"),
];

/// Replacements in the scripts: guide, or `*` for all guides; text of the guide; text of the script. `{here}` is the
/// folder of the guide, `{url}` the address of the web server, `{port}` a free port, `{web}` and `{mail}` are the ports
/// of two receivers of alerts.
const REPLACED: [(&str, &str, &str); 33] = [
    // Addresses and paths.
    ("*", "http://localhost:8080", "{url}"),
    ("*", "http://127.0.0.1:9998", "http://127.0.0.1:{port}"),
    ("*", "/srv/dags", "{here}/srv-dags"),
    ("*", "/srv/orch/orch-pipelines", "\"$PIPELINES\""),
    ("*", "/etc/orch/orch.", "{here}/orch."),
    ("*", "postgres://orch@db/orch", "\"$DATABASE_URL\""),
    ("database", "'postgres://orch:secret@db.example.com/orch?sslmode=verify-full'", "\"$DATABASE_URL\""),
    ("several-machines", "postgres://orch:secret@db.example.com/orch?sslmode=verify-full", "\"$DATABASE_URL\""),
    ("backup", "postgres://orch@127.0.0.1/restored", "\"$RESTORED\""),
    ("backup", "/backups/", "{here}/"),
    ("retention", "/backup/orch", "{here}"),
    ("alerts", "https://hooks.slack.com/services", "http://127.0.0.1:{web}"),
    ("alerts", "orch:secret@mail.example.org:587?", "orch:secret@127.0.0.1:{mail}?disable_tls=true&"),
    // Values that a reader fills in.
    ("*", "ORCH_SECRET_KEY=…", "ORCH_SECRET_KEY=$(orch secrets generate-key)"),
    ("publish-queries", "orch_…", "$key"),
    ("alerts", "retry 42", "retry \"$alert\""),
    ("backfills", "wait 1", "wait \"$(newest)\""),
    ("backfills", "show 1", "show \"$active\""),
    ("backfills", "pause 1", "pause \"$active\""),
    ("backfills", "cancel 1", "cancel \"$active\""),
    ("lake-tables", "5764607523034234880", "\"$snapshot\""),
    ("streams", "weather_archive", "openweather_raw"),
    // The stream has read offset 17, and only a record that it has not read can be skipped.
    (
        "streams",
        "skip logging_weather --partition 0 --offset 17",
        "skip -y logging_weather --partition 0 --offset 1000000",
    ),
    // The scheduler of the guide also deletes old rows when it starts, and only one process does so at a time.
    (
        "retention",
        "orch db clean --clean-before-timestamp 2026-08-01 --dry-run",
        "until_ok \"$BINARY\" db clean --clean-before-timestamp 2026-08-01 --yes; \
         orch db clean --clean-before-timestamp 2026-08-01 --dry-run",
    ),
    // The line is from a crontab.
    ("backup", "0 2 * * * ", ""),
    ("backup", "\\%", "%"),
    // Commands that ask for confirmation.
    ("backfills", "orch tasks clear ", "orch tasks clear --yes "),
    // A connection with the name of the guide would replace the sample data of the pipelines.
    ("retail", "spark_default", "spark_of_the_shop"),
    ("retail", "in retail-mysql-connector retail_{", "in retail_{"),
    ("taxi", "add nyc_taxi ", "add taxi_of_the_city "),
    ("weather", "add weather_api ", "add weather_of_hours "),
    ("weather-streams", "add weather_api ", "add weather_of_cities "),
    // The guide adds the same connection three times, as alternatives.
    (
        "spark",
        "orch connections add spark_default --conn-uri 'spark-connect",
        "orch connections delete spark_default --yes; orch connections add spark_default --conn-uri 'spark-connect",
    ),
];

/// Folders of bash, curl, the programs of Postgres, openssl and python.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Number of guides that run at the same time.
const SIDE_BY_SIDE: usize = 2;

struct Guide {
    /// Name of the file without `.md`.
    name: String,
    /// Path from the root of the repository.
    path: String,
    text: String,
}

/// The commands of a text.
#[derive(Default)]
struct Commands<'a> {
    /// Line number and first line of each command.
    found: Vec<(usize, &'a str)>,
    /// Lines of bash, as many as the text has lines.
    script: Vec<String>,
}

/// Returns `README.md` and the guides.
fn guides() -> Vec<Guide> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = std::fs::read_dir(root.join("docs/guides")).unwrap().map(|file| file.unwrap().path());
    let mut paths: Vec<PathBuf> = files.chain([root.join("README.md")]).collect();
    paths.sort();
    let read = |path: &PathBuf| Guide {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        path: path.strip_prefix(&root).unwrap().display().to_string(),
        text: std::fs::read_to_string(path).unwrap(),
    };
    paths.iter().map(read).collect()
}

/// Returns the commands of a text. The script redirects the output of each block into files named after the line of its
/// first fence.
fn commands(text: &str) -> Commands<'_> {
    let mut all = Commands::default();
    let (mut block, mut continues, mut end_of_input) = (None, false, None);
    for (number, line) in (1_usize..).zip(text.lines()) {
        let mut run = String::new();
        match (block, line.strip_prefix("```")) {
            (None, Some(language)) => {
                block = Some(language);
                if LANGUAGES.contains(&language) {
                    run = format!("exec > \"$OUTPUT/{number}.out\" 2> \"$OUTPUT/{number}.err\"");
                }
            }
            (Some(_), Some(_)) => block = None,
            (Some(language), None) if LANGUAGES.contains(&language) => {
                let typed = if language == "console" { line.strip_prefix("$ ").unwrap_or_default() } else { line };
                if let Some(end) = end_of_input {
                    end_of_input = Some(end).filter(|end| *end != typed);
                } else {
                    if !continues && !typed.is_empty() && !typed.starts_with('#') {
                        all.found.push((number, typed));
                    }
                    continues = typed.ends_with('\\');
                    end_of_input = typed.split_once("<<'").and_then(|(_, rest)| rest.split('\'').next());
                }
                run.push_str(typed);
            }
            (_, None) => {}
        }
        all.script.push(run);
    }
    all
}

/// Returns the printed results, which are `text` blocks right after a command block, by the line of the first fence of
/// the commands.
fn results(text: &str) -> BTreeMap<usize, String> {
    let printed: BTreeMap<usize, String> = examples(text, "text").into_iter().collect();
    let blocks = LANGUAGES.iter().flat_map(|language| examples(text, language));
    // Between the blocks are the closing fence, an empty line and the opening fence of the `text` block.
    let result =
        |(line, block): (usize, String)| Some((line - 1, printed.get(&(line + block.lines().count() + 3))?.clone()));
    blocks.filter_map(result).collect()
}

/// Replaces numbers by `#`, and squeezes white space and the lines of tables, whose lengths depend on the numbers.
fn normalized(text: &str) -> String {
    let mut all = String::new();
    for c in text.chars() {
        let c = match c {
            '0'..='9' => '#',
            c if c.is_whitespace() => ' ',
            c => c,
        };
        if !(matches!(c, '#' | ' ' | '=') && all.ends_with(c)) {
            all.push(c);
        }
    }
    all.trim().to_owned()
}

impl Guide {
    /// Returns the script of the guide, with `values` for the names in [`REPLACED`].
    fn script(&self, values: &[(&str, &str)]) -> String {
        let is_run =
            |line: &str| !NOT_RUN.iter().any(|(guide, start, _)| *guide == self.name && line.starts_with(*start));
        let replaced: Vec<(&str, String)> = REPLACED
            .iter()
            .filter(|(guide, ..)| *guide == "*" || *guide == self.name)
            .map(|(_, text, other)| {
                let other = values.iter().fold((*other).to_owned(), |other, (name, value)| other.replace(*name, value));
                (*text, other)
            })
            .collect();
        let mut script = String::new();
        for line in commands(&self.text).script {
            if is_run(&line) {
                script += &replaced.iter().fold(line, |line, (text, other)| line.replace(*text, other));
            }
            script.push('\n');
        }
        script
    }

    /// Writes the files that the guide prints after "Save this as `NAME`" or "Write this as `NAME`".
    fn save_files(&self, here: &Path, dags: &Path) {
        for (at, phrase) in self.text.match_indices(" this as `") {
            let Some((name, rest)) = self.text[at + phrase.len()..].split_once('`') else { continue };
            let Some((sentence, rest)) = rest.split_once("```yaml\n") else { continue };
            let folder = if sentence.contains("folder of DAG files") { dags } else { here };
            let (file, _) = rest.split_once("```").unwrap();
            std::fs::write(folder.join(name), file).unwrap();
        }
    }

    /// Runs the commands of the guide and returns a message for each command that failed.
    fn run(&self, standalone: &Standalone, db: &TestDb, receivers: [u16; 2]) -> Vec<String> {
        let home = standalone.home.path();
        let (here, dags) = (home.join("guides").join(&self.name), home.join("data/dags"));
        std::fs::create_dir_all(&here).unwrap();
        self.save_files(&here, &dags);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let [web, mail, port] = [receivers[0], receivers[1], port].map(|port| port.to_string());
        let folder = here.display().to_string();
        let values = [
            ("{here}", folder.as_str()),
            ("{url}", standalone.url.as_str()),
            ("{port}", port.as_str()),
            ("{web}", web.as_str()),
            ("{mail}", mail.as_str()),
        ];
        std::fs::write(here.join("commands.sh"), self.script(&values)).unwrap();

        let (orch, scripts) = (command(home), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dags/guide_runs"));
        let mut shell = Command::new("bash");
        shell.arg(scripts.join("run.sh")).current_dir(&here).stdin(Stdio::null());
        shell.env_clear().envs(orch.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("PATH", PATH).env("HOME", &here).env("OUTPUT", &here).env("DAGS", &dags);
        shell.env("BINARY", orch.get_program()).env("PIPELINES", bundle(home).get_program());
        shell.env("GUIDE", &self.name).env("BEFORE", scripts.join(format!("before/{}.sh", self.name)));
        shell.env("URL", &standalone.url).env("PASSWORD", PASSWORD).env("FREE_PORT", &port);
        shell.env("DATABASE", db.name()).env("DATABASE_URL", db.url()).env("FAILURES", here.join("failures"));
        let ended = shell.output().unwrap();
        let before =
            [ended.stdout, ended.stderr].map(|printed| String::from_utf8_lossy(&printed).into_owned()).concat();

        let read = |name: &str| std::fs::read_to_string(here.join(name)).unwrap_or_default();
        let mut failures = Vec::new();
        for failure in read("failures").lines() {
            let mut parts = failure.splitn(4, '\t');
            let [script, line, code, command] = [(); 4].map(|()| parts.next().unwrap_or_default());
            if script == "guide" {
                let line: usize = line.parse().unwrap();
                let block = (1..=line).rev().find(|number| here.join(format!("{number}.err")).exists()).unwrap_or(0);
                let (out, err) = (read(&format!("{block}.out")), read(&format!("{block}.err")));
                failures.push(format!("{}:{line}: exit code {code}: {command}\n{out}{err}", self.path));
            } else {
                let name = &self.name;
                failures.push(format!("{script} of {name}, line {line}: exit code {code}: {command}\n{before}"));
            }
        }
        for (line, result) in results(&self.text) {
            let printed = read(&format!("{line}.out"));
            if normalized(&printed) != normalized(&result) {
                failures.push(format!("{}:{line}: the commands print\n{printed}", self.path));
            }
        }
        failures
    }
}

/// Runs the guides and returns a message for each command that failed.
fn run_all(guides: Vec<(Guide, TestDb)>, receivers: [u16; 2]) -> Vec<String> {
    let standalone = Standalone::start_with("test_connection = true\ntest_networks = \"127.0.0.1\"\n");
    let dags = standalone.home.path().join("data/dags");
    std::fs::create_dir_all(&dags).unwrap();
    std::fs::write(dags.join("guides.yaml"), include_str!("guide_runs/dags.yaml")).unwrap();
    standalone.wait_for(&["dags", "details", "noisy"], |ended| ended.code == 0);
    for dag in ["nyc_weather_etl", "nyc_taxi_iceberg_etl"] {
        standalone.run(&["dags", "trigger", dag, "--wait"]).done();
    }
    let (guides, failures) = (Mutex::new(guides.into_iter()), Mutex::new(Vec::new()));
    let next = || guides.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((guide, db)) = next() {
                    let failed = guide.run(&standalone, &db, receivers);
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[tokio::test]
async fn commands_of_the_guides_succeed() {
    let (web, mail) = (Receiver::http().await, Receiver::smtp().await);
    let receivers = [web.port(), mail.port()];
    let mut work = Vec::new();
    for guide in guides() {
        if !RUN_ELSEWHERE.contains(&guide.name.as_str()) && !commands(&guide.text).found.is_empty() {
            work.push((guide, TestDb::new(&MIGRATOR).await));
        }
    }
    let failures = tokio::task::spawn_blocking(move || run_all(work, receivers)).await.unwrap();
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// `--help` is printed only if the arguments in front of it are valid.
#[test]
fn commands_that_are_not_run_have_valid_arguments() {
    let home = tempfile::tempdir().unwrap();
    let orch = command(home.path());
    let path = format!("{}:{PATH}", Path::new(orch.get_program()).parent().unwrap().display());
    for (name, start, _) in NOT_RUN.into_iter().filter(|(_, start, _)| start.starts_with("orch ")) {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("{start} --help")]).env("PATH", &path);
        let ended = FinishedCommand::of(&shell.output().unwrap());
        assert!(ended.code == 0 && ended.out.contains("Usage: "), "{name}: {start}: {ended:?}");
    }
}

#[test]
fn nine_tenths_of_the_commands_run_and_every_exception_is_in_a_guide() {
    let guides = guides();
    let all: Vec<(&Guide, Commands<'_>)> = guides.iter().map(|guide| (guide, commands(&guide.text))).collect();
    for (name, start, reason) in NOT_RUN {
        let mut found = all.iter().filter(|(guide, _)| guide.name == name).flat_map(|(_, commands)| &commands.found);
        assert!(found.any(|(_, command)| command.starts_with(start)), "{name} has no command `{start}` ({reason})");
    }
    for (name, text, _) in REPLACED {
        let of_guide = all.iter().filter(|(guide, _)| name == "*" || guide.name == name);
        let mut lines = of_guide.flat_map(|(_, commands)| &commands.script);
        assert!(lines.any(|line| line.contains(text)), "{name} has no command with `{text}`");
    }
    for name in RUN_ELSEWHERE {
        assert!(guides.iter().any(|guide| guide.name == name), "{name}");
    }
    let before = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dags/guide_runs/before")).unwrap();
    for script in before.map(|script| script.unwrap().path()) {
        let name = script.file_stem().unwrap().to_string_lossy();
        assert!(guides.iter().any(|guide| guide.name == *name), "there is no guide for `{}`", script.display());
    }
    let printed: usize = guides.iter().map(|guide| results(&guide.text).len()).sum();
    assert!(printed >= 2, "{printed} results");
    let count: usize = all.iter().map(|(_, commands)| commands.found.len()).sum();
    assert!(count > 300, "{count} commands");
    assert!(NOT_RUN.len() * 10 <= count, "{} of {count} commands are not run", NOT_RUN.len());
}

#[test]
fn commands_are_found_with_their_lines_and_results() {
    let text = "# A\n\n```bash\n# why\norch a \\\n  --b\ncat <<'END'\nx\nEND\n```\n\n```text\n12  rows\n```\n\n\
                ```console\n$ orch c\nd\n```\n";
    let all = commands(text);
    assert_eq!(all.found, [(5, "orch a \\"), (7, "cat <<'END'"), (17, "orch c")]);
    assert_eq!(all.script.len(), text.lines().count());
    assert_eq!(
        (all.script[6].as_str(), all.script[16].as_str(), all.script[17].as_str()),
        ("cat <<'END'", "orch c", "")
    );
    assert_eq!(results(text), BTreeMap::from([(3, "12  rows\n".to_owned())]));
    assert_eq!(normalized("\n12  rows\n====\n"), normalized("7 rows\n==\n"));
}
