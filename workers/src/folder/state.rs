//! What the files of a folder say together: which DAGs there are, and what is broken. Only files that changed are read.

use super::scan::{Seen, Stamp, scan};
use super::{BodyOf, Broken};
use orch_document::dashboard::{Dashboard, is_dashboard_file};
use orch_document::file::{self, MAX_FILE_BYTES, is_dag_file};
use orch_sdk::task::TaskFn;
use orch_spec::DagSpec;
use orch_spec::check::FileProblem;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A file is read once more so long after it was seen to change: clocks of file systems are coarse, and it may have been
/// written again in the same moment.
const SETTLES_IN: Duration = Duration::from_secs(2);

/// A DAG of a file, with the bodies of its tasks.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) spec: Arc<DagSpec>,
    pub(super) bodies: HashMap<String, TaskFn>,
}

/// What all files say together.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) dags: BTreeMap<String, Found>,
    /// By name, with their files.
    pub(super) dashboards: BTreeMap<String, (String, Dashboard)>,
    pub(super) broken: Broken,
    /// Folders that could not be read: what is below them is as before.
    unreadable: BTreeSet<String>,
}

impl Standing {
    /// Whatever is known of this file stays.
    pub(super) fn keeps(&self, file: &str) -> bool {
        let below =
            |folder: &String| folder.is_empty() || file.strip_prefix(folder).is_some_and(|f| f.starts_with('/'));
        self.broken.contains_key(file) || self.unreadable.iter().any(below)
    }

    /// A DAG of a file is not taken after all.
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

    /// Of two with the same name the first by path has it.
    fn add_dashboard(&mut self, file: &str, dashboard: &Dashboard) {
        match self.dashboards.entry(dashboard.name.clone()) {
            Entry::Vacant(place) => drop(place.insert((file.into(), dashboard.clone()))),
            Entry::Occupied(first) => {
                let message = format!("there is a dashboard `{}` already, in `{}`", dashboard.name, first.get().0);
                self.broken.insert(file.into(), vec![whole(file, message, ANOTHER_NAME)]);
            }
        }
    }

    /// The same for a dashboard.
    pub(super) fn refuse_dashboard(&mut self, name: &str, why: String) {
        let Some((file, _)) = self.dashboards.remove(name) else { return };
        let problem = whole(&file, why, ANOTHER_NAME);
        self.broken.entry(file).or_default().push(problem);
    }
}

/// What a file says.
enum Said {
    Dags(Vec<Found>),
    Dashboard(Box<Dashboard>),
}

impl Said {
    fn dags(&self) -> &[Found] {
        if let Said::Dags(dags) = self { dags } else { &[] }
    }
}

const ANOTHER_NAME: &str = "give one of the two another `name`";

/// A file as it was read last.
struct Known {
    stamp: Stamp,
    /// When it is read once more.
    settles_at: Option<Instant>,
    bytes_hash: u64,
    took: Duration,
    said: Result<Said, Vec<FileProblem>>,
}

/// For people: what reading a file gave.
#[derive(Debug, Clone)]
pub struct FileReport {
    pub file: String,
    pub took: Duration,
    pub dags: Vec<Arc<DagSpec>>,
    pub problems: Vec<FileProblem>,
}

/// A folder of DAG files.
pub struct Folder {
    path: PathBuf,
    body_of: BodyOf,
    files: BTreeMap<String, Known>,
    unreadable: BTreeMap<String, String>,
    standing: Standing,
    looked: bool,
}

impl Folder {
    pub fn new(path: PathBuf, body_of: BodyOf) -> Folder {
        Folder {
            path,
            body_of,
            files: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            standing: Standing::default(),
            looked: false,
        }
    }

    /// Looks at the folder once. `true`: it says something else than before.
    pub fn look(&mut self) -> bool {
        let Seen { files, unreadable } = scan(&self.path, is_dag_file);
        let mut changed = !self.looked || unreadable != self.unreadable;
        (self.looked, self.unreadable) = (true, unreadable);
        let lost: Vec<String> = self.files.keys().filter(|file| !files.contains_key(*file)).cloned().collect();
        for file in lost {
            // What could not be looked at is not gone.
            if !self.unreadable.keys().any(|folder| folder.is_empty() || file.starts_with(&format!("{folder}/"))) {
                self.files.remove(&file);
                changed = true;
            }
        }
        for (file, stamp) in files {
            let before = self.files.get(&file);
            let is_due = |known: &Known| known.settles_at.is_some_and(|at| Instant::now() >= at);
            match before {
                Some(known) if known.stamp == stamp && !is_due(known) => {}
                Some(known) => {
                    let settles_at = (known.stamp != stamp).then(|| Instant::now() + SETTLES_IN);
                    let before = Some(known.bytes_hash);
                    changed |= self.read(file, stamp, settles_at, before);
                }
                None => changed |= self.read(file, stamp, Some(Instant::now() + SETTLES_IN), None),
            }
        }
        if changed {
            self.standing = self.stand();
        }
        changed
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What each file said, by path.
    pub fn report(&self) -> Vec<FileReport> {
        let unreadable = self.unreadable.keys().filter(|folder| !self.files.contains_key(*folder));
        let broken = |file: &str| self.standing.broken.get(file).cloned().unwrap_or_default();
        let folders = unreadable.map(|folder| {
            let name = shown(folder);
            let problems = broken(&name);
            FileReport { file: name, took: Duration::ZERO, dags: Vec::new(), problems }
        });
        let files = self.files.iter().map(|(file, known)| FileReport {
            file: file.clone(),
            took: known.took,
            dags: known.said.iter().flat_map(Said::dags).map(|found| found.spec.clone()).collect(),
            problems: broken(file),
        });
        folders.chain(files).collect()
    }

    /// The DAGs that the files say, with their bodies.
    pub fn dags(&self) -> impl Iterator<Item = (&Arc<DagSpec>, &HashMap<String, TaskFn>)> {
        self.standing.dags.values().map(|found| (&found.spec, &found.bodies))
    }

    /// `true`: it says something else than before.
    fn read(&mut self, file: String, stamp: Stamp, settles_at: Option<Instant>, before: Option<u64>) -> bool {
        let began = Instant::now();
        let path = self.path.join(&file);
        let mut bytes = Vec::new();
        // One byte more than is taken, so that the reader sees that it is too long.
        let read = File::open(&path).and_then(|open| open.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes));
        let bytes_hash = hash(&bytes, read.is_ok());
        if before == Some(bytes_hash)
            && let Some(known) = self.files.get_mut(&file)
        {
            (known.stamp, known.settles_at) = (stamp, settles_at);
            return false;
        }
        let said = match read {
            Ok(_) => self.parse(&file, &path, &bytes),
            Err(error) => Err(vec![whole(&file, format!("the file cannot be read: {error}"), "look who may read it")]),
        };
        self.files.insert(file, Known { stamp, settles_at, bytes_hash, took: began.elapsed(), said });
        true
    }

    fn parse(&self, file: &str, path: &Path, bytes: &[u8]) -> Result<Said, Vec<FileProblem>> {
        if is_dashboard_file(file) {
            return Dashboard::read(file, bytes).map(|dashboard| Said::Dashboard(Box::new(dashboard)));
        }
        let folder = path.parent().map(|folder| folder.to_string_lossy()).unwrap_or_default();
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for spec in file::parse(file, &folder, bytes)? {
            let mut bodies = HashMap::with_capacity(spec.tasks.len());
            for task in &spec.tasks {
                match (self.body_of)(task) {
                    Ok(body) => drop(bodies.insert(task.task_id.clone(), body)),
                    Err(message) => problems.push(file::problem_of_task(task, message)),
                }
            }
            found.push(Found { spec: Arc::new(spec), bodies });
        }
        if problems.is_empty() { Ok(Said::Dags(found)) } else { Err(problems) }
    }

    /// All files together: of two with the same name the first by path has it.
    fn stand(&self) -> Standing {
        let mut standing = Standing { unreadable: self.unreadable.keys().cloned().collect(), ..Standing::default() };
        for (folder, error) in &self.unreadable {
            let name = shown(folder);
            let problem = whole(
                &name,
                format!("the folder cannot be read: {error}"),
                "mend it, or name another with `--dags-folder`",
            );
            standing.broken.insert(name, vec![problem]);
        }
        let mut names: HashMap<&str, &DagSpec> = HashMap::new();
        for (file, known) in &self.files {
            let found = match &known.said {
                Ok(Said::Dags(found)) => found,
                Ok(Said::Dashboard(dashboard)) => {
                    standing.add_dashboard(file, dashboard);
                    continue;
                }
                Err(problems) => {
                    standing.broken.insert(file.clone(), problems.clone());
                    continue;
                }
            };
            for dag in found {
                let own = || std::iter::once(&dag.spec.dag_id).chain(&dag.spec.aliases);
                if let Some((name, first)) = own().find_map(|name| Some((name, *names.get(name.as_str())?))) {
                    let problem = FileProblem {
                        file: file.clone(),
                        line: dag.spec.location.line,
                        column: 1,
                        message: format!("the name `{name}` is used already, at {}", first.location),
                        hint: "give one of the two another id".into(),
                    };
                    standing.broken.entry(file.clone()).or_default().push(problem);
                    continue;
                }
                names.extend(own().map(|name| (name.as_str(), &*dag.spec)));
                standing.dags.insert(dag.spec.dag_id.clone(), dag.clone());
            }
        }
        standing
    }
}

fn shown(folder: &str) -> String {
    if folder.is_empty() { ".".into() } else { folder.into() }
}

fn whole(file: &str, message: String, hint: &str) -> FileProblem {
    FileProblem { file: file.into(), line: 0, column: 0, message, hint: hint.into() }
}

fn hash(bytes: &[u8], is_whole: bool) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    (bytes, is_whole).hash(&mut hasher);
    hasher.finish()
}
