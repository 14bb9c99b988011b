//! Environment of the programs and child processes of tasks.

use std::ffi::OsStr;
use std::process::Command;

/// Variables of the worker that programs inherit. All others may be a secret of the worker or of another task, so a
/// task must set what it needs.
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
    // Certificates and libraries of this machine.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "LD_LIBRARY_PATH",
    // The engine that `docker` and `podman` use.
    "DOCKER_HOST",
    "XDG_RUNTIME_DIR",
];

/// Prefix of the categories of a locale.
const KEPT_PREFIX: &str = "LC_";

/// Prefixes of variables with which a child could access the metadata database or secrets.
const SECRET_PREFIXES: [&str; 5] = ["ORCH_", "PG", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "VAULT_"];

/// Removes all variables from a command's environment except those that programs inherit.
pub fn clean(command: &mut Command) {
    #[expect(clippy::disallowed_methods, reason = "to hand a few of them on, not to read them")]
    let own = std::env::vars_os();
    command.env_clear().envs(own.filter(|(name, _)| is_kept(name)));
}

/// Removes the worker's secrets from the environment of a child of its own binary. The rest stays, because task
/// functions may need it and have it in the worker, too.
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
