//! The `spark` and `spark_sql` tasks: submit an application or statements with `spark-submit`, or run them with
//! Python as a client of a Spark Connect server.
//!
//! The application's configuration is written to a file that only the worker's user can read, never to a command
//! line, because it contains passwords and keys of connections. The driver is a child process of the task, so it ends
//! with the task or the worker, and its executors end with it. In deploy mode `cluster` the driver runs elsewhere and
//! is killed through the master.

mod driver;
mod folder;
mod lines;
mod server;

pub use server::CONNECT as SPARK_CONNECT;

use super::operator::Operator;
use super::process::{self, SKIP_CODE};
use crate::{BoxFuture, Call, Ctx, PythonOutput, TaskResult, fatal, skip};
use driver::Driver;
use folder::Folder;
use lines::Lines;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use server::Server;
use std::collections::BTreeMap;

/// Default connection id.
pub const SPARK_DEFAULT: &str = "spark_default";

/// Prefix of every script. It defines `spark`, and `conf(name)` returns a property of the application.
const BEGIN: &str = include_str!("spark/begin.py");
/// Script that runs the statements and prints the rows of the last one.
const STATEMENTS: &str = include_str!("spark/statements.py");
/// Property with the statements.
const STATEMENTS_CONF: &str = "spark.orch.statements";
/// Environment variable with the address of a Connect server, defined by `PySpark`.
const REMOTE: &str = "SPARK_REMOTE";
/// Environment variable with the path of the properties for Connect, a JSON object.
const CONF: &str = "ORCH_SPARK_CONF";

/// An application and its configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spark {
    /// A Python file or a jar, as `spark-submit` finds it.
    pub application: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// `sys.argv[1:]`. All users of the worker's machine can read them, so do not pass secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Spark properties. They override the connection's properties.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conf: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The main class of a jar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub java_class: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jars: Vec<String>,
    /// Maven coordinates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub py_files: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_memory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_memory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_cores: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_executor_cores: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_executors: Option<u32>,
    /// Environment variables of `spark-submit`, and of the driver if it runs there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// Spark SQL statements.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparkSql {
    /// One or more statements, separated by `;`. Values are inserted by the templates of the DAG file.
    pub sql: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conf: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jars: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// Runs an application with `spark-submit`. Exit code 99 skips the task; any other code except 0 fails the attempt.
#[track_caller]
pub fn spark<'d>(spark: Spark) -> Call<'d, PythonOutput> {
    spark.call()
}

/// Runs statements with `spark-submit`. The output has the first 1,000 rows of the last one.
#[track_caller]
pub fn spark_sql<'d>(sql: SparkSql) -> Call<'d, PythonOutput> {
    sql.call()
}

impl Spark {
    pub fn application(path: &str) -> Spark {
        Spark { application: path.into(), ..Spark::default() }
    }

    /// Sets the connection. Default: `spark_default`.
    #[must_use]
    pub fn connection(mut self, id: &str) -> Spark {
        self.connection = Some(id.into());
        self
    }

    #[must_use]
    pub fn arg(mut self, value: impl Into<String>) -> Spark {
        self.args.push(value.into());
        self
    }

    #[must_use]
    pub fn conf(mut self, name: &str, value: impl Into<Value>) -> Spark {
        self.conf.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn name(mut self, name: &str) -> Spark {
        self.name = Some(name.into());
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Spark {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Runs `script`, a Python source, as the application. The script can use `spark`, and `conf(name)` for its
    /// properties.
    ///
    /// # Errors
    /// Returns the same errors as [`Spark::submit`].
    pub async fn submit_script(mut self, ctx: &Ctx, script: &str) -> TaskResult<PythonOutput> {
        let folder = Folder::make(&ctx.attempt().simple().to_string())?;
        self.application = folder.write("application.py", &format!("{BEGIN}\n\n{script}"))?;
        self.submit_from(ctx, &folder).await
    }

    /// Runs the application until it ends, as the function of a task. Its output goes to the log of `ctx`.
    ///
    /// # Errors
    /// Returns an error if `spark-submit` or the connection does not exist, the master does not respond, or the
    /// application failed.
    pub async fn submit(self, ctx: &Ctx) -> TaskResult<PythonOutput> {
        let folder = Folder::make(&ctx.attempt().simple().to_string())?;
        self.submit_from(ctx, &folder).await
    }

    async fn submit_from(self, ctx: &Ctx, folder: &Folder) -> TaskResult<PythonOutput> {
        if self.application.is_empty() || self.application.starts_with('-') {
            return Err(fatal(format!("`{}` is no application", self.application)));
        }
        let connection = ctx.connection(self.connection.as_deref().unwrap_or(SPARK_DEFAULT)).await?;
        let server = Server::of(&connection)?;
        server.check().await?;
        let program = server.program()?;
        let properties = self.properties(ctx, &server);
        let mut command = process::command(ctx, &program)?;
        // `spark-submit` starts Python, which otherwise buffers its output.
        command.env("PYTHONUNBUFFERED", "1").envs(server.environment()).envs(&self.env);
        let settings = match &server.remote {
            Some(remote) => {
                self.check_for_connect()?;
                let settings = folder.write("spark.json", &serde_json::to_string(&properties)?)?;
                command.env(REMOTE, remote).env(CONF, &settings);
                settings
            }
            None => {
                let settings = folder.write("spark.conf", &server.defaults(&properties))?;
                command.args(["--properties-file", &settings]);
                if let Some(class) = &self.java_class {
                    command.args(["--class", class]);
                }
                settings
            }
        };
        command.arg(&self.application).args(&self.args);
        ctx.info(format!("submitting `{}` to `{}`", self.application, server.master));
        let (lines, driver) = (Lines::new(ctx), Driver::of(&server, &program, &settings));
        let ended = process::run_read(ctx, command, &program, None, Some(&|level, line| lines.read(level, line))).await;
        let ended = driver.ended(ended, lines.driver()).await?;
        match ended.status.code() {
            Some(0) => {
                let last_line = ended.last_line()?;
                let value = serde_json::from_str(&last_line).unwrap_or_default();
                Ok(PythonOutput { last_line, value })
            }
            Some(SKIP_CODE) => Err(skip(format!("the application ended with exit code {SKIP_CODE}"))),
            _ => Err(ended.failure()),
        }
    }

    /// Rejects options that a Connect server does not support: its jars, memory and executors are fixed.
    fn check_for_connect(&self) -> TaskResult<()> {
        let submitted = [
            ("java_class", self.java_class.is_some()),
            ("jars", !self.jars.is_empty()),
            ("packages", !self.packages.is_empty()),
            ("py_files", !self.py_files.is_empty()),
            ("files", !self.files.is_empty()),
            ("driver_memory", self.driver_memory.is_some()),
            ("executor_memory", self.executor_memory.is_some()),
            ("executor_cores", self.executor_cores.is_some()),
            ("total_executor_cores", self.total_executor_cores.is_some()),
            ("num_executors", self.num_executors.is_some()),
        ];
        match submitted.into_iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((name, _)) => Err(fatal(format!(
                "`{name}` is an option of `spark-submit`, and this connection is to a Spark Connect server\n\
                 hint: take it out, and set it where that server is started"
            ))),
        }
    }

    /// Returns all Spark properties. The task's properties override the connection's.
    fn properties(&self, ctx: &Ctx, server: &Server) -> BTreeMap<String, String> {
        let mut told = server.properties();
        let list = |words: &[String]| (!words.is_empty()).then(|| words.join(","));
        let name = self.name.clone().unwrap_or_else(|| format!("{}.{}", ctx.dag_id(), ctx.task_id()));
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let own = [
            ("spark.app.name", Some(name)),
            ("spark.submit.pyFiles", list(&self.py_files)),
            ("spark.files", list(&self.files)),
            ("spark.driver.memory", self.driver_memory.clone()),
            ("spark.executor.memory", self.executor_memory.clone()),
            ("spark.executor.cores", number(self.executor_cores)),
            ("spark.cores.max", number(self.total_executor_cores)),
            ("spark.executor.instances", number(self.num_executors)),
        ];
        told.extend(own.into_iter().filter_map(|(name, value)| Some((name.into(), value?))));
        for (name, more) in [("spark.jars", &self.jars), ("spark.jars.packages", &self.packages)] {
            if let Some(more) = list(more) {
                let known = told.get(name).map(|known| format!("{known},")).unwrap_or_default();
                told.insert(name.into(), format!("{known}{more}"));
            }
        }
        told.extend(self.conf.iter().map(|(name, value)| (name.clone(), server::text_of(value))));
        told
    }
}

impl SparkSql {
    async fn go(self, ctx: &Ctx) -> TaskResult<PythonOutput> {
        let SparkSql { sql, connection, conf, name, jars, packages } = self;
        let spark = Spark { connection, conf, name, jars, packages, ..Spark::default() };
        spark.conf(STATEMENTS_CONF, sql).submit_script(ctx, STATEMENTS).await
    }
}

impl Operator for Spark {
    const KIND: &'static str = "spark";
    type Output = PythonOutput;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<PythonOutput>> {
        Box::pin(async move { self.submit(&ctx).await })
    }
}

impl Operator for SparkSql {
    const KIND: &'static str = "spark_sql";
    type Output = PythonOutput;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<PythonOutput>> {
        Box::pin(async move { self.go(&ctx).await })
    }
}
