//! `docs/airflow-parity.md` must match the tests: every test and file that it names must exist, and every feature that
//! it lists as missing must be missing.

use crate::workspace::{assert_none, root, texts};
use std::collections::BTreeSet;

/// Returns the content of a document.
pub(crate) fn document(path: &str) -> &'static str {
    let found = texts().iter().find(|file| file.path.ends_with(path));
    &found.unwrap_or_else(|| panic!("`{path}` is there")).content
}

/// Returns the texts between backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the part of a path that names the route: `state-store` of `…/state-store/{key}`.
fn last_word(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.starts_with('{')).unwrap_or_default()
}

#[test]
fn what_is_not_here_yet_is_said_once_and_is_all() {
    let (tables, not_yet) = document("docs/airflow-parity.md").split_once("\n## Not here yet").unwrap_or_default();
    let missing: BTreeSet<&str> = quoted(not_yet).collect();
    let commands = document("docs/commands.md");
    let mut offenders = Vec::new();
    assert!(!missing.is_empty(), "the section has names");
    // A feature in the first column of a table exists or will stay different, so it cannot be listed as missing too.
    for row in tables.lines().filter(|line| line.starts_with("| ")) {
        let feature = row.split(" | ").next().unwrap_or_default();
        let twice = quoted(feature).filter(|name| missing.contains(name));
        offenders.extend(twice.map(|name| format!("`{name}` is in a table and in \"Not here yet\"")));
    }
    for name in &missing {
        let is_command = !name.starts_with("orch ") && commands.contains(&format!("# orch {name}\n"));
        if is_command {
            offenders.push(format!("`orch {name}` is a command, and in \"Not here yet\""));
        }
    }
    let words: BTreeSet<&str> = missing.iter().map(|name| last_word(name)).collect();
    for row in document("docs/airflow-api.md").lines().filter(|line| line.starts_with("| ")) {
        let mut cells = row.split('|').map(str::trim).skip(2);
        let word = last_word(cells.next().unwrap_or_default().trim_matches('`'));
        match cells.next() {
            Some("later") if !words.contains(word) => offenders.push(format!("`{word}` is missing: {row}")),
            Some("done") if words.contains(word) => offenders.push(format!("`{word}` is done: {row}")),
            _ => {}
        }
    }
    assert_none("docs/airflow-parity.md, \"Not here yet\"", &offenders);
}

#[test]
fn every_test_that_the_table_of_parity_names_is_there() {
    let same = document("docs/airflow-parity.md").split("\n## Different").next().unwrap_or_default();
    let tests = functions();
    let mut offenders = Vec::new();
    for row in same.lines().filter(|line| line.starts_with('|')).skip(2) {
        let shown = row.trim_end_matches([' ', '|']).rsplit_once(" | ").map_or("", |(_, shown)| shown);
        if !shown.contains('`') && !shown.contains("the same") {
            offenders.push(format!("no test: {row}"));
        }
        for name in quoted(shown) {
            let (first, goes_on) = (name.trim_end_matches('…').trim_end_matches("::"), name.ends_with('…'));
            let is_there = match () {
                () if name.contains('/') => paths(name).all(|path| root().join(path).exists()),
                () if goes_on => tests.range(first..).next().is_some_and(|found| found.starts_with(first)),
                () => tests.contains(first),
            };
            if !is_there {
                offenders.push(format!("`{name}` is nowhere"));
            }
        }
    }
    assert_none("docs/airflow-parity.md names tests that are not there", &offenders);
}

/// Returns the names of all functions and modules of this repository.
pub(crate) fn functions() -> BTreeSet<&'static str> {
    let sources = texts().iter().filter(|file| file.is_rust());
    let named = |line: &'static str| {
        let (_, rest) = line.split_once("fn ").or_else(|| line.split_once("mod "))?;
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
    };
    sources.flat_map(|file| file.content.lines().filter_map(named)).collect()
}

/// Expands braces: `a/{b,c}.rs` names two files.
fn paths(name: &str) -> impl Iterator<Item = String> {
    let (before, rest) = name.split_once('{').unwrap_or((name, ""));
    let (inside, after) = rest.split_once('}').unwrap_or(("", ""));
    inside.split(',').map(move |part| format!("{before}{part}{after}"))
}
