//! The files that `orch new` writes for a new project. `template/src/main.rs` is compiled and tested in this repository
//! (`dags/examples/tests/new_project.rs`), so that new projects work.

use std::path::{Path, PathBuf};

/// Source of the crate `orch` for a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dependency {
    /// A folder with the crate `orch`.
    Path(PathBuf),
    Git {
        url: String,
        /// Branch, tag or commit as key and value in `Cargo.toml`.
        at: Option<(&'static str, String)>,
    },
    Version(String),
}

/// Maximum length of a name on crates.io.
const LONGEST_NAME: usize = 64;
/// Names that a package cannot have: keywords of Rust, and crates that every program uses.
const TAKEN: [&str; 49] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "orch",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "schemars",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tokio",
    "true",
    "type",
    "use",
];

/// Comment above a dependency by path, which is the only machine-dependent line of a project.
const PATH_COMMENT: &str = "# A checkout of orch on this machine. On another machine, write the path of its checkout, or:\n\
    # orch = { git = \"URL\", rev = \"COMMIT\" }\n";

const MANIFEST: &str = include_str!("../template/Cargo.toml.txt");
const SOURCE: &str = include_str!("../template/src/main.rs");
const README: &str = include_str!("../template/README.md");
const IGNORED: &str = include_str!("../template/gitignore");

/// Returns why a project cannot have this name, and a similar valid name. `None` if the name is valid.
pub(crate) fn refuse_name(name: &str) -> Option<(String, String)> {
    let Some(first) = name.chars().next() else {
        return Some(("a project has a name".into(), "my-pipelines".into()));
    };
    if let Some(wrong) = name.chars().find(|letter| !letter.is_ascii_alphanumeric() && !"-_".contains(*letter)) {
        let better: String =
            name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
        return Some((
            format!("`{wrong}` cannot be in the name of a project"),
            better.trim_matches('-').to_lowercase(),
        ));
    }
    if !first.is_ascii_alphabetic() {
        return Some((format!("a project's name cannot begin with `{first}`"), format!("p{name}")));
    }
    if name.len() > LONGEST_NAME {
        return Some((format!("a project's name has at most {LONGEST_NAME} letters"), name[..LONGEST_NAME].into()));
    }
    TAKEN.contains(&name.replace('-', "_").as_str()).then(|| {
        (format!("`{name}` is taken: by Rust, or by a crate that the project uses"), format!("{name}-pipelines"))
    })
}

impl Dependency {
    /// Returns the source that a binary was built from, determined by the folder of its sources: a release if cargo
    /// downloaded it from a registry, otherwise the checkout. `None` if the checkout does not exist on this machine,
    /// because no registry has a version that was built from a checkout.
    pub(crate) fn of_this_binary(sources: &Path, version: &str) -> Option<Dependency> {
        let is_of_registry = sources
            .components()
            .zip(sources.components().skip(1))
            .any(|(folder, inside)| folder.as_os_str() == "registry" && inside.as_os_str() == "src");
        if is_of_registry {
            return Some(Dependency::Version(version.into()));
        }
        let orch = sources.parent()?.join("orch");
        is_orch(&orch).then_some(Dependency::Path(orch))
    }

    /// Returns the crate in a folder, which is either the crate itself or the repository that contains it.
    pub(crate) fn at_path(named: &Path) -> Option<Dependency> {
        let named = named.canonicalize().ok()?;
        [named.join("orch"), named].into_iter().find(|folder| is_orch(folder)).map(Dependency::Path)
    }

    /// Returns the lines in `Cargo.toml`. `parent` is the folder that contains the folder of the project.
    fn toml(&self, parent: Option<&Path>) -> String {
        match self {
            Dependency::Path(folder) => {
                let relative = parent.and_then(|parent| below(folder, parent));
                let path = relative.as_deref().unwrap_or(folder).to_string_lossy();
                format!("{PATH_COMMENT}orch = {{ path = {} }}", quoted(&path))
            }
            Dependency::Git { url, at: None } => format!("orch = {{ git = {} }}", quoted(url)),
            Dependency::Git { url, at: Some((what, name)) } => {
                format!("orch = {{ git = {}, {what} = {} }}", quoted(url), quoted(name))
            }
            Dependency::Version(version) => format!("orch = {}", quoted(version)),
        }
    }

    /// Returns the lock file of the checkout, whose versions are known to work together.
    pub(crate) fn lock_file(&self) -> Option<PathBuf> {
        match self {
            Dependency::Path(orch) => {
                orch.parent().map(|repository| repository.join("Cargo.lock")).filter(|lock| lock.is_file())
            }
            Dependency::Git { .. } | Dependency::Version(_) => None,
        }
    }

    /// Returns the dependency as text for messages.
    pub(crate) fn words(&self) -> String {
        match self {
            Dependency::Path(folder) => format!("`{}`", folder.display()),
            Dependency::Git { url, at: None } => format!("`{url}`"),
            Dependency::Git { url, at: Some((what, name)) } => format!("`{url}`, {what} `{name}`"),
            Dependency::Version(version) => format!("version {version} of crates.io"),
        }
    }
}

/// Returns the path of a folder below `parent`, relative to another folder in `parent`. It stays valid if both are
/// moved together. `None` if the folder is not below `parent`.
fn below(folder: &Path, parent: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let rest = folder.strip_prefix(parent.canonicalize().ok()?).ok()?;
    Some(Path::new("..").join(rest))
}

/// Returns true if the folder contains the crate `orch`, judged by its manifest.
fn is_orch(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|text| {
        let manifest = text.parse::<toml::Table>().ok();
        manifest.is_some_and(|manifest| {
            manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str)
                == Some("orch")
        })
    })
}

/// Returns a TOML string. A JSON string is also a valid TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the files of a project by their paths in its folder. `parent` is the folder that contains the project's
/// folder, or `None` if it does not exist yet.
pub(crate) fn files(name: &str, orch: &Dependency, parent: Option<&Path>) -> [(&'static str, String); 4] {
    let filled = |text: &str| text.replace("{{name}}", name).replace("{{orch}}", &orch.toml(parent));
    [
        ("Cargo.toml", filled(MANIFEST)),
        ("src/main.rs", SOURCE.into()),
        ("README.md", filled(README)),
        (".gitignore", IGNORED.into()),
    ]
}

/// Returns a dependency on a git repository, at the branch, tag or commit if one is given.
pub(crate) fn git(url: &str, branch: Option<&str>, tag: Option<&str>, rev: Option<&str>) -> Dependency {
    let mut refs = [("branch", branch), ("tag", tag), ("rev", rev)].into_iter();
    let at = refs.find_map(|(what, name)| name.map(|name| (what, name.to_owned())));
    Dependency::Git { url: url.into(), at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn check(name: &str, refused: Option<(&str, &str)>) {
        let found = refuse_name(name);
        assert_eq!(found.as_ref().map(|(why, better)| (why.as_str(), better.as_str())), refused, "{name}");
    }

    #[test]
    fn names_are_those_that_cargo_takes() {
        check("my-pipelines", None);
        check("etl_2026", None);
        check("2026-etl", Some(("a project's name cannot begin with `2`", "p2026-etl")));
        check("-x", Some(("a project's name cannot begin with `-`", "p-x")));
        check("My Pipelines!", Some(("` ` cannot be in the name of a project", "my-pipelines")));
        check("größe", Some(("`ö` cannot be in the name of a project", "gr--e")));
        check("orch", Some(("`orch` is taken: by Rust, or by a crate that the project uses", "orch-pipelines")));
        check(
            "proc-macro",
            Some(("`proc-macro` is taken: by Rust, or by a crate that the project uses", "proc-macro-pipelines")),
        );
        assert!(refuse_name(&"a".repeat(65)).is_some());
        assert!(TAKEN.is_sorted(), "so that a missing one is seen");
    }

    #[test]
    fn every_way_to_orch_is_a_line_that_toml_reads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = Dependency::at_path(&folder).expect("the repository has the crate");
        let ways = [
            path,
            Dependency::Path("/it's \"here\"".into()),
            git("https://example.com/orch.git", None, Some("v1"), None),
            git("https://example.com/orch.git", None, None, None),
            Dependency::Version("0.1.0".into()),
        ];
        for way in ways {
            let files = files("my-pipelines", &way, None);
            let manifest: toml::Table = files[0].1.parse().expect("it is TOML");
            assert_eq!(manifest["package"]["name"].as_str(), Some("my-pipelines"));
            let orch = &manifest["dependencies"]["orch"];
            match &way {
                Dependency::Path(folder) => assert_eq!(orch["path"].as_str(), folder.to_str()),
                Dependency::Git { url, .. } => assert_eq!(orch["git"].as_str(), Some(url.as_str())),
                Dependency::Version(version) => assert_eq!(orch.as_str(), Some(version.as_str())),
            }
            assert!(files.iter().all(|(_, text)| !text.contains("{{name}}") && !text.contains("{{orch}}")));
        }
    }

    #[test]
    fn a_binary_knows_what_it_was_built_from() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let Some(Dependency::Path(orch)) = Dependency::of_this_binary(here, "1.2.3") else {
            panic!("the sources exist");
        };
        assert!(orch.ends_with("orch"), "{}", orch.display());
        assert_eq!(Dependency::of_this_binary(Path::new("/nowhere/cli"), "1.2.3"), None);
        let release = Path::new("/home/me/.cargo/registry/src/index.crates.io-1/orch-cli-1.2.3");
        assert_eq!(Dependency::of_this_binary(release, "1.2.3"), Some(Dependency::Version("1.2.3".into())));
    }

    #[test]
    fn a_project_beside_a_checkout_names_it_by_a_relative_path() {
        let folder = tempfile::tempdir().unwrap();
        let orch = folder.path().join("src/orch/orch");
        std::fs::create_dir_all(&orch).unwrap();
        std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
        let path_in = |parent: Option<&Path>| {
            let files = files("my-pipelines", &Dependency::Path(orch.clone()), parent);
            assert!(files[0].1.contains("On another machine"), "{}", files[0].1);
            let manifest: toml::Table = files[0].1.parse().expect("it is TOML");
            manifest["dependencies"]["orch"]["path"].as_str().map(PathBuf::from)
        };
        assert_eq!(path_in(Some(folder.path())), Some("../src/orch/orch".into()));
        assert_eq!(path_in(Some(&folder.path().join("src"))), Some("../orch/orch".into()));
        assert_eq!(path_in(Some(&folder.path().join("elsewhere"))), Some(orch.clone()));
        assert_eq!(path_in(Some(Path::new("/nowhere"))), Some(orch.clone()));
        assert_eq!(path_in(None), Some(orch.clone()));
    }

    /// Cargo warns in every build about a profile for a package that the project does not use.
    #[test]
    fn the_profiles_name_only_packages_that_a_project_uses() {
        let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap();
        let lock: toml::Table = lock.parse().expect("it is TOML");
        let packages = lock["package"].as_array().expect("a list of packages");
        let (mut used, mut open) = (HashSet::new(), vec!["orch", "schemars", "serde", "tokio"]);
        while let Some(name) = open.pop() {
            if !used.insert(name) {
                continue;
            }
            for package in packages.iter().filter(|package| package["name"].as_str() == Some(name)) {
                let dependencies = package.get("dependencies").and_then(toml::Value::as_array);
                let names = dependencies.into_iter().flatten().filter_map(toml::Value::as_str);
                open.extend(names.filter_map(|dependency| dependency.split(' ').next()));
            }
        }
        assert!(used.contains("sqlx") && !used.contains("argon2"), "{used:?}");
        let files = files("my-pipelines", &Dependency::Version("0.1.0".into()), None);
        let manifest: toml::Table = files[0].1.parse().expect("it is TOML");
        let profiles = manifest["profile"]["dev"]["package"].as_table().expect("profiles of packages");
        for name in profiles.keys().filter(|name| *name != "*") {
            assert!(used.contains(name.as_str()), "no package `{name}` is compiled for a project");
        }
    }
}
