//! PyIceberg on the same catalog and files as orch: one Python process that answers requests line by line.

use serde_json::{Value, json};

use crate::python::{Python, sorted_rows};
use crate::rows::{Rows, row};
use crate::steps::{History, Reader, Shared, lines};
use orch_lake::TableName;
use orch_lake::table::At;
use orch_lake::table::maintain::Compaction;

const ANSWER: &str = include_str!("pyiceberg/answer.py");

/// Returns the URL of a Postgres in the form that `sqlalchemy` requires.
pub fn uri(postgres: &str) -> String {
    postgres.replacen("postgresql://", "postgres://", 1).replacen("postgres://", "postgresql+psycopg2://", 1)
}

/// A Python process with an open catalog.
#[derive(Debug)]
pub struct PyIceberg(Python);

impl PyIceberg {
    /// Opens a catalog in the schema `lake` of this Postgres.
    pub fn open(postgres: &str, catalog: &str, warehouse: &str) -> Self {
        let uri = uri(postgres);
        let uri = format!("{uri}{}options=-csearch_path%3Dlake", if uri.contains('?') { '&' } else { '?' });
        Self::open_with(catalog, &json!({"type": "sql", "uri": uri, "warehouse": warehouse}))
    }

    /// Opens a catalog with these PyIceberg properties.
    pub fn open_with(catalog: &str, properties: &Value) -> Self {
        let command = Python::command(&orch_test_support::data_python(), ANSWER, &[]);
        let mut python = Self(Python::start(command));
        python.ask(&json!({"ask": "open", "name": catalog, "properties": properties}));
        python
    }

    /// # Panics
    /// Panics with Python's traceback if the request fails.
    pub fn ask(&mut self, question: &Value) -> Value {
        self.0.ask(question)
    }

    /// Sends a request. Returns the response, or the traceback of Python's error.
    pub fn try_ask(&mut self, question: &Value) -> Result<Value, String> {
        self.0.try_ask(question)
    }

    /// Returns all rows of a table, sorted. `more` can restrict them by `ref`, `snapshot` or `filter`.
    pub fn rows(&mut self, table: &str, more: &Value) -> Rows {
        let mut question = json!({"ask": "rows", "table": table});
        for (key, value) in more.as_object().into_iter().flatten() {
            question[key] = value.clone();
        }
        sorted_rows(self.ask(&question)["rows"].take())
    }

    /// Plans a scan of the current snapshot, and returns the paths of its data and delete files.
    pub fn plan(&mut self, table: &str) -> Vec<String> {
        serde_json::from_value(self.ask(&json!({"ask": "plan", "table": table}))).expect("paths")
    }

    /// Returns the sorted rows of the last planned scan, or the traceback of Python's error. It does not load the
    /// table from the catalog again.
    ///
    /// # Errors
    /// Returns the traceback if a file of the plan cannot be read.
    pub fn read_planned(&mut self) -> Result<Rows, String> {
        Ok(sorted_rows(self.try_ask(&json!({"ask": "read planned"}))?["rows"].take()))
    }
}

impl Reader for PyIceberg {
    fn program(&self) -> &'static str {
        "PyIceberg"
    }

    fn rows(&mut self, table: &TableName, at: Option<&At>) -> Rows {
        let asked = match at {
            None => json!({}),
            Some(At::Snapshot(id)) => json!({ "snapshot": id }),
            Some(At::Ref(name)) => json!({ "ref": name }),
            Some(other) => panic!("PyIceberg is not asked for {other:?}"),
        };
        PyIceberg::rows(self, &table.to_string(), &asked)
    }

    fn delete_files(&mut self, table: &TableName) -> u64 {
        let described = self.ask(&json!({ "ask": "describe", "table": table.to_string() }));
        described["delete_files"].as_u64().expect("a number")
    }
}

/// Lets PyIceberg create the table and run all its operations on it. orch reads after each one, and later both write
/// in turn.
///
/// # Panics
/// Panics if an operation fails, or if either of the two reads other rows than expected.
pub async fn pyiceberg_writes(shared: &mut Shared<'_, PyIceberg>, history: History) {
    let table = shared.name.to_string();
    shared.reader.ask(&json!({
        "ask": "create", "table": table, "key": ["id"],
        "columns": [["id", "long", true], ["city", "string", false], ["count", "int", false], ["at", "timestamp", false]],
        "partition": [["city", "identity"], ["id", "bucket[2]"]],
    }));
    shared.check("creation", &[]).await;
    let columns = ["id", "city", "count", "at"];
    let ask = |what: &str, rows: &[&str]| {
        let rows: Rows = rows.iter().map(|text| row(text)).collect();
        json!({ "ask": what, "table": table, "columns": columns, "rows": rows })
    };
    let (one, two, three) = ("1 Oslo 10 2025-01-01T10:00:00", "2 Rome 20 2025-01-02T10:00:00", "3 - - -");
    shared.reader.ask(&ask("append", &[one, two, three]));
    shared.check("append", &[one, two, three]).await;
    let first = shared.table().await.current_snapshot().expect("there is one").snapshot_id();

    let (again, four) = ("1 Oslo 11 2025-01-01T11:00:00", "4 Rome 40 2025-01-04T10:00:00");
    let mut upsert = ask("upsert", &[again, four]);
    upsert["key"] = json!(["id"]);
    shared.reader.ask(&upsert);
    shared.check("upsert", &[again, two, three, four]).await;

    shared.reader.ask(&json!({ "ask": "delete", "table": table, "filter": "id = 2" }));
    shared.check("delete", &[again, three, four]).await;

    let five = "5 Rome 50 2025-01-05T10:00:00";
    let mut overwrite = ask("overwrite", &[five]);
    overwrite["filter"] = json!("city = 'Rome'");
    shared.reader.ask(&overwrite);
    shared.check("overwrite", &[again, three, five]).await;

    if history == History::InCatalog {
        // Nessie rejects schema changes by PyIceberg, which does not send the ids of the columns.
        return;
    }
    shared.reader.ask(&json!({ "ask": "tag", "table": table, "name": "v1" }));
    shared.reader.ask(&json!({
        "ask": "evolve", "table": table, "add": [["note", "string"]], "rename": [["count", "quantity"]],
        "drop": ["at"], "unpartition": ["city_0"],
    }));
    shared.reader.ask(&json!({ "ask": "evolve", "table": table, "widen": [["quantity", "long"]] }));
    let (again, three, five) = ("1 Oslo 11 -", "3 - - -", "5 Rome 50 -");
    shared.check("new columns and partitions", &[again, three, five]).await;
    let then = ["1 Oslo 11 2025-01-01T11:00:00", "3 - - -", "5 Rome 50 2025-01-05T10:00:00"];
    shared.check_at(At::Ref("v1".into()), &then).await;
    shared.check_at(At::Snapshot(first), &[one, two, "3 - - -"]).await;

    // From here on orch writes first, then PyIceberg.
    let six = "6 Rome 6000000000 new";
    shared.upsert(&[], lines("id city quantity note", &["5 Rome 51 old", six])).await;
    shared.check("upsert by orch", &[again, three, "5 Rome 51 old", six]).await;
    shared.compact(&Compaction::new().min_files(2)).await;
    shared.check("compaction by orch", &[again, three, "5 Rome 51 old", six]).await;
    let mut append = ask("append", &["7 Oslo 7 -"]);
    append["columns"] = json!(["id", "city", "quantity", "note"]);
    shared.reader.ask(&append);
    shared.reader.ask(&json!({ "ask": "delete", "table": table, "filter": "id = 6" }));
    shared.check("PyIceberg after orch", &[again, three, "5 Rome 51 old", "7 Oslo 7 -"]).await;
}
