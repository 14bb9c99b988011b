//! The packages of `make dist`, made of the binaries that tests have, each installed in an empty place and run there.

use crate::world::command;
use orch_test_support::until;
use std::ffi::OsStr;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What a program says; it must succeed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{err}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

/// With nothing in its environment but a home and where programs of the system are.
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

struct RunningStandalone(Child);

impl Drop for RunningStandalone {
    fn drop(&mut self) {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.0.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        )
        .ok(); // it may be gone
        self.0.wait().ok();
    }
}

/// A standalone of an installed binary; it runs retail from MySQL's rows to Postgres.
fn runs_retail(orch: &Path, home: &Path) {
    let mut standalone = alone(orch, home);
    standalone.args(["standalone", "--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = RunningStandalone(standalone.spawn().unwrap());
    std::io::BufReader::new(running.0.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    until("its bundle to join", || {
        let listed = said(alone(orch, home).args(["dags", "list", "-o", "plain"]));
        if listed.contains("retail_medallion") { Ok(()) } else { Err(listed) }
    });
    said(alone(orch, home).args(["dags", "trigger", "retail_medallion", "--wait"]));
}

#[test]
fn each_package_is_installed_and_runs() {
    let (place, made) = packages();
    let version = format!("orch {}\n", env!("CARGO_PKG_VERSION"));

    let unpacked = place.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    said(
        alone("tar", &unpacked)
            .args(["--strip-components=1", "-xzf"])
            .arg(of_kind(&made, "gz"))
            .arg("-C")
            .arg(&unpacked),
    );
    for name in ["orch", "orch-pipelines"] {
        assert!(said(alone(unpacked.join(name), &unpacked).arg("--version")).ends_with(&version[4..]));
    }

    // By dpkg itself, into a root of its own: its script makes settings there and starts nothing.
    let installed = place.path().join("installed");
    std::fs::create_dir_all(installed.join("var/lib/dpkg")).unwrap();
    std::fs::write(installed.join("var/lib/dpkg/status"), "").unwrap();
    let mut dpkg = alone("dpkg", &installed);
    dpkg.arg(format!("--root={}", installed.display()));
    dpkg.args(["--force-not-root", "--force-depends", "--force-script-chrootless", "--install"]);
    let told = said(dpkg.arg(of_kind(&made, "deb")));
    assert!(told.contains("systemctl enable --now orch-scheduler orch-web orch-worker orch-pipelines"), "{told}");
    let settings = std::fs::read_to_string(installed.join("etc/orch/orch.env")).unwrap();
    assert!(settings.lines().any(|line| line.len() >= 60 && line.starts_with("ORCH_SECRET_KEY=")), "{settings}");
    assert!(settings.lines().any(|line| line == "ORCH_DATA_DIR=/var/lib/orch"), "{settings}");
    assert_eq!(said(alone(installed.join("usr/bin/orch"), &installed).arg("--version")), version);
    for unit in ["orch-scheduler", "orch-web", "orch-worker", "orch-pipelines"] {
        let unit = std::fs::read_to_string(installed.join(format!("usr/lib/systemd/system/{unit}.service"))).unwrap();
        let (_, begins) = unit.split_once("ExecStart=").unwrap();
        let mut words = begins.lines().next().unwrap().split(' ');
        let program = installed.join(words.next().unwrap().trim_start_matches('/'));
        said(alone(program, &installed).args(words).arg("--help"));
    }

    let venv = place.path().join("venv");
    said(alone("python3", place.path()).args(["-m", "venv"]).arg(&venv));
    let wheel = of_kind(&made, "whl");
    said(alone(venv.join("bin/pip"), place.path()).args(["install", "--quiet", "--no-index"]).arg(wheel));
    let home = place.path().join("home");
    std::fs::create_dir(&home).unwrap();
    runs_retail(&venv.join("bin/orch"), &home);
}
