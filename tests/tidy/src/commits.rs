//! Subjects of commits: each one is in the imperative and states the change without the diff.

use crate::words::STILTED;
use crate::workspace::{assert_none, contains_word, root};
use std::process::Command;

/// Only commits after this one are checked; older ones predate this test.
const SINCE: &str = "5dcabb7ef139d0ad2f6d348e41e0ec0edc550d02";
const LONGEST: usize = 72;
/// Imperatives that end like a participle.
const ORDERS: [&str; 12] =
    ["bring", "embed", "exceed", "feed", "heed", "need", "ping", "proceed", "ring", "seed", "shed", "speed"];
/// Irregular participles.
const PARTICIPLES: [&str; 13] =
    ["broken", "built", "done", "given", "gone", "held", "kept", "made", "sent", "shown", "taken", "told", "written"];

/// Runs git and returns its output, or `None` if it fails or is not installed.
fn git(arguments: &[&str]) -> Option<String> {
    // The folder may belong to another user, as in a container.
    let mut command = Command::new("git");
    command.args(["-c", "safe.directory=*", "-C"]).arg(root()).args(arguments);
    let ended = command.output().ok()?;
    ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// Returns the subjects to check: none without a repository, and only some in a shallow clone.
fn subjects() -> Vec<String> {
    if !root().join(".git").exists() {
        return Vec::new();
    }
    let is_known = git(&["cat-file", "-e", &format!("{SINCE}^{{commit}}")]).is_some();
    let is_shallow = git(&["rev-parse", "--is-shallow-repository"]).is_some_and(|said| said.trim() == "true");
    let range = match (is_known, is_shallow) {
        (true, _) => format!("{SINCE}..HEAD"),
        (false, true) => "HEAD".to_string(),
        // An unrelated history, which has its own rules.
        (false, false) => return Vec::new(),
    };
    let printed = git(&["log", "--no-merges", "--format=%s", &range]).unwrap_or_default();
    printed.lines().map(String::from).collect()
}

fn problems(subject: &str) -> Vec<String> {
    let mut found = Vec::new();
    let length = subject.chars().count();
    let first = subject.split([' ', ':', ',']).next().unwrap_or_default().to_lowercase();
    let is_participle = PARTICIPLES.contains(&first.as_str())
        || ((first.ends_with("ed") || first.ends_with("ing")) && !ORDERS.contains(&first.as_str()));
    if length > LONGEST {
        found.push(format!("{length} characters; say the rest in the body"));
    }
    if subject.ends_with('.') {
        found.push("ends with a full stop".into());
    }
    if !subject.starts_with(char::is_uppercase) {
        found.push("does not begin with a capital letter".into());
    }
    if is_participle {
        found.push(format!("begins with `{first}`; write it as an order: `Add …`"));
    }
    let spoken = subject.to_lowercase();
    let stilted = STILTED.into_iter().filter(|word| contains_word(&spoken, word));
    found.extend(stilted.map(|word| format!("`{word}`: say it as one says it aloud")));
    found
}

#[test]
fn subjects_of_commits_say_plainly_what_changes() {
    let offenders = subjects().into_iter().flat_map(|subject| {
        let problems = problems(&subject).into_iter();
        problems.map(|problem| format!("{subject}: {problem}")).collect::<Vec<_>>()
    });
    assert_none("subjects of commits", &offenders.collect::<Vec<_>>());
}

#[test]
fn each_rule_about_subjects_finds_what_it_is_for() {
    for good in ["Bring the pages up", "Tests: kill a worker", "Read `a.b`", "Seed the simulation anew"] {
        assert_eq!(problems(good), Vec::<String>::new(), "{good}");
    }
    let long = format!("Say {}", "a".repeat(LONGEST));
    let bad = [
        "Add a page.",
        "add a page",
        "Added a page",
        "Adding a page",
        "Written anew",
        "Ask whoever is there",
        long.as_str(),
    ];
    for bad in bad {
        assert_eq!(problems(bad).len(), 1, "{bad}: {:?}", problems(bad));
    }
}
