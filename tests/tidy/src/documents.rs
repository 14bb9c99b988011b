//! References in documents must exist: files and headings of links, and targets of `make`.

use crate::parity::{document, functions, quoted};
use crate::workspace::{Text, assert_none, root, texts};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

fn documents() -> impl Iterator<Item = &'static Text> {
    texts().iter().filter(|file| file.path.extension().is_some_and(|ending| ending == "md"))
}

/// Returns the link targets with their line numbers. Fenced code has no links.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        is_code ^= line.trim_start().starts_with("```");
        let rest = line.split("](").skip(1).filter(|_| !is_code);
        found.extend(rest.filter_map(|rest| Some((number, rest.split_once(')')?.0))));
    }
    found
}

/// Returns the anchors that GitHub generates for headings: lowercase letters, digits and hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' ');
    let anchor = |heading: &str| -> String { heading.trim_start_matches('#').trim().chars().filter(kept).collect() };
    headings.map(|heading| anchor(heading).to_lowercase().replace(' ', "-")).collect()
}

/// Resolves `..` in a path.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    plain
}

#[test]
fn links_of_documents_lead_somewhere() {
    let mut offenders = Vec::new();
    for file in documents() {
        for (number, link) in links(&file.content) {
            if link.contains("://") || link.starts_with("mailto:") || link.contains(' ') {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => file.path.clone(),
                path => plain(&file.path.parent().unwrap_or(Path::new("")).join(path)),
            };
            let shown = texts().iter().find(|text| text.path == target);
            let is_there = match shown {
                Some(text) if !anchor.is_empty() => anchors(&text.content).contains(anchor),
                Some(_) => true,
                None => root().join(&target).exists(),
            };
            if !is_there {
                offenders.push(format!("{}:{number} leads to `{link}`", file.name()));
            }
        }
    }
    assert_none("links of documents to what is not there", &offenders);
}

#[test]
fn targets_that_documents_name_are_in_the_makefile() {
    let makefile = texts().iter().find(|file| file.path == Path::new("Makefile")).expect("the Makefile is there");
    let targets: BTreeSet<&str> = makefile.content.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    let mut offenders = Vec::new();
    for file in documents() {
        let mut is_code = false;
        for (line, number) in file.content.lines().zip(1..) {
            is_code ^= line.trim_start().starts_with("```");
            // Commands are between backticks, or in code blocks with or without a shell prompt.
            let typed = is_code.then_some(line.trim_start_matches("$ "));
            for command in line.split('`').skip(1).step_by(2).chain(typed) {
                let mut words = command.split([' ', '#', '…']).filter(|word| !word.is_empty() && !word.contains('='));
                let (Some("make"), Some(target)) = (words.next(), words.next()) else { continue };
                let is_name = target.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
                if is_name && !targets.contains(target) {
                    offenders.push(format!("{}:{number} `make {target}`", file.name()));
                }
            }
        }
    }
    assert_none("documents name targets that the Makefile does not have", &offenders);
}

#[test]
fn what_high_availability_promises_is_tested_or_measured() {
    let results = std::fs::read_to_string(root().join("bench/results.json")).unwrap();
    let results: Vec<Value> = serde_json::from_str(&results).unwrap();
    let figures = results.iter().filter_map(|row| Some((row["name"].as_str()?, row["value"].as_f64()?)));
    let (figures, tests): (BTreeMap<&str, f64>, _) = (figures.collect(), functions());
    let (mut offenders, mut seen) = (Vec::new(), 0);
    for row in document("docs/guides/high-availability.md").lines().filter(|line| line.starts_with('|')) {
        let proof = row.trim_end_matches([' ', '|']).rsplit_once("| ").map_or("", |(_, proof)| proof);
        let said: Option<f64> = proof.split(' ').next().and_then(|first| first.replace(',', "").parse().ok());
        for name in quoted(proof).filter(|name| name.contains('_')) {
            seen += 1;
            match figures.get(name) {
                // Documents round to two digits.
                Some(measured) if said.is_none_or(|said| (said - measured).abs() > measured * 0.02) => {
                    offenders.push(format!("`{name}` is {measured} in bench/results.json: {row}"));
                }
                None if !tests.contains(name) => offenders.push(format!("`{name}` is no test and no figure: {row}")),
                _ => {}
            }
        }
    }
    assert!(seen >= 15, "{seen} tests and figures are named");
    assert_none("docs/guides/high-availability.md", &offenders);
}

/// Returns the crates that the Rust code of a document names before `::`, apart from `orch` and the crates of a new project.
fn crates_in_code(text: &str) -> BTreeSet<&str> {
    let blocks = text.split("```rust").skip(1).filter_map(|rest| rest.split("```").next());
    let before = blocks.flat_map(|block| block.match_indices("::").map(move |(at, _)| &block[..at]));
    let is_of_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let names = before.filter_map(|text| text.rsplit(|letter: char| !is_of_name(letter)).next());
    names.filter(|name| name.starts_with("orch_") || ["arrow", "iceberg", "sqlx"].contains(name)).collect()
}

/// Returns the first quoted text: the version or the path of a dependency.
fn first_value(line: &str) -> &str {
    line.split('"').nth(1).unwrap_or_default()
}

#[test]
fn crates_of_the_guides_have_their_lines_for_a_manifest() {
    let guide = document("docs/guides/new-project.md");
    let block = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of TOML");
    let shown: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once(" = ")).collect();
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut offenders = Vec::new();
    for (name, line) in &shown {
        let start = format!("{name} = ");
        let ours = workspace.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default();
        let ours = first_value(ours);
        let theirs = first_value(line);
        if ours.is_empty() || theirs.strip_prefix("/src/orch/").unwrap_or(theirs) != ours {
            offenders.push(format!("`{name}` is `{ours}` in Cargo.toml and `{theirs}` in docs/guides/new-project.md"));
        }
    }
    for file in documents().filter(|file| file.name().starts_with("docs/guides/")) {
        let used = crates_in_code(&file.content);
        let missing = used.iter().filter(|name| !shown.contains_key(name.replace('_', "-").as_str()));
        offenders.extend(
            missing.map(|name| format!("docs/guides/new-project.md does not show `{name}` of {}", file.name())),
        );
        if !used.is_empty() && !file.content.contains("new-project.md#other-crates") {
            offenders.push(format!("{} has no link to `new-project.md#other-crates`", file.name()));
        }
    }
    assert!(shown.len() > 8, "{shown:?}");
    assert_none("crates of guides that a new project cannot name", &offenders);
}

#[test]
fn a_word_of_the_glossary_is_defined_once() {
    let rows = document("docs/GLOSSARY.md").lines().filter_map(|line| line.strip_prefix("| **"));
    // `**attempt**, **try**` are two terms; `**share** (of a stream)` differs from `**share**`.
    let words = rows.filter_map(|row| row.split(" | ").next()).flat_map(|cell| cell.split(", **"));
    let mut seen = BTreeSet::new();
    let twice: Vec<String> = words.filter(|word| !seen.insert(*word)).map(|word| word.replace("**", "")).collect();
    assert_none("words that docs/GLOSSARY.md defines twice; say of what, `(of a run)`", &twice);
}

#[test]
fn links_and_headings_are_read_as_people_see_them() {
    assert_eq!(links("[a](b.md#c) `x`\n```\n[no](no.md)\n```\n![d](e.png)"), [(1, "b.md#c"), (5, "e.png")]);
    assert!(anchors("# When it's over: `orch db`\n").contains("when-its-over-orch-db"));
    assert_eq!(plain(Path::new("docs/guides/../pictures/a.png")), Path::new("docs/pictures/a.png"));
    let code = "```rust\nuse orch_lake::table::At;\nuse arrow::array;\nstd::fs::x()\n```\n`orch_sdk::task`";
    assert_eq!(crates_in_code(code).into_iter().collect::<Vec<_>>(), ["arrow", "orch_lake"]);
}
