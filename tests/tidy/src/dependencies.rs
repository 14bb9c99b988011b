//! Rules for dependencies: permissive licence, used, and version set in one table.

use std::path::Path;

use crate::workspace::{assert_none, contains_word, members, packages, root, text, texts};

/// Licences that require no more than a notice.
const LICENCES: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6", // like BSD, with its own wording
];

/// Dependencies whose name does not appear in the sources: (package, dependency), with the reason beside it.
const USED_UNSEEN: [(&str, &str); 0] = [];

/// The build of a project that uses `orch` must not depend on a database that `DATABASE_URL` names.
#[test]
fn queries_are_checked_offline_in_every_build() {
    let settings = std::fs::read_to_string(root().join("store/.env")).expect("the file that sqlx reads");
    assert!(settings.lines().any(|line| line == "SQLX_OFFLINE=true"), "{settings}");
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    let offenders: Vec<_> = packages()
        .filter(|package| !is_permissive(text(package, "license")))
        .map(|package| {
            format!("{} {}: {:?}", text(package, "name"), text(package, "version"), text(package, "license"))
        })
        .collect();
    assert_none("licences outside LICENCES", &offenders);
}

#[test]
fn license_texts_of_all_linked_crates_are_found() {
    let mut script = std::process::Command::new("python3");
    let output = script.args(["scripts/licenses.py", "/dev/stdout"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let texts = String::from_utf8(output.stdout).unwrap();
    for library in ["serde_json 1.", "rdkafka-sys 4.", ", librdkafka\n", ", openssl\n", ", zstd\n"] {
        assert!(texts.contains(library), "no license text of {library:?}");
    }
}

#[test]
fn every_dependency_is_used() {
    let mut offenders = Vec::new();
    for package in members() {
        let folder = Path::new(text(package, "manifest_path")).parent().unwrap();
        let folder = folder.strip_prefix(root().canonicalize().unwrap()).unwrap();
        let nested: Vec<_> = members()
            .map(|other| Path::new(text(other, "manifest_path")).parent().unwrap())
            .filter_map(|other| other.strip_prefix(root().canonicalize().unwrap()).ok())
            .filter(|other| *other != folder && other.starts_with(folder))
            .collect();
        let sources: Vec<_> = texts()
            .iter()
            .filter(|file| {
                file.is_rust()
                    && file.path.starts_with(folder)
                    && !nested.iter().any(|other| file.path.starts_with(other))
            })
            .collect();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["rename"].as_str().unwrap_or(text(dependency, "name"));
            let word = name.replace('-', "_");
            let used = sources.iter().any(|file| contains_word(&file.content, &word));
            if !used && !USED_UNSEEN.contains(&(text(package, "name"), name)) {
                offenders.push(format!("`{}` does not use `{name}`", text(package, "name")));
            }
        }
    }
    assert_none("unused dependencies; remove them from Cargo.toml", &offenders);
}

#[test]
fn one_table_names_all_versions_and_lints() {
    let mut offenders = Vec::new();
    for manifest in texts().iter().filter(|file| file.is_manifest() && file.content.contains("[package]")) {
        if !manifest.content.contains("[lints]\nworkspace = true") {
            offenders.push(format!("{}: add `[lints]` with `workspace = true`", manifest.name()));
        }
        let mut in_dependencies = false;
        for line in manifest.content.lines().map(str::trim) {
            if line.starts_with('[') {
                in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
            } else if in_dependencies
                && line.contains('=')
                && !line.starts_with('#')
                && !line.contains("workspace = true")
            {
                offenders.push(format!("{}: `{line}` belongs to [workspace.dependencies]", manifest.name()));
            }
        }
    }
    assert_none("manifests that go their own way", &offenders);
}

/// Returns true if one alternative of an SPDX expression is allowed. Old manifests write `MIT/Apache-2.0` for OR.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "~WITH~");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace("~WITH~", " WITH ")).collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) && rest.is_empty()
}

fn any_of(rest: &mut &[String]) -> bool {
    let mut allowed = all_of(rest);
    while rest.first().is_some_and(|word| word == "OR") {
        *rest = &rest[1..];
        allowed |= all_of(rest);
    }
    allowed
}

fn all_of(rest: &mut &[String]) -> bool {
    let mut allowed = licence(rest);
    while rest.first().is_some_and(|word| word == "AND") {
        *rest = &rest[1..];
        allowed &= licence(rest);
    }
    allowed
}

fn licence(rest: &mut &[String]) -> bool {
    let Some((word, after)) = rest.split_first() else { return false };
    *rest = after;
    if word != "(" {
        return LICENCES.contains(&word.as_str());
    }
    let allowed = any_of(rest);
    let closed = rest.first().is_some_and(|word| word == ")");
    *rest = rest.get(1..).unwrap_or_default();
    allowed && closed
}

#[test]
fn an_alternative_suffices_and_a_conjunction_needs_all() {
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("", false),
    ] {
        assert_eq!(is_permissive(expression), expected, "{expression}");
    }
}
