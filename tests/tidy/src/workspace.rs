//! Input of the rules: the text files of the workspace, and cargo's metadata of its packages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Folders without files of this repository.
const FOREIGN_FOLDERS: [&str; 5] = ["target", "node_modules", "venv", ".venv", "__pycache__"];
/// Hidden files and folders to read; all others are skipped.
const KNOWN_HIDDEN: [&str; 2] = [".ci", ".github"];
const TEXT_ENDINGS: [&str; 15] =
    ["rs", "toml", "md", "sh", "sql", "yml", "yaml", "json", "py", "html", "css", "js", "txt", "conf", "service"];
const TEXT_NAMES: [&str; 3] = ["Makefile", "Dockerfile", "run"];

/// A text file; the path is relative to the root.
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    pub(crate) content: String,
}

impl Text {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|ending| ending == "rs")
    }

    pub(crate) fn is_manifest(&self) -> bool {
        self.path.ends_with("Cargo.toml")
    }

    /// Returns true for tests, their helpers and benchmarks, which are not part of the product.
    pub(crate) fn is_test(&self) -> bool {
        self.path
            .components()
            .any(|part| ["tests", "tests.rs", "bench", "benches"].iter().any(|name| part.as_os_str() == *name))
    }

    /// Returns true for sources that deliberately do not compile, to check the compiler's messages.
    pub(crate) fn is_compile_fail_case(&self) -> bool {
        self.path.components().any(|part| ["compile_fail", "ui", "fail"].iter().any(|name| part.as_os_str() == *name))
    }

    /// Returns the content without the unit tests at the end of the file.
    pub(crate) fn product(&self) -> &str {
        let end = self.content.find("#[cfg(test)]\nmod ").filter(|start| self.content[*start..].contains('{'));
        &self.content[..end.unwrap_or(self.content.len())]
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns all text files of the repository.
pub(crate) fn texts() -> &'static [Text] {
    static TEXTS: OnceLock<Vec<Text>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let mut found = Vec::new();
        collect(root(), &mut found);
        assert!(found.len() > 50, "the sources were not found");
        found
    })
}

fn collect(folder: &Path, found: &mut Vec<Text>) {
    let mut entries: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if FOREIGN_FOLDERS.contains(&name.as_str()) || (name.starts_with('.') && !KNOWN_HIDDEN.contains(&name.as_str()))
        {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if (TEXT_ENDINGS.contains(&ending.as_str()) || TEXT_NAMES.contains(&name.as_str()))
            && let Ok(content) = std::fs::read_to_string(&path)
        {
            found.push(Text { path: path.strip_prefix(root()).unwrap().to_owned(), content });
        }
    }
}

/// Returns `cargo metadata` for this platform: the packages of the workspace and all their dependencies.
pub(crate) fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let version = Command::new("rustc").arg("-vV").output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--filter-platform", host])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

pub(crate) fn packages() -> impl Iterator<Item = &'static Value> {
    metadata()["packages"].as_array().unwrap().iter()
}

/// Returns the packages of this repository.
pub(crate) fn members() -> impl Iterator<Item = &'static Value> {
    packages().filter(|package| package["source"].is_null())
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Panics with a list of all offenders, if there are any.
pub(crate) fn assert_none(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

/// Returns true if the text contains the name as a whole word.
pub(crate) fn contains_word(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(start, _)| !text[..start].ends_with(is_name) && !text[start + word.len()..].starts_with(is_name))
}

#[test]
fn a_word_is_not_found_inside_another() {
    assert!(contains_word("use serde::Serialize;", "serde"));
    assert!(!contains_word("use serde_json::Value;", "serde"));
}
