//! DAG files in memory, for tests of files and for programs that generate DAGs.

use crate::{Dag, body_of_task};
use orch_document::file;
use orch_sdk::task::Conditions;
pub use orch_spec::check::FileProblem;
use std::collections::HashMap;
use std::sync::Arc;

/// Returns the DAGs of a file. `folder` is the location of the file; relative paths of scripts start there.
///
/// ```
/// let text = "dag_id: hello\ntasks:\n  greet: {bash: echo hello}\n";
/// let dags = orch::dags_of_file("hello.yaml", "", text.as_bytes()).unwrap();
/// # let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// let run = rt.block_on(dags[0].test().run());
/// assert_eq!(run.output::<String>("greet").as_deref(), Some("hello"));
/// ```
///
/// # Errors
/// Returns all problems of the file.
pub fn dags_of_file(name: &str, folder: &str, bytes: &[u8]) -> Result<Vec<Dag>, Vec<FileProblem>> {
    let mut specs = file::parse(name, folder, bytes)?;
    let (mut dags, mut problems) = (Vec::new(), file::add_scripts(&mut specs));
    for spec in specs {
        let mut bodies = HashMap::new();
        for task in &spec.tasks {
            match body_of_task(task) {
                Ok(body) => drop(bodies.insert(task.task_id.clone(), body)),
                Err(message) => problems.push(file::problem_of_task(task, message)),
            }
        }
        dags.push(Dag { spec: Arc::new(spec), bodies, conditions: Conditions::default(), problems: Vec::new() });
    }
    if problems.is_empty() { Ok(dags) } else { Err(problems) }
}
