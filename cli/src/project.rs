//! The files of a new project, as `orch new` writes them. `template/src/main.rs` is compiled and tested with this repository
//! (`dags/examples/tests/new_project.rs`), so what people begin with works.

use std::path::{Path, PathBuf};

/// Where a project gets `orch` from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dependency {
    /// A folder with the crate `orch` in it.
    Path(PathBuf),
    Git {
        url: String,
        /// Branch, tag or commit, as a line of `Cargo.toml`.
        at: Option<(&'static str, String)>,
    },
    Version(String),
}

/// The longest name that crates.io takes.
const LONGEST_NAME: usize = 64;
/// Words of Rust, and crates that every program has: neither can be the name of one more.
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

const MANIFEST: &str = include_str!("../template/Cargo.toml.txt");
const SOURCE: &str = include_str!("../template/src/main.rs");
const README: &str = include_str!("../template/README.md");
const IGNORED: &str = include_str!("../template/gitignore");

/// Why a project cannot have this name, and another that it can have.
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
    /// What a binary was built from, by the folder of its sources: that folder, as long as it is there; a release, if
    /// cargo had it from a registry.
    pub(crate) fn of_this_binary(sources: &Path, version: &str) -> Dependency {
        let is_of_registry = sources
            .components()
            .zip(sources.components().skip(1))
            .any(|(folder, inside)| folder.as_os_str() == "registry" && inside.as_os_str() == "src");
        let beside = sources.parent().map(|parent| parent.join("orch"));
        match beside.filter(|orch| !is_of_registry && is_orch(orch)) {
            Some(orch) => Dependency::Path(orch),
            None => Dependency::Version(version.into()),
        }
    }

    /// The crate in a folder that somebody named: the crate itself, or the repository around it.
    pub(crate) fn at_path(named: &Path) -> Option<Dependency> {
        let named = named.canonicalize().ok()?;
        [named.join("orch"), named].into_iter().find(|folder| is_orch(folder)).map(Dependency::Path)
    }

    /// The value in `Cargo.toml`.
    fn toml(&self) -> String {
        match self {
            Dependency::Path(folder) => format!("{{ path = {} }}", quoted(&folder.to_string_lossy())),
            Dependency::Git { url, at: None } => format!("{{ git = {} }}", quoted(url)),
            Dependency::Git { url, at: Some((what, name)) } => {
                format!("{{ git = {}, {what} = {} }}", quoted(url), quoted(name))
            }
            Dependency::Version(version) => quoted(version),
        }
    }

    /// Locked versions that are known to work together: those of the checkout.
    pub(crate) fn lock_file(&self) -> Option<PathBuf> {
        match self {
            Dependency::Path(orch) => {
                orch.parent().map(|repository| repository.join("Cargo.lock")).filter(|lock| lock.is_file())
            }
            Dependency::Git { .. } | Dependency::Version(_) => None,
        }
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        match self {
            Dependency::Path(folder) => format!("`{}`", folder.display()),
            Dependency::Git { url, at: None } => format!("`{url}`"),
            Dependency::Git { url, at: Some((what, name)) } => format!("`{url}`, {what} `{name}`"),
            Dependency::Version(version) => format!("version {version} of crates.io"),
        }
    }
}

/// A folder with our crate in it, and not just one of that name.
fn is_orch(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|text| {
        let manifest = text.parse::<toml::Table>().ok();
        manifest.is_some_and(|manifest| {
            manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str)
                == Some("orch")
        })
    })
}

/// What JSON makes of a text is a string of TOML, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Paths below the folder of the project, with what stands there.
pub(crate) fn files(name: &str, orch: &Dependency) -> [(&'static str, String); 4] {
    let filled = |text: &str| text.replace("{{name}}", name).replace("{{orch}}", &orch.toml());
    [
        ("Cargo.toml", filled(MANIFEST)),
        ("src/main.rs", SOURCE.into()),
        ("README.md", filled(README)),
        (".gitignore", IGNORED.into()),
    ]
}

/// A ref of git is one of three things; the flag says which.
pub(crate) fn git(url: &str, branch: Option<&str>, tag: Option<&str>, rev: Option<&str>) -> Dependency {
    let mut refs = [("branch", branch), ("tag", tag), ("rev", rev)].into_iter();
    let at = refs.find_map(|(what, name)| name.map(|name| (what, name.to_owned())));
    Dependency::Git { url: url.into(), at }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let files = files("my-pipelines", &way);
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
        let Dependency::Path(orch) = Dependency::of_this_binary(here, "1.2.3") else {
            panic!("the sources are there");
        };
        assert!(orch.ends_with("orch"), "{}", orch.display());
        let gone = Dependency::of_this_binary(Path::new("/nowhere/cli"), "1.2.3");
        assert_eq!(gone, Dependency::Version("1.2.3".into()));
        let release = Path::new("/home/me/.cargo/registry/src/index.crates.io-1/orch-cli-1.2.3");
        assert_eq!(Dependency::of_this_binary(release, "1.2.3"), Dependency::Version("1.2.3".into()));
    }
}
