//! The `python` task: a script or a file, by the Python of this machine or of a virtual environment.

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

/// A script, and how it is run. `I` is `()`, or [`FieldInputs`] if an argument or a variable is the output of another task.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Python<I = ()> {
    /// The text of the script. It is read from standard input, so no process list shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// A file instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The SHA-256 of the file when the DAG file was read: a changed script is a new version of the DAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sha256: Option<String>,
    /// `sys.argv[1:]`. No shell reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The folder of a virtual environment; without it `python3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venv: Option<String>,
    /// A Python by its path instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    #[doc(hidden)]
    #[serde(skip)]
    pub inputs: I,
}

/// What a script gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PythonOutput {
    /// The last line that it printed and that is not empty.
    pub last_line: String,
    /// That line as JSON; null if it is none.
    pub value: Value,
}

/// Runs a Python script. Exit code 99 skips the task; any other code but 0 fails the try. The environment is that of `shell`.
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
    /// Adds an argument: a text, or the output of another task. Outputs that are not texts become JSON text.
    #[must_use]
    pub fn arg<V: FieldText<I>>(self, value: V) -> Python<V::Inputs> {
        let (mut python, inputs) = self.replace_inputs(());
        let (text, inputs) = value.assign_text(format!("args/{}", python.args.len()), inputs);
        python.args.push(text);
        python.replace_inputs(inputs).0
    }

    /// Sets a variable of the environment to a text, or to the output of another task, as [`arg`](Python::arg) does.
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
    /// Another worker may have the interpreter, so an error is retried.
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
        // Lines come as they are printed, not when a buffer is full.
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
