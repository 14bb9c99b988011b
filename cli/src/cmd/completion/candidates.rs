//! Completions of a partial command line, from the tree of commands.

use clap::{Arg, Command};

/// Value names of arguments that take the id of a DAG.
const DAG_ID: &str = "DAG_ID";

/// A completion of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) value: String,
    /// First line of the help; empty if there is none.
    pub(super) help: String,
}

impl Candidate {
    pub(super) fn new(value: &str, help: &str) -> Candidate {
        let help = help.lines().next().unwrap_or_default().replace('\t', " ");
        Candidate { value: value.into(), help }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Completions<'a> {
    /// All candidates.
    Words(Vec<Candidate>),
    /// Ids of DAGs, which the caller must request.
    DagIds(DagIds<'a>),
}

/// A word that is the id of a DAG.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DagIds<'a> {
    /// Text before the id in the same word: `--dag-id=`, or empty.
    option: &'a str,
    /// Start of the id.
    pub(super) prefix: &'a str,
    /// The command uses the DAGs of this binary and of the folder of DAG files, without a server.
    pub(super) is_local: bool,
}

impl DagIds<'_> {
    /// Returns the DAGs that complete the word.
    pub(super) fn of(&self, dags: Vec<Candidate>) -> Vec<Candidate> {
        let matching = dags.into_iter().filter(|dag| dag.value.starts_with(self.prefix));
        matching.map(|dag| Candidate { value: format!("{}{}", self.option, dag.value), ..dag }).collect()
    }
}

/// Returns completions of the last word. The command line must be built, see `Command::build`.
pub(super) fn completions<'a>(command_line: &'a Command, words: &'a [String]) -> Completions<'a> {
    let Some((current, before)) = words.split_last() else { return Completions::Words(Vec::new()) };
    let is_local = before.iter().any(|word| word == "--local");
    let mut cursor = Cursor { command: command_line, positionals: 0, option: None, is_after_dashes: false, is_local };
    for word in before {
        cursor.move_over(word);
    }
    cursor.completions(current)
}

/// A position between two words of a command line.
struct Cursor<'a> {
    command: &'a Command,
    /// Number of values of positional arguments so far.
    positionals: usize,
    /// The option whose value is the next word.
    option: Option<&'a Arg>,
    /// After `--`, words that start with `-` are values.
    is_after_dashes: bool,
    is_local: bool,
}

impl<'a> Cursor<'a> {
    fn move_over(&mut self, word: &str) {
        if self.option.take().is_some() {
            return;
        }
        if self.is_after_dashes {
            self.positionals += 1;
        } else if word == "--" {
            self.is_after_dashes = true;
        } else if let Some(long) = word.strip_prefix("--") {
            self.option = self.option_of(long).filter(|option| !option.is_require_equals_set());
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            self.option = self.option_at_end(letters);
        } else if let Some(inner) = self.command.find_subcommand(word) {
            self.command = inner;
        } else {
            self.positionals += 1;
        }
    }

    /// Returns the option with this long name, if it takes a value.
    fn option_of(&self, long: &str) -> Option<&'a Arg> {
        let is_named = |option: &&Arg| option.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long));
        self.command.get_arguments().find(is_named).filter(|option| option.get_action().takes_values())
    }

    /// Returns the option at the end of combined short options, if its value is the next word: `o` in `-lo`, but no
    /// option in `-ojson`.
    fn option_at_end(&self, letters: &str) -> Option<&'a Arg> {
        for (index, letter) in letters.char_indices() {
            let is_named =
                |option: &&Arg| option.get_short_and_visible_aliases().is_some_and(|names| names.contains(&letter));
            let option = self.command.get_arguments().find(is_named);
            if let Some(option) = option.filter(|option| option.get_action().takes_values()) {
                let is_last = index + letter.len_utf8() == letters.len();
                return Some(option).filter(|option| is_last && !option.is_require_equals_set());
            }
        }
        None
    }

    fn completions(&self, current: &'a str) -> Completions<'a> {
        if let Some(option) = self.option {
            return self.values(option, 0, "", current);
        }
        if current.starts_with('-') && !self.is_after_dashes {
            let Some(equals) = current.find('=') else { return Completions::Words(self.options(current)) };
            let (option, value) = current.split_at(equals + 1);
            let named = option.strip_prefix("--").and_then(|long| self.option_of(long.trim_end_matches('=')));
            return named.map_or_else(|| Completions::Words(Vec::new()), |named| self.values(named, 0, option, value));
        }
        if self.command.has_subcommands() {
            // A word before the cursor may not be a subcommand.
            let is_valid = self.positionals == 0;
            return Completions::Words(if is_valid { self.subcommands(current) } else { Vec::new() });
        }
        match self.positional() {
            Some((argument, index)) => self.values(argument, index, "", current),
            None => Completions::Words(Vec::new()),
        }
    }

    fn options(&self, current: &str) -> Vec<Candidate> {
        let visible = self.command.get_arguments().filter(|argument| !argument.is_hide_set());
        let named = visible.filter_map(|argument| Some((format!("--{}", argument.get_long()?), argument)));
        let matching = named.filter(|(name, _)| name.starts_with(current));
        matching.map(|(name, argument)| Candidate::new(&name, &text(argument.get_help()))).collect()
    }

    fn subcommands(&self, current: &str) -> Vec<Candidate> {
        let visible = self.command.get_subcommands().filter(|inner| !inner.is_hide_set());
        let matching = visible.filter(|inner| inner.get_name().starts_with(current));
        matching.map(|inner| Candidate::new(inner.get_name(), &text(inner.get_about()))).collect()
    }

    /// Returns the positional argument of the next word, and which of its values the word is.
    fn positional(&self) -> Option<(&'a Arg, usize)> {
        let mut index = self.positionals;
        for argument in self.command.get_positionals().filter(|argument| !argument.is_last_set()) {
            let max = argument.get_num_args().map_or(1, |number| number.max_values());
            if index < max {
                return Some((argument, index));
            }
            index -= max;
        }
        None
    }

    fn values(&self, argument: &Arg, index: usize, option: &'a str, prefix: &'a str) -> Completions<'a> {
        let names = argument.get_value_names().unwrap_or_default();
        let name = names.get(index).or(names.last()).map_or("", clap::builder::Str::as_str);
        if name == DAG_ID || argument.get_id().as_str() == "dag_id" {
            let is_local = self.is_local || self.command.get_name() == "test";
            return Completions::DagIds(DagIds { option, prefix, is_local });
        }
        let values = argument.get_possible_values();
        let matching = values.iter().filter(|value| !value.is_hide_set() && value.get_name().starts_with(prefix));
        let candidate = |name: &str, help: String| Candidate::new(&format!("{option}{name}"), &help);
        Completions::Words(matching.map(|value| candidate(value.get_name(), text(value.get_help()))).collect())
    }
}

fn text(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the completions of the last word of a line, or `<PREFIX>` for the id of a DAG.
    fn completed(line: &str) -> String {
        let mut command_line = crate::app::command_line();
        command_line.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match completions(&command_line, &words) {
            Completions::Words(words) => words.iter().map(|word| word.value.as_str()).collect::<Vec<_>>().join(" "),
            Completions::DagIds(DagIds { option, prefix, is_local: false }) => format!("{option}<{prefix}>"),
            Completions::DagIds(DagIds { option, prefix, is_local: true }) => format!("{option}<{prefix}> local"),
        }
    }

    #[test]
    fn commands_options_and_values_are_completed() {
        for (line, expected) in [
            ("dag", "dags"),
            ("da", "dags"),
            ("dags un", "unpause"),
            ("dag un", "unpause"),
            ("--verbose tasks sta", "state states-for-dag-run"),
            ("dags nothing un", ""),
            ("dags trigger --run-", "--run-id --run-after"),
            ("dags list --output j", "json"),
            ("dags list -o p", "plain"),
            ("dags list -lo p", "plain"),
            ("dags list -oplain --output=y", "--output=yaml"),
            ("dags list --paused ", "true false"),
            ("completion z", "zsh"),
            ("cron next ", ""),
        ] {
            assert_eq!(completed(line), expected, "{line}");
        }
    }

    #[test]
    fn ids_of_dags_are_completed_where_a_command_takes_one() {
        for (line, expected) in [
            ("dags trigger ", "<>"),
            ("dags trigger exa", "<exa>"),
            ("dag trigger --wait --run-id x exa", "<exa>"),
            ("--api-url http://host:8080 dags trigger -r x exa", "<exa>"),
            ("dags trigger -- exa", "<exa>"),
            ("dags trigger exa ", ""),
            ("dags pause one two th", "<th>"),
            ("tasks logs exa", "<exa>"),
            ("tasks logs example ta", ""),
            ("runs wait exa", "<exa>"),
            ("runs wait example ru", ""),
            ("runs list --dag-id exa", "<exa>"),
            ("backfill create --dag-id=exa", "--dag-id=<exa>"),
            ("dags test exa", "<exa> local"),
            ("dags show --local exa", "<exa> local"),
        ] {
            assert_eq!(completed(line), expected, "{line}");
        }
    }

    #[test]
    fn ids_of_dags_keep_the_option_of_their_word() {
        let ids = DagIds { option: "--dag-id=", prefix: "b", is_local: false };
        let dags = ["a", "b", "bc"].map(|id| Candidate::new(id, "One\nTwo")).to_vec();
        let values: Vec<String> = ids.of(dags).into_iter().map(|dag| format!("{} {}", dag.value, dag.help)).collect();
        assert_eq!(values, ["--dag-id=b One", "--dag-id=bc One"]);
    }
}
