//! Import cycles between modules, which can only be understood together. The largest cycle of each crate may only
//! shrink. Paths that a file uses without a `use` line are not detected.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::{Text, assert_none, texts};

/// Number of modules in the largest import cycle of a crate. The other crates have no cycles.
const LARGEST: [(&str, usize); 12] = [
    ("cli/binary", 3),
    ("cli/cluster", 3),
    ("dags", 2),
    ("document", 3),
    ("lake", 6),
    ("lake/rest", 6),
    ("lake/sql", 2),
    ("serving", 4),
    ("store", 5),
    ("streams", 6),
    ("web", 18),
    ("wire", 2),
];

/// The path of a module within its crate.
type Module = Vec<String>;

#[test]
fn circles_of_modules_only_shrink() {
    let mut crates: BTreeMap<String, BTreeMap<Module, &Text>> = BTreeMap::new();
    for file in texts().iter().filter(|file| file.is_rust() && !file.is_test()) {
        let name = file.name();
        let Some((room, path)) = name.split_once("/src/") else { continue };
        let module = path.trim_end_matches(".rs").split('/').map(String::from).collect();
        crates.entry(room.into()).or_default().insert(module, file);
    }
    let known = BTreeMap::from(LARGEST);
    let mut offenders = Vec::new();
    for (room, modules) in &crates {
        let (circle, known) = (largest_circle(modules), known.get(room.as_str()).copied().unwrap_or(0));
        if circle.len() != known {
            offenders.push(format!("{room}: {} modules and not {known}: {}", circle.len(), circle.join(", ")));
        }
    }
    assert_none("circles that grew: move what is shared below them; or shrank: lower LARGEST", &offenders);
}

fn largest_circle(modules: &BTreeMap<Module, &Text>) -> Vec<String> {
    let edges: BTreeMap<_, _> = modules.iter().map(|(from, file)| (from, imported(from, file, modules))).collect();
    let reached: BTreeMap<_, _> = modules.keys().map(|from| (from, reach(from, &edges))).collect();
    let circles = reached.iter().map(|(from, far)| {
        let back = far.iter().filter(|other| reached[**other].contains(from));
        back.map(|other| other.join("::")).collect::<Vec<_>>()
    });
    circles.max_by_key(Vec::len).unwrap_or_default()
}

fn reach<'a>(from: &Module, edges: &'a BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&Module> = edges[from].iter().collect();
    while let Some(module) = open.pop() {
        if seen.insert(module) {
            open.extend(edges[module].iter());
        }
    }
    seen
}

/// Returns the modules that a file imports with `use`, except its parents and children, which belong together.
fn imported(from: &Module, file: &Text, modules: &BTreeMap<Module, &Text>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    for path in paths(file.product()) {
        if !["crate::", "super::", "self::"].iter().any(|start| path.starts_with(start)) {
            continue;
        }
        let mut at = if path.starts_with("crate::") { Module::new() } else { from.clone() };
        for part in path.split("::") {
            if part == "super" {
                at.pop();
            } else if !["crate", "self"].contains(&part) {
                at.push(part.split(' ').next().unwrap_or_default().into());
                if !modules.contains_key(&at) {
                    at.pop();
                    break;
                }
            }
        }
        if !at.starts_with(from) && !from.starts_with(&at) {
            found.insert(at);
        }
    }
    found
}

/// Returns the full paths of all imports of a source.
fn paths(source: &str) -> Vec<String> {
    let starts = ["\nuse ", "\npub use ", "\npub(crate) use ", "\npub(super) use "];
    let tree = |statement| starts.into_iter().find_map(|start| str::split_once(statement, start));
    let mut found = Vec::new();
    for (_, tree) in source.split(';').filter_map(tree) {
        let (mut outer, mut path) = (Vec::new(), String::new());
        for letter in tree.chars().chain([',']) {
            match letter {
                '{' => outer.push(path.clone()),
                ',' | '}' => {
                    found.push(std::mem::take(&mut path));
                    if letter == '}' {
                        outer.pop();
                    } else {
                        path = outer.last().cloned().unwrap_or_default();
                    }
                }
                _ if letter.is_whitespace() && (path.is_empty() || path.ends_with("::")) => {}
                _ => path.push(letter),
            }
        }
    }
    found.retain(|path| !path.is_empty() && !path.ends_with("::"));
    found
}

#[test]
fn a_tree_of_imports_is_spread() {
    let source = "//! Why.\nuse std::fmt;\npub(crate) use crate::{\n    a::{self, B as C},\n    d,\n};\n";
    assert_eq!(paths(source), ["std::fmt", "crate::a::self", "crate::a::B as C", "crate::d"]);
}
