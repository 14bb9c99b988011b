//! A session of Spark beside orch, with catalogs of tables open: one Python process that is asked line by line.

use std::process::Command;

use serde_json::{Value, json};

use crate::python::Python;
use crate::rows::Rows;

const ANSWER: &str = include_str!("spark/answer.py");

/// In the process of its driver.
#[derive(Debug)]
pub struct SparkSession(Python);

impl SparkSession {
    /// Opens these catalogs of Iceberg: their names, and the settings of each.
    pub fn open(catalogs: &[(&str, Value)]) -> Self {
        let mut settings = json!({
            "spark.jars": orch_test_support::iceberg_jars().join(","),
            "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            "spark.sql.shuffle.partitions": "2",
            "spark.ui.enabled": "false",
        });
        for (name, catalog) in catalogs {
            let catalog_key = format!("spark.sql.catalog.{name}");
            for (key, value) in catalog.as_object().into_iter().flatten() {
                settings[format!("{catalog_key}.{key}")] = value.clone();
            }
            // What others have committed is seen at once.
            settings[format!("{catalog_key}.cache-enabled")] = json!("false");
            settings[catalog_key] = json!("org.apache.iceberg.spark.SparkCatalog");
        }
        let mut command = Command::new(orch_test_support::spark_python());
        command.args(["-c", ANSWER, &settings.to_string()]);
        command.envs([("SPARK_LOCAL_IP", "127.0.0.1"), ("TZ", "UTC")]).env_remove("SPARK_HOME");
        Self(Python::start(command))
    }

    /// The rows of a statement, sorted.
    ///
    /// # Panics
    /// With what Spark says, if it cannot do it.
    pub fn run(&mut self, statement: &str) -> Rows {
        let rows = self.0.ask(&json!({ "sql": statement }));
        let mut rows: Rows = serde_json::from_value(rows).expect("rows of text");
        rows.sort();
        rows
    }
}
