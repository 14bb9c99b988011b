//! Reads projects with `cargo metadata`, and builds them.

use orch_binary::failure::Failure;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// A package that contains a binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    /// Folders of the packages in its workspace.
    pub(crate) watched: Vec<PathBuf>,
    pub(crate) is_release: bool,
}

impl Project {
    /// Finds the project of a folder or of its nearest parent folder with a `Cargo.toml`.
    pub(crate) async fn find(folder: &Path, binary: Option<&str>) -> Result<Project, Failure> {
        let folder = folder
            .canonicalize()
            .map_err(|error| Failure::new(format!("`{}` cannot be used: {error}", folder.display())))?;
        let manifest = folder.ancestors().map(|folder| folder.join("Cargo.toml")).find(|manifest| manifest.is_file());
        let manifest = manifest.ok_or_else(|| {
            Failure::new(format!("there is no project in `{}`", folder.display()))
                .hint("make one with `orch new my-pipelines`, or name its folder with `--project`")
        })?;
        let asked = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(&manifest)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let asked = asked.await.map_err(|error| no_cargo(&error))?;
        if !asked.status.success() {
            let said = String::from_utf8_lossy(&asked.stderr);
            return Err(Failure::new(format!("cargo cannot read `{}`: {}", manifest.display(), said.trim())));
        }
        let metadata = serde_json::from_slice(&asked.stdout)
            .map_err(|error| Failure::new(format!("cargo says what is no JSON: {error}")))?;
        Project::of_metadata(&metadata, &manifest, binary)
    }

    /// Selects the binary from the output of `cargo metadata`. `manifest` belongs to the package, or to a workspace in
    /// which one package has the binary.
    fn of_metadata(metadata: &Value, manifest: &Path, wished: Option<&str>) -> Result<Project, Failure> {
        let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
        let is_here = |package: &&Value| package["manifest_path"].as_str() == manifest.to_str();
        let here: Vec<&Value> = match packages.iter().copied().find(|package| is_here(package)) {
            Some(package) => vec![package],
            None => packages.clone(),
        };
        let bins: Vec<&str> = here.iter().copied().flat_map(binaries).collect();
        let usual = match here[..] {
            [package] => package["default_run"].as_str(),
            _ => None,
        };
        let name = match (wished.or(usual), &bins[..]) {
            (Some(wished), _) if bins.contains(&wished) => wished,
            (Some(wished), _) => {
                return Err(Failure::new(format!("the project has no binary `{wished}`"))
                    .hint(format!("it has {}", bins.join(", "))));
            }
            (None, [one]) => *one,
            (None, []) => {
                return Err(Failure::new(format!("`{}` has no binary", manifest.display()))
                    .hint("write a `src/main.rs` that returns `orch::main(…)`"));
            }
            (None, several) => {
                return Err(Failure::new("the project has several binaries")
                    .hint(format!("choose one with `--bin`: {}", several.join(", "))));
            }
        };
        let mut watched: Vec<PathBuf> = packages.iter().copied().filter_map(folder_of).map(Path::to_owned).collect();
        let root = manifest.parent().unwrap_or(manifest).to_owned();
        watched.push(root.clone());
        watched.sort();
        watched.dedup();
        Ok(Project { name: name.into(), root, watched, is_release: false })
    }

    /// Builds the binary and returns its path. Messages of the compiler go to standard error. `None` if the build
    /// fails.
    pub(crate) async fn build(&self) -> Result<Option<PathBuf>, Failure> {
        let mut command = Command::new("cargo");
        command.args(["build", "--message-format", "json-render-diagnostics", "--bin", &self.name]);
        command.args(self.is_release.then_some("--release"));
        command.current_dir(&self.root).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| no_cargo(&error))?;
        let said = child.stdout.take().expect("standard output was asked for");
        let mut lines = BufReader::new(said).lines();
        let mut built = None;
        while let Some(line) = lines.next_line().await.map_err(Failure::io("cannot hear cargo"))? {
            built = executable(&line, &self.name).or(built);
        }
        let ended = child.wait().await.map_err(Failure::io("cannot wait for cargo"))?;
        Ok(built.filter(|_| ended.success()))
    }

    /// Returns a path relative to the folder of the project, for messages.
    pub(crate) fn relative_path(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

fn folder_of(package: &Value) -> Option<&Path> {
    Path::new(package["manifest_path"].as_str()?).parent()
}

fn no_cargo(error: &std::io::Error) -> Failure {
    let failure = Failure::new(format!("cannot run `cargo`: {error}"));
    match error.kind() {
        std::io::ErrorKind::NotFound => failure.hint("install Rust: https://rustup.rs"),
        _ => failure,
    }
}

fn binaries(package: &Value) -> Vec<&str> {
    let targets = package["targets"].as_array().into_iter().flatten();
    let is_binary =
        |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"));
    targets.filter(is_binary).filter_map(|target| target["name"].as_str()).collect()
}

/// Returns the path of the binary if this line of cargo's output contains it.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let said: Value = serde_json::from_str(line).ok()?;
    let is_it = said["reason"] == "compiler-artifact" && said["target"]["name"] == name;
    said["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(folder: &str, bins: &[&str]) -> Value {
        let bin = |name: &&str| json!({ "name": name, "kind": ["bin"] });
        let lib = json!({ "name": "lib", "kind": ["lib"] });
        let targets: Vec<Value> = bins.iter().map(bin).chain([lib]).collect();
        json!({ "name": folder, "manifest_path": format!("/p/{folder}/Cargo.toml"), "targets": targets })
    }

    fn check(packages: &[Value], folder: &str, wished: Option<&str>, expected: &str) {
        let metadata = json!({ "packages": packages });
        let manifest = Path::new("/p").join(folder).join("Cargo.toml");
        let found = match Project::of_metadata(&metadata, &manifest, wished) {
            Ok(project) => {
                let watched: Vec<_> = project.watched.iter().map(|path| path.display().to_string()).collect();
                format!("{} of {}", project.name, watched.join(" "))
            }
            Err(failure) => format!("{failure:?}").split('"').nth(1).unwrap().to_owned(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn the_binary_of_a_project_is_the_one_there_is_or_the_one_that_was_named() {
        let (one, two, none) = (package("one", &["one"]), package("two", &["a", "b"]), package("none", &[]));
        check(std::slice::from_ref(&one), "one", None, "one of /p/one");
        check(&[one.clone(), none.clone()], "one", None, "one of /p/none /p/one");
        check(&[one.clone(), none.clone()], "", None, "one of /p /p/none /p/one");
        check(std::slice::from_ref(&two), "two", None, "the project has several binaries");
        check(std::slice::from_ref(&two), "two", Some("b"), "b of /p/two");
        check(std::slice::from_ref(&two), "two", Some("c"), "the project has no binary `c`");
        check(&[none], "none", None, "`/p/none/Cargo.toml` has no binary");
        let mut usual = two;
        usual["default_run"] = json!("a");
        check(&[usual], "two", None, "a of /p/two");
    }

    #[test]
    fn cargo_says_where_the_binary_is() {
        let line =
            json!({ "reason": "compiler-artifact", "target": { "name": "p" }, "executable": "/t/p" }).to_string();
        assert_eq!(executable(&line, "p"), Some("/t/p".into()));
        assert_eq!(executable(&line, "q"), None);
        assert_eq!(executable("not JSON", "p"), None);
        let library =
            json!({ "reason": "compiler-artifact", "target": { "name": "p" }, "executable": null }).to_string();
        assert_eq!(executable(&library, "p"), None);
    }
}
