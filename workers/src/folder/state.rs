//! Reads all files of the DAG folder and combines their content. Only changed files are read again.

use super::BodyOf;
use orch_document::dashboard::{Dashboard, is_dashboard_file};
use orch_document::file::{self, is_dag_file};
use orch_document::folder::{Broken, CachedFile, Files, problem_of_file};
use orch_sdk::task::TaskFn;
use orch_spec::DagSpec;
use orch_spec::check::FileProblem;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(super) struct FileDag {
    pub(super) spec: Arc<DagSpec>,
    pub(super) bodies: HashMap<String, TaskFn>,
}

/// The combined content of all files.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) dags: BTreeMap<String, FileDag>,
    /// Dashboards by name, with the path of their file.
    pub(super) dashboards: BTreeMap<String, (String, Dashboard)>,
    pub(super) broken: Broken,
    /// Folders that could not be read. DAGs and dashboards from these folders remain registered.
    unreadable: BTreeSet<String>,
}

impl Standing {
    /// Returns true if the DAGs and dashboards of an unreadable file remain registered.
    pub(super) fn keeps(&self, file: &str) -> bool {
        let below = |folder: &String| folder == "." || file.strip_prefix(folder).is_some_and(|f| f.starts_with('/'));
        self.broken.contains_key(file) || self.unreadable.iter().any(below)
    }

    /// Removes a DAG and reports the reason as a problem of its file.
    pub(super) fn refuse(&mut self, dag_id: &str, why: &str) {
        let Some(found) = self.dags.remove(dag_id) else { return };
        let at = &found.spec.location;
        let problem = FileProblem {
            file: at.file.clone(),
            line: at.line,
            column: 1,
            message: why.into(),
            hint: "give one of the two another id".into(),
        };
        self.broken.entry(at.file.clone()).or_default().push(problem);
    }

    /// Adds a dashboard. If two dashboards have the same name, the one whose file path sorts first is used.
    fn add_dashboard(&mut self, file: &str, dashboard: &Dashboard) {
        match self.dashboards.entry(dashboard.name.clone()) {
            Entry::Vacant(place) => drop(place.insert((file.into(), dashboard.clone()))),
            Entry::Occupied(first) => {
                let message = format!("there is a dashboard `{}` already, in `{}`", dashboard.name, first.get().0);
                self.broken.insert(file.into(), vec![problem_of_file(file, &message, ANOTHER_NAME)]);
            }
        }
    }

    /// Removes a dashboard and reports the reason as a problem of its file.
    pub(super) fn refuse_dashboard(&mut self, name: &str, why: &str) {
        let Some((file, _)) = self.dashboards.remove(name) else { return };
        let problem = problem_of_file(&file, why, ANOTHER_NAME);
        self.broken.entry(file).or_default().push(problem);
    }
}

enum FileContent {
    Dags(Vec<FileDag>),
    Dashboard(Box<Dashboard>),
    /// A Python file. DAGs are not read from Python files.
    Python {
        /// True if the file contains the words by which Airflow recognizes DAG files.
        looks_like_dag: bool,
    },
}

impl FileContent {
    fn dags(&self) -> &[FileDag] {
        if let FileContent::Dags(dags) = self { dags } else { &[] }
    }
}

/// Returns the content of a cached file that has no problems.
fn good_content(known: &CachedFile<FileContent>) -> Option<&FileContent> {
    known.good.as_ref().filter(|_| known.problems.is_empty())
}

const ANOTHER_NAME: &str = "give one of the two another `name`";

/// Result of reading one file, in the form that users see.
#[derive(Debug, Clone)]
pub struct FileReport {
    pub file: String,
    pub took: Duration,
    pub dags: Vec<Arc<DagSpec>>,
    pub problems: Vec<FileProblem>,
}

pub struct Folder {
    files: Files<FileContent>,
    standing: Standing,
}

impl Folder {
    pub fn new(path: PathBuf, body_of: BodyOf) -> Folder {
        let files = Files::new(path, is_wanted, move |file, path, bytes| parse(file, path, bytes, body_of))
            .with_related(scripts_of_file);
        Folder { files, standing: Standing::default() }
    }

    /// Checks all files for changes. Returns true if the combined content has changed.
    pub fn poll_files(&mut self) -> bool {
        let is_changed = self.files.poll_changes();
        if is_changed {
            self.standing = self.stand();
        }
        is_changed
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Returns the result of reading each file, by path.
    pub fn report(&self) -> Vec<FileReport> {
        let broken = |file: &str| self.standing.broken.get(file).cloned().unwrap_or_default();
        let folders = self.files.unreadable().map(|(folder, _)| {
            let problems = broken(&folder);
            FileReport { file: folder, took: Duration::ZERO, dags: Vec::new(), problems }
        });
        let is_listed = |(file, _): &(&str, _)| !is_python_file(file) || self.standing.broken.contains_key(*file);
        let files = self.files.known().filter(is_listed).map(|(file, known)| FileReport {
            file: file.into(),
            took: known.took,
            dags: good_content(known).into_iter().flat_map(FileContent::dags).map(|found| found.spec.clone()).collect(),
            problems: broken(file),
        });
        folders.chain(files).collect()
    }

    /// Returns the DAGs of the folder with the task functions of their tasks.
    pub fn dags(&self) -> impl Iterator<Item = (&Arc<DagSpec>, &HashMap<String, TaskFn>)> {
        self.standing.dags.values().map(|found| (&found.spec, &found.bodies))
    }

    /// Combines all files. If two DAGs have the same id, the one whose file path sorts first is used.
    fn stand(&self) -> Standing {
        let mut standing = Standing {
            broken: self.files.broken("mend it, or name another with `--dags-folder`"),
            unreadable: self.files.unreadable().map(|(folder, _)| folder).collect(),
            ..Standing::default()
        };
        let mut names: HashMap<&str, &DagSpec> = HashMap::new();
        for (file, known) in self.files.known() {
            let found = match good_content(known) {
                Some(FileContent::Dags(found)) => found,
                Some(FileContent::Dashboard(dashboard)) => {
                    standing.add_dashboard(file, dashboard);
                    continue;
                }
                // The database keeps the last valid version of this file's DAGs.
                Some(FileContent::Python { .. }) | None => continue,
            };
            for dag in found {
                let own = || std::iter::once(&dag.spec.dag_id).chain(&dag.spec.aliases);
                if let Some((name, first)) = own().find_map(|name| Some((name, *names.get(name.as_str())?))) {
                    let problem = FileProblem {
                        file: file.into(),
                        line: dag.spec.location.line,
                        column: 1,
                        message: format!("the name `{name}` is used already, at {}", first.location),
                        hint: "give one of the two another id".into(),
                    };
                    standing.broken.entry(file.into()).or_default().push(problem);
                    continue;
                }
                names.extend(own().map(|name| (name.as_str(), &*dag.spec)));
                standing.dags.insert(dag.spec.dag_id.clone(), dag.clone());
            }
        }
        standing.broken.extend(self.python_files());
        standing
    }

    /// Returns Python files that are neither scripts of tasks nor modules of these scripts: probably Airflow DAGs.
    fn python_files(&self) -> Vec<(String, Vec<FileProblem>)> {
        let python = self.files.known().filter_map(|(file, known)| match known.good {
            Some(FileContent::Python { looks_like_dag }) => Some((file, looks_like_dag)),
            _ => None,
        });
        let (scripts, others): (Vec<_>, Vec<_>) = python.partition(|(file, _)| self.is_named(file));
        let folders: BTreeSet<&Path> = scripts.iter().filter_map(|(file, _)| Path::new(*file).parent()).collect();
        let is_module = |file: &str| folders.iter().any(|folder| Path::new(file).starts_with(folder));
        let unread = others.into_iter().filter(|(file, looks_like_dag)| *looks_like_dag || !is_module(file));
        unread.map(|(file, _)| (file.to_string(), vec![problem_of_file(file, NO_PYTHON_DAGS, PYTHON_HINT)])).collect()
    }

    /// Returns true if a task refers to the script in `file`, in its arguments or in a command.
    fn is_named(&self, script: &str) -> bool {
        let name = script.rsplit('/').next().unwrap_or(script);
        let dags = self.files.known().filter_map(|(_, known)| known.good.as_ref()).flat_map(FileContent::dags);
        dags.flat_map(|dag| &dag.spec.tasks).any(|task| task.config.to_string().contains(name))
    }
}

const NO_PYTHON_DAGS: &str = "the file is ignored: orch reads DAGs from YAML and JSON files, not from Python files";
const PYTHON_HINT: &str = "write the DAG as YAML, see the guide to DAG files; name a script of a task with `python: {file: …}`; or put a dot \
    before the name of the file to hide it";

fn is_python_file(name: &str) -> bool {
    !name.starts_with('.') && Path::new(name).extension().is_some_and(|extension| extension == "py")
}

fn is_wanted(name: &str) -> bool {
    is_dag_file(name) || is_python_file(name)
}

/// Applies Airflow's heuristic for DAG files: the file contains both `dag` and `airflow`.
fn looks_like_dag(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    text.contains("dag") && text.contains("airflow")
}

/// Returns the scripts to which the DAGs of a file refer.
fn scripts_of_file(file: &str, path: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    // Few files refer to scripts. The search avoids parsing the others twice.
    let has_scripts = !is_python_file(file) && !is_dashboard_file(file) && bytes.windows(4).any(|word| word == b"file");
    let dags = has_scripts.then(|| file::parse(file, &folder_of(path), bytes)).and_then(Result::ok);
    dags.iter().flatten().flat_map(file::scripts_of).collect()
}

fn folder_of(path: &Path) -> String {
    path.parent().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default()
}

fn parse(file: &str, path: &Path, bytes: &[u8], body_of: BodyOf) -> Result<FileContent, Vec<FileProblem>> {
    if is_dashboard_file(file) {
        return Dashboard::read(file, bytes).map(|dashboard| FileContent::Dashboard(Box::new(dashboard)));
    }
    if is_python_file(file) {
        return Ok(FileContent::Python { looks_like_dag: looks_like_dag(bytes) });
    }
    let mut specs = file::parse(file, &folder_of(path), bytes)?;
    let (mut found, mut problems) = (Vec::new(), file::add_scripts(&mut specs));
    for spec in specs {
        let mut bodies = HashMap::with_capacity(spec.tasks.len());
        for task in &spec.tasks {
            match body_of(task) {
                Ok(body) => drop(bodies.insert(task.task_id.clone(), body)),
                Err(message) => problems.push(file::problem_of_task(task, message)),
            }
        }
        found.push(FileDag { spec: Arc::new(spec), bodies });
    }
    if problems.is_empty() { Ok(FileContent::Dags(found)) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const BODY_OF: BodyOf = |_| Ok(TaskFn::untyped(|_, _| Box::pin(async { Ok(None) })));

    fn broken(folder: &Folder) -> Vec<String> {
        folder.standing().broken.iter().map(|(file, problems)| format!("{file}: {}", problems[0].message)).collect()
    }

    #[test]
    fn python_files_are_listed_unless_they_are_scripts_or_their_modules() {
        let place = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(place.path().join(name), text).expect("a file");
        for folder in ["scripts", "scripts/lib", "other"] {
            fs::create_dir(place.path().join(folder)).expect("a folder");
        }
        write(
            "a.yaml",
            "dag_id: a\ntasks:\n  t: {python: {file: scripts/t.py}}\n  u: {bash: python3 /dags/other/u.py}\n",
        );
        for module in ["scripts/t.py", "scripts/lib/helper.py", "other/u.py", ".hidden.py"] {
            write(module, "print(1)");
        }
        let mut folder = Folder::new(place.path().into(), BODY_OF);
        assert!(folder.poll_files());
        assert_eq!(broken(&folder), Vec::<String>::new());
        assert_eq!(folder.report().len(), 1, "Python files are not DAG files");
        write("etl.py", "print(1)");
        write("scripts/migrated.py", "from airflow import DAG");
        assert!(folder.poll_files());
        let expected = ["etl.py", "scripts/migrated.py"].map(|file| format!("{file}: {NO_PYTHON_DAGS}"));
        assert_eq!(broken(&folder), expected);
        assert_eq!(folder.report().len(), 3);
        fs::remove_file(place.path().join("etl.py")).expect("the file exists");
        fs::remove_file(place.path().join("scripts/migrated.py")).expect("the file exists");
        assert!(folder.poll_files());
        assert!(broken(&folder).is_empty());
    }

    #[test]
    fn a_changed_script_is_a_new_version_and_a_missing_one_an_import_error() {
        let place = tempfile::tempdir().expect("a folder");
        let script = place.path().join("t.py");
        fs::write(place.path().join("a.yaml"), "dag_id: a\ntasks:\n  t: {python: {file: t.py}}\n").expect("a file");
        let mut folder = Folder::new(place.path().into(), BODY_OF);
        folder.poll_files();
        let missing = format!("a.yaml: task `t`: there is no file `{}`", script.display());
        assert_eq!(broken(&folder), [missing]);
        let version = |folder: &Folder| folder.dags().map(|(dag, _)| dag.version()).collect::<Vec<_>>();
        let mut versions = Vec::new();
        for text in ["print(1)", "print(22)"] {
            fs::write(&script, text).expect("a script");
            assert!(folder.poll_files(), "the script has changed");
            assert!(broken(&folder).is_empty());
            versions.extend(version(&folder));
        }
        assert_eq!(versions.len(), 2);
        assert_ne!(versions[0], versions[1]);
    }
}
