//! Sources of settings: command line, environment, file and declaration. The first one that has a value wins.

use super::flags::{CommandLineSettings, Field};
use super::hidden;
use super::value::Text;
use crate::failure::Failure;
use orch_spec::names::closest;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Names the configuration file. It is not a setting itself.
pub(super) const CONFIG_ENV: &str = "ORCH_CONFIG";
/// Settings without a flag.
const NO_FLAGS: [&str; 2] = ["secret_key", "vault_token"];
/// Name of the configuration file in the data folder.
const FILE_NAME: &str = "orch.toml";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadedFrom {
    Default,
    File(PathBuf),
    Environment(&'static str),
    Flag(String),
}

impl LoadedFrom {
    /// Returns the precedence of the source. The highest one wins.
    pub fn plainness(&self) -> u8 {
        match self {
            LoadedFrom::Default => 0,
            LoadedFrom::File(_) => 1,
            LoadedFrom::Environment(_) => 2,
            LoadedFrom::Flag(_) => 3,
        }
    }
}

impl fmt::Display for LoadedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadedFrom::Default => f.write_str("default"),
            LoadedFrom::File(path) => write!(f, "{}", path.display()),
            LoadedFrom::Environment(name) => f.write_str(name),
            LoadedFrom::Flag(name) => f.write_str(name),
        }
    }
}

/// Reads the settings one by one and collects all problems.
pub(super) struct Reader<'a> {
    given: &'a CommandLineSettings,
    fields: &'static [Field],
    file: Option<(PathBuf, BTreeMap<String, String>)>,
    pub(super) problems: Vec<Failure>,
    pub(super) sources: BTreeMap<&'static str, LoadedFrom>,
}

/// Warns about a secret on the command line. Warns only once, although commands read their settings more than once.
fn warn_of_flag(field: &Field) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        let (key, env) = (field.key, field.env);
        eprintln!("warning: other users of this machine can read the flag of `{key}` in the process list");
        eprintln!("hint: set `{env}` or write it to the configuration file instead");
    });
}

/// Prefix of the environment variables that orch reads.
const PREFIX: &str = "ORCH_";

/// Warns about each environment variable with nearly the name of a setting, because the variable has no effect. Warns
/// only once, although commands read their settings more than once.
fn warn_of_misspelt_variables(fields: &'static [Field]) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        for (name, near) in misspelt(beginning_with(&[PREFIX]).into_keys(), fields) {
            eprintln!("warning: there is no setting `{name}`: the variable has no effect");
            eprintln!("hint: did you mean `{near}`?");
        }
    });
}

/// Returns the variables that are not settings but nearly have the name of one, each with that name, in alphabetical
/// order.
fn misspelt(names: impl Iterator<Item = String>, fields: &'static [Field]) -> Vec<(String, &'static str)> {
    let is_read = |name: &str| {
        name == CONFIG_ENV
            || fields.iter().any(|field| field.env == name)
            || hidden::KEPT.iter().any(|prefix| name.starts_with(prefix))
    };
    let near = |name: String| {
        // With the common prefix, all short names would look similar.
        let settings = fields.iter().filter_map(|field| field.env.strip_prefix(PREFIX));
        let near = closest(name.strip_prefix(PREFIX)?, settings)?;
        let field = fields.iter().find(|field| field.env.strip_prefix(PREFIX) == Some(near))?;
        Some((name, field.env))
    };
    let mut found: Vec<_> = names.filter(|name| !is_read(name)).filter_map(near).collect();
    found.sort();
    found
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a CommandLineSettings, fields: &'static [Field]) -> Self {
        warn_of_misspelt_variables(fields);
        let mut reader = Reader { given, fields, file: None, problems: Vec::new(), sources: BTreeMap::new() };
        reader.open_file();
        reader
    }

    /// Returns the value of a setting. `None` if it is invalid, which is recorded in `problems`.
    pub(super) fn read<T: Text>(&mut self, key: &'static str) -> Option<T> {
        let field = self.fields.iter().find(|field| field.key == key)?;
        let (text, source) = self.look_up(field);
        match T::parse(&text) {
            Ok(value) => {
                // The process list shows flags to every user of this machine. A URL without a password is not a secret.
                if T::IS_SECRET && matches!(source, LoadedFrom::Flag(_)) && value.show() != text {
                    warn_of_flag(field);
                }
                self.sources.insert(key, source);
                Some(value)
            }
            Err(expected) => {
                let from = if source == LoadedFrom::Default { String::new() } else { format!(" from {source}") };
                let problem = Failure::new(format!("{key} `{text}`{from} is not {expected}"));
                self.problems.push(problem.hint(ways(field)));
                None
            }
        }
    }

    fn look_up(&mut self, field: &Field) -> (String, LoadedFrom) {
        if let Some((_, text)) = self.given.flags.iter().find(|(key, _)| *key == field.key) {
            return (text.clone(), LoadedFrom::Flag(field.flag()));
        }
        match variable(field.env) {
            Ok(Some(text)) => return (text, LoadedFrom::Environment(field.env)),
            Ok(None) => {}
            Err(problem) => self.problems.push(problem),
        }
        if let Some((path, values)) = &self.file
            && let Some(text) = values.get(field.key)
        {
            return (text.clone(), LoadedFrom::File(path.clone()));
        }
        let special = self.given.defaults.iter().find(|(key, _)| *key == field.key);
        (special.map_or(field.default, |(_, default)| default).to_owned(), LoadedFrom::Default)
    }

    /// Reads the configuration file. It must exist if it was named, but may be missing in the data folder.
    fn open_file(&mut self) {
        let named = match (&self.given.file, variable(CONFIG_ENV)) {
            (Some(path), _) => Some(path.clone()),
            (None, Ok(path)) => path.map(PathBuf::from),
            (None, Err(problem)) => return self.problems.push(problem),
        };
        let (path, must_exist) = match named {
            Some(path) => (path, true),
            None => match self.read::<PathBuf>("data_dir") {
                Some(data_dir) => (data_dir.join(FILE_NAME), false),
                None => return,
            },
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => return,
            Err(error) => {
                let problem = Failure::new(format!("cannot read `{}`: {error}", path.display()));
                let hint = if must_exist {
                    "correct the path in `--config` or `ORCH_CONFIG`, or leave it out"
                } else {
                    "let the user of this process read the file, or move it away"
                };
                return self.problems.push(problem.hint(hint));
            }
        };
        let mut values = match text.parse::<toml::Table>() {
            Ok(table) => self.texts(&path, &text, table),
            Err(error) => {
                let text = error.to_string();
                return self.problems.push(
                    Failure::new(format!("`{}` is not TOML: {}", path.display(), text.trim_end()))
                        .hint("write a line for each value, for example `port = 8080`"),
                );
            }
        };
        if !must_exist && values.remove("data_dir").is_some() {
            self.problems.push(
                Failure::new(format!("`{}` lies in the data folder and cannot name another one", path.display()))
                    .hint("set it with `--data-dir` or `ORCH_DATA_DIR`"),
            );
        }
        self.file = Some((path, values));
    }

    /// Returns the values of a configuration file by key. `file` is its content.
    fn texts(&mut self, path: &Path, file: &str, table: toml::Table) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (key, value) in table {
            let Some(field) = self.fields.iter().find(|field| field.key == key) else {
                let hint = match closest(&key, self.fields.iter().map(|field| field.key)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`orch config list` names all keys".into(),
                };
                self.problems.push(Failure::new(format!("`{}` has an unknown key `{key}`", path.display())).hint(hint));
                continue;
            };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(is_on) => is_on.to_string(),
                toml::Value::Array(parts) if parts.iter().all(toml::Value::is_str) => {
                    parts.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
                }
                other => {
                    let line = line_of(file, &key).map_or_else(String::new, |line| format!(", line {line},"));
                    self.problems.push(wrong_type(field, &other, &format!("`{}`{line}", path.display())));
                    continue;
                }
            };
            texts.insert(key, text);
        }
        texts
    }
}

/// Returns the problem of a value whose type is not valid for any setting. `place` is the file, with the line if it is
/// known.
fn wrong_type(field: &Field, value: &toml::Value, place: &str) -> Failure {
    let text = match value {
        toml::Value::Float(number) => Some(format!("{number:?}")),
        toml::Value::Datetime(time) => Some(time.to_string()),
        _ => None,
    };
    let expected = (field.expected)(text.as_deref().unwrap_or(value.type_str()));
    let shown = match text.filter(|_| !field.is_secret) {
        Some(text) => text,
        None if value.is_array() => "an array".to_owned(),
        None => format!("a {}", value.type_str()),
    };
    let key = field.key;
    let Some(expected) = expected else {
        let what = if value.is_array() { "each entry of the array" } else { "the value" };
        return Failure::new(format!("`{key}` in {place} is {shown}, not text")).hint(format!("put {what} in quotes"));
    };
    let is_plain = field.default.parse::<i64>().is_ok() || field.default.parse::<bool>().is_ok();
    let hint = match field.default {
        "" => "write text in quotes, a whole number, true or false".to_owned(),
        default if is_plain => format!("write for example `{key} = {default}`"),
        default => format!("write for example `{key} = \"{default}\"`"),
    };
    Failure::new(format!("`{key}` in {place} is {shown}, not {expected}")).hint(hint)
}

/// Returns the line number of a key in a TOML file, counted from 1. `None` for a key that is not written as
/// `key = value`.
fn line_of(file: &str, key: &str) -> Option<usize> {
    let mut lines = file.lines().take_while(|line| !line.trim_start().starts_with('['));
    let index = lines.position(|line| line.split_once('=').is_some_and(|(name, _)| name.trim() == key))?;
    Some(index + 1)
}

/// Returns a hint with all methods to set a field.
fn ways(field: &Field) -> String {
    if NO_FLAGS.contains(&field.key) {
        return format!("set it with `{}` or `{} = …` in {FILE_NAME}", field.env, field.key);
    }
    format!("set it with `{}`, `{}` or `{} = …` in {FILE_NAME}", field.flag(), field.env, field.key)
}

fn variable(name: &str) -> Result<Option<String>, Failure> {
    match hidden::value(name).map(std::ffi::OsString::into_string) {
        // Scripts unset a variable by making it empty.
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        None => Ok(None),
        Some(Err(_)) => Err(Failure::new(format!("`{name}` is no UTF-8"))),
    }
}

/// Returns all variables whose names start with one of the prefixes.
pub fn beginning_with(prefixes: &[&str]) -> std::collections::HashMap<String, String> {
    let readable = hidden::all().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    readable.filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[cfg(test)]
mod tests {
    use super::misspelt;
    use crate::config::Config;

    #[test]
    fn a_variable_with_nearly_the_name_of_a_setting_is_found() {
        let names = [
            "ORCH_DATABSE_URL",
            "ORCH_SLOT",
            "ORCH_PORT",
            "ORCH_CONFIG",
            "ORCH_CONN_PORT",
            "ORCH_VAR_SLOT",
            "ORCH_TASK_ID",
            "ORCH_MAP_INDEX",
            "ORCH_HIDDEN_FILE",
        ];
        let found = misspelt(names.map(String::from).into_iter(), Config::FIELDS);
        let expected = [("ORCH_DATABSE_URL", "ORCH_DATABASE_URL"), ("ORCH_SLOT", "ORCH_SLOTS")];
        assert_eq!(found, expected.map(|(name, near)| (name.to_owned(), near)));
    }
}
