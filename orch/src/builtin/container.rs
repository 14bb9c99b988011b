//! The `container` task: runs an image with the container runtime of the worker's machine. The container is named
//! after the attempt, so the process that stops the task, or takes it over from a lost worker, can remove it.

use super::operator::Operator;
use super::process::{self, SKIP_CODE};
use crate::{BoxFuture, Call, Ctx, ShellOutput, TaskResult, fatal, skip};
use anyhow::bail;
use orch_workers::program;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::Stdio;
use tokio::process::Command;

/// Commands with the interface of `docker`. The first one with a running engine is used.
const RUNTIMES: [&str; 3] = ["docker", "podman", "nerdctl"];

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    pub image: String,
    /// Default: the command of the image. No shell parses it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Passed through the environment of the runtime, so the values do not appear in process lists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// `docker`, `podman`, `nerdctl` or a path. Default: the first of these whose engine responds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

/// A folder of the machine that is mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    pub from: String,
    pub to: String,
    #[serde(default)]
    pub read_only: bool,
}

/// Runs a container until it exits. Exit code 99 skips the task; any other code except 0 fails the attempt. The
/// container gets the environment variables of `shell`.
#[track_caller]
pub fn container<'d>(container: Container) -> Call<'d, ShellOutput> {
    container.call()
}

impl Container {
    pub fn image(name: &str) -> Container {
        Container { image: name.into(), ..Container::default() }
    }

    #[must_use]
    pub fn command<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Container {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Container {
        self.env.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn mount(mut self, from: &str, to: &str) -> Container {
        self.mounts.push(Mount { from: from.into(), to: to.into(), read_only: false });
        self
    }

    #[must_use]
    pub fn mount_read_only(mut self, from: &str, to: &str) -> Container {
        self.mounts.push(Mount { from: from.into(), to: to.into(), read_only: true });
        self
    }

    #[must_use]
    pub fn runtime(mut self, name: &str) -> Container {
        self.runtime = Some(name.into());
        self
    }

    #[must_use]
    pub fn memory_mb(mut self, most: u32) -> Container {
        self.memory_mb = Some(most);
        self
    }

    /// Returns the arguments of the runtime. They hold only the names of variables; the values are in the runtime's
    /// environment.
    fn arguments(&self, name: &str, variables: &[String]) -> Vec<String> {
        let mut told: Vec<String> = ["run", "--rm", "--name", name].map(String::from).into();
        let mut option = |name: &str, value: String| told.extend([name.to_string(), value]);
        variables.iter().for_each(|variable| option("--env", variable.clone()));
        for Mount { from, to, read_only } in &self.mounts {
            option("--volume", format!("{from}:{to}{}", if *read_only { ":ro" } else { "" }));
        }
        self.workdir.iter().for_each(|folder| option("--workdir", folder.clone()));
        self.network.iter().for_each(|network| option("--network", network.clone()));
        self.memory_mb.iter().for_each(|most| option("--memory", format!("{most}m")));
        // Everything after `--` is an argument, even if it starts with `-`.
        told.extend(["--".to_string(), self.image.clone()]);
        told.extend(self.command.iter().cloned());
        told
    }

    async fn go(self, ctx: &Ctx) -> TaskResult<ShellOutput> {
        if self.image.is_empty() || self.image.starts_with('-') {
            return Err(fatal(format!("`{}` is no image", self.image)));
        }
        let runtime = match &self.runtime {
            Some(runtime) => runtime.clone(),
            None => find_runtime(&RUNTIMES).await?,
        };
        let name = format!("orch-{}", ctx.attempt().simple());
        // Removes the container of a worker that was lost while it ran this attempt.
        remove(&runtime, &name).await;
        let mut variables: Vec<String> = process::environment(ctx).into_iter().map(|(name, _)| name.into()).collect();
        variables.extend(self.env.keys().cloned());
        let mut command = process::command(ctx, &runtime)?;
        command.envs(&self.env).args(self.arguments(&name, &variables));
        let leftover = Leftover { runtime: runtime.clone(), name: Some(name.clone()) };
        let ended = process::run_process(ctx, command, &runtime, None).await;
        leftover.remove().await;
        let ended = ended?;
        match ended.status.code() {
            Some(0) => Ok(ShellOutput { last_line: ended.last_line()? }),
            Some(SKIP_CODE) => Err(skip(format!("the container ended with exit code {SKIP_CODE}"))),
            _ => Err(ended.failure()),
        }
    }
}

/// Returns the first runtime with a running engine. The command alone is not enough: `docker` is often installed
/// without one.
async fn find_runtime(known: &[&str]) -> TaskResult<String> {
    let mut without_engine = Vec::new();
    for &runtime in known {
        let mut command = Command::new(runtime);
        program::clean(command.as_std_mut());
        command.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status().await {
            Ok(status) if status.success() => return Ok(runtime.into()),
            Ok(_) => without_engine.push(runtime),
            Err(_) => {}
        }
    }
    if without_engine.is_empty() {
        let known = known.join(", ");
        return Err(fatal(format!(
            "nothing on this worker runs containers: install one of {known}, or name yours with `runtime`"
        )));
    }
    let first = without_engine[0];
    // Not fatal: the engine may be starting, so a retry can succeed.
    bail!(
        "{} does not answer on this worker\nhint: start its engine; `{first} version` says what is wrong",
        without_engine.join(" nor ")
    )
}

fn removal(runtime: &str, name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(runtime);
    program::clean(&mut command);
    command.args(["rm", "--force", name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Errors are ignored: the container may not exist.
async fn remove(runtime: &str, name: &str) {
    Command::from(removal(runtime, name)).status().await.ok();
}

/// A container that may still exist. It is removed explicitly, because the runtime's command can end without stopping
/// it.
struct Leftover {
    runtime: String,
    name: Option<String>,
}

impl Leftover {
    async fn remove(mut self) {
        if let Some(name) = self.name.take() {
            remove(&self.runtime, &name).await;
        }
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            removal(&self.runtime, name).status().ok();
        }
    }
}

impl Operator for Container {
    const KIND: &'static str = "container";
    type Output = ShellOutput;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<ShellOutput>> {
        Box::pin(async move { self.go(&ctx).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn a_runtime_without_its_engine_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = |name: &str, code: u8| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\nexit {code}\n")).expect("a file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("rights");
            path.display().to_string()
        };
        let (docker, podman) = (runtime("docker", 1), runtime("podman", 0));
        assert_eq!(find_runtime(&["/no/such", &docker, &podman]).await.expect("one answers"), podman);
        let asleep = find_runtime(&["/no/such", &docker]).await.expect_err("its engine does not answer");
        assert!(asleep.to_string().contains(&format!("`{docker} version`")), "{asleep}");
        let ended = crate::TaskError::from(asleep);
        assert!(matches!(ended, crate::TaskError::Retryable { .. }), "it may answer at the next try: {ended:?}");
        let none = find_runtime(&["/no/such"]).await.expect_err("there is none");
        assert!(none.to_string().contains("install one of /no/such"), "{none}");
    }
}
