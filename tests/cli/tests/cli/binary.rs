//! Runs the binary under test and checks its results.

use regex_lite::Regex;
use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Result of a command: exit code, stdout, stderr. Its debug format is used for comparisons.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl fmt::Debug for CommandOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.out, self.err)
    }
}

impl CommandOutput {
    pub(crate) fn of(output: &Output) -> CommandOutput {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it prints UTF-8");
        let code = output.status.code().unwrap_or_else(|| panic!("it was killed: {}", output.status));
        CommandOutput { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts success and returns stdout.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Asserts success and parses stdout as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// Asserts exit code 2 and returns stderr, without times and names that differ between runs.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (2, ""), "{self:?}");
        plain(&self.err)
    }

    /// Asserts exit code 1: the command ran, but its operation failed.
    #[track_caller]
    pub(crate) fn failed(self) -> CommandOutput {
        assert_eq!(self.code, 1, "{self:?}");
        self
    }
}

/// Returns the binary under test, without the settings of this machine in its environment.
pub(crate) fn command(home: &Path) -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_orch-under-test")), home)
}

pub(crate) fn without_settings(mut command: Command, home: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "to take things out of it, not to read it")]
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.as_encoded_bytes().starts_with(b"ORCH_")) {
        command.env_remove(name);
    }
    command.env("HOME", home).env("ORCH_DATA_DIR", home.join("data")).stdin(Stdio::null());
    command
}

pub(crate) fn run<A: AsRef<OsStr>>(home: &Path, arguments: impl IntoIterator<Item = A>) -> CommandOutput {
    CommandOutput::of(&command(home).args(arguments).output().unwrap())
}

/// Runs a command with `input` on standard input.
pub(crate) fn run_with(home: &Path, environment: &[(&str, String)], input: &[u8], arguments: &[&str]) -> CommandOutput {
    let mut command = command(home);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that rejects its input early does not read to the end.
    let written = child.stdin.take().unwrap().write_all(input);
    assert!(written.is_ok() || input.len() > 1 << 16);
    CommandOutput::of(&child.wait_with_output().unwrap())
}

/// Replaces everything that differs between runs.
pub(crate) fn plain(text: &str) -> String {
    let path = format!(r"{}/\.?[^ `:,]+", regex_lite::escape(&std::env::temp_dir().display().to_string()));
    let rules = [
        (r"manual__[0-9T:.+-]+_[0-9A-Za-z]{8}", "<run>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+\d\d:\d\d|Z)", "<time>"),
        (r"\d+\.\d{3} s", "<duration>"),
        (r"pid \d+|process \d+|kill \d+", "<pid>"),
        (path.as_str(), "<path>"),
    ];
    rules.iter().fold(text.to_owned(), |text, (pattern, word)| {
        Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned()
    })
}
