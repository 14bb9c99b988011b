//! What the programs and child processes of tasks find in their environment.

use std::ffi::OsStr;
use std::process::Command;

/// What they keep of the worker's environment. Everything else may be a secret of the worker or of another task, so a task
/// says itself what it needs.
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
    // Where certificates and libraries of this machine are.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "LD_LIBRARY_PATH",
    // How `docker` and `podman` find their engine.
    "DOCKER_HOST",
    "XDG_RUNTIME_DIR",
];

/// Begins the names of the categories of a locale.
const KEPT_PREFIX: &str = "LC_";

/// With these a child could speak to the metadata itself.
const SECRET_PREFIXES: [&str; 5] = ["ORCH_", "PG", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "VAULT_"];

/// Takes everything out of a command's environment but what is kept.
pub fn clean(command: &mut Command) {
    #[expect(clippy::disallowed_methods, reason = "to hand a few of them on, not to read them")]
    let own = std::env::vars_os();
    command.env_clear().envs(own.filter(|(name, _)| is_kept(name)));
}

/// Takes the secrets of a worker out of the environment of a child of its own binary, whose bodies may need the rest: those
/// that run in the worker find it too.
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
