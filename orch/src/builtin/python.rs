//! The `python` task: runs a script or a file with the Python of this machine or of a virtual environment.

use super::field::{FieldInputs, FieldText, key_of};
use super::operator::Operator;
use super::process::{self, SKIP_CODE};
use crate::{BoxFuture, Call, Ctx, TaskResult, fatal, skip};
use anyhow::anyhow;
use orch_document::file::script_hash;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A script and its environment. `I` is `()`, or [`FieldInputs`] if an argument or a variable is the output of
/// another task.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Python<I = ()> {
    /// Source of the script. It is passed on standard input, so it does not appear in process lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Path of a file to run instead of `script`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// SHA-256 of the file when the DAG file was read, so a changed script creates a new version of the DAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sha256: Option<String>,
    /// `sys.argv[1:]`. No shell parses them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Folder of a virtual environment. Default: `python3` from the `PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venv: Option<String>,
    /// Path of an interpreter. Ignored if `venv` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    #[doc(hidden)]
    #[serde(skip)]
    pub inputs: I,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PythonOutput {
    /// The last line of standard output that is not empty.
    pub last_line: String,
    /// That line parsed as JSON. Null if it is not valid JSON.
    pub value: Value,
}

/// Runs a Python script. Exit code 99 skips the task; any other code except 0 fails the attempt. The script gets the
/// environment variables of `shell`.
#[track_caller]
pub fn python<'d, I: Into<FieldInputs<'d>>>(python: Python<I>) -> Call<'d, PythonOutput> {
    python.call()
}

impl Python {
    pub fn script(text: &str) -> Python {
        Python { script: Some(text.into()), ..Python::default() }
    }

    pub fn file(path: &str) -> Python {
        Python { file: Some(path.into()), ..Python::default() }
    }
}

impl<I> Python<I> {
    /// Adds an argument: a string, or the output of another task. Outputs that are not strings are serialized as
    /// JSON.
    #[must_use]
    pub fn arg<V: FieldText<I>>(self, value: V) -> Python<V::Inputs> {
        let (mut python, inputs) = self.replace_inputs(());
        let (text, inputs) = value.assign_text(format!("args/{}", python.args.len()), inputs);
        python.args.push(text);
        python.replace_inputs(inputs).0
    }

    /// Sets an environment variable to a string or to the output of another task, like [`arg`](Python::arg).
    #[must_use]
    pub fn env<V: FieldText<I>>(self, name: &str, value: V) -> Python<V::Inputs> {
        let (mut python, inputs) = self.replace_inputs(());
        let (text, inputs) = value.assign_text(key_of("env", name), inputs);
        python.env.insert(name.into(), text);
        python.replace_inputs(inputs).0
    }

    #[must_use]
    pub fn venv(mut self, folder: &str) -> Self {
        self.venv = Some(folder.into());
        self
    }

    /// Returns the call of the script, to be added to a DAG.
    #[track_caller]
    pub fn call<'d>(self) -> Call<'d, PythonOutput>
    where
        I: Into<FieldInputs<'d>>,
    {
        let (python, inputs) = self.replace_inputs(());
        FieldInputs::call(inputs.into(), python)
    }

    /// Replaces the inputs, and returns the former ones.
    fn replace_inputs<J>(self, inputs: J) -> (Python<J>, I) {
        let Python { script, file, file_sha256, args, env, venv, interpreter, inputs: former } = self;
        (Python { script, file, file_sha256, args, env, venv, interpreter, inputs }, former)
    }
}

impl Python {
    /// Errors are not fatal: a retry may run on another worker that has the interpreter.
    fn interpreter(&self) -> TaskResult<String> {
        let path = match (&self.venv, &self.interpreter) {
            (Some(venv), _) => format!("{venv}/bin/python"),
            (None, Some(path)) => path.clone(),
            (None, None) => return Ok("python3".into()),
        };
        if !path.contains('/') || Path::new(&path).exists() {
            return Ok(path);
        }
        Err(match &self.venv {
            Some(venv) => anyhow!(
                "the virtual environment `{venv}` has no `bin/python` on this worker\nhint: create it on each worker with \
                `python3 -m venv {venv}`, or name another folder in `venv`"
            ),
            None => anyhow!(
                "there is no interpreter `{path}` on this worker\nhint: install it on each worker, or leave `interpreter` out to \
                use `python3`"
            ),
        })
    }

    async fn go(self, ctx: &Ctx) -> TaskResult<PythonOutput> {
        let interpreter = self.interpreter()?;
        let mut command = process::command(ctx, &interpreter)?;
        let file = match (&self.script, &self.file) {
            (Some(_), None) => "-",
            (None, Some(file)) => file,
            _ => return Err(fatal("a python task has either a `script` or a `file`")),
        };
        if let (Some(file), Some(hash)) = (&self.file, &self.file_sha256)
            && script_hash(Path::new(file)).is_ok_and(|now| now != *hash)
        {
            ctx.warning(format!(
                "`{file}` has changed since this version of the DAG: this attempt runs the changed script"
            ));
        }
        // Lines arrive when they are printed, not when a buffer is full.
        command.env("PYTHONUNBUFFERED", "1").arg(file).args(&self.args).envs(&self.env);
        let ended = process::run_process(ctx, command, &interpreter, self.script).await?;
        match ended.status.code() {
            Some(0) => {
                let last_line = ended.last_line()?;
                let value = serde_json::from_str(&last_line).unwrap_or_default();
                Ok(PythonOutput { last_line, value })
            }
            Some(SKIP_CODE) => Err(skip(format!("the script ended with exit code {SKIP_CODE}"))),
            _ => Err(ended.failure()),
        }
    }
}

impl Operator for Python {
    const KIND: &'static str = "python";
    type Output = PythonOutput;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<PythonOutput>> {
        Box::pin(async move { self.go(&ctx).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_interpreter_is_told_with_the_next_step() {
        let of_venv = Python::script("1").venv("/nowhere/venv").interpreter().expect_err("no folder").to_string();
        assert_eq!(
            of_venv,
            "the virtual environment `/nowhere/venv` has no `bin/python` on this worker\nhint: create it on each worker with `python3 -m \
            venv /nowhere/venv`, or name another folder in `venv`"
        );
        let of_path = Python { interpreter: Some("/nowhere/python".into()), ..Python::script("1") };
        let of_path = of_path.interpreter().expect_err("no file").to_string();
        assert!(
            of_path.starts_with("there is no interpreter `/nowhere/python` on this worker\nhint: install it"),
            "{of_path}"
        );
        assert_eq!(Python::script("1").interpreter().expect("the usual one"), "python3");
    }
}
