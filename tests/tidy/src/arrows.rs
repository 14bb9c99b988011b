//! Allowed dependencies between packages. They have one direction, and web, scheduler and workers share only Postgres.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::{assert_none, members, metadata, packages, text};

/// Every package with the packages of this workspace that it may depend on. A new package needs a line here.
const ARROWS: [(&str, &[&str]); 31] = [
    ("orch-spec", &[]),
    ("orch-core", &["orch-spec"]),
    ("orch-sdk", &["orch-spec"]),
    ("orch-document", &["orch-sdk", "orch-spec"]),
    ("orch-macros", &[]),
    ("orch-wire", &["orch-spec"]),
    ("orch-store", &["orch-core", "orch-sdk", "orch-spec"]),
    ("orch-scheduler", &["orch-store", "orch-core", "orch-spec"]),
    ("orch-workers", &["orch-store", "orch-core", "orch-document", "orch-sdk", "orch-spec"]),
    ("orch-deeds", &["orch-wire", "orch-store", "orch-core", "orch-document", "orch-sdk", "orch-spec"]),
    ("orch-http", &[]),
    (
        "orch-web",
        &["orch-http", "orch-deeds", "orch-wire", "orch-store", "orch-core", "orch-document", "orch-sdk", "orch-spec"],
    ),
    ("orch-cluster", &[]),
    (
        "orch-binary",
        &[
            "orch-http",
            "orch-scheduler",
            "orch-workers",
            "orch-store",
            "orch-core",
            "orch-document",
            "orch-sdk",
            "orch-spec",
            "orch-cluster",
        ],
    ),
    (
        "orch-cli",
        &[
            "orch-binary",
            "orch-web",
            "orch-deeds",
            "orch-scheduler",
            "orch-workers",
            "orch-store",
            "orch-core",
            "orch-document",
            "orch-sdk",
            "orch-spec",
            "orch-cluster",
        ],
    ),
    (
        "orch",
        &[
            "orch-binary",
            "orch-workers",
            "orch-store",
            "orch-core",
            "orch-document",
            "orch-sdk",
            "orch-spec",
            "orch-macros",
        ],
    ),
    ("orch-bucket", &["orch-store", "orch-sdk"]),
    ("orch-lake", &["orch-bucket", "orch-store", "orch-sdk", "orch-spec"]),
    ("orch-lake-operators", &["orch", "orch-lake", "orch-sdk"]),
    ("orch-lake-rest", &["orch-lake", "orch-store", "orch-sdk"]),
    ("orch-lake-sql", &["orch-lake", "orch-store", "orch-sdk"]),
    ("orch-streams", &["orch-document", "orch-lake", "orch-lake-sql", "orch-spec", "orch-store", "orch-sdk"]),
    (
        "orch-serving",
        &["orch-document", "orch-lake", "orch-lake-sql", "orch-store", "orch-sdk", "orch-wire", "orch-workers"],
    ),
    ("orch-examples", &["orch"]),
    ("orch-forecast", &[]),
    ("orch-control", &["orch", "orch-cli", "orch-examples", "orch-bucket"]),
    (
        "orch-dags",
        &[
            "orch",
            "orch-forecast",
            "orch-lake",
            "orch-lake-operators",
            "orch-lake-rest",
            "orch-lake-sql",
            "orch-streams",
            "orch-serving",
            "orch-sdk",
        ],
    ),
    (
        "orch-bench-lake",
        &[
            "orch",
            "orch-bench",
            "orch-cli",
            "orch-dags",
            "orch-lake",
            "orch-sdk",
            "orch-store",
            "orch-streams",
            "orch-test-lake",
            "orch-test-support",
        ],
    ),
    ("orch-test-support", &["orch-cluster"]),
    ("orch-tidy", &[]),
    (
        "orch-bench",
        &["orch", "orch-cli", "orch-workers", "orch-scheduler", "orch-store", "orch-cluster", "orch-examples"],
    ),
];

/// Packages that every package may use as a dev-dependency.
const FOR_TESTS: [&str; 3] = ["orch-test-support", "orch-test-lake", "orch-examples"];
/// Additional dev-dependencies: recorded runs are also replayed as DAG files.
const IN_TESTS: [(&str, &str); 1] = [("orch-core", "orch-document")];

/// Packages that must build and test in seconds. They must not depend on `HEAVY`.
const ENGINE: [&str; 19] = [
    "orch-spec",
    "orch-core",
    "orch-sdk",
    "orch-document",
    "orch-macros",
    "orch-wire",
    "orch-store",
    "orch-deeds",
    "orch-scheduler",
    "orch-workers",
    "orch-http",
    "orch-web",
    "orch-cluster",
    "orch-binary",
    "orch-cli",
    "orch",
    "orch-examples",
    "orch-control",
    "orch-test-support",
];
/// Exceptions: the archive of old logs may be in a bucket.
const ALLOWED: [(&str, &str); 1] = [("orch-control", "object_store")];
const HEAVY: [&str; 8] = ["arrow", "polars", "iceberg", "rdkafka", "parquet", "datafusion", "object_store", "opendal"];

#[test]
fn rooms_know_only_the_rooms_below_them() {
    let arrows: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let ours: BTreeSet<_> = members().map(|package| text(package, "name")).collect();
    let mut offenders = Vec::new();
    for package in members() {
        let name = text(package, "name");
        let in_tests = text(package, "manifest_path").contains("/tests/");
        let Some(allowed) = arrows.get(name).copied().or(in_tests.then_some(&[][..])) else {
            offenders.push(format!("`{name}` has no place yet: add a line to ARROWS"));
            continue;
        };
        // Other packages below tests/ drive the whole system, so they are not restricted.
        if in_tests && !arrows.contains_key(name) {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let target = text(dependency, "name");
            let test_only = text(dependency, "kind") == "dev"
                && (FOR_TESTS.contains(&target) || IN_TESTS.contains(&(name, target)));
            if ours.contains(target) && !allowed.contains(&target) && !test_only {
                offenders.push(format!("`{name}` → `{target}`"));
            }
        }
    }
    assert_none("dependencies against the arrows of the design", &offenders);
}

#[test]
fn the_engine_stays_light() {
    let names: BTreeMap<_, _> = packages().map(|package| (text(package, "id"), text(package, "name"))).collect();
    let edges: BTreeMap<_, Vec<&str>> = metadata()["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let normal = node["deps"].as_array().unwrap().iter().filter(|dependency| {
                dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| text(kind, "kind") != "dev")
            });
            (text(node, "id"), normal.map(|dependency| text(dependency, "pkg")).collect())
        })
        .collect();
    let mut offenders = Vec::new();
    for package in members().filter(|package| ENGINE.contains(&text(package, "name"))) {
        let mut seen = BTreeSet::new();
        let mut open = vec![text(package, "id")];
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(&edges[id]);
            }
        }
        for heavy in seen.iter().map(|id| names[id]).filter(|name| HEAVY.iter().any(|heavy| is_of_family(name, heavy)))
        {
            let name = text(package, "name");
            if !ALLOWED.contains(&(name, heavy)) {
                offenders.push(format!("`{name}` reaches `{heavy}`"));
            }
        }
    }
    assert_none("heavy dependencies in the engine; they belong to lake, serving or dags", &offenders);
}

fn is_of_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

#[test]
fn a_family_is_the_name_and_its_parts() {
    assert!(is_of_family("arrow-array", "arrow"));
    assert!(is_of_family("polars", "polars"));
    assert!(!is_of_family("arrows", "arrow"));
}
