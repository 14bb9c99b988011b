//! Text in the wrong place: unfinished code, a second name for a state, SQL outside its packages, paths of one machine.

use crate::literals::string_literals;
use crate::workspace::{Text, assert_none, contains_word, texts};
use std::path::Path;

/// Banned in every source: (first half, second half, replacement). Split, so that this file passes its own test.
const BANNED: [(&str, &str, &str); 8] = [
    ("todo", "!(", "write it, or leave the feature out"),
    ("unimplemented", "!(", "write it, or leave the feature out"),
    ("#[ign", "ore", "a test that does not run is deleted or mended"),
    ("#[should_", "panic", "assert on the returned error"),
    ("dbg", "!(", "use tracing"),
    ("FIX", "ME", "mend it, or open an issue"),
    ("XX", "X", "mend it, or open an issue"),
    ("panic(\"not ", "implemented", "write it, or leave the feature out"),
];

/// Paths of one machine, which the repository must not depend on.
const FOREIGN_PATHS: [(&str, &str); 2] = [("/wor", "k/"), ("../sha", "red")];

/// Only these packages may contain SQL: the store for orch's metadata, the cluster to create a database, and the others
/// for databases of users.
const SQL_ROOMS: [&str; 7] = ["store", "cli/cluster", "lake", "serving", "dags", "bench", "workers/src/outside"];
const SQL_STARTS: [&str; 14] = [
    "select ",
    "insert into ",
    "delete from ",
    "update ",
    "with ",
    "create table ",
    "create index ",
    "create schema ",
    "create database ",
    "alter table ",
    "drop table ",
    "truncate ",
    "notify ",
    "listen ",
];
/// A statement also contains one of these; prose may start like SQL.
const SQL_PROOFS: [&str; 9] =
    [" from ", " set ", " values", " into ", " as (", " table ", "select ", " schema ", " database "];

/// Words that read as translated. Name the subject or omit it. The system user `nobody` is allowed.
pub(crate) const STILTED: [&str; 3] = ["whoever", "nobody", "somebody"];

/// Plural nouns that may follow a number. `counted` returns `1 row`, where `{rows} rows` returns `1 rows`.
const PLURALS: &str = "rows files tasks columns runs tables records DAGs panels partitions snapshots tries workers slots \
    assets streams checks elements versions queries topics users values lines times days hours pools connections variables \
    alerts";

/// Texts where a word or a number that is never 1 comes before the plural: (file, text).
const NEVER_ONE: [(&str, &str); 6] = [
    ("web/src/api/dag_runs/trigger.rs", "{other} runs"),
    ("web/src/graph/svg.rs", "{tasks} tasks"),
    ("web/src/pages/dag/graph/drawing.rs", "{tasks} tasks"),
    ("web/src/pages/dag/trigger.rs", "{} runs"),
    ("web/src/pages/run/clear.rs", "{concerned} runs"),
    ("web/src/pages/run/gantt.rs", "{} tries"),
];

/// The only files that may contain unsafe code, each with its reason.
const UNSAFE_FILES: [(&str, &str); 7] = [
    ("cli/binary/src/memory.rs", "glibc's `malloc_trim` and `mallopt` have no safe form"),
    ("cli/binary/src/query_process/inside.rs", "`nice` has no safe form"),
    ("lake/src/frame/bridge.rs", "polars and arrow have a type each for the structs of arrow's C data interface"),
    ("streams/src/topic/kafka/abort.rs", "a signal handler has no safe form"),
    ("streams/src/topic/kafka/identity.rs", "`DescribeTopics` of librdkafka has no safe form"),
    ("tests/cli/tests/cli/signals.rs", "there is no safe function that sets the action of a signal"),
    ("workers/src/program/supervisor.rs", "what a program does between fork and exec has no safe form"),
];

/// Returns true for documents and pages, which are checked completely. Only the string literals of Rust sources are
/// checked.
fn is_read_by_people(file: &Text) -> bool {
    let name = file.name();
    let ends = |ending: &str| file.path.extension().is_some_and(|found| found == ending);
    let is_document = ends("md") && (name.starts_with("docs/") || !name.contains('/'));
    let is_script = ends("js") && name.starts_with("web/assets/");
    is_document || is_script || name.starts_with("web/templates/") || name.starts_with("clients/")
}

#[test]
fn people_read_plain_sentences() {
    let mut offenders = Vec::new();
    for file in texts() {
        let name = file.name();
        let read: Vec<(usize, &str)> = if file.is_rust() && !file.is_test() {
            string_literals(file.product())
        } else if is_read_by_people(file) {
            file.content.lines().zip(1..).map(|(line, number)| (number, line)).collect()
        } else {
            Vec::new()
        };
        for (number, sentence) in read {
            let sentence = sentence.to_lowercase().replace("`nobody`", "");
            let found = STILTED.into_iter().filter(|word| contains_word(&sentence, word) && sentence != *word);
            offenders.extend(found.map(|word| format!("{name}:{number}: `{word}`: say it as one says it aloud")));
        }
    }
    assert_none("stilted words where people read", &offenders);
}

#[test]
fn one_of_many_is_told_as_one() {
    let mut offenders = Vec::new();
    for file in texts() {
        let name = file.name();
        let is_code =
            ["web/src/", "cli/"].iter().any(|room| name.starts_with(room)) && file.is_rust() && !file.is_test();
        let read: Vec<(usize, &str)> = if is_code {
            string_literals(file.product())
        } else if name.starts_with("web/templates/") {
            file.content.lines().zip(1..).map(|(line, number)| (number, line)).collect()
        } else {
            Vec::new()
        };
        for (number, text) in read {
            let found = plurals(text).into_iter().filter(|found| !NEVER_ONE.contains(&(name.as_str(), found.as_str())));
            offenders.extend(found.map(|found| format!("{name}:{number}: `{found}`: say it by `counted`")));
        }
    }
    assert_none("plurals behind a number that may be one", &offenders);
}

/// Returns plurals directly after a value in braces. Values named `many` and constants (bounds) are always more than
/// one.
fn plurals(text: &str) -> Vec<String> {
    let is_constant = |value: &str| !value.is_empty() && value.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let behind = text.match_indices("} ").filter_map(|(at, _)| {
        let value = text[..at].rsplit('{').next()?.trim_end_matches('}').trim();
        let word = text[at + 2..].split(|c: char| !c.is_alphanumeric()).next()?;
        let is_number = !value.starts_with('%') && value != "many" && !is_constant(value);
        (is_number && PLURALS.split_whitespace().any(|plural| plural == word)).then(|| format!("{{{value}}} {word}"))
    });
    behind.collect()
}

#[test]
fn a_plural_behind_a_value_is_found() {
    assert_eq!(plurals("{} rows, {n} more rows and {{ lake.files }} files."), ["{} rows", "{lake.files} files"]);
    assert!(plurals("{MOST_ROWS} rows, {many} runs, {% endif %} tasks, {rows} rowsets, rows").is_empty());
}

#[test]
fn nothing_is_left_unfinished() {
    let mut offenders = Vec::new();
    // Sources that must not compile are never run.
    let runs = |file: &&Text| file.is_rust() && !file.path.starts_with("orch/tests/compile_fail");
    for file in texts().iter().filter(runs) {
        for (first, second, instead) in BANNED {
            let word = format!("{first}{second}");
            offenders.extend(lines_with(file, &word).map(|place| format!("{place} `{word}`: {instead}")));
        }
    }
    assert_none("banned words", &offenders);
}

#[test]
fn a_finished_task_is_a_success_everywhere() {
    let mut offenders = Vec::new();
    let word = concat!("succ", "eeded");
    for file in texts().iter().filter(|file| {
        ["rs", "sql", "html", "js", "yaml"].iter().any(|ending| file.path.extension().is_some_and(|e| e == *ending))
    }) {
        for quoted in [format!("\"{word}\""), format!("'{word}'")] {
            offenders.extend(lines_with(file, &quoted));
        }
    }
    assert_none("the state is called `success`, as in Airflow", &offenders);
}

#[test]
fn sql_stands_only_in_its_rooms() {
    let mut offenders = Vec::new();
    for file in texts()
        .iter()
        .filter(|file| file.is_rust() && !file.is_test() && !SQL_ROOMS.iter().any(|room| file.path.starts_with(room)))
    {
        for (line, literal) in string_literals(file.product()) {
            if is_sql(literal) {
                offenders.push(format!("{}:{line} {:?}", file.name(), literal.chars().take(60).collect::<String>()));
            }
        }
    }
    assert_none("SQL outside its rooms; make it a function of orch-store", &offenders);
}

#[test]
fn what_people_change_is_a_deed() {
    let mut offenders = Vec::new();
    for file in texts().iter().filter(|file| file.path.starts_with("web/src") && !is_login(&file.path)) {
        offenders.extend(lines_with(file, "orch_store::audit::Deed"));
    }
    assert_none("a change and its line in the audit log are one function of orch-deeds", &offenders);
}

fn is_login(path: &Path) -> bool {
    path.starts_with("web/src/auth") || path.ends_with("web/src/auth.rs")
}

#[test]
fn the_repository_stands_alone() {
    let mut offenders = Vec::new();
    for file in texts() {
        for (first, second) in FOREIGN_PATHS {
            let path = format!("{first}{second}");
            let hits = file.content.lines().enumerate().filter(|(_, line)| {
                line.match_indices(&path).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric()))
            });
            offenders.extend(hits.map(|(number, line)| {
                format!("{}:{} {}", file.name(), number + 1, line.trim().chars().take(100).collect::<String>())
            }));
        }
    }
    assert_none("paths of one machine", &offenders);
}

#[test]
fn unsafe_code_is_listed() {
    let mut offenders = Vec::new();
    for file in texts().iter().filter(|file| file.is_rust() && !file.path.starts_with("tests/tidy")) {
        let listed = UNSAFE_FILES.iter().any(|(path, _)| file.path.ends_with(path));
        let silences = ["allow", "expect"].iter().any(|level| file.content.contains(&format!("{level}(unsafe_code")));
        match (silences, listed) {
            (true, false) => {
                offenders.push(format!("{}: list it in UNSAFE_FILES with its reason, or do without", file.name()));
            }
            (false, true) => offenders.push(format!("{}: is listed in UNSAFE_FILES and needs no unsafe", file.name())),
            _ => {}
        }
    }
    assert_none("unsafe code", &offenders);
}

fn lines_with<'a>(file: &'a Text, word: &'a str) -> impl Iterator<Item = String> + 'a {
    file.content
        .lines()
        .enumerate()
        .filter(move |(_, line)| line.contains(word))
        .map(move |(number, _)| format!("{}:{}", file.name(), number + 1))
}

fn is_sql(literal: &str) -> bool {
    let flat = literal.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    SQL_STARTS.iter().any(|start| flat.starts_with(start)) && (SQL_PROOFS.iter().any(|proof| flat.contains(proof)))
}

#[test]
fn prose_is_not_sql() {
    assert!(is_sql("select 1 from dag_run"));
    assert!(is_sql("\n  Update dag_run\n  set state = $1"));
    assert!(is_sql("with picked as (select 1) select 2"));
    assert!(!is_sql("with a cron expression"));
    assert!(!is_sql("update the page"));
}
