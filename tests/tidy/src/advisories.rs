//! Checks `Cargo.lock` for known vulnerabilities, against the copy of the `RustSec` advisory database in
//! `advisories.json`.

use std::process::Command;

use serde_json::Value;

use crate::workspace::{assert_none, root, text};

/// The three numbers of a version and its pre-release, such as `rc.1`. Build metadata is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version([u64; 3], Option<String>);

impl Version {
    /// Parses a version; missing numbers are 0.
    fn parse(text: &str) -> Version {
        let text = text.trim().split('+').next().unwrap();
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(numbers, pre)| (numbers, Some(pre.into())));
        let mut parts = numbers.split('.').map(|number| number.parse().expect("a number of a version"));
        Version(std::array::from_fn(|_| parts.next().unwrap_or(0)), pre)
    }

    /// Returns the lowest version that is not compatible with this one.
    fn next_incompatible(&self) -> Version {
        let Version([major, minor, patch], _) = *self;
        let numbers = match (major, minor) {
            (0, 0) => [0, 0, patch + 1],
            (0, _) => [0, minor + 1, 0],
            _ => [major + 1, 0, 0],
        };
        Version(numbers, None)
    }

    /// Returns true if all comparators of a requirement such as `>= 1.2, < 2` accept this version.
    fn fits(&self, requirement: &str) -> bool {
        requirement.split(',').map(str::trim).all(|comparator| {
            let (operator, version) = comparator.split_at(comparator.find(|c: char| c.is_ascii_digit()).unwrap());
            let version = Version::parse(version);
            match operator.trim() {
                ">=" => *self >= version,
                ">" => *self > version,
                "<=" => *self <= version,
                "<" => *self < version,
                "=" => *self == version,
                "" | "^" => *self >= version && *self < version.next_incompatible(),
                other => panic!("unknown operator `{other}` in `{requirement}`"),
            }
        })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> std::cmp::Ordering {
        // A pre-release is lower than its release.
        let key = |version: &Version| (version.0, version.1.is_none(), version.1.clone());
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn is_affected(version: &Version, advisory: &Value) -> bool {
    let fits_any =
        |key: &str| advisory[key].as_array().unwrap().iter().any(|range| version.fits(range.as_str().unwrap()));
    !fits_any("patched") && !fits_any("unaffected")
}

/// Returns the advisories that affect packages of the lock file: name, version, advisory.
fn affected<'a>(lock: &'a str, advisories: &'a [Value]) -> Vec<(&'a str, &'a str, &'a Value)> {
    let mut found = Vec::new();
    for package in lock.split("[[package]]").skip(1).filter(|package| package.contains("\nsource = ")) {
        let field = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim_matches('"');
        let (name, version) = (field("name = "), field("version = "));
        let concerning = advisories.iter().filter(|advisory| text(advisory, "package") == name);
        found.extend(
            concerning
                .filter(|advisory| is_affected(&Version::parse(version), advisory))
                .map(|advisory| (name, version, advisory)),
        );
    }
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn advisories() -> Vec<Value> {
    let copy: Value = serde_json::from_str(&read("tests/tidy/advisories.json")).unwrap();
    copy["advisories"].as_array().unwrap().clone()
}

/// Returns the packages that a build or a test compiles, as lines that start with `NAME vVERSION`. `Cargo.lock` also
/// has packages of optional features that no build enables.
fn compiled() -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--workspace", "--edges=normal,build,dev", "--prefix=none"]);
    let output = cargo.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn no_dependency_has_a_known_vulnerability() {
    let (lock, advisories, compiled, config) =
        (read("Cargo.lock"), advisories(), compiled(), read(".cargo/audit.toml"));
    assert!(compiled.contains("\nserde_json v"), "cargo tree printed no packages");
    let affected = affected(&lock, &advisories);
    let mut offenders = Vec::new();
    for (name, version, advisory) in &affected {
        let id = text(advisory, "id");
        let is_compiled = compiled.lines().any(|line| line.split(' ').take(2).eq([*name, &format!("v{version}")]));
        if is_compiled {
            let patched: Vec<_> = advisory["patched"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let fix = if patched.is_empty() { "no version".into() } else { patched.join(" or ") };
            offenders.push(format!("{name} {version}: {id}, {}; fixed in {fix}", text(advisory, "title")));
        } else if !config.contains(&format!("\"{id}\"")) {
            offenders.push(format!("{name} {version}: {id}; no build compiles it, so ignore it in .cargo/audit.toml"));
        }
    }
    for id in config.split('"').filter(|part| part.starts_with("RUSTSEC-")) {
        if !affected.iter().any(|(.., advisory)| text(advisory, "id") == id) {
            offenders.push(format!("{id} affects no locked package; remove it from .cargo/audit.toml"));
        }
    }
    assert_none("vulnerable dependencies; update them with `cargo update -p NAME`", &offenders);
}

#[test]
fn an_affected_version_is_found() {
    let lock =
        |version: &str| format!("[[package]]\nname = \"quick-xml\"\nversion = \"{version}\"\nsource = \"registry\"\n");
    let advisories = advisories();
    for (version, expected) in [("0.39.4", true), ("0.41.0-rc.1", true), ("0.41.0", false), ("1.0.0", false)] {
        let lock = lock(version);
        let found = affected(&lock, &advisories);
        assert_eq!(found.iter().any(|(.., it)| text(it, "id") == "RUSTSEC-2026-0194"), expected, "{version}");
    }
}

#[test]
fn requirements_are_those_of_cargo() {
    for (version, requirement, expected) in [
        ("0.3.24", "^0.3.24", true),
        ("0.4.0", "^0.3.24", false),
        ("0.0.4", "0.0.3", false),
        ("1.9.0", "1.2", true),
        ("1.10.0", ">= 1.9, < 1.11.0-0", true),
        ("1.11.0", ">= 1.9, < 1.11.0-0", false),
        ("300.6.1+3.6.3", "> 300.6.0", true),
        ("0.2.6", "=0.2.6", true),
        ("0.23.4", "<= 0.23", false),
    ] {
        assert_eq!(Version::parse(version).fits(requirement), expected, "{version} in {requirement}");
    }
}
