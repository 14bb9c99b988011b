//! Creates the cluster: `initdb`, the settings of orch, the database `orch`. Everything happens in `data.new`, which is
//! renamed to `data` at the end, so a killed process never leaves an incomplete cluster in `data`.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{ClusterError, error_lines, full_disk};
use crate::home::{Home, NAME, Passage, open_private_file};
use crate::settings::Settings;

const UNFINISHED: &str = "data.new";
const INITIAL_PASSWORD: &str = "password.new";

pub(crate) fn initialize(home: &Home, settings: &Settings) -> Result<(), ClusterError> {
    tracing::info!(data_dir = %home.data_dir().display(), "creating the private Postgres");
    let folder = home.data_dir().join("postgres");
    let unfinished = folder.join(UNFINISHED);
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(ClusterError::io("remove", &unfinished))?;
    }
    let password_copy = folder.join(INITIAL_PASSWORD);
    let password = random_password()?;
    write_private(&home.password_file(), &password)?;
    write_private(&password_copy, &password)?;
    home.account().take(&password_copy)?;

    let passage = Passage::open(home)?;
    let mut initdb = home.command("initdb");
    initdb
        .arg("--pgdata")
        .arg(passage.path(UNFINISHED))
        .arg("--pwfile")
        .arg(passage.path(INITIAL_PASSWORD))
        .args(["--username", NAME, "--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256"])
        .args((!settings.is_durable()).then_some("--no-sync"));
    run_server_program(home, &mut initdb, "")?;
    std::fs::remove_file(&password_copy).map_err(ClusterError::io("remove", &password_copy))?;

    let mut single = home.command("postgres");
    single
        .arg("--single")
        .args((!settings.is_durable()).then_some("-F"))
        .arg("-D")
        .arg(passage.path(UNFINISHED))
        .arg("template1");
    run_server_program(home, &mut single, &format!("create database {NAME};\n"))?;

    include_settings(&unfinished.join("postgresql.conf"))?;
    let data = home.data();
    std::fs::rename(&unfinished, &data).map_err(ClusterError::io("create", &data))?;
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(ClusterError::io("write", &folder))
}

/// Writes `orch.conf` if its content differs from the settings.
pub(crate) fn write_settings(home: &Home, settings: &Settings) -> Result<(), ClusterError> {
    let path = home.data().join("orch.conf");
    let text = settings.render();
    if std::fs::read_to_string(&path).is_ok_and(|current| current == text) {
        return Ok(());
    }
    let new = home.data().join("orch.conf.new");
    write_private(&new, &text)?;
    home.account().take(&new)?;
    std::fs::rename(&new, &path).map_err(ClusterError::io("write", &path))
}

fn include_settings(config: &Path) -> Result<(), ClusterError> {
    let lines = "\n# orch's own settings; what follows these lines wins over them.\ninclude_if_exists = 'orch.conf'\n";
    OpenOptions::new()
        .append(true)
        .open(config)
        .and_then(|mut file| file.write_all(lines.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(ClusterError::io("write", config))
}

fn run_server_program(home: &Home, command: &mut Command, input: &str) -> Result<(), ClusterError> {
    let program = Path::new(command.get_program()).to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ClusterError::io("run", &program))?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(ClusterError::io("wait for", &program))?;
    // The single-user server reports failed statements on stderr but not in its exit code.
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success()
        && written.is_ok()
        && !["ERROR:", "FATAL:", "PANIC:"].iter().any(|word| said.contains(word))
    {
        return Ok(());
    }
    let data_dir = home.data_dir().to_owned();
    if let Some(reason) = full_disk(&said) {
        return Err(ClusterError::DiskFull { data_dir, reason: reason.to_owned() });
    }
    let text = if said.trim().is_empty() { output.status.to_string() } else { error_lines(&said) };
    Err(ClusterError::Initialize { data_dir, output: text })
}

fn write_private(path: &Path, text: &str) -> Result<(), ClusterError> {
    let mut file = open_private_file(OpenOptions::new().write(true).truncate(true), path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(ClusterError::io("write", path))
}

fn random_password() -> Result<String, ClusterError> {
    use std::fmt::Write as _;
    let source = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 24];
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).map_err(ClusterError::io("read", source))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    }))
}
