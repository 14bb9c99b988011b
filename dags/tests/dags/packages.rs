//! The packages of `make dist`, built from the binaries of the tests. Each is installed in an empty environment and run
//! there.

use crate::http::ask;
use crate::world::command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_test_support::{PrivateServer, until};
use std::ffi::OsStr;
use std::io::BufRead as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Maximum time from `pip install` to the tables of a whole pipeline.
const FIRST_PIPELINE_WITHIN: Duration = Duration::from_mins(1);
/// DAG file for the folder that the unit of the worker watches.
const HELLO: &str = "dag_id: hello\ntasks:\n  greet: {bash: echo hello from the package}\n";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns the output of a command, which must succeed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{err}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns a command whose environment contains only a home and the path of system programs.
fn alone(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn packages() -> (TempDir, Vec<PathBuf>) {
    let home = tempfile::tempdir().unwrap();
    let orch = command(home.path()).get_program().to_owned();
    let binaries = Path::new(&orch).parent().unwrap();
    let mut made = Command::new(root().join("scripts/dist.sh"));
    let made = said(made.args([binaries, home.path()]).arg("--fast"));
    let made = made.lines().map(PathBuf::from).collect();
    (home, made)
}

fn of_kind<'a>(made: &'a [PathBuf], kind: &str) -> &'a Path {
    let found = made.iter().find(|file| file.extension() == Some(OsStr::new(kind)));
    found.unwrap_or_else(|| panic!("no {kind} among {made:?}"))
}

/// A child process that is stopped with SIGTERM on drop, like systemd stops it.
struct RunningProcess(Child);

impl RunningProcess {
    fn stop(&mut self) -> ExitStatus {
        // The pid of a process that was already reaped may belong to another process.
        if self.0.try_wait().unwrap().is_none() {
            kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM).unwrap();
        }
        self.0.wait().unwrap()
    }
}

impl Drop for RunningProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a standalone of an installed binary, with its pipelines.
fn standalone(orch: &Path, home: &Path) -> RunningProcess {
    let mut standalone = alone(orch, home);
    standalone.args(["standalone", "--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = RunningProcess(standalone.spawn().unwrap());
    let mut lines = std::io::BufReader::new(running.0.stdout.take().unwrap()).lines();
    lines.next().expect("it says its address").unwrap();
    until_joined(|| alone(orch, home));
    running
}

/// Waits until the bundle, which has the pipelines, has joined.
fn until_joined(orch: impl Fn() -> Command) {
    until("the bundle to join", || {
        let listed = said(orch().args(["dags", "list", "-o", "plain"]));
        if listed.contains("retail_medallion") { Ok(()) } else { Err(listed) }
    });
}

/// Runs a DAG and waits until its log contains these words. The log may appear after the end of the run.
fn greets(orch: impl Fn() -> Command, dag: &str, words: &str) {
    said(orch().args(["dags", "trigger", dag, "--run-id", "first", "--wait"]));
    until("the log of the greeting", || {
        let log = said(orch().args(["tasks", "logs", dag, "greet", "first"]));
        if log.contains(words) { Ok(()) } else { Err(log) }
    });
}

/// Runs a standalone of the unpacked archive, without any other files.
fn archive_runs(archive: &Path, place: &Path) {
    let unpacked = place.join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    said(alone("tar", &unpacked).args(["--strip-components=1", "-xzf"]).arg(archive).arg("-C").arg(&unpacked));
    let version = format!(" {}\n", env!("CARGO_PKG_VERSION"));
    for name in ["orch", "orch-pipelines"] {
        assert!(said(alone(unpacked.join(name), &unpacked).arg("--version")).ends_with(&version));
    }
    let orch = unpacked.join("orch");
    let _running = standalone(&orch, &unpacked);
    greets(|| alone(&orch, &unpacked), "example_hello", "this is run first");
}

/// Installs a package with dpkg into another root. Its script creates settings there and starts nothing.
fn install(package: &Path, root: &Path) -> String {
    std::fs::create_dir_all(root.join("var/lib/dpkg")).unwrap();
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let mut dpkg = alone("dpkg", root);
    dpkg.arg(format!("--root={}", root.display()));
    dpkg.args(["--force-not-root", "--force-depends", "--force-script-chrootless", "--install"]);
    said(dpkg.arg(package))
}

/// A package that is installed into a folder instead of the root of a machine.
struct InstalledPackage {
    root: PathBuf,
}

impl InstalledPackage {
    /// Returns the values of a key in a unit file. Absolute paths in them are moved into the folder.
    fn of_unit(&self, unit: &str, key: &str) -> Vec<String> {
        let file = self.root.join(format!("usr/lib/systemd/system/{unit}.service"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let line = line.unwrap_or_else(|| panic!("{unit} says no {key}"));
        line.split(' ').map(|word| self.inside(word)).collect()
    }

    fn inside(&self, word: &str) -> String {
        if word.starts_with('/') { format!("{}{word}", self.root.display()) } else { word.to_owned() }
    }

    /// Returns the settings of a unit, parsed like systemd parses its environment file.
    fn settings(&self, unit: &str) -> Vec<(String, String)> {
        let file = self.of_unit(unit, "EnvironmentFile").remove(0);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), self.inside(value))).collect()
    }

    /// Starts a unit like systemd does.
    fn start(&self, unit: &str) -> RunningProcess {
        let words = self.of_unit(unit, "ExecStart");
        let log = std::fs::File::create(self.log(unit)).unwrap();
        let mut command = alone(&words[0], &self.root);
        command.args(&words[1..]).envs(self.settings(unit)).stdin(Stdio::null());
        command.current_dir(&self.of_unit(unit, "WorkingDirectory")[0]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        RunningProcess(command.spawn().unwrap_or_else(|error| panic!("{unit}: {error}")))
    }

    fn log(&self, unit: &str) -> PathBuf {
        self.root.join(format!("{unit}.log"))
    }

    /// Returns a command with the settings in its environment, like in the shell of a user.
    fn orch(&self) -> Command {
        let mut orch = alone(self.root.join("usr/bin/orch"), &self.root);
        orch.envs(self.settings("orch-web"));
        orch
    }
}

/// The units of the package start the roles of a machine, with the settings that its script created.
async fn units_run(package: &Path, place: &Path) {
    let installed = InstalledPackage { root: place.join("installed") };
    let told = install(package, &installed.root);
    assert!(told.contains("systemctl enable --now orch-scheduler orch-web orch-worker orch-pipelines"), "{told}");
    let file = installed.root.join("etc/orch/orch.env");
    let settings = std::fs::read_to_string(&file).unwrap();
    assert!(settings.lines().any(|line| line.len() >= 60 && line.starts_with("ORCH_SECRET_KEY=")), "{settings}");
    assert!(settings.lines().any(|line| line == "ORCH_DATA_DIR=/var/lib/orch"), "{settings}");

    // Follow the instructions that the installation prints.
    let server = PrivateServer::over_tcp().await;
    let url = "#ORCH_DATABASE_URL=postgres://orch:PASSWORD@localhost/orch\n";
    let named = settings.replace(url, &format!("ORCH_DATABASE_URL={}\nORCH_PORT=0\n", server.url()));
    assert_ne!(named, settings);
    std::fs::write(&file, named).unwrap();
    said(installed.orch().args(["db", "migrate"]));
    let user = ["users", "create", "--username", "admin", "--role", "admin", "--use-random-password"];
    said(installed.orch().args(user));
    std::fs::write(installed.root.join("var/lib/orch/dags/hello.yaml"), HELLO).unwrap();
    let units = ["orch-scheduler", "orch-web", "orch-worker", "orch-pipelines"];
    let running = units.map(|unit| (unit, installed.start(unit)));

    until_joined(|| installed.orch());
    until("the DAG of the file", || {
        let unpaused = installed.orch().args(["dags", "unpause", "hello"]).output().unwrap();
        if unpaused.status.success() { Ok(()) } else { Err(format!("{unpaused:?}")) }
    });
    greets(|| installed.orch(), "hello", "hello from the package");
    let web = until("the web server", || {
        let log = std::fs::read_to_string(installed.log("orch-web")).unwrap();
        let address = log.split_once("orch web is up: http://").and_then(|(_, rest)| rest.split_once('\n'));
        address.map(|(address, _)| address.to_owned()).ok_or(log)
    });
    assert_eq!(ask(&web, "/healthz", &[]).status, 200);

    for (unit, mut process) in running {
        let log = || std::fs::read_to_string(installed.log(unit)).unwrap();
        assert_eq!(process.0.try_wait().unwrap(), None, "{unit} ended: {}", log());
        let ended = process.stop();
        // systemd treats both as a clean stop.
        assert!(ended.success() || ended.signal() == Some(Signal::SIGTERM as i32), "{unit}: {ended}: {}", log());
    }
}

/// Runs a whole pipeline after `pip install`, with nothing else installed but Postgres.
fn wheel_runs_retail(wheel: &Path, place: &Path) {
    let (venv, home) = (place.join("venv"), place.join("home"));
    said(alone("python3", place).args(["-m", "venv"]).arg(&venv));
    std::fs::create_dir(&home).unwrap();
    let began = Instant::now();
    said(alone(venv.join("bin/pip"), place).args(["install", "--quiet", "--no-index"]).arg(wheel));
    let orch = venv.join("bin/orch");
    let _running = standalone(&orch, &home);
    said(alone(&orch, &home).args(["dags", "trigger", "retail_medallion", "--wait"]));
    let took = began.elapsed();
    assert!(took <= FIRST_PIPELINE_WITHIN, "it took {took:?}");
    let sums = "select count(*) as departments from retail.sales_by_department where total_revenue > 0";
    let counted = said(alone(&orch, &home).args(["sql", sums, "-o", "csv"]));
    let departments: u32 = counted.lines().last().unwrap().trim().parse().unwrap();
    assert!(departments > 1, "{counted}");
}

/// Each package has the license texts of what is compiled into its binaries.
fn license_texts_are_in(made: &[PathBuf]) {
    for (kind, print) in [
        ("gz", "tar -xzOf \"$0\" --wildcards '*/THIRD-PARTY-LICENSES.txt'"),
        ("deb", "dpkg-deb --fsys-tarfile \"$0\" | tar -xO ./usr/share/doc/orch/copyright"),
        (
            "whl",
            "python3 -c 'import sys, zipfile; w = zipfile.ZipFile(sys.argv[1]); n = [n for n in w.namelist() if n.endswith(\"/THIRD-PARTY-LICENSES.txt\")]; print(w.read(n[0]).decode())' \"$0\"",
        ),
    ] {
        let texts = said(Command::new("sh").args(["-c", print]).arg(of_kind(made, kind)));
        assert!(texts.contains("serde_json 1.") && texts.contains(", librdkafka\n"), "{kind}: {} bytes", texts.len());
    }
}

/// Each package contains the manual, man pages, completions, and the configuration of Prometheus and Grafana.
fn manual_is_in(made: &[PathBuf]) {
    for (kind, list, zsh) in [
        ("gz", "tar -tzf \"$0\"", "zsh/site-functions/_orch"),
        ("deb", "dpkg-deb --fsys-tarfile \"$0\" | tar -t", "zsh/vendor-completions/_orch"),
        ("whl", "python3 -m zipfile -l \"$0\"", "zsh/site-functions/_orch"),
    ] {
        let names = said(Command::new("sh").args(["-c", list]).arg(of_kind(made, kind)));
        for file in [
            "doc/orch/docs/guides/install.md",
            "doc/orch/docs/commands.md",
            "doc/orch/docs/settings.md",
            "doc/orch/deploy/prometheus/alerts.yml",
            "doc/orch/deploy/grafana/orch.json",
            "man/man1/orch.1.gz",
            "man/man1/orch-dags.1.gz",
            "man/man5/orch.toml.5.gz",
            "bash-completion/completions/orch",
            "fish/vendor_completions.d/orch.fish",
            zsh,
        ] {
            assert!(names.contains(&format!("/share/{file}")), "{kind}: {file}: {names}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_package_is_installed_and_runs() {
    let (place, made) = packages();
    license_texts_are_in(&made);
    manual_is_in(&made);
    archive_runs(of_kind(&made, "gz"), place.path());
    units_run(of_kind(&made, "deb"), place.path()).await;
    wheel_runs_retail(of_kind(&made, "whl"), place.path());
}
