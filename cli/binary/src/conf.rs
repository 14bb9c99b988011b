//! `--conf`: JSON, `@file`, or `-` for standard input. It is validated by the same rules as in the API and the UI.

use crate::failure::Failure;
use orch_spec::params::{BadConf, MAX_CONF_BYTES, parse_conf};
use serde_json::Value;
use std::io::Read;

/// `-c`, for commands that start a run.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfFlag {
    /// What the run is about, as JSON; `@FILE` reads a file, `-` standard input
    #[arg(short, long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub conf: Option<String>,
}

impl ConfFlag {
    /// Returns the conf if one was given: a JSON object of at most 1 MB.
    pub fn read(&self) -> Result<Option<Value>, Failure> {
        let text = match self.conf.as_deref() {
            None => return Ok(None),
            Some("-") => text_of("standard input", std::io::stdin().lock())?,
            Some(given) => match given.strip_prefix('@') {
                Some(path) => {
                    let file = std::fs::File::open(path).map_err(Failure::io(format!("cannot read `{path}`")));
                    let file = file.map_err(|failure| failure.hint("correct the path after `@`"))?;
                    text_of(&format!("`{path}`"), file)?
                }
                None => given.to_owned(),
            },
        };
        Ok(Some(parse_conf(&text)?))
    }
}

/// Merges two confs. Keys of `conf` override those of `base`.
pub fn over(base: Option<Value>, conf: Option<Value>) -> Option<Value> {
    match (base, conf) {
        (Some(Value::Object(mut base)), Some(Value::Object(conf))) => {
            base.extend(conf);
            Some(Value::Object(base))
        }
        (base, conf) => conf.or(base),
    }
}

/// Returns the failure for a conf that does not match the params of its DAG.
pub fn refused(bad: &BadConf, dag_id: &str) -> Failure {
    let hint = match bad {
        BadConf::Params(wrong) => wrong.iter().find_map(|violation| violation.hint.clone()),
        other => Some(other.hint()),
    };
    Failure::new(bad.to_string()).hint(hint.unwrap_or_else(|| shows_params(dag_id)))
}

/// Like `refused`, for a message of a server, which ends with its hint after `; `.
pub fn refused_by_server(words: &str, dag_id: &str) -> Failure {
    match words.rsplit_once("; ") {
        Some((message, hint)) if hint != BadConf::Params(Vec::new()).hint() => Failure::new(message).hint(hint),
        Some((message, _)) => Failure::new(message).hint(shows_params(dag_id)),
        None => Failure::new(words),
    }
}

fn shows_params(dag_id: &str) -> String {
    format!("`orch dags details {dag_id}` shows the params")
}

/// Reads a source as text. Reads at most one byte more than the limit, enough to detect a conf that is too large.
fn text_of(name: &str, source: impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let most = MAX_CONF_BYTES as u64 + 1;
    source.take(most).read_to_end(&mut bytes).map_err(Failure::io(format!("cannot read {name}")))?;
    if bytes.len() > MAX_CONF_BYTES {
        let bad = BadConf::TooLarge { bytes: bytes.len() };
        return Err(Failure::new(format!("{name} has more than {MAX_CONF_BYTES} bytes (1 MB)")).hint(bad.hint()));
    }
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("{name} is no UTF-8")).hint("save it as UTF-8"))
}
