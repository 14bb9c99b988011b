//! What documents point to is there: files and headings behind links, and the targets of `make`.

use crate::parity::{document, functions, quoted};
use crate::workspace::{Text, assert_none, root, texts};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

fn documents() -> impl Iterator<Item = &'static Text> {
    texts().iter().filter(|file| file.path.extension().is_some_and(|ending| ending == "md"))
}

/// What stands in parentheses behind a word in brackets, with the number of its line. Code between fences has no links.
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

/// As GitHub makes them of headings: small letters, digits and hyphens.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' ');
    let anchor = |heading: &str| -> String { heading.trim_start_matches('#').trim().chars().filter(kept).collect() };
    headings.map(|heading| anchor(heading).to_lowercase().replace(' ', "-")).collect()
}

/// A path without `..`, as the texts are named.
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
            // In the text between backticks, and in code at the prompt of a shell or without it.
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
                // As people write it: two digits are enough.
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

#[test]
fn a_word_of_the_glossary_is_defined_once() {
    let rows = document("docs/GLOSSARY.md").lines().filter_map(|line| line.strip_prefix("| **"));
    // `**attempt**, **try**` are two; `**share** (of a stream)` is another word than `**share**`.
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
}
