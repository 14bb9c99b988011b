//! The folder of DAG files, read without a server.

use crate::config::Config;
use crate::failure::Failure;
use orch_document::file;
use orch_sdk::task::{Bundle, BundleDag, Conditions};
use orch_workers::{BodyOf, Folder};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Default name of the folder, in the data folder.
const USUAL: &str = "dags";

/// Returns the folder that a setting names, otherwise the default one if it exists. Fails if the named one is missing.
pub fn folder(config: &Config) -> Result<Option<PathBuf>, Failure> {
    match &config.dags_folder {
        Some(named) if named.is_dir() => Ok(Some(named.clone())),
        Some(named) => Err(Failure::new(format!("there is no folder `{}`", named.display()))
            .hint("make it, or name another with `--dags-folder` or `ORCH_DAGS_FOLDER`")),
        None => Ok(Some(usual(config)).filter(|usual| usual.is_dir())),
    }
}

/// Returns the default folder, in the data folder.
pub fn usual(config: &Config) -> PathBuf {
    config.data_dir.join(USUAL)
}

/// Reads the folder. Fails if there is none.
pub fn read_folder(config: &Config, body_of: BodyOf) -> Result<Folder, Failure> {
    let Some(path) = folder(config)? else {
        return Err(
            Failure::new("there is no folder of DAG files").hint("name one with `--dags-folder` or `ORCH_DAGS_FOLDER`")
        );
    };
    let mut found = Folder::new(path, body_of);
    found.poll_files();
    Ok(found)
}

/// Adds the DAGs of the folder to those of the binary. Prints the problems of broken files and skips these files.
pub fn with_files(bundle: Bundle, config: &Config, body_of: BodyOf) -> Result<Bundle, Failure> {
    let Some(path) = folder(config)? else { return Ok(bundle) };
    let mut folder = Folder::new(path, body_of);
    folder.poll_files();
    for problem in folder.report().iter().flat_map(|file| &file.problems) {
        eprintln!("{problem}");
    }
    let of_files = folder.dags().filter(|(spec, _)| bundle.dag(&spec.dag_id).is_none()).map(|(spec, bodies)| {
        BundleDag { spec: spec.clone(), bodies: bodies.clone(), conditions: Conditions::default() }
    });
    let dags: Vec<BundleDag> = bundle.dags().cloned().chain(of_files).collect();
    Bundle::new(&bundle.name, dags).map_err(|problems| Failure::dags(&problems))
}

/// Returns the DAGs of a single file.
pub fn of_path(path: &Path, body_of: BodyOf) -> Result<Bundle, Failure> {
    let read = |error| Failure::new(format!("cannot read `{}`: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(read)?;
    let folder = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    let specs = file::parse(&path.to_string_lossy(), &folder.to_string_lossy(), &bytes);
    let mut specs = specs.map_err(|problems| Failure::files(&problems))?;
    let problems = file::add_scripts(&mut specs);
    if !problems.is_empty() {
        return Err(Failure::files(&problems));
    }
    let mut dags = Vec::new();
    for spec in specs {
        let body = |task| body_of(task).map_err(|message| file::problem_of_task(task, message));
        let mut bodies = HashMap::new();
        for task in &spec.tasks {
            let body = body(task).map_err(|problem| Failure::files(&[problem]))?;
            bodies.insert(task.task_id.clone(), body);
        }
        dags.push(BundleDag { spec: spec.into(), bodies, conditions: Conditions::default() });
    }
    Bundle::new("file", dags).map_err(|problems| Failure::dags(&problems))
}
