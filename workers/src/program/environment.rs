//! Environment variables for programs and child processes of tasks.

use std::ffi::OsStr;
use std::process::Command;

/// Variables of the worker that programs inherit. Any other variable may contain a secret of the worker or of another
/// task, so a task must set the variables that it needs.
const KEPT: [&str; 15] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TERM",
    // Locations of certificates and libraries on this machine.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "LD_LIBRARY_PATH",
    // The container engine that `docker` and `podman` use.
    "DOCKER_HOST",
    "XDG_RUNTIME_DIR",
];

/// Prefix of the locale variables, such as `LC_TIME`.
const KEPT_PREFIX: &str = "LC_";

/// Prefixes of variables that contain credentials of the metadata database or other secrets.
const SECRET_PREFIXES: [&str; 5] = ["ORCH_", "PG", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "VAULT_"];

/// Removes all environment variables from a command, except those that programs inherit.
pub fn clean(command: &mut Command) {
    #[expect(clippy::disallowed_methods, reason = "to hand a few of them on, not to read them")]
    let own = std::env::vars_os();
    command.env_clear().envs(own.filter(|(name, _)| is_kept(name)));
}

/// Removes the worker's secrets from the environment of a child process that runs this binary. Other variables are
/// kept, because task functions may need them and would also have them in the worker process.
pub fn take_secrets(command: &mut Command) {
    #[expect(clippy::disallowed_methods, reason = "to take things out of it, not to read it")]
    let own = std::env::vars_os();
    for (name, _) in own {
        if SECRET_PREFIXES.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            command.env_remove(name);
        }
    }
}

fn is_kept(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| KEPT.contains(&name) || name.starts_with(KEPT_PREFIX))
}
