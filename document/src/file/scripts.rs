//! Scripts that tasks name by `file:`. The hash of a script is part of the config of its task, and so of the version of
//! the DAG.

use orch_spec::check::FileProblem;
use orch_spec::{DagSpec, TaskSpec};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The field of a config that holds the SHA-256 of the script.
pub const SCRIPT_HASH: &str = "file_sha256";
/// Maximum size of a script.
const MAX_SCRIPT_BYTES: u64 = 16 << 20;

/// Reads the scripts of DAGs and adds the hash of each to the config of its task. Returns the problems.
pub fn add_scripts(dags: &mut [DagSpec]) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    for task in dags.iter_mut().flat_map(|dag| &mut dag.tasks) {
        let Some(path) = script_of(task) else { continue };
        match script_hash(&path) {
            Ok(hash) => script_config(&task.kind, &mut task.config)[SCRIPT_HASH] = json!(hash),
            Err(error) => problems.push(problem(task, &path, &error)),
        }
    }
    problems
}

/// Returns the paths of the scripts that a DAG names.
pub fn scripts_of(dag: &DagSpec) -> impl Iterator<Item = PathBuf> {
    dag.tasks.iter().filter_map(script_of)
}

/// Returns the SHA-256 of a script in hexadecimal digits. Fails if the file cannot be read, is not a regular file, or
/// is too long.
pub fn script_hash(path: &Path) -> io::Result<String> {
    // Opening a pipe would block.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SCRIPT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SCRIPT_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_SCRIPT_BYTES} bytes")));
    }
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    let (high, low) = digest.split_at(16);
    let hexadecimal = |half: &[u8]| half.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    Ok(format!("{:032x}{:032x}", hexadecimal(high), hexadecimal(low)))
}

fn problem(task: &TaskSpec, path: &Path, error: &io::Error) -> FileProblem {
    let name = path.display();
    let (message, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("there is no file `{name}`"),
            "`file` is a path from the folder of the DAG file: correct it, or add the script there",
        ),
        io::ErrorKind::PermissionDenied => {
            (format!("`{name}` cannot be read: {error}"), "let the user of the worker read it: `chmod a+r`")
        }
        _ => (format!("`{name}` cannot be read: {error}"), "name a file with the text of a script"),
    };
    FileProblem {
        file: task.added.file.clone(),
        line: task.added.line,
        column: 1,
        message: format!("task `{}`: {message}", task.task_id),
        hint: hint.into(),
    }
}

fn script_of(task: &TaskSpec) -> Option<PathBuf> {
    let config = match task.kind.as_str() {
        "python" => &task.config,
        "branch" | "short_circuit" if task.config["by"]["kind"] == "python" => &task.config["by"]["config"],
        _ => return None,
    };
    config["file"].as_str().map(PathBuf::from)
}

fn script_config<'c>(kind: &str, config: &'c mut Value) -> &'c mut Value {
    if kind == "python" { config } else { &mut config["by"]["config"] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(folder: &Path, text: &str) -> (DagSpec, Vec<FileProblem>) {
        let mut dags = crate::file::parse("a.yaml", &folder.to_string_lossy(), text.as_bytes()).expect("a DAG");
        let problems = add_scripts(&mut dags);
        (dags.remove(0), problems)
    }

    #[test]
    fn a_changed_script_is_another_version() {
        let place = tempfile::tempdir().expect("a folder");
        let text = "dag_id: a\ntasks:\n  t: {python: {file: t.py}}\n  b: {branch: {python: {file: b.py}}}\n";
        let mut versions = Vec::new();
        for (one, other) in [("print(1)", "print('t')"), ("print(2)", "print('t')"), ("print(2)", "print('u')")] {
            fs::write(place.path().join("t.py"), one).expect("a script");
            fs::write(place.path().join("b.py"), other).expect("a script");
            let (dag, problems) = parsed(place.path(), text);
            assert!(problems.is_empty(), "{problems:?}");
            assert_eq!(scripts_of(&dag).count(), 2);
            versions.push(dag.version());
            let written = crate::file::export(&dag).expect("a file can say it");
            assert!(!written.contains(SCRIPT_HASH), "{written}");
        }
        versions.dedup();
        assert_eq!(versions.len(), 3);
    }

    #[test]
    fn a_script_that_does_not_exist_is_an_import_error() {
        let place = tempfile::tempdir().expect("a folder");
        let (_, problems) = parsed(place.path(), "dag_id: a\ntasks:\n  t: {python: {file: nothere.py}}\n");
        let path = place.path().join("nothere.py");
        let expected = format!(
            "error: task `t`: there is no file `{}`\n  at a.yaml:3:1\nhint: `file` is a path from the folder of the DAG \
            file: correct it, or add the script there",
            path.display()
        );
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        fs::create_dir(path).expect("a folder");
        let (_, problems) = parsed(place.path(), "dag_id: a\ntasks:\n  t: {python: {file: nothere.py}}\n");
        assert!(problems[0].message.ends_with("cannot be read: it is not a regular file"), "{problems:?}");
    }
}
