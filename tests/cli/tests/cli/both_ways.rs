//! Every command must do the same with a database connection and over the API: same output, exit code and audit log.
//! Exceptions are in the table of `docs/ARCHITECTURE.md`, "How a command finds its server", with their reasons.

mod rows;
mod seed;

use crate::binary::CommandOutput;
use clap::Command;
use regex_lite::Regex;
use rows::{CommandEffect, ROWS, Row, Varies};
use seed::Pair;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

const TABLE: &str = "## How a command finds its server";

/// Collects all commands without subcommands by their full name, such as `dags list`.
fn leaves(of: &Command, words: &str, found: &mut Vec<(String, Command)>) {
    for inner in of.get_subcommands() {
        let words = format!("{words} {}", inner.get_name()).trim_start().to_owned();
        if inner.has_subcommands() { leaves(inner, &words, found) } else { found.push((words, inner.clone())) }
    }
}

fn all_leaves() -> Vec<(String, Command)> {
    let mut found = Vec::new();
    leaves(&orch_cli::command_line(), "", &mut found);
    found
}

/// Returns the command of a line: the one with the longest matching name.
fn leaf_of<'a>(line: &str, all: &'a [(String, Command)]) -> Option<&'a (String, Command)> {
    let begins = |name: &str| line == name || line.starts_with(&format!("{name} "));
    all.iter().filter(|(name, _)| begins(name)).max_by_key(|(name, _)| name.len())
}

fn has_option(command: &Command, long: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(long))
}

/// A row of the table of exceptions: its name and its second column.
#[derive(Debug)]
struct Exception {
    name: String,
    over_api: String,
}

impl Exception {
    /// Returns the commands that the name covers: `db …` is a family, `variables list --show-values` an option of one
    /// command.
    fn leaves<'a>(&self, all: &'a [(String, Command)]) -> Vec<&'a (String, Command)> {
        let (name, option) = self.name.split_once(" --").map_or((&*self.name, None), |(name, long)| (name, Some(long)));
        let is_meant = |leaf: &str| match name.strip_suffix(" …") {
            Some(family) => leaf.starts_with(&format!("{family} ")),
            None => leaf == name,
        };
        let has_it = |command: &Command| option.is_none_or(|long| has_option(command, long));
        all.iter().filter(|(leaf, command)| is_meant(leaf) && has_it(command)).collect()
    }

    fn is_refused(&self) -> bool {
        self.over_api == "refused"
    }

    /// Returns true if the exception covers the whole command, so that no comparison remains.
    fn is_whole(&self) -> bool {
        self.is_refused() || ["asks no server", "tells of other processes"].contains(&&*self.over_api)
    }
}

fn exceptions() -> Vec<Exception> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split_once(TABLE).unwrap().1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [names, over_api, why] = cells[..] else { panic!("three cells: {row}") };
        assert!(!why.is_empty(), "a reason: {row}");
        let names = names.split('`').skip(1).step_by(2).map(str::to_owned);
        names.map(|name| Exception { name, over_api: over_api.to_owned() }).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn every_command_has_a_row_or_a_reason() {
    let (all, exceptions) = (all_leaves(), exceptions());
    assert!(all.len() > 100, "{} commands", all.len());
    let mut problems = String::new();
    for row in ROWS.iter().filter(|row| leaf_of(row.line, &all).is_none()) {
        writeln!(problems, "the row `{}` begins with no command", row.line).unwrap();
    }
    for exception in &exceptions {
        if exception.leaves(&all).is_empty() {
            writeln!(problems, "ARCHITECTURE names `{}`, which is no command", exception.name).unwrap();
        }
    }
    for (name, _) in &all {
        let mut whole = exceptions.iter().filter(|one| one.is_whole());
        let whole = whole.find(|one| one.leaves(&all).iter().any(|(leaf, _)| leaf == name));
        let of_it: Vec<&Row> =
            ROWS.iter().filter(|row| leaf_of(row.line, &all).is_some_and(|(leaf, _)| leaf == name)).collect();
        let needs_database = of_it.iter().any(|row| row.kind == CommandEffect::NeedsDatabase);
        let is_compared = !of_it.is_empty() && !needs_database;
        match whole {
            None if !is_compared => writeln!(problems, "`{name}` has no row and no reason in ARCHITECTURE").unwrap(),
            Some(_) if is_compared => writeln!(problems, "`{name}` has a row and is an exception").unwrap(),
            _ => {}
        }
        if whole.is_some_and(Exception::is_refused) != needs_database {
            writeln!(problems, "`{name}` is refused over the API in the table or in its row, not in both").unwrap();
        }
    }
    let family = |row: &Row| row.line.split(' ').next().unwrap().to_owned();
    let of_kind =
        |kind: CommandEffect| ROWS.iter().filter(move |row| row.kind == kind).map(family).collect::<BTreeSet<_>>();
    let named = &of_kind(CommandEffect::Changes) - &of_kind(CommandEffect::Wrong);
    assert_eq!((problems.as_str(), named), ("", BTreeSet::new()), "families without a wrong use");
}

#[test]
fn every_delete_takes_yes() {
    let deletes: Vec<_> = all_leaves().into_iter().filter(|(name, _)| name.ends_with(" delete")).collect();
    assert!(deletes.len() >= 8, "{deletes:?}");
    for (name, command) in deletes {
        assert!(has_option(&command, "yes"), "orch {name}");
    }
}

/// A row of the audit log.
type AuditLogRow = (String, String, Option<String>, Option<String>, Option<String>, Option<Value>);

async fn written(db: &mut PgConnection, since: &mut i64) -> Vec<AuditLogRow> {
    let text = "select actor, event, dag_id, run_id, task_id, extra from audit where id > $1 order by id";
    let rows = sqlx::query_as(text).bind(*since).fetch_all(&mut *db).await.unwrap();
    *since = sqlx::query_scalar("select coalesce(max(id), 0) from audit").fetch_one(db).await.unwrap();
    rows
}

impl Varies {
    fn rule(self) -> (&'static str, &'static str) {
        match self {
            Varies::Times => (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+\d\d:\d\d|Z)?", "<time>"),
            Varies::RunIds => (r"[a-z_]+__[0-9T:.+-]+_[0-9A-Za-z]{8}", "<run>"),
            Varies::Keys => (r"[0-9A-Za-z_-]{43}=", "<key>"),
            Varies::Durations => (r"\d+(:\d\d)*(\.\d+)?( m?s)?", "<duration>"),
        }
    }
}

/// Replaces everything in the text that the row declares as varying.
fn plain(text: &str, row: &Row, home: &str) -> String {
    // Run ids contain a time, so they are replaced first.
    let mut rules: Vec<Varies> = row.varies.to_vec();
    rules.sort_by_key(|rule| *rule != Varies::RunIds);
    rules.into_iter().map(Varies::rule).fold(text.replace(home, "{home}"), |text, (pattern, word)| {
        Regex::new(pattern).unwrap().replace_all(&text, word).into_owned()
    })
}

/// Returns the result of a command as a text to compare.
fn account(row: &Row, home: &Path, ended: &CommandOutput, audit: &[AuditLogRow]) -> String {
    plain(&format!("{ended:?}--- audit\n{audit:#?}"), row, home.to_str().unwrap())
}

/// Returns the lines that only one of the texts has.
fn difference(line: &str, expected: &str, told: &str) -> String {
    let only = |these: &str, those: &str| {
        let those: BTreeSet<&str> = those.lines().collect();
        these.lines().filter(|line| !those.contains(line)).fold(String::new(), |all, line| all + line + "\n")
    };
    let (here, there) = (only(expected, told), only(told, expected));
    format!("`orch {line}` only at the database:\n{here}only over the API:\n{there}")
}

/// Returns the problem of a row that behaves the same in both ways but not as declared.
fn problem_of(row: &Row, ended: &CommandOutput, audit: &[AuditLogRow]) -> Option<String> {
    let is_expected = match row.kind {
        CommandEffect::Changes => !audit.is_empty(),
        CommandEffect::Reads => audit.is_empty(),
        CommandEffect::Wrong | CommandEffect::NeedsDatabase => audit.is_empty() && ended.out.is_empty(),
    };
    (!is_expected || ended.code != row.code)
        .then(|| format!("`orch {}` is {:?} with code {}: {ended:?}--- audit\n{audit:?}", row.line, row.kind, row.code))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_does_the_same_both_ways() {
    let all = all_leaves();
    let mut pair = Pair::new().await;
    let (mut local_db, mut remote_db) = (pair.local.db().await, pair.remote.db().await);
    let (mut local_since, mut remote_since) = (0, 0);
    written(&mut local_db, &mut local_since).await;
    written(&mut remote_db, &mut remote_since).await;
    let (mut problems, mut are_scheduled) = (Vec::new(), false);
    for row in ROWS {
        let (_, command) = leaf_of(row.line, &all).unwrap();
        if row.line.starts_with("alerts test") && !std::mem::replace(&mut are_scheduled, true) {
            pair.start_schedulers();
        }
        let mut lines = vec![row.line.to_owned()];
        if row.kind == CommandEffect::Reads && has_option(command, "output") {
            lines.push(format!("{} -o json", row.line));
        }
        for line in lines {
            let words = |home: &Path| -> Vec<String> {
                let word = |word: &str| word.replace("''", "").replace("{home}", home.to_str().unwrap());
                line.split(' ').map(word).collect()
            };
            let (here, there) = (words(pair.local.path()), words(pair.remote.path()));
            let here: Vec<&str> = here.iter().map(String::as_str).collect();
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            let (local, remote) = std::thread::scope(|scope| {
                let remote = scope.spawn(|| pair.over_api(&there));
                // Commands that need the database are not compared, and some of them would reset it.
                let local = (row.kind != CommandEffect::NeedsDatabase).then(|| pair.local.run(&here));
                (local, remote.join().unwrap())
            });
            let local_audit = written(&mut local_db, &mut local_since).await;
            let remote_audit = written(&mut remote_db, &mut remote_since).await;
            let told = account(row, pair.remote.path(), &remote, &remote_audit);
            let expected = local.map(|local| account(row, pair.local.path(), &local, &local_audit));
            match expected {
                Some(expected) if told != expected => {
                    problems.push(difference(&line, &expected, &told));
                    continue;
                }
                None if !remote.err.contains("needs the database: it cannot be done over the API") => {
                    problems.push(format!("`orch {line}` is not refused over the API: {remote:?}"));
                }
                _ => {}
            }
            problems.extend(problem_of(row, &remote, &remote_audit));
        }
    }
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n\n"));
}
