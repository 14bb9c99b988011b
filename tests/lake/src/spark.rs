//! A Spark session with open catalogs, as a reader of orch's tables: one Python process that answers requests line by
//! line.

use serde_json::{Value, json};

use crate::python::Python;
use crate::rows::Rows;
use crate::steps::Reader;
use orch_lake::TableName;
use orch_lake::table::At;

const ANSWER: &str = include_str!("spark/answer.py");

/// Uses only the fast compiler, with a sufficient code cache. Without `-Xlog:disable`, Java writes warnings to standard
/// output, which carries the responses.
const JAVA: &str = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=128m -Xlog:disable";

/// A Spark session in the process of its driver.
#[derive(Debug)]
pub struct SparkSession(Python);

impl SparkSession {
    /// Opens these Iceberg catalogs, given by name and settings.
    pub fn open(catalogs: &[(&str, Value)]) -> Self {
        let mut settings = json!({
            "spark.jars": orch_test_support::iceberg_jars().join(","),
            "spark.driver.extraJavaOptions": JAVA,
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            "spark.sql.shuffle.partitions": "2",
            "spark.ui.enabled": "false",
        });
        for (name, catalog) in catalogs {
            let catalog_key = format!("spark.sql.catalog.{name}");
            for (key, value) in catalog.as_object().into_iter().flatten() {
                settings[format!("{catalog_key}.{key}")] = value.clone();
            }
            // Without the cache, commits of other programs are visible immediately.
            settings[format!("{catalog_key}.cache-enabled")] = json!("false");
            settings[catalog_key] = json!("org.apache.iceberg.spark.SparkCatalog");
        }
        let python = orch_test_support::spark_python();
        let mut command = Python::command(&python, ANSWER, &[&settings.to_string()]);
        command.envs([("SPARK_LOCAL_IP", "127.0.0.1"), ("TZ", "UTC")]).env_remove("SPARK_HOME");
        Self(Python::start(command))
    }

    /// Returns the rows of a statement, sorted.
    ///
    /// # Panics
    /// Panics with Spark's message if the statement fails.
    pub fn run(&mut self, statement: &str) -> Rows {
        self.0.rows(statement)
    }
}

/// A catalog of a session.
#[derive(Debug)]
pub struct SparkCatalog<'a> {
    pub session: &'a mut SparkSession,
    pub name: &'a str,
}

impl Reader for SparkCatalog<'_> {
    fn program(&self) -> &'static str {
        "Spark"
    }

    fn rows(&mut self, table: &TableName, at: Option<&At>) -> Rows {
        let version = version_of(at, "version as of");
        self.session.run(&format!("select * from {}.{table} {version}", self.name))
    }

    fn delete_files(&mut self, table: &TableName) -> u64 {
        let counted = self.session.run(&format!("select count(*) from {}.{table}.delete_files", self.name));
        number(&counted)
    }
}

/// Returns the SQL clause that selects an earlier state.
pub(crate) fn version_of(at: Option<&At>, words: &str) -> String {
    match at {
        None => String::new(),
        Some(At::Snapshot(id)) => format!("{words} {id}"),
        Some(At::Ref(name)) => format!("{words} '{name}'"),
        Some(other) => panic!("SQL is not asked for {other:?}"),
    }
}

/// Returns the single cell of a result.
pub(crate) fn number(rows: &Rows) -> u64 {
    rows[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a number")
}
