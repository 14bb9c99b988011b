//! `orch new`: creates a project.

use crate::project::{Dependency, files, git, refuse_name};
use orch_binary::failure::{Exit, Failure, Outcome};
use std::path::{Path, PathBuf};

/// Write a new project with a DAG to begin with
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch new my-pipelines && cd my-pipelines && orch dev\n  \
    orch new my-pipelines --path ~/src/orch\n  orch new my-pipelines --git https://example.com/orch.git --tag v0.1.0\n\n\
    The project uses the `orch` that this binary was built from, unless another is named.")]
pub(crate) struct New {
    /// Folder to make; its name is the project's
    folder: PathBuf,
    /// Name of the project, if it is not the folder's
    #[arg(long)]
    name: Option<String>,
    /// Use the crate `orch` of this folder: a checkout of orch
    #[arg(long, value_name = "FOLDER", group = "source")]
    path: Option<PathBuf>,
    /// Use the crate `orch` of this git repository
    #[arg(long, value_name = "URL", group = "source")]
    git: Option<String>,
    /// Of the git repository: this branch
    #[arg(long, requires = "git", group = "ref")]
    branch: Option<String>,
    /// Of the git repository: this tag
    #[arg(long, requires = "git", group = "ref")]
    tag: Option<String>,
    /// Of the git repository: this commit
    #[arg(long, requires = "git", group = "ref")]
    rev: Option<String>,
    /// Use this version of the crate `orch` from crates.io
    #[arg(long, value_name = "VERSION", group = "source")]
    orch_version: Option<String>,
}

impl New {
    pub(crate) fn run(self) -> Outcome {
        let name = self.named()?;
        if let Some((why, better)) = refuse_name(&name) {
            return Err(Failure::new(why).hint(format!("call it `{better}`: `--name {better}`")));
        }
        let orch = self.dependency()?;
        refuse_used(&self.folder)?;
        for (path, text) in files(&name, &orch, parent(&self.folder).as_deref()) {
            write(&self.folder.join(path), &text)?;
        }
        if let Some(lock) = orch.lock_file() {
            let text =
                std::fs::read_to_string(&lock).map_err(Failure::io(format!("cannot read `{}`", lock.display())))?;
            write(&self.folder.join("Cargo.lock"), &text)?;
        }
        eprintln!("project `{name}` is in `{}`, with orch from {}", self.folder.display(), orch.words());
        eprintln!("  run it    cd {} && orch dev", self.folder.display());
        eprintln!("  test it   cd {} && cargo test", self.folder.display());
        eprintln!("  write     {}", self.folder.join("src/main.rs").display());
        Ok(Exit::Done)
    }

    fn named(&self) -> Result<String, Failure> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let name = self.folder.file_name().map(|name| name.to_string_lossy().into_owned());
        name.filter(|name| !name.is_empty()).ok_or_else(|| {
            Failure::new(format!("the folder `{}` gives the project no name", self.folder.display()))
                .hint("name the project, for example with `--name my-project`")
        })
    }

    fn dependency(&self) -> Result<Dependency, Failure> {
        if let Some(path) = &self.path {
            let missing = || {
                Failure::new(format!("there is no crate `orch` in `{}`", path.display()))
                    .hint("name a checkout of orch, or the folder `orch` in one")
            };
            return Dependency::at_path(path).ok_or_else(missing);
        }
        if let Some(url) = &self.git {
            return Ok(git(url, self.branch.as_deref(), self.tag.as_deref(), self.rev.as_deref()));
        }
        if let Some(version) = &self.orch_version {
            return Ok(Dependency::Version(version.clone()));
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        Dependency::of_this_binary(sources, env!("CARGO_PKG_VERSION")).ok_or_else(|| {
            let checkout = sources.parent().unwrap_or(sources).display();
            Failure::new(format!("the checkout of orch that this binary was built from, `{checkout}`, does not exist"))
                .hint("name a checkout with `--path FOLDER`, or a repository with `--git URL`")
        })
    }
}

/// Returns the folder that contains a folder, which need not exist. `None` if the containing folder does not exist.
fn parent(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().or_else(|_| std::path::absolute(folder)).ok()?;
    folder.parent()?.canonicalize().ok()
}

/// Fails if the folder is not empty, because existing files must not be overwritten.
fn refuse_used(folder: &Path) -> Result<(), Failure> {
    let inside = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(Failure::new(format!("`{}` cannot be used: {error}", folder.display()))),
    };
    if inside {
        return Err(Failure::new(format!("`{}` is there and not empty", folder.display()))
            .hint("choose another folder; nothing was written"));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(Failure::io(format!("cannot make `{}`", folder.display())))?;
    std::fs::write(path, text).map_err(Failure::io(format!("cannot write `{}`", path.display())))
}
