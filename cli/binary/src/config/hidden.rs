//! Keeps secrets of the environment only in the memory of this process.
//!
//! Every process of the same user, including task functions, can read the initial environment of a process in
//! `/proc/<pid>/environ` as long as it lives, even after the process has changed its environment. So a process that was
//! started with secrets executes itself again without them (same pid). It passes them in an anonymous file (`memfd`),
//! which the second start reads and closes first. Only root can read its memory or its open files.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::OnceLock;

/// Prefixes of variables that contain connections and variables of users.
pub const KEPT: [&str; 4] = ["ORCH_CONN_", "ORCH_VAR_", "AIRFLOW_CONN_", "AIRFLOW_VAR_"];

type Variables = HashMap<OsString, OsString>;

static HIDDEN: OnceLock<Variables> = OnceLock::new();

/// Hides the secrets of the environment. Every command calls this first.
pub fn hide_secrets() {
    #[cfg(target_os = "linux")]
    {
        let received = restart::received();
        let given: Variables = variables().filter(|(name, _)| is_secret(name)).collect();
        if !given.is_empty() && received.is_none() {
            let error = restart::without(&given);
            eprintln!("warning: secrets in the environment can be read by processes of the same user: {error}");
        }
        HIDDEN.get_or_init(|| received.unwrap_or_default());
        // Otherwise processes of the same user could read this process's memory in `/proc/<pid>/mem`.
        nix::sys::prctl::set_dumpable(false).ok();
    }
}

/// Returns the hidden variables, for a child process that gets the same environment as this process.
pub fn hidden() -> impl Iterator<Item = (&'static OsString, &'static OsString)> {
    HIDDEN.get().into_iter().flatten()
}

/// Returns an environment variable, hidden or not.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn value(name: &str) -> Option<OsString> {
    let hidden = HIDDEN.get().and_then(|hidden| hidden.get(OsStr::new(name)).cloned());
    hidden.or_else(|| std::env::var_os(name))
}

/// Returns all environment variables, hidden ones included.
pub(super) fn all() -> impl Iterator<Item = (OsString, OsString)> {
    variables().chain(hidden().map(|(name, value)| (name.clone(), value.clone())))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

fn is_secret(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let is_field = super::Config::FIELDS.iter().any(|field| field.is_secret && field.env == name);
    is_field || KEPT.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(target_os = "linux")]
mod restart {
    use super::Variables;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::ffi::{OsStr, OsString};
    use std::fs::File;
    use std::io::{self, Read as _, Write as _};
    use std::os::fd::{AsRawFd as _, RawFd};
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    /// Environment variable of the second start: the file descriptor of the anonymous file.
    const FILE: &str = "ORCH_HIDDEN_FILE";
    /// Name of the anonymous file.
    const NAME: &str = "orch-environment";

    /// Executes this binary again without the secrets in its environment. Returns only on failure.
    pub(super) fn without(secrets: &Variables) -> io::Error {
        let start = || -> io::Result<io::Error> {
            // A `memfd` without flags stays open across `exec`, unlike the files of the standard library.
            let mut file = File::from(memfd_create(NAME, MFdFlags::empty())?);
            for (name, value) in secrets {
                file.write_all(&[name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat())?;
            }
            let mut arguments = std::env::args_os();
            let mut command = Command::new(std::env::current_exe()?);
            command.arg0(arguments.next().unwrap_or_default()).args(arguments);
            for name in secrets.keys() {
                command.env_remove(name);
            }
            Ok(command.env(FILE, file.as_raw_fd().to_string()).exec())
        };
        start().unwrap_or_else(|error| error)
    }

    /// Returns the secrets that the first start passed, and closes the file.
    pub(super) fn received() -> Option<Variables> {
        let number = super::value(FILE)?;
        let path = format!("/proc/self/fd/{}", number.to_str()?);
        // A process that only inherited the variable has a different file, or none, at this descriptor.
        if !std::fs::read_link(&path).ok()?.as_os_str().as_bytes().starts_with(format!("/memfd:{NAME}").as_bytes()) {
            return None;
        }
        let mut content = Vec::new();
        File::open(&path).and_then(|mut file| file.read_to_end(&mut content)).ok()?;
        nix::unistd::close(number.to_str()?.parse::<RawFd>().ok()?).ok();
        Some(content.split(|byte| *byte == 0).filter_map(variable).collect())
    }

    fn variable(entry: &[u8]) -> Option<(OsString, OsString)> {
        let end = entry.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        Some((text(&entry[..end]), text(&entry[end + 1..])))
    }
}
