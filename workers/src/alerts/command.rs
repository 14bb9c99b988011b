//! A program on the machine of the scheduler. It is told as JSON on its standard input; what it may do is said by whoever set up
//! the connection, not by a DAG.

use crate::child::inherited_secrets;
use orch_core::alert::Message;
use orch_core::task::Connection;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// In `extra`: the program and its arguments. No shell reads them.
const ARGV: &str = "argv";
const MOST_WORDS: usize = 200;

pub(super) async fn run(connection: &Connection, message: &Message) -> Result<(), String> {
    let argv: Vec<&str> = match connection.extra_field(ARGV) {
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let (program, arguments) = argv.split_first().ok_or_else(|| {
        let id = &connection.id;
        format!("connection `{id}` names no program\nhint: its extra says `{{\"argv\": [\"/usr/local/bin/tell\"]}}`")
    })?;
    let mut command = Command::new(program);
    for name in inherited_secrets() {
        command.env_remove(name);
    }
    command.args(arguments).env("ALERT_KEY", &message.key).env("ALERT_KIND", message.kind.as_str());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    let mut body = message.fields.clone();
    (body["subject"], body["text"]) = (json!(message.subject), json!(message.text));
    if let Some(mut input) = child.stdin.take() {
        // A program that reads no further has what it wants.
        input.write_all(body.to_string().as_bytes()).await.ok();
    }
    let ended = child.wait_with_output().await.map_err(|error| format!("`{program}`: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ended.stderr);
    let words: String = words.trim().chars().take(MOST_WORDS).collect();
    Err(format!("`{program}` ended with {}: {words}", ended.status))
}
